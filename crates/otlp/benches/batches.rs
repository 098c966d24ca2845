//! What one core does with batches. Run with `cargo bench -p crossfade-otlp`.
#![allow(missing_docs, clippy::unwrap_used)]

mod payloads;

use bytes::Bytes;
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use otlp::{Batch, Limits, Signal};

fn main() {
    payloads::assert_sizes();
    divan::main();
}

fn request(signal: Signal) -> Bytes {
    match signal {
        Signal::Traces => payloads::traces(),
        Signal::Metrics => payloads::metrics(),
        Signal::Logs => payloads::logs(),
    }
    .into()
}

#[divan::bench(args = Signal::ALL)]
fn parse(bencher: Bencher<'_, '_>, signal: Signal) {
    let bytes = request(signal);
    bencher
        .counter(BytesCount::new(bytes.len()))
        .bench(|| Batch::parse(signal, black_box(&bytes).clone(), &Limits::default()).unwrap().items());
}
