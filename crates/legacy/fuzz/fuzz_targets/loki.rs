#![no_main]

use legacy::loki::{LabelSet, read_json, read_legacy_json, read_protobuf};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut bytes = 0;
    let _ = read_protobuf(data, &mut |labels, entry| {
        bytes += format!("{labels:?}{entry:?}").len();
        Ok(())
    });
    let _ = read_json(data, &mut |_, _| Ok(()));
    let _ = read_legacy_json(data, &mut |_, _| Ok(()));
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = LabelSet::parse(text);
    }
});
