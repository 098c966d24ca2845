//! A Grafana dashboard over the own metrics of a running migration.
//!
//! Every expression works whether or not counters end in `_total`, and for one process or many.

use serde_json::{Value, json};

/// The dashboard as Grafana imports it; the data source is asked for on import.
///
/// # Errors
/// None that this crate can cause.
pub fn dashboard() -> serde_json::Result<String> {
    let mut panels = Vec::new();
    let mut place = Place::default();
    for row in rows() {
        panels.push(place.row(row.title));
        for panel in row.panels {
            panels.push(place.panel(&panel));
        }
    }
    serde_json::to_string_pretty(&json!({
        "uid": "crossfade-parity",
        "title": "Crossfade: parity",
        "description": "Whether the legacy and the new pipeline tell the same story, and where they first differ.",
        "tags": ["crossfade", "migration"],
        "schemaVersion": 39,
        "version": 1,
        "editable": true,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [
            {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"},
            {
                "name": "signal", "label": "Signal", "type": "query", "datasource": SOURCE.clone(),
                "query": {"query": "label_values(crossfade_parity_verdict, signal)", "refId": "signal"},
                "includeAll": true, "multi": true, "allValue": ".*", "current": {"text": "All", "value": "$__all"},
                "refresh": 2,
            },
        ]},
        "panels": panels,
    }))
    .map(|text| text + "\n")
}

static SOURCE: std::sync::LazyLock<Value> =
    std::sync::LazyLock::new(|| json!({"type": "prometheus", "uid": "${datasource}"}));

struct Row {
    title: &'static str,
    panels: Vec<Panel>,
}

/// One panel: what it shows, how wide it is of 24, and what it asks.
struct Panel {
    title: &'static str,
    description: &'static str,
    kind: Kind,
    width: u32,
    unit: &'static str,
    /// Expressions with the legend of their series.
    asks: Vec<(&'static str, &'static str)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// One number, red if it is not 0.
    Trouble,
    /// One number.
    Number,
    /// Lines over time.
    Lines,
    /// A table of labels.
    Table,
}

/// Where the next panel goes.
#[derive(Default)]
struct Place {
    id: u32,
    x: u32,
    y: u32,
    height: u32,
}

impl Place {
    fn row(&mut self, title: &str) -> Value {
        self.y += self.height;
        (self.x, self.height) = (0, 1);
        let at = json!({"x": 0, "y": self.y, "w": 24, "h": 1});
        self.y += 1;
        self.height = 0;
        self.id += 1;
        json!({"id": self.id, "type": "row", "title": title, "collapsed": false, "gridPos": at, "panels": []})
    }

    fn panel(&mut self, panel: &Panel) -> Value {
        let height = match panel.kind {
            Kind::Trouble | Kind::Number => 4,
            Kind::Lines | Kind::Table => 8,
        };
        if self.x + panel.width > 24 {
            self.y += self.height;
            (self.x, self.height) = (0, 0);
        }
        let at = json!({"x": self.x, "y": self.y, "w": panel.width, "h": height});
        self.x += panel.width;
        self.height = self.height.max(height);
        self.id += 1;
        panel.json(self.id, &at)
    }
}

impl Panel {
    fn json(&self, id: u32, at: &Value) -> Value {
        let is_table = self.kind == Kind::Table;
        let target = |(number, (expression, legend)): (usize, &(&str, &str))| {
            let reference = char::from(b'A' + u8::try_from(number).unwrap_or(0)).to_string();
            json!({
                "refId": reference, "datasource": SOURCE.clone(), "expr": expression, "legendFormat": legend,
                "instant": self.kind != Kind::Lines, "range": self.kind == Kind::Lines,
                "format": if is_table { "table" } else { "time_series" },
            })
        };
        let targets: Vec<Value> = self.asks.iter().enumerate().map(target).collect();
        let red_above_zero = json!([{"color": "green", "value": null}, {"color": "red", "value": 1}]);
        let plain = json!([{"color": "text", "value": null}]);
        let steps = if self.kind == Kind::Trouble { red_above_zero } else { plain };
        let transformations = match is_table {
            true => json!([{"id": "organize", "options": {
                "excludeByName": {"Time": true, "Value": true, "__name__": true, "job": true, "instance": true},
            }}]),
            false => json!([]),
        };
        json!({
            "id": id,
            "type": match self.kind { Kind::Trouble | Kind::Number => "stat", Kind::Lines => "timeseries", Kind::Table => "table" },
            "title": self.title,
            "description": self.description,
            "datasource": SOURCE.clone(),
            "gridPos": at,
            "targets": targets,
            "transformations": transformations,
            "fieldConfig": {
                "defaults": {"unit": self.unit, "min": 0, "thresholds": {"mode": "absolute", "steps": steps}},
                "overrides": [],
            },
            "options": {},
        })
    }
}

