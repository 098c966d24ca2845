//! What the load generator and the counting backend cost by themselves, in CPU time of the process: the floor of every
//! comparison that uses them. `cargo bench -p crossfade-load --bench loopback [-- SECONDS]`
//!
//! Without arguments each case runs for three seconds.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark prints, and ends where something is wrong")]

use std::time::Duration;

use load::payload::{Form, Generator, PayloadSettings};
use load::receive::{Backend, Detail, ReceiveSettings};
use load::send::{Amount, Destination, Protocol, SendReport, SendSettings, Sending};
use load::verdict::judge;
use load::{RunId, WorkerId};
use otlp::Signal;
use tokio::runtime::Builder;
use transport::coding::Coding;
use transport::endpoint::Endpoint;

/// The CPU time of this process, in seconds; only Linux tells. A tick is 10 ms.
fn cpu_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    // Fields 14 and 15 of the line, counted from behind the name, which is field 2.
    fields[11..13].iter().map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() / 100.0
}

fn generate(signal: Signal, form: Form) {
    const REQUESTS: u32 = 20_000;
    let mut generator = Generator::new(&PayloadSettings::default(), signal, form, RunId(1), WorkerId(0));
    let before = cpu_s();
    for request in 0..REQUESTS {
        let payload = generator.next(1_700_000_000_000_000_000 + u64::from(request));
        std::hint::black_box(&payload.bytes);
        generator.give_back(payload);
    }
    let cpu_us = (cpu_s() - before) * 1e6 / f64::from(REQUESTS * 200);
    println!("generate alone  {signal:<8} {form:?}: {cpu_us:.4} CPU us per item");
}

fn run(duration: Duration, signal: Signal, protocol: Protocol, compression: Coding) {
    let before = cpu_s();
    let backend_runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let any = || Some(Endpoint::parse("127.0.0.1:0").unwrap());
    let settings = ReceiveSettings { otlp_grpc: any(), otlp_http: any(), ..ReceiveSettings::default() };
    let backend = Backend::start(settings, backend_runtime.handle()).unwrap();
    let address = match protocol {
        Protocol::OtlpGrpc => backend.addresses().otlp_grpc.clone(),
        Protocol::OtlpHttpProtobuf | Protocol::OtlpHttpJson => backend.addresses().otlp_http.clone(),
    };
    let destination = Destination { compression, ..Destination::new(protocol, address.unwrap().to_string()) };
    let settings = SendSettings {
        signals: vec![signal],
        amount: Amount::Duration(duration),
        ..SendSettings::new(destination, RunId(1))
    };
    let sender_runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let report: SendReport = sender_runtime.block_on(async { Sending::start(settings).unwrap().wait().await });
    let cpu_us = (cpu_s() - before) * 1e6 / report.acked_items as f64;
    let verdict = judge("backend", &[signal], std::slice::from_ref(&report), &backend.counts(Detail::Workers));
    println!(
        "send + receive  {signal:<8} {protocol} {compression}: {cpu_us:.3} CPU us per item, {:.0} items/s, p99 {:.2} ms; \
         {verdict}",
        report.acked_items_per_s, report.latency.p99_ms
    );
}

fn main() {
    let seconds = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(3);
    let duration = Duration::from_secs(seconds);
    for signal in Signal::ALL {
        generate(signal, Form::Protobuf);
    }
    generate(Signal::Traces, Form::Json);
    for signal in Signal::ALL {
        run(duration, signal, Protocol::OtlpGrpc, Coding::Identity);
    }
    run(duration, Signal::Traces, Protocol::OtlpGrpc, Coding::Gzip);
    run(duration, Signal::Traces, Protocol::OtlpGrpc, Coding::Zstd);
    run(duration, Signal::Traces, Protocol::OtlpHttpProtobuf, Coding::Identity);
    run(duration, Signal::Traces, Protocol::OtlpHttpJson, Coding::Identity);
}
