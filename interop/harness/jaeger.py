"""Jaeger v2 as a backend: takes OTLP, Jaeger's and Zipkin's protocols, and answers queries with OTLP JSON."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

from . import otlp, plain
from .lab import Lab, http_ok

CONFIG = """
service:
  extensions: [jaeger_storage, jaeger_query]
  telemetry: {{metrics: {{level: none}}}}
  pipelines:
    traces: {{receivers: [otlp, jaeger, zipkin], exporters: [jaeger_storage_exporter]}}
extensions:
  jaeger_storage:
    backends: {{spans: {{memory: {{max_traces: 100000}}}}}}
  jaeger_query:
    storage: {{traces: spans}}
    http: {{endpoint: "127.0.0.1:{query}"}}
    grpc: {{endpoint: "127.0.0.1:{query_grpc}"}}
receivers:
  otlp:
    protocols: {{grpc: {{endpoint: "127.0.0.1:{otlp}"}}}}
  jaeger:
    protocols:
      grpc: {{endpoint: "127.0.0.1:{grpc}"}}
      thrift_http: {{endpoint: "127.0.0.1:{thrift_http}"}}
      thrift_compact: {{endpoint: "127.0.0.1:{thrift_compact}"}}
  zipkin: {{endpoint: "127.0.0.1:{zipkin}"}}
exporters:
  jaeger_storage_exporter: {{trace_storage: spans}}
"""
PORTS = ("query", "query_grpc", "otlp", "grpc", "thrift_http", "thrift_compact", "zipkin")


class Jaeger:
    """One Jaeger with its storage in memory."""

    def __init__(self, lab: Lab, name: str) -> None:
        self.name = name
        self.ports = {port: lab.port() for port in PORTS}
        path = lab.file(f"{name}.yaml", CONFIG.format(**self.ports))
        url = f"http://127.0.0.1:{self.ports['query']}/api/services"
        self.process = lab.start(name, [lab.tools.jaeger, "--config", path], lambda: http_ok(url))

    def end(self) -> None:
        """Ends it at once: it keeps nothing, and takes nine seconds to stop by itself."""
        self.process.kill()

    def traces(self, ids: set[str]) -> list[dict]:
        """What its query API answers for these traces, as OTLP export requests."""
        return [answer for one in sorted(ids) if (answer := self._trace(one)) is not None]

    def items(self, ids: set[str]) -> list[str]:
        """The same as canonical spans."""
        return [item for answer in self.traces(ids) for item in otlp.flatten("traces", answer)]

    def spans(self, ids: set[str]) -> list[dict]:
        """The same as plain spans."""
        return plain.spans(self.traces(ids))

    def _trace(self, trace: str) -> dict | None:
        url = f"http://127.0.0.1:{self.ports['query']}/api/v3/traces/{trace}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)["result"]
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise
