//! Whatever the text, loading and reading it ends in a value or in errors: no panic, no runaway memory or time, and
//! no expanded value in any message.
//!
//! Sound configurations are mangled by a seeded generator. `MANGLE_SEED` and `MANGLE_ROUNDS` choose other runs.

use std::panic::{AssertUnwindSafe, catch_unwind};

use config::shapes::{GrpcClient, GrpcServer, HttpClient, HttpServer, Retry, SendingQueue};
use config::{ComponentId, Diagnostics, Section, TestEnvironment, json_array, parse_all};
use fastrand::Rng;

const SEEDS: [&str; 4] = [
    "receivers:\n  otlp:\n    protocols:\n      grpc:\n        endpoint: 0.0.0.0:4317\n        keepalive: {server_parameters: \
     {max_connection_age: 1h}}\n      http: # comment\n        cors:\n          allowed_origins: [\"http://*\", 'x']\n",
    "anchors:\n  a: &a { x: 1, y: [1, 2.5, ~, true] }\n  b: &b\n    <<: *a\n    z: |\n      block\n      text\n  c: >-\n    \
     folded\n    text\n  d: [*a, *b]\n",
    "exporters:\n  otlp/new:\n    endpoint: ${env:HOST:-localhost}:4317\n    headers:\n      authorization: Bearer \
     ${file:token}\n    sending_queue: ${env:QUEUE}\n    retry_on_failure: { enabled: true, multiplier: \"1.5\" }\n    x: $$1\n",
    "? complex\n: value\n\"quoted\\u00e9\\n\": 'it''s'\nempty:\nnumbers: [0x1F, 0o17, 0123, 1e9, .inf, -.5]\n!!str tag: !!int 5\n",
];

/// Pieces that mean something to YAML or to the expansion.
const PIECES: [&str; 40] = [
    "${",
    "}",
    "$$",
    "${env:HOST}",
    "${QUEUE}",
    "${env:CYCLE}",
    "${file:token}",
    ":-",
    "${vault:",
    ": ",
    ":",
    "- ",
    "-",
    "[",
    "]",
    "{",
    "}",
    ",",
    "\"",
    "'",
    "&a ",
    "*a",
    "<<: ",
    "!!int ",
    "!x ",
    "|",
    ">",
    "#",
    "%",
    "---\n",
    "...\n",
    "\t",
    "\n",
    "\r\n",
    "\u{feff}",
    "\0",
    "ü",
    "\u{85}",
    "\u{2028}",
    "? ",
];

fn mangle(rng: &mut Rng) -> String {
    let mut text: Vec<char> = rng.choice(SEEDS).unwrap_or_default().chars().collect();
    for _ in 0..rng.usize(1..8) {
        let at = rng.usize(0..=text.len());
        let end = rng.usize(at..=text.len().min(at + 20));
        match rng.u8(0..6) {
            0 => drop(text.drain(at..end)),
            1 => {
                let copy = text[at..end].to_vec();
                let to = rng.usize(0..=text.len());
                text.splice(to..to, copy);
            }
            2 => text.truncate(at.max(1)),
            3 => text.insert(at, rng.char(..)),
            4 => {
                let piece = rng.choice(PIECES).unwrap_or_default().repeat(rng.usize(1..30));
                text.splice(at..at, piece.chars());
            }
            _ => {
                let piece = rng.choice(PIECES).unwrap_or_default();
                text.splice(at..end, piece.chars());
            }
        }
    }
    text.into_iter().collect()
}

/// Reads everything as everything.
fn read_all(section: &mut Section<'_>) {
    SendingQueue::read(section);
    Retry::read(section);
    GrpcClient::read(section);
    GrpcServer::read(section);
    HttpClient::read(section);
    HttpServer::read(section);
    section.get("empty").string().required();
    section.get("numbers").each(|item| item.integer::<u16>().required()).optional();
    section.get("numbers").strings().optional();
    section.get("x").bytes().optional();
    section.get("y").prometheus_duration().optional();
    section.get("z").secret_map().optional();
    section.children("d", read_all);
    for (name, node) in section.entries() {
        let _ = name.value.parse::<ComponentId>();
        if node.as_map().is_some() {
            Section::open(node, section.path().key(&name.value), section.diagnostics()).read(read_all);
        }
    }
}

fn load_and_read(first: &str, second: &str) -> usize {
    let env = TestEnvironment::new()
        .with_var("HOST", "hunter2")
        .with_var("QUEUE", "{queue_size: ${env:SIZE}, storage: [a]}")
        .with_var("CYCLE", "x${CYCLE}")
        .with_file("token", "hunter2: {b\n");
    let loaded = match parse_all(&[("a.yaml", first), ("b.yaml", second)], &env) {
        Ok(loaded) => loaded,
        Err(errors) => return shown(&format!("{errors} {} {}", errors.render(), errors.to_json())),
    };
    let mut diagnostics = Diagnostics::new();
    Section::open(&loaded.root, "", &mut diagnostics).read(read_all);
    let tree = shown(&format!("{:?} {}", loaded.root, json_array(&loaded.warnings)));
    tree + diagnostics.finish().map_or_else(|errors| shown(&(errors.render() + &errors.to_json())), |_| 0)
}

/// How much is shown to the user; none of it may be the value of a variable or a file.
fn shown(text: &str) -> usize {
    assert!(!text.contains("hunter2"), "a secret is told: {text}");
    text.len()
}

#[test]
fn mangled_text_never_panics_and_tells_no_secret() {
    let number = |name: &str, default| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let mut rng = Rng::with_seed(number("MANGLE_SEED", 4317));
    let mut shown = 0;
    for round in 0..number("MANGLE_ROUNDS", 2000) {
        let (first, second) = (mangle(&mut rng), if rng.u8(0..4) == 0 { mangle(&mut rng) } else { String::new() });
        match catch_unwind(AssertUnwindSafe(|| load_and_read(&first, &second))) {
            Ok(bytes) => shown += bytes,
            Err(_) => panic!("round {round} panicked on\n{first:?}\nand\n{second:?}"),
        }
    }
    assert!(shown > 50_000, "the texts were read by nobody");
}

#[test]
fn the_seeds_themselves_are_sound() {
    for seed in SEEDS {
        let env = TestEnvironment::new().with_var("QUEUE", "{}").with_file("token", "t");
        parse_all(&[("seed.yaml", seed)], &env).unwrap();
    }
}

#[test]
fn texts_made_to_be_slow_are_not() {
    let many = |piece: &str| piece.repeat((1 << 18) / piece.len());
    for piece in [
        "${", "}", "$", "a: ", "- ", "[", "\"", "'", "#", "\n", "&a ", "*a ", "k: v\n", "- x\n", "? ", "!", ",", "|\n",
        "x ", "\t",
    ] {
        for text in [many(piece), format!("a: {}", many(piece)), format!("a: \"{}\"", many(piece).replace('"', "x"))] {
            let _ = load_and_read(&text, "");
        }
    }
    let wide: String = (0..20_000).map(|i| format!("k{i}: v{i}\n")).collect();
    assert!(load_and_read(&wide, &wide) > 0);
}
