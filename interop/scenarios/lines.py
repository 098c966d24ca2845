"""Graphite, InfluxDB and StatsD: their clients in, their servers out.

Debian's carbon-cache and influxd and Etsy's own statsd are the judges of the
exporters: what they hold in the end is what the clients recorded."""

from __future__ import annotations

import collections
import json
import pathlib
import re
import socket
import subprocess
import time
import urllib.parse
import urllib.request

from harness import plain
from harness.lab import Lab, datagrams_open, http_ok, port_open
from harness.sinks import Sink
from harness.subject import TELEMETRY, check_balance, check_stop
from harness.tools import INTEROP

ABOUT = "graphyte, influxdb and influxdb-client in; carbon-cache, influxd and Etsy's statsd hold the same samples and totals"
NEEDS = ("carbon_cache", "influxd", "whisper_fetch")

CONFIG = """
receivers:
  carbon: {{endpoint: "127.0.0.1:{carbon}", transport: tcp}}
  influxdb: {{endpoint: "127.0.0.1:{influx}"}}
  otlp: {{protocols: {{grpc: {{endpoint: "127.0.0.1:{otlp}"}}}}}}
exporters:
  otlp/sink: {{endpoint: {sink}, tls: {{insecure: true}}}}
  carbon: {{endpoint: "127.0.0.1:{carbon_out}"}}
  influxdb:
    endpoint: http://127.0.0.1:{influx_out}
    v1_compatibility: {{enabled: true, db: shop}}
  statsd: {{endpoint: "127.0.0.1:{statsd_out}", dialect: etsy, plain_attributes: drop, prefix: out}}
service:
  pipelines:
    metrics/carbon: {{receivers: [carbon], exporters: [otlp/sink, carbon]}}
    metrics/influx: {{receivers: [influxdb], exporters: [otlp/sink, influxdb]}}
    metrics/statsd: {{receivers: [otlp], exporters: [statsd]}}
"""
CARBON = """
[cache]
STORAGE_DIR = {directory}
LOCAL_DATA_DIR = {directory}/whisper
CONF_DIR = {directory}
LOG_DIR = {directory}
PID_DIR = {directory}
LINE_RECEIVER_INTERFACE = 127.0.0.1
LINE_RECEIVER_PORT = {port}
PICKLE_RECEIVER_INTERFACE = 127.0.0.1
PICKLE_RECEIVER_PORT = {pickle}
CACHE_QUERY_INTERFACE = 127.0.0.1
CACHE_QUERY_PORT = {query}
ENABLE_UDP_LISTENER = False
USER =
MAX_CREATES_PER_MINUTE = inf
MAX_UPDATES_PER_SECOND = inf
ENABLE_TAGS = False
"""
INFLUX = """
reporting-disabled = true
bind-address = "127.0.0.1:{rpc}"
[meta]
  dir = "{directory}/meta"
[data]
  dir = "{directory}/data"
  wal-dir = "{directory}/wal"
[http]
  bind-address = "127.0.0.1:{port}"
[monitor]
  store-enabled = false
"""
STATSD = """{{
  port: {port}, address: '127.0.0.1', mgmt_port: {admin}, mgmt_address: '127.0.0.1',
  backends: ['./backends/console'], flushInterval: 3600000
}}
"""
ENTRY = re.compile(r"'?([A-Za-z_][\w.]*)'?: (-?\d[\d.e+-]*)")


def run(lab: Lab) -> None:
    """All three at once, in one process."""
    sink = Sink(lab, "sink", "grpc")
    names = ("carbon", "influx", "otlp", "carbon_out", "influx_out", "statsd_out", "admin")
    ports = {name: lab.port() for name in names}
    telemetry = lab.port()
    whisper = _carbon_cache(lab, ports["carbon_out"])
    _influxd(lab, ports["influx_out"])
    _etsy(lab, ports["statsd_out"], ports["admin"])
    config = CONFIG.format(**ports, sink=sink.endpoint)
    subject = lab.subject(
        config + TELEMETRY.format(port=telemetry), [ports[name] for name in ("carbon", "influx", "otlp")]
    )
    clients = {"graphyte": "carbon", "influxdb": "influx", "influxdb-client": "influx", "opentelemetry": "otlp"}
    recorded = {client: _send(lab, client, ports[port]) for client, port in clients.items()}
    counters = recorded.pop("opentelemetry")
    expected = [sample for samples in recorded.values() for sample in samples]
    _await(sink, len(expected))
    _samples(lab, recorded, plain.points(plain.requests(sink.path)))
    _in_carbon(lab, whisper, recorded["graphyte"])
    for client in ("influxdb", "influxdb-client"):
        _in_influx(lab, client, ports["influx_out"], recorded[client])
    _in_statsd(lab, ports["admin"], counters)
    check_balance(lab, "all clients", telemetry)
    check_stop(lab, "all clients", subject)


# === the servers ===


def _carbon_cache(lab: Lab, port: int) -> pathlib.Path:
    directory = lab.directory / "carbon"
    directory.mkdir()
    (directory / "whisper").mkdir()
    text = CARBON.format(directory=directory, port=port, pickle=lab.port(), query=lab.port())
    (directory / "carbon.conf").write_text(text)
    (directory / "storage-schemas.conf").write_text("[all]\npattern = .*\nretentions = 1s:1h\n")
    command = [lab.tools.carbon_cache, "--nodaemon", f"--config={directory}/carbon.conf", "start"]
    lab.start("carbon-cache", command, lambda: port_open(port))
    return directory / "whisper"


