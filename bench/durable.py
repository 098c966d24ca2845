"""What the runs of the journal on disk share: a Crossfade that is ended and started again, backends that count, a
sender whose items have identities, and the comparison of all three."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "interop"))

from harness.lab import Process  # noqa: E402

READY_S_MAX = 120.0
ITEMS_PER_REQUEST = 200
# Items of one worker, as first and last sequence number, in order.
Ranges = list[list[int]]


class Violation(Exception):
    """A promise was not kept."""


def binary() -> pathlib.Path:
    """The program: CROSSFADE_BIN, or the release build of this repository."""
    path = pathlib.Path(os.environ.get("CROSSFADE_BIN") or ROOT / "target" / "release" / "crossfade").resolve()
    if not path.exists():
        raise SystemExit(f"{path} is not there: cargo build --release -p crossfade, or name a binary in CROSSFADE_BIN")
    return path


def say(text: str) -> None:
    """Tells a waiting person what is going on."""
    print(text, file=sys.stderr, flush=True)


def end_on_sigterm() -> None:
    """Lets SIGTERM end this script as Ctrl-C does, so that it stops what it started."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def get(url: str, seconds: float = 20) -> str:
    """The body of a GET, whatever its status."""
    try:
        with urllib.request.urlopen(url, timeout=seconds) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.read().decode()


def wait_for(what: str, done, seconds: float, process: Process | None = None, pause_s: float = 0.02) -> None:
    """Polls until `done`, or raises with what was awaited. Whoever does not answer yet is asked again."""
    deadline = time.monotonic() + seconds
    while not _is(done):
        if process is not None and not process.running():
            raise Violation(f"{process.name} ended with code {process.popen.returncode} before {what}:\n{process.tail()}")
        if time.monotonic() > deadline:
            raise Violation(f"waited {seconds:.0f} s for: {what}")
        time.sleep(pause_s)


def _is(done) -> bool:
    try:
        return bool(done())
    except OSError:
        return False


class Backend:
    """One `crossfade load receive`."""

    def __init__(self, lab: Lab, name: str) -> None:
        self.name = name
        self.port, self.admin = free_port(), free_port()
        self.process = lab.start(
            f"backend-{name}",
            [lab.crossfade, "load", "receive", "--otlp-grpc", f"127.0.0.1:{self.port}", "--admin", f"127.0.0.1:{self.admin}"],
        )
        wait_for(f"backend {name} listens", lambda: accepts(self.admin), READY_S_MAX, self.process)

    def fault(self, kind: str, for_ms: int | None = None, retry_after_ms: int | None = None) -> None:
        """Switches a fault on, or off with `healthy`."""
        wishes = {"for_ms": for_ms, "retry_after_ms": retry_after_ms}
        body = {"kind": kind} | {name: value for name, value in wishes.items() if value is not None}
        url = f"http://127.0.0.1:{self.admin}/fault"
        urllib.request.urlopen(urllib.request.Request(url, data=json.dumps(body).encode()), timeout=10).close()

    def counts(self, detail: str = "totals") -> dict:
        """Everything it counted."""
        return json.loads(get(f"http://127.0.0.1:{self.admin}/counts?detail={detail}", 120))

    def unique(self) -> int:
        """Different items that came."""
        return sum(run["unique_items"] for run in self.counts()["runs"])

    def received(self) -> dict[tuple, Ranges]:
        """What came, by run, signal and worker."""
        found = {}
        for run in self.counts("workers")["runs"]:
            for worker in run["workers"]:
                if not worker["received_is_complete"]:
                    raise Violation(f"backend {self.name} could not list all gaps")
                found[(run["run_id"], run["signal"], worker["worker_id"])] = worker["received"]
        return found

    def duplicates(self) -> int:
        """Items that came again."""
        return sum(run["duplicate_items"] for run in self.counts()["runs"])


@dataclasses.dataclass
class Subject:
    """One running Crossfade."""

    process: Process
    ready_s: float


