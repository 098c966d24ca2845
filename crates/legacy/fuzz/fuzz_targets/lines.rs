#![no_main]

use legacy::{carbon, influx};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let parser = carbon::Parser::plaintext();
    let mut reader = carbon::Reader::new(&parser);
    for line in data.split(|byte| *byte == b'\n') {
        let _ = reader.line(line, 1);
    }
    reader.finish();
    let mut reader = influx::Reader::new(influx::Precision::Nanoseconds, 1);
    reader.read(data, |_| {});
    reader.finish();
});
