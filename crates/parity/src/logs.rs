//! Logs: counts and an order-free sum of hashes for each stream and bucket of time.
//!
//! Two sides have the same records of a bucket if they have as many and the sums of their hashes are the same; order
//! does not matter, and one record more, less or changed shows in both. A record is its body, its severity and its
//! attributes, but for what the mapping leaves out; its time decides the bucket, rounded down to what both sides keep.

use std::borrow::Cow;
use std::collections::BTreeMap;

use otlp::view::{KeyValueView, LogRecordView, LogsView, Repeated};
use xxhash_rust::xxh3::xxh3_64;

use crate::thinning::loss_interval;
use crate::verdict::{Cause, Demand, Finding, Needs, Side, Verdict};

/// How logs are compared.
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// What is asked of a verdict.
    pub demand: Demand,
    /// The resource attributes whose values name a stream. Where none are listed, all do that are not left out.
    pub stream_labels: Vec<String>,
    /// What of a record is compared.
    pub compared: LogFields,
    /// How keys are told apart.
    pub keys: LogKeys,
    /// The length of a bucket.
    pub bucket_ns: u64,
    /// What is older than the newest by this is sealed.
    pub settle_ns: u64,
    /// Times are kept to this by both sides: 1000 where one of them keeps microseconds.
    pub resolution_ns: u64,
    /// So many streams are compared at most.
    pub streams_max: usize,
    /// Of a thousand streams so many are compared: the same ones on both sides.
    pub share_permille: u32,
    /// Attributes that are left out on both sides.
    pub ignored_attributes: Vec<String>,
}

/// What of a record is compared, beside that it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFields {
    /// Everything: body, severity, attributes and time.
    Records,
    /// Body and time: two backends keep different things beside a line.
    Bodies,
    /// Nothing: one side keeps a line as it came, the other what was parsed of it.
    Counts,
}

/// How the keys of labels and attributes are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogKeys {
    /// As they are written.
    AsWritten,
    /// With `_` for everything that is no letter and no digit, as Loki keeps them.
    Underscored,
}

impl LogKeys {
    fn of(self, key: &str) -> Cow<'_, str> {
        match self {
            LogKeys::Underscored if key.contains(|c: char| !c.is_ascii_alphanumeric() && c != '_') => {
                key.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
            }
            _ => Cow::Borrowed(key),
        }
    }
}

impl Default for LogSettings {
    fn default() -> Self {
        LogSettings {
            demand: Demand::default(),
            stream_labels: vec!["service.name".to_owned()],
            compared: LogFields::Records,
            keys: LogKeys::AsWritten,
            bucket_ns: 60_000_000_000,
            settle_ns: 120_000_000_000,
            resolution_ns: 1_000_000,
            streams_max: 10_000,
            share_permille: 1000,
            ignored_attributes: Vec::new(),
        }
    }
}

/// So many buckets of a stream wait to be sealed.
const BUCKETS_MAX: usize = 256;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Bucket {
    records: u64,
    bodies: u64,
    hashes: u64,
}

#[derive(Clone, Debug, Default)]
struct Stream {
    open: BTreeMap<u64, [Bucket; 2]>,
    sealed_until: u64,
    totals: [u64; 2],
    equal_buckets: u64,
    /// As many records with the same bodies, but something else about them differs.
    fields_buckets: u64,
    /// As many records with other bodies.
    bodies_buckets: u64,
    /// Another number of records.
    counts_buckets: u64,
    late: u64,
    broken_since_unix_ns: Option<u64>,
}

/// Compares the logs of two sides.
#[derive(Clone, Debug)]
pub struct Logs {
    settings: LogSettings,
    streams: BTreeMap<String, Stream>,
    newest_unix_ns: [u64; 2],
    left_out_records: u64,
}

/// One stream and its verdict.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamVerdict {
    /// The values of the labels that name it.
    pub stream: String,
    /// What the comparison came to.
    pub verdict: Verdict,
    /// Sealed records of the legacy side.
    pub legacy_records: u64,
    /// Sealed records of the new side.
    pub new_records: u64,
}

