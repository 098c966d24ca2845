//! Every form of one report, held to golden files; `UPDATE=1` writes them anew.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use parity::{
    AtDepth, Cause, CollisionReport, Demand, Depth, Failure, Finding, Identity, Needs, Part, Reason, Report, Side,
    Subject, Suggestion, Verdict,
};

use super::*;

const HOSTILE: &str = "</script><img src=x onerror=alert(1)>\"'&`|\u{1b}[31m\n# x";

fn subject(signal: &'static str, name: &str, verdict: Verdict) -> Subject {
    Subject {
        signal,
        name: name.to_owned(),
        legacy_names: Vec::new(),
        new_names: Vec::new(),
        sentence: verdict.sentence(),
        failure: Failure::of(&verdict),
        verdict,
        parts: Vec::new(),
        counts: BTreeMap::new(),
        depths: Vec::new(),
        differs_at: None,
    }
}

fn lost() -> Verdict {
    let cause = Cause::Loss { side: Side::New, ratio_low: 0.018, ratio_high: 0.022 };
    Verdict::Different(Finding { cause, evidence: "980 of 1000 <b>".to_owned(), since_unix_ns: Some(1) })
}

fn series() -> Identity {
    Identity { metric: "requests_total".to_owned(), labels: vec![("shop".to_owned(), HOSTILE.to_owned())] }
}

fn report() -> Report {
    let name = series().to_string();
    let lossy = Subject {
        legacy_names: vec!["requests_total".to_owned()],
        new_names: vec!["requests".to_owned()],
        parts: vec![Part { name, verdict: lost(), sentence: lost().sentence(), set_series: None }],
        counts: BTreeMap::from([("different", 1)]),
        ..subject("metrics", "requests_total", lost())
    };
    let equal = Verdict::Equivalent { margin_ratio: 0.0037, confidence: 0.95, remark: None };
    let open = Verdict::Inconclusive { needs: Needs::Windows { seen: 3, more: 9 } };
    let subjects = vec![
        subject("traces", "checkout", equal),
        lossy,
        subject("metrics", "lag", Verdict::NotComparable { reason: Reason::PercentileOfPercentiles }),
        subject("logs", HOSTILE, open),
    ];
    let mut report = Report::of(subjects, Vec::new(), 7);
    let names = vec!["a.b".to_owned(), "a_b".to_owned()];
    report.collisions.push(CollisionReport { side: Side::New, name: "a_b".to_owned(), names });
    report
}

fn document(report: Report, notes: Vec<String>) -> Document {
    let side = |source: &str| SideSummary {
        source: source.to_owned(),
        items: 1234,
        from_unix_ns: Some(1_800_000_000_000_000_000),
        to_unix_ns: Some(1_800_003_600_000_000_000),
    };
    Document::new(report, [side("legacy.jsonl"), side("http://host/<prometheus>")], Demand::default(), notes)
}

fn check_golden(file: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(file);
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap();
    assert!(text == expected, "not as in {}:\n{text}", path.display());
}

#[test]
fn every_form_is_as_it_was_and_nothing_in_it_is_obeyed() {
    let document = document(report(), vec!["12 samples are native histograms".to_owned()]);
    let line = |loss: f64| (0..50).map(|at| (at, at as f64 * (1.0 - loss))).collect();
    let charts = Charts::of_series([(series(), [line(0.0), line(0.02)])]);
    let page = html(&document, &charts);
    for (file, text) in [
        ("report.txt", table(&document, None)),
        ("report-80.txt", table(&document, Some(80))),
        ("report.md", markdown(&document)),
        ("report.xml", junit(&document)),
        ("report.json", json(&document).unwrap()),
        ("report.html", page.clone()),
    ] {
        check_golden(file, &text);
        assert!(!text.contains('\u{1b}'), "{file} holds a control character");
    }
    assert!(!page.contains("<img") && !page.contains("<script") && !page.contains("</script"));
    assert!(!markdown(&document).contains("<img") && !junit(&document).contains("<img"));
    assert_eq!(page.matches("<polyline").count(), 2);
}

#[test]
fn what_would_help_is_in_every_form_and_inert() {
    let labels = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
    let names = ["request_ms", HOSTILE].map(str::to_owned);
    let mut report = report();
    report.suggestions = vec![
        Suggestion::shared_labels(Side::Legacy, labels("cluster", HOSTILE), [12, 12], false),
        Suggestion::renamed(names, 0.001, labels("method", "http_request_method"), [3, 3]),
    ];
    let document = document(report, Vec::new());
    let page = html(&document, &Charts::default());
    for (file, text) in [
        ("suggestions.txt", table(&document, Some(80))),
        ("suggestions.md", markdown(&document)),
        ("suggestions.xml", junit(&document)),
        ("suggestions.json", json(&document).unwrap()),
        ("suggestions.html", page.clone()),
    ] {
        check_golden(file, &text);
        assert!(!text.contains('\u{1b}'), "{file} holds a control character");
    }
    assert!(!page.contains("<img") && !page.contains("<script") && !page.contains("</script"));
    assert!(!junit(&document).contains("<img"));
}

#[test]
fn what_is_open_or_left_out_is_not_equal() {
    let equal = || subject("metrics", "a", Verdict::Equivalent { margin_ratio: 0.0, confidence: 1.0, remark: None });
    let open = || subject("metrics", "b", Verdict::Inconclusive { needs: Needs::Overlap });
    let other = || subject("metrics", "c", Verdict::NotComparable { reason: Reason::DifferentKinds });
    let different = || subject("metrics", "d", lost());
    let check = |subjects: Vec<Subject>, left_out: u64, notes: &[&str], expected: Overall| {
        let report = Report::of(subjects, Vec::new(), left_out);
        let notes = notes.iter().map(|note| (*note).to_owned()).collect();
        assert_eq!(document(report, notes).verdict, expected);
    };
    check(vec![equal(), other()], 0, &[], Overall::Equivalent);
    check(vec![other()], 0, &[], Overall::NotComparable);
    check(vec![equal(), open()], 0, &[], Overall::Inconclusive);
    check(vec![equal()], 1, &[], Overall::Inconclusive);
    check(vec![equal()], 0, &["no time in common"], Overall::Inconclusive);
    check(vec![], 0, &[], Overall::Inconclusive);
    check(vec![equal(), open(), different()], 1, &["a note"], Overall::Different);
}

#[test]
fn a_page_tells_what_differs_at_each_depth_that_was_looked_at() {
    let at = |depth, verdict: Verdict| AtDepth { depth, sentence: verdict.sentence(), verdict };
    let equal = Verdict::Equivalent { margin_ratio: 0.001, confidence: 1.0, remark: None };
    let depths = vec![at(Depth::Source, lost()), at(Depth::Delivery, equal)];
    let differs_at = Some(Depth::Source);
    let located = Subject { depths, differs_at, ..subject("metrics", "orders", lost()) };
    let page = html(&document(Report::of(vec![located], Vec::new(), 0), Vec::new()), &Charts::default());
    for row in [
        "<tr><td>source</td><td class=\"different\">different</td><td>the new side misses 1.8 % to 2.2 %: 980 of 1000 &lt;b&gt;</td></tr>",
        "<tr><td>delivery</td><td class=\"equivalent\">equivalent</td><td>equal within 0.10 %</td></tr>",
    ] {
        assert!(page.contains(row), "{row} is not in {page}");
    }
    let alone = html(
        &document(Report::of(vec![subject("metrics", "orders", lost())], Vec::new(), 0), Vec::new()),
        &Charts::default(),
    );
    assert!(!alone.contains("<th>depth</th>"), "{alone}");
}
