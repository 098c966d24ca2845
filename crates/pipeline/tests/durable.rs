//! What a pipeline with its journal on disk promises: another process goes on where this one ended.

#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;
use std::time::Duration;

use component::Refused;
use pipeline::{Engine, Line};
use support::{Mode, World, engine, logs, try_engine};
use tempfile::TempDir;

/// Two exporters and a journal in this directory.
fn yaml(directory: &Path, more: &str) -> String {
    format!(
        "
receivers: {{hand: }}
exporters: {{test/a: , test/b: }}
journal: {{storage: disk, directory: '{}', retention: {{size: 8MiB}}{more}}}
service: {{pipelines: {{logs: {{receivers: [hand], exporters: [test/a, test/b]}}}}}}
",
        directory.display()
    )
}

fn line(engine: &Engine, exporter: &str) -> Line {
    let lines = engine.ledger().lines();
    assert!(lines.iter().all(Line::balances), "{lines:#?}");
    lines.into_iter().find(|line| line.exporter == exporter).unwrap()
}

async fn settled(engine: &Engine, exporter: &str) -> Line {
    for _ in 0..10_000 {
        let line = line(engine, exporter);
        if line.pending == 0 {
            return line;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("not in time: {:#?}", engine.ledger().lines());
}

#[tokio::test]
async fn what_a_backend_did_not_take_is_delivered_by_the_next_process() {
    let (world, directory) = (World::install(), TempDir::new().unwrap());
    world.backend("test/a").set(Mode::Refuse);
    let first = engine(&yaml(directory.path(), "")).await;
    for _ in 0..30 {
        world.intake("hand").accept(logs(3)).await.unwrap();
    }
    settled(&first, "test/b").await;
    let rest = first.stop(Duration::ZERO).await;
    let waiting = rest.lines.iter().find(|line| line.exporter == "test/a").unwrap();
    assert_eq!((waiting.pending, waiting.dropped_items(), rest.gave_up), (90, 0, false), "kept, not given up");

    world.backend("test/a").set(Mode::Healthy);
    let second = engine(&yaml(directory.path(), "")).await;
    world.backend("test/a").wait_for_items(90).await;
    let (a, b) = (settled(&second, "test/a").await, settled(&second, "test/b").await);
    assert_eq!((a.accepted, a.delivered, b.delivered), (90, 90, 90), "the books go on");
    assert_eq!(world.backend("test/b").received_items(), 90, "nothing twice");
    second.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn an_exporter_that_comes_later_may_start_with_the_oldest_record() {
    let (world, directory) = (World::install(), TempDir::new().unwrap());
    let one = yaml(directory.path(), "").replace("[test/a, test/b]", "[test/a]");
    let first = engine(&one).await;
    world.intake("hand").accept(logs(5)).await.unwrap();
    settled(&first, "test/a").await;
    first.stop(Duration::from_secs(1)).await;

    let second = engine(&yaml(directory.path(), ", start: {test/b: oldest}")).await;
    world.backend("test/b").wait_for_items(5).await;
    let late = settled(&second, "test/b").await;
    assert_eq!((late.accepted, late.delivered), (5, 5));
    assert_eq!(world.backend("test/a").received_items(), 5);
    second.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn an_exporter_that_left_is_remembered() {
    let (world, directory) = (World::install(), TempDir::new().unwrap());
    world.backend("test/b").set(Mode::Refuse);
    let first = engine(&yaml(directory.path(), "")).await;
    world.intake("hand").accept(logs(5)).await.unwrap();
    settled(&first, "test/a").await;
    first.stop(Duration::ZERO).await;

    let second = engine(&yaml(directory.path(), "").replace("[test/a, test/b]", "[test/a]")).await;
    let left = line(&second, "test/b");
    assert_eq!((left.is_configured, left.pending), (false, 5));
    second.stop(Duration::ZERO).await;

    world.backend("test/b").set(Mode::Healthy);
    let third = engine(&yaml(directory.path(), "")).await;
    world.backend("test/b").wait_for_items(5).await;
    settled(&third, "test/b").await;
    third.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn a_second_process_is_told_that_the_directory_is_taken() {
    let (_world, directory) = (World::install(), TempDir::new().unwrap());
    let first = engine(&yaml(directory.path(), "")).await;
    let error = try_engine(&yaml(directory.path(), "")).await.map(|_| ()).unwrap_err().to_string();
    assert!(error.starts_with("journal: another process uses the journal in"), "{error}");
    first.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn what_is_refused_for_good_is_counted_and_kept_as_a_dead_letter() {
    let (world, directory) = (World::install(), TempDir::new().unwrap());
    world.backend("test/a").set(Mode::Reject);
    let engine = engine(&yaml(directory.path(), "")).await;
    world.intake("hand").accept(logs(4)).await.unwrap();
    let line = settled(&engine, "test/a").await;
    assert_eq!(line.rejected["rejected"], 4);
    engine.stop(Duration::from_secs(1)).await;

    let mut letters = Vec::new();
    let disk: std::sync::Arc<dyn journal::disk::io::Disk> =
        std::sync::Arc::new(journal::disk::io::Directory::look(directory.path()).unwrap());
    let each = |record: journal::disk::RecordView| {
        letters.push((record.stream, record.items));
        true
    };
    journal::disk::records(&disk, each).unwrap();
    letters.retain(|(stream, _)| stream.starts_with("dead_letters/"));
    assert_eq!(letters, [("dead_letters/logs/test/a".to_owned(), 4)]);
}

#[tokio::test]
async fn a_full_journal_refuses_and_the_sender_may_come_again() {
    let (world, directory) = (World::install(), TempDir::new().unwrap());
    world.backend("test/a").set(Mode::Refuse);
    let engine = engine(&yaml(directory.path(), "")).await;
    let mut taken = 0;
    let refused = loop {
        match world.intake("hand").accept(logs(20_000)).await {
            Ok(()) => taken += 20_000,
            Err(refused) => break refused,
        }
    };
    assert!(matches!(&refused, Refused::Retry { cause, .. } if cause.starts_with("the journal is full")), "{refused}");
    world.backend("test/a").set(Mode::Healthy);
    world.backend("test/a").wait_for_items(taken).await;
    settled(&engine, "test/a").await;
    world.intake("hand").accept(logs(20_000)).await.unwrap();
    engine.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn the_ledger_tells_services_apart_over_restarts() {
    let (world, directory) = (World::install(), TempDir::new().unwrap());
    let first = engine(&yaml(directory.path(), "")).await;
    world.intake("hand").accept(support::logs_of("checkout", 3)).await.unwrap();
    world.intake("hand").accept(support::logs_of("cart", 2)).await.unwrap();
    settled(&first, "test/a").await;
    first.stop(Duration::from_secs(1)).await;

    let second = engine(&yaml(directory.path(), "")).await;
    world.intake("hand").accept(support::logs_of("cart", 10)).await.unwrap();
    settled(&second, "test/a").await;
    let parts = second.ledger().parts();
    let of = |service: &str| {
        let part = parts.iter().find(|part| part.exporter == "test/a" && part.name == service).unwrap();
        (part.dimension.as_str(), part.accepted, part.delivered, part.pending)
    };
    assert_eq!(of("checkout"), ("service.name", 3, 3, 0));
    assert_eq!(of("cart"), ("service.name", 12, 12, 0));
    second.stop(Duration::from_secs(1)).await;
}
