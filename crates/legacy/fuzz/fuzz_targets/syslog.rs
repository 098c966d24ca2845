#![no_main]

use legacy::syslog::{Leading, Zone, rfc3164, rfc5424};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let Some(zone) = Zone::named("Europe/Berlin") else { return };
    for leading in [Leading::Priority, Leading::OptionalPriority] {
        let _ = rfc5424::read(&text, leading);
        let _ = rfc3164::read(&text, leading, &zone, 1_800_000_000_000_000_000);
    }
});
