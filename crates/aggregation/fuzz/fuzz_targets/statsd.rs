#![no_main]

use std::sync::Arc;

use aggregation::statsd::{Settings, Shard, Source, Store};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let settings = Arc::new(Settings::default());
    let mut shard = Shard::new(Arc::clone(&settings));
    let mut store = Store::new(settings, 1);
    shard.packet(data, Source::Local, 2);
    store.merge(shard.take());
    let _ = store.flush(3);
});
