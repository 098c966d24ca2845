//! Sending again what the journal still has.

#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;
use std::time::Duration;

use component::Metrics;
use pipeline::{Engine, ReplayMode, ReplayRequest, ReplaySource, ReplayState, ReplayStatus, Replays};
use support::{Mode, World, engine, graph, logs_of};
use tempfile::TempDir;

fn yaml(directory: &Path) -> String {
    format!(
        "
receivers: {{hand: }}
exporters: {{test/a: , test/b: }}
journal: {{storage: disk, directory: '{}'}}
service: {{pipelines: {{logs: {{receivers: [hand], exporters: [test/a, test/b]}}}}}}
",
        directory.display()
    )
}

fn everything(exporter: &str) -> ReplayRequest {
    ReplayRequest {
        exporter: exporter.to_owned(),
        source: ReplaySource::Accepted,
        from_unix_ns: 0,
        to_unix_ns: None,
        matching: None,
        items_per_s_max: None,
        mode: ReplayMode::Send,
    }
}

async fn ended(replays: &Replays, id: u64) -> ReplayStatus {
    for _ in 0..5_000 {
        let status = replays.status(id).unwrap();
        if status.state != ReplayState::Running {
            return status;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("not in time: {:?}", replays.list());
}

/// A process that has delivered 3 items of `cart` and 4 of `checkout` to both backends.
async fn delivered(world: &World, directory: &TempDir) -> Engine {
    let engine = engine(&yaml(directory.path())).await;
    world.intake("hand").accept(logs_of("cart", 3)).await.unwrap();
    world.intake("hand").accept(logs_of("checkout", 4)).await.unwrap();
    for name in ["test/a", "test/b"] {
        world.backend(name).wait_for_items(7).await;
    }
    wait_for_rest(&engine).await;
    engine
}

async fn wait_for_rest(engine: &Engine) {
    while engine.ledger().lines().iter().any(|line| line.pending > 0) {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_backend_gets_everything_again_and_its_sibling_nothing() {
    let (world, directory) = (World::install(), TempDir::new().unwrap());
    let engine = delivered(&world, &directory).await;
    let replays = engine.replays().unwrap();
    let id = replays.start(everything("test/a")).unwrap();
    let status = ended(replays, id).await;
    assert_eq!(
        (status.state, status.found_items, status.read_items, status.delivered_items),
        (ReplayState::Done, 7, 7, 7)
    );
    assert_eq!((world.backend("test/a").received_items(), world.backend("test/b").received_items()), (14, 7));
    let lines = engine.ledger().lines();
    assert!(lines.iter().all(|line| line.accepted == 7 && line.delivered == 7), "accounted apart: {lines:?}");
    engine.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn a_condition_chooses_and_a_dry_run_only_counts() {
    let (world, directory) = (World::install(), TempDir::new().unwrap());
    let engine = delivered(&world, &directory).await;
    let replays = engine.replays().unwrap();
    let matching = Some(r#"resource["service.name"] == "checkout""#.to_owned());
    let dry = ReplayRequest { matching, mode: ReplayMode::DryRun, ..everything("test/a") };
    let status = ended(replays, replays.start(dry.clone()).unwrap()).await;
    assert_eq!((status.delivered_items, status.skipped_items), (4, 3));
    assert_eq!(world.backend("test/a").received_items(), 7, "nothing was sent");
    let id = replays.start(ReplayRequest { mode: ReplayMode::Send, ..dry }).unwrap();
    ended(replays, id).await;
    assert_eq!(world.backend("test/a").received_items(), 11);
    engine.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn what_cannot_be_replayed_is_told() {
    let (world, directory) = (World::install(), TempDir::new().unwrap());
    let durable = delivered(&world, &directory).await;
    let replays = durable.replays().unwrap();
    let check = |request: ReplayRequest, expected: &str| {
        let error = replays.start(request).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(everything("test/c"), "no pipeline has an exporter `test/c`; there are: test/a, test/b");
    check(ReplayRequest { from_unix_ns: 5, to_unix_ns: Some(4), ..everything("test/a") }, "`from` is later than `to`");
    check(ReplayRequest { matching: Some("resource".into()), ..everything("test/a") }, "match: column");
    durable.stop(Duration::ZERO).await;

    let in_memory = "
receivers: {hand: }
exporters: {test/a: }
service: {pipelines: {logs: {receivers: [hand], exporters: [test/a]}}}
";
    let forgetful = engine(in_memory).await;
    let error = forgetful.replays().unwrap().start(everything("test/a")).unwrap_err().to_string();
    assert!(error.contains("the journal is in memory"), "{error}");
    forgetful.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn a_replay_that_a_process_did_not_end_goes_on_in_the_next() {
    let (world, directory) = (World::install(), TempDir::new().unwrap());
    let first = delivered(&world, &directory).await;
    world.backend("test/a").set(Mode::Refuse);
    let id = first.replays().unwrap().start(everything("test/a")).unwrap();
    tokio::time::sleep(Duration::from_millis(30)).await;
    first.stop(Duration::ZERO).await;
    assert_eq!(world.backend("test/a").received_items(), 7);

    world.backend("test/a").set(Mode::Healthy);
    let second = engine(&yaml(directory.path())).await;
    let status = ended(second.replays().unwrap(), id).await;
    assert_eq!((status.state, status.delivered_items), (ReplayState::Done, 7));
    assert_eq!(world.backend("test/a").received_items(), 14);
    second.stop(Duration::ZERO).await;

    let third = engine(&yaml(directory.path())).await;
    assert!(third.replays().unwrap().list().is_empty(), "what is done is not done again");
    third.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn dead_letters_are_fed_again_once_the_backend_takes_them() {
    let (world, directory) = (World::install(), TempDir::new().unwrap());
    world.backend("test/a").set(Mode::Reject);
    let engine = engine(&yaml(directory.path())).await;
    world.intake("hand").accept(logs_of("cart", 3)).await.unwrap();
    wait_for_rest(&engine).await;
    world.backend("test/a").set(Mode::Healthy);
    let replays = engine.replays().unwrap();
    let letters = ReplayRequest { source: ReplaySource::DeadLetters, ..everything("test/a") };
    let status = ended(replays, replays.start(letters).unwrap()).await;
    assert_eq!((status.delivered_items, world.backend("test/a").received_items()), (3, 3));
    engine.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn a_journal_that_nobody_uses_is_replayed_without_receivers() {
    let (world, directory) = (World::install(), TempDir::new().unwrap());
    world.backend("test/b").set(Mode::Refuse);
    let first = engine(&yaml(directory.path())).await;
    world.intake("hand").accept(logs_of("cart", 3)).await.unwrap();
    world.backend("test/a").wait_for_items(3).await;
    first.stop(Duration::ZERO).await;

    let alone = Engine::start_for_replay(graph(&yaml(directory.path())), Metrics::default()).await.unwrap();
    let replays = alone.replays().unwrap();
    ended(replays, replays.start(everything("test/a")).unwrap()).await;
    assert_eq!(world.backend("test/a").received_items(), 6);
    let pending: Vec<u64> = alone.ledger().lines().iter().map(|line| line.pending).collect();
    assert_eq!(pending, [0, 3], "what is pending elsewhere stays pending");
    alone.stop(Duration::ZERO).await;

    let alone = Engine::start_for_replay(graph(&yaml(directory.path())), Metrics::default()).await.unwrap();
    world.backend("test/a").set(Mode::Reject);
    let replays = alone.replays().unwrap();
    let refused = ended(replays, replays.start(everything("test/a")).unwrap()).await;
    assert_eq!(refused.rejected_items, 3);
    let letters = ReplayRequest { source: ReplaySource::DeadLetters, ..everything("test/a") };
    let kept = ended(replays, replays.start(letters).unwrap()).await;
    assert_eq!(kept.found_items, 0, "nothing is written that could push out what is pending");
    alone.stop(Duration::ZERO).await;
}