impl LogSettings {
    /// The name of the stream that a resource is.
    fn stream(&self, attributes: Repeated<'_, KeyValueView<'_>>) -> String {
        let text = |attribute: KeyValueView<'_>| attribute.value().to_text().into_owned();
        if self.stream_labels.is_empty() {
            let labels = attributes.filter(|attribute| !self.is_ignored(attribute.key()));
            let labels: BTreeMap<_, _> = labels.map(|label| (self.keys.of(label.key()), text(label))).collect();
            let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value:?}")).collect();
            return format!("{{{}}}", labels.join(", "));
        }
        let value = |label: &String| {
            let mut attributes = attributes;
            let found = attributes.find(|attribute| self.keys.of(attribute.key()) == self.keys.of(label));
            found.map(text).unwrap_or_default()
        };
        self.stream_labels.iter().map(value).collect::<Vec<_>>().join("/")
    }

    fn is_ignored(&self, key: &str) -> bool {
        self.ignored_attributes.iter().any(|ignored| self.keys.of(ignored) == self.keys.of(key))
    }
}

impl Logs {
    /// Compares by settings.
    pub fn new(settings: LogSettings) -> Logs {
        Logs { settings, streams: BTreeMap::new(), newest_unix_ns: [0; 2], left_out_records: 0 }
    }

    /// Takes in what one side carried.
    pub fn observe(&mut self, side: Side, logs: LogsView<'_>) {
        for resource in logs.resource_logs() {
            let name = self.settings.stream(resource.resource().attributes());
            if xxh3_64(name.as_bytes()) % 1000 >= u64::from(self.settings.share_permille) {
                continue;
            }
            for scope in resource.scope_logs() {
                for record in scope.log_records() {
                    self.record(side, &name, &record);
                }
            }
        }
    }

    fn record(&mut self, side: Side, name: &str, record: &LogRecordView<'_>) {
        let observed = record.observed_time_unix_nano();
        let time = if record.time_unix_nano() == 0 { observed } else { record.time_unix_nano() };
        self.newest_unix_ns[side as usize] = self.newest_unix_ns[side as usize].max(time);
        if self.streams.len() >= self.settings.streams_max && !self.streams.contains_key(name) {
            self.left_out_records += 1;
            return;
        }
        let at = time - time % self.settings.bucket_ns;
        let (body, hash) = match self.settings.compared {
            LogFields::Counts => (0, 0),
            _ => {
                let body = xxh3_64(record.body().to_text().as_bytes());
                (body, self.hash(record, body, time))
            }
        };
        let stream = match self.streams.get_mut(name) {
            Some(stream) => stream,
            None => self.streams.entry(name.to_owned()).or_default(),
        };
        if at < stream.sealed_until {
            stream.late += 1;
            return;
        }
        let bucket = &mut stream.open.entry(at).or_default()[side as usize];
        bucket.records += 1;
        bucket.bodies = bucket.bodies.wrapping_add(body);
        bucket.hashes = bucket.hashes.wrapping_add(hash);
        if stream.open.len() > BUCKETS_MAX {
            stream.seal_oldest(self.settings.bucket_ns);
        }
    }

    fn hash(&self, record: &LogRecordView<'_>, body: u64, time: u64) -> u64 {
        let time = time / self.settings.resolution_ns.max(1);
        if self.settings.compared == LogFields::Bodies {
            return xxh3_64(&[body, time].map(u64::to_le_bytes).concat());
        }
        let attributes = record.attributes().filter(|attribute| !self.settings.is_ignored(attribute.key()));
        let attributes = attributes.fold(0u64, |sum, attribute| {
            let value = xxh3_64(attribute.value().to_text().as_bytes());
            let key = xxh3_64(self.settings.keys.of(attribute.key()).as_bytes());
            sum.wrapping_add(key ^ value.rotate_left(13))
        });
        let severity = u64::try_from(record.severity_number()).unwrap_or(0);
        // Mixed once more: sums of plain hashes would not tell whose attributes they were.
        xxh3_64(&[body, attributes, time, severity].map(u64::to_le_bytes).concat())
    }

    /// Records of streams beyond the bound.
    pub fn left_out_records(&self) -> u64 {
        self.left_out_records
    }

    /// The newest time up to which nothing more is expected of either side.
    pub fn watermark(&self) -> u64 {
        let [legacy, new] = self.newest_unix_ns;
        legacy.min(new).saturating_sub(self.settings.settle_ns)
    }

