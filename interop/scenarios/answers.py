"""What real backends answer, compared by `crossfade parity`.

Jaeger's client and OpenTelemetry's exporter for Jaeger send their spans to the
program under test, which sends them on to one Jaeger over Jaeger's protocol,
to a second one over OTLP, and to a third one with an attribute renamed. Log
records go to two VictoriaLogs. `crossfade parity` must find the first two of
each equal, and name what is provoked: a renamed attribute, spans and lines
that only one side got, other texts. What a Prometheus writes, captured as it was
sent, must be what it answers. And two more get the same histograms in other
forms over OTLP: exponential ones of two scales, explicit ones that one keeps
as classic and the other as native ones, explicit ones and exponential ones."""

from __future__ import annotations

import bisect
import json
import math
import random
import subprocess
import threading
import time
import urllib.request

from harness.capture import Capture
from harness.jaeger import Jaeger
from harness.lab import Lab, http_ok
from harness.subject import TELEMETRY, check_balance, check_stop, pending_items
from harness.tools import INTEROP

ABOUT = "two Jaegers, two VictoriaLogs, a Prometheus and what it wrote, histograms in two forms: `crossfade parity` finds them equal, and names what is provoked"
NEEDS = ("old_python", "jaeger", "victorialogs", "prometheus3")

CONFIG = """
receivers:
  otlp:
    protocols: {{http: {{endpoint: "127.0.0.1:{otlp}"}}}}
  jaeger:
    protocols:
      grpc: {{endpoint: "127.0.0.1:{grpc}"}}
      thrift_compact: {{endpoint: "127.0.0.1:{thrift_compact}"}}
processors:
  attributes/renamed:
    actions:
      - {{key: order.number, from_attribute: number, action: insert}}
      - {{key: number, action: delete}}
exporters:
  jaeger:
    endpoint: 127.0.0.1:{by_jaeger}
    tls: {{insecure: true}}
  otlp:
    endpoint: 127.0.0.1:{by_otlp}
    tls: {{insecure: true}}
  otlp/renamed:
    endpoint: 127.0.0.1:{renamed}
    tls: {{insecure: true}}
  victorialogs: {{endpoint: "http://127.0.0.1:{native}", stream_fields: [service.name]}}
  otlphttp:
    logs_endpoint: http://127.0.0.1:{logs_otlp}/insert/opentelemetry/v1/logs
    headers: {{VL-Stream-Fields: service.name}}
service:
  pipelines:
    traces: {{receivers: [jaeger], exporters: [jaeger, otlp]}}
    traces/renamed: {{receivers: [jaeger], processors: [attributes/renamed], exporters: [otlp/renamed]}}
    logs: {{receivers: [otlp], exporters: [victorialogs, otlphttp]}}
"""
CLIENTS = {"jaeger-client": "thrift_compact", "otel-grpc": "grpc"}
SPANS = 900
LINES = 1200
EQUAL, DIFFERENT, OPEN = 0, 1, 2

BOUNDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
# Each metric with its form on the legacy side and on the new one: the scale, or none for an explicit histogram; and what the
# values of the new side are multiplied by.
HISTOGRAMS = {"scales": (3, 5, 1), "bounds": (None, None, 1), "forms": (None, 3, 1), "moved": (3, 3, 2)}
HISTOGRAMS_S = 540


def run(lab: Lab) -> None:
    """Both signals through one process, then the Prometheus."""
    jaegers = {name: Jaeger(lab, name.replace("_", "-")) for name in ("by_jaeger", "by_otlp", "renamed")}
    logs = {name: _victorialogs(lab, name) for name in ("native", "logs_otlp")}
    names = ("otlp", "grpc", "thrift_compact")
    ports = {name: lab.port() for name in names}
    telemetry = lab.port()
    outs = {name: jaeger.ports["grpc" if name == "by_jaeger" else "otlp"] for name, jaeger in jaegers.items()}
    subject = lab.subject(
        CONFIG.format(**ports, **outs, **logs) + TELEMETRY.format(port=telemetry),
        [ports["otlp"], ports["grpc"]],
        datagrams=[ports["thrift_compact"]],
    )
    beside = Jaeger(lab, "beside")
    for client, port in CLIENTS.items():
        _send_spans(lab, client, ports[port], beside.ports[port])
    _send_lines(ports["otlp"], "shop", range(LINES))
    for exporter in ("jaeger", "otlp", "otlp/renamed", "victorialogs", "otlphttp"):
        lab.wait(f"{exporter} has sent everything", lambda: pending_items(telemetry, exporter) == 0, 30)
    # VictoriaLogs shows what it took about a second later, and whole seconds are asked for.
    time.sleep(3)
    _traces(lab, {name: f"jaeger=http://127.0.0.1:{jaeger.ports['query']}" for name, jaeger in jaegers.items()}, jaegers)
    _logs(lab, {name: f"victorialogs=http://127.0.0.1:{port}" for name, port in logs.items()}, ports["otlp"], logs)
    check_balance(lab, "both signals", telemetry)
    check_stop(lab, "both signals", subject)
    for jaeger in [*jaegers.values(), beside]:
        jaeger.end()
    _capture(lab)
    _native_histograms(lab)


