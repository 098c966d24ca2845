#![no_main]

use legacy::zipkin::{Encoding, Format, StringTags, decode, encode};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    for encoding in [Encoding::JsonV2, Encoding::ProtobufV2, Encoding::JsonV1, Encoding::ThriftV1] {
        if let Ok(batch) = decode(encoding, data, StringTags::Parsed) {
            encode(&batch, Format::Json, "");
            encode(&batch, Format::Protobuf, "");
        }
    }
});
