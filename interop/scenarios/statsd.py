"""StatsD's clients of three makers over every transport: not one increment is lost, added or counted twice.

Every client runs twice, into a receiver that emits deltas and into one that
emits cumulative sums; what a series adds up to at the Collector behind must
be, to the last unit, what the client recorded."""

from __future__ import annotations

import json
import subprocess
import time

from harness import plain
from harness.lab import Lab, Process
from harness.sinks import Sink
from harness.subject import TELEMETRY, check_balance, check_stop
from harness.tools import INTEROP

ABOUT = "PyPI's statsd, datadog and npm's hot-shots over UDP, TCP and Unix sockets: totals are exact, as deltas and cumulative"

RECEIVER = """
  statsd/{name}:
    endpoint: "{endpoint}"
    transport: {transport}
    dialect: {dialect}
    temporality: {temporality}
    aggregation_interval: 1s
    timer_histogram_mapping:
      - {{statsd_type: timing, observer_type: histogram}}
      - {{statsd_type: histogram, observer_type: histogram}}
      - {{statsd_type: distribution, observer_type: histogram}}
"""
CONFIG = """
receivers:
{receivers}
exporters:
  otlp/sink: {{endpoint: {sink}, tls: {{insecure: true}}}}
service:
  pipelines:
    metrics: {{receivers: [{names}], exporters: [otlp/sink]}}
    logs: {{receivers: [{names}], exporters: [otlp/sink]}}
"""

# What is run, the client's transport, the receiver's transport, the dialect and more arguments of the client.
CLIENTS = {
    "statsd-udp": ("statsd", "udp", "udp", "etsy", []),
    "statsd-tcp": ("statsd", "tcp", "tcp", "etsy", []),
    "statsd-unix": ("statsd", "unix", "unix", "etsy", []),
    "datadog-udp": ("datadog", "udp", "udp", "dogstatsd", []),
    "datadog-udp-packed": ("datadog", "udp", "udp", "dogstatsd", ["--buffered"]),
    "datadog-unixgram": ("datadog", "unixgram", "unixgram", "dogstatsd", ["--buffered"]),
    "hot-shots-udp": ("hot-shots", "udp", "udp", "auto", []),
    "hot-shots-tcp": ("hot-shots", "tcp", "tcp", "auto", []),
    "hot-shots-uds": ("hot-shots", "uds", "unixgram", "auto", []),
    "hot-shots-telegraf": ("hot-shots", "udp", "udp", "auto", ["--telegraf"]),
}
TEMPORALITIES = ("delta", "cumulative")
# All clients at once, so that the run is short; each has a receiver of its own.
FLUSH_SECONDS = 1.0


def run(lab: Lab) -> None:
    """All clients at the same time."""
    clients = {name: client for name, client in CLIENTS.items() if client[1] != "uds" or _has_unix_datagrams(lab)}
    sink = Sink(lab, "sink", "grpc")
    telemetry = lab.port()
    receivers, names, wiring, ports, datagrams = "", [], {}, [], []
    for client, (_, _, transport, dialect, _) in clients.items():
        for temporality in TEMPORALITIES:
            name = f"{client}-{temporality}"
            address = lab.directory / f"{name}.sock" if "unix" in transport else lab.port()
            (ports if transport == "tcp" else datagrams).append(address)
            endpoint = address if "unix" in transport else f"127.0.0.1:{address}"
            receivers += RECEIVER.format(
                name=name, endpoint=endpoint, transport=transport, dialect=dialect, temporality=temporality
            )
            names.append(f"statsd/{name}")
            wiring[client, temporality] = str(address)
    config = CONFIG.format(receivers=receivers, sink=sink.endpoint, names=", ".join(names))
    subject = lab.subject(config + TELEMETRY.format(port=telemetry), [*ports, telemetry], datagrams=datagrams)
    for temporality in TEMPORALITIES:
        started = {client: _start(lab, client, temporality, wiring[client, temporality]) for client in clients}
        for client, (process, _) in started.items():
            lab.wait(f"{client} ends", lambda one=process: not one.running(), 90)
        recorded = {client: _recorded(lab, client, temporality, *one) for client, one in started.items()}
        time.sleep(2 * FLUSH_SECONDS + 0.5)
        batches = list(plain.requests(sink.path))
        points, logs = plain.points(batches), plain.logs(batches)
        for client, meant in recorded.items():
            _judge(lab, f"{client} {temporality}", meant, points, logs, temporality)
    check_balance(lab, "all clients", telemetry)
    check_stop(lab, "all clients", subject)


