"""Two Collectors as backends: one takes OTLP/gRPC, one takes OTLP/HTTP, and
each writes what it got as OTLP JSON lines."""

from __future__ import annotations

import pathlib
import time

from . import otlp
from .lab import Lab, Process

SETTLE_SECONDS = 1.0


class Sink:
    """One Collector that keeps what it receives in a file."""

    def __init__(self, lab: Lab, name: str, protocol: str) -> None:
        self.name = name
        self.port = lab.port()
        self.path: pathlib.Path = lab.directory / f"{name}.jsonl"
        self._lab = lab
        self.protocol = protocol
        self._lines = otlp.Lines(self.path)
        self.process: Process = self.start()

    @property
    def endpoint(self) -> str:
        """Where an exporter sends to."""
        scheme = "" if self.protocol == "grpc" else "http://"
        return f"{scheme}127.0.0.1:{self.port}"

    def start(self) -> Process:
        """Starts the Collector, again after a stop; what the file held stays."""
        self.process = self._lab.collector(
            f"""
receivers:
  otlp:
    protocols:
      {self.protocol}:
        endpoint: 127.0.0.1:{self.port}
exporters:
  file:
    path: {self.path}
    append: true
    flush_interval: 100ms
service:
  telemetry: {{metrics: {{level: none}}}}
  pipelines:
    traces: {{receivers: [otlp], exporters: [file]}}
    metrics: {{receivers: [otlp], exporters: [file]}}
    logs: {{receivers: [otlp], exporters: [file]}}
""",
            [self.port],
            self.name,
        )
        return self.process

    def items(self) -> dict[str, list[str]]:
        """What arrived so far."""
        return self._lines.read()


def await_items(sinks: list[Sink], expected: dict[str, list[str]], seconds: float = 20.0) -> None:
    """Waits until every sink holds as many items as expected, or until time is up;
    then a moment longer, so that a duplicate that follows is seen too."""
    wanted = {signal: len(items) for signal, items in expected.items()}
    deadline = time.monotonic() + seconds
    for sink in sinks:
        while time.monotonic() < deadline:
            have = sink.items()
            if all(len(have[signal]) >= count for signal, count in wanted.items()):
                break
            time.sleep(0.2)
    time.sleep(SETTLE_SECONDS)


def compare(lab: Lab, who: str, sinks: list[Sink], expected: dict[str, list[str]]) -> None:
    """One check for each sink and signal: the same items, each once."""
    for sink in sinks:
        have = sink.items()
        for signal, items in expected.items():
            found = otlp.difference(items, have[signal])
            lab.check(
                f"{who}: {signal} at {sink.protocol} backend are what the client recorded",
                not found and len(items) > 0,
                found or f"{len(items)} items identical",
            )
