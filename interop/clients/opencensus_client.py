"""OpenCensus' Python library with its agent exporter: traces and metrics.

Records the spans and the totals as JSON. Runs in the environment of the old
clients."""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings


def emit_traces(arguments) -> list[dict]:
    """Spans of both kinds with attributes, annotations, messages, links and a status."""
    from opencensus.ext.ocagent import trace_exporter
    from opencensus.trace import link, samplers, tracer as tracer_module
    from opencensus.trace.span import SpanKind
    from opencensus.trace.status import Status
    from opencensus.trace.time_event import MessageEvent, Type

    kept = []

    class Keep(trace_exporter.TraceExporter):
        def emit(self, span_datas):
            kept.extend(span_datas)
            super().emit(span_datas)

    exporter = Keep(service_name="shop", host_name="interop-host", endpoint=f"127.0.0.1:{arguments.port}")
    for number in range(arguments.count):
        tracer = tracer_module.Tracer(sampler=samplers.AlwaysOnSampler(), exporter=exporter)
        with tracer.span(name="root") as root:
            root.span_kind = SpanKind.SERVER
            for key, value in {"text": "Grüße, 世界", "int": 42, "double": 0.5, "bool": True, "number": number}.items():
                root.add_attribute(key, value)
            root.add_annotation("started", items=3)
            root.add_message_event(MessageEvent(_now(), 7, Type.SENT, 100, 60))
            with root.span(name="client") as client:
                client.span_kind = SpanKind.CLIENT
                client.add_link(link.Link("0af7651916cd43dd8448eb211c80319c", "00f067aa0ba902b7", type=link.Type.PARENT_LINKED_SPAN))
            with root.span(name="failing") as failing:
                failing.set_status(Status(5, "nothing there"))
    return [_span(data) for data in kept]


def _now():
    import datetime

    return datetime.datetime.utcnow()


def _span(data) -> dict:
    return {
        "trace": data.context.trace_id,
        "span": data.span_id,
        "parent": data.parent_span_id or "",
        "name": data.name,
        "kind": {0: "", 1: "server", 2: "client"}[data.span_kind],
        "start": data.start_time,
        "end": data.end_time,
        "code": data.status.canonical_code if data.status else 0,
        "message": (data.status.description or "") if data.status else "",
        "attributes": dict(data.attributes),
        "annotations": [
            {"description": note.description, "attributes": dict(note.attributes.attributes if note.attributes else {})}
            for note in data.annotations
        ],
        "messages": len(data.message_events),
        "links": [{"trace": one.trace_id, "span": one.span_id} for one in data.links],
    }


def emit_metrics(arguments) -> dict:
    """A count, a sum, a last value and a distribution, exported twice."""
    from opencensus.ext.ocagent import stats_exporter
    from opencensus.stats import aggregation, measure, stats, view
    from opencensus.tags import tag_key, tag_map, tag_value

    orders = measure.MeasureInt("orders", "orders taken", "1")
    weight = measure.MeasureFloat("weight", "weight sent", "kg")
    depth = measure.MeasureInt("depth", "queue depth", "1")
    latency = measure.MeasureFloat("latency", "time taken", "ms")
    route = tag_key.TagKey("route")
    views = [
        view.View("orders_total", "orders", [route], orders, aggregation.SumAggregation()),
        view.View("orders_count", "order events", [], orders, aggregation.CountAggregation()),
        view.View("weight_total", "weight", [], weight, aggregation.SumAggregation()),
        view.View("depth_now", "depth", [], depth, aggregation.LastValueAggregation()),
        view.View("latency_spread", "latency", [route], latency, aggregation.DistributionAggregation([1.0, 10.0, 100.0])),
    ]
    manager, recorder = stats.stats.view_manager, stats.stats.stats_recorder
    for one in views:
        manager.register_view(one)
    exporter = stats_exporter.new_stats_exporter("shop", "interop-host", f"127.0.0.1:{arguments.port}", interval=3600)
    totals = {"orders_total": {"/a": 0, "/b": 0}, "latency": {"/a": [0, 0.0], "/b": [0, 0.0]}, "weight": 0.0, "events": 0}
    for _ in range(2):
        for number in range(300):
            where = "/a" if number % 3 else "/b"
            tags = tag_map.TagMap()
            tags.insert(route, tag_value.TagValue(where))
            measured = recorder.new_measurement_map()
            measured.measure_int_put(orders, number % 4)
            measured.measure_float_put(weight, 0.25)
            measured.measure_int_put(depth, number)
            measured.measure_float_put(latency, number / 2)
            measured.record(tags)
            totals["orders_total"][where] += number % 4
            totals["latency"][where][0] += 1
            totals["latency"][where][1] += number / 2
            totals["weight"] += 0.25
            totals["events"] += 1
        exporter.export_metrics(stats.stats.get_metrics())
        time.sleep(0.5)
    time.sleep(1)
    return totals


def main() -> int:
    """Sends everything once."""
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--record", required=True)
    parser.add_argument("--count", type=int, default=30)
    arguments = parser.parse_args()
    spans = emit_traces(arguments)
    totals = emit_metrics(arguments)
    with open(arguments.record, "w") as file:
        json.dump({"spans": spans, "totals": totals}, file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
