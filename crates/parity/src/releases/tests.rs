use otlp::encode::MetricsEncoder;
use otlp::{Batch, NumberValue, Temporality};

use super::service::{Cell, Service};
use super::{Of, ReleasesReport};
use crate::comparator::{Comparator, Report, Settings};
use crate::family::Family;
use crate::verdict::{Cause, Side, Verdict};

const SECOND_NS: u64 = 1_000_000_000;
const BEGIN_S: u64 = 1_000_000 * 3600;

/// One release in one scene.
#[derive(Clone, Copy)]
struct Build {
    name: &'static str,
    instances: u64,
    /// The requests of each instance in a second, where the traffic is 1.
    per_second: f64,
    /// From when to when it runs, in hours.
    from_h: f64,
    to_h: f64,
    /// What each side makes of its errors: the share that is counted.
    errors: [f64; 2],
    /// What each side makes of the size of its queue.
    queue: [f64; 2],
    /// What each side makes of the time that requests take.
    time: [f64; 2],
}

const OLD: Build = Build {
    name: "1.0",
    instances: 3,
    per_second: 20.0,
    from_h: 0.0,
    to_h: 1e9,
    errors: [1.0; 2],
    queue: [1.0; 2],
    time: [1.0; 2],
};
const CANARY: Build = Build { name: "1.1", instances: 1, ..OLD };

/// Several hours of a service of these builds, as two sides see it; `traffic` gives how much there is of it.
struct Scene<'a> {
    builds: &'a [Build],
    hours: f64,
    traffic: &'a dyn Fn(f64) -> f64,
    /// What the legacy side has as an attribute of the build.
    legacy_attribute: &'a str,
}

const STEP_S: u64 = 60;

fn run(scene: &Scene<'_>) -> Report {
    let mut comparator = Comparator::new(Settings::default());
    let mut random = fastrand::Rng::with_seed(5);
    // Requests, errors, cache hits and the time of them all, by build and instance.
    let mut counted = vec![[[0.0f64; 4]; 8]; scene.builds.len()];
    for step in 0..(scene.hours * 3600.0) as u64 / STEP_S {
        let hour = (step * STEP_S) as f64 / 3600.0;
        let mut shown: [Vec<(usize, u64, f64, f64)>; 2] = Default::default();
        for (at, build) in scene.builds.iter().enumerate() {
            if !(build.from_h..build.to_h).contains(&hour) {
                continue;
            }
            for instance in 0..build.instances {
                let requests = build.per_second * (scene.traffic)(hour) * STEP_S as f64;
                let requests =
                    (requests + requests.sqrt() * (random.f64() + random.f64() - 1.0) * 2.4).max(0.0).round();
                let of = &mut counted[at][instance as usize];
                let time = requests * 0.1 * (0.8 + 0.4 * random.f64());
                let added = [requests, (requests * 0.2).round(), (requests * 0.5).round(), time];
                of.iter_mut().zip(added).for_each(|(count, more)| *count += more);
                let noise = 0.9 + 0.2 * random.f64();
                shown.iter_mut().for_each(|side| side.push((at, instance, hour, noise)));
            }
        }
        let second = BEGIN_S + step * STEP_S;
        for side in [Side::Legacy, Side::New] {
            let attribute = if side == Side::Legacy { scene.legacy_attribute } else { "service.version" };
            for (at, instance, hour, noise) in shown[side as usize].clone() {
                let (build, counts) = (&scene.builds[at], &counted[at][instance as usize]);
                let queue = 50.0 * (scene.traffic)(hour) * noise;
                let time = (second + 4 * side as u64) * SECOND_NS;
                comparator.observe(side, &batch(attribute, (build, instance), counts, queue, (time, side)));
            }
        }
        if step % 10 == 0 {
            comparator.close();
        }
    }
    comparator.finish()
}