    /// Seals everything up to the watermark and gives every verdict.
    pub fn close(&mut self, watermark_unix_ns: u64) -> Vec<StreamVerdict> {
        let LogSettings { bucket_ns, demand, compared, .. } = self.settings;
        let close = |(name, stream): (&String, &mut Stream)| {
            while stream.open.first_key_value().is_some_and(|(at, _)| at.saturating_add(bucket_ns) <= watermark_unix_ns)
            {
                stream.seal_oldest(bucket_ns);
            }
            let [legacy_records, new_records] = stream.totals;
            let verdict = stream.verdict(&demand, compared);
            StreamVerdict { stream: name.clone(), verdict, legacy_records, new_records }
        };
        self.streams.iter_mut().map(close).collect()
    }
}

impl Stream {
    fn seal_oldest(&mut self, bucket_ns: u64) {
        let Some((at, [legacy, new])) = self.open.pop_first() else { return };
        self.sealed_until = at.saturating_add(bucket_ns);
        self.totals[0] += legacy.records;
        self.totals[1] += new.records;
        let kind = if legacy == new {
            &mut self.equal_buckets
        } else if legacy.records != new.records {
            &mut self.counts_buckets
        } else if legacy.bodies == new.bodies {
            &mut self.fields_buckets
        } else {
            &mut self.bodies_buckets
        };
        *kind += 1;
        if legacy != new {
            self.broken_since_unix_ns.get_or_insert(at);
        }
    }

    fn verdict(&self, demand: &Demand, compared: LogFields) -> Verdict {
        let [legacy, new] = self.totals;
        let seen = self.equal_buckets + self.fields_buckets + self.bodies_buckets + self.counts_buckets;
        for (side, records) in [(Side::Legacy, legacy), (Side::New, new)] {
            let other = legacy + new - records;
            // A handful of buckets of the other side alone is a stream that is missing here.
            if records == 0 && (other == 0 || seen < 3) {
                return Verdict::Inconclusive { needs: Needs::Data { from: side } };
            }
            if records == 0 {
                return self.different(Cause::SeriesMissing { side });
            }
        }
        if self.counts_buckets > 0 && legacy != new {
            return self.counts(legacy as f64, new as f64, demand);
        }
        if self.counts_buckets > 0 {
            // As many altogether, in other buckets: the times differ.
            return self.different(Cause::FieldsDiffer { fields: vec!["time".to_owned()] });
        }
        if self.bodies_buckets > 0 {
            return self.different(Cause::FieldsDiffer { fields: vec!["body".to_owned()] });
        }
        if self.fields_buckets > 0 {
            let fields: &[&str] = match compared {
                LogFields::Records => &["attributes", "severity", "time"],
                LogFields::Bodies | LogFields::Counts => &["time"],
            };
            let fields = fields.iter().map(|field| (*field).to_owned()).collect();
            return self.different(Cause::FieldsDiffer { fields });
        }
        Verdict::Equivalent { margin_ratio: 0.0, confidence: 1.0, remark: None }
    }

    fn counts(&self, legacy: f64, new: f64, demand: &Demand) -> Verdict {
        let (side, events, kept) = if new < legacy { (Side::New, legacy, new) } else { (Side::Legacy, new, legacy) };
        let lost = loss_interval(events, events - kept, 0.0, demand.confidence);
        let times = (new / legacy).round();
        let cause = match times >= 2.0 && (new / legacy / times - 1.0).abs() < 0.01 {
            true => Cause::Duplicated { side: Side::New, times },
            false => Cause::Loss { side, ratio_low: lost.low, ratio_high: lost.high },
        };
        match lost.high <= demand.margin_ratio {
            true => Verdict::Equivalent {
                margin_ratio: lost.high,
                confidence: demand.confidence,
                remark: Some(self.finding(cause)),
            },
            false => self.different(cause),
        }
    }

    fn different(&self, cause: Cause) -> Verdict {
        Verdict::Different(self.finding(cause))
    }

    fn finding(&self, cause: Cause) -> Finding {
        let evidence = format!(
            "{} records on the legacy side and {} on the new one; of the sealed buckets {} are the same, {} differ in \
             number, {} in bodies, {} in other fields{}",
            self.totals[0],
            self.totals[1],
            self.equal_buckets,
            self.counts_buckets,
            self.bodies_buckets,
            self.fields_buckets,
            if self.late > 0 { format!("; {} came too late to be judged", self.late) } else { String::new() },
        );
        Finding { cause, evidence, since_unix_ns: self.broken_since_unix_ns }
    }
}

