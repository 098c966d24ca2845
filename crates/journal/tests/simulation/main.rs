//! The real journal over a simulated disk, by seeds: crashes that keep any part of what was not synced, writes that
//! tear, disks that are full or broken, bits that flip.
//!
//! `CROSSFADE_SEEDS=N` runs more of them; a failure names its seed, and `CROSSFADE_SEED=N` runs that one alone.
#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs)]

mod disk;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use disk::{Crash, Faults};
use journal::disk::DiskOptions;
use journal::disk::Sync;
use journal::{Bucket, Journal, LagLimit, Record, WhenFull};
use world::{FROM_THE_START, World, YIELDING, options};

/// Runs a scenario over many seeds, and names the one that fails.
fn check(scenario: fn(u64)) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("CROSSFADE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("CROSSFADE_SEEDS").unwrap_or(150),
    };
    for seed in seeds {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| scenario(seed))) {
            eprintln!("seed {seed} fails: run it alone with CROSSFADE_SEED={seed}");
            resume_unwind(panic);
        }
    }
}

fn crash_kind(world: &mut World) -> Crash {
    if world.rng.bool() { Crash::Kill } else { Crash::PowerCut }
}

/// Acts and crashes, several times, then reads everything.
fn live_through(world: &mut World, faults: Faults) {
    for _ in 0..world.rng.usize(1..6) {
        world.disk.set_faults(faults);
        for _ in 0..world.rng.usize(..150) {
            world.act();
        }
        // The machine that comes back is in order.
        world.disk.set_faults(Faults::default());
        let how = crash_kind(world);
        world.crash(how);
    }
    for _ in 0..20 {
        world.act();
    }
    world.drain();
}

fn assert_nothing_is_lost(world: &World) {
    for index in 0..world.readers.len() {
        assert_eq!(world.dropped_items(index), 0, "reader {index}: {:?}", world.readers[index].lost);
        assert_eq!(world.missing_items(index), 0, "reader {index}");
    }
}

#[test]
fn what_was_acknowledged_survives_kills_and_power_cuts() {
    check(|seed| {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut world = World::new(seed, options(&mut rng, WhenFull::Refuse), None);
        live_through(&mut world, Faults::default());
        assert_nothing_is_lost(&world);
    });
}

#[test]
fn what_was_acknowledged_survives_disks_that_fail() {
    check(|seed| {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut world = World::new(seed, options(&mut rng, WhenFull::Refuse), None);
        // A disk that says that it is full takes what nobody is there to read.
        world.stays = true;
        live_through(&mut world, Faults { create: 100, write: 30, sync: 30, read: 0 });
        assert_nothing_is_lost(&world);
    });
}

#[test]
fn a_journal_that_drops_its_oldest_counts_each_item() {
    check(|seed| {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut options = options(&mut rng, WhenFull::DropOldest);
        options.segment_bytes = Some(32 << 10);
        options.size_bytes_max = 256 << 10;
        let lag_max = rng.bool().then_some(LagLimit::Records(5));
        let mut world = World::new(seed, options, lag_max);
        live_through(&mut world, Faults::default());
        for index in FROM_THE_START {
            // What was dropped and not acknowledged counts as well: it was there.
            assert!(world.dropped_items(index) >= world.missing_items(index), "reader {index}");
        }
    });
}

#[test]
fn a_full_journal_refuses_and_loses_nothing() {
    check(|seed| {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut options = options(&mut rng, WhenFull::Refuse);
        options.segment_bytes = Some(32 << 10);
        options.size_bytes_max = 192 << 10;
        let mut world = World::new(seed, options, None);
        world.stays = true;
        live_through(&mut world, Faults::default());
        assert_nothing_is_lost(&world);
    });
}

#[test]
fn what_was_written_survives_kills_without_a_sync() {
    check(|seed| {
        let mut rng = fastrand::Rng::with_seed(seed);
        let interval = Sync::Interval(std::time::Duration::from_secs(1));
        let sync = if rng.bool() { Sync::OnWrite } else { interval };
        let options = DiskOptions { sync, ..options(&mut rng, WhenFull::Refuse) };
        let mut world = World::new(seed, options, None);
        for _ in 0..4 {
            for _ in 0..80 {
                world.act();
            }
            world.crash(Crash::Kill);
        }
        world.drain();
        assert_nothing_is_lost(&world);
    });
}