fn batch(
    attribute: &str,
    (build, instance): (&Build, u64),
    counts: &[f64; 4],
    queue: f64,
    (time_unix_ns, side): (u64, Side),
) -> Batch {
    let at = side as usize;
    let [requests, errors, hits, seconds] = *counts;
    let mut encoder = MetricsEncoder::new();
    encoder.resource_metrics(|resource| {
        resource.resource(|resource| {
            let mut attributes = resource.attributes();
            attributes.string("service.name", "shop").string(attribute, build.name);
            attributes.string("service.instance.id", &format!("{}-{instance}", build.name));
        });
        resource.scope_metrics(|scope| {
            let errors = (errors * build.errors[at]).floor();
            for (name, value) in [("requests", requests), ("errors", errors), ("cache.hits", hits)] {
                scope.metric(|metric| {
                    metric.name(name).sum(|sum| {
                        sum.is_monotonic(true).temporality(Temporality::Cumulative);
                        sum.point(|point| {
                            point.time_unix_nano(time_unix_ns).value(NumberValue::Double(value));
                        });
                    });
                });
            }
            scope.metric(|metric| {
                metric.name("queue").gauge(|gauge| {
                    gauge.point(|point| {
                        point.time_unix_nano(time_unix_ns).value(NumberValue::Double(queue * build.queue[at]));
                    });
                });
            });
            scope.metric(|metric| {
                metric.name("time").histogram(|histogram| {
                    histogram.temporality(Temporality::Cumulative);
                    histogram.point(|point| {
                        point.time_unix_nano(time_unix_ns).count(requests as u64).sum(seconds * build.time[at]);
                        point.bucket_counts([requests as u64, 0]).explicit_bounds([1e9]);
                    });
                });
            });
        });
    });
    encoder.finish()
}

/// What is said of a release: the name of the subject or the metric, the side, and by how much.
type Said<S> = Vec<(String, S, f64)>;

/// Subjects, and remarks.
fn said(report: &Report) -> (Said<Side>, Said<Option<Side>>) {
    let of_subject = |subject: &crate::comparator::Subject| match &subject.verdict {
        Verdict::Different(finding) => match &finding.cause {
            Cause::ReleaseDeviates { side, ratio, .. } => {
                assert!(finding.since_unix_ns.is_some(), "{finding:?}");
                Some((subject.name.clone(), *side, *ratio))
            }
            _ => None,
        },
        _ => None,
    };
    let remarks = report.releases.iter().map(|remark| (remark.metric.clone(), remark.side, remark.ratio));
    (report.subjects.iter().filter_map(of_subject).collect(), remarks.collect())
}

fn check_with(
    builds: &[Build],
    hours: f64,
    traffic: &dyn Fn(f64) -> f64,
    different: &[&str],
    remarks: &[&str],
) -> Report {
    let report = run(&Scene { builds, hours, traffic, legacy_attribute: "service.version" });
    let (found, remarked) = said(&report);
    assert_eq!(found.iter().map(|(name, ..)| name.as_str()).collect::<Vec<_>>(), different, "{remarked:?}");
    assert_eq!(remarked.iter().map(|(name, ..)| name.as_str()).collect::<Vec<_>>(), remarks, "{remarked:?}");
    report
}

fn steady(_: f64) -> f64 {
    1.0
}

/// Ten times as much by day as by night.
fn by_day(hour: f64) -> f64 {
    1.0 + 0.8 * (hour / 24.0 * std::f64::consts::TAU).sin()
}

#[test]
fn a_release_that_counts_less_on_the_new_side_alone_is_instrumented_wrongly_there() {
    let faulty = Build { from_h: 1.0, errors: [1.0, 0.5], ..CANARY };
    let report = check_with(&[OLD, faulty], 4.0, &steady, &["errors_total of shop, release 1.1"], &[]);
    let (found, _) = said(&report);
    assert!(found[0].1 == Side::New && (found[0].2 + 0.5).abs() < 0.05, "{found:?}");
    let subject = report.subjects.iter().find(|subject| subject.name == "errors_total of shop, release 1.1").unwrap();
    let words = "release 1.1 is 50 % lower than the releases before it on the new side alone";
    assert!(subject.sentence.starts_with(words), "{}", subject.sentence);
    let Verdict::Different(finding) = &subject.verdict else { panic!() };
    let since_h = (finding.since_unix_ns.unwrap() / SECOND_NS - BEGIN_S) as f64 / 3600.0;
    assert!((0.9..1.3).contains(&since_h), "since {since_h}");
}

#[test]
fn levels_and_means_that_one_side_shows_otherwise_are_found_and_the_side_is_named() {
    let seconds = Build { from_h: 0.5, time: [1.0, 1000.0], ..CANARY };
    check_with(&[OLD, seconds], 4.0, &steady, &["the mean of time of shop, release 1.1"], &[]);
    let queue = Build { from_h: 0.5, queue: [3.0, 1.0], ..CANARY };
    let report = check_with(&[OLD, queue], 4.0, &steady, &["queue of shop, release 1.1"], &[]);
    assert_eq!(said(&report).0[0].1, Side::Legacy);
}

