#!/usr/bin/env python3
"""Damages a journal while a backlog waits in it, and looks whether every item is either delivered or counted as lost.

In each round a backlog is taken for a backend that is down, Crossfade is stopped, segment files are damaged at random
places (bits flipped, ranges zeroed, files cut, a file removed), and it is started again with the backend up. Then it must
have started, have delivered what is readable, and have counted the rest: the identities that are missing at the backend
are exactly as many as the ledger calls dropped/journal_damaged. Two things no program can know, and they are told apart:
records at the end of the newest file that are gone with all that was written after them are forgotten, so that the ledger
accepted fewer than before; and a file that was removed from the front looks as if retention had done it, journal_full.

    python3 bench/damage.py --rounds 12 --seed 1

Ends with code 1 if anything was not as it should be. CROSSFADE_BIN names a binary.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import random
import shutil
import signal
import sys
import tempfile

import durable
from durable import Backend, Lab, Violation, say, wait_for

BACKLOG_ITEMS = 60_000
RATE = 30_000
DRAIN_S_MAX = 60.0

CONFIG = """\
receivers: {{otlp: {{protocols: {{grpc: {{endpoint: "127.0.0.1:{entry}"}}}}}}}}
exporters:
  otlp/backend:
    endpoint: 127.0.0.1:{backend}
    tls: {{insecure: true}}
    compression: none
    retry_on_failure: {{initial_interval: 50ms, max_interval: 500ms}}
journal: {{storage: disk, directory: {directory}, retention: {{size: 64MiB}}, memory: 0}}
admin: {{endpoint: "127.0.0.1:{admin}"}}
service:
  telemetry: {{metrics: {{address: "127.0.0.1:{telemetry}"}}}}
  pipelines:
    traces: &way {{receivers: [otlp], exporters: [otlp/backend]}}
    metrics: *way
    logs: *way
"""


# === damage ===


def flip_bits(path: pathlib.Path, chance: random.Random) -> str:
    """Single bits, anywhere."""
    count = chance.randint(1, 20)
    with open(path, "r+b") as file:
        for _ in range(count):
            at = chance.randrange(path.stat().st_size)
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ 1 << chance.randrange(8)]))
    return f"{count} bits flipped"


def zero_range(path: pathlib.Path, chance: random.Random) -> str:
    """A lost run of blocks."""
    size = path.stat().st_size
    length = min(chance.choice([512, 4096, 65536, 1 << 20]), size)
    at = chance.randrange(size - length + 1) // 512 * 512
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(bytes(length))
    return f"{length} bytes zeroed at {at}"


def truncate(path: pathlib.Path, chance: random.Random) -> str:
    """The end is gone."""
    to = chance.randrange(path.stat().st_size)
    with open(path, "r+b") as file:
        file.truncate(to)
    return f"cut to {to} bytes"


def damage_front(path: pathlib.Path, chance: random.Random) -> str:
    """The file's header and its image, where everything is said that is remembered."""
    with open(path, "r+b") as file:
        file.seek(chance.choice([0, 48, 60]))
        file.write(bytes(chance.choice([8, 64, 400])))
    return "front zeroed"


def remove(path: pathlib.Path, _: random.Random) -> str:
    """The whole file."""
    path.unlink()
    return "removed"


KINDS = {"flip": flip_bits, "zero": zero_range, "truncate": truncate, "front": damage_front, "remove": remove}

COUNTS = ("acknowledged_items", "missing_items", "damaged_items", "removed_items", "forgotten_items", "twice_items")


