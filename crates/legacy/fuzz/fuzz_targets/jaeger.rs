#![no_main]

use legacy::jaeger::{from_datagram, from_json, from_proto, from_thrift, to_proto, to_thrift};
use legacy::thrift::Protocol;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let batches = [
        from_proto(data),
        from_thrift(data, Protocol::Binary),
        from_thrift(data, Protocol::Compact),
        from_datagram(data, Protocol::Binary),
        from_datagram(data, Protocol::Compact),
    ];
    let answered = from_json(data).map(|answer| answer.traces).unwrap_or_default();
    let answered = answered.into_iter().map(|trace| trace.batch);
    for batch in batches.into_iter().flatten().chain(answered) {
        to_proto(&batch, 4 << 20);
        to_thrift(&batch, Protocol::Compact);
    }
});
