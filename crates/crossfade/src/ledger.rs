//! `crossfade ledger`: what became of every item, and whether it adds up.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::Format;
use crate::api::{Asked, ProcessArguments};
use report::columns::{Table, number};

/// What `ledger` is asked.
#[derive(Debug, clap::Args)]
pub(crate) struct LedgerArguments {
    #[command(flatten)]
    process: ProcessArguments,
    /// The parts by service too, and by metric where the configuration asks for that.
    #[arg(long)]
    parts: bool,
    /// How the ledger is written.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Ends with a failure where a line does not balance.
pub(crate) fn ledger(arguments: &LedgerArguments) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let api = arguments.process.api()?;
    let report = match runtime.block_on(api.get::<Value>("/api/v1/ledger"))? {
        Asked::Answered(report) => report,
        Asked::NobodyThere => bail!(
            "no process answers at {}; name its admin API with --endpoint, or its configuration with --config",
            api.base()
        ),
    };
    let mut out = std::io::stdout().lock();
    match arguments.format {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?,
        Format::Text => write!(out, "{}", text(&report, arguments.parts)?)?,
    }
    let balanced = report["balanced"].as_bool().context("the answer has no `balanced`")?;
    Ok(if balanced { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn text(report: &Value, parts: bool) -> anyhow::Result<String> {
    let lines = report["lines"].as_array().context("the answer has no `lines`")?;
    let mut table =
        Table::new(2, &["pipeline", "exporter", "accepted", "delivered", "rejected", "dropped", "pending", ""]);
    for line in lines {
        let verdict = match (line["balanced"].as_bool(), line["is_configured"].as_bool()) {
            (Some(false), _) => "DOES NOT BALANCE",
            (_, Some(false)) => "not configured any more",
            _ => "",
        };
        table.row(vec![
            text_of(&line["pipeline"]),
            text_of(&line["exporter"]),
            items(&line["accepted_items"]),
            items(&line["delivered_items"]),
            number(sum(&line["rejected_items"])),
            number(sum(&line["dropped_items"])),
            items(&line["pending_items"]),
            verdict.to_owned(),
        ]);
    }
    let mut text = table.to_string();
    for line in lines {
        for (kind, key) in [("rejected", "rejected_items"), ("dropped", "dropped_items")] {
            for (cause, count) in line[key].as_object().into_iter().flatten() {
                let (pipeline, exporter) = (text_of(&line["pipeline"]), text_of(&line["exporter"]));
                text += &format!("{pipeline} {exporter}: {} {kind}: {cause}\n", items(count));
            }
        }
    }
    text += &arrivals_table(report);
    text += &totals_table(report);
    if parts {
        text += &parts_table(report);
    }
    if let Some(trouble) = report["journal_trouble"].as_str() {
        text += &format!("the journal refuses new data: {trouble}\n");
    }
    let verdict = match report["balanced"].as_bool() {
        Some(true) => "every item is accounted for: accepted = delivered + rejected + dropped + pending\n",
        _ => "THE LEDGER DOES NOT BALANCE: items are unaccounted for; please report this\n",
    };
    Ok(text + verdict)
}

/// What came to sockets before it was accepted; nothing where no receiver counts that.
fn arrivals_table(report: &Value) -> String {
    let arrivals = report["arrivals"].as_array().map(Vec::as_slice).unwrap_or_default();
    if arrivals.is_empty() {
        return String::new();
    }
    let mut table = Table::new(4, &["receiver", "transport", "socket", "unit", "received", "lost"]);
    let mut causes = String::new();
    for arrival in arrivals {
        let mut row: Vec<String> =
            ["receiver", "transport", "socket", "unit"].iter().map(|key| text_of(&arrival[*key])).collect();
        for (cause, count) in arrival["lost"].as_object().into_iter().flatten() {
            causes += &format!("{} {} {}: {} lost: {cause}\n", row[0], row[2], row[3], items(count));
        }
        row.extend([items(&arrival["received"]), number(sum(&arrival["lost"]))]);
        table.row(row);
    }
    format!("\n{table}{causes}\n")
}

/// What metrics add up to at each receiver; nothing where no totals are asked for.
fn totals_table(report: &Value) -> String {
    let groups = report["totals"].as_array().map(Vec::as_slice).unwrap_or_default();
    if groups.is_empty() {
        return String::new();
    }
    let mut table = Table::new(2, &["metric", "receiver", "total", "points"]);
    let mut verdicts = String::new();
    for group in groups {
        for total in group["totals"].as_array().into_iter().flatten() {
            let (metric, receiver) = (text_of(&total["metric"]), text_of(&total["receiver"]));
            table.row(vec![metric, receiver, decimal(&total["total"]), items(&total["points"])]);
        }
        let names: Vec<String> = group["metrics"].as_array().into_iter().flatten().map(text_of).collect();
        let verdict = match group["agree"].as_bool() {
            Some(true) => "the totals agree",
            Some(false) => "THE TOTALS DIFFER",
            None => "nothing to compare yet",
        };
        verdicts += &format!("{}: {verdict}\n", names.join(", "));
    }
    format!("\n{table}{verdicts}\n")
}

/// Whole totals with separators, others as they are.
fn decimal(value: &Value) -> String {
    let value = value.as_f64().unwrap_or_default();
    let is_whole = value.fract() == 0.0 && (0.0..9e15).contains(&value);
    if is_whole { number(value as u64) } else { value.to_string() }
}

fn parts_table(report: &Value) -> String {
    let head =
        ["pipeline", "exporter", "of", "name", "accepted", "delivered", "rejected", "dropped", "partly", "pending"];
    let mut table = Table::new(4, &head);
    for part in report["parts"].as_array().into_iter().flatten() {
        let mut row: Vec<String> =
            ["pipeline", "exporter", "dimension", "name"].iter().map(|key| text_of(&part[*key])).collect();
        for key in ["accepted", "delivered", "rejected", "dropped", "partly", "pending"] {
            row.push(items(&part[format!("{key}_items")]));
        }
        table.row(row);
    }
    format!("\n{table}\n")
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn items(value: &Value) -> String {
    number(value.as_u64().unwrap_or_default())
}

fn sum(by_cause: &Value) -> u64 {
    by_cause.as_object().into_iter().flatten().filter_map(|(_, items)| items.as_u64()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(balanced: bool) -> Value {
        serde_json::json!({"balanced": balanced, "journal_trouble": null, "parts": [], "lines": [{
            "pipeline": "traces", "exporter": "otlp/new", "balanced": balanced, "is_configured": true,
            "accepted_items": 1234, "delivered_items": 1200, "rejected_items": {"http_400": 4},
            "dropped_items": {}, "pending_items": 30,
        }]})
    }

    #[test]
    fn the_table_names_causes_and_says_that_it_adds_up() {
        let text = text(&report(true), false).unwrap();
        assert!(text.contains("traces    otlp/new     1,234      1,200         4        0       30\n"), "{text}");
        assert!(text.contains("traces otlp/new: 4 rejected: http_400\n"), "{text}");
        assert!(text.ends_with("every item is accounted for: accepted = delivered + rejected + dropped + pending\n"));
    }

    #[test]
    fn what_was_lost_before_it_was_accepted_is_named_with_its_socket() {
        let mut report = report(true);
        report["arrivals"] = serde_json::json!([{
            "receiver": "statsd", "transport": "udp", "socket": "127.0.0.1:8125", "unit": "datagrams",
            "received": 5000, "lost": {"kernel_drop": 12},
        }]);
        let text = text(&report, false).unwrap();
        assert!(text.contains("statsd    udp        127.0.0.1:8125  datagrams     5,000    12\n"), "{text}");
        assert!(text.contains("statsd 127.0.0.1:8125 datagrams: 12 lost: kernel_drop\n"), "{text}");
    }

    #[test]
    fn totals_of_the_same_thing_are_compared_to_the_last_unit() {
        let mut report = report(true);
        let total = |receiver, metric, total| serde_json::json!({"receiver": receiver, "metric": metric, "total": total, "points": 9});
        let both = [total("otlp", "shop.orders", 5000.0), total("statsd", "orders", 4999.5)];
        report["totals"] = serde_json::json!([{"metrics": ["orders", "shop.orders"], "agree": false, "totals": both}]);
        let text = text(&report, false).unwrap();
        assert!(text.contains("shop.orders  otlp       5,000       9\n"), "{text}");
        assert!(text.contains("orders       statsd    4999.5       9\n"), "{text}");
        assert!(text.contains("orders, shop.orders: THE TOTALS DIFFER\n"), "{text}");
    }

    #[test]
    fn a_ledger_that_does_not_balance_says_so_loudly() {
        let text = text(&report(false), false).unwrap();
        assert!(text.contains("DOES NOT BALANCE") && text.contains("THE LEDGER DOES NOT BALANCE"), "{text}");
    }
}
