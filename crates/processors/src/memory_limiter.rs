//! `memory_limiter`: refuses batches while the process holds too much memory, so that senders keep their data instead
//! of the process being killed with it.
//!
//! Memory is what the system says the process holds (its resident set), because that is what it is killed for. It is
//! looked at when a batch comes, at most once in each `check_interval`.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use component::clock::{self, Mono};
use component::metrics::{Counter, Description};
use component::{BuildContext, BuiltProcessor, Metrics, Processor, ProcessorFactory, Refused, memory};
use config::{ComponentId, Diagnostic, Section};
use otlp::{Batch, Signal};

/// Makes `memory_limiter` processors.
pub(crate) const FACTORY: ProcessorFactory = ProcessorFactory {
    kind: "memory_limiter",
    aliases: &[],
    signals: &Signal::ALL,
    build: |section, _: &BuildContext<'_>| build(section, memory::total_bytes, memory::rss_bytes),
};

/// Asks the system for an amount of memory, in bytes.
type Ask = fn() -> Option<u64>;

const MIB: u64 = 1 << 20;

/// A refused sender waits at least so long: memory does not come back in less.
const RETRY_AFTER_MIN: Duration = Duration::from_secs(1);

/// What a configuration becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Settings {
    check_interval: Duration,
    /// At this much and above batches are refused.
    soft_limit_bytes: u64,
}

fn build(section: &mut Section<'_>, total_bytes: Ask, rss_bytes: Ask) -> Option<BuiltProcessor> {
    let settings = Settings::read(section, total_bytes)?;
    if rss_bytes().is_none() {
        let message = "this system does not say how much memory a process holds: nothing will be refused";
        let warning = Diagnostic::warning(section.path().clone(), message);
        let warning = section.position().map_or(warning.clone(), |position| warning.at(position));
        section.diagnostics().push(warning);
    }
    Some(BuiltProcessor::Each(Box::new(MemoryLimiter::new(settings, rss_bytes, clock::mono()))))
}

impl Settings {
    fn read(section: &mut Section<'_>, total_bytes: Ask) -> Option<Settings> {
        let check_interval = section.get("check_interval").duration().above_zero().required();
        let mib = |section: &mut Section<'_>, key| section.get(key).integer::<u32>().or(0);
        let percentage = |section: &mut Section<'_>, key| section.get(key).integer::<u32>().range(0..=100).or(0);
        let limit_mib = mib(section, "limit_mib");
        let spike_limit_mib = mib(section, "spike_limit_mib");
        let limit_percentage = percentage(section, "limit_percentage");
        let spike_limit_percentage = percentage(section, "spike_limit_percentage");
        for key in ["min_gc_interval_when_soft_limited", "min_gc_interval_when_hard_limited"] {
            section.without_effect(key, "there is no garbage collector here");
        }
        let errors_before = section.diagnostics().errors().len();
        if limit_mib == 0 && limit_percentage == 0 {
            section.error("limit_mib", "is required, or `limit_percentage`: expected more than 0");
        }
        if limit_mib > 0 && spike_limit_mib >= limit_mib {
            section.error("spike_limit_mib", format!("{spike_limit_mib} is not below `limit_mib` ({limit_mib})"));
        }
        if limit_percentage > 0 && spike_limit_percentage >= limit_percentage {
            let message = format!("{spike_limit_percentage} is not below `limit_percentage` ({limit_percentage})");
            section.error("spike_limit_percentage", message);
        }
        let (limit, spike) = if limit_mib > 0 {
            (u64::from(limit_mib) * MIB, u64::from(spike_limit_mib) * MIB)
        } else {
            let Some(total) = total_bytes() else {
                section.error("limit_percentage", "the memory of this system is not known: give `limit_mib`");
                return None;
            };
            let share = |percentage: u32| (u128::from(total) * u128::from(percentage) / 100) as u64;
            (share(limit_percentage), share(spike_limit_percentage))
        };
        if section.diagnostics().errors().len() > errors_before {
            return None;
        }
        let spike = if spike == 0 { limit / 5 } else { spike };
        Some(Settings { check_interval: check_interval?, soft_limit_bytes: limit - spike })
    }
}

struct MemoryLimiter {
    settings: Settings,
    rss_bytes: Ask,
    started: Mono,
    /// When memory is looked at again, in nanoseconds since `started`.
    next_check_ns: AtomicU64,
    rss_bytes_last: AtomicU64,
    is_refusing: AtomicBool,
    counters: OnceLock<Counters>,
}

impl MemoryLimiter {
    fn new(settings: Settings, rss_bytes: Ask, now: Mono) -> MemoryLimiter {
        MemoryLimiter {
            settings,
            rss_bytes,
            started: now,
            next_check_ns: AtomicU64::new(0),
            rss_bytes_last: AtomicU64::new(0),
            is_refusing: AtomicBool::new(false),
            counters: OnceLock::new(),
        }
    }

