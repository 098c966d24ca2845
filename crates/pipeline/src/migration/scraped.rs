//! What a scrape adds of its own: it tells of the scrape, and no application emits it.

use parity::Report;

/// As Prometheus names them.
const OF_SCRAPES: [&str; 8] = [
    "up",
    "scrape_body_size_bytes",
    "scrape_duration_seconds",
    "scrape_sample_limit",
    "scrape_samples_post_metric_relabeling",
    "scrape_samples_scraped",
    "scrape_series_added",
    "scrape_timeout_seconds",
];

/// Leaves out what scrapes add, where only one side is scraped: the other cannot have it, and nothing is lost by that.
pub(super) fn without_scrapes(report: Report) -> Report {
    let is_kept = |subject: &parity::Subject| {
        let is_one_sided = subject.legacy_names.is_empty() != subject.new_names.is_empty();
        !(subject.signal == "metrics" && is_one_sided && OF_SCRAPES.contains(&subject.name.as_str()))
    };
    let Report { subjects, collisions, left_out, releases, suggestions, .. } = report;
    let kept = subjects.into_iter().filter(is_kept).collect();
    Report { collisions, releases, suggestions, ..Report::of(kept, Vec::new(), left_out) }
}

#[cfg(test)]
mod tests {
    use otlp::Signal;
    use parity::{Needs, Side, Subject, Verdict};

    use super::*;

    fn subject(name: &str, sides: &[Side]) -> Subject {
        let verdict = Verdict::Inconclusive { needs: Needs::Overlap };
        let names = |side| if sides.contains(&side) { vec![name.to_owned()] } else { Vec::new() };
        let (legacy_names, new_names) = (names(Side::Legacy), names(Side::New));
        Subject { legacy_names, new_names, ..Subject::alone(Signal::Metrics, name.to_owned(), verdict) }
    }

    #[test]
    fn what_scrapes_add_is_left_out_where_only_one_side_is_scraped() {
        let both = [Side::Legacy, Side::New];
        let subjects = vec![
            subject("up", &[Side::Legacy]),
            subject("scrape_duration_seconds", &both),
            subject("scrape_series_added", &[Side::New]),
            subject("scrape_of_my_own", &[Side::Legacy]),
        ];
        let report = without_scrapes(Report::of(subjects, Vec::new(), 3));
        let names: Vec<&str> = report.subjects.iter().map(|subject| subject.name.as_str()).collect();
        assert_eq!(names, ["scrape_duration_seconds", "scrape_of_my_own"]);
        assert_eq!((report.left_out, report.counts["inconclusive"]), (3, 2));
    }
}
