"""Fluent Forward from two libraries: every mode, acknowledgements, a shared key, a Unix socket."""

from __future__ import annotations

import collections
import json
import signal
import time

from harness import plain
from harness.lab import Lab
from harness.sinks import Sink
from harness.subject import TELEMETRY, check_balance, check_counts, check_stop
from harness.tools import INTEROP

ABOUT = "fluent-logger and @fluent-org/logger in every mode; what was acknowledged is at the Collector behind, once"

CONFIG = """
receivers:
  fluentforward/open: {{endpoint: "127.0.0.1:{open}"}}
  fluentforward/unix: {{endpoint: "unix://{unix}"}}
  fluentforward/locked:
    endpoint: "127.0.0.1:{locked}"
    security: {{shared_key: a secret between us, users: {{shop: open sesame}}}}
exporters:
  otlp/sink: {{endpoint: {sink}, tls: {{insecure: true}}}}
service:
  pipelines:
    logs: {{receivers: [fluentforward/open, fluentforward/unix, fluentforward/locked], exporters: [otlp/sink]}}
"""
CRASH = """
receivers:
  fluentforward: {{endpoint: "127.0.0.1:{port}"}}
exporters:
  otlp/sink: {{endpoint: {sink}, tls: {{insecure: true}}, retry_on_failure: {{initial_interval: 200ms, max_interval: 1s}}}}
journal: {{storage: disk, directory: "{directory}/journal"}}
service:
  pipelines:
    logs: {{receivers: [fluentforward], exporters: [otlp/sink]}}
"""

MODES = ("Message", "Forward", "PackedForward", "CompressedPackedForward")
LOCK = ["--shared-key", "a secret between us", "--user", "shop", "--password", "open sesame"]


def run(lab: Lab) -> None:
    """Every client and mode, one after another, through one process."""
    sink = Sink(lab, "sink", "grpc")
    ports = {name: lab.port() for name in ("open", "locked")}
    unix, telemetry = lab.directory / "forward.sock", lab.port()
    config = CONFIG.format(**ports, unix=unix, sink=sink.endpoint)
    subject = lab.subject(config + TELEMETRY.format(port=telemetry), list(ports.values()), datagrams=[unix])
    open_port, locked = ["--port", str(ports["open"])], ["--port", str(ports["locked"])]
    # By the receiver that each goes to.
    clients = [("open", "fluent-logger", [lab.tools.python, INTEROP / "clients" / "fluent_client.py", *open_port])]
    clients += [("open", f"@fluent-org/logger {mode}", _js(lab, mode, *open_port)) for mode in MODES]
    clients.append(("unix", "@fluent-org/logger, Unix socket", _js(lab, "PackedForward", "--path", str(unix))))
    clients.append(("locked", "@fluent-org/logger, key and user", _js(lab, "PackedForward", *locked, *LOCK)))
    sent: dict[str, int] = collections.Counter()
    for receiver, title, command in clients:
        expected = _send(lab, title, command)
        _judge(lab, title, sink, expected, sum(sent.values()))
        sent[receiver] += len(expected)
    for receiver, count in sent.items():
        check_counts(lab, f"the receiver `{receiver}`", telemetry, f"fluentforward/{receiver}", [], {"logs": count})
    check_balance(lab, "all clients", telemetry)
    code, _ = _run_client(lab, "a wrong key", _js(lab, "PackedForward", *locked, "--shared-key", "another", "--tag", "wrong"))
    time.sleep(0.5)
    lab.check("a client with a wrong key is turned away", code != 0, f"exit code {code}")
    strangers = [record for record in plain.logs(plain.requests(sink.path)) if str(record["attributes"].get("fluent.tag")).startswith("wrong")]
    lab.check("and nothing of it arrives", not strangers, len(strangers))
    check_stop(lab, "all clients", subject)
    _crash(lab)