    /// Whether batches are refused, by a look at memory that is no older than `check_interval`.
    fn refuses(&self, now: Mono) -> bool {
        let now_ns = nanoseconds(now.saturating_duration_since(self.started));
        let due_ns = self.next_check_ns.load(Ordering::Acquire);
        if now_ns >= due_ns {
            let next_ns = now_ns.saturating_add(nanoseconds(self.settings.check_interval));
            // Of those who come at the same time one looks, and the others go by the look before.
            if self.next_check_ns.compare_exchange(due_ns, next_ns, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                self.look();
            }
        }
        self.is_refusing.load(Ordering::Acquire)
    }

    fn look(&self) {
        let Some(rss) = (self.rss_bytes)() else { return };
        let soft_limit = self.settings.soft_limit_bytes;
        self.rss_bytes_last.store(rss, Ordering::Relaxed);
        let (memory_mib, soft_limit_mib) = (rss / MIB, soft_limit / MIB);
        let refuses = rss >= soft_limit;
        match (self.is_refusing.swap(refuses, Ordering::AcqRel), refuses) {
            (false, true) => tracing::warn!(memory_mib, soft_limit_mib, "memory above the soft limit: refusing data"),
            (true, false) => tracing::info!(memory_mib, soft_limit_mib, "memory within limits: taking data again"),
            _ => {}
        }
    }

    fn refused(&self) -> Refused {
        let memory_mib = self.rss_bytes_last.load(Ordering::Relaxed) / MIB;
        let soft_limit_mib = self.settings.soft_limit_bytes / MIB;
        Refused::Retry {
            after: self.settings.check_interval.max(RETRY_AFTER_MIN),
            cause: format!(
                "data refused due to high memory usage: {memory_mib} MiB, refused from {soft_limit_mib} MiB on"
            ),
        }
    }
}

impl Processor for MemoryLimiter {
    fn process(&self, batch: Batch) -> Result<Batch, Refused> {
        let refuses = self.refuses(clock::mono());
        if let Some(counters) = self.counters.get() {
            counters.of(batch.signal(), refuses).add(u64::from(batch.items()));
        }
        if refuses { Err(self.refused()) } else { Ok(batch) }
    }

    fn observe(&self, metrics: &Metrics, id: &ComponentId) {
        // A second call would count the same into the same series.
        let _ = self.counters.set(Counters::new(metrics, id));
    }
}

/// Items taken and refused, by signal.
struct Counters {
    accepted: [Counter; Signal::ALL.len()],
    refused: [Counter; Signal::ALL.len()],
}

impl Counters {
    fn new(metrics: &Metrics, id: &ComponentId) -> Counters {
        let id = id.to_string();
        let counter = |name, help| metrics.counter(Description::counter(name, help), &[("processor", &id)]);
        let accepted = "Items that the memory limiter let pass.";
        let refused = "Items that the memory limiter refused.";
        Counters {
            accepted: [
                counter("otelcol_processor_memory_limiter_accepted_spans", accepted),
                counter("otelcol_processor_memory_limiter_accepted_metric_points", accepted),
                counter("otelcol_processor_memory_limiter_accepted_log_records", accepted),
            ],
            refused: [
                counter("otelcol_processor_memory_limiter_refused_spans", refused),
                counter("otelcol_processor_memory_limiter_refused_metric_points", refused),
                counter("otelcol_processor_memory_limiter_refused_log_records", refused),
            ],
        }
    }

