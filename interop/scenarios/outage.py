"""One of two backends hangs, dies and comes back; the other must not notice."""

from __future__ import annotations

import signal
import time

from harness import otlp
from harness.clients import RECEIVERS, python_client, send, start_client
from harness.lab import Lab
from harness.sinks import Sink, await_items, compare
from harness.subject import TELEMETRY, check_balance, check_stop, pending_items

ABOUT = "one backend hangs, is killed and returns: the other gets everything at once, it gets everything in the end"

HEALTHY_SECONDS_MAX = 5.0
PHASE_SECONDS = 8.0

CONFIG = (
    RECEIVERS
    + """
exporters:
  otlp/failing:
    endpoint: {failing}
    tls: {{insecure: true}}
    timeout: 2s
    retry_on_failure: {{initial_interval: 200ms, max_interval: 1s, max_elapsed_time: 0s}}
  otlphttp/healthy:
    endpoint: {healthy}
service:
  pipelines:
    traces: {{receivers: [otlp], exporters: [otlp/failing, otlphttp/healthy]}}
    metrics: {{receivers: [otlp], exporters: [otlp/failing, otlphttp/healthy]}}
    logs: {{receivers: [otlp], exporters: [otlp/failing, otlphttp/healthy]}}
"""
)


def run(lab: Lab) -> None:
    """Traffic before, during both kinds of outage, and after."""
    failing, healthy = Sink(lab, "failing", "grpc"), Sink(lab, "healthy", "http")
    grpc, http, telemetry = lab.port(), lab.port(), lab.port()
    config = CONFIG.format(grpc=grpc, http=http, failing=failing.endpoint, healthy=healthy.endpoint)
    subject = lab.subject(config + TELEMETRY.format(port=telemetry), [grpc, http])
    everything: dict[str, list[str]] = {name: [] for name in otlp.SIGNALS}

    _traffic(lab, "both up", grpc, http, everything)
    await_items([failing, healthy], everything)
    compare(lab, "both up", [failing, healthy], everything)

    # What a stopped process already confirmed is in its file: the pause above saw to that. What it
    # did not confirm dies unread in the kernel when it is killed, so nothing arrives twice.
    failing.process.signal(signal.SIGSTOP)
    _traffic_while_down(lab, "one hangs", grpc, http, everything, healthy)
    failing.process.kill()
    _traffic_while_down(lab, "one refuses", grpc, http, everything, healthy)
    if lab.tools.is_crossfade:
        waiting = pending_items(telemetry, "otlp/failing")
        missing = sum(map(len, everything.values())) - sum(map(len, failing.items().values()))
        lab.check("the ledger says how much waits for the dead one", waiting == missing, f"{waiting} pending, {missing} missing")
    check_balance(lab, "during the outage", telemetry)

    failing.start()
    _traffic(lab, "both up again", grpc, http, everything)
    await_items([failing, healthy], everything, seconds=40)
    compare(lab, "in the end", [failing, healthy], everything)
    check_balance(lab, "in the end", telemetry)
    check_stop(lab, "in the end", subject)


def _traffic(lab: Lab, title: str, grpc: int, http: int, everything: dict[str, list[str]]) -> None:
    client = python_client(lab, "grpc", "--compression", "gzip", "--count", "3000")
    for name, items in send(lab, title, client, grpc, http).items():
        everything[name].extend(items)


def _traffic_while_down(
    lab: Lab, title: str, grpc: int, http: int, everything: dict[str, list[str]], healthy: Sink
) -> None:
    phase_ends = time.monotonic() + PHASE_SECONDS
    slowest, rounds = 0.0, 0
    while time.monotonic() < phase_ends:
        client = python_client(lab, "grpc", "--count", "3000")
        process, record = start_client(lab, f"{title.replace(' ', '-')}-{rounds}", client, grpc, http)
        lab.wait("the client ends", lambda: not process.running(), 60)
        sent_at = time.monotonic()
        if process.popen.returncode != 0:
            lab.check(f"{title}: the client sent everything without an error", False, process.tail())
            return
        for name, items in otlp.read_lines(record).items():
            everything[name].extend(items)
        wanted = {name: len(items) for name, items in everything.items()}
        lab.wait(
            "the healthy backend has everything",
            lambda: all(len(healthy.items()[name]) >= count for name, count in wanted.items()),
            HEALTHY_SECONDS_MAX + 5,
        )
        slowest, rounds = max(slowest, time.monotonic() - sent_at), rounds + 1
    lab.check(f"{title}: the clients sent everything without an error", True, f"{rounds} clients")
    lab.check(
        f"{title}: the healthy backend had everything within {HEALTHY_SECONDS_MAX:.0f} s of each client's last ack",
        slowest < HEALTHY_SECONDS_MAX,
        f"at most {slowest:.1f} s over {rounds} clients",
    )
