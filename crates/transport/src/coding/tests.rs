use std::io::Write;

use super::*;

const PACKED: [Coding; 5] = [Coding::Gzip, Coding::Zstd, Coding::Deflate, Coding::Snappy, Coding::Lz4];

/// Half of it repeats, half of it does not.
fn sample(size: usize) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(size as u64);
    (0..size)
        .map(|index| if index % 64 < 32 { b"service.instance.id=checkout-7;;"[index % 32] } else { rng.u8(..) })
        .collect()
}

#[test]
fn every_coding_gives_back_what_it_was_given() {
    for coding in Coding::ALL {
        for size in [0, 1, 31, 300, 65_535, 65_537, 300_000] {
            let payload = sample(size);
            for level in [Level::Fast, Level::Exact(0), Level::Exact(6)] {
                let packed = compress(coding, level, &payload);
                let done = decompress_members(coding, &packed, size).unwrap();
                assert_eq!(done.members, Members::One, "{coding} {size}");
                assert!(done.payload == payload, "{coding} {size} {level:?}");
            }
        }
    }
}

#[test]
fn the_limit_is_exact() {
    for coding in Coding::ALL {
        let packed = compress(coding, Level::Fast, &sample(100_000));
        assert!(decompress(coding, &packed, 100_000).is_ok(), "{coding}");
        let error = decompress(coding, &packed, 99_999).unwrap_err();
        assert_eq!(error, CodingError::TooLarge { limit_bytes: 99_999 }, "{coding}");
        assert_eq!(decompress(coding, &packed, 0).unwrap_err(), CodingError::TooLarge { limit_bytes: 0 }, "{coding}");
    }
}

#[test]
fn a_stream_that_breaks_off_anywhere_is_corrupt() {
    let payload = sample(40_000);
    for coding in PACKED {
        let packed = compress(coding, Level::Fast, &payload);
        let ends = (0..packed.len()).filter(|end| *end < 100 || packed.len() - end < 100 || end % 4999 == 0);
        for end in ends {
            // A framed snappy stream has no end mark, so it may end after any chunk.
            let whole_chunks = coding == Coding::Snappy && end >= 10;
            match decompress(coding, &packed[..end], 1 << 20) {
                Err(CodingError::Corrupt { .. }) => {}
                Ok(prefix) if whole_chunks && payload.starts_with(&prefix) => {}
                other => panic!("{coding} cut at {end} of {}: {other:?}", packed.len()),
            }
        }
    }
}

#[test]
fn bytes_after_the_stream_are_corrupt() {
    for coding in PACKED {
        let packed = compress(coding, Level::Fast, &sample(1000));
        for garbage in [&b"\0"[..], b"garbage after the stream", &packed[..7]] {
            let longer = [&packed, garbage].concat();
            let found = decompress(coding, &longer, 1 << 20);
            assert!(matches!(found, Err(CodingError::Corrupt { .. })), "{coding}: {found:?}");
        }
    }
}

#[test]
fn damaged_bytes_are_an_error_or_an_equal_payload_and_never_a_panic() {
    let payload = sample(5000);
    let mut rng = fastrand::Rng::with_seed(3);
    for coding in PACKED {
        let packed = compress(coding, Level::Fast, &payload);
        for _ in 0..500 {
            let mut damaged = packed.to_vec();
            let index = rng.usize(..damaged.len());
            damaged[index] ^= 1 << rng.u8(..8);
            if let Ok(found) = decompress(coding, &damaged, 1 << 20) {
                // zstd at this level carries no checksum; the others notice, or the bit has no meaning.
                assert!(coding == Coding::Zstd || found == payload, "{coding}: byte {index}");
            }
        }
        for _ in 0..2000 {
            let size = rng.usize(..200);
            let noise: Vec<u8> = (0..size).map(|_| rng.u8(..)).collect();
            let headed = [&packed[..packed.len().min(rng.usize(..16))], &noise].concat();
            let _any = decompress(coding, &headed, 1 << 16);
        }
    }
}

#[test]
fn a_bomb_costs_no_more_than_the_limit() {
    let bomb = vec![0_u8; 8 << 20];
    for coding in [Coding::Gzip, Coding::Zstd, Coding::Deflate, Coding::Lz4, Coding::Snappy] {
        let packed = compress(coding, Level::Fast, &bomb);
        let error = decompress(coding, &packed, 1 << 18).unwrap_err();
        assert_eq!(error, CodingError::TooLarge { limit_bytes: 1 << 18 }, "{coding}");
    }
}

#[test]
fn several_members_are_read_and_reported() {
    for coding in [Coding::Gzip, Coding::Zstd, Coding::Lz4] {
        let (one, other) = (compress(coding, Level::Fast, b"one "), compress(coding, Level::Fast, b"two"));
        let done = decompress_members(coding, &[one.as_ref(), other.as_ref()].concat(), 7).unwrap();
        assert_eq!((done.payload.as_ref(), done.members), (&b"one two"[..], Members::Several), "{coding}");
        let error = decompress(coding, &[one.as_ref(), other.as_ref()].concat(), 6).unwrap_err();
        assert_eq!(error, CodingError::TooLarge { limit_bytes: 6 }, "{coding}");
    }
}

