#!/usr/bin/env python3
"""Figures of the journal on disk: what it costs beside memory, how fast a backlog leaves it, how soon it starts.

    throughput   the same work with storage memory and with each sync mode of storage disk, taking turns: items a second
                 until the backend has everything, and CPU seconds of the process for each item
    drain        the backend is down while --drain-gib of payload is taken; the pages of the journal are dropped from the
                 cache, the backend comes back, and the backlog leaves: MB of payload a second, and resident memory
    writes       bytes written for each byte of payload, with one exporter and with two
    start        from exec to listening, with journals of several sizes, the pages dropped and in the cache

    python3 bench/journal.py --only throughput --runs 3
    python3 bench/journal.py --scratch /var/tmp --format json

CROSSFADE_BENCH_OTELCOL_STORAGE names an OpenTelemetry Collector that has the file_storage extension (such as the contrib
distribution); then throughput and drain are measured with its persistent queue as well. The journal lies in --scratch,
and it should be a real disk: on a tmpfs a sync costs nothing. Sender, backend and what is measured share the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import shutil
import signal
import statistics
import sys
import tempfile
import time

import durable
import meter
from durable import Backend, Lab, Subject, Violation, say, wait_for

THROUGHPUT_ITEMS = 1_000_000
CONNECTIONS = 4
# Large requests, so that the sender is not what is measured.
BACKLOG_ITEMS_PER_REQUEST = 1000
DRAIN_S_MAX = 300.0
SAMPLE_S = 0.1
MB = 1e6
MODES = ["memory", "on_fsync", "interval", "on_write"]
PEER = "CROSSFADE_BENCH_OTELCOL_STORAGE"
PEER_MODES = ["collector memory", "collector fsync", "collector no fsync"]

CONFIG = """\
receivers: {{otlp: {{protocols: {{grpc: {{endpoint: "127.0.0.1:{entry}", max_recv_msg_size_mib: 16}}}}}}}}
exporters:
{exporters}
journal: {{{journal}}}
admin: {{endpoint: "127.0.0.1:{admin}"}}
service:
  telemetry: {{metrics: {{address: "127.0.0.1:{telemetry}"}}}}
  pipelines:
    traces: &way {{receivers: [otlp], exporters: [{names}]}}
    metrics: *way
    logs: *way
"""

EXPORTER = """\
  otlp/{name}:
    endpoint: 127.0.0.1:{port}
    tls: {{insecure: true}}
    compression: none
    retry_on_failure: {{initial_interval: 100ms, max_interval: 500ms}}
"""

COLLECTOR = """\
receivers: {{otlp: {{protocols: {{grpc: {{endpoint: "127.0.0.1:{entry}", max_recv_msg_size_mib: 16}}}}}}}}
extensions: {{file_storage: {{directory: {directory}, create_directory: true, fsync: {fsync}}}}}
exporters:
  otlp/backend:
    endpoint: 127.0.0.1:{port}
    tls: {{insecure: true}}
    compression: none
    sending_queue: {{num_consumers: 10, queue_size: 10000000{storage}}}
    retry_on_failure: {{initial_interval: 100ms, max_interval: 500ms, max_elapsed_time: 0}}
service:
  extensions: [file_storage]
  telemetry: {{metrics: {{level: none}}}}
  pipelines:
    traces: &way {{receivers: [otlp], exporters: [otlp/backend]}}
    metrics: *way
    logs: *way