#[test]
fn a_release_that_both_sides_see_alike_is_told_and_no_difference() {
    let other = Build { from_h: 0.5, errors: [0.5, 0.5], time: [2.0, 2.0], ..CANARY };
    let report = check_with(&[OLD, other], 4.0, &steady, &[], &["errors_total", "the mean of time"]);
    let (_, remarked) = said(&report);
    assert!(remarked.iter().all(|(_, side, _)| side.is_none()), "{remarked:?}");
    assert!((remarked[0].2 + 0.5).abs() < 0.05 && (remarked[1].2 - 1.0).abs() < 0.15, "{remarked:?}");
}

#[test]
fn a_canary_with_less_traffic_is_no_deviation() {
    let quiet = Build { from_h: 0.5, per_second: 3.0, ..CANARY };
    check_with(&[OLD, quiet], 6.0, &steady, &[], &[]);
}

#[test]
fn traffic_that_changes_for_all_releases_is_no_deviation() {
    let surge = |hour: f64| if hour < 2.0 { 1.0 } else { 3.0 };
    check_with(&[OLD, Build { from_h: 1.0, ..CANARY }], 6.0, &surge, &[], &[]);
}

#[test]
fn a_release_that_replaces_another_is_held_against_the_same_hours_of_the_day_before() {
    let before = Build { to_h: 25.0, ..OLD };
    let after = Build { name: "1.1", from_h: 25.0, ..OLD };
    check_with(&[before, after], 30.0, &by_day, &[], &[]);
    let faulty = Build { errors: [1.0, 0.5], ..after };
    check_with(&[before, faulty], 30.0, &by_day, &["errors_total of shop, release 1.1"], &[]);
}

#[test]
fn where_the_legacy_side_names_no_build_it_is_only_told() {
    let faulty = Build { from_h: 0.5, errors: [1.0, 0.5], ..CANARY };
    let report = run(&Scene { builds: &[OLD, faulty], hours: 4.0, traffic: &steady, legacy_attribute: "build" });
    let (found, remarked) = said(&report);
    assert_eq!(found, []);
    assert_eq!(remarked.len(), 1, "{remarked:?}");
    assert_eq!((remarked[0].0.as_str(), remarked[0].1), ("errors_total", Some(Side::New)));
    assert!(report.releases[0].sentence.ends_with("on the new side; the legacy side tells nothing of it"));
}

#[test]
fn many_releases_take_no_more_than_their_room() {
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t"];
    let build = |(at, name): (usize, &&'static str)| Build {
        name,
        from_h: at as f64 * 0.5,
        to_h: at as f64 * 0.5 + 0.6,
        ..OLD
    };
    let builds: Vec<Build> = names.iter().enumerate().map(build).collect();
    check_with(&builds, 10.0, &steady, &[], &[]);
}

/// Levels of two releases that do not differ, with noise that stays for a while; the first `faulty` ones are twice as high
/// on the new side.
fn levels(seed: u64, metrics: usize, faulty: usize) -> Vec<String> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut service = Service::default();
    let releases = ["1", "2"].map(|name| service.release(name).unwrap());
    let groups: Vec<usize> =
        (0..metrics).map(|at| service.group(&format!("m{at:03}"), Of::Level, true).unwrap()).collect();
    let mut noises = vec![[[0.0f64; 2]; 2]; metrics];
    for window in 0..150u64 {
        for (at, group) in groups.iter().enumerate() {
            for (side, name) in [Side::Legacy, Side::New].into_iter().flat_map(|side| [(side, 0), (side, 1)]) {
                let noise = &mut noises[at][side as usize][name];
                *noise = 0.7 * *noise + 0.1 * (random.f64() - 0.5);
                let factor = if at < faulty && name == 1 && side == Side::New { 2.0 } else { 1.0 };
                let cell = Cell { sum: 100.0 * factor * (1.0 + *noise) * (2 - name) as f64, weight: (2 - name) as f64 };
                service.add(window * 300, (*group, side, releases[name]), cell);
            }
        }
        service.seal((window + 1) * 300, 300, 0.01);
    }
    let family = Family::of(service.claims(), 0.05);
    let mut report = ReleasesReport::default();
    service.report("shop", &family, &mut report);
    assert_eq!(report.remarks, []);
    report.different.into_iter().map(|(name, _)| name).collect()
}

#[test]
fn among_hundreds_of_metrics_only_those_that_differ_are_claimed() {
    assert_eq!(levels(1, 800, 0), [""; 0]);
    assert_eq!(levels(2, 400, 2), ["m000 of shop, release 2", "m001 of shop, release 2"]);
}
