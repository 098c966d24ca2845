#![no_main]

use legacy::fluent::{Framer, Limits, read_message};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let limits = Limits::default();
    let mut framer = Framer::default();
    if let Ok(Some(end)) = framer.message_end(data, &limits) {
        let _ = read_message(&data[..end], 1, &limits);
    }
    let _ = read_message(data, 1, &limits);
    let _ = legacy::fluent::handshake::read_ping(data);
});
