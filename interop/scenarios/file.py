"""What the `file` exporter writes is OTLP JSON, whole, while a `debug` exporter stands beside it."""

from __future__ import annotations

import time

from harness import otlp
from harness.clients import RECEIVERS, js_client, python_client, send
from harness.lab import Lab
from harness.subject import TELEMETRY, check_balance, check_counts, check_stop

ABOUT = "the file exporter writes every field of every item as OTLP JSON, beside a debug exporter"

CONFIG = (
    RECEIVERS
    + """
exporters:
  file:
    path: {path}
    flush_interval: 100ms
  debug:
    verbosity: basic
service:
  pipelines:
    traces: {{receivers: [otlp], exporters: [file, debug]}}
    metrics: {{receivers: [otlp], exporters: [file, debug]}}
    logs: {{receivers: [otlp], exporters: [file, debug]}}
"""
)


def run(lab: Lab) -> None:
    """Two clients into one file."""
    grpc, http, telemetry = lab.port(), lab.port(), lab.port()
    path = lab.directory / "written.jsonl"
    config = CONFIG.format(grpc=grpc, http=http, path=path) + TELEMETRY.format(port=telemetry)
    subject = lab.subject(config, [grpc, http])
    everything: dict[str, list[str]] = {signal: [] for signal in otlp.SIGNALS}
    for title, client in (("python", python_client(lab, "grpc")), ("js", js_client(lab, "json"))):
        for signal, items in send(lab, title, client, grpc, http).items():
            everything[signal].extend(items)
    time.sleep(2)
    counts = {signal: len(items) for signal, items in everything.items()}
    check_counts(lab, "both clients", telemetry, "otlp", ["file", "debug"], counts)
    check_balance(lab, "both clients", telemetry)
    check_stop(lab, "both clients", subject)
    written = otlp.read_lines(path)
    for signal, items in everything.items():
        found = otlp.difference(items, written[signal])
        lab.check(f"{signal} in the file are what the clients recorded", not found and bool(items), found or f"{len(items)} items identical")
