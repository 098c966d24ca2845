//! What a running pipeline promises, with backends that do what they are told.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use component::{Order, Refused, Waiting};
use pipeline::{Engine, Line};
use support::{Mode, World, engine, logs};

const TWO: &str = "
receivers: {hand: }
exporters: {test/a: , test/b: }
service: {pipelines: {logs: {receivers: [hand], exporters: [test/a, test/b]}}}
";

fn line(engine: &Engine, exporter: &str) -> Line {
    let lines = engine.ledger().lines();
    assert!(lines.iter().all(Line::balances), "{lines:#?}");
    lines.into_iter().find(|line| line.exporter == exporter).unwrap()
}

/// Until the ledger says so; it must balance all the while.
async fn wait(engine: &Engine, exporter: &str, until: impl Fn(&Line) -> bool) -> Line {
    for _ in 0..10_000 {
        let line = line(engine, exporter);
        if until(&line) {
            return line;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("not in time: {:#?}", engine.ledger().lines());
}

#[tokio::test]
async fn every_exporter_of_a_pipeline_gets_every_item() {
    let world = World::install();
    let engine = engine(TWO).await;
    for _ in 0..20 {
        world.intake("hand").accept(logs(7)).await.unwrap();
    }
    for name in ["test/a", "test/b"] {
        world.backend(name).wait_for_items(140).await;
        let line = wait(&engine, name, |line| line.pending == 0).await;
        assert_eq!((line.accepted, line.delivered), (140, 140));
    }
    engine.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_backend_that_hangs_changes_nothing_for_its_sibling() {
    let world = World::install();
    world.backend("test/a").set(Mode::Hang);
    let engine = engine(TWO).await;
    for _ in 0..100 {
        world.intake("hand").accept(logs(1)).await.unwrap();
    }
    world.backend("test/b").wait_for_items(100).await;
    let line = wait(&engine, "test/a", |line| line.pending == 100).await;
    assert_eq!((line.delivered, line.rejected_items(), line.dropped_items()), (0, 0, 0));
    engine.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn a_backend_that_comes_back_gets_everything_once() {
    let world = World::install();
    world.backend("test/a").set(Mode::Refuse);
    let engine = engine(TWO).await;
    for _ in 0..50 {
        world.intake("hand").accept(logs(2)).await.unwrap();
    }
    world.backend("test/b").wait_for_items(100).await;
    world.backend("test/a").set(Mode::Healthy);
    world.backend("test/a").wait_for_items(100).await;
    engine.stop(Duration::from_secs(5)).await;
    assert_eq!((world.backend("test/a").received_items(), world.backend("test/b").received_items()), (100, 100));
}

#[tokio::test]
async fn a_partial_success_is_final_and_counted() {
    let world = World::install();
    world.backend("test/a").set(Mode::PartialSuccess(3));
    let engine = engine(TWO).await;
    world.intake("hand").accept(logs(10)).await.unwrap();
    let line = wait(&engine, "test/a", |line| line.pending == 0).await;
    assert_eq!((line.delivered, line.rejected["partial_success"]), (7, 3));
    assert_eq!(world.backend("test/a").look(|behaviour| behaviour.requests), 1);
    engine.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_permanent_refusal_is_counted_by_its_cause_and_does_not_block() {
    let world = World::install();
    world.backend("test/a").set(Mode::Reject);
    let engine = engine(TWO).await;
    world.intake("hand").accept(logs(10)).await.unwrap();
    wait(&engine, "test/a", |line| line.rejected.get("rejected") == Some(&10)).await;
    world.backend("test/a").set(Mode::Healthy);
    world.intake("hand").accept(logs(1)).await.unwrap();
    wait(&engine, "test/a", |line| line.delivered == 1).await;
    engine.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn retries_end_where_the_configuration_says_so_and_are_counted() {
    let world = World::install();
    for name in ["test/a", "test/b"] {
        world.backend(name).set(Mode::Refuse);
    }
    let engine = engine(&TWO.replace("test/a: , test/b: ", "test/a: {give_up: 30ms}, test/b: {retry: false}")).await;
    world.intake("hand").accept(logs(10)).await.unwrap();
    wait(&engine, "test/a", |line| line.dropped.get("retries_exhausted") == Some(&10)).await;
    wait(&engine, "test/b", |line| line.dropped.get("retry_disabled") == Some(&10)).await;
    engine.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn an_attempt_without_an_answer_ends_at_the_timeout_and_is_repeated() {
    let world = World::install();
    world.backend("test/a").set(Mode::Hang);
    let engine = engine(&TWO.replace("test/a: ,", "test/a: {timeout: 20ms},")).await;
    world.intake("hand").accept(logs(1)).await.unwrap();
    while world.backend("test/a").look(|behaviour| behaviour.requests) < 3 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    world.backend("test/a").set(Mode::Healthy);
    world.backend("test/a").wait_for_items(1).await;
    engine.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_full_queue_refuses_for_all_pipelines_so_that_a_retry_makes_no_duplicate() {
    let world = World::install();
    world.backend("test/a").set(Mode::Hang);
    let engine = engine(&TWO.replace("test/a: ,", "test/a: {sending_queue: {queue_size: 5, sizer: items}},")).await;
    world.intake("hand").accept(logs(5)).await.unwrap();
    let refused = world.intake("hand").accept(logs(1)).await.unwrap_err();
    assert!(matches!(refused, Refused::Retry { .. }), "{refused}");
    wait(&engine, "test/b", |line| line.accepted == 5 && line.pending == 0).await;
    assert_eq!(world.backend("test/b").received_items(), 5);
    engine.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn block_on_overflow_makes_the_sender_wait() {
    let world = World::install();
    world.backend("test/a").set(Mode::Refuse);
    let queue = "test/a: {sending_queue: {queue_size: 5, sizer: items, block_on_overflow: true}},";
    let engine = engine(&TWO.replace("test/a: ,", queue)).await;
    world.intake("hand").accept(logs(5)).await.unwrap();
    let intake = world.intake("hand");
    let waiting = tokio::spawn(async move { intake.accept(logs(1)).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!waiting.is_finished());
    world.backend("test/a").set(Mode::Healthy);
    tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap().unwrap().unwrap();
    engine.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn the_batch_processor_puts_requests_together_and_splits_large_ones() {
    let world = World::install();
    let yaml = TWO.replace("exporters: {test", "processors: {batch: {items_min: 10, items_max: 15}}\nexporters: {test");
    let engine = engine(&yaml.replace("exporters: [test", "processors: [batch], exporters: [test")).await;
    for _ in 0..5 {
        world.intake("hand").accept(logs(2)).await.unwrap();
    }
    world.intake("hand").accept(logs(40)).await.unwrap();
    for name in ["test/a", "test/b"] {
        let backend = world.backend(name);
        backend.wait_for_items(50).await;
        let sizes = backend.look(|behaviour| behaviour.received.iter().map(otlp::Batch::items).collect::<Vec<_>>());
        assert!(sizes.len() <= 6 && sizes.iter().all(|size| *size <= 15), "{sizes:?}");
    }
    let line = wait(&engine, "test/a", |line| line.pending == 0).await;
    assert_eq!((line.accepted, line.delivered), (50, 50));
    engine.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_batch_that_does_not_fill_is_sent_after_its_delay() {
    let world = World::install();
    let yaml = TWO.replace("exporters: {test", "processors: {batch: {items_min: 1000, delay: 30ms}}\nexporters: {test");
    let engine = engine(&yaml.replace("exporters: [test", "processors: [batch], exporters: [test")).await;
    world.intake("hand").accept(logs(2)).await.unwrap();
    world.intake("hand").accept(logs(3)).await.unwrap();
    world.backend("test/a").wait_for_items(5).await;
    assert_eq!(world.backend("test/a").look(|behaviour| behaviour.received.len()), 1);
    engine.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn exporters_that_keep_up_share_what_was_put_together() {
    let world = World::install();
    let yaml = TWO.replace("exporters: {test", "processors: {batch: {items_min: 6}}\nexporters: {test");
    let engine = engine(&yaml.replace("exporters: [test", "processors: [batch], exporters: [test")).await;
    for _ in 0..30 {
        world.intake("hand").accept(logs(2)).await.unwrap();
    }
    for name in ["test/a", "test/b"] {
        world.backend(name).wait_for_items(60).await;
    }
    let places = |name: &str| {
        world.backend(name).look(|behaviour| {
            let mut places: Vec<_> = behaviour.received.iter().map(|batch| batch.bytes().as_ptr()).collect();
            places.sort_unstable();
            places
        })
    };
    assert_eq!(places("test/a"), places("test/b"), "the same bytes went to both");
    engine.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn an_exporter_that_keeps_order_never_has_two_batches_under_way() {
    let world = World::install();
    world.backend("test/a").change(|behaviour| {
        behaviour.order = Order::Kept;
        behaviour.delay = Duration::from_millis(1);
    });
    let engine = engine(TWO).await;
    for items in 1..=30 {
        world.intake("hand").accept(logs(items)).await.unwrap();
    }
    world.backend("test/a").wait_for_items((1..=30).sum()).await;
    let sizes = world.backend("test/a").look(|b| b.received.iter().map(otlp::Batch::items).collect::<Vec<_>>());
    assert_eq!(sizes, (1..=30).collect::<Vec<u32>>());
    engine.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn what_waits_goes_together_where_the_exporter_wants_it_and_nowhere_else() {
    let world = World::install();
    for name in ["test/a", "test/b"] {
        world.backend(name).change(|behaviour| {
            behaviour.order = Order::Kept;
            behaviour.delay = Duration::from_millis(1);
        });
    }
    world.backend("test/a").change(|behaviour| behaviour.waiting = Waiting::Together);
    let engine = engine(TWO).await;
    for items in 1..=30 {
        world.intake("hand").accept(logs(items)).await.unwrap();
    }
    let received = |name: &str| world.backend(name).look(|behaviour| behaviour.received.len());
    for name in ["test/a", "test/b"] {
        world.backend(name).wait_for_items((1..=30).sum()).await;
    }
    assert!(received("test/a") < 10, "{}", received("test/a"));
    assert_eq!(received("test/b"), 30);
    let line = wait(&engine, "test/a", |line| line.pending == 0).await;
    assert_eq!((line.accepted, line.delivered), (465, 465));
    engine.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn what_processors_take_out_is_acknowledged_and_never_accepted() {
    let world = World::install();
    let yaml = TWO.replace("exporters: {test", "processors: {drop: }\nexporters: {test");
    let engine = engine(&yaml.replace("exporters: [test", "processors: [drop], exporters: [test")).await;
    world.intake("hand").accept(logs(9)).await.unwrap();
    assert_eq!(line(&engine, "test/a").accepted, 0);
    let filtered =
        engine.metrics().gather().into_iter().find(|f| f.name == "crossfade_pipeline_filtered_items").unwrap();
    assert_eq!(filtered.series[0].1, 9.0);
    engine.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_processor_of_one_pipeline_that_refuses_keeps_the_batch_out_of_all() {
    let world = World::install();
    let engine = engine(
        "
receivers: {hand: }
processors: {refuse: }
exporters: {test/a: , test/b: }
service:
  pipelines:
    logs/a: {receivers: [hand], exporters: [test/a]}
    logs/b: {receivers: [hand], processors: [refuse], exporters: [test/b]}
",
    )
    .await;
    assert!(world.intake("hand").accept(logs(1)).await.is_err());
    assert_eq!(line(&engine, "test/a").accepted, 0);
    engine.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn stopping_delivers_what_was_accepted() {
    let world = World::install();
    world.backend("test/a").change(|behaviour| behaviour.delay = Duration::from_millis(5));
    let engine = engine(TWO).await;
    for _ in 0..50 {
        world.intake("hand").accept(logs(1)).await.unwrap();
    }
    let rest = engine.stop(Duration::from_secs(20)).await;
    assert!(!rest.gave_up);
    assert!(rest.lines.iter().all(|line| line.balances() && line.delivered == 50), "{rest:#?}");
}

#[tokio::test]
async fn what_cannot_be_delivered_in_time_is_counted_as_dropped_by_the_shutdown() {
    let world = World::install();
    world.backend("test/a").set(Mode::Hang);
    let engine = engine(TWO).await;
    for _ in 0..50 {
        world.intake("hand").accept(logs(1)).await.unwrap();
    }
    world.backend("test/b").wait_for_items(50).await;
    let rest = engine.stop(Duration::from_millis(100)).await;
    assert!(rest.gave_up);
    let line = rest.lines.iter().find(|line| line.exporter == "test/a").unwrap();
    assert!(line.balances() && line.pending == 0 && line.dropped["shutdown"] == 50, "{line:#?}");
}
