//! Compression and decompression of payloads like telemetry, in megabytes per CPU second, beside other compressors of
//! the same formats. Run with `cargo bench -p crossfade-transport --bench coding`; an argument names a file to use
//! instead.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

#[path = "../tests/loopback/samples.rs"]
mod samples;

use flate2::{Compress, Compression, FlushCompress};
use transport::coding::{Coding, Level, compress, decompress, snappy_block_compress, snappy_block_decompress};

const ROUNDS: usize = 7;
const BYTES_PER_ROUND: usize = 30_000_000;

/// CPU time of this thread in seconds, as the scheduler counted it.
fn cpu_s() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}

fn measure(what: &str, plain_bytes: usize, mut work: impl FnMut() -> usize) {
    let packed_bytes = work();
    let repeats = (BYTES_PER_ROUND / plain_bytes).max(3);
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let before = cpu_s();
        for _ in 0..repeats {
            std::hint::black_box(work());
        }
        best = best.min((cpu_s() - before) / repeats as f64);
    }
    let (speed, ratio) = (plain_bytes as f64 / best / 1e6, plain_bytes as f64 / packed_bytes as f64);
    println!("{what:>28} {plain_bytes:>9} bytes {:>9.1} us {speed:>8.0} MB/s  ratio {ratio:5.2}", best * 1e6);
}

fn main() {
    let file = std::env::args().nth(1).filter(|argument| !argument.starts_with('-'));
    let file = file.map(|path| std::fs::read(path).unwrap());
    for size in [7_000, 70_000, 334_000, 2_000_000] {
        let payload = match &file {
            Some(content) => content[..size.min(content.len())].to_vec(),
            None => samples::telemetry_like(size),
        };
        for (what, coding, level) in [
            ("gzip fast", Coding::Gzip, Level::Fast),
            ("gzip 2 (zlib)", Coding::Gzip, Level::Exact(2)),
            ("gzip 3 (zlib)", Coding::Gzip, Level::Exact(3)),
            ("gzip 6 (zlib)", Coding::Gzip, Level::Exact(6)),
            ("zstd fast", Coding::Zstd, Level::Fast),
            ("zstd 3", Coding::Zstd, Level::Exact(3)),
            ("snappy framed", Coding::Snappy, Level::Fast),
            ("lz4", Coding::Lz4, Level::Fast),
        ] {
            measure(what, payload.len(), || compress(coding, level, &payload).len());
        }
        measure("snappy block", payload.len(), || snappy_block_compress(&payload).len());
        others(&payload);
        for coding in [Coding::Gzip, Coding::Zstd, Coding::Snappy, Coding::Lz4] {
            let packed = compress(coding, Level::Fast, &payload);
            measure(&format!("un-{coding}"), payload.len(), || decompress(coding, &packed, size).unwrap().len());
        }
        let packed = snappy_block_compress(&payload);
        measure("un-snappy block", payload.len(), || snappy_block_decompress(&packed, size).unwrap().len());
    }
}

/// Compressors that could stand in for our own.
fn others(payload: &[u8]) {
    let mut zlib = Compress::new(Compression::new(1), false);
    let mut out = Vec::with_capacity(payload.len() + 1000);
    measure("zlib 1 (other)", payload.len(), || {
        zlib.reset();
        out.clear();
        zlib.compress_vec(payload, &mut out, FlushCompress::Finish).unwrap();
        std::hint::black_box(libdeflater::crc32(payload));
        out.len()
    });
    let mut libdeflate = libdeflater::Compressor::new(libdeflater::CompressionLvl::new(1).unwrap());
    let mut out = vec![0; payload.len() + 1000];
    measure("libdeflate 1 (other)", payload.len(), || libdeflate.gzip_compress(payload, &mut out).unwrap());
}
