#!/usr/bin/env python3
"""Ends Crossfade with SIGKILL again and again, under load, and looks what became of everything it acknowledged.

All three signals come in over OTLP; five pipelines share the receiver, so that one request is an append to several
streams of the journal. They go to two backends that count identities. One of them refuses or hangs for random spells, so
that a backlog waits. Each kill comes at a random moment, one in eight while the process still starts; it is started again
at once, and the ledger is looked at after each start. In the end everything is drained, and the identities that senders
had acknowledged are compared with those that came.

    python3 bench/crash.py --kills 200 --seed 1

Ends with code 1 if anything acknowledged is lost, if a backend has more duplicates than were in flight at the kills, if
the ledger did not balance at any look, or if `crossfade journal verify` finds damage in the end. CROSSFADE_BIN names a
binary; target/release/crossfade is the default.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time

import durable
import meter
from durable import ITEMS_PER_REQUEST, Backend, Lab, Violation, say

CONSUMERS = 4
BATCH_ITEMS = 1000
# A group ends with the record that makes it large enough.
GROUP_ITEMS_MAX = BATCH_ITEMS + ITEMS_PER_REQUEST - 1
CONNECTIONS, IN_FLIGHT = 2, 4
SENDER_S = 20
DRAIN_S_MAX = 180.0
START_KILL_SHARE = 1 / 8

CONFIG = """\
receivers: {{otlp: {{protocols: {{grpc: {{endpoint: "127.0.0.1:{entry}"}}}}}}}}
processors: {{batch: {{send_batch_size: {batch}, timeout: 50ms}}}}
exporters:
  otlp/steady: &exporter
    endpoint: 127.0.0.1:{steady}
    tls: {{insecure: true}}
    compression: none
    timeout: 5s
    sending_queue: {{num_consumers: {consumers}{storage}}}
    retry_on_failure: {{initial_interval: 50ms, max_interval: 500ms}}
  otlp/shaky:
    <<: *exporter
    endpoint: 127.0.0.1:{shaky}
journal: {{{journal}sync: {sync}, retention: {{size: {retention}}}, when_full: {when_full}}}
extensions: {{{extension}}}
admin: {{endpoint: "127.0.0.1:{admin}"}}
service:
  extensions: [{extensions}]
  telemetry: {{metrics: {{address: "127.0.0.1:{telemetry}"}}}}
  pipelines:
    traces/steady: {{receivers: [otlp], exporters: [otlp/steady]}}
    traces/shaky: {{receivers: [otlp], processors: [batch], exporters: [otlp/shaky]}}
    metrics: {{receivers: [otlp], processors: [batch], exporters: [otlp/steady, otlp/shaky]}}
    logs/steady: {{receivers: [otlp], processors: [batch], exporters: [otlp/steady]}}
    logs/shaky: {{receivers: [otlp], exporters: [otlp/shaky]}}