#[tokio::test]
async fn a_file_whose_sync_failed_behind_the_answers_is_written_no_more() {
    let disk = disk::SimDisk::new(1);
    let interval = std::time::Duration::from_millis(5);
    let options = DiskOptions { sync: Sync::Interval(interval), ..DiskOptions::default() };
    let (journal, _) = Journal::open(disk.shared(), options).unwrap();
    let stream = journal.stream("traces");
    let append = || journal.append(vec![(stream, Record::new("a record", 1))]);
    append().await.unwrap();
    let before = journal.disk_stats().unwrap();
    disk.set_faults(Faults { sync: 1000, ..Faults::default() });
    while journal.disk_stats().unwrap().errors == before.errors {
        // It is answered before the sync, until the journal knows that the file is to be left.
        let _ = append().await;
        tokio::time::sleep(interval).await;
    }
    disk.set_faults(Faults::default());
    append().await.unwrap();
    assert!(journal.disk_stats().unwrap().segments > before.segments);
}

#[test]
fn a_power_cut_without_a_sync_leaves_books_that_balance() {
    check(|seed| {
        let mut rng = fastrand::Rng::with_seed(seed);
        let options = DiskOptions { sync: Sync::OnWrite, ..options(&mut rng, WhenFull::Refuse) };
        let mut world = World::new(seed, options, None);
        world.labels_add_up = false;
        for _ in 0..4 {
            for _ in 0..80 {
                world.act();
            }
            world.forget_what_was_kept();
            world.crash(Crash::PowerCut);
        }
        world.drain();
    });
}

#[test]
fn a_disk_that_fails_to_read_now_and_then_loses_nothing() {
    check(|seed| {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut world = World::new(seed, options(&mut rng, WhenFull::Refuse), None);
        for _ in 0..3 {
            world.disk.set_faults(Faults { read: 50, ..Faults::default() });
            for _ in 0..80 {
                world.act();
            }
            let how = crash_kind(&mut world);
            world.crash(how);
        }
        world.drain();
        assert_nothing_is_lost(&world);
    });
}

#[test]
fn a_disk_that_is_full_takes_again_once_what_it_has_is_delivered() {
    check(|seed| {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut options = options(&mut rng, WhenFull::Refuse);
        options.segment_bytes = Some(32 << 10);
        let mut world = World::new(seed, options, None);
        world.stays = true;
        world.disk.set_capacity(rng.usize(300 << 10..600 << 10));
        for _ in 0..300 {
            world.act();
        }
        world.drain();
        // The first refusal leaves the file that could not be written on.
        for _ in 0..2 {
            world.step();
        }
        for _ in 0..20 {
            world.must_append();
        }
        world.drain();
        assert_nothing_is_lost(&world);
    });
}

/// A small journal on machines that die between any two changes of the disk.
fn die_often(seed: u64, when_full: WhenFull) -> World {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut options = options(&mut rng, when_full);
    options.segment_bytes = Some(32 << 10);
    options.size_bytes_max = 192 << 10;
    let mut world = World::new(seed, options, None);
    world.stays = true;
    for _ in 0..8 {
        for _ in 0..rng.usize(..60) {
            world.act();
        }
        world.disk.die_after(rng.u32(..12));
        for _ in 0..rng.usize(..30) {
            world.act();
        }
        let how = crash_kind(&mut world);
        world.crash(how);
    }
    world.drain();
    world
}

#[test]
fn what_was_acknowledged_survives_a_crash_between_any_two_changes_of_the_disk() {
    check(|seed| assert_nothing_is_lost(&die_often(seed, WhenFull::Refuse)));
}