#[test]
fn a_flood_of_empty_members_is_refused() {
    for coding in [Coding::Gzip, Coding::Zstd, Coding::Lz4] {
        let flood = compress(coding, Level::Fast, b"").repeat(5000);
        assert!(matches!(decompress(coding, &flood, 1 << 20), Err(CodingError::Corrupt { .. })), "{coding}");
    }
}

#[test]
fn equal_members_in_a_row_are_all_read() {
    let member = compress(Coding::Gzip, Level::Fast, b"same");
    assert_eq!(decompress(Coding::Gzip, &member.repeat(3), 100).unwrap(), "samesamesame");
}

#[test]
fn optional_gzip_header_fields_are_passed_over() {
    let plain = compress(Coding::Gzip, Level::Fast, b"payload");
    let mut packed = vec![0x1f, 0x8b, 8, 2 | 4 | 8 | 16, 0, 0, 0, 0, 0, 3];
    packed.extend_from_slice(&[3, 0, b'a', b'b', b'c']);
    packed.extend_from_slice(b"name\0comment\0");
    packed.extend_from_slice(&[0, 0]);
    packed.extend_from_slice(&plain[10..]);
    assert_eq!(decompress(Coding::Gzip, &packed, 100).unwrap(), "payload");
}

#[test]
fn a_gzip_size_that_lies_is_corrupt() {
    let mut packed = compress(Coding::Gzip, Level::Fast, b"payload").to_vec();
    let end = packed.len();
    packed[end - 4..].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(matches!(decompress(Coding::Gzip, &packed, 1 << 20), Err(CodingError::Corrupt { .. })));
}

#[test]
fn raw_deflate_is_understood_and_not_forwarded() {
    let zlib = compress(Coding::Deflate, Level::Fast, &sample(1000));
    let done = decompress_members(Coding::Deflate, &zlib[2..zlib.len() - 4], 1000).unwrap();
    assert_eq!((done.payload.as_ref(), done.members), (sample(1000).as_slice(), Members::Several));
}

#[test]
fn a_zstd_frame_without_a_size_is_bounded_too() {
    let payload = sample(500_000);
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 3).unwrap();
    encoder.write_all(&payload).unwrap();
    let packed = encoder.finish().unwrap();
    assert_eq!(zstd::zstd_safe::get_frame_content_size(&packed).ok(), Some(None));
    assert!(decompress(Coding::Zstd, &packed, 500_000).unwrap() == payload);
    let error = decompress(Coding::Zstd, &packed, 499_999).unwrap_err();
    assert_eq!(error, CodingError::TooLarge { limit_bytes: 499_999 });
}

#[test]
fn a_zstd_frame_that_wants_a_huge_window_is_refused() {
    // Magic, no single segment, window descriptor for 128 MiB (RFC 8878, section 3.1.1.1.2), one raw block, last.
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 17 << 3, 0x09, 0, 0, b'x'];
    let error = decompress(Coding::Zstd, &frame, 1 << 30).unwrap_err();
    assert!(error.to_string().contains("8 MiB"), "{error}");
    let small = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0, 0x09, 0, 0, b'x'];
    assert_eq!(decompress(Coding::Zstd, &small, 1).unwrap(), "x");
}

#[test]
fn a_snappy_length_is_checked_before_anything_is_allocated() {
    // A varint of 4 GiB - 1, and nothing behind it.
    let header = [0xff, 0xff, 0xff, 0xff, 0x0f];
    assert_eq!(snappy_block_decompress(&header, 1 << 20), Err(CodingError::TooLarge { limit_bytes: 1 << 20 }));
    let found = snappy_block_decompress(&header, usize::MAX);
    assert!(matches!(found, Err(CodingError::Corrupt { .. })), "{found:?}");
    assert!(matches!(snappy_block_decompress(b"", 10), Err(CodingError::Corrupt { .. })));
}

#[test]
fn snappy_is_read_as_frames_and_as_a_block() {
    let payload = sample(200_000);
    let block = snappy_block_compress(&payload);
    assert!(snappy_block_decompress(&block, 200_000).unwrap() == payload);
    let done = decompress_members(Coding::Snappy, &block, 200_000).unwrap();
    assert!(done.payload == payload && done.members == Members::Several);
    let framed = compress(Coding::Snappy, Level::Fast, &payload);
    assert!(framed.starts_with(b"\xff\x06\x00\x00sNaPpY"));
    assert_eq!(decompress_members(Coding::Snappy, &framed, 200_000).unwrap().members, Members::One);
}

#[test]
fn names_and_aliases_are_understood() {
    for coding in Coding::ALL {
        assert_eq!(Coding::parse(coding.name()), Some(coding));
        assert!(Coding::ACCEPTED.split(',').any(|name| name == coding.name()));
    }
    assert_eq!(Coding::parse(" X-GZIP "), Some(Coding::Gzip));
    assert_eq!(Coding::parse(""), Some(Coding::Identity));
    assert_eq!(Coding::parse("br"), None);
}