def _crash(lab: Lab) -> None:
    """What was acknowledged outlives the process that acknowledged it."""
    sink, port, telemetry = Sink(lab, "crash-sink", "grpc"), lab.port(), lab.port()
    config = CRASH.format(port=port, sink=sink.endpoint, directory=lab.directory) + TELEMETRY.format(port=telemetry)
    subject = lab.subject(config, [port], "crash-subject")
    # Nothing reaches the backend before the crash, so that all of it must come out of the journal.
    sink.process.signal(signal.SIGSTOP)
    record = lab.directory / "crash.json"
    more = ["--port", str(port), "--count", "20000", "--rest", "5", "--ack-timeout", "2000", "--record", record]
    client = lab.start("crash-client", _js(lab, "PackedForward", *more))
    time.sleep(1.2)
    subject.kill()
    lab.wait("the client gives up", lambda: not client.running(), 30)
    events = json.loads(record.read_text())
    ok = 0 < len(events) < 20_000
    lab.check("a kill -9: the client had some acknowledgements, and not all", ok, f"{len(events)} of 20000")
    sink.process.signal(signal.SIGCONT)
    subject = lab.subject(config, [port], "after-the-crash")
    wanted = {_key(event) for event in events}
    deadline, have = time.monotonic() + 20, set()
    while wanted - have and time.monotonic() < deadline:
        time.sleep(0.3)
        have = {_key(_as_event(record)) for record in plain.logs(plain.requests(sink.path))}
    missing = wanted - have
    found = f"{len(missing)} missing, e.g. {min(missing)}" if missing else f"{len(wanted)} events"
    lab.check("a kill -9: every event that was acknowledged arrives after the restart", not missing, found)
    check_stop(lab, "after the crash", subject)


def _js(lab: Lab, mode: str, *more: str) -> list[object]:
    return [lab.tools.node, lab.tools.js / "fluent.mjs", "--mode", mode, "--tag", "shop", *more]


def _run_client(lab: Lab, title: str, command: list[object]):
    slug = "-".join("".join(letter if letter.isalnum() else " " for letter in title).split())
    record = lab.directory / f"{slug}.json"
    process = lab.start(slug, [*command, "--record", record])
    lab.wait(f"{title} ends", lambda: not process.running(), 60)
    return process.popen.returncode, (record, process)


def _send(lab: Lab, title: str, command: list[object]) -> list[dict]:
    code, (record, process) = _run_client(lab, title, command)
    lab.check(f"{title}: every event was taken, or acknowledged", code == 0, "" if code == 0 else process.tail())
    return json.loads(record.read_text()) if record.exists() else []


def _judge(lab: Lab, title: str, sink: Sink, events: list[dict], before: int) -> None:
    deadline = time.monotonic() + 15
    while len(sink.items()["logs"]) < before + len(events) and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(0.3)
    # Clients run one after another, so that what is new is this client's.
    got = collections.Counter(_key(_as_event(record)) for record in plain.logs(plain.requests(sink.path))[before:])
    wanted = collections.Counter(_key(event) for event in events)
    missing, extra = list((wanted - got).elements()), list((got - wanted).elements())
    found = "" if not missing and not extra else f"{len(missing)} missing, e.g. {missing[:1]}; {len(extra)} not expected, e.g. {extra[:1]}"
    lab.check(f"{title}: every event arrived once, with its time, tag and fields", not found and bool(events), found or f"{len(events)} events")


def _as_event(record: dict) -> dict:
    fields = {key: value for key, value in record["attributes"].items() if key != "fluent.tag"}
    return {"tag": record["attributes"].get("fluent.tag"), "time": record["time"], "fields": {"message": record["body"], **fields}}


def _key(event: dict) -> str:
    # A whole number and a fraction that happens to be whole are the same in JavaScript.
    fields = {key: float(value) if key == "half" else value for key, value in event["fields"].items()}
    return json.dumps([event["tag"], event["time"], fields], sort_keys=True, ensure_ascii=False)
