"""Zipkin's clients in, Jaeger's receiver for Zipkin behind and beside.

Every client sends its spans twice, as in the scenario `jaeger`. Behind the
program under test stand a Collector (OTLP), and two Jaegers that get Zipkin's
JSON and Zipkin's protobuf from it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

from harness import plain
from harness.jaeger import Jaeger
from harness.lab import Lab
from harness.sinks import Sink
from harness.subject import TELEMETRY, check_balance, check_counts, check_stop
from harness.tools import INTEROP

ABOUT = "py-zipkin and OpenTelemetry's Zipkin exporters in every encoding in; JSON and protobuf out to Jaeger"
NEEDS = ("old_python", "jaeger")

CONFIG = """
receivers:
  zipkin: {{endpoint: "127.0.0.1:{port}"}}
exporters:
  zipkin/json: {{endpoint: "http://127.0.0.1:{json_out}/api/v2/spans", format: json}}
  zipkin/proto: {{endpoint: "http://127.0.0.1:{proto_out}/api/v2/spans", format: proto}}
  otlp/sink: {{endpoint: {sink}, tls: {{insecure: true}}}}
service:
  pipelines:
    traces: {{receivers: [zipkin], exporters: [zipkin/json, zipkin/proto, otlp/sink]}}
"""

# Each client, and whether the Jaeger beside makes the same of its bytes: its reading of version 1 loses the
# other side's endpoint and keeps the server's address as a boolean.
CLIENTS = {
    "v1-thrift": False,
    "v1-json": False,
    "v2-json": True,
    "v2-proto": True,
    "otel-json": True,
    "otel-json-v1": False,
    "otel-proto": True,
}
# What the clients or the protocol add; an endpoint becomes several attributes.
ADDED = {
    "net.host.ip",
    "net.host.port",
    "net.peer.ip",
    "net.peer.port",
    "peer.service",
    "ipv4",
    "port",
    "otel.scope.name",
    "otel.scope.version",
    "otel.library.name",
    "otel.library.version",
    "shard",
    "service.name",
    "error",
    "zipkin.debug",
}
NOT_COMPARED = {"otel.scope.name", "otel.scope.version", "error", "zipkin.debug", "@jaeger@warnings"}
MICROSECOND_NS = 1000


def run(lab: Lab) -> None:
    """Every client, one after another, through one process."""
    sink = Sink(lab, "sink", "grpc")
    by_json, by_proto, beside = Jaeger(lab, "by-json"), Jaeger(lab, "by-proto"), Jaeger(lab, "beside")
    port, telemetry = lab.port(), lab.port()
    config = CONFIG.format(
        port=port, json_out=by_json.ports["zipkin"], proto_out=by_proto.ports["zipkin"], sink=sink.endpoint
    )
    subject = lab.subject(config + TELEMETRY.format(port=telemetry), [port])
    everything = 0
    for client, judged in CLIENTS.items():
        expected = _send(lab, client, port, beside.ports["zipkin"])
        everything += len(expected)
        _await(sink, everything)
        ids = {span["trace"] for span in expected}
        got = [span for span in plain.spans(plain.requests(sink.path)) if span["trace"] in ids]
        found = "\n".join(_between(expected, got)) if "between" in expected[0] else ""
        found += plain.span_difference([_meant(client, span) for span in expected], got, ADDED, MICROSECOND_NS)
        lab.check(f"{client}: the spans are what the client recorded", not found, found or f"{len(expected)} spans")
        if judged:
            _same(lab, f"{client}: a Jaeger beside makes the same of the same bytes", got, beside.spans(ids))
        for name, jaeger in (("JSON", by_json), ("protobuf", by_proto)):
            _same(lab, f"{client}: sent on as {name}, a Jaeger has the same spans", got, jaeger.spans(ids))
    exporters = ["zipkin/json", "zipkin/proto", "otlp/sink"]
    check_counts(lab, "all clients", telemetry, "zipkin", exporters, {"traces": everything})
    check_balance(lab, "all clients", telemetry)
    check_stop(lab, "all clients", subject)
    for jaeger in (by_json, by_proto, beside):
        jaeger.end()


def _send(lab: Lab, client: str, port: int, also: int) -> list[dict]:
    record = lab.directory / f"{client}.json"
    script = INTEROP / "clients" / "zipkin_spans.py"
    process = lab.start(
        client,
        [lab.tools.old_python, script, "--client", client, "--port", str(port), "--also", str(also), "--record", record],
    )
    lab.wait("the client ends", lambda: not process.running(), 60)
    code = process.popen.returncode
    lab.check(f"{client}: the client sent everything without an error", code == 0, "" if code == 0 else process.tail())
    return json.loads(record.read_text())


def _await(sink: Sink, count: int) -> None:
    deadline = time.monotonic() + 15
    while len(sink.items()["traces"]) < count and time.monotonic() < deadline:
        time.sleep(0.1)
    # A moment more, so that what comes twice is seen too.
    time.sleep(0.7)


def _meant(client: str, span: dict) -> dict:
    """What Zipkin can carry of a span: texts, microseconds, no kind for what is internal."""
    meant = {key: span[key] for key in ("trace", "span", "parent", "name")}
    # OpenTelemetry's exporter for version 1 says nothing of kinds.
    meant["kind"] = "" if span["kind"] == "internal" or client == "otel-json-v1" else span["kind"]
    if "tags" in span:
        meant["attributes"] = span["tags"]
        meant["events"] = [{"name": note} for note in span["notes"]]
        return meant
    meant["start"], meant["end"] = span["start"], span["end"]
    meant["status"] = span["status"]
    meant["attributes"] = {key: _text(value) for key, value in span["attributes"].items()}
    # OpenTelemetry's exporters write an event and its attributes as one annotation of JSON, which is read again.
    meant["events"] = span["events"]
    return meant


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _between(expected: list[dict], got: list[dict]) -> Iterator[str]:
    """`py-zipkin` takes its times itself: they must lie between those around it."""
    times = {span["span"]: span for span in got}
    for span in expected:
        began, ended = span["between"]
        came = times.get(span["span"])
        if came is not None and not began - MICROSECOND_NS <= came["start"] <= came["end"] <= ended + MICROSECOND_NS:
            yield f"{span['name']}: {came['start']} to {came['end']} is not within {began} to {ended}\n"


def _same(lab: Lab, sentence: str, ours: list[dict], theirs: list[dict]) -> None:
    # Jaeger gives a span that took no time a nanosecond.
    found = plain.span_difference([_common(span) for span in ours], [_common(span) for span in theirs], set(), 1)
    lab.check(sentence, not found and bool(theirs), found or f"{len(theirs)} spans identical")


def _common(span: dict) -> dict:
    """What Jaeger's receiver knows of a span: it keeps a scope and an error among the attributes as well, forgets the
    flag "debug" and the status "ok", warns of spans that took no time, and leaves events as JSON in their names."""
    attributes = {key: value for key, value in span["attributes"].items() if key not in NOT_COMPARED}
    events = [{"name": "", "time": event["time"], "attributes": {}} for event in span["events"]]
    status = "error" if span["status"] == "error" else ""
    return {**span, "status": status, "message": "", "attributes": attributes, "events": events}