    fn of(&self, signal: Signal, refuses: bool) -> &Counter {
        let counters = if refuses { &self.refused } else { &self.accepted };
        match signal {
            Signal::Traces => &counters[0],
            Signal::Metrics => &counters[1],
            Signal::Logs => &counters[2],
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::testing::{build_error, build_with};

    thread_local! {
        static RSS_MIB: Cell<u64> = const { Cell::new(0) };
        static LOOKS: Cell<u32> = const { Cell::new(0) };
    }

    fn rss_bytes() -> Option<u64> {
        LOOKS.set(LOOKS.get() + 1);
        Some(RSS_MIB.get() * MIB)
    }

    fn check_limit(yaml: &str, soft_limit_mib: u64) {
        let loaded = config::parse_str("c.yaml", yaml, &config::TestEnvironment::new()).unwrap();
        let mut diagnostics = config::Diagnostics::new();
        let settings = Section::open(&loaded.root, "it", &mut diagnostics)
            .read(|section| Settings::read(section, || Some(1000 * MIB)));
        let settings = settings.unwrap_or_else(|| panic!("{:?}", diagnostics.finish()));
        assert_eq!(settings.soft_limit_bytes / MIB, soft_limit_mib, "{yaml}");
    }

    #[test]
    fn the_soft_limit_is_a_spike_below_the_limit() {
        check_limit("{check_interval: 1s, limit_mib: 4000, spike_limit_mib: 800}", 3200);
        check_limit("{check_interval: 1s, limit_percentage: 80, spike_limit_percentage: 15}", 650);
    }

    #[test]
    fn without_a_spike_it_is_a_fifth_of_the_limit() {
        check_limit("{check_interval: 1s, limit_mib: 4000}", 3200);
        check_limit("{check_interval: 1s, limit_percentage: 50}", 400);
    }

    #[test]
    fn megabytes_come_before_percentages() {
        check_limit("{check_interval: 1s, limit_mib: 100, spike_limit_mib: 10, limit_percentage: 80}", 90);
    }

    fn check_error(yaml: &str, expected: &str) {
        let error = build_error(&FACTORY, yaml);
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        check_error("limit_mib: 100", "check_interval: is required");
        check_error("{check_interval: 0s, limit_mib: 100}", "check_interval: expected a duration of more than `0s`");
        check_error("check_interval: 1s", "limit_mib: is required, or `limit_percentage`");
        check_error("{check_interval: 1s, limit_mib: 5, spike_limit_mib: 5}", "5 is not below `limit_mib` (5)");
        check_error(
            "{check_interval: 1s, limit_percentage: 50, spike_limit_percentage: 60}",
            "60 is not below `limit_percentage` (50)",
        );
        check_error("{check_interval: 1s, limit_percentage: 101}", "a number from 0 to 100");
    }

    #[test]
    fn garbage_collection_has_no_effect_and_says_so() {
        let yaml = "{check_interval: 1s, limit_mib: 100, min_gc_interval_when_soft_limited: 10s}";
        let loaded = config::parse_str("c.yaml", yaml, &config::TestEnvironment::new()).unwrap();
        let mut diagnostics = config::Diagnostics::new();
        Section::open(&loaded.root, "it", &mut diagnostics).read(|section| build(section, || None, || None));
        let warnings: Vec<String> = diagnostics.warnings().iter().map(ToString::to_string).collect();
        assert!(warnings[0].contains("there is no garbage collector here"), "{warnings:?}");
        assert!(warnings[1].contains("nothing will be refused"), "{warnings:?}");
    }

    fn limiter(now: Mono) -> MemoryLimiter {
        let settings = Settings { check_interval: Duration::from_secs(2), soft_limit_bytes: 100 * MIB };
        RSS_MIB.set(0);
        LOOKS.set(0);
        MemoryLimiter::new(settings, rss_bytes, now)
    }

    #[test]
    fn memory_is_looked_at_once_in_an_interval() {
        let now = clock::mono();
        let limiter = limiter(now);
        for milliseconds in [0, 1, 1999] {
            assert!(!limiter.refuses(now + Duration::from_millis(milliseconds)));
        }
        assert_eq!(LOOKS.get(), 1);
        limiter.refuses(now + Duration::from_secs(2));
        assert_eq!(LOOKS.get(), 2);
    }

    #[test]
    fn data_is_refused_from_the_soft_limit_on_until_memory_comes_back() {
        let now = clock::mono();
        let limiter = limiter(now);
        for (seconds, rss_mib, refuses) in [(0, 99, false), (2, 100, true), (4, 200, true), (6, 99, false)] {
            RSS_MIB.set(rss_mib);
            assert_eq!(limiter.refuses(now + Duration::from_secs(seconds)), refuses, "at {rss_mib} MiB");
        }
    }

    #[test]
    fn a_refusal_says_why_and_asks_to_come_again() {
        let limiter = limiter(clock::mono());
        RSS_MIB.set(123);
        let Err(Refused::Retry { after, cause }) = limiter.process(Batch::empty(Signal::Logs)) else {
            panic!("not refused");
        };
        assert_eq!(after, Duration::from_secs(2));
        assert_eq!(cause, "data refused due to high memory usage: 123 MiB, refused from 100 MiB on");
    }

    #[test]
    fn items_are_counted_under_the_collectors_names() {
        let limiter = limiter(clock::mono());
        let metrics = Metrics::default();
        limiter.observe(&metrics, &"memory_limiter/x".parse().unwrap());
        let batch = |signal, items| Batch::from_trusted(signal, bytes::Bytes::new(), items);
        limiter.process(batch(Signal::Traces, 3)).unwrap();
        limiter.is_refusing.store(true, Ordering::Release);
        limiter.process(batch(Signal::Metrics, 5)).unwrap_err();
        let counted: Vec<(String, f64)> = metrics
            .gather()
            .into_iter()
            .flat_map(|family| {
                family.series.into_iter().map(move |(labels, value)| (family.name.clone(), labels, value))
            })
            .filter(|(_, labels, value)| *value > 0.0 && labels["processor"] == "memory_limiter/x")
            .map(|(name, _, value)| (name, value))
            .collect();
        let expected = [
            ("otelcol_processor_memory_limiter_accepted_spans".to_owned(), 3.0),
            ("otelcol_processor_memory_limiter_refused_metric_points".to_owned(), 5.0),
        ];
        assert_eq!(counted, expected);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_share_of_the_real_memory_lets_this_test_pass() {
        let yaml = "{check_interval: 1s, limit_percentage: 95, spike_limit_percentage: 1}";
        let Some(BuiltProcessor::Each(limiter)) = build_with(&FACTORY, yaml) else { panic!("not built") };
        assert!(limiter.process(Batch::empty(Signal::Traces)).is_ok());
    }
}
