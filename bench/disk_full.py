#!/usr/bin/env python3
"""Fills the file system under the journal, makes it read-only, and looks whether Crossfade keeps its promises meanwhile.

The journal lies on a small file system of its own and may hold more than that has room for. Four parts, each with a
sender of identities and two backends, of which one is down while the trouble begins:

  full-freed       a file that is not ours takes all room; the file is deleted, the backend stays down
  full-delivered   our own backlog takes all room; the backend comes back, and nothing else is done
  device-error     ext4 goes read-only under load, as after an error of the device; both backends get what was accepted,
                   the file system is repaired, and Crossfade is started again
  read-only-start  Crossfade is started on a file system that is read-only, which is made writable while it runs

Each time: new data is refused with an error that senders repeat on, the metric, the ledger and health_check say so,
delivery goes on, and nothing acknowledged is lost. All but device-error recover by themselves.

    sudo env CROSSFADE_BIN=target/release/crossfade python3 bench/disk_full.py

It needs root, to mount; nothing else does. Ends with code 1 if anything was not as it should be.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import durable
from durable import Backend, Lab, Violation, say, wait_for

DISK_MIB = 96
RATE = 25000
ITEMS = 250_000
# More than there is room for.
ITEMS_FULL = 700_000
# What is sent before the trouble, where the trouble is not the backlog itself.
ITEMS_BEFORE = 20_000
HEALTH_LAG_S_MAX = 5.0
RECOVERY_S_MAX = 60.0

CONFIG = """\
receivers:
  otlp: {{protocols: {{grpc: {{endpoint: "127.0.0.1:{entry}"}}, http: {{endpoint: "127.0.0.1:{http}"}}}}}}
exporters:
  otlp/well: &exporter
    endpoint: 127.0.0.1:{well}
    tls: {{insecure: true}}
    compression: none
    retry_on_failure: {{initial_interval: 100ms, max_interval: 500ms}}
  otlp/down: {{<<: *exporter, endpoint: "127.0.0.1:{down}"}}
extensions: {{health_check: {{endpoint: "127.0.0.1:{health}"}}}}
journal: {{storage: disk, directory: {directory}, retention: {{size: 256MiB}}, memory: 4MiB}}
admin: {{endpoint: "127.0.0.1:{admin}"}}
service:
  extensions: [health_check]
  telemetry: {{metrics: {{address: "127.0.0.1:{telemetry}"}}}}
  pipelines:
    traces: &way {{receivers: [otlp], exporters: [otlp/well, otlp/down]}}
    metrics: *way
    logs: *way
