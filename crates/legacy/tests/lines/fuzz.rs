//! Lines, mutated at random from a fixed seed. `FUZZ_ITERATIONS` sets how often, and `FUZZ_SEED` another seed.

use legacy::carbon::Parser;
use legacy::influx::Precision;

use crate::{read_carbon, read_influx, rules};

const CARBON: &[&str] = &[
    "disk.used;host=a;path=/ 42 1700000000\ndisk.free 1.5e3 1700000000.25\n",
    "test.env1.host.x 7 -1\r\ntest.other 1 N\na inf 0\nb nan 0\n",
];
const INFLUX: &[&str] = &[
    "cpu,host=a,cpu=cpu0 idle=98.5,busy=3i,name=\"a \\\"b\\\" \\\\\",on=t 1700000000000000000\n# comment\n\n",
    "http,service.name=shop 0.05=1,0.1=2,+Inf=5,count=5,sum=0.7,start_time_unix_nano=1i 1700000000000000000\n",
    "prometheus,le=0.5 rpc_bucket=3 1\nprometheus rpc_count=4,rpc_sum=9 1\nprometheus,quantile=0.9 q=3 1\n",
    "m\\ 1,t\\=a=b\\,c f\\ 1=1u\r\n",
];
const INTERESTING: &[u8] = b" ,=\"\\\n\r\t;#ie.-+0tu\x00\xff\xc3~";

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn mutate(rng: &mut fastrand::Rng, bytes: &mut Vec<u8>) {
    let at = rng.usize(0..=bytes.len());
    let end = (at + rng.usize(0..16)).min(bytes.len());
    match rng.u8(0..8) {
        0 if at < bytes.len() => bytes[at] ^= 1 << rng.u8(0..8),
        1 if at < bytes.len() => bytes[at] = INTERESTING[rng.usize(0..INTERESTING.len())],
        2 | 3 => bytes.insert(at, INTERESTING[rng.usize(0..INTERESTING.len())]),
        4 => drop(bytes.drain(at..end)),
        5 => {
            let copy = bytes[at..end].to_vec();
            bytes.splice(at..at, copy);
        }
        6 if rng.u8(0..8) == 0 => bytes.truncate(at),
        _ if at < bytes.len() && bytes[at].is_ascii_digit() => bytes[at] = rng.digit(10) as u8,
        _ => {}
    }
}

fn fuzz(inputs: &[&str], run: impl Fn(&[u8])) {
    let mut rng = fastrand::Rng::with_seed(setting("FUZZ_SEED", 4));
    for _ in 0..setting("FUZZ_ITERATIONS", 10_000) {
        let mut input = inputs[rng.usize(0..inputs.len())].as_bytes().to_vec();
        (0..rng.usize(0..=6)).for_each(|_| mutate(&mut rng, &mut input));
        run(&input);
        if rng.u8(0..32) == 0 {
            let noise: Vec<u8> = (0..rng.usize(0..200)).map(|_| rng.u8(..)).collect();
            run(&noise);
        }
    }
}

#[test]
fn no_line_of_graphite_s_brings_it_down() {
    let (plain, rules) = (Parser::plaintext(), rules());
    fuzz(CARBON, |input| {
        read_carbon(&plain, input);
        read_carbon(&rules, input);
    });
}

#[test]
fn no_line_of_influxdb_s_brings_it_down() {
    fuzz(INFLUX, |input| {
        read_influx(Precision::Nanoseconds, input);
        read_influx(Precision::Hours, input);
    });
}

#[test]
fn every_part_of_a_text_is_read_to_its_end() {
    for text in INFLUX {
        (0..text.len()).for_each(|end| drop(read_influx(Precision::Seconds, &text.as_bytes()[..end])));
    }
}

#[test]
fn a_broken_line_leaves_the_next_one_as_it_is() {
    for broken in ["x", "x y=\"open", ",a=b c=1", "x,a c=1", "x a=1 y", "x\\", "x a=\"b\"c=1", "\u{7f}\\ "] {
        let text = format!("{broken}\ncpu busy=1 1700000000\n");
        let (batch, faults) = read_influx(Precision::Seconds, text.as_bytes());
        assert_eq!((batch.items(), faults.len()), (1, 1), "{broken}: {faults:?}");
        assert!(faults[0].starts_with("line 1, column "), "{faults:?}");
    }
}

#[test]
fn a_long_line_is_read_in_time_that_grows_with_it() {
    let tags: String = (0..100_000).map(|index| format!(",t{index}=v")).collect();
    let (batch, faults) = read_influx(Precision::Seconds, format!("m{tags} f=1 1\n").as_bytes());
    assert_eq!((batch.items(), faults), (1, Vec::new()));
    let open = "a b=\"\n".repeat(50_001);
    read_influx(Precision::Seconds, open.as_bytes());
}

#[test]
fn a_line_whose_points_would_fill_the_memory_is_refused() {
    let fields: Vec<String> = (0..3_000).map(|index| format!("f{index}=1")).collect();
    let text = format!("m,t={} {} 1\ncpu busy=1 1\n", "v".repeat(60_000), fields.join(","));
    let (batch, faults) = read_influx(Precision::Seconds, text.as_bytes());
    assert_eq!(batch.items(), 1);
    assert!(faults[0].contains("the batch grows beyond 134217728 bytes"), "{faults:?}");
}
