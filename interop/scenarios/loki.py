"""A client of Loki in; VictoriaLogs as a backend of three exporters.

`python-logging-loki` pushes in both of its forms. What it sent goes on to
three VictoriaLogs: as its own JSON lines, as OTLP, and as pushes of Loki."""

from __future__ import annotations

import collections
import json
import time
import urllib.parse
import urllib.request

from harness import plain
from harness.lab import Lab, http_ok
from harness.sinks import Sink
from harness.subject import TELEMETRY, check_balance, check_counts, check_stop
from harness.tools import INTEROP

ABOUT = "python-logging-loki in; VictoriaLogs by three exporters and a Collector hold the same lines"
NEEDS = ("victorialogs",)

CONFIG = """
receivers:
  loki:
    protocols: {{http: {{endpoint: "127.0.0.1:{port}"}}}}
    use_incoming_timestamp: true
exporters:
  otlp/sink: {{endpoint: {sink}, tls: {{insecure: true}}}}
  victorialogs: {{endpoint: "http://127.0.0.1:{native}"}}
  otlphttp/victorialogs: {{logs_endpoint: "http://127.0.0.1:{otlp}/insert/opentelemetry/v1/logs"}}
  loki:
    endpoint: http://127.0.0.1:{push}/insert/loki/api/v1/push
    format: raw
    labels: {{attributes: [application, route]}}
    structured_metadata: attributes
service:
  pipelines:
    logs: {{receivers: [loki], exporters: [otlp/sink, victorialogs, otlphttp/victorialogs, loki]}}
"""
BACKENDS = {"native": "victorialogs", "otlp": "otlphttp/victorialogs", "push": "loki"}


def run(lab: Lab) -> None:
    """Both forms, then every backend."""
    sink = Sink(lab, "sink", "grpc")
    backends = {name: _victorialogs(lab, name) for name in BACKENDS}
    port, telemetry = lab.port(), lab.port()
    subject = lab.subject(
        CONFIG.format(port=port, sink=sink.endpoint, **backends) + TELEMETRY.format(port=telemetry), [port]
    )
    recorded = [line for version in ("1", "0") for line in _send(lab, version, port)]
    deadline = time.monotonic() + 15
    while len(sink.items()["logs"]) < len(recorded) and time.monotonic() < deadline:
        time.sleep(0.1)
    # VictoriaLogs shows what it took about a second later.
    time.sleep(2.5)
    records = plain.logs(plain.requests(sink.path))
    wanted = collections.Counter(_key(line["body"], line["labels"]) for line in recorded)
    have = collections.Counter(_key(record["body"], record["attributes"]) for record in records)
    _compare(lab, "the Collector behind has every line with its labels, once", wanted, have)
    lab.check("and its time", all(abs(record["time"] / 1e9 - time.time()) < 120 for record in records), "")
    bodies = collections.Counter(line["body"] for line in recorded)
    for name, exporter in BACKENDS.items():
        answers = _query(backends[name])
        _compare(lab, f"VictoriaLogs by `{exporter}` has every line, once", bodies, collections.Counter(a["_msg"] for a in answers))
        routes = {answer.get("route") for answer in answers}
        lab.check(f"VictoriaLogs by `{exporter}` has the labels as fields", routes == {"/0", "/1", "/2"}, answers[:1])
    exporters = ["otlp/sink", *BACKENDS.values()]
    check_counts(lab, "both forms", telemetry, "loki", exporters, {"logs": len(recorded)})
    check_balance(lab, "both forms", telemetry)
    check_stop(lab, "both forms", subject)


def _victorialogs(lab: Lab, name: str) -> int:
    port = lab.port()
    arguments = [f"-storageDataPath={lab.directory / name}", f"-httpListenAddr=127.0.0.1:{port}"]
    lab.start(f"victorialogs-{name}", [lab.tools.victorialogs, *arguments], lambda: http_ok(f"http://127.0.0.1:{port}/health"))
    return port


def _send(lab: Lab, version: str, port: int) -> list[dict]:
    record = lab.directory / f"loki-{version}.json"
    script = INTEROP / "clients" / "loki_client.py"
    arguments = ["--port", str(port), "--version", version, "--record", record]
    process = lab.start(f"client-{version}", [lab.tools.python, script, *arguments])
    lab.wait("the client ends", lambda: not process.running(), 60)
    code = process.popen.returncode
    lab.check(f"form {version}: every push was taken", code == 0, "" if code == 0 else process.tail())
    return json.loads(record.read_text())


def _key(body: object, labels: dict) -> str:
    return json.dumps([body, labels], sort_keys=True, ensure_ascii=False)


def _compare(lab: Lab, sentence: str, wanted: collections.Counter, have: collections.Counter) -> None:
    missing, extra = list((wanted - have).elements()), list((have - wanted).elements())
    found = f"{len(missing)} missing, e.g. {missing[:1]}; {len(extra)} not expected, e.g. {extra[:1]}" if missing or extra else ""
    lab.check(sentence, not found and bool(wanted), found or f"{sum(wanted.values())} lines")


def _query(port: int) -> list[dict]:
    data = urllib.parse.urlencode({"query": "*", "limit": 100_000}).encode()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/select/logsql/query", data, timeout=20) as answer:
        return [json.loads(line) for line in answer if line.strip()]
