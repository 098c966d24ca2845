"""One run of one case by one peer."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import socket
import time
import urllib.request

import meter
from cases import Case
from harness.lab import Process, port_open
from peers import Peer

ITEMS_PER_REQUEST = 200
SEND_S_MAX = 300.0
READY_S_MAX = 60.0
DRAIN_S_MAX = 90.0
IDLE_S = 10.0
# The stalled backend: well, refusing, well, hanging, well, in seconds from the start of the traffic.
STALL_PHASES = {"before": (0, 15), "refusing": (15, 45), "between": (45, 60), "hanging": (60, 90), "after": (90, 120)}
FAULTS = {"refusing": "refuse", "hanging": "hang"}


@dataclasses.dataclass
class Work:
    """What one run needs to know."""

    case: Case
    peer: Peer
    crossfade: pathlib.Path
    directory: pathlib.Path
    # How much of the case's items is sent.
    share: float
    connections: int
    rate: int | None


def run(work: Work) -> dict:
    """Runs the case and returns what was measured."""
    bench = Bench(work)
    try:
        if work.case.kind == "idle":
            return bench.idle()
        if work.case.kind == "stalled":
            return bench.stalled()
        return bench.flow()
    finally:
        bench.close()


class Bench:
    """The processes of one run."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.processes: list[Process] = []
        self.ports = {
            name: _free_port()
            for name in ("GRPC_IN", "HTTP_IN", "GRPC_A", "GRPC_B", "HTTP_A", "HTTP_B", "REMOTE_WRITE_A",
                         "REMOTE_WRITE_B", "ADMIN_A", "ADMIN_B", "TELEMETRY")
        }

    # === processes ===

    def close(self) -> None:
        """Stops everything this run started."""
        for process in reversed(self.processes):
            process.stop()

    def _address(self, name: str) -> str:
        return f"127.0.0.1:{self.ports[name]}"

    def _start(self, name: str, argv: list[str], environment: dict[str, str] | None = None) -> Process:
        process = Process(name, argv, self.work.directory / f"{name}.log", environment)
        self.processes.append(process)
        return process

    def start_backends(self) -> None:
        """Both counting backends."""
        for side in ("A", "B"):
            if self.work.case.backend == "remote-write":
                listen = ["--remote-write", self._address(f"REMOTE_WRITE_{side}")]
            else:
                listen = ["--otlp-grpc", self._address(f"GRPC_{side}"), "--otlp-http", self._address(f"HTTP_{side}")]
            process = self._start(
                f"backend-{side.lower()}",
                [str(self.work.crossfade), "load", "receive", *listen, "--admin", self._address(f"ADMIN_{side}"), "--format", "json"],
            )
            _wait(f"backend {side}", lambda side=side: port_open(self.ports[f"ADMIN_{side}"]), READY_S_MAX, process)

    def start_subject(self) -> tuple[Process, float]:
        """The program that is measured, and the seconds from its start until it accepts."""
        wiring = {name: self._address(name) for name in self.ports}
        wiring |= {
            "TELEMETRY_PORT": str(self.ports["TELEMETRY"]),
            "COMPRESSION": self.work.case.compression_out,
            "SCRATCH": str(self.work.directory),
        }
        argv, environment = self.work.peer.command(self.work.case.template, wiring, self.work.directory)
        started = time.monotonic()
        process = self._start(self.work.peer.name, argv, environment)
        entry = self.ports["HTTP_IN" if self.work.case.protocol == "otlp-http" else "GRPC_IN"]
        while not port_open(entry):
            if not process.running():
                raise RuntimeError(f"{self.work.peer.name} ended:\n{process.tail()}")
            if time.monotonic() - started > READY_S_MAX:
                raise RuntimeError(f"{self.work.peer.name} is not ready after {READY_S_MAX:.0f} s")
            time.sleep(0.001)
        return process, time.monotonic() - started

    def send(self, run_id: int, amount: list[str], rate: int) -> Process:
        """Starts the generator; `amount` is how many items, or how long."""
        case = self.work.case
        endpoint = f"http://{self._address('GRPC_IN')}"
        if case.protocol == "otlp-http":
            path = "/opentelemetry" if self.work.peer.name == "vmagent" else ""
            endpoint = f"http://{self._address('HTTP_IN')}{path}"
        return self._start(
            f"send-{run_id}",
            [str(self.work.crossfade), "load", "send", "--to", case.protocol, "--endpoint", endpoint, "--signal", case.signal,
             "--rate", str(rate), *amount, "--connections", str(self.work.connections),
             "--items-per-request", str(ITEMS_PER_REQUEST), "--compression", case.compression_in, "--run-id", str(run_id),
             "--format", "json"],
        )

    # === what the backends counted ===

    def counts(self, side: str) -> dict:
        """Everything one backend counted."""
        return json.loads(_get(f"http://{self._address(f'ADMIN_{side}')}/counts"))

    def unique(self, side: str) -> int:
        """Different items at one backend."""
        return sum(run["unique_items"] for run in self.counts(side)["runs"])

    def await_arrival(self, wanted: int) -> None:
        """Waits until both backends hold `wanted` different items, or until nothing has moved for long."""
        deadline = time.monotonic() + DRAIN_S_MAX
        while time.monotonic() < deadline:
            if all(self.unique(side) >= wanted for side in ("A", "B")):
                return
            time.sleep(0.02)

    def outcome(self, sent: int) -> dict:
        """How complete the delivery was, at the worse of both backends."""
        found = {}
        for side in ("A", "B"):
            runs = self.counts(side)["runs"]
            found[side.lower()] = {
                "missing": sent - sum(run["unique_items"] for run in runs),
                "duplicates": sum(run["duplicate_items"] for run in runs),
                "out_of_order": sum(run["out_of_order_items"] for run in runs),
            }
        return found

    # === the three kinds of case ===

    def flow(self) -> dict:
        """Traffic for a while; CPU for each item."""
        case = self.work.case
        items = max(ITEMS_PER_REQUEST, round(case.items * self.work.share))
        rate = case.rate if self.work.rate is None else self.work.rate
        self.start_backends()
        subject, ready_s = self.start_subject()
        warm = _finish(self.send(1, ["--items", str(max(ITEMS_PER_REQUEST, items // 10))], rate), SEND_S_MAX)
        self.await_arrival(warm["sent_items"])
        before = meter.cpu_seconds(subject.pid)
        started = time.monotonic()
        report = _finish(self.send(2, ["--items", str(items)], rate), SEND_S_MAX)
        total = warm["sent_items"] + report["sent_items"]
        self.await_arrival(total)
        delivered_s = time.monotonic() - started
        spent = meter.cpu_seconds(subject.pid) - before
        return {
            "items": report["sent_items"],
            "cpu_us_per_item": round(spent * 1e6 / max(report["sent_items"], 1), 4),
            # From the first request until both backends hold everything.
            "items_per_s": round(report["sent_items"] / delivered_s),
            "sent": report,
            "peak_bytes": meter.memory_bytes(subject.pid)["peak"],
            "ready_s": round(ready_s, 4),
            "delivery": self.outcome(total),
        }

    def idle(self) -> dict:
        """Started, and nothing to do."""
        self.start_backends()
        subject, ready_s = self.start_subject()
        time.sleep(2)
        before = meter.cpu_seconds(subject.pid)
        time.sleep(IDLE_S)
        return {
            "ready_s": round(ready_s, 4),
            "resident_bytes": meter.memory_bytes(subject.pid)["now"],
            "idle_cpu_share": round((meter.cpu_seconds(subject.pid) - before) / IDLE_S, 5),
        }

    def stalled(self) -> dict:
        """One backend refuses, then hangs; the other's rate and the memory are watched."""
        self.start_backends()
        subject, _ = self.start_subject()
        end_s = max(end for _, end in STALL_PHASES.values())
        sender = self.send(1, ["--duration", f"{end_s}s"], self.work.case.rate)
        started, samples, pending = time.monotonic(), [], ["refusing", "hanging"]
        while (now := time.monotonic() - started) < end_s:
            if pending and now >= STALL_PHASES[pending[0]][0]:
                self._stall(pending.pop(0))
            samples.append((now, self.unique("A"), meter.memory_bytes(subject.pid)["now"]))
            time.sleep(1)
        report = _finish(sender, 120)
        self.await_arrival(report["sent_items"])
        rates = {name: _rate(samples, start, end) for name, (start, end) in STALL_PHASES.items()}
        return {
            "items": report["sent_items"],
            "offered_per_s": self.work.case.rate,
            "sent": report,
            "healthy_per_s": rates,
            "slowest_second_share": round(_slowest(samples) / self.work.case.rate, 3),
            "peak_bytes": meter.memory_bytes(subject.pid)["peak"],
            "resident_after_bytes": meter.memory_bytes(subject.pid)["now"],
            "delivery": self.outcome(report["sent_items"]),
        }

    def _stall(self, phase: str) -> None:
        start, end = STALL_PHASES[phase]
        body = json.dumps({"kind": FAULTS[phase], "for_ms": (end - start) * 1000})
        request = urllib.request.Request(
            f"http://{self._address('ADMIN_B')}/fault", data=body.encode(), headers={"Content-Type": "application/json"}
        )
        urllib.request.urlopen(request, timeout=5).close()


def _rate(samples: list[tuple[float, int, int]], start: float, end: float) -> int:
    inside = [sample for sample in samples if start + 2 <= sample[0] <= end]
    if len(inside) < 2:
        return 0
    return round((inside[-1][1] - inside[0][1]) / (inside[-1][0] - inside[0][0]))


def _slowest(samples: list[tuple[float, int, int]]) -> float:
    # Windows of three seconds, because a sample may fall beside a second's edge; the first two are the start.
    return min(
        (later[1] - earlier[1]) / (later[0] - earlier[0])
        for earlier, later in zip(samples[2:], samples[5:])
    )


def _finish(process: Process, seconds: float) -> dict:
    _wait(f"{process.name} ends", lambda: not process.running(), seconds, None)
    if process.popen.returncode != 0:
        raise RuntimeError(f"{process.name} ended with code {process.popen.returncode}:\n{process.tail()}")
    return _send_report(process.log.read_text())


def _send_report(text: str) -> dict:
    # The log holds what went to stderr too; the report is its one JSON value.
    report = json.loads(text[text.index("{") :])
    kept = ("sent_items", "acked_items", "rejected_items", "failed_items", "skipped_items", "acked_items_per_s", "retries",
            "refusals", "latency", "bytes", "wire_bytes", "duration_ms")
    return {name: report[name] for name in kept}


def _wait(what: str, done, seconds: float, process: Process | None) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        if process is not None and not process.running():
            raise RuntimeError(f"{process.name} ended:\n{process.tail()}")
        if time.monotonic() > deadline:
            raise RuntimeError(f"waited {seconds:.0f} s for: {what}")
        time.sleep(0.01)


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