"""


class Spells(threading.Thread):
    """Makes a backend refuse or hang, for a while, again and again, until it is told to stop."""

    def __init__(self, backend: Backend, seed: int) -> None:
        super().__init__(daemon=True)
        self.backend, self.random, self.over = backend, random.Random(seed), threading.Event()
        self.count = 0

    def run(self) -> None:
        while not self.over.wait(self.random.uniform(0.3, 3)):
            kind = self.random.choice(["refuse", "refuse", "throttle", "hang"])
            for_s = self.random.uniform(0.2, 4)
            # Without a pause that it asks for, a throttling backend refuses for good.
            self.backend.fault(kind, int(for_s * 1000), 100 if kind == "throttle" else None)
            self.count += 1
            self.over.wait(for_s)

    def stop(self) -> None:
        """The backend is well from now on."""
        self.over.set()
        self.join()
        self.backend.fault("healthy")


class Senders(threading.Thread):
    """One sender after another, because a sender reports when it ends; each with a run of its own."""

    def __init__(self, lab: Lab, rate: int) -> None:
        super().__init__(daemon=True)
        self.lab, self.rate, self.over = lab, rate, threading.Event()
        self.reports: list[dict] = []
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            run_id = 0
            while not self.over.is_set():
                run_id += 1
                process = self.lab.send(
                    run_id, ["--duration", f"{SENDER_S}s"], self.rate, connections=CONNECTIONS, in_flight=IN_FLIGHT
                )
                process.popen.wait()
                self.reports.append(durable.report(process))
        except Exception as error:  # Told by whoever joins.
            self.error = error

    def workers(self) -> int:
        """Requests that were under way at once, at most."""
        return max((len(report["workers"]) for report in self.reports), default=0)


class Run:
    """One run, from the first start to the comparison."""

    def __init__(self, arguments: argparse.Namespace, directory: pathlib.Path) -> None:
        self.arguments, self.directory = arguments, directory
        self.random = random.Random(arguments.seed)
        self.lab = Lab(directory)
        self.ready_s: list[float] = []
        self.looks = self.unbalanced_looks = self.start_kills = 0
        self.maybe_twice = 0
        self.pending_max = 0
        self.violations: list[str] = []
        self.accepted: dict[tuple[str, str], int] = {}
        self.threads: list[Spells | Senders] = []

    def close(self) -> None:
        """Ends everything, and lets nothing begin again."""
        for thread in self.threads:
            thread.over.set()
        self.lab.close()

    def go(self) -> dict:
        """Everything; returns the summary."""
        steady, shaky = Backend(self.lab, "steady"), Backend(self.lab, "shaky")
        config = self._config(steady, shaky)
        began = time.monotonic()
        subject = self.lab.run(config)
        spells, senders = Spells(shaky, self.arguments.seed + 1), Senders(self.lab, self.arguments.rate)
        self.threads = [spells, senders]
        spells.start()
        senders.start()
        for kill in range(1, self.arguments.kills + 1):
            subject = self._kill(subject, config)
            if kill % 10 == 0 or kill == self.arguments.kills:
                say(f"{kill} kills, {time.monotonic() - began:.0f} s, recovery median "
                    f"{durable.quartiles(self.ready_s)['median'] * 1000:.0f} ms, pending up to {self.pending_max} items, "
                    f"{len(self.violations)} violations")
        spells.stop()
        senders.over.set()
        senders.join()
        if senders.error is not None:
            raise senders.error
        drain_s = self._drain(subject)
        summary = self._summary([steady, shaky], senders, spells, time.monotonic() - began, drain_s)
        self.lab.forget(subject.process)
        self._verify(config)
        return summary | {"ok": not self.violations, "violations": self.violations}

    def _verify(self, config: pathlib.Path) -> None:
        """Every checksum of what hundreds of writers left behind."""
        argv = [str(self.lab.crossfade), "journal", "verify", "--config", str(config)]
        done = subprocess.run(argv, capture_output=True, text=True)
        if done.returncode != 0:
            self._violate(f"`journal verify` ends with code {done.returncode}: {done.stdout[-500:]} {done.stderr[-500:]}")

    def _config(self, steady: Backend, shaky: Backend) -> pathlib.Path:
        path = self.directory / "crash.yaml"
        directory = self.directory / "journal"
        if self.arguments.file_storage:
            place = {"journal": "", "storage": ", storage: file_storage", "extensions": "file_storage",
                     "extension": f"file_storage: {{directory: {directory}}}"}
        else:
            place = {"journal": f"storage: disk, directory: {directory}, ", "storage": "", "extensions": "", "extension": ""}
        path.write_text(CONFIG.format(
            entry=self.lab.entry, admin=self.lab.admin, telemetry=self.lab.telemetry, steady=steady.port, shaky=shaky.port,
            consumers=CONSUMERS, batch=BATCH_ITEMS, sync=self.arguments.sync,
            retention=self.arguments.retention, when_full=self.arguments.when_full, **place,
        ))
        return path

    # === killing ===

    def _kill(self, subject: durable.Subject, config: pathlib.Path) -> durable.Subject:
        time.sleep(self.random.uniform(0, 2 * self.arguments.between))
        self._look("before a kill")
        self._end(subject.process)
        while self.random.random() < START_KILL_SHARE:
            starting = self.lab.exec(config)
            time.sleep(self.random.uniform(0, 0.08))
            self._end(starting)
            self.start_kills += 1
        subject = self.lab.run(config)
        self.ready_s.append(subject.ready_s)
        ledger = self._look("after a start")
        self.maybe_twice += ledger["journal_disk"]["maybe_twice_items"]
        return subject

    def _end(self, process) -> None:
        if not process.running():
            raise Violation(f"it ended by itself with code {process.popen.returncode}:\n{process.tail()}")
        process.kill()
        self.lab.forget(process)
        # A log that says nothing more is not kept: hundreds of them would only hide what matters.
        if "panicked" in process.log.read_text(errors="replace"):
            self.violations.append(f"{process.log} tells of a panic")

    def _look(self, when: str) -> dict:
        durable.wait_for("the admin API answers", lambda: durable.accepts(self.lab.admin), 10)
        ledger = self.lab.ledger()
        self.looks += 1
        wrong = durable.unbalanced(ledger)
        if wrong:
            self.unbalanced_looks += 1
            self._violate(f"the ledger does not balance {when}: " + "; ".join(wrong))
        for line in ledger["lines"]:
            key = (line["pipeline"], line["exporter"])
            if line["accepted_items"] < self.accepted.get(key, 0):
                self._violate(f"{key} had accepted {self.accepted[key]} items, and {line['accepted_items']} {when}")
            self.accepted[key] = line["accepted_items"]
        self.pending_max = max(self.pending_max, sum(line["pending_items"] for line in ledger["lines"]))
        return ledger

    def _violate(self, text: str) -> None:
        say(f"VIOLATION: {text}")
        self.violations.append(text)

    # === the end ===

    def _drain(self, subject: durable.Subject) -> float:
        started = time.monotonic()
        try:
            durable.wait_for("nothing is pending", lambda: self.lab.pending() == 0, DRAIN_S_MAX, subject.process, 0.1)
        except Violation as violation:
            self._violate(str(violation))
        return time.monotonic() - started

    def _summary(self, backends, senders: Senders, spells: Spells, seconds: float, drain_s: float) -> dict:
        ledger = self._look("at the end")
        acked = durable.acknowledged(senders.reports)
        kills = self.arguments.kills + self.start_kills
        sent_bound = kills * senders.workers() * ITEMS_PER_REQUEST
        delivered_bound = kills * CONSUMERS * GROUP_ITEMS_MAX
        arrived = {}
        for backend in backends:
            lost = durable.missing(acked, backend.received())
            lost_items = durable.size(lost)
            unique, duplicates = backend.unique(), backend.duplicates()
            lines = [line for line in ledger["lines"] if line["exporter"] == f"otlp/{backend.name}"]
            accepted = sum(line["accepted_items"] for line in lines)
            # A sender that got no answer sends again what the journal has: each is accepted twice, and rightly delivered.
            made_room = sum(line["dropped_items"].get("journal_full", 0) for line in lines)
            sent_twice, delivered_twice = accepted - unique - lost_items, unique + duplicates + made_room - accepted
            arrived[backend.name] = {"lost_items": lost_items, "made_room_items": made_room, "unique_items": unique, "duplicate_items": duplicates,
                                     "sent_twice_items": sent_twice, "delivered_twice_items": delivered_twice}
            # With drop_oldest, what made room is lost, and counted. What was sent twice may be dropped once and come once.
            if lost_items > made_room or delivered_twice < 0:
                (self.directory / f"lost-{backend.name}.json").write_text(json.dumps([[*key, ranges] for key, ranges in lost.items()]))
                self._violate(f"{lost_items} acknowledged items never came to backend {backend.name}, {made_room} made room, "
                              f"{delivered_twice} were delivered twice")
            if sent_twice > sent_bound:
                self._violate(f"backend {backend.name}: senders repeated {sent_twice} items, more than {sent_bound}")
            if delivered_twice > delivered_bound:
                self._violate(f"backend {backend.name}: {delivered_twice} items were delivered twice, more than {delivered_bound}")
        given_up = set(durable.dropped(ledger)) - ({"journal_full"} if self.arguments.when_full == "drop_oldest" else set())
        if given_up:
            self._violate(f"items were given up: {durable.dropped(ledger)}")
        total = lambda name: sum(report[name] for report in senders.reports)  # noqa: E731
        return {
            "command": durable.command_line(), "version": durable.version(self.lab.crossfade), "machine": meter.machine(),
            "kills": kills, "start_kills": self.start_kills, "seed": self.arguments.seed, "sync": self.arguments.sync,
            "seconds": round(seconds, 1), "fault_spells": spells.count,
            "acknowledged_items": total("acked_items"), "unknown_items": total("failed_items"), "retries": total("retries"),
            "ledger_accepted_items": sum(line["accepted_items"] for line in ledger["lines"]),
            "ledger_looks": self.looks, "unbalanced_looks": self.unbalanced_looks,
            "backends": arrived, "sent_twice_bound": sent_bound, "delivered_twice_bound": delivered_bound,
            "sent_twice_bound_is": f"{kills} kills x {senders.workers()} requests x {ITEMS_PER_REQUEST} items",
            "delivered_twice_bound_is": f"{kills} kills x {CONSUMERS} consumers x {GROUP_ITEMS_MAX} items",
            "maybe_twice_items": self.maybe_twice, "pending_items_max": self.pending_max,
            "recovery_s": {name: round(value, 4) for name, value in durable.quartiles(self.ready_s).items()},
            "drain_s": round(drain_s, 1),
        }


def text(summary: dict) -> str:
    """The summary for people."""
    recovery = {name: f"{value * 1000:.0f} ms" for name, value in summary["recovery_s"].items()}
    lines = [
        f"{summary['command']}    ({summary['version']}, {summary['machine']['cores']} cores)",
        f"kills                 {summary['kills']}, of them {summary['start_kills']} during a start; {summary['seconds']:.0f} s, "
        f"{summary['fault_spells']} spells of a refusing or hanging backend",
        f"acknowledged          {summary['acknowledged_items']} items ({summary['retries']} requests had to be repeated)",
    ]
    for name, arrived in summary["backends"].items():
        lines.append(f"backend {name:<13} lost {arrived['lost_items']} ({arrived['made_room_items']} made room), came {arrived['unique_items']}, "
                     f"twice {arrived['duplicate_items']}: {arrived['sent_twice_items']} sent twice, "
                     f"{arrived['delivered_twice_items']} delivered twice")
    lines += [
        f"sent twice at most    {summary['sent_twice_bound']} = {summary['sent_twice_bound_is']}",
        f"delivered at most     {summary['delivered_twice_bound']} = {summary['delivered_twice_bound_is']}",
        f"told after starts     {summary['maybe_twice_items']} items that may arrive twice",
        f"ledger                {summary['ledger_looks']} looks, {summary['unbalanced_looks']} unbalanced; pending up to "
        f"{summary['pending_items_max']} items",
        f"recovery              {recovery['min']} / {recovery['median']} / {recovery['max']} from exec to listening (min, median, max)",
        f"last backlog drained  {summary['drain_s']} s",
        "ok" if summary["ok"] else "NOT OK: " + "\n".join(summary["violations"]),
    ]
    return "\n".join(lines)


def main() -> int:
    """Runs it and says what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1, help="chooses the moments and the spells")
    parser.add_argument("--rate", type=int, default=6000, help="items a second, of all signals together")
    parser.add_argument("--between", type=float, default=0.8, help="seconds between two kills, on average")
    parser.add_argument("--sync", default="on_fsync", choices=["on_fsync", "interval", "on_write"])
    parser.add_argument("--retention", default="1GiB", help="a small one makes segments leave, and senders wait")
    parser.add_argument("--when-full", default="refuse", choices=["refuse", "drop_oldest"])
    parser.add_argument("--file-storage", action="store_true", help="the journal lies where the Collector's file_storage says")
    parser.add_argument("--format", default="text", choices=["text", "json"])
    parser.add_argument("--scratch", type=pathlib.Path, help="where the journal lies; the system's directory for such things")
    arguments = parser.parse_args()
    durable.end_on_sigterm()
    directory = pathlib.Path(tempfile.mkdtemp(prefix="crossfade-crash-", dir=arguments.scratch))
    run = Run(arguments, directory)
    try:
        summary = run.go()
    except Violation as violation:
        say(f"VIOLATION: {violation}\nlogs and journal: {directory}")
        return 1
    finally:
        run.close()
    print(json.dumps(summary, indent=2) if arguments.format == "json" else text(summary))
    if not summary["ok"]:
        say(f"logs and journal: {directory}")
        return 1
    shutil.rmtree(directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