fn rows() -> Vec<Row> {
    vec![
        Row { title: "Verdicts", panels: verdicts() },
        Row { title: "Delivery", panels: delivery() },
        Row { title: "The comparison itself", panels: comparison() },
    ]
}

fn verdicts() -> Vec<Panel> {
    let number = |title, description, kind, expression| Panel {
        title,
        description,
        kind,
        width: 6,
        unit: "none",
        asks: vec![(expression, "")],
    };
    vec![
        number(
            "Different",
            "What the two sides do not agree on.",
            Kind::Trouble,
            "sum(crossfade_parity_subjects{verdict=\"different\"})",
        ),
        number(
            "Open",
            "What was seen does not decide it. It never counts as equal.",
            Kind::Number,
            "sum(crossfade_parity_subjects{verdict=\"inconclusive\"})",
        ),
        number(
            "Equal",
            "What was proven equal within the margin.",
            Kind::Number,
            "sum(crossfade_parity_subjects{verdict=\"equivalent\"})",
        ),
        number(
            "Not comparable",
            "What cannot be the same by its nature.",
            Kind::Number,
            "sum(crossfade_parity_subjects{verdict=\"not_comparable\"})",
        ),
        Panel {
            title: "What differs, and at which depth first",
            description: "source: the instrumentation; delivery: see the ledger; answer: the backend or the query.",
            kind: Kind::Table,
            width: 24,
            unit: "none",
            asks: vec![("crossfade_parity_verdict{verdict=\"different\", signal=~\"$signal\"} == 1", "")],
        },
        Panel {
            title: "Verdicts over time",
            description: "A migration goes well when open becomes equal and nothing is different.",
            kind: Kind::Lines,
            width: 12,
            unit: "none",
            asks: vec![("sum by (verdict) (crossfade_parity_subjects)", "{{verdict}}")],
        },
        Panel {
            title: "Proven margin, the ten widest",
            description: "The smallest margin within which both sides were proven equal so far.",
            kind: Kind::Lines,
            width: 12,
            unit: "percentunit",
            asks: vec![("topk(10, crossfade_parity_margin_ratio{signal=~\"$signal\"})", "{{signal}} {{subject}}")],
        },
    ]
}

fn delivery() -> Vec<Panel> {
    let lines = |title, description, unit, expression, legend| Panel {
        title,
        description,
        kind: Kind::Lines,
        width: 8,
        unit,
        asks: vec![(expression, legend)],
    };
    vec![
        lines(
            "Waiting",
            "How old the oldest item is that an exporter still has to deliver.",
            "s",
            "max by (exporter) (crossfade_exporter_lag_seconds)",
            "{{exporter}}",
        ),
        lines(
            "Not delivered",
            "Items that a backend refused for good, or that were given up, by cause.",
            "none",
            "sum by (exporter, state, cause) (crossfade_ledger_items{state=~\"rejected|dropped\"})",
            "{{exporter}} {{state}} {{cause}}",
        ),
        lines(
            "Ledger balances",
            "1 where accepted = delivered + rejected + dropped + pending.",
            "none",
            "min by (pipeline, exporter) (crossfade_ledger_balanced)",
            "{{pipeline}} {{exporter}}",
        ),
    ]
}

fn comparison() -> Vec<Panel> {
    let lines = |title, description, unit, expression, legend| Panel {
        title,
        description,
        kind: Kind::Lines,
        width: 8,
        unit,
        asks: vec![(expression, legend)],
    };
    vec![
        lines(
            "Compared items",
            "What was taken in of each side since the comparison began.",
            "none",
            "sum by (side) (crossfade_parity_compared_items)",
            "{{side}}",
        ),
        lines(
            "Share of a core",
            "Time that the comparison computes; lower migration.parity.sample to lower it.",
            "percentunit",
            "sum by (instance) (rate({__name__=~\"crossfade_parity_busy_seconds(_total)?\"}[5m]))",
            "{{instance}}",
        ),
        lines(
            "Missed items",
            "What came faster than it was compared; each time the comparison began anew.",
            "none",
            "sum by (instance) ({__name__=~\"crossfade_parity_missed_items(_total)?\"})",
            "{{instance}}",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panels_do_not_overlap_and_each_has_its_own_id() {
        let dashboard: Value = serde_json::from_str(&dashboard().unwrap()).unwrap();
        let panels = dashboard["panels"].as_array().unwrap();
        let field = |panel: &Value, name: &str| panel["gridPos"][name].as_u64().unwrap();
        let mut taken = std::collections::BTreeSet::new();
        for panel in panels {
            for x in field(panel, "x")..field(panel, "x") + field(panel, "w") {
                assert!(x < 24, "{panel:#}");
                for y in field(panel, "y")..field(panel, "y") + field(panel, "h") {
                    assert!(taken.insert((x, y)), "{} lies over another one", panel["title"]);
                }
            }
        }
        let ids: std::collections::BTreeSet<u64> = panels.iter().filter_map(|panel| panel["id"].as_u64()).collect();
        assert_eq!(ids.len(), panels.len());
    }
}