"""


class Part:
    """One part of the run: its own file system, its own processes."""

    def __init__(self, name: str, scratch: pathlib.Path) -> None:
        self.name = name
        self.directory = scratch / name
        self.disk = self.directory / "disk"
        self.disk.mkdir(parents=True)
        self.lab = Lab(self.directory)
        self.http = durable.free_port()
        self.findings: dict[str, object] = {}
        self.violations: list[str] = []
        self.image = self.directory / "ext4"
        self.mounted = False

    def mount_tmpfs(self) -> None:
        """A file system in memory."""
        _run("mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "crossfade-disk-full", str(self.disk))
        self.mounted = True

    def mount_ext4(self) -> None:
        """A file system in a file, which can be made to fail."""
        if not self.image.exists():
            with open(self.image, "wb") as image:
                image.truncate(DISK_MIB << 20)
            _run("mkfs.ext4", "-q", "-m", "0", str(self.image))
        _run("mount", "-o", "loop,errors=remount-ro", str(self.image), str(self.disk))
        self.mounted = True

    def unmount(self) -> None:
        """Takes the file system away; nobody may use it."""
        if self.mounted:
            _run("umount", str(self.disk))
            self.mounted = False

    def close(self) -> None:
        """Ends the processes, then takes the file system away."""
        self.lab.close()
        self.unmount()

    def check(self, sentence: str, ok: bool, evidence: object = "") -> None:
        """Records one check."""
        say(f"{'ok  ' if ok else 'FAIL'} {self.name}: {sentence}" + (f" ({evidence})" if evidence != "" else ""))
        if not ok:
            self.violations.append(f"{self.name}: {sentence}: {evidence}")

    # === steps ===

    def begin(self, items: int = ITEMS) -> None:
        """Two backends, one of them down, Crossfade, and a sender."""
        self.well, self.down = Backend(self.lab, "well"), Backend(self.lab, "down")
        self.down.fault("refuse")
        config = self.directory / "config.yaml"
        config.write_text(CONFIG.format(
            entry=self.lab.entry, http=self.http, admin=self.lab.admin, telemetry=self.lab.telemetry, health=self.lab.health,
            well=self.well.port, down=self.down.port, directory=self.disk / "journal",
        ))
        self.config = config
        self.subject = self.lab.run(config)
        self.sender = self.lab.send(1, ["--items", str(items)], RATE, retry_for="120s")

    def await_trouble(self, words: str) -> None:
        """The disk is in trouble, and everybody is told."""
        wait_for("new data is refused", lambda: self.refusing() == 1, RECOVERY_S_MAX, self.subject.process)
        self.check("crossfade_journal_refusing is 1", True)
        try:
            wait_for("health_check tells it", lambda: words in self.health().get("trouble", ""), HEALTH_LAG_S_MAX)
        except Violation:
            pass
        health = self.health()
        self.check("health_check tells it", words in health.get("trouble", ""), health)
        self._keeps_telling(words)
        status = self._post()
        self.check("OTLP over HTTP answers 503, which senders repeat on", status == 503, status)
        self._delivery_goes_on()

    def _keeps_telling(self, words: str) -> None:
        """It must not look well because a few settlements found room; that something was accepted is a reason to."""
        silent, before = 0, None
        for _ in range(40):
            ledger = self.lab.ledger()
            accepted = sum(line["accepted_items"] for line in ledger["lines"])
            silent += words not in (ledger["journal_trouble"] or "") and accepted == before
            before = accepted
            time.sleep(0.05)
        self.check("/api/v1/ledger tells it at each look at which nothing was accepted", silent == 0, f"{silent} of 40 looks say nothing")

    def _delivery_goes_on(self) -> None:
        settled = lambda: self.lab.ledger()["lines"]  # noqa: E731
        is_well = lambda line: line["exporter"] == "otlp/well"  # noqa: E731
        try:
            wait_for("the healthy backend has all that was accepted",
                     lambda: all(line["pending_items"] == 0 for line in settled() if is_well(line)), 20, self.subject.process)
            self.check("what was accepted reaches the healthy backend meanwhile", True, f"{self.well.unique()} items")
        except Violation as violation:
            self.check("what was accepted reaches the healthy backend meanwhile", False, violation)

    def await_recovery(self) -> None:
        """It takes data again, with nobody's help."""
        started, before = time.monotonic(), self.accepted()
        wait_for("new data is taken", lambda: self.accepted() >= before + 1000, RECOVERY_S_MAX, self.subject.process)
        self.findings["recovered_s"] = round(time.monotonic() - started, 2)
        self.check("it takes data again by itself", True, f"after {self.findings['recovered_s']} s")
        try:
            wait_for("health_check is content", lambda: "trouble" not in self.health(), HEALTH_LAG_S_MAX)
            self.check("health_check is content, and the metric is 0", self.refusing() == 0)
        except Violation:
            self.check("health_check is content", False, self.health())

    def finish(self) -> None:
        """Everything is delivered and compared."""
        self.down.fault("healthy")
        wait_for("the sender ends", lambda: not self.sender.running(), 180)
        report = durable.report(self.sender)
        causes = [f"{refusal['cause']}: {refusal['example']}" for refusal in report["refusals"]]
        self.findings |= {"acknowledged_items": report["acked_items"], "failed_items": report["failed_items"],
                          "rejected_items": report["rejected_items"], "retries": report["retries"], "refusals": causes}
        self.check("every refusal over gRPC was one that senders repeat on", report["rejected_items"] == 0, causes)
        self.check("the sender got everything in at last", report["failed_items"] == 0, f"{report['acked_items']} items")
        wait_for("nothing is pending", lambda: self.lab.pending() == 0, 120, self.subject.process, 0.1)
        ledger = self.lab.ledger()
        self.check("the ledger balances", not durable.unbalanced(ledger), durable.unbalanced(ledger) or "")
        self.check("nothing was given up", not durable.dropped(ledger), durable.dropped(ledger) or "")
        acked = durable.acknowledged([report])
        for backend in (self.well, self.down):
            lost = durable.size(durable.missing(acked, backend.received()))
            self.findings[f"lost_at_{backend.name}"] = lost
            self.findings[f"twice_at_{backend.name}"] = backend.duplicates()
            self.check(f"nothing acknowledged is lost at backend {backend.name}", lost == 0, f"{lost} of {report['acked_items']}")
        self._restarts()

    def _restarts(self) -> None:
        """What is on the disk after all this can be read."""
        self.crash()
        self.subject = self.lab.run(self.config)
        ledger = self.lab.ledger()
        self.check("it starts again, and the ledger balances", not durable.unbalanced(ledger), durable.unbalanced(ledger) or "")

    def accepted(self) -> int:
        """Items that the journal took, of all lines."""
        return sum(line["accepted_items"] for line in self.lab.ledger()["lines"])

    def health(self) -> dict:
        """What health_check answers."""
        return json.loads(durable.get(f"http://127.0.0.1:{self.lab.health}/"))

    def await_traffic(self) -> None:
        """Some items have come through."""
        wait_for("some traffic", lambda: self.well.unique() > ITEMS_BEFORE, 30, self.subject.process)

    def crash(self) -> None:
        """SIGKILL."""
        self.subject.process.kill()
        self.lab.forget(self.subject.process)

    def refusing(self) -> float:
        """The metric."""
        return self.lab.metrics().get("crossfade_journal_refusing", 0)

    def _post(self) -> int:
        body = json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": {"stringValue": "x" * 100_000}}] * 10}]}]})
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.http}/v1/logs", data=body.encode(), headers={"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code


