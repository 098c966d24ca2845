"""One application that measures the old way and the new way at once: every increment goes to
StatsD (`statsd` or `datadog`) and to a counter of the OpenTelemetry SDK.

Records what it counted as JSON."""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import time

from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource


def main() -> int:
    """Counts for a few seconds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--client", choices=["statsd", "datadog"], required=True)
    parser.add_argument("--statsd", type=int, required=True)
    parser.add_argument("--otlp", type=int, required=True)
    parser.add_argument("--temporality", choices=["delta", "cumulative"], required=True)
    parser.add_argument("--prefix", required=True)
    parser.add_argument("--record", required=True)
    parser.add_argument("--rounds", type=int, default=4)
    arguments = parser.parse_args()
    preferred = AggregationTemporality.DELTA if arguments.temporality == "delta" else AggregationTemporality.CUMULATIVE
    exporter = OTLPMetricExporter(
        endpoint=f"127.0.0.1:{arguments.otlp}",
        insecure=True,
        preferred_temporality={Counter: preferred, Histogram: preferred},
    )
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=math.inf)
    provider = MeterProvider(resource=Resource({"service.name": "shop"}), metric_readers=[reader])
    meter = provider.get_meter("shop")
    prefix = arguments.prefix
    orders = meter.create_counter(f"{prefix}.otlp.orders")
    revenue = meter.create_counter(f"{prefix}.otlp.revenue", unit="EUR")
    latency = meter.create_histogram(f"{prefix}.otlp.latency", unit="ms")
    count, add, measure = _old_way(arguments)
    totals = {"orders": 0, "revenue": 0, "latency": 0}
    chance = random.Random(11)
    for _ in range(arguments.rounds):
        for number in range(800):
            route = chance.choice(["/", "/item", "/basket"])
            worth = chance.randrange(1, 500)
            orders.add(1, {"route": route})
            revenue.add(worth)
            latency.record(worth / 2, {"route": route})
            count(route)
            add(worth)
            measure(worth / 2)
            totals["orders"] += 1
            totals["revenue"] += worth
            totals["latency"] += 1
            if number % 10 == 0:
                time.sleep(0.002)
        provider.force_flush()
        time.sleep(0.6)
    provider.shutdown()
    with open(arguments.record, "w") as file:
        json.dump(totals, file)
    return 0


def _old_way(arguments):
    prefix = f"{arguments.prefix}.old"
    if arguments.client == "statsd":
        import statsd

        plain = statsd.StatsClient("127.0.0.1", arguments.statsd, prefix=prefix)
        return (
            lambda route: plain.incr("orders"),
            lambda worth: plain.incr("revenue", worth),
            lambda took: plain.timing("latency", took),
        )
    from datadog.dogstatsd.base import DogStatsd

    tagged = DogStatsd(
        host="127.0.0.1", port=arguments.statsd, namespace=prefix, disable_telemetry=True, disable_buffering=True
    )
    return (
        lambda route: tagged.increment("orders", tags=[f"route:{route}"]),
        lambda worth: tagged.increment("revenue", worth),
        lambda took: tagged.distribution("latency", took),
    )


if __name__ == "__main__":
    sys.exit(main())
