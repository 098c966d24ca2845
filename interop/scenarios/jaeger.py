"""Jaeger's clients in, Jaeger itself behind and beside.

Every client sends its spans twice: through the program under test, and
straight into a Jaeger. What the client recorded, what a Collector behind the
`otlp` exporter got, what a Jaeger behind the `jaeger` exporter and one behind
the `otlp` exporter answer, and what the Jaeger beside made of the same bytes
must all be the same spans."""

from __future__ import annotations

import json
import time

from harness import plain
from harness.jaeger import Jaeger
from harness.lab import Lab
from harness.sinks import Sink
from harness.subject import TELEMETRY, check_balance, check_counts, check_stop
from harness.tools import INTEROP

ABOUT = "jaeger-client and OpenTelemetry's Jaeger exporters in; two Jaegers behind and one beside hold the same spans"
NEEDS = ("old_python", "jaeger")

CONFIG = """
receivers:
  jaeger:
    protocols:
      grpc: {{endpoint: "127.0.0.1:{grpc}"}}
      thrift_http: {{endpoint: "127.0.0.1:{thrift_http}"}}
      thrift_compact: {{endpoint: "127.0.0.1:{thrift_compact}"}}
      thrift_binary: {{endpoint: "127.0.0.1:{thrift_binary}"}}
exporters:
  jaeger:
    endpoint: 127.0.0.1:{jaeger_out}
    tls: {{insecure: true}}
  otlp/jaeger:
    endpoint: 127.0.0.1:{otlp_out}
    tls: {{insecure: true}}
  otlp/sink:
    endpoint: {sink}
    tls: {{insecure: true}}
service:
  pipelines:
    traces: {{receivers: [jaeger], exporters: [jaeger, otlp/jaeger, otlp/sink]}}
"""

# Client, the subject's and Jaeger's port for it.
CLIENTS = {
    "jaeger-client": "thrift_compact",
    "jaeger-client-64": "thrift_compact",
    "otel-udp": "thrift_compact",
    "otel-http": "thrift_http",
    "otel-grpc": "grpc",
}
# What the clients themselves add to every span or process.
ADDED = {
    "otel.library.name",
    "otel.library.version",
    "otel.scope.name",
    "otel.scope.version",
    "telemetry.sdk.language",
    "telemetry.sdk.name",
    "telemetry.sdk.version",
    "service.name",
    "deployment.environment",
    "shard",
    "error",
    "sampler.type",
    "sampler.param",
    "client.version",
    "jaeger.version",
    "hostname",
    "host.name",
    "ip",
    "telemetry.distro.name",
    "telemetry.distro.version",
    "opencensus.exporterversion",
    "message",
    "event",
    "w3c.tracestate",
    "internal.span.format",
}
SCOPE_TAGS = {"otel.library.name", "otel.library.version", "otel.scope.name", "otel.scope.version"}
MICROSECOND_NS = 1000


def run(lab: Lab) -> None:
    """Every client, one after another, through one process."""
    sink = Sink(lab, "sink", "grpc")
    by_jaeger, by_otlp, beside = Jaeger(lab, "by-jaeger"), Jaeger(lab, "by-otlp"), Jaeger(lab, "beside")
    names = ("grpc", "thrift_http", "thrift_compact", "thrift_binary")
    ports = {name: lab.port() for name in names}
    telemetry = lab.port()
    config = CONFIG.format(
        **ports, jaeger_out=by_jaeger.ports["grpc"], otlp_out=by_otlp.ports["otlp"], sink=sink.endpoint
    )
    subject = lab.subject(
        config + TELEMETRY.format(port=telemetry),
        [ports["grpc"], ports["thrift_http"]],
        datagrams=[ports["thrift_compact"], ports["thrift_binary"]],
    )
    everything = 0
    for client, port in CLIENTS.items():
        expected = _send(lab, client, ports[port], beside.ports[port])
        everything += len(expected)
        _await(lab, client, sink, everything)
        ids = {span["trace"] for span in expected}
        got = [span for span in plain.spans(plain.requests(sink.path)) if span["trace"] in ids]
        found = plain.span_difference([_meant(client, span) for span in expected], got, ADDED, MICROSECOND_NS)
        lab.check(f"{client}: the spans are what the client recorded", not found, found or f"{len(expected)} spans")
        through_otlp = by_otlp.spans(ids)
        _same(lab, f"{client}: a Jaeger behind `jaeger` has what one behind `otlp` has", through_otlp, by_jaeger.spans(ids), _by_jaeger)
        _same(lab, f"{client}: a Jaeger beside makes the same of the same bytes", through_otlp, beside.spans(ids), _beside)
    check_counts(lab, "all clients", telemetry, "jaeger", ["jaeger", "otlp/jaeger", "otlp/sink"], {"traces": everything})
    check_balance(lab, "all clients", telemetry)
    check_stop(lab, "all clients", subject)
    for jaeger in (by_jaeger, by_otlp, beside):
        jaeger.end()


def _send(lab: Lab, client: str, port: int, also: int) -> list[dict]:
    record = lab.directory / f"{client}.json"
    script = INTEROP / "clients" / "jaeger_spans.py"
    process = lab.start(
        client,
        [lab.tools.old_python, script, "--client", client, "--port", str(port), "--also", str(also), "--record", record],
    )
    lab.wait("the client ends", lambda: not process.running(), 60)
    code = process.popen.returncode
    lab.check(f"{client}: the client sent everything without an error", code == 0, "" if code == 0 else process.tail())
    return json.loads(record.read_text())


def _await(lab: Lab, client: str, sink: Sink, count: int) -> None:
    deadline = time.monotonic() + 15
    while len(sink.items()["traces"]) < count and time.monotonic() < deadline:
        time.sleep(0.1)
    # A moment more, so that what comes twice is seen too.
    time.sleep(0.7)


def _meant(client: str, span: dict) -> dict:
    """What the specification makes of a span of Jaeger's; OpenTelemetry's spans come back as they were."""
    if not client.startswith("jaeger-client"):
        # These exporters write an event's name as a field `message`, which is no event name to Jaeger.
        events = [
            {"name": "", "time": event["time"], "attributes": {**event["attributes"], "message": event["name"]}}
            for event in span["events"]
        ]
        return {**span, "events": events}
    tags = dict(span["tags"])
    meant = {key: span[key] for key in ("trace", "span", "parent", "name", "start", "end")}
    meant["kind"] = tags.pop("span.kind", "")
    meant["status"] = "error" if tags.pop("error", False) else ""
    meant["attributes"] = tags
    meant["events"] = [
        {"name": fields.get("event", ""), "attributes": {key: value for key, value in fields.items() if key != "event"}}
        for fields in span["logs"]
    ]
    return meant


def _same(lab: Lab, sentence: str, through_otlp: list[dict], theirs: list[dict], common) -> None:
    """Whether both have the same spans, once each is brought to what both can say."""
    found = plain.span_difference([common(span) for span in through_otlp], [common(span) for span in theirs], set())
    lab.check(sentence, not found and bool(theirs), found or f"{len(theirs)} spans identical")


def _by_jaeger(span: dict) -> dict:
    """By the specification, "internal" has no tag in Jaeger's own protocol."""
    return {**span, "kind": "" if span["kind"] == "internal" else span["kind"]}


def _beside(span: dict) -> dict:
    """Jaeger leaves the scopes of its old clients among the attributes, and knows none in Thrift."""
    attributes = {key: value for key, value in span["attributes"].items() if key not in SCOPE_TAGS}
    return {**span, "scope": "", "attributes": attributes}
