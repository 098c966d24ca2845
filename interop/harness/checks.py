"""A check is one sentence about what was seen, with its evidence."""

from __future__ import annotations

import dataclasses
import sys
import time


@dataclasses.dataclass
class Check:
    """One sentence, whether it held, and what was seen."""

    scenario: str
    sentence: str
    ok: bool
    evidence: str
    # A fault of the reference itself, told beside a check that does not hold for it.
    known_fault: str = ""


class Checks:
    """Collects checks and prints each the moment it is known."""

    def __init__(self, output_format: str) -> None:
        self.all: list[Check] = []
        self._text = output_format == "text"
        self._scenario = ""
        self._started = time.monotonic()

    def begin(self, scenario: str, about: str) -> None:
        """Everything checked from here on belongs to `scenario`."""
        self._scenario = scenario
        if self._text:
            print(f"\n{scenario}: {about}", flush=True)

    def add(self, sentence: str, ok: bool, evidence: object = "", known_fault: str = "") -> bool:
        """Records one check and returns `ok`, so that a scenario can stop early."""
        check = Check(self._scenario, sentence, bool(ok), str(evidence), "" if ok else known_fault)
        self.all.append(check)
        if self._text:
            word = "ok" if check.ok else "known" if check.known_fault else "FAILED"
            print(f"  {word:6} {sentence}" + (f" ({_short(check.evidence, check.ok)})" if check.evidence else ""), flush=True)
        return check.ok

    def note(self, text: str) -> None:
        """Progress for a person who waits; never part of the result."""
        if self._text:
            print(f"  ...    {text}", flush=True)
        else:
            print(text, file=sys.stderr, flush=True)

    def failed(self) -> list[Check]:
        """The checks that did not hold and should have."""
        return [check for check in self.all if not check.ok and not check.known_fault]

    def seconds(self) -> float:
        """Wall time since the run began."""
        return time.monotonic() - self._started


def _short(evidence: str, ok: bool) -> str:
    limit = 200 if ok else 3000
    return evidence if len(evidence) <= limit else evidence[:limit] + " …"
