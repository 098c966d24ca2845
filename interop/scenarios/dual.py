"""An application in the middle of its migration counts everything twice, over StatsD and over OTLP.

Both ways go through one process to two backends. The ledger must say, while
it runs, that the two totals agree to the last unit, and both backends must
hold what the application counted. A planted difference must be named."""

from __future__ import annotations

import json
import subprocess
import time

from harness import plain
from harness.lab import Lab
from harness.sinks import Sink
from harness.subject import TELEMETRY, check_balance, check_stop
from harness.tools import INTEROP

ABOUT = "one application counts over StatsD and over OTLP; the ledger and two backends say that both ways agree"

CONFIG = """
receivers:
  statsd:
    endpoint: "127.0.0.1:{statsd}"
    aggregation_interval: 1s
    temporality: {temporality}
    timer_histogram_mapping:
      - {{statsd_type: timing, observer_type: histogram}}
      - {{statsd_type: distribution, observer_type: histogram}}
  otlp:
    protocols: {{grpc: {{endpoint: "127.0.0.1:{otlp}"}}}}
exporters:
  otlp/new: {{endpoint: {new}, tls: {{insecure: true}}}}
  otlphttp/legacy: {{endpoint: {legacy}}}
admin: {{endpoint: "127.0.0.1:{admin}"}}
ledger:
  totals:
    - metrics: [{prefix}.old.orders, {prefix}.otlp.orders]
    - metrics: [{prefix}.old.revenue, {prefix}.otlp.revenue]
    - metrics: [{prefix}.old.latency, {prefix}.otlp.latency]
service:
  pipelines:
    metrics: {{receivers: [statsd, otlp], exporters: [otlp/new, otlphttp/legacy]}}
"""


def run(lab: Lab) -> None:
    """Each client with each temporality."""
    for client in ("statsd", "datadog"):
        for temporality in ("cumulative", "delta"):
            _one(lab, client, temporality)


def _one(lab: Lab, client: str, temporality: str) -> None:
    title, prefix = f"{client} {temporality}", f"{client}_{temporality}"
    sinks = [Sink(lab, f"{prefix}-new", "grpc"), Sink(lab, f"{prefix}-legacy", "http")]
    ports = {name: lab.port() for name in ("statsd", "otlp", "admin")}
    telemetry = lab.port()
    config = CONFIG.format(**ports, new=sinks[0].endpoint, legacy=sinks[1].endpoint, prefix=prefix, temporality=temporality)
    subject = lab.subject(
        config + TELEMETRY.format(port=telemetry), [ports["otlp"], ports["admin"]], f"{prefix}-subject", datagrams=[ports["statsd"]]
    )
    record = lab.directory / f"{prefix}.json"
    script = INTEROP / "clients" / "dual_emission.py"
    wiring = ["--statsd", str(ports["statsd"]), "--otlp", str(ports["otlp"]), "--temporality", temporality]
    application = lab.start(
        f"{prefix}-application",
        [lab.tools.python, script, "--client", client, "--prefix", prefix, "--record", record, *wiring],
    )
    lab.wait("the application ends", lambda: not application.running(), 60)
    code = application.popen.returncode
    lab.check(f"{title}: the application ran to its end", code == 0, "" if code == 0 else application.tail())
    counted = json.loads(record.read_text())
    time.sleep(2.5)
    _ledger(lab, title, prefix, ports["admin"], counted)
    for sink in sinks:
        _backend(lab, title, prefix, sink, counted)
    check_balance(lab, title, telemetry)
    _planted(lab, title, prefix, ports)
    check_stop(lab, title, subject)
    for sink in sinks:
        sink.process.stop()


def _read_ledger(lab: Lab, admin: int) -> dict:
    done = subprocess.run(
        [lab.tools.crossfade, "ledger", "--endpoint", f"http://127.0.0.1:{admin}", "--format", "json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    if not done.stdout:
        raise RuntimeError(f"crossfade ledger ended with {done.returncode}: {done.stderr}")
    return json.loads(done.stdout)


def _ledger(lab: Lab, title: str, prefix: str, admin: int, counted: dict) -> None:
    report = _read_ledger(lab, admin)
    by_metric = {total["metric"]: total["total"] for group in report["totals"] for total in group["totals"]}
    agree = [group["agree"] for group in report["totals"]]
    lab.check(f"{title}: the ledger says that all three totals agree", agree == [True, True, True], by_metric)
    expected = {f"{prefix}.{way}.{name}": total for name, total in counted.items() for way in ("old", "otlp")}
    lab.check(f"{title}: its totals are what the application counted", by_metric == expected, plain.unequal(expected, by_metric) or "")
    lost = sum(sum(arrival["lost"].values()) for arrival in report["arrivals"])
    lab.check(f"{title}: no datagram was lost", lost == 0, report["arrivals"])


def _backend(lab: Lab, title: str, prefix: str, sink: Sink, counted: dict) -> None:
    points = plain.points(plain.requests(sink.path))
    have = {}
    for name in counted:
        for way in ("old", "otlp"):
            metric = f"{prefix}.{way}.{name}"
            mine = [point for point in points if point["name"] == metric]
            have[metric] = sum(plain.totals(mine, "value" if name != "latency" else "count").values())
    expected = {f"{prefix}.{way}.{name}": total for name, total in counted.items() for way in ("old", "otlp")}
    found = plain.unequal(expected, have)
    lab.check(f"{title}: the {sink.protocol} backend holds both ways' totals", not found, found or f"{len(points)} points")


def _planted(lab: Lab, title: str, prefix: str, ports: dict[str, int]) -> None:
    """One increment more on one side: what agrees must be able to differ."""
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(f"{prefix}.old.revenue:1|c".encode(), ("127.0.0.1", ports["statsd"]))
    time.sleep(1.7)
    agree = {group["metrics"][0]: group["agree"] for group in _read_ledger(lab, ports["admin"])["totals"]}
    expected = {f"{prefix}.old.orders": True, f"{prefix}.old.revenue": False, f"{prefix}.old.latency": True}
    lab.check(f"{title}: one increment on one side alone is noticed", agree == expected, agree)
