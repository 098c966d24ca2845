//! Payloads for tests and benches.

/// Bytes that look like telemetry: repeated names, counters, random identifiers.
pub(crate) fn telemetry_like(size: usize) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(42);
    let mut out = Vec::with_capacity(size + 400);
    let mut time = 1_700_000_000_000_000_000_u64;
    while out.len() < size {
        out.extend_from_slice(&[0x0a, 0x10]);
        out.extend_from_slice(&rng.u128(..).to_le_bytes());
        out.extend_from_slice(&[0x12, 0x08]);
        out.extend_from_slice(&rng.u64(..).to_le_bytes());
        time += rng.u64(1000..1_000_000);
        out.extend_from_slice(b"*\x0fGET /api/orders9");
        out.extend_from_slice(&time.to_le_bytes());
        out.extend_from_slice(b"A");
        out.extend_from_slice(&(time + rng.u64(1000..50_000_000)).to_le_bytes());
        for (key, value) in [
            ("http.request.method", ["GET", "POST", "PUT"][rng.usize(0..3)].to_owned()),
            ("http.response.status_code", [200, 200, 200, 404, 500][rng.usize(0..5)].to_string()),
            ("url.path", format!("/api/orders/{}", rng.u32(0..10_000))),
            ("server.address", "shop.internal.example".to_owned()),
            ("user.id", format!("{:08x}", rng.u32(..))),
        ] {
            out.extend_from_slice(&[0x4a, (key.len() + value.len() + 8) as u8, 0x0a, key.len() as u8]);
            out.extend_from_slice(key.as_bytes());
            out.extend_from_slice(&[0x12, (value.len() + 2) as u8, 0x0a, value.len() as u8]);
            out.extend_from_slice(value.as_bytes());
        }
    }
    out.truncate(size);
    out
}
