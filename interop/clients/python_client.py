"""The Python OpenTelemetry SDK as a client.

Emits traces, metrics and logs of every kind through one OTLP exporter and
records, as OTLP JSON lines, exactly what that exporter was given and said it
delivered. Runs in the run's virtual environment, not in the interpreter of
run.py.
"""

from __future__ import annotations

import argparse
import base64
import json
import math
import sys
import time

from google.protobuf.json_format import MessageToDict
from grpc import Compression as GrpcCompression
from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.http import Compression as HttpCompression
from opentelemetry.metrics import Observation
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExportResult
from opentelemetry.sdk.metrics import (
    Counter,
    Histogram,
    MeterProvider,
    ObservableCounter,
)
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    MetricExportResult,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.metrics.view import (
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
    View,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

ID_FIELDS = {"traceId", "spanId", "parentSpanId"}


class Record:
    """Writes what an exporter was given, once the exporter said it went through."""

    def __init__(self, path: str) -> None:
        self.file = open(path, "w")
        self.refused = 0

    def write(self, request, delivered: bool) -> None:
        """Adds one export request."""
        if not delivered:
            self.refused += 1
            return
        self.file.write(json.dumps(_hex_ids(MessageToDict(request, use_integers_for_enums=True))) + "\n")
        self.file.flush()


def _hex_ids(value, field=""):
    # protobuf's JSON writes bytes as base64; OTLP JSON writes ids as hex.
    if isinstance(value, dict):
        return {name: _hex_ids(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [_hex_ids(inner, field) for inner in value]
    if field in ID_FIELDS:
        return base64.b64decode(value).hex()
    return value


def recording(exporter_class, encode, success):
    """An exporter class that also records what it exported."""

    class Recording(exporter_class):
        def __init__(self, record, **arguments):
            super().__init__(**arguments)
            self._record = record

        def export(self, batch, *rest, **more):
            encoded = encode(batch)
            result = super().export(batch, *rest, **more)
            self._record.write(encoded, result == success)
            return result

    return Recording


def exporters(arguments, record):
    """The three exporters of the chosen protocol."""
    temporality = {}
    if arguments.temporality == "delta":
        temporality = {
            Counter: AggregationTemporality.DELTA,
            Histogram: AggregationTemporality.DELTA,
            ObservableCounter: AggregationTemporality.DELTA,
        }
    if arguments.protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        compression = GrpcCompression.Gzip if arguments.compression == "gzip" else GrpcCompression.NoCompression
        common = {"insecure": True, "compression": compression, "timeout": 20}
        endpoints = [arguments.endpoint] * 3
    else:
        from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        names = {"gzip": HttpCompression.Gzip, "deflate": HttpCompression.Deflate, "none": HttpCompression.NoCompression}
        common = {"compression": names[arguments.compression], "timeout": 20}
        endpoints = [f"{arguments.endpoint}/v1/{signal}" for signal in ("traces", "metrics", "logs")]
    spans = recording(OTLPSpanExporter, encode_spans, SpanExportResult.SUCCESS)
    metrics = recording(OTLPMetricExporter, encode_metrics, MetricExportResult.SUCCESS)
    logs = recording(OTLPLogExporter, encode_logs, LogRecordExportResult.SUCCESS)
    return (
        spans(record, endpoint=endpoints[0], **common),
        metrics(record, endpoint=endpoints[1], preferred_temporality=temporality, **common),
        logs(record, endpoint=endpoints[2], **common),
    )


EVERY_TYPE = {
    "text": "plain",
    "text.empty": "",
    "text.unicode": "Grüße, 世界, 🚀, \u0001 and \"quotes\" \\ \n done",
    "text.long": "x" * 10_000,
    "int": 42,
    "int.negative": -1,
    "int.max": 2**63 - 1,
    "int.min": -(2**63),
    "int.above_double": 2**53 + 1,
    "double": 0.1,
    "double.whole": 3.0,
    "double.tiny": 5e-324,
    "bool.true": True,
    "bool.false": False,
    "array.text": ["a", "", "c"],
    "array.int": [1, -2, 3],
    "array.double": [0.5, 1.0],
    "array.bool": [True, False],
}


def emit_traces(exporter, resource, count):
    """Spans of every kind and shape, and `count` plain ones."""
    provider = TracerProvider(resource=resource, span_limits=SpanLimits(max_attributes=40, max_events=20, max_links=4))
    provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=100_000, max_export_batch_size=500))
    tracer = provider.get_tracer(
        "interop.python", "1.2.3", schema_url="https://opentelemetry.io/schemas/1.30.0", attributes={"scope.attribute": "yes"}
    )
    other = provider.get_tracer("interop.python.other")
    remote = SpanContext(
        trace_id=0x0AF7651916CD43DD8448EB211C80319C,
        span_id=0x00F067AA0BA902B7,
        is_remote=True,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
        trace_state=TraceState([("vendor", "t61rcWkgMzE"), ("other", "00f067aa")]),
    )
    parent = trace.set_span_in_context(trace.NonRecordingSpan(remote))
    with tracer.start_as_current_span("from afar", context=parent, kind=SpanKind.SERVER, attributes=EVERY_TYPE) as span:
        span.add_event("with attributes", {"n": 1, "list": ["a", "b"]})
        span.add_event("at a given time", timestamp=1_700_000_000_123_456_789)
        for kind in SpanKind:
            with other.start_as_current_span(f"kind {kind.name}", kind=kind) as child:
                child.set_status(Status(StatusCode.OK))
        with tracer.start_as_current_span("failing", links=[Link(remote, {"why": "because"}) for _ in range(6)]) as child:
            child.set_status(Status(StatusCode.ERROR, "it broke: <&>"))
            child.record_exception(ValueError("broken"), timestamp=time.time_ns())
        with tracer.start_as_current_span("too much") as child:
            for number in range(50):
                child.set_attribute(f"attribute.{number}", number)
                child.add_event(f"event {number}")
    for number in range(count):
        with other.start_as_current_span("plain", attributes={"number": number, "route": f"/item/{number % 10}"}):
            pass
    provider.shutdown()


def emit_metrics(exporter, resource):
    """Every instrument, some without a point, and two collections of each."""
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=math.inf)
    provider = MeterProvider(
        resource=resource,
        metric_readers=[reader],
        views=[
            View(instrument_name="exponential", aggregation=ExponentialBucketHistogramAggregation(max_size=40)),
            View(instrument_name="no_bounds", aggregation=ExplicitBucketHistogramAggregation(boundaries=[])),
        ],
    )
    meter = provider.get_meter("interop.python.meter", "0.1", schema_url="https://opentelemetry.io/schemas/1.30.0")
    counter = meter.create_counter("requests", unit="1", description="Requests, with “quotes” in the description")
    seconds = meter.create_counter("busy", unit="s")
    depth = meter.create_up_down_counter("queue.depth", unit="{item}")
    latency = meter.create_histogram("latency", unit="ms", explicit_bucket_boundaries_advisory=[0.5, 1.0, 10.0, 100.0])
    exponential = meter.create_histogram("exponential", unit="By")
    no_bounds = meter.create_histogram("no_bounds")
    gauge = meter.create_gauge("temperature", unit="Cel")
    meter.create_observable_gauge("observed", [lambda _: [Observation(1.5, {"at": "a"}), Observation(-3, {"at": "b"})]])
    meter.create_observable_counter("observed.counter", [lambda _: [Observation(2**53 + 1)]])
    meter.create_counter("never.touched")
    tracer = TracerProvider(resource=resource).get_tracer("exemplars")
    for collection in range(2):
        # Inside a sampled span, so that points carry exemplars.
        with tracer.start_as_current_span("measured"):
            for number in range(20):
                counter.add(1, {"method": "GET" if number % 2 else "POST", "big": 2**60})
                latency.record(0.3 * number**2, {"route": "/"})
                exponential.record(number * 1.7)
            seconds.add(0.125)
            depth.add(-7, {"queue": "a"})
            no_bounds.record(3.25)
            exponential.record(0.0)
        gauge.set(-0.0, {"room": "zero"})
        gauge.set(21.5, {"room": "kitchen"})
        provider.force_flush()
    provider.shutdown()


