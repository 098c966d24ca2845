//! What a configuration says about aggregation.

use std::sync::Arc;
use std::time::Duration;

use config::{Section, Spanned};
use otlp::Temporality;
use regex::Regex;

use super::StatsdHasher;
use super::mapping::Mappings;
use super::series::Shape;

/// Whose meaning the lines have; the module's documentation says what each does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// All forms of all dialects, with the meaning that the Collector gives them.
    #[default]
    Auto,
    /// As Etsy's statsd.
    Etsy,
    /// As the Datadog Agent.
    Dogstatsd,
}

/// Whether something optional is done; a settings field says what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Toggle {
    /// It is not done.
    Off,
    /// It is done.
    On,
}

/// How counters are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CounterNumbers {
    /// As integers as long as they are whole; as doubles from the first fraction on.
    Int,
    /// As doubles.
    Float,
}

/// What becomes of timings, histograms and distributions.
#[derive(Clone, Debug)]
pub enum Observer {
    /// They are dropped, and counted as such.
    Disabled,
    /// Every value is a data point of a gauge.
    Gauge,
    /// A summary with these quantiles, 0 to 1.
    Summary {
        /// The quantiles, 0 to 1.
        quantiles: Arc<[f64]>,
    },
    /// A histogram.
    Histogram {
        /// Explicit bounds for names that match; the first match counts.
        explicit: Vec<(Regex, Arc<[f64]>)>,
        /// For all other names, an exponential histogram of so many buckets for each sign.
        size_max: u32,
    },
}

/// An exponential histogram has so many buckets, unless told otherwise.
pub(super) const HISTOGRAM_SIZE_MAX: u32 = 160;

/// The scale that an exponential histogram starts with.
const SCALE_MAX: i32 = 20;
const PERCENTILES: [f64; 6] = [0.0, 10.0, 50.0, 90.0, 95.0, 100.0];
const AGGREGATION_INTERVAL: Duration = Duration::from_secs(60);
const EXPIRY: Duration = Duration::from_secs(60 * 60);
const SERIES_MAX: usize = 100_000;

/// What the code runs on. [`Settings::read`] makes it, or [`Settings::default`], which is what an empty configuration
/// means.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `aggregation_interval`: how often the receiver is to call [`Store::flush`](super::Store::flush).
    pub aggregation_interval: Duration,
    /// `dialect`.
    pub dialect: Dialect,
    /// `temporality`: deltas, or cumulative sums with state that outlives intervals.
    pub temporality: Temporality,
    /// `enable_metric_type`: an attribute `metric_type` says what StatsD called it.
    pub metric_type_attribute: Toggle,
    /// `enable_simple_tags`: tags without a value are taken.
    pub simple_tags: Toggle,
    /// `is_monotonic_counter`: sums are marked as monotonic.
    pub monotonic_counters: Toggle,
    /// `counter_type`.
    pub counter_numbers: CounterNumbers,
    /// `timer_histogram_mapping` of `timing` and `timer`. Where it says nothing, they become gauges, or summaries if
    /// there is a mapping file.
    pub timings: Option<Observer>,
    /// `timer_histogram_mapping` of `histogram`; likewise.
    pub histograms: Option<Observer>,
    /// `timer_histogram_mapping` of `distribution`; likewise.
    pub distributions: Option<Observer>,
    /// `repeat_gauges`: a gauge that was not updated is written again at every flush, until it expires.
    pub repeat_gauges: Toggle,
    /// `client_address`: an attribute `client.address` tells the series of clients apart, by IP address.
    pub client_address: Toggle,
    /// `expiry`: a series not updated for so long is forgotten; none for never.
    pub expiry: Option<Duration>,
    /// `max_series`: more series than these are refused, in each shard and in the store.
    pub series_max: usize,
    /// `mapping_config`: the path of a mapping file. The receiver reads it, and hands it to [`Settings::with_mappings`].
    pub mapping_config: Option<Spanned<String>>,
    /// The mappings of that file.
    pub mappings: Option<Arc<Mappings>>,
    /// Shards and store find the same series under the same hash.
    pub(super) hasher: StatsdHasher,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            aggregation_interval: AGGREGATION_INTERVAL,
            dialect: Dialect::Auto,
            temporality: Temporality::Delta,
            metric_type_attribute: Toggle::Off,
            simple_tags: Toggle::Off,
            monotonic_counters: Toggle::Off,
            counter_numbers: CounterNumbers::Int,
            timings: None,
            histograms: None,
            distributions: None,
            repeat_gauges: Toggle::Off,
            client_address: Toggle::Off,
            expiry: Some(EXPIRY),
            series_max: SERIES_MAX,
            mapping_config: None,
            mappings: None,
            hasher: StatsdHasher::default(),
        }
    }
}

