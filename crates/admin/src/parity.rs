//! Verdicts of a running process, in every form of a report.

use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use pipeline::{Parity, Taken};
use report::{Document, Overall, SideSummary};
use transport::server::{ResponseBody, text_response};

/// Says the verdict over everything, whatever the form of the body.
pub const VERDICT_HEADER: HeaderName = HeaderName::from_static("crossfade-parity-verdict");

/// Nothing is loaded and nothing runs; the styles are those of the page itself.
const PAGE_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// The report as it stands now; none before the first verdicts were taken.
pub fn document(parity: &Parity) -> Option<Document> {
    let verdicts = parity.verdicts()?;
    let migration = parity.migration();
    let [legacy, new] = migration.sides();
    let sides = [(legacy, verdicts.taken[0]), (new, verdicts.taken[1])];
    let sides = sides.map(|(side, taken)| summary(side.to_string(), taken));
    let document = Document::new(verdicts.report.clone(), sides, migration.comparison.demand, verdicts.notes.clone());
    Some(document.of_migration(migration.name.clone(), verdicts.at_unix_ns))
}

fn summary(source: String, taken: Taken) -> SideSummary {
    let Taken { items, from_unix_ns, to_unix_ns } = taken;
    SideSummary { source, items, from_unix_ns, to_unix_ns }
}

/// The report in the form that is asked for; a table for a terminal of so many columns.
pub(crate) fn answer(parity: &Parity, form: &str, columns: Option<usize>) -> Response<ResponseBody> {
    let Some(document) = document(parity) else {
        return text_response(StatusCode::SERVICE_UNAVAILABLE, "no verdicts were taken yet; ask again soon\n");
    };
    let (kind, body) = match form {
        "json" => match report::json(&document) {
            Ok(text) => ("application/json", text),
            Err(error) => return text_response(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        },
        "table" => ("text/plain; charset=utf-8", report::table(&document, columns)),
        "junit" => ("application/xml", report::junit(&document)),
        "markdown" => ("text/markdown; charset=utf-8", report::markdown(&document)),
        "html" => ("text/html; charset=utf-8", report::html(&document, &parity.charts())),
        _ => {
            let known = "`format` is one of json, table, junit, markdown and html\n";
            return text_response(StatusCode::BAD_REQUEST, known);
        }
    };
    let mut response = Response::new(ResponseBody::full(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(VERDICT_HEADER, HeaderValue::from_static(document.verdict.key()));
    if form == "html" {
        response.headers_mut().insert(CONTENT_SECURITY_POLICY, PAGE_POLICY);
    }
    response
}

/// What a process ends with that was told this verdict.
pub fn exit_code(verdict: &str) -> Option<u8> {
    let all = [Overall::Equivalent, Overall::NotComparable, Overall::Different, Overall::Inconclusive];
    all.into_iter().find(|overall| overall.key() == verdict).map(Overall::exit_code)
}