def _influxd(lab: Lab, port: int) -> None:
    directory = lab.directory / "influx"
    path = lab.file("influxd.toml", INFLUX.format(directory=directory, port=port, rpc=lab.port()))
    url = f"http://127.0.0.1:{port}"
    lab.start("influxd", [lab.tools.influxd, "-config", path], lambda: http_ok(f"{url}/query?q=SHOW+DATABASES"))
    _query(port, "CREATE DATABASE shop", "POST")


def _etsy(lab: Lab, port: int, admin: int) -> None:
    path = lab.file("statsd.js", STATSD.format(port=port, admin=admin))
    command = [lab.tools.node, lab.tools.js / "node_modules" / "statsd" / "stats.js", path]
    lab.start("etsy-statsd", command, lambda: port_open(admin) and datagrams_open(port))


def _query(port: int, query: str, method: str = "GET") -> dict:
    url = f"http://127.0.0.1:{port}/query?" + urllib.parse.urlencode({"db": "shop", "epoch": "ns", "q": query})
    with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=10) as answer:
        return json.load(answer)


# === the clients, and what became of what they sent ===


def _send(lab: Lab, client: str, port: int):
    record = lab.directory / f"{client}.json"
    script = INTEROP / "clients" / "line_client.py"
    process = lab.start(client, [lab.tools.python, script, "--client", client, "--port", str(port), "--record", record])
    lab.wait(f"{client} ends", lambda: not process.running(), 60)
    code = process.popen.returncode
    lab.check(f"{client}: the client sent everything without an error", code == 0, "" if code == 0 else process.tail())
    return json.loads(record.read_text())


def _await(sink: Sink, count: int) -> None:
    deadline = time.monotonic() + 15
    while len(sink.items()["metrics"]) < count and time.monotonic() < deadline:
        time.sleep(0.1)
    # carbon-cache writes its files a moment later.
    time.sleep(1.5)


def _samples(lab: Lab, recorded: dict[str, list[dict]], points: list[dict]) -> None:
    have = collections.Counter(_key(point) for point in points)
    expected: collections.Counter = collections.Counter()
    for client, samples in recorded.items():
        wanted = collections.Counter(_key(sample) for sample in samples)
        expected += wanted
        missing = list((wanted - have).elements())
        lab.check(
            f"{client}: every sample is there, with its name, value, tags and time",
            not missing and bool(samples),
            f"{len(missing)} of {len(samples)} missing, e.g. {missing[:2]}" if missing else f"{len(samples)} samples",
        )
    extra = list((have - expected).elements())
    lab.check("nothing came twice or was made up", not extra, f"{len(extra)}, e.g. {extra[:2]}" if extra else "")


def _key(sample: dict) -> str:
    return json.dumps([sample["name"], float(sample["value"]), sample["attributes"], sample["time"]], sort_keys=True)


def _in_carbon(lab: Lab, whisper: pathlib.Path, samples: list[dict]) -> None:
    by_name = collections.defaultdict(dict)
    for sample in samples:
        if not sample["attributes"]:
            by_name[sample["name"]][sample["time"] // 10**9] = float(sample["value"])
    for name, wanted in by_name.items():
        path = whisper / (name.replace(".", "/") + ".wsp")
        found = f"{path} does not exist"
        if path.exists():
            first, last = min(wanted), max(wanted)
            command = [lab.tools.whisper_fetch, "--json", f"--from={first - 1}", f"--until={last}", path]
            done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, text=True, check=True)
            series = json.loads(done.stdout)
            values = {series["start"] + index * series["step"]: value for index, value in enumerate(series["values"])}
            found = plain.unequal(wanted, {moment: value for moment, value in values.items() if value is not None})
        lab.check(f"carbon-cache holds {name}", not found, found or f"{len(wanted)} samples")


def _in_influx(lab: Lab, client: str, port: int, samples: list[dict]) -> None:
    names = sorted({sample["name"] for sample in samples})
    for name in names:
        wanted = {(sample["time"], *sorted(sample["attributes"].items())): float(sample["value"]) for sample in samples if sample["name"] == name}
        answer = _query(port, f'SELECT * FROM "{name}"')["results"][0].get("series", [{"columns": [], "values": []}])[0]
        have = {}
        for row in answer["values"]:
            cells = dict(zip(answer["columns"], row))
            tags = sorted((key, value) for key, value in cells.items() if key not in ("time", "gauge") and value is not None)
            have[cells["time"], *tags] = cells["gauge"]
        found = plain.unequal({str(key): value for key, value in wanted.items()}, {str(key): value for key, value in have.items()})
        lab.check(f"{client}: influxd holds {name}", not found, found or f"{len(wanted)} samples")


def _in_statsd(lab: Lab, admin: int, recorded: dict) -> None:
    for kind in ("counters", "gauges"):
        have = {name: value for name, value in _ask(admin, kind).items() if name.startswith("out.")}
        wanted = {f"out.{name}": value for name, value in recorded[kind].items()}
        found = plain.unequal(wanted, have)
        lab.check(f"Etsy's statsd holds the {kind} of the OpenTelemetry SDK", not found, found or str(have))


def _ask(admin: int, kind: str) -> dict:
    with socket.create_connection(("127.0.0.1", admin), timeout=5) as connection:
        connection.sendall(f"{kind}\n".encode())
        text = b""
        while b"END" not in text:
            text += connection.recv(65536)
    # It answers as JavaScript writes an object: names in single quotes, or in none.
    return {name: float(value) for name, value in ENTRY.findall(text.decode())}