def _traces(lab: Lab, places: dict[str, str], jaegers: dict[str, Jaeger]) -> None:
    report = _compared(lab, "a Jaeger behind `jaeger` and one behind `otlp` answer the same", places["by_jaeger"], places["by_otlp"], EQUAL)
    services = [subject["name"] for subject in report["subjects"]]
    spans = report["legacy"]["items"]
    lab.check("every span is compared, once", spans == report["new"]["items"] and spans >= 2 * SPANS, f"{spans} spans of {services}")
    report = _compared(lab, "a renamed attribute is a difference", places["by_otlp"], places["renamed"], DIFFERENT)
    said = json.dumps([subject["verdict"] for subject in report["subjects"]])
    lab.check("and it is named", '"number"' in said or "order.number" in said, said)
    # Sent past the program under test, to one of the two.
    _send_spans(lab, "otel-grpc", jaegers["by_jaeger"].ports["grpc"], jaegers["by_jaeger"].ports["grpc"], count=200)
    time.sleep(3)
    report = _compared(lab, "spans that only one of them got are a difference", places["by_jaeger"], places["by_otlp"], DIFFERENT)
    said = json.dumps([subject["verdict"] for subject in report["subjects"]])
    lab.check("and they are told as a loss of the other", '"side": "new"' in said and "loss" in said, said)
    config = lab.file("query.yaml", f"""
migration:
  name: shop
  legacy: {{query: {{traces: {{jaeger: "{places['by_otlp'].removeprefix('jaeger=')}"}}}}}}
  new: {{query: {{traces: {{jaeger: {{endpoint: "{places['by_otlp'].removeprefix('jaeger=')}", headers: {{X-Scope-OrgID: shop}}}}}}}}}}
""")
    _compared(lab, "the same with addresses from a configuration", "", "", EQUAL, "--config", str(config))


def _logs(lab: Lab, places: dict[str, str], otlp: int, ports: dict[str, int]) -> None:
    both = (places["native"], places["logs_otlp"])
    report = _compared(lab, "a VictoriaLogs behind `victorialogs` and one behind `otlphttp` answer the same lines", *both, EQUAL, "--logs", "bodies")
    lines = report["legacy"]["items"]
    lab.check("every line is compared, once", lines == report["new"]["items"] == LINES, f"{lines} lines")
    _compared(lab, "a VictoriaLogs is as it is in every field", both[0], both[0], EQUAL)
    # Past the program under test, to one of the two: the same lines in other words, and more lines.
    minute = int(time.time()) // 60 * 60
    _push(ports["logs_otlp"], minute, [f"ORDER {number}" for number in range(60)])
    _push(ports["native"], minute, [f"order {number}" for number in range(60)])
    time.sleep(3)
    report = _compared(lab, "lines in other words are a difference", *both, DIFFERENT, "--logs", "bodies")
    said = json.dumps([subject["verdict"] for subject in report["subjects"]])
    lab.check("and it is the body that is named", '"body"' in said, said)
    _compared(lab, "which does not count where only counts are compared", *both, EQUAL, "--logs", "counts")
    _push(ports["native"], minute, [f"order {number}" for number in range(60, 90)])
    time.sleep(3)
    report = _compared(lab, "lines that only one of them got are a difference", *both, DIFFERENT, "--logs", "counts")
    said = json.dumps([subject["verdict"] for subject in report["subjects"]])
    lab.check("and they are told as a loss of the other", '"side": "new"' in said, said)


def _capture(lab: Lab) -> None:
    path = lab.directory / "capture.jsonl"
    capture = Capture(path)
    thread = threading.Thread(target=capture.serve, daemon=True)
    thread.start()
    port = lab.port()
    url = lab.prometheus("prometheus", f"""
global: {{scrape_interval: 1s}}
scrape_configs:
  - job_name: synthetic
    metrics_path: /text
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
remote_write:
  - url: http://127.0.0.1:{capture.port}/
    metadata_config: {{send_interval: 3s}}
""")
    lab.start("target", [lab.tools.python, INTEROP / "targets" / "synthetic.py", "--port", str(port)], lambda: http_ok(f"http://127.0.0.1:{port}/text"))
    time.sleep(25)
    capture.stop()
    report = _compared(lab, "what a Prometheus wrote is what it answers", str(path), url, None, "--margin", "20%")
    verdicts = report["counts"]
    held = verdicts.get("different", 0) == 0 and verdicts.get("equivalent", 0) > 0
    lab.check("nothing of it differs", held, f"{verdicts}, {report['legacy']['items']} and {report['new']['items']} points")