impl Settings {
    /// Reads the options that concern aggregation out of a receiver's section, which may have others.
    ///
    /// Some defaults follow from other options: `enable_simple_tags` is on for `dialect: dogstatsd`, and
    /// `is_monotonic_counter` and `repeat_gauges` are on for `temporality: cumulative`.
    pub fn read(section: &mut Section<'_>) -> Settings {
        let dialects = [("auto", Dialect::Auto), ("etsy", Dialect::Etsy), ("dogstatsd", Dialect::Dogstatsd)];
        let temporalities = [("delta", Temporality::Delta), ("cumulative", Temporality::Cumulative)];
        let dialect = section.get("dialect").one_of(&dialects).or_default();
        let temporality = section.get("temporality").one_of(&temporalities).or(Temporality::Delta);
        let cumulative = temporality == Temporality::Cumulative;
        let mut settings = Settings {
            aggregation_interval: section.get("aggregation_interval").duration().above_zero().or(AGGREGATION_INTERVAL),
            dialect,
            temporality,
            metric_type_attribute: toggle(section, "enable_metric_type", false),
            simple_tags: toggle(section, "enable_simple_tags", dialect == Dialect::Dogstatsd),
            monotonic_counters: toggle(section, "is_monotonic_counter", cumulative),
            counter_numbers: read_counter_type(section),
            repeat_gauges: toggle(section, "repeat_gauges", cumulative),
            client_address: toggle(section, "client_address", false),
            expiry: Some(section.get("expiry").duration().or(EXPIRY)).filter(|expiry| !expiry.is_zero()),
            series_max: section.get("max_series").integer().range(1..=SERIES_MAX * 100).or(SERIES_MAX),
            mapping_config: section.get("mapping_config").string().non_empty().spanned(),
            ..Settings::default()
        };
        section.without_effect(
            "enable_ip_only_aggregation",
            "what several clients send under one name and the same tags is one series, whatever their addresses and \
             ports, so that its total is right; `client_address: true` keeps them apart by an attribute",
        );
        for (types, observer) in section.children("timer_histogram_mapping", read_observer).into_iter().flatten() {
            match types {
                ObservedType::Timing => settings.timings = Some(observer),
                ObservedType::Histogram => settings.histograms = Some(observer),
                ObservedType::Distribution => settings.distributions = Some(observer),
            }
        }
        settings
    }

    /// Takes the mappings of the file that `mapping_config` names.
    #[must_use]
    pub fn with_mappings(mut self, mappings: Mappings) -> Settings {
        self.mappings = Some(Arc::new(mappings));
        self
    }

    /// The expiry in nanoseconds.
    pub(super) fn expiry_ns(&self) -> Option<u64> {
        self.expiry.map(nanoseconds)
    }
}

pub(super) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn toggle(section: &mut Section<'_>, key: &'static str, default: bool) -> Toggle {
    if section.get(key).bool().or(default) { Toggle::On } else { Toggle::Off }
}

fn read_counter_type(section: &mut Section<'_>) -> CounterNumbers {
    let choices =
        [("int", Some(CounterNumbers::Int)), ("float", Some(CounterNumbers::Float)), ("stochastic_int", None)];
    let chosen = section.get("counter_type").one_of(&choices).or(Some(CounterNumbers::Int));
    chosen.unwrap_or_else(|| {
        section.error(
            "counter_type",
            "not built: `stochastic_int` rounds at random; `int` keeps whole sums as integers and loses no fraction",
        );
        CounterNumbers::Int
    })
}