#[cfg(test)]
mod tests {
    use otlp::Batch;
    use otlp::encode::LogsEncoder;

    use super::*;

    fn batch(at_s: u64, body: &str, level: &str) -> Batch {
        batch_of("shop", at_s, body, level)
    }

    fn batch_of(service: &str, at_s: u64, body: &str, level: &str) -> Batch {
        let mut encoder = LogsEncoder::new();
        encoder.resource_logs(|resource| {
            resource.resource(|resource| {
                resource.attributes().string("service.name", service);
            });
            resource.scope_logs(|scope| {
                scope.log_record(|record| {
                    record.time_unix_nano(at_s * 1_000_000_000 + 123_456_789);
                    record.body().string(body);
                    record.attributes().string("level", level);
                });
            });
        });
        encoder.finish()
    }

    /// An hour of a record a second; the new side gets them in another order, as `change` makes them.
    fn check(change: impl Fn(u64, &str) -> Vec<(u64, String, &'static str)>) -> Verdict {
        let mut logs = Logs::new(LogSettings::default());
        for minute in 0..60u64 {
            let seconds: Vec<u64> = (minute * 60..minute * 60 + 60).collect();
            for second in &seconds {
                let body = format!("request {second}");
                logs.observe(Side::Legacy, batch(*second, &body, "info").logs().unwrap());
            }
            for second in seconds.iter().rev() {
                for (at, body, level) in change(*second, &format!("request {second}")) {
                    logs.observe(Side::New, batch(at, &body, level).logs().unwrap());
                }
            }
            logs.close(logs.watermark());
        }
        let mut verdicts = logs.close(u64::MAX - 60_000_000_000);
        assert_eq!((verdicts.len(), verdicts[0].legacy_records), (1, 3600));
        verdicts.remove(0).verdict
    }

    fn cause(verdict: Verdict) -> Cause {
        let Verdict::Different(finding) = verdict else { panic!("{verdict:?}") };
        finding.cause
    }

    #[test]
    fn a_share_of_the_streams_is_the_same_share_on_both_sides() {
        let mut logs = Logs::new(LogSettings { share_permille: 250, ..LogSettings::default() });
        for side in [Side::Legacy, Side::New] {
            for stream in 0..200 {
                logs.observe(side, batch_of(&format!("shop-{stream}"), 100, "hello", "info").logs().unwrap());
            }
        }
        let verdicts = logs.close(u64::MAX / 2);
        assert!((20..80).contains(&verdicts.len()), "{}", verdicts.len());
        assert!(verdicts.iter().all(|stream| (stream.legacy_records, stream.new_records) == (1, 1)), "{verdicts:?}");
    }

    #[test]
    fn the_same_records_in_any_order_are_equal() {
        let verdict = check(|at, body| vec![(at, body.to_owned(), "info")]);
        assert_eq!(verdict, Verdict::Equivalent { margin_ratio: 0.0, confidence: 1.0, remark: None });
    }

    #[test]
    fn lost_records_are_a_loss_with_its_bounds() {
        let lossy = |at: u64, body: &str| if at % 20 == 3 { vec![] } else { vec![(at, body.to_owned(), "info")] };
        let Cause::Loss { side: Side::New, ratio_low, ratio_high } = cause(check(lossy)) else { panic!() };
        assert!(ratio_low < 0.05 && ratio_high > 0.05 && ratio_high < 0.08, "{ratio_low} {ratio_high}");
    }

    #[test]
    fn a_single_lost_record_of_many_is_a_remark() {
        let lossy = |at: u64, body: &str| if at == 1803 { vec![] } else { vec![(at, body.to_owned(), "info")] };
        let Verdict::Equivalent { remark: Some(remark), .. } = check(lossy) else { panic!() };
        assert!(matches!(remark.cause, Cause::Loss { side: Side::New, .. }), "{remark:?}");
        assert!(
            remark.evidence.contains("3600 records") && remark.evidence.contains("1 differ in number"),
            "{remark:?}"
        );
    }

    #[test]
    fn records_that_come_twice_are_duplicates() {
        let twice = |at, body: &str| vec![(at, body.to_owned(), "info"), (at, body.to_owned(), "info")];
        assert_eq!(cause(check(twice)), Cause::Duplicated { side: Side::New, times: 2.0 });
    }

    #[test]
    fn changed_bodies_and_changed_attributes_are_told_apart() {
        let body = |at, body: &str| vec![(at, body.to_uppercase(), "info")];
        assert_eq!(cause(check(body)), Cause::FieldsDiffer { fields: vec!["body".into()] });
        let level = |at, body: &str| vec![(at, body.to_owned(), "INFO")];
        let fields = ["attributes", "severity", "time"].map(str::to_owned).to_vec();
        assert_eq!(cause(check(level)), Cause::FieldsDiffer { fields });
    }

    /// The same line as two backends keep it, with settings that say what of it is compared.
    fn check_kept(settings: LogSettings, expected: Result<&str, &[&str]>) {
        let kept = |label: &str, key: &str, body: &str| {
            let mut encoder = LogsEncoder::new();
            encoder.resource_logs(|resource| {
                resource.resource(|resource| {
                    resource.attributes().string(label, "shop").string("host", "a");
                });
                resource.scope_logs(|scope| {
                    scope.log_record(|record| {
                        record.time_unix_nano(5_000_000_000).body().string(body);
                        record.attributes().string(key, "GET");
                    });
                });
            });
            encoder.finish()
        };
        let mut logs = Logs::new(settings);
        logs.observe(Side::Legacy, kept("service.name", "http.method", "a").logs().unwrap());
        logs.observe(Side::New, kept("service_name", "http_method", "A").logs().unwrap());
        let verdict = logs.close(u64::MAX).remove(0);
        match (verdict.verdict, expected) {
            (Verdict::Equivalent { .. }, Ok(stream)) => assert_eq!(verdict.stream, stream),
            (Verdict::Different(Finding { cause: Cause::FieldsDiffer { fields }, .. }), Err(expected)) => {
                assert_eq!(fields, expected);
            }
            (found, _) => panic!("{found:?}"),
        }
    }

    #[test]
    fn what_two_backends_keep_of_a_line_is_compared_as_far_as_they_can_agree() {
        let settings = |compared| LogSettings { compared, keys: LogKeys::Underscored, ..LogSettings::default() };
        check_kept(settings(LogFields::Records), Err(&["body"]));
        check_kept(settings(LogFields::Bodies), Err(&["body"]));
        check_kept(settings(LogFields::Counts), Ok("shop"));
        let all = LogSettings { stream_labels: Vec::new(), ..settings(LogFields::Counts) };
        check_kept(all.clone(), Ok("{host=\"a\", service_name=\"shop\"}"));
        let ignored_attributes = vec!["service.name".to_owned()];
        check_kept(LogSettings { ignored_attributes, ..all }, Ok("{host=\"a\"}"));
    }

    #[test]
    fn times_at_the_end_of_the_scale_are_judged_too() {
        let mut logs = Logs::new(LogSettings::default());
        let batch = batch(u64::MAX / 1_000_000_000 - 1, "late", "info");
        logs.observe(Side::Legacy, batch.logs().unwrap());
        logs.observe(Side::New, batch.logs().unwrap());
        let verdicts = logs.close(u64::MAX);
        assert!(matches!(verdicts[0].verdict, Verdict::Equivalent { .. }), "{verdicts:?}");
    }

    #[test]
    fn times_within_the_resolution_are_the_same_and_others_are_not() {
        for (resolution_ns, is_same) in [(1_000_000, true), (1, false)] {
            let mut logs = Logs::new(LogSettings { resolution_ns, ..LogSettings::default() });
            let mut shifted = LogsEncoder::new();
            shifted.resource_logs(|resource| {
                resource.resource(|resource| {
                    resource.attributes().string("service.name", "shop");
                });
                resource.scope_logs(|scope| {
                    scope.log_record(|record| {
                        record.time_unix_nano(5_123_000_000);
                        record.body().string("a");
                        record.attributes().string("level", "info");
                    });
                });
            });
            logs.observe(Side::Legacy, batch(5, "a", "info").logs().unwrap());
            logs.observe(Side::New, shifted.finish().logs().unwrap());
            let verdict = &logs.close(u64::MAX - 60_000_000_000)[0].verdict;
            assert_eq!(matches!(verdict, Verdict::Equivalent { .. }), is_same, "{verdict:?}");
        }
    }
}
