#![no_main]

use aggregation::statsd::Mappings;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = Mappings::parse("mapping.yml", text);
    }
});