def emit_logs(exporter, resource, count):
    """Records with bodies of every type, with and without a trace, and `count` plain ones."""
    provider = LoggerProvider(resource=resource)
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter, max_queue_size=100_000, max_export_batch_size=500))
    logger = provider.get_logger("interop.python.logger", "9", schema_url="https://opentelemetry.io/schemas/1.30.0")
    bodies = [
        "text",
        "",
        None,
        7,
        -7.25,
        True,
        b"\x00\xff raw",
        ["a", 1, 2.5, None, ["nested"]],
        {"a": 1, "b": {"c": ["d", {"e": b"\x01"}]}, "empty": {}},
    ]
    tracer = TracerProvider(resource=resource).get_tracer("logs")
    for number, body in enumerate(bodies):
        with tracer.start_as_current_span("around"):
            logger.emit(
                LogRecord(
                    timestamp=1_700_000_000_000_000_000 + number,
                    observed_timestamp=time.time_ns(),
                    severity_number=list(SeverityNumber)[number * 2],
                    severity_text=f"level {number}",
                    body=body,
                    attributes={"number": number, "nested": {"deep": [1, {"er": True}]}, "raw": b"\xfe"},
                    event_name="interop.event" if number % 2 else None,
                )
            )
    for number in range(count):
        logger.emit(LogRecord(timestamp=time.time_ns(), body=f"plain line {number}", severity_number=SeverityNumber.INFO))
    provider.shutdown()


def main() -> int:
    """Emits everything once and says how much was refused."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--protocol", choices=["grpc", "http"], required=True)
    parser.add_argument("--compression", choices=["none", "gzip", "deflate"], default="none")
    parser.add_argument("--temporality", choices=["cumulative", "delta"], default="cumulative")
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--record", required=True)
    parser.add_argument("--count", type=int, default=2000)
    arguments = parser.parse_args()
    record = Record(arguments.record)
    resource = Resource(
        {**EVERY_TYPE, "service.name": "interop-python", "service.instance.id": "one"},
        schema_url="https://opentelemetry.io/schemas/1.30.0",
    )
    spans, metrics, logs = exporters(arguments, record)
    emit_traces(spans, resource, arguments.count)
    emit_metrics(metrics, resource)
    emit_logs(logs, resource, arguments.count)
    print(json.dumps({"refused": record.refused}))
    return 1 if record.refused else 0


if __name__ == "__main__":
    sys.exit(main())
