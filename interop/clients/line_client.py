"""Clients of Graphite (`graphyte`) and InfluxDB (`influxdb`, `influxdb-client`), and the OpenTelemetry SDK with
counters for the way out to StatsD.

Records the samples, or what the counters add up to, as JSON."""

from __future__ import annotations

import argparse
import json
import math
import sys
import time

SAMPLES = 60


def with_graphyte(arguments) -> list[dict]:
    """Plain and tagged paths, one sample for each of the last seconds."""
    import graphyte

    # The sender's thread puts what came together into one write, as applications use it.
    sender = graphyte.Sender("127.0.0.1", port=arguments.port, prefix="shop", interval=0.2, log_sends=False)
    now, samples = int(time.time()) - SAMPLES, []
    for number in range(SAMPLES):
        moment = now + number
        for name, value, tags in (
            ("queue.depth", number, {}),
            ("queue.load", number / 8, {}),
            ("disk.used", 2**40 + number, {"host": "a", "volume": "/data"}),
            ("balance", -number - 0.5, {}),
        ):
            sender.send(name, value, moment, tags)
            samples.append({"name": f"shop.{name}", "value": value, "attributes": tags, "time": moment * 10**9})
    sender.stop()
    return samples


def with_influxdb(arguments) -> list[dict]:
    """Version 1: points with several fields, in seconds."""
    from influxdb import InfluxDBClient

    client = InfluxDBClient(host="127.0.0.1", port=arguments.port, database="shop")
    now, points, samples = int(time.time()) - SAMPLES, [], []
    for number in range(SAMPLES):
        tags = {"host": f"host {number % 2}, with=all", "zone": "eu"}
        fields = {"idle": number / 4, "busy": number}
        points.append({"measurement": "cpu.v1", "tags": tags, "time": now + number, "fields": fields})
        samples.extend(_samples("cpu.v1", fields, tags, (now + number) * 10**9))
    client.write_points(points, time_precision="s", batch_size=25)
    client.close()
    return samples


def with_influxdb_client(arguments) -> list[dict]:
    """Version 2: points in nanoseconds, compressed, in batches by a thread of the client."""
    from influxdb_client import InfluxDBClient, Point, WriteOptions, WritePrecision

    client = InfluxDBClient(url=f"http://127.0.0.1:{arguments.port}", token="a token", org="shop", enable_gzip=True)
    now, samples, failed = time.time_ns(), [], []
    options = WriteOptions(batch_size=50, flush_interval=200)
    with client.write_api(write_options=options, error_callback=lambda *error: failed.append(str(error))) as writer:
        for number in range(SAMPLES * 5):
            moment = now + number * 1001
            point = Point("cpu.v2").tag("host", f"Höst {number % 3}").field("idle", number / 4).field("busy", number)
            writer.write(bucket="shop", record=point.time(moment, WritePrecision.NS))
            samples.extend(_samples("cpu.v2", {"idle": number / 4, "busy": number}, {"host": f"Höst {number % 3}"}, moment))
    client.close()
    if failed:
        raise SystemExit(failed[0])
    return samples


def _samples(measurement: str, fields: dict, tags: dict, moment: int) -> list[dict]:
    # A field of a measurement is the metric `measurement_field`.
    return [
        {"name": f"{measurement}_{field}", "value": value, "attributes": tags, "time": moment}
        for field, value in fields.items()
    ]


def with_opentelemetry(arguments) -> dict:
    """Counters of the OpenTelemetry SDK, cumulative, over several collections."""
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import Resource

    exporter = OTLPMetricExporter(endpoint=f"127.0.0.1:{arguments.port}", insecure=True)
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=math.inf)
    provider = MeterProvider(resource=Resource({"service.name": "shop"}), metric_readers=[reader])
    meter = provider.get_meter("shop")
    orders, weight, depth = meter.create_counter("orders"), meter.create_counter("weight"), meter.create_gauge("depth")
    totals = {"orders": 0, "weight": 0.0}
    for one_round in range(4):
        for number in range(500):
            orders.add(1 + number % 3)
            weight.add(0.25)
            totals["orders"] += 1 + number % 3
            totals["weight"] += 0.25
        depth.set(-3 - one_round)
        provider.force_flush()
        time.sleep(0.3)
    provider.shutdown()
    return {"counters": totals, "gauges": {"depth": -6}}


CLIENTS = {
    "graphyte": with_graphyte,
    "influxdb": with_influxdb,
    "influxdb-client": with_influxdb_client,
    "opentelemetry": with_opentelemetry,
}


def main() -> int:
    """Sends everything once."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--client", choices=sorted(CLIENTS), required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--record", required=True)
    arguments = parser.parse_args()
    recorded = CLIENTS[arguments.client](arguments)
    with open(arguments.record, "w") as file:
        json.dump(recorded, file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
