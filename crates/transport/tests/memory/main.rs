//! Bombs leave the memory of the process flat. Alone in its process, because it looks at the process's peak.
#![allow(missing_docs, clippy::unwrap_used)]

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use tokio_util::sync::CancellationToken;
use transport::coding::{Coding, Level, compress};
use transport::endpoint::Endpoint;
use transport::grpc::{self, Code, GrpcLimits};
use transport::grpc_client::{GrpcClient, GrpcClientSettings, GrpcMessage};
use transport::http_client::{HttpClient, HttpClientSettings, HttpRequest};
use transport::server::{self, BodyLimits, PortSharing, ResponseBody, ServerSettings};

const LIMIT_BYTES: usize = 4 << 20;
/// What a bomb decompresses to.
const BOMB_BYTES: usize = 512 << 20;
/// What the process may grow by, while one bomb after the other arrives.
const GROWTH_BYTES_MAX: usize = 32 << 20;

/// A line such as `VmHWM:  1234 kB` of `/proc/self/status`, in bytes.
fn memory_bytes(field: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

/// zstd: blocks that repeat one byte 128 KiB times, in a frame of unknown size (RFC 8878, section 3.1.1.2.2).
fn zstd_bomb() -> Bytes {
    const BLOCK_BYTES: usize = 128 << 10;
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 10 << 3];
    let blocks = BOMB_BYTES / BLOCK_BYTES;
    for index in 0..blocks {
        let head = ((BLOCK_BYTES as u32) << 3) | (1 << 1) | u32::from(index + 1 == blocks);
        frame.extend_from_slice(&head.to_le_bytes()[..3]);
        frame.push(0);
    }
    frame.into()
}

/// A stream made of one compressed megabyte again and again: the blocks of DEFLATE after a full flush stand alone.
fn deflate_bomb(head: &[u8], tail: &[u8]) -> Bytes {
    const PIECE_BYTES: usize = 1 << 20;
    let mut compressor = flate2::Compress::new(flate2::Compression::new(6), false);
    let mut piece = Vec::with_capacity(1 << 16);
    compressor.compress_vec(&vec![0; PIECE_BYTES], &mut piece, flate2::FlushCompress::Full).unwrap();
    let end: &[u8] = &[3, 0];
    [head, &piece.repeat(BOMB_BYTES / PIECE_BYTES), end, tail].concat().into()
}

fn bombs() -> Vec<(Coding, Bytes)> {
    let gzip_head = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    // The checksum does not matter: nobody gets that far. The size is a lie that looks harmless.
    let gzip = deflate_bomb(&gzip_head, &[0, 0, 0, 0, 0, 0, 1, 0]);
    let zlib = deflate_bomb(&[0x78, 0x01], &[0, 0, 0, 0]);
    let member = compress(Coding::Gzip, Level::Exact(9), &vec![0; 1 << 20]);
    let members = Bytes::from(member.repeat(BOMB_BYTES >> 20));
    let frame = compress(Coding::Lz4, Level::Fast, &vec![0; 1 << 20]);
    let frames = Bytes::from(frame.repeat(BOMB_BYTES >> 20));
    vec![
        (Coding::Gzip, gzip),
        (Coding::Gzip, members),
        (Coding::Deflate, zlib),
        (Coding::Zstd, zstd_bomb()),
        (Coding::Lz4, frames),
        // A block of snappy that declares 4 GiB.
        (Coding::Snappy, Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0])),
    ]
}

#[tokio::test]
async fn bombs_over_http_and_grpc_leave_memory_flat() {
    let stop = CancellationToken::new();
    let listener = server::bind(&Endpoint::parse("127.0.0.1:0").unwrap(), PortSharing::Exclusive).unwrap();
    let endpoint = Endpoint::parse(&listener.local().to_string()).unwrap();
    let url: url::Url = format!("http://{endpoint}/").parse().unwrap();
    let handler = |request: http::Request<server::RequestBody>, _| async move {
        if grpc::is_grpc(request.headers()) {
            return grpc::unary(request, &GrpcLimits::default(), |_| async { Ok(Bytes::new()) }).await;
        }
        let (head, body) = request.into_parts();
        let limits = BodyLimits { bytes_max: LIMIT_BYTES, ..BodyLimits::default() };
        match server::read_payload(&head.headers, body, &limits).await {
            Ok(_) => Response::new(ResponseBody::empty()),
            Err(error) => server::text_response(error.status(), error.to_string()),
        }
    };
    tokio::spawn(server::serve(listener, ServerSettings::default(), handler, stop.clone()));
    let http = HttpClient::new(HttpClientSettings::default()).unwrap();
    let grpc = GrpcClient::new(GrpcClientSettings::new(endpoint)).unwrap();
    let bombs = bombs();
    let before = memory_bytes("VmRSS");
    for (coding, bomb) in bombs {
        assert!(bomb.len() < LIMIT_BYTES, "{coding}: the bomb itself passes");
        let headers = HeaderMap::from_iter([(header::CONTENT_ENCODING, HeaderValue::from_static(coding.name()))]);
        let reply = http.send(HttpRequest::post(url.clone(), headers, bomb.clone())).await.unwrap();
        assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE, "{coding}: {:?}", reply.body);
        let message = GrpcMessage { coding, payload: bomb };
        let called = grpc.call("/a.B/C", message, &HeaderMap::new(), Some(Duration::from_secs(10))).await;
        assert_eq!(called.unwrap_err().code, Code::ResourceExhausted, "{coding}");
    }
    let peak = memory_bytes("VmHWM");
    assert!(peak < before + GROWTH_BYTES_MAX, "from {before} to {peak} bytes");
    stop.cancel();
}