def _native_histograms(lab: Lab) -> None:
    """Nine minutes of histograms, the newest of them of now, as fast as two servers take them."""
    configs = {"legacy": "{}", "new": "otlp: {convert_histograms_to_nhcb: true}"}
    arguments = ["--web.enable-otlp-receiver", "--enable-feature=native-histograms"]
    urls = [lab.prometheus(f"histograms-{side}", config, arguments, lab.tools.prometheus3) for side, config in configs.items()]
    chance = random.Random(5)
    seconds = [[chance.expovariate(5) for _ in range(200)] for _ in range(HISTOGRAMS_S)]
    start, values = int(time.time()) - HISTOGRAMS_S, []
    for at, more in enumerate(seconds, 1):
        values += more
        for side, phase in ((0, 0), (1, 2)):
            if at % 5 == phase:
                metrics = [_histogram(name, form[side], values, form[2] if side else 1, start + at) for name, form in HISTOGRAMS.items()]
                _post(f"{urls[side]}/api/v1/otlp/v1/metrics", {"resourceMetrics": [{"scopeMetrics": [{"metrics": metrics}]}]})
    report = _compared(lab, "histograms whose values were doubled differ, among others", *urls, DIFFERENT)
    verdicts = {subject["name"]: subject["verdict"]["verdict"] for subject in report["subjects"]}
    expected = {name: "different" if factor != 1 else "equivalent" for name, (_, _, factor) in HISTOGRAMS.items()}
    lab.check("the same values are equal in every form of a histogram", verdicts == expected, f"{verdicts} {report['notes']}")


def _histogram(name: str, scale: int | None, values: list[float], factor: float, at_s: int) -> dict:
    """A metric of OTLP with a point: an explicit histogram, or an exponential one of a scale."""
    point = {"timeUnixNano": str(at_s * 10**9), "count": str(len(values)), "sum": sum(values) * factor}
    counts: dict[int, int] = {}
    for value in values:
        if scale is None:
            index = bisect.bisect_left(BOUNDS, value * factor)
        else:
            index = math.ceil(math.log2(value * factor) * 2**scale) - 1
        counts[index] = counts.get(index, 0) + 1
    low, high = (0, len(BOUNDS)) if scale is None else (min(counts), max(counts))
    dense = [str(counts.get(index, 0)) for index in range(low, high + 1)]
    if scale is None:
        kind, buckets = "histogram", {"explicitBounds": BOUNDS, "bucketCounts": dense}
    else:
        kind, buckets = "exponentialHistogram", {"scale": scale, "positive": {"offset": low, "bucketCounts": dense}}
    return {"name": name, kind: {"aggregationTemporality": 2, "dataPoints": [{**point, **buckets}]}}


def _compared(lab: Lab, sentence: str, legacy: str, new: str, expected: int | None, *more: str) -> dict:
    """Runs the comparison and holds its exit code to what is expected; gives the report."""
    sides = ["--legacy", legacy, "--new", new] if legacy else []
    argv = [lab.tools.crossfade, "parity", *sides, "--range", "10m", "--settle", "0s", "--format", "json", *more]
    done = subprocess.run([str(one) for one in argv], capture_output=True, text=True, timeout=120)
    if expected is not None or done.returncode not in (EQUAL, DIFFERENT, OPEN):
        said = done.stderr or done.stdout[:3000]
        lab.check(sentence, done.returncode == expected, "" if done.returncode == expected else f"exit code {done.returncode}\n{said}")
    return json.loads(done.stdout)


def _send_spans(lab: Lab, client: str, port: int, also: int, count: int = SPANS) -> None:
    name = f"{client}-{port}"
    script = INTEROP / "clients" / "jaeger_spans.py"
    arguments = ["--client", client, "--port", port, "--also", also, "--record", lab.directory / f"{name}.json", "--count", count]
    process = lab.start(name, [lab.tools.old_python, script, *arguments])
    lab.wait("the client ends", lambda: not process.running(), 90)
    code = process.popen.returncode
    lab.check(f"{client}: the client sent everything without an error", code == 0, "" if code == 0 else process.tail())


def _send_lines(port: int, service: str, numbers: range) -> None:
    now = time.time_ns()
    records = [
        {
            # A few seconds of lines, a few milliseconds apart.
            "timeUnixNano": str(now - (len(numbers) - at) * 4_000_000),
            "severityNumber": 9,
            "severityText": "INFO",
            "body": {"stringValue": f"order {number}: Grüße, \"quoted\""},
            "attributes": [{"key": "http.route", "value": {"stringValue": f"/{number % 7}"}}],
        }
        for at, number in enumerate(numbers)
    ]
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]}
    request = {"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": records}]}]}
    _post(f"http://127.0.0.1:{port}/v1/logs", request)


def _push(port: int, second: int, lines: list[str]) -> None:
    """Lines straight into a VictoriaLogs, all of one second."""
    values = [[str(second * 10**9 + at), line] for at, line in enumerate(lines)]
    streams = [{"stream": {"service.name": "loud"}, "values": values}]
    _post(f"http://127.0.0.1:{port}/insert/loki/api/v1/push", {"streams": streams})


def _post(url: str, body: dict) -> None:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        answer.read()


def _victorialogs(lab: Lab, name: str) -> int:
    port = lab.port()
    arguments = [f"-storageDataPath={lab.directory / name}", f"-httpListenAddr=127.0.0.1:{port}"]
    lab.start(f"victorialogs-{name}", [lab.tools.victorialogs, *arguments], lambda: http_ok(f"http://127.0.0.1:{port}/health"))
    return port
