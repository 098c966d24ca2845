"""Runs one client of another maker through the program under test into two
Collectors, and compares every item."""

from __future__ import annotations

import dataclasses
import pathlib

from . import otlp
from .lab import Lab, Process
from .sinks import Sink, await_items, compare
from .subject import TELEMETRY, check_balance, check_counts, check_stop
from .tools import INTEROP

RECEIVERS = """
receivers:
  otlp:
    protocols:
      grpc: {{endpoint: "127.0.0.1:{grpc}"}}
      http: {{endpoint: "127.0.0.1:{http}"}}
"""

CONFIG = (
    RECEIVERS
    + """
exporters:
  otlp/new:
    endpoint: {grpc_sink}
    tls: {{insecure: true}}
    compression: {grpc_compression}
  otlphttp/legacy:
    endpoint: {http_sink}
    compression: {http_compression}
    encoding: {http_encoding}
service:
  pipelines:
    traces: {{receivers: [otlp], exporters: [otlp/new, otlphttp/legacy]}}
    metrics: {{receivers: [otlp], exporters: [otlp/new, otlphttp/legacy]}}
    logs: {{receivers: [otlp], exporters: [otlp/new, otlphttp/legacy]}}
"""
)

FRONT = (
    RECEIVERS
    + """
processors:
  batch: {{timeout: 100ms, send_batch_size: 700, send_batch_max_size: 900}}
exporters:
  {exporter}
service:
  telemetry: {{metrics: {{level: none}}}}
  pipelines:
    traces: {{receivers: [otlp], processors: [batch], exporters: [{name}]}}
    metrics: {{receivers: [otlp], processors: [batch], exporters: [{name}]}}
    logs: {{receivers: [otlp], processors: [batch], exporters: [{name}]}}
"""
)


@dataclasses.dataclass
class Way:
    """One way through: what the program under test speaks to its backends, and what stands in front of it."""

    grpc_compression: str = "gzip"
    http_compression: str = "gzip"
    http_encoding: str = "proto"
    # An exporter of the Collector in front; {grpc} and {http} are the subject's ports.
    front: str = ""


def python_client(lab: Lab, protocol: str, *more: str) -> list[object]:
    """The command of the Python client; GRPC, HTTP and RECORD are filled in later."""
    endpoint = "GRPC" if protocol == "grpc" else "HTTP"
    script = INTEROP / "clients" / "python_client.py"
    return [lab.tools.python, script, "--protocol", protocol, "--endpoint", endpoint, "--record", "RECORD", *more]


def js_client(lab: Lab, protocol: str, *more: str) -> list[object]:
    """The command of the JavaScript client, likewise."""
    endpoint = "http://GRPC" if protocol == "grpc" else "HTTP"
    script = lab.tools.js / "client.mjs"
    return [lab.tools.node, script, "--protocol", protocol, "--endpoint", endpoint, "--record", "RECORD", *more]


def through(lab: Lab, title: str, client: list[object], way: Way) -> None:
    """The client sends through a fresh program under test into two fresh backends."""
    slug = "-".join("".join(letter if letter.isalnum() else " " for letter in title).split())
    sinks = [Sink(lab, f"{slug}-sink-grpc", "grpc"), Sink(lab, f"{slug}-sink-http", "http")]
    grpc, http, telemetry = lab.port(), lab.port(), lab.port()
    config = CONFIG.format(
        grpc=grpc,
        http=http,
        grpc_sink=sinks[0].endpoint,
        http_sink=sinks[1].endpoint,
        grpc_compression=way.grpc_compression,
        http_compression=way.http_compression,
        http_encoding=way.http_encoding,
    )
    subject = lab.subject(config + TELEMETRY.format(port=telemetry), [grpc, http], name=f"{slug}-subject")
    front = _front(lab, slug, way, grpc, http) if way.front else None
    if front is not None:
        front_process, grpc, http = front
    expected = send(lab, title, client, grpc, http)
    await_items(sinks, expected)
    compare(lab, title, sinks, expected)
    counts = {signal: len(items) for signal, items in expected.items()}
    check_counts(lab, title, telemetry, "otlp", ["otlp/new", "otlphttp/legacy"], counts)
    check_balance(lab, title, telemetry)
    if front is not None:
        front_process.stop()
    check_stop(lab, title, subject)
    for sink in sinks:
        sink.process.stop()


def send(lab: Lab, title: str, client: list[object], grpc: int, http: int) -> dict[str, list[str]]:
    """Runs the client to its end and returns the items it recorded."""
    slug = "-".join("".join(letter if letter.isalnum() else " " for letter in title).split())
    process, record = start_client(lab, slug, client, grpc, http)
    lab.wait("the client ends", lambda: not process.running(), 90)
    code = process.popen.returncode
    lab.check(f"{title}: the client sent everything without an error", code == 0, "" if code == 0 else process.tail())
    return otlp.read_lines(record)


def start_client(lab: Lab, slug: str, client: list[object], grpc: int, http: int) -> tuple[Process, pathlib.Path]:
    """Starts the client against these ports."""
    record = lab.directory / f"{slug}-recorded.jsonl"
    wiring = {
        "GRPC": f"127.0.0.1:{grpc}",
        "http://GRPC": f"http://127.0.0.1:{grpc}",
        "HTTP": f"http://127.0.0.1:{http}",
        "RECORD": record,
    }
    command = [wiring.get(argument, argument) if isinstance(argument, str) else argument for argument in client]
    return lab.start(f"{slug}-client", command), record


def _front(lab: Lab, slug: str, way: Way, grpc: int, http: int) -> tuple[Process, int, int]:
    front_grpc, front_http = lab.port(), lab.port()
    exporter = way.front.format(grpc=grpc, http=http)
    config = FRONT.format(grpc=front_grpc, http=front_http, exporter=exporter, name=exporter.split(":")[0])
    process = lab.collector(config, [front_grpc, front_http], f"{slug}-front")
    return process, front_grpc, front_http