class Lab:
    """The processes and the directory of one run; stops only what it started."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        self.crossfade = binary()
        self.entry, self.admin, self.telemetry, self.health = (free_port() for _ in range(4))
        self._processes: list[Process] = []
        self._starts = 0

    def close(self) -> None:
        """Ends everything that still runs."""
        for process in reversed(self._processes):
            process.stop()
        self._processes.clear()

    def start(self, name: str, argv: list[object]) -> Process:
        """Starts a program."""
        process = Process(name, [str(argument) for argument in argv], self.directory / f"{name}.log", None)
        self._processes.append(process)
        return process

    def forget(self, process: Process) -> None:
        """A process that has ended need not be stopped."""
        process.stop()
        self._processes.remove(process)

    # === the program under test ===

    def exec(self, config: pathlib.Path) -> Process:
        """Starts Crossfade and does not wait for it."""
        self._starts += 1
        return self.start(f"crossfade-{self._starts:04}", [self.crossfade, "run", "--config", config])

    def run(self, config: pathlib.Path, port: int | None = None) -> Subject:
        """Starts Crossfade; ready when its receiver listens."""
        started = time.monotonic()
        process = self.exec(config)
        entry = port or self.entry
        wait_for("it listens", lambda: accepts(entry), READY_S_MAX, process, 0.001)
        return Subject(process, time.monotonic() - started)

    def ledger(self) -> dict:
        """`GET /api/v1/ledger`."""
        return json.loads(get(f"http://127.0.0.1:{self.admin}/api/v1/ledger"))

    def metrics(self) -> dict[str, float]:
        """The process's own metrics, by name with labels as they are written."""
        lines = get(f"http://127.0.0.1:{self.telemetry}/metrics").splitlines()
        samples = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, value in samples}

    def pending(self) -> int:
        """Items that wait, over all lines."""
        return sum(line["pending_items"] for line in self.ledger()["lines"])

    # === traffic ===

    def send(self, run_id: int, amount: list[str], rate: int, *, signals: str = "all", retry_for: str = "120s",
             connections: int = 2, in_flight: int = 4, items_per_request: int = ITEMS_PER_REQUEST) -> Process:
        """Starts a sender; `amount` is `--items N` or `--duration D`."""
        return self.start(
            f"send-{run_id}",
            [self.crossfade, "load", "send", "--endpoint", f"http://127.0.0.1:{self.entry}", "--signal", signals, "--rate", rate,
             *amount, "--retry-for", retry_for, "--connections", connections, "--in-flight", in_flight,
             "--items-per-request", items_per_request, "--run-id", run_id, "--format", "json"],
        )


def accepts(port: int) -> bool:
    """Whether something accepts connections on this port of loopback."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def report(process: Process) -> dict:
    """What an ended sender reports."""
    text = process.log.read_text()
    if process.popen.returncode != 0:
        raise Violation(f"{process.name} ended with code {process.popen.returncode}:\n{process.tail()}")
    return json.loads(text[text.index("{"):])


def acknowledged(reports: list[dict]) -> dict[tuple, Ranges]:
    """What was acknowledged, by run, signal and worker."""
    return {
        (sent["run_id"], worker["signal"], worker["worker_id"]): worker["acked"]
        for sent in reports
        for worker in sent["workers"]
    }


def missing(wanted: dict[tuple, Ranges], there: dict[tuple, Ranges]) -> dict[tuple, Ranges]:
    """What of `wanted` is not `there`."""
    gaps = {key: subtract(ranges, there.get(key, [])) for key, ranges in wanted.items()}
    return {key: ranges for key, ranges in gaps.items() if ranges}


def subtract(wanted: Ranges, there: Ranges) -> Ranges:
    """The parts of `wanted` outside `there`; both are in order."""
    left, at = [], 0
    for first, last in wanted:
        while at < len(there) and there[at][1] < first:
            at += 1
        look = at
        while look < len(there) and there[look][0] <= last and first <= last:
            if there[look][0] > first:
                left.append([first, there[look][0] - 1])
            first = max(first, there[look][1] + 1)
            look += 1
        if first <= last:
            left.append([first, last])
    return left


def size(of: dict[tuple, Ranges]) -> int:
    """How many items these are."""
    return sum(last - first + 1 for ranges in of.values() for first, last in ranges)


def unbalanced(ledger: dict) -> list[str]:
    """The lines that do not add up, counted here once more and not only believed."""
    wrong = []
    for line in ledger["lines"]:
        parts = line["delivered_items"] + sum(line["rejected_items"].values()) + sum(line["dropped_items"].values())
        if line["accepted_items"] != parts + line["pending_items"] or not line["balanced"]:
            wrong.append(f"{line['pipeline']} to {line['exporter']}: {json.dumps(line)}")
    if not ledger["balanced"] and not wrong:
        wrong.append("the ledger says that it does not balance, and each line does")
    return wrong


def dropped(ledger: dict) -> dict[str, int]:
    """Rejected and dropped items by cause, over all lines."""
    sums: dict[str, int] = {}
    for line in ledger["lines"]:
        for kind in ("rejected_items", "dropped_items"):
            for cause, items in line[kind].items():
                sums[cause] = sums.get(cause, 0) + items
    return sums


def disk_bytes(directory: pathlib.Path) -> int:
    """What the files of a directory hold."""
    return sum(path.stat().st_size for path in directory.iterdir() if path.is_file())


def quartiles(values: list[float]) -> dict[str, float]:
    """The least, the middle and the largest."""
    ordered = sorted(values)
    return {"min": ordered[0], "median": ordered[len(ordered) // 2], "max": ordered[-1]} if ordered else {}


def command_line() -> str:
    """How this run is repeated."""
    return " ".join(["python3", f"bench/{pathlib.Path(sys.argv[0]).name}", *sys.argv[1:]])


def version(crossfade: pathlib.Path) -> str:
    """What the program says of itself."""
    return subprocess.run([str(crossfade), "--version"], capture_output=True, text=True).stdout.strip()
