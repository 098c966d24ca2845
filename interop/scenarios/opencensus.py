"""OpenCensus' Python library with its agent exporter: a stream for each export of spans, and one
stream of metrics on which the node is named only once."""

from __future__ import annotations

import datetime
import json
import time

from harness import plain
from harness.lab import Lab
from harness.sinks import Sink
from harness.subject import TELEMETRY, check_balance, check_counts, check_stop
from harness.tools import INTEROP

ABOUT = "opencensus-ext-ocagent sends traces and metrics; a Collector behind has the same spans and the same totals"
NEEDS = ("old_python",)

CONFIG = """
receivers:
  opencensus: {{endpoint: "127.0.0.1:{port}"}}
exporters:
  otlp/sink: {{endpoint: {sink}, tls: {{insecure: true}}}}
service:
  pipelines:
    traces: {{receivers: [opencensus], exporters: [otlp/sink]}}
    metrics: {{receivers: [opencensus], exporters: [otlp/sink]}}
"""

# Two series of sums by route, one of events, one of weight, one of depth, two of latency; exported twice.
POINTS = 14
SECOND_NS = 1_000_000_000


def run(lab: Lab) -> None:
    """One client, once."""
    sink = Sink(lab, "sink", "grpc")
    port, telemetry = lab.port(), lab.port()
    subject = lab.subject(CONFIG.format(port=port, sink=sink.endpoint) + TELEMETRY.format(port=telemetry), [port])
    record = lab.directory / "recorded.json"
    script = INTEROP / "clients" / "opencensus_client.py"
    client = lab.start("client", [lab.tools.old_python, script, "--port", str(port), "--record", record])
    lab.wait("the client ends", lambda: not client.running(), 60)
    code = client.popen.returncode
    lab.check("the client sent everything without an error", code == 0, "" if code == 0 else client.tail())
    recorded = json.loads(record.read_text())
    _await(sink, len(recorded["spans"]))
    _spans(lab, recorded["spans"], plain.spans(plain.requests(sink.path)))
    _metrics(lab, recorded["totals"], plain.points(plain.requests(sink.path)))
    counts = {"traces": len(recorded["spans"]), "metrics": POINTS}
    check_counts(lab, "the client", telemetry, "opencensus", ["otlp/sink"], counts)
    check_balance(lab, "the client", telemetry)
    check_stop(lab, "the client", subject)


def _await(sink: Sink, spans: int) -> None:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        have = sink.items()
        if len(have["traces"]) >= spans and len(have["metrics"]) >= POINTS:
            break
        time.sleep(0.1)
    time.sleep(0.5)


def _nanoseconds(text: str) -> int:
    moment = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    return int(moment.timestamp()) * SECOND_NS + moment.microsecond * 1000


def _spans(lab: Lab, recorded: list[dict], got: list[dict]) -> None:
    expected = []
    for span in recorded:
        meant = {key: span[key] for key in ("trace", "span", "parent", "name", "kind", "message", "attributes", "links")}
        meant["start"], meant["end"] = _nanoseconds(span["start"]), _nanoseconds(span["end"])
        meant["status"] = "error" if span["code"] else ""
        expected.append(meant)
    # The library writes down which code a status had, and how many children of a span it saw.
    added = {"census.status_code", "opencensus.same_process_as_parent_span", "opencensus.childspancount", "rpc.grpc.status_code"}
    found = plain.span_difference(expected, got, added)
    lab.check("the spans are what the client recorded", not found, found or f"{len(expected)} spans")
    by_id = {span["span"]: span for span in got}
    wrong = []
    for span in recorded:
        events = by_id.get(span["span"], {"events": []})["events"]
        notes = [event for event in events if event["name"] == "started" and event["attributes"] == {"items": 3}]
        if len(notes) != len(span["annotations"]) or len(events) != len(span["annotations"]) + span["messages"]:
            wrong.append(f"{span['name']}: {events}")
    lab.check("annotations and message events became events", not wrong, "\n".join(wrong[:3]))
    services = {span["resource"].get("service.name") for span in got}
    lab.check("the node became the resource", services == {"shop"}, str(got[0]["resource"] if got else services))


def _metrics(lab: Lab, totals: dict, points: list[dict]) -> None:
    sums = [point for point in points if point["type"] == "sum"]
    expected = {f"orders_total{{route={route}}}": total for route, total in totals["orders_total"].items()}
    expected |= {"orders_count": totals["events"], "weight_total": totals["weight"]}
    found = plain.unequal(expected, plain.totals(sums))
    lab.check("the totals of the counters are what the client recorded", not found, found or str(expected))
    spread = [point for point in points if point["type"] == "histogram"]
    found = plain.unequal(
        {f"latency_spread{{route={route}}}": count for route, (count, _) in totals["latency"].items()},
        plain.totals(spread, "count"),
    ) or plain.unequal(
        {f"latency_spread{{route={route}}}": total for route, (_, total) in totals["latency"].items()},
        # The library keeps a mean, and multiplies it by the count.
        {series: round(total, 6) for series, total in plain.totals(spread, "sum").items()},
    )
    lab.check("the distributions count and add up the same", not found, found or str(totals["latency"]))
    gauges = plain.last([point for point in points if point["type"] == "gauge"])
    lab.check("the last value is a gauge", gauges == {"depth_now": 299}, gauges)
    kinds = {(point["temporality"], point["monotonic"]) for point in sums}
    lab.check("counters are cumulative, monotonic and have a start", kinds == {("cumulative", True)} and all(p["start"] for p in sums), kinds)
    services = {point["resource"].get("service.name") for point in points}
    lab.check("the node of the stream's first message counts for the second", services == {"shop"}, services)