"""


class Bench(Lab):
    """The processes of one measurement."""

    def __init__(self, directory: pathlib.Path, mode: str, exporters: int = 1, retention: str = "20GiB") -> None:
        directory.mkdir(parents=True)
        super().__init__(directory)
        self.mode, self.journal, self.config = mode, directory / "journal", directory / "config.yaml"
        self.backends = [Backend(self, f"backend{number}") for number in range(exporters)]
        if mode.startswith("collector"):
            text = self._collector()
        else:
            disk = f"storage: disk, directory: {self.journal}, sync: {mode}"
            text = CONFIG.format(
                entry=self.entry, admin=self.admin, telemetry=self.telemetry,
                exporters="".join(EXPORTER.format(name=backend.name, port=backend.port) for backend in self.backends),
                names=", ".join(f"otlp/{backend.name}" for backend in self.backends),
                journal=f"{'storage: memory' if mode == 'memory' else disk}, retention: {{size: {retention}}}",
            )
        self.config.write_text(text)

    def _collector(self) -> str:
        storage = "" if self.mode == "collector memory" else ", storage: file_storage"
        fsync = "true" if self.mode == "collector fsync" else "false"
        return COLLECTOR.format(entry=self.entry, port=self.backends[0].port, directory=self.journal, fsync=fsync, storage=storage)

    def exec(self, config: pathlib.Path):
        """Starts what is measured."""
        if not self.mode.startswith("collector"):
            return super().exec(config)
        self._starts += 1
        return self.start(f"collector-{self._starts}", [os.environ[PEER], "--config", config])

    def take(self, run_id: int, items: int, per_request: int = durable.ITEMS_PER_REQUEST, requests: int = 32) -> dict:
        """Sends items as fast as they are acknowledged, so many requests at once."""
        sender = self.send(run_id, ["--items", str(items)], 0, connections=CONNECTIONS, in_flight=max(1, requests // CONNECTIONS),
                           items_per_request=per_request)
        sender.popen.wait()
        report = durable.report(sender)
        if report["acked_items"] != report["sent_items"]:
            raise Violation(f"not everything was acknowledged: {report['refusals']}")
        return report

    def await_arrival(self, items: int, seconds: float) -> None:
        """Waits until each backend has so many different items."""
        for backend in self.backends:
            wait_for(f"{items} items at the {backend.name}", lambda backend=backend: backend.unique() >= items, seconds)

    def drop_pages(self) -> None:
        """Takes the journal's pages out of the cache, so that they are read from the disk."""
        os.sync()
        for path in self.journal.rglob("*"):
            if path.is_file():
                with open(path, "rb") as file:
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


# === throughput ===


def throughput(arguments: argparse.Namespace, scratch: pathlib.Path) -> dict:
    """Each mode in turn, several times."""
    modes = MODES + (PEER_MODES if os.environ.get(PEER) else [])
    if arguments.mode:
        modes = [mode for mode in modes if mode in arguments.mode]
    runs: dict[str, list[dict]] = {mode: [] for mode in modes}
    for number in range(arguments.runs):
        # Each has its turn at each place of a round, so that what else goes on touches all alike.
        for mode in modes[number % len(modes):] + modes[:number % len(modes)]:
            bench = Bench(scratch / f"{mode.replace(' ', '-')}-{number}", mode, retention="2GiB")
            try:
                found = _flow(bench, arguments)
            finally:
                bench.close()
                shutil.rmtree(bench.directory)
            runs[mode].append(found)
            say(f"throughput {mode} run {number + 1}: {found}")
    summary = {}
    for mode in modes:
        median = {name: statistics.median(run[name] for run in runs[mode]) for name in ("items_per_s", "cpu_us_per_item")}
        base = "memory" if mode in MODES else "collector memory"
        of = {name: statistics.median(run[name] for run in runs[base]) for name in median}
        summary[mode] = median | {
            "throughput_of_memory": round(median["items_per_s"] / of["items_per_s"], 3),
            "cpu_of_memory": round(median["cpu_us_per_item"] / of["cpu_us_per_item"], 3),
        }
    return {"items": arguments.items, "requests_at_once": arguments.requests, "items_per_request": durable.ITEMS_PER_REQUEST,
            "sync_ms": _sync_ms(scratch), "runs": runs, "median": summary}


def _sync_ms(scratch: pathlib.Path) -> float:
    """What this disk needs to write and sync one MiB, in the middle."""
    path, taken = scratch / "probe", []
    with open(path, "wb") as file:
        file.write(bytes(64 << 20))
        file.flush()
        os.fsync(file.fileno())
        file.seek(0)
        for _ in range(50):
            started = time.monotonic()
            file.write(bytes(1 << 20))
            file.flush()
            os.fdatasync(file.fileno())
            taken.append(time.monotonic() - started)
    path.unlink()
    return round(statistics.median(taken) * 1000, 2)


def _flow(bench: Bench, arguments: argparse.Namespace) -> dict:
    subject = bench.run(bench.config)
    items = arguments.items
    warm = items // 10
    bench.take(1, warm)
    bench.await_arrival(warm, 60)
    cpu, started = meter.cpu_seconds(subject.process.pid), time.monotonic()
    report = bench.take(2, items, requests=arguments.requests)
    bench.await_arrival(warm + items, 120)
    seconds = time.monotonic() - started
    # What is left to do after the last item, such as entering deliveries into the ledger, belongs to the work.
    time.sleep(0.3)
    spent = meter.cpu_seconds(subject.process.pid) - cpu
    return {
        "items_per_s": round(items / seconds), "cpu_us_per_item": round(spent * 1e6 / items, 3),
        "acknowledged_p50_ms": report["latency"]["p50_ms"], "acknowledged_p99_ms": report["latency"]["p99_ms"],
        "payload_bytes": report["bytes"], "twice_items": bench.backends[0].duplicates(),
        "load_average": round(meter.load_average(), 1),
    }


