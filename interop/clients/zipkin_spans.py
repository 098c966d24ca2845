"""Clients of Zipkin: `py-zipkin` and OpenTelemetry's exporters for Zipkin.

Sends each span twice, to the program under test and to a Jaeger, whose own
receiver for Zipkin then says what it makes of the same bytes; records the
spans as JSON. Runs in the environment of the old clients."""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings

PY_ZIPKIN = {
    "v1-thrift": ("V1_THRIFT", "/api/v1/spans", "application/x-thrift"),
    "v1-json": ("V1_JSON", "/api/v1/spans", "application/json"),
    "v2-json": ("V2_JSON", "/api/v2/spans", "application/json"),
    "v2-proto": ("V2_PROTO3", "/api/v2/spans", "application/x-protobuf"),
}
OPENTELEMETRY = {"otel-json", "otel-json-v1", "otel-proto"}
TAGS = {"text": "Grüße, 世界 \"quoted\"", "empty": "", "http.path": "/item/7"}


def with_py_zipkin(arguments) -> list[dict]:
    """`py-zipkin` in one of its four encodings."""
    import requests
    from py_zipkin import Encoding, Kind
    from py_zipkin.transport import BaseTransportHandler
    from py_zipkin.zipkin import zipkin_span

    encoding, path, media_type = PY_ZIPKIN[arguments.client]
    refused = []

    class Post(BaseTransportHandler):
        def get_max_payload_bytes(self):
            return None

        def send(self, payload):
            for port in (arguments.port, arguments.also):
                url = f"http://127.0.0.1:{port}{path}"
                answer = requests.post(url, data=payload, headers={"Content-Type": media_type}, timeout=10)
                # Jaeger's receiver has no booleans in JSON of version 1, so there it stands beside in vain.
                if answer.status_code != 202 and not (port == arguments.also and arguments.client == "v1-json"):
                    refused.append(f"{url}: {answer.status_code} {answer.text[:200]}")

    spans = []

    def keep(context, name, kind, began, tags=None, notes=()):
        attrs = context.zipkin_attrs
        spans.append(
            {
                "trace": attrs.trace_id.rjust(32, "0"),
                "span": attrs.span_id,
                "parent": attrs.parent_span_id or "",
                "name": name,
                "kind": kind,
                "between": [began, time.time_ns()],
                "tags": tags or {},
                "notes": list(notes),
            }
        )

    for _ in range(arguments.count):
        began = time.time_ns()
        root = zipkin_span(
            service_name="shop",
            span_name="root",
            transport_handler=Post(),
            sample_rate=100.0,
            encoding=getattr(Encoding, encoding),
            use_128bit_trace_id=True,
            kind=Kind.SERVER,
            host="127.0.0.1",
            port=8080,
        )
        with root:
            root.update_binary_annotations(TAGS)
            root.add_annotation("wire.flushed")
            for kind in ("CLIENT", "PRODUCER", "CONSUMER", "LOCAL"):
                inner_began = time.time_ns()
                with zipkin_span(service_name="shop", span_name=kind.lower(), kind=getattr(Kind, kind)) as inner:
                    inner.update_binary_annotations({"number": "7"})
                    if kind == "CLIENT":
                        inner.add_sa_binary_annotation(port=5432, service_name="postgres", host="127.0.0.2")
                keep(inner, kind.lower(), "" if kind == "LOCAL" else kind.lower(), inner_began, {"number": "7"})
        keep(root, "root", "server", began, TAGS, ["wire.flushed"])
    if refused:
        raise SystemExit("\n".join(refused[:5]))
    return spans


def with_opentelemetry(arguments) -> list[dict]:
    """OpenTelemetry's exporters: JSON of version 1 and 2, and protobuf."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.trace import SpanKind, Status, StatusCode

    kept = []

    class Keep(SpanProcessor):
        def on_end(self, span):
            kept.append(span)

    provider = TracerProvider(resource=Resource({"service.name": "shop", "shard": 7}))
    provider.add_span_processor(Keep())
    for port in (arguments.port, arguments.also):
        exporter = _exporter(arguments.client, port)
        provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=100_000, max_export_batch_size=200))
    tracer = provider.get_tracer("interop.zipkin", "1.2")
    attributes = {**TAGS, "int": 42, "double": 0.5, "bool": True}
    for _ in range(arguments.count):
        with tracer.start_as_current_span("root", kind=SpanKind.SERVER, attributes=attributes) as root:
            root.add_event("started", {"items": 3})
            for kind in SpanKind:
                with tracer.start_as_current_span(kind.name.lower(), kind=kind):
                    pass
            with tracer.start_as_current_span("failing") as failing:
                failing.set_status(Status(StatusCode.ERROR, "it broke"))
            with tracer.start_as_current_span("fine") as fine:
                fine.set_status(Status(StatusCode.OK))
    provider.shutdown()
    return [_of_opentelemetry(span) for span in kept]


def _exporter(client: str, port: int):
    if client == "otel-proto":
        from opentelemetry.exporter.zipkin.proto.http import ZipkinExporter

        return ZipkinExporter(endpoint=f"http://127.0.0.1:{port}/api/v2/spans")
    from opentelemetry.exporter.zipkin.json import Protocol, ZipkinExporter

    version = 1 if client == "otel-json-v1" else 2
    url = f"http://127.0.0.1:{port}/api/v{version}/spans"
    # Without a length its version 1 fails on every text.
    return ZipkinExporter(Protocol.V1 if version == 1 else Protocol.V2, url, max_tag_value_length=10_000)


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
        "attributes": dict(span.attributes),
        "events": [{"name": event.name, "time": event.timestamp, "attributes": dict(event.attributes)} for event in span.events],
    }


def main() -> int:
    """Sends everything once."""
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser()
    parser.add_argument("--client", choices=[*PY_ZIPKIN, *sorted(OPENTELEMETRY)], required=True)
    parser.add_argument("--port", type=int, required=True, help="the program under test")
    parser.add_argument("--also", type=int, required=True, help="a Jaeger")
    parser.add_argument("--record", required=True)
    parser.add_argument("--count", type=int, default=20)
    arguments = parser.parse_args()
    spans = with_opentelemetry(arguments) if arguments.client in OPENTELEMETRY else with_py_zipkin(arguments)
    with open(arguments.record, "w") as file:
        json.dump(spans, file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