#[test]
fn what_is_dropped_is_counted_whenever_the_machine_dies() {
    check(|seed| {
        let world = die_often(seed, WhenFull::DropOldest);
        for index in FROM_THE_START {
            assert!(world.dropped_items(index) >= world.missing_items(index), "reader {index}");
        }
    });
}

#[test]
fn a_reader_that_yields_loses_and_the_others_do_not() {
    check(|seed| {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut options = options(&mut rng, WhenFull::Refuse);
        options.segment_bytes = Some(32 << 10);
        options.size_bytes_max = 192 << 10;
        let mut world = World::new(seed, options, None);
        world.yields = true;
        world.stays = true;
        live_through(&mut world, Faults::default());
        for index in (0..world.readers.len()).filter(|index| *index != YIELDING) {
            assert_eq!(world.dropped_items(index), 0, "reader {index}: {:?}", world.readers[index].lost);
            assert_eq!(world.missing_items(index), 0, "reader {index}");
        }
        assert!(world.dropped_items(YIELDING) >= world.missing_items(YIELDING));
    });
}

#[test]
fn what_is_too_old_is_counted_as_that_whatever_happens_in_between() {
    check(|seed| {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut options = options(&mut rng, WhenFull::Refuse);
        options.segment_bytes = Some(32 << 10);
        options.age_ns_max = Some(50_000_000);
        let mut world = World::new(seed, options, None);
        for _ in 0..6 {
            world.disk.set_faults(Faults { create: 50, write: 30, sync: 30, read: 0 });
            for _ in 0..60 {
                world.act();
            }
            world.expire();
            world.check_books();
            world.disk.set_faults(Faults::default());
            let how = crash_kind(&mut world);
            world.crash(how);
        }
        world.drain();
        for index in FROM_THE_START {
            assert!(world.dropped_items(index) >= world.missing_items(index), "reader {index}");
            let lost = &world.readers[index].lost;
            // What a reader had in its hands at a crash, and the disk no more, has no better cause.
            let known = [Bucket::EXPIRED, Bucket::OVERWRITTEN];
            assert!(lost.keys().all(|cause| known.contains(cause)), "reader {index}: {lost:?}");
        }
    });
}

#[test]
fn what_is_too_old_leaves_and_is_counted() {
    check(|seed| {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut options = options(&mut rng, WhenFull::Refuse);
        options.segment_bytes = Some(32 << 10);
        options.age_ns_max = Some(50_000_000);
        let mut world = World::new(seed, options, None);
        world.stays = true;
        for _ in 0..10 {
            for _ in 0..40 {
                world.act();
            }
            world.expire();
            world.check_books();
        }
        world.drain();
        for index in FROM_THE_START {
            assert_eq!(world.dropped_items(index), world.missing_items(index), "reader {index}");
            assert!(world.readers[index].lost.keys().all(|cause| *cause == Bucket::EXPIRED));
        }
    });
}

#[test]
fn a_flipped_bit_costs_one_append_and_is_counted() {
    check(|seed| {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut world = World::new(seed, options(&mut rng, WhenFull::Refuse), None);
        world.labels_add_up = false;
        for _ in 0..200 {
            world.act();
        }
        world.stop();
        let flipped = world.disk.flip_a_bit();
        world.start();
        world.drain();
        for index in FROM_THE_START {
            let (dropped, missing) = (world.dropped_items(index), world.missing_items(index));
            assert_eq!(dropped, missing, "reader {index}: every item that is missing is counted, {flipped:?}");
            assert!(missing < 60, "reader {index}: one append, {flipped:?}");
        }
    });
}

#[test]
fn whatever_is_damaged_the_rest_is_read_and_the_books_balance() {
    check(|seed| {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut world = World::new(seed, options(&mut rng, WhenFull::Refuse), None);
        world.labels_add_up = false;
        for _ in 0..3 {
            for _ in 0..80 {
                world.act();
            }
            world.stop();
            for _ in 0..rng.usize(..8) {
                world.disk.flip_a_bit();
            }
            if rng.bool() {
                world.disk.truncate_a_file();
            }
            world.forget_what_was_kept();
            world.start();
            world.check_books();
        }
        world.drain();
    });
}