# === drain ===


def drain(arguments: argparse.Namespace, scratch: pathlib.Path) -> dict:
    """A backlog leaves, to a backend that counts identities, and to one that only says yes."""
    found = {}
    modes = ["on_fsync"] + (["collector fsync"] if os.environ.get(PEER) else [])
    for mode in modes:
        for taking in ("counts", "only says yes"):
            bench = Bench(scratch / f"drain-{mode.replace(' ', '-')}-{taking.replace(' ', '-')}", mode)
            try:
                found[f"{mode}, backend {taking}"] = _drain(bench, arguments.drain_gib, taking)
            except Violation as violation:
                found[f"{mode}, backend {taking}"] = {"error": str(violation)}
            finally:
                bench.close()
                shutil.rmtree(bench.directory)
            say(f"drain {mode}, backend {taking}: {found[f'{mode}, backend {taking}']}")
    return found


def _drain(bench: Bench, gib: float, taking: str) -> dict:
    backend = bench.backends[0]
    backend.fault("refuse", retry_after_ms=100)
    subject = bench.run(bench.config)
    payload, items, run_id, started = 0, 0, 0, time.monotonic()
    while payload < gib * 2**30:
        run_id += 1
        report = bench.take(run_id, 500_000, BACKLOG_ITEMS_PER_REQUEST)
        payload, items = payload + report["bytes"], items + report["sent_items"]
    taken_s = time.monotonic() - started
    on_disk = sum(path.stat().st_size for path in bench.journal.rglob("*") if path.is_file())
    before = meter.memory_bytes(subject.process.pid)
    bench.drop_pages()
    cpu = meter.cpu_seconds(subject.process.pid)
    backend.fault("healthy" if taking == "counts" else "swallow")
    begun = backend.counts()["answers"]
    started, samples = time.monotonic(), []
    last = started
    while time.monotonic() - started < DRAIN_S_MAX and not _has_left(bench, backend, items, begun, taking, report):
        samples.append(meter.memory_bytes(subject.process.pid)["now"])
        time.sleep(SAMPLE_S)
        last = time.monotonic()
    seconds = last - started
    if seconds >= DRAIN_S_MAX:
        raise Violation(f"{DRAIN_S_MAX:.0f} s were not enough")
    if taking == "counts" and backend.unique() != items:
        raise Violation(f"{backend.unique()} of {items} items came: {backend.counts()['runs']}")
    if not bench.mode.startswith("collector") and durable.dropped(bench.ledger()):
        raise Violation(f"items were given up: {durable.dropped(bench.ledger())}")
    return {
        "items": items, "payload_mb": round(payload / MB), "on_disk_mb": round(on_disk / MB), "taken_mb_per_s": round(payload / MB / taken_s, 1),
        "drained_s": round(seconds, 2), "drained_mb_per_s": round(payload / MB / seconds, 1),
        "drained_items_per_s": round(items / seconds),
        "cpu_s": round(meter.cpu_seconds(subject.process.pid) - cpu, 2),
        "resident_mb_before": round(before["now"] / MB), "resident_mb_median": round(statistics.median(samples) / MB),
        "resident_mb_max": round(max(samples) / MB), "load_average": round(meter.load_average(), 1),
    }


def _has_left(bench: Bench, backend: Backend, items: int, begun: dict, taking: str, report: dict) -> bool:
    if not bench.mode.startswith("collector"):
        return bench.pending() == 0
    if taking == "counts":
        return backend.unique() >= items
    swallowed = backend.counts()["answers"]["swallowed"] - begun["swallowed"]
    return swallowed * BACKLOG_ITEMS_PER_REQUEST >= items


# === writes ===


