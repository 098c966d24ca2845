"""What is asked of the program under test besides its data: its own metrics,
its ledger, and how it stops."""

from __future__ import annotations

import re

from .lab import Lab, Process, http_get

TELEMETRY = """
  telemetry:
    metrics:
      level: normal
      readers:
        - pull:
            exporter:
              prometheus:
                host: 127.0.0.1
                port: {port}
                without_type_suffix: true
                without_units: true
                without_scope_info: true
"""

SAMPLE = re.compile(r"^(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(?P<labels>.*)\})? (?P<value>\S+)$")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')
ITEMS = {"traces": "spans", "metrics": "metric_points", "logs": "log_records"}


def own_metrics(port: int) -> dict[tuple[str, str], float]:
    """Sums of the program's own counters by (name without suffix, component)."""
    sums: dict[tuple[str, str], float] = {}
    for line in http_get(f"http://127.0.0.1:{port}/metrics").splitlines():
        match = SAMPLE.match(line)
        if match is None:
            continue
        labels = dict(LABEL.findall(match["labels"] or ""))
        component = labels.get("receiver") or labels.get("exporter") or labels.get("processor") or ""
        name = match["name"].removesuffix("_total")
        sums[name, component] = sums.get((name, component), 0.0) + float(match["value"])
    return sums


def check_counts(lab: Lab, title: str, port: int, receiver: str, exporters: list[str], expected: dict[str, int]) -> None:
    """The program's own metrics say what the client and the backends say."""
    sums = own_metrics(port)
    wrong, seen = [], 0
    for signal, count in expected.items():
        wanted = [(f"otelcol_receiver_accepted_{ITEMS[signal]}", receiver)]
        wanted += [(f"otelcol_exporter_sent_{ITEMS[signal]}", exporter) for exporter in exporters]
        for name, component in wanted:
            got = sums.get((name, component))
            seen += 1
            if got != count:
                wrong.append(f"{name}{{{component}}} is {got}, expected {count}")
    lab.check(f"{title}: its own metrics count the same items", not wrong, "; ".join(wrong) or f"{seen} counters")


def check_balance(lab: Lab, title: str, port: int) -> None:
    """Crossfade's ledger balances, as its own metrics say; the Collector has none."""
    if not lab.tools.is_crossfade:
        return
    unbalanced, lines = [], 0
    for line in http_get(f"http://127.0.0.1:{port}/metrics").splitlines():
        match = SAMPLE.match(line)
        if match is not None and match["name"] == "crossfade_ledger_balanced":
            lines += 1
            if float(match["value"]) != 1:
                unbalanced.append(line)
    lab.check(f"{title}: its ledger balances", lines > 0 and not unbalanced, "; ".join(unbalanced) or f"{lines} lines")


def check_stop(lab: Lab, title: str, process: Process) -> None:
    """A graceful stop ends with exit code 0."""
    code = process.stop()
    lab.check(f"{title}: it stops gracefully", code == 0, "exit code 0" if code == 0 else f"exit code {code}\n{process.tail()}")


def pending_items(port: int, exporter: str) -> int:
    """Items that wait for one exporter, over all pipelines, from Crossfade's own metrics."""
    total = 0
    for line in http_get(f"http://127.0.0.1:{port}/metrics").splitlines():
        match = SAMPLE.match(line)
        if match is None or match["name"] != "crossfade_ledger_items":
            continue
        labels = dict(LABEL.findall(match["labels"] or ""))
        if labels.get("exporter") == exporter and labels.get("state") == "pending":
            total += int(float(match["value"]))
    return total
