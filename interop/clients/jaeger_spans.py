"""Clients of Jaeger: `jaeger-client` and OpenTelemetry's exporters for Jaeger.

Sends each span twice, to the program under test and to a Jaeger, so that
what Jaeger itself makes of the same bytes can be compared; records the spans
as JSON. Runs in the environment of the old clients."""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings

RESOURCE = {"service.name": "shop", "deployment.environment": "interop", "shard": 7}
TAGS = {
    "text": "Grüße, 世界, 🚀 \"quoted\"",
    "text.empty": "",
    "int": 42,
    "int.max": 2**63 - 1,
    "int.min": -(2**63),
    "double": 0.1,
    "bool.true": True,
    "bool.false": False,
}


def with_jaeger_client(arguments) -> list[dict]:
    """`jaeger-client`: compact thrift over UDP, with trace ids of 128 bits, or of 64 as it had them first."""
    import opentracing
    from jaeger_client import ConstSampler, Tracer
    from jaeger_client.local_agent_net import LocalAgentSender
    from jaeger_client.reporter import CompositeReporter, InMemoryReporter, Reporter

    kept = InMemoryReporter()
    senders = []
    for port in (arguments.port, arguments.also):
        channel = LocalAgentSender(host="127.0.0.1", sampling_port=5778, reporting_port=port)
        senders.append(Reporter(channel=channel, queue_capacity=100_000, batch_size=20, flush_interval=0.1))
    tracer = Tracer(
        service_name=RESOURCE["service.name"],
        reporter=CompositeReporter(kept, *senders),
        sampler=ConstSampler(True),
        tags={key: value for key, value in RESOURCE.items() if key != "service.name"},
        generate_128bit_trace_id=arguments.client == "jaeger-client",
    )
    with tracer.start_span("root", tags={"span.kind": "server", **{k: v for k, v in TAGS.items() if abs(_size(v)) < 2**62}}) as root:
        root.log_kv({"event": "started", "items": 3, "cold": True})
        root.log_kv({"message": "no event name"}, timestamp=time.time())
        for kind in ("client", "producer", "consumer"):
            with tracer.start_span(kind, child_of=root, tags={"span.kind": kind}):
                pass
        with tracer.start_span("failing", child_of=root) as failing:
            failing.set_tag("error", True)
        with tracer.start_span("after", references=[opentracing.follows_from(root.context)]):
            pass
        for number in range(arguments.count):
            with tracer.start_span("plain", child_of=root, tags={"number": number}):
                pass
            # A datagram that the kernel drops says nothing about a receiver, so the client takes its time.
            if number % 40 == 0:
                time.sleep(0.005)
    tracer.close()
    time.sleep(1)
    return [_of_jaeger_client(span) for span in kept.get_spans()]


def _size(value) -> int:
    # This client gives up on integers beyond 64 bits and warns of large ones; they are left to the other clients.
    return value if isinstance(value, int) else 0


def _of_jaeger_client(span) -> dict:
    tags = {tag.key: _tag_value(tag) for tag in span.tags}
    return {
        "trace": format(span.trace_id, "032x"),
        "span": format(span.span_id, "016x"),
        "parent": format(span.parent_id, "016x") if span.parent_id else "",
        "name": span.operation_name,
        "start": int(span.start_time * 1e6) * 1000,
        "end": int(span.end_time * 1e6) * 1000,
        "tags": tags,
        "logs": [{tag.key: _tag_value(tag) for tag in log.fields} for log in span.logs],
    }


def _tag_value(tag):
    for field in ("vStr", "vDouble", "vBool", "vLong"):
        value = getattr(tag, field)
        if value is not None:
            return value
    return None


def with_opentelemetry(arguments) -> list[dict]:
    """OpenTelemetry's exporters: thrift over UDP and HTTP, protobuf over gRPC."""
    from opentelemetry import trace
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

    kept = []

    class Keep(SpanProcessor):
        def on_end(self, span):
            kept.append(span)

    provider = TracerProvider(resource=Resource(RESOURCE))
    provider.add_span_processor(Keep())
    for port in (arguments.port, arguments.also):
        exporter = _exporter(arguments.client, port)
        provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=100_000, max_export_batch_size=200))
    tracer = provider.get_tracer("interop.jaeger", "1.2")
    linked = SpanContext(0x0AF7651916CD43DD8448EB211C80319C, 0x00F067AA0BA902B7, True, TraceFlags(TraceFlags.SAMPLED))
    with tracer.start_as_current_span("root", kind=SpanKind.SERVER, attributes=TAGS, links=[Link(linked)]) as root:
        root.add_event("started", {"items": 3, "cold": True})
        for kind in SpanKind:
            with tracer.start_as_current_span(kind.name, kind=kind):
                pass
        with tracer.start_as_current_span("failing") as failing:
            failing.set_status(Status(StatusCode.ERROR, "it broke: <&>"))
        with tracer.start_as_current_span("fine") as fine:
            fine.set_status(Status(StatusCode.OK))
        for number in range(arguments.count):
            with tracer.start_as_current_span("plain", attributes={"number": number}):
                pass
    provider.shutdown()
    return [_of_opentelemetry(span) for span in kept]


def _exporter(client: str, port: int):
    if client == "otel-grpc":
        from opentelemetry.exporter.jaeger.proto.grpc import JaegerExporter

        return JaegerExporter(collector_endpoint=f"127.0.0.1:{port}", insecure=True)
    from opentelemetry.exporter.jaeger.thrift import JaegerExporter

    if client == "otel-http":
        return JaegerExporter(collector_endpoint=f"http://127.0.0.1:{port}/api/traces?format=jaeger.thrift")
    return JaegerExporter(agent_host_name="127.0.0.1", agent_port=port, udp_split_oversized_batches=True)


def _of_opentelemetry(span) -> dict:
    return {
        "trace": format(span.context.trace_id, "032x"),
        "span": format(span.context.span_id, "016x"),
        "parent": format(span.parent.span_id, "016x") if span.parent else "",
        "name": span.name,
        "kind": span.kind.name.lower(),
        "start": span.start_time,
        "end": span.end_time,
        "status": {"UNSET": "", "OK": "ok", "ERROR": "error"}[span.status.status_code.name],
        "message": span.status.description or "",
        "scope": span.instrumentation_scope.name,
        "attributes": dict(span.attributes),
        "events": [{"name": event.name, "time": event.timestamp, "attributes": dict(event.attributes)} for event in span.events],
        "links": [
            {"trace": format(link.context.trace_id, "032x"), "span": format(link.context.span_id, "016x")}
            for link in span.links
        ],
    }


def main() -> int:
    """Sends everything once."""
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser()
    parser.add_argument("--client", choices=["jaeger-client", "jaeger-client-64", "otel-udp", "otel-http", "otel-grpc"], required=True)
    parser.add_argument("--port", type=int, required=True, help="the program under test")
    parser.add_argument("--also", type=int, required=True, help="a Jaeger")
    parser.add_argument("--record", required=True)
    parser.add_argument("--count", type=int, default=400)
    arguments = parser.parse_args()
    is_jaeger = arguments.client.startswith("jaeger-client")
    spans = with_jaeger_client(arguments) if is_jaeger else with_opentelemetry(arguments)
    with open(arguments.record, "w") as file:
        json.dump(spans, file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
