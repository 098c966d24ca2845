"""Log files that real programs write and rotate, followed through a crash and a restart.

Python's handlers write; RotatingFileHandler and Debian's logrotate rotate,
by renaming and by truncating. In the middle the program under test is killed
and started again, later it is stopped and started. Its journal lies on disk.
What a stop or a rotation costs is nothing; what a crash costs is at most a
line twice, never a line."""

from __future__ import annotations

import collections
import pathlib
import re
import signal
import subprocess
import time

from harness import plain
from harness.lab import Lab, Process
from harness.sinks import Sink
from harness.subject import TELEMETRY, check_balance, check_stop
from harness.tools import INTEROP

ABOUT = "filelog follows files that Python and logrotate rotate, over a kill -9 and a restart: no line is lost"
NEEDS = ("logrotate",)

CONFIG = r"""
extensions:
  file_storage: {{directory: {directory}/checkpoints}}
receivers:
  filelog/rotating:
    include: ["{directory}/rotating.log*"]
    storage: file_storage
    start_at: beginning
    poll_interval: 100ms
    multiline: {{line_start_pattern: '^\d{{4}}-\d\d-\d\d '}}
    operators: &take_apart
      - type: regex_parser
        regex: '^(?P<time>\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d,\d{{3}}) (?P<level>[A-Z]+) (?s:(?P<text>.*))$'
        timestamp: {{parse_from: attributes.time, layout: '%Y-%m-%d %H:%M:%S,%L', location: UTC}}
        severity: {{parse_from: attributes.level}}
  filelog/watched:
    include: ["{directory}/watched.log*"]
    storage: file_storage
    start_at: beginning
    poll_interval: 100ms
    multiline: {{line_start_pattern: '^\d{{4}}-\d\d-\d\d '}}
    operators: *take_apart
  filelog/plain:
    include: ["{directory}/plain.log"]
    storage: file_storage
    start_at: beginning
    poll_interval: 100ms
    multiline: {{line_start_pattern: '^\d{{4}}-\d\d-\d\d '}}
    operators: *take_apart
exporters:
  otlp/sink: {{endpoint: {sink}, tls: {{insecure: true}}}}
journal: {{storage: disk, directory: "{directory}/journal"}}
service:
  extensions: [file_storage]
  pipelines:
    logs: {{receivers: [filelog/rotating, filelog/watched, filelog/plain], exporters: [otlp/sink]}}
"""
LOGROTATE = """
{directory}/{name}.log {{
  rotate 50
  missingok
  nocompress
  {how}
}}
"""
NUMBER = re.compile(r"^line (\d+) ")
COUNT = 12_000
SECONDS = 6.0
LEVELS = [5, 9, 13, 17]


def run(lab: Lab) -> None:
    """Three writers at once, with a crash, a stop, and rotations in between."""
    sink = Sink(lab, "sink", "grpc")
    telemetry = lab.port()
    config = CONFIG.format(directory=lab.directory, sink=sink.endpoint) + TELEMETRY.format(port=telemetry)
    subject = lab.subject(config, [telemetry])
    writers = {kind: _writer(lab, kind) for kind in ("rotating", "watched", "plain")}
    time.sleep(1.2)
    _logrotate(lab, "watched", "create")
    time.sleep(0.6)
    subject.kill()
    time.sleep(0.5)
    # While nobody reads, files go on moving.
    _logrotate(lab, "watched", "create")
    subject = lab.subject(config, [telemetry], name="after-the-crash")
    time.sleep(0.8)
    _truncate(lab, writers["plain"])
    check_stop(lab, "in the middle", subject)
    _logrotate(lab, "watched", "create")
    subject = lab.subject(config, [telemetry], name="after-the-stop")
    for kind, writer in writers.items():
        lab.wait(f"{kind} ends", lambda one=writer: not one.running(), 60)
    _await(sink, COUNT * len(writers))
    by_kind = _by_kind(plain.logs(plain.requests(sink.path)))
    for kind in writers:
        _judge(lab, kind, by_kind[kind])
    check_balance(lab, "in the end", telemetry)
    check_stop(lab, "in the end", subject)


def _writer(lab: Lab, kind: str) -> Process:
    script = INTEROP / "clients" / "rotating_writer.py"
    path = lab.directory / f"{kind}.log"
    arguments = ["--kind", kind, "--path", path, "--count", str(COUNT), "--seconds", str(SECONDS)]
    # Times in the files are read as the local ones of the program under test.
    return lab.start(f"{kind}-writer", [lab.tools.python, script, *arguments], env={"TZ": "UTC"})


def _logrotate(lab: Lab, name: str, how: str) -> None:
    path = lab.file(f"logrotate-{name}.conf", LOGROTATE.format(directory=lab.directory, name=name, how=how))
    # It refuses a configuration or a directory that others could write.
    path.chmod(0o600)
    command = [lab.tools.logrotate, "--force", "--state", lab.directory / f"logrotate-{name}.state", path]
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lab.check(f"logrotate rotates {name}.log ({how})", done.returncode == 0, done.stdout.strip())


def _truncate(lab: Lab, writer: Process) -> None:
    """Copying and truncating loses what is written in between, whoever reads; so the writer pauses for it,
    until everything that it wrote was read."""
    writer.signal(signal.SIGSTOP)
    time.sleep(1.0)
    _logrotate(lab, "plain", "copytruncate")
    time.sleep(0.5)
    writer.signal(signal.SIGCONT)
    time.sleep(0.5)


def _await(sink: Sink, count: int) -> None:
    deadline = time.monotonic() + 30
    while len(sink.items()["logs"]) < count and time.monotonic() < deadline:
        time.sleep(0.2)
    time.sleep(1.0)


def _by_kind(records: list[dict]) -> dict[str, list[dict]]:
    found: dict[str, list[dict]] = collections.defaultdict(list)
    for record in records:
        name = pathlib.PurePath(str(record["attributes"].get("log.file.name", ""))).name
        found[name.partition(".")[0]].append(record)
    return found


def _judge(lab: Lab, kind: str, records: list[dict]) -> None:
    numbers: collections.Counter = collections.Counter()
    odd = []
    for record in records:
        text = str(record["attributes"].get("text", ""))
        match = NUMBER.match(text)
        if match is None or not _is_whole(record, int(match[1]), text):
            odd.append(record)
        else:
            numbers[int(match[1])] += 1
    lost = [number for number in range(COUNT) if number not in numbers]
    twice = [number for number, times in numbers.items() if times > 1]
    lab.check(f"{kind}: no line is lost", not lost, f"{len(lost)} lost: {lost[:5]}" if lost else f"{COUNT} lines, {len(twice)} of them twice")
    # It is written down once a second how far each file was read.
    bound = COUNT / SECONDS * 2
    lab.check(f"{kind}: what came twice is no more than the crash can explain", len(twice) < bound, f"{len(twice)}: {twice[:3]}")
    lab.check(f"{kind}: every record is whole, with its time and severity", not odd, f"{len(odd)}, e.g. {odd[:1]}" if odd else "")


def _is_whole(record: dict, number: int, text: str) -> bool:
    stack = "\n  at one\n  at two\n\tat three" in text
    return (
        record["severity"] == LEVELS[number % 4]
        and stack == (number % 500 == 0)
        and text.split("\n")[0].endswith("Grüße")
        and abs(record["time"] / 1e9 - time.time()) < 300
    )
