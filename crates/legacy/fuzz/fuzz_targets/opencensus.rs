#![no_main]

use legacy::opencensus::Stream;

// Two messages of one stream: the second one stands on what the first one said.
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut stream = Stream::default();
    let (first, second) = data.split_at(data.len() / 2);
    for message in [first, second, data] {
        let _ = stream.traces(message);
        let _ = stream.metrics(message);
    }
});