#[derive(Clone, Copy)]
enum ObservedType {
    Timing,
    Histogram,
    Distribution,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ObserverKind {
    Disabled,
    Gauge,
    Summary,
    Histogram,
}

fn read_observer(section: &mut Section<'_>) -> Option<(ObservedType, Observer)> {
    let types = [
        ("timing", Some(ObservedType::Timing)),
        ("timer", Some(ObservedType::Timing)),
        ("histogram", Some(ObservedType::Histogram)),
        ("distribution", Some(ObservedType::Distribution)),
        ("counter", None),
        ("gauge", None),
    ];
    let kinds = [
        ("gauge", ObserverKind::Gauge),
        ("summary", ObserverKind::Summary),
        ("histogram", ObserverKind::Histogram),
        ("disabled", ObserverKind::Disabled),
    ];
    let statsd_type = section.get("statsd_type").one_of(&types).required();
    if statsd_type.is_some_and(|statsd_type| statsd_type.is_none()) {
        section.warning("statsd_type", "has no effect: counters and gauges are not mapped");
    }
    let kind = section.get("observer_type").one_of(&kinds).required();
    let summary = section.child_if_present("summary", read_summary);
    let histogram = section.child_if_present("histogram", read_histogram);
    if summary.is_some() && kind.is_some_and(|kind| kind != ObserverKind::Summary) {
        section.error("summary", "is for `observer_type: summary` alone");
    }
    if histogram.is_some() && kind.is_some_and(|kind| kind != ObserverKind::Histogram) {
        section.error("histogram", "is for `observer_type: histogram` alone");
    }
    let observer = match kind? {
        ObserverKind::Disabled => Observer::Disabled,
        ObserverKind::Gauge => Observer::Gauge,
        ObserverKind::Summary => summary.unwrap_or_else(default_summary),
        ObserverKind::Histogram => {
            histogram.unwrap_or(Observer::Histogram { explicit: Vec::new(), size_max: HISTOGRAM_SIZE_MAX })
        }
    };
    Some((statsd_type??, observer))
}

fn default_summary() -> Observer {
    Observer::Summary { quantiles: PERCENTILES.map(|percentile| percentile / 100.0).into() }
}

fn read_summary(section: &mut Section<'_>) -> Observer {
    let percentiles =
        section.get("percentiles").each(|field| field.float().range(0.0..=100.0).optional()).or(PERCENTILES.into());
    if percentiles.is_empty() {
        return default_summary();
    }
    Observer::Summary { quantiles: percentiles.into_iter().map(|percentile| percentile / 100.0).collect() }
}

fn read_histogram(section: &mut Section<'_>) -> Observer {
    let size_max = section.get("max_size").integer::<u32>().optional().unwrap_or(0);
    // The Collector takes 0 for its default.
    if size_max != 0 && !(2..=16_384).contains(&size_max) {
        section.error("max_size", format!("expected 0, or 2 to 16384, found {size_max}"));
    }
    let explicit = section.children("explicit_buckets", |bucket| {
        let pattern = bucket.get("matcher_pattern").parse_with("a regular expression", compile).required();
        let bounds = read_bounds(bucket);
        Some((pattern?, bounds?))
    });
    let size_max = if size_max == 0 { HISTOGRAM_SIZE_MAX } else { size_max };
    Observer::Histogram { explicit: explicit.into_iter().flatten().collect(), size_max }
}

/// A regular expression of a configuration, bounded in size.
pub(super) fn compile(pattern: &str) -> Result<Regex, regex::Error> {
    const PROGRAM_BYTES_MAX: usize = 1 << 20;
    regex::RegexBuilder::new(pattern).size_limit(PROGRAM_BYTES_MAX).build()
}

/// Bounds of buckets in any order, each once, as the Collector takes them.
fn read_bounds(section: &mut Section<'_>) -> Option<Arc<[f64]>> {
    let mut bounds = section.get("buckets").each(|field| field.float().optional()).required()?;
    bounds.sort_unstable_by(f64::total_cmp);
    bounds.dedup();
    ascending(bounds).map_err(|message| section.error("buckets", message)).ok()
}

/// Bounds of buckets: numbers, ascending.
pub(super) fn ascending(bounds: Vec<f64>) -> Result<Arc<[f64]>, String> {
    if bounds.is_empty() {
        return Err("expected at least one bound".to_owned());
    }
    match bounds.windows(2).find(|pair| pair[0] >= pair[1]) {
        Some(pair) => Err(format!("expected ascending bounds, found {} behind {}", pair[1], pair[0])),
        None => Ok(bounds.into()),
    }
}

// === impl Observer ===

impl Observer {
    /// What it makes of a metric with this name; none when it drops it.
    pub(super) fn shape(&self, name: &str) -> Option<Shape> {
        match self {
            Observer::Disabled => None,
            Observer::Gauge => Some(Shape::Points),
            Observer::Summary { quantiles } => Some(Shape::Summary { quantiles: Arc::clone(quantiles) }),
            Observer::Histogram { explicit, size_max } => {
                let matching = explicit.iter().find(|(pattern, _)| pattern.is_match(name));
                Some(match matching {
                    Some((_, bounds)) => Shape::Explicit { bounds: Arc::clone(bounds) },
                    None => Shape::Exponential { size_max: *size_max, scale_max: SCALE_MAX },
                })
            }
        }
    }
}