def _has_unix_datagrams(lab: Lab) -> bool:
    """Node.js has them by a module that must be compiled."""
    done = subprocess.run([lab.tools.node, "-e", "require('unix-dgram')"], cwd=lab.tools.js, stderr=subprocess.DEVNULL)
    if done.returncode != 0:
        lab.note("hot-shots over Unix datagrams is left out: its module unix-dgram could not be compiled")
    return done.returncode == 0


def _start(lab: Lab, client: str, temporality: str, address: str) -> tuple[Process, object]:
    program, transport, _, _, more = CLIENTS[client]
    name = f"{client}-{temporality}"
    record = lab.directory / f"{name}.json"
    if program == "hot-shots":
        command = [lab.tools.node, lab.tools.js / "statsd.mjs"]
    else:
        command = [lab.tools.python, INTEROP / "clients" / "statsd_client.py", "--client", program]
    prefix = name.replace("-", "_")
    arguments = ["--transport", transport, "--address", address, "--prefix", prefix, "--record", record, *more]
    return lab.start(f"{name}-client", [*command, *arguments]), record


def _recorded(lab: Lab, client: str, temporality: str, process: Process, record) -> dict:
    code = process.popen.returncode
    lab.check(f"{client} {temporality}: the client sent everything without an error", code == 0, "" if code == 0 else process.tail())
    return json.loads(record.read_text()) if record.exists() else {}


def _judge(lab: Lab, title: str, meant: dict, all_points: list[dict], logs: list[dict], temporality: str) -> None:
    if not meant:
        return
    prefix = title.replace("-", "_").replace(" ", "_") + "."
    points = [p for p in all_points if p["name"].startswith(prefix) and p["name"] not in meant["checks"]]
    sums = [point for point in points if point["type"] == "sum"]
    found = plain.unequal(meant["counters"], plain.totals(sums))
    lab.check(f"{title}: the counters add up to what the client recorded", not found, found or f"{len(meant['counters'])} series")
    # What a client dates itself is a point at that time; since when it counted, it does not say.
    dated = f"{prefix}late"
    wrong = {p["name"] for p in sums if p["temporality"] != temporality or not (p["start"] or p["name"] == dated)}
    lab.check(f"{title}: every sum is {temporality} and has a start", not wrong and bool(sums), wrong or f"{len(sums)} points")
    timers = [point for point in points if point["type"] in ("histogram", "exponentialHistogram")]
    found = plain.unequal({name: one[0] for name, one in meant["timers"].items()}, plain.totals(timers, "count"))
    found = found or plain.unequal({name: one[1] for name, one in meant["timers"].items()}, plain.totals(timers, "sum"))
    lab.check(f"{title}: the timers count and add up the same", not found, found or f"{len(meant['timers'])} series")
    gauges = plain.last([point for point in points if point["type"] == "gauge"])
    found = plain.unequal(meant["gauges"] | meant["sets"], gauges)
    lab.check(f"{title}: the last gauges and the sets are the client's", not found, found or str(gauges))
    if meant["events"]:
        names = [*meant["events"], *meant["checks"]]
        found = [sum(name in record["attributes"].values() for record in logs) for name in names]
        lab.check(f"{title}: the event and the service check are a log record each", found == [1] * len(names), names)
        checks = {point["name"]: point["value"] for point in all_points if point["name"] in meant["checks"]}
        lab.check(f"{title}: the service check is a gauge as well", checks == meant["checks"], checks)
