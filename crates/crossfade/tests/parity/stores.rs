//! Backends of traces and logs, played by small servers: Jaeger's query API, Loki, VictoriaLogs.

use std::fmt::Write;

use http::StatusCode;
use serde_json::{Value, json};

use super::backends::{Asked, serve_with};
use super::scene::{LENGTH_S, START_S};

/// What is wrong with what a backend keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lack {
    Nothing,
    /// One in twenty.
    Share,
    /// An attribute of spans, the case of lines.
    Change,
}

/// How a backend writes what it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writing {
    /// With its types, or with metadata apart from labels.
    Own,
    /// Every value as text, ids without zeros in front, as other backends with this API do.
    Text,
}

/// A request every two seconds: two spans of one service, and one of another. One in a hundred takes ten minutes.
fn trace(at_s: u64, lack: Lack, writing: Writing) -> Value {
    let id = match writing {
        Writing::Own => format!("{:032x}", at_s + 1),
        Writing::Text => format!("{:x}", at_s + 1),
    };
    let start_us = (START_S + at_s) * 1_000_000 + 7;
    let length_us = if at_s % 200 == 100 { 600_000_000 } else { 40_000 };
    let tag = |key: &str, kind: &str, value: Value| match writing {
        Writing::Own => json!({"key": key, "type": kind, "value": value}),
        Writing::Text => {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            json!({"key": key, "type": "string", "value": text})
        }
    };
    let route = if lack == Lack::Change { "route" } else { "http.route" };
    let span = |number: u64, parent: u64, process: &str, length_us: u64| {
        let reference = json!({"refType": "CHILD_OF", "traceID": id, "spanID": format!("{parent:016x}")});
        json!({
            "traceID": id, "spanID": format!("{number:016x}"), "operationName": "POST /orders", "processID": process,
            "references": if parent == 0 { json!([]) } else { json!([reference]) },
            "startTime": start_us + number, "duration": length_us, "logs": [], "warnings": null,
            "tags": [
                tag("span.kind", "string", json!(if number == 1 { "server" } else { "internal" })),
                tag(route, "string", json!("/orders")),
                tag("http.response.status_code", "int64", json!(200)),
                tag("error", "bool", json!(at_s.is_multiple_of(30))),
            ],
        })
    };
    let mut spans = vec![span(1, 0, "p1", length_us), span(2, 1, "p1", 1000), span(3, 2, "p2", 500)];
    if lack == Lack::Share && at_s.is_multiple_of(40) {
        spans.truncate(1);
    }
    let process = |name: &str| json!({"serviceName": name, "tags": [tag("pod", "string", json!("a"))]});
    let processes = json!({"p1": process("checkout"), "p2": process("stock")});
    json!({"traceID": id, "spans": spans, "processes": processes, "warnings": null})
}

/// A trace as it is answered, with the times at which the spans of both services began.
struct Told {
    json: String,
    starts_us: [u64; 2],
}

/// Serves the query API of Jaeger.
pub(crate) fn jaeger(lack: Lack, writing: Writing) -> String {
    // Some began before the time that is asked for, some end after it; and of a while there are more than at other times.
    let times = (0..LENGTH_S).filter(|at_s| at_s % 2 == 0 || (1200..1600).contains(at_s));
    let told = |at_s: u64| {
        let trace = trace(at_s, lack, writing);
        let start_us = |span: usize| trace["spans"][span]["startTime"].as_u64().unwrap_or(0);
        Told { json: trace.to_string(), starts_us: [start_us(0), start_us(2)] }
    };
    let traces: Vec<Told> = times.map(told).collect();
    serve_with(move |asked| match asked.path.as_str() {
        "/api/services" => {
            (StatusCode::OK, json!({"data": ["checkout", "jaeger", "stock"], "errors": null}).to_string())
        }
        "/api/traces" => {
            let limit = usize::try_from(asked.number("limit")).unwrap();
            let asked_for = asked.number("start")..=asked.number("end");
            let service = usize::from(asked.form["service"] == "stock");
            let found = traces.iter().filter(|trace| asked_for.contains(&trace.starts_us[service]));
            let found: Vec<&str> = found.take(limit).map(|trace| trace.json.as_str()).collect();
            (StatusCode::OK, format!("{{\"data\":[{}],\"total\":0,\"errors\":null}}", found.join(",")))
        }
        _ => (StatusCode::NOT_FOUND, "{\"data\":null,\"errors\":[{\"code\":404,\"msg\":\"no such path\"}]}".to_owned()),
    })
}

struct Kept {
    time_unix_ns: u64,
    app: &'static str,
    text: String,
}