class Round:
    """One backlog, one damage."""

    def __init__(self, number: int, arguments: argparse.Namespace, directory: pathlib.Path) -> None:
        self.number, self.arguments, self.directory = number, arguments, directory
        self.random = random.Random(f"{arguments.seed}/{number}")
        self.lab = Lab(directory)
        self.violations: list[str] = []
        self.newest_damaged = self.oldest_removed = False

    def go(self) -> dict:
        """Takes, damages, starts, compares."""
        backend = Backend(self.lab, "backend")
        backend.fault("refuse")
        journal = self.directory / "journal"
        config = self.directory / "damage.yaml"
        config.write_text(CONFIG.format(
            entry=self.lab.entry, admin=self.lab.admin, telemetry=self.lab.telemetry, backend=backend.port, directory=journal,
        ))
        subject = self.lab.run(config)
        sender = self.lab.send(1, ["--items", str(self.arguments.items)], RATE)
        wait_for("the sender ends", lambda: not sender.running(), 120)
        sent = durable.report(sender)
        accepted = sum(line["accepted_items"] for line in self.lab.ledger()["lines"])
        how = self.random.choice(["stopped", "killed"])
        subject.process.signal(signal.SIGTERM if how == "stopped" else signal.SIGKILL)
        subject.process.popen.wait(60)
        self.lab.forget(subject.process)
        kept = self.directory / "undamaged"
        shutil.copytree(journal, kept)
        damage = self._damage(journal)
        backend.fault("healthy")
        found = self._look(config, backend, sent, accepted)
        found |= {"round": self.number, "ended": how, "damage": damage, "violations": self.violations}
        return found

    def _damage(self, journal: pathlib.Path) -> list[str]:
        segments = sorted(path for path in journal.glob("*.segment") if path.stat().st_size > 4096)
        told = []
        spared = segments[:-1] if self.arguments.spare_newest else segments
        chosen = self.random.sample(spared, min(self.random.randint(1, 2), len(spared)))
        for path in chosen:
            kind = self.arguments.kind or self.random.choice(list(KINDS))
            self.newest_damaged |= path == segments[-1]
            self.oldest_removed |= path == segments[0] and kind == "remove"
            place = f"{segments.index(path) + 1} of {len(segments)}"
            told.append(f"{path.name.lstrip('0') or '0'} ({place}): {KINDS[kind](path, self.random)}")
        return told

    def _look(self, config: pathlib.Path, backend: Backend, sent: dict, accepted: int) -> dict:
        subject = self.lab.run(config)
        try:
            wait_for("nothing is pending", lambda: self.lab.pending() == 0, DRAIN_S_MAX, subject.process, 0.1)
        except Violation as violation:
            self._violate(str(violation))
        ledger = self.lab.ledger()
        for wrong in durable.unbalanced(ledger):
            self._violate(f"the ledger does not balance: {wrong}")
        lost = durable.size(durable.missing(durable.acknowledged([sent]), backend.received()))
        given_up = durable.dropped(ledger)
        known = sum(line["accepted_items"] for line in ledger["lines"])
        forgotten = accepted - known
        allowed = {"journal_damaged"} | ({"journal_full"} if self.oldest_removed else set())
        if set(given_up) - allowed:
            self._violate(f"items were given up for other reasons: {given_up}")
        if lost != sum(given_up.values()) + forgotten:
            self._violate(f"{lost} items are missing, the ledger counts {given_up}, and has forgotten {forgotten}")
        if forgotten and not self.newest_damaged:
            self._violate(f"the ledger forgot {forgotten} items, though the newest file is whole")
        if not subject.process.running():
            self._violate("it ended")
        return {"ready_s": round(subject.ready_s, 3), "acknowledged_items": sent["acked_items"], "missing_items": lost,
                "damaged_items": given_up.get("journal_damaged", 0), "removed_items": given_up.get("journal_full", 0),
                "forgotten_items": forgotten, "twice_items": backend.duplicates(),
                "damaged_records": ledger["journal_disk"]["damaged_records"]}

    def _violate(self, text: str) -> None:
        self.violations.append(text)


def line(found: dict) -> str:
    """One round, for people."""
    told = (f"round {found['round']:>2}, {found['ended']}: {'; '.join(found['damage'])}: of {found['acknowledged_items']} items "
            f"{found['missing_items']} missing: {found['damaged_items']} journal_damaged, {found['removed_items']} journal_full, "
            f"{found['forgotten_items']} forgotten; {found['twice_items']} twice")
    return told + "".join(f"\n   NOT OK: {violation}" for violation in found["violations"])


def main() -> int:
    """Runs the rounds and says what came of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1, help="chooses files, places and kinds")
    parser.add_argument("--round", type=int, help="only this one")
    parser.add_argument("--items", type=int, default=BACKLOG_ITEMS)
    parser.add_argument("--kind", choices=list(KINDS), help="only this damage")
    parser.add_argument("--spare-newest", action="store_true", help="leave the newest file as it is")
    parser.add_argument("--format", default="text", choices=["text", "json"])
    arguments = parser.parse_args()
    durable.end_on_sigterm()
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="crossfade-damage-"))
    rounds = []
    for number in [arguments.round] if arguments.round else range(1, arguments.rounds + 1):
        directory = scratch / f"{number:03}"
        directory.mkdir()
        one = Round(number, arguments, directory)
        try:
            found = one.go()
        except Violation as violation:
            found = dict.fromkeys(COUNTS, 0) | {"round": number, "ended": "", "damage": [], "violations": [str(violation)]}
        finally:
            one.lab.close()
        rounds.append(found)
        say(line(found))
        if not found["violations"]:
            shutil.rmtree(directory)
    bad = [found for found in rounds if found["violations"]]
    total = {name: sum(found[name] for found in rounds) for name in COUNTS}
    summary = {"command": durable.command_line(), "ok": not bad, "rounds": len(rounds), "bad_rounds": len(bad)} | total
    if arguments.format == "json":
        print(json.dumps(summary | {"detail": rounds}, indent=2))
    else:
        print(f"{summary['command']}\n{len(rounds)} rounds, {total['acknowledged_items']} items acknowledged, "
              f"{total['missing_items']} missing: {total['damaged_items']} counted as journal_damaged, {total['removed_items']} as "
              f"journal_full, {total['forgotten_items']} forgotten; {total['twice_items']} came twice; {len(bad)} rounds not ok")
    if bad:
        say(f"logs and journals: {scratch}")
        return 1
    shutil.rmtree(scratch)
    return 0


if __name__ == "__main__":
    sys.exit(main())