def full_freed(part: Part) -> None:
    """Somebody else's file takes the room, and goes away."""
    part.mount_tmpfs()
    part.begin()
    part.await_traffic()
    ballast = part.disk / "ballast"
    _fill(ballast)
    part.await_trouble("the disk is full")
    ballast.unlink()
    part.await_recovery()
    part.finish()


def full_delivered(part: Part) -> None:
    """Our own backlog takes the room, and is delivered."""
    part.mount_tmpfs()
    part.begin(ITEMS_FULL)
    part.await_trouble("the disk is full")
    part.down.fault("healthy")
    part.await_recovery()
    part.finish()


def device_error(part: Part) -> None:
    """The file system ends all writing under load; what was accepted goes out, and the next process goes on."""
    part.mount_ext4()
    part.begin()
    part.await_traffic()
    loop = subprocess.run(["findmnt", "-no", "SOURCE", str(part.disk)], capture_output=True, text=True, check=True).stdout.strip()
    pathlib.Path(f"/sys/fs/ext4/{pathlib.Path(loop).name}/trigger_fs_error").write_text("bench/disk_full.py")
    part.await_trouble("read-only")
    part.down.fault("healthy")
    wait_for("the backlog is delivered from the read-only disk", lambda: part.lab.pending() == 0, 30, part.subject.process)
    part.check("the backlog is delivered from the read-only disk", True, f"{part.down.unique()} items")
    part.check("the ledger balances meanwhile", not durable.unbalanced(part.lab.ledger()))
    part.crash()
    part.unmount()
    subprocess.run(["e2fsck", "-p", str(part.image)], stdout=subprocess.DEVNULL)
    part.mount_ext4()
    part.subject = part.lab.run(part.config)
    part.finish()


def read_only_start(part: Part) -> None:
    """What waits is delivered from a file system that cannot be written."""
    part.mount_tmpfs()
    part.begin()
    part.await_traffic()
    part.crash()
    _run("mount", "-o", "remount,ro", str(part.disk))
    try:
        part.subject = part.lab.run(part.config)
        part.await_trouble("read-only")
    finally:
        _run("mount", "-o", "remount,rw", str(part.disk))
    part.await_recovery()
    part.finish()


PARTS = {"full-freed": full_freed, "full-delivered": full_delivered, "device-error": device_error,
         "read-only-start": read_only_start}


def _fill(path: pathlib.Path) -> None:
    """Takes all room that is left."""
    with open(path, "wb", buffering=0) as file:
        try:
            while file.write(bytes(64 << 10)):
                pass
        except OSError:
            pass


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True)


def main() -> int:
    """Runs the parts and says what came of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=list(PARTS))
    parser.add_argument("--format", default="text", choices=["text", "json"])
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        say("this needs root: it mounts a small tmpfs of its own, and makes it read-only")
        return 2
    durable.end_on_sigterm()
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="crossfade-disk-"))
    violations, findings = [], {}
    for name in arguments.only or PARTS:
        part = Part(name, scratch)
        try:
            PARTS[name](part)
        except Violation as violation:
            part.check("it went to its end", False, violation)
        finally:
            part.close()
        violations += part.violations
        findings[name] = part.findings
    if arguments.format == "json":
        print(json.dumps({"command": durable.command_line(), "ok": not violations, "violations": violations, "parts": findings}, indent=2))
    else:
        print(_text(findings, violations))
    if violations:
        say(f"logs: {scratch}")
        return 1
    shutil.rmtree(scratch)
    return 0


def _text(findings: dict, violations: list[str]) -> str:
    lines = [durable.command_line()]
    for name, found in findings.items():
        lines.append(name)
        lines += [f"  {key:<20} {value}" for key, value in found.items()]
    return "\n".join([*lines, *(f"NOT OK: {violation}" for violation in violations)] if violations else [*lines, "ok"])


if __name__ == "__main__":
    sys.exit(main())