/// Two lines every second, of two applications; in the last second of each minute both at the same time.
fn kept(lack: Lack) -> Vec<Kept> {
    let mut lines = Vec::new();
    for at in 0..LENGTH_S * 2 {
        if lack == Lack::Share && at % 20 == 3 {
            continue;
        }
        let second = START_S + at / 2;
        let nanosecond = if second % 60 == 59 { 0 } else { at % 2 * 100_000_000 };
        let text = format!("order {at} of \"{}\"", at % 7);
        lines.push(Kept {
            time_unix_ns: second * 1_000_000_000 + nanosecond,
            app: if at % 3 == 0 { "cart" } else { "checkout" },
            text: if lack == Lack::Change { text.to_uppercase() } else { text },
        });
    }
    lines
}

/// Whether a stream is selected, by the matchers that the command writes.
fn is_selected(selector: &str, labels: &[(&str, &str)]) -> bool {
    let inside = selector.strip_prefix('{').unwrap().strip_suffix('}').unwrap();
    inside.split(", ").all(|matcher| {
        let (name, wanted) = matcher.split_once('=').unwrap();
        let is_there = labels.iter().any(|(label, _)| *label == name);
        match wanted {
            "~\".+\"" => is_there,
            "\"\"" => !is_there,
            other => panic!("{other}"),
        }
    })
}

/// Serves Loki: one of the applications has a label more.
pub(crate) fn loki(lack: Lack) -> String {
    let lines = kept(lack);
    serve_with(move |asked| {
        if asked.header("x-scope-orgid") != "shop" {
            return (StatusCode::UNAUTHORIZED, "no org id".to_owned());
        }
        match asked.path.as_str() {
            "/loki/api/v1/labels" => {
                (StatusCode::OK, json!({"status": "success", "data": ["app", "env", "service_name"]}).to_string())
            }
            "/loki/api/v1/query_range" => (StatusCode::OK, streams(&lines, asked)),
            _ => (StatusCode::NOT_FOUND, "404 page not found".to_owned()),
        }
    })
}

fn streams(lines: &[Kept], asked: &Asked) -> String {
    assert_eq!(asked.form["direction"], "forward");
    let limit = usize::try_from(asked.number("limit")).unwrap();
    let mut streams = Vec::new();
    let mut left = limit;
    // In the order of their times over all streams, so the limit cuts both.
    let mut values = [Vec::new(), Vec::new()];
    let selected = ["checkout", "cart"].map(|app| is_selected(&asked.form["query"], &labels_of(app)));
    assert_eq!(asked.header("x-loki-response-encoding-flags"), "categorize-labels", "metadata would be labels");
    let asked_for = asked.number("start")..asked.number("end");
    for line in lines.iter().filter(|line| asked_for.contains(&line.time_unix_ns)) {
        if left > 0 && selected[usize::from(line.app == "cart")] {
            left -= 1;
            let metadata = json!({"structuredMetadata": {"detected_level": "info", "code": "7"}, "parsed": {}});
            let value = json!([line.time_unix_ns.to_string(), line.text, metadata]);
            values[usize::from(line.app == "cart")].push(value);
        }
    }
    for (app, values) in ["checkout", "cart"].into_iter().zip(values).filter(|(_, values)| !values.is_empty()) {
        let mut stream: serde_json::Map<String, Value> =
            labels_of(app).into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect();
        stream.insert("service_name".to_owned(), json!(app));
        streams.push(json!({"stream": stream, "values": values}));
    }
    json!({"status": "success", "data": {"resultType": "streams", "result": streams, "stats": {}}}).to_string()
}

fn labels_of(app: &'static str) -> Vec<(&'static str, &'static str)> {
    match app {
        "cart" => vec![("app", "cart"), ("env", "prod")],
        app => vec![("app", app)],
    }
}

/// Serves the queries of VictoriaLogs.
pub(crate) fn victorialogs(lack: Lack) -> String {
    let lines = kept(lack);
    serve_with(move |asked| {
        assert_eq!((asked.path.as_str(), asked.form["query"].as_str()), ("/select/logsql/query", "*"));
        let (from, to) = (asked.number("start"), asked.number("end"));
        // As if an answer could not have more.
        let found = lines.iter().filter(|line| from <= line.time_unix_ns && line.time_unix_ns < to);
        if to - from > 900_000_000_000 {
            return (StatusCode::OK, "{".repeat(33 << 20));
        }
        let mut out = String::new();
        for line in found {
            let labels = labels_of(line.app);
            let stream: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
            let mut fields = json!({
                "_msg": line.text, "_stream": format!("{{{}}}", stream.join(",")), "_stream_id": "00", "code": "7",
                "_time": time(line.time_unix_ns),
            });
            labels.iter().for_each(|(name, value)| fields[*name] = json!(value));
            writeln!(out, "{fields}").unwrap();
        }
        (StatusCode::OK, out)
    })
}

/// Of the hour that the scene is in.
fn time(unix_ns: u64) -> String {
    let at = unix_ns - START_S * 1_000_000_000;
    let (seconds, nanoseconds) = (at / 1_000_000_000, at % 1_000_000_000);
    // 2027-01-15T08:00:00Z is the beginning of the scene.
    format!("2027-01-15T08:{:02}:{:02}.{nanoseconds:09}Z", seconds / 60, seconds % 60)
}