def writes(arguments: argparse.Namespace, scratch: pathlib.Path) -> dict:
    """A record is written once, however many exporters read it."""
    found = {}
    for exporters in (1, 2):
        bench = Bench(scratch / f"writes-{exporters}", "on_fsync", exporters, retention="4GiB")
        try:
            bench.run(bench.config)
            report = bench.take(1, arguments.items)
            bench.await_arrival(arguments.items, 120)
            wait_for("everything is settled", lambda: bench.pending() == 0, 20)
            time.sleep(0.5)
            metrics = bench.metrics()
        finally:
            bench.close()
            shutil.rmtree(bench.directory)
        written = metrics["crossfade_journal_written_bytes"]
        found[f"{exporters} exporter{'s' if exporters > 1 else ''}"] = {
            "payload_bytes": report["bytes"], "written_bytes": round(written), "amplification": round(written / report["bytes"], 4),
            "commits": round(metrics["crossfade_journal_commits"]),
        }
        say(f"writes {exporters}: {list(found.values())[-1]}")
    return found


# === start ===


def start(arguments: argparse.Namespace, scratch: pathlib.Path) -> dict:
    """A journal grows, and is started at several sizes, after an orderly stop and after SIGKILL."""
    bench = Bench(scratch / "start", "on_write", retention=f"{max(arguments.sizes_gib) * 2:g}GiB")
    found, run_id = {}, 0
    try:
        bench.backends[0].fault("refuse", retry_after_ms=1000)
        subject = bench.run(bench.config)
        for gib in arguments.sizes_gib:
            while durable.disk_bytes(bench.journal) < gib * 2**30:
                run_id += 1
                bench.take(run_id, 300_000, BACKLOG_ITEMS_PER_REQUEST)
            killed, subject = _restarts(bench, subject, signal.SIGKILL)
            stopped, subject = _restarts(bench, subject, signal.SIGTERM)
            disk = bench.ledger()["journal_disk"]
            found[f"{gib:g} GiB"] = {"on_disk_mb": round(disk["size_bytes"] / MB), "segments": disk["segments"],
                                     "pending_items": bench.pending(), "after_sigkill_s": killed, "after_sigterm_s": stopped}
            say(f"start {gib:g} GiB: {found[f'{gib:g} GiB']}")
    finally:
        bench.close()
        shutil.rmtree(bench.directory)
    return found


def _restarts(bench: Bench, subject: Subject, how: signal.Signals) -> tuple[dict, Subject]:
    """Something is written, it ends, and starts: from the disk, and with its pages in the cache."""
    found = {}
    for cache in ("cold", "warm"):
        bench.take(int(time.monotonic() * 1000) % 2**30, 20_000)
        subject.process.signal(how)
        subject.process.popen.wait(60)
        bench.forget(subject.process)
        if cache == "cold":
            bench.drop_pages()
        subject = bench.run(bench.config)
        found[cache] = round(subject.ready_s, 3)
    return found, subject


# === the whole ===

PARTS = {"throughput": throughput, "drain": drain, "writes": writes, "start": start}


def text(results: dict) -> str:
    """What was measured, for people."""
    lines = [f"{results['command']}    ({results['version']}; {results['machine']})"]
    for part, found in results["parts"].items():
        rows = found["median"] if part == "throughput" else found
        lines.append(part if part != "throughput" else f"throughput ({found['requests_at_once']} requests of "
                     f"{found['items_per_request']} items at once; one MiB is written and synced in {found['sync_ms']} ms)")
        lines += [f"  {name:<34} " + ", ".join(f"{key} {value}" for key, value in row.items()) for name, row in rows.items()]
    return "\n".join(lines if os.environ.get(PEER) else [*lines, f"not measured: the Collector's persistent queue ({PEER} is not set)"])


def main() -> int:
    """Measures the parts that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=list(PARTS))
    parser.add_argument("--runs", type=int, default=3, help="of each mode, for throughput")
    parser.add_argument("--items", type=int, default=THROUGHPUT_ITEMS, help="items of a run, for throughput and writes")
    parser.add_argument("--requests", type=int, default=32, help="requests of 200 items under way at once, for throughput")
    parser.add_argument("--mode", action="append", help="only these modes, for throughput; memory is what the others are compared with")
    parser.add_argument("--drain-gib", type=float, default=2.0)
    parser.add_argument("--sizes-gib", type=float, nargs="+", default=[1, 4, 10])
    parser.add_argument("--format", default="text", choices=["text", "json"])
    parser.add_argument("--scratch", type=pathlib.Path, help="where the journals lie")
    arguments = parser.parse_args()
    durable.end_on_sigterm()
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="crossfade-journal-", dir=arguments.scratch))
    try:
        parts = {name: PARTS[name](arguments, scratch) for name in arguments.only or PARTS}
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    results = {"command": durable.command_line(), "version": durable.version(durable.binary()), "machine": meter.machine(), "parts": parts}
    print(json.dumps(results, indent=2) if arguments.format == "json" else text(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
