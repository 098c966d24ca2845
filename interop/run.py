#!/usr/bin/env python3
"""Shows Crossfade with real parts of other makers.

Installs what is missing, starts every server itself on loopback, runs the
scenarios and prints one line for each check. Needs Python 3.11, and Go,
Node.js and (for what is not installed yet) Debian's packages.

    python3 interop/run.py                       all scenarios
    python3 interop/run.py --only prometheus     one of them
    python3 interop/run.py --subject collector   the Collector in Crossfade's place:
                                                 the checks must hold for it too

CROSSFADE_BIN names a binary; without it a release build is made.
CROSSFADE_INTEROP_CACHE names where foreign parts are kept.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import pathlib
import shutil
import sys
import tempfile
import traceback
import types

from harness.checks import Checks
from harness.lab import Lab
from harness.tools import Missing, Tools

SCENARIOS = [
    "judges",
    "configurations",
    "python_sdk",
    "js_sdk",
    "file",
    "collector",
    "outage",
    "pull",
    "prometheus",
    "statsd",
    "dual",
    "jaeger",
    "zipkin",
    "opencensus",
    "fluent",
    "syslog",
    "files",
    "loki",
    "lines",
    "parity",
    "answers",
]
# Scenarios of components that the Collector's build here does not have, or has no more.
ONLY_CROSSFADE = {"statsd", "dual", "jaeger", "zipkin", "opencensus", "fluent", "syslog", "files", "loki", "lines", "parity", "answers"}


def main() -> int:
    """Runs the chosen scenarios; 0 when every check held, 1 when one did not, 2 when a part is missing."""
    arguments = _arguments()
    checks = Checks(arguments.format)
    tools = Tools(arguments.subject, checks.note)
    chosen = [name for name in arguments.only or SCENARIOS if tools.is_crossfade or name not in ONLY_CROSSFADE]
    if not chosen:
        print("interop: the Collector's build here has none of the components of these scenarios", file=sys.stderr)
        return 2
    try:
        tools.prepare({need for name in chosen for need in getattr(_scenario(name), "NEEDS", ())})
    except Missing as missing:
        print(f"interop: {missing}", file=sys.stderr)
        return 2
    versions = tools.versions()
    for part, version in versions.items():
        checks.note(f"{part}: {version}")
    directory = pathlib.Path(tempfile.mkdtemp(prefix="crossfade-interop-"))
    for name in chosen:
        _run(name, directory / name, tools, checks)
    failed = checks.failed()
    _report(arguments, checks, versions, directory)
    if not failed and not arguments.keep:
        shutil.rmtree(directory)
    return 1 if failed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=SCENARIOS, help="run this scenario (may be repeated)")
    parser.add_argument("--subject", choices=["crossfade", "collector"], default="crossfade")
    parser.add_argument("--format", choices=["text", "json"], default="text")
    parser.add_argument("--keep", action="store_true", help="keep configurations, logs and data after success too")
    return parser.parse_args()


def _scenario(name: str) -> types.ModuleType:
    return importlib.import_module(f"scenarios.{name}")


def _run(name: str, directory: pathlib.Path, tools: Tools, checks: Checks) -> None:
    scenario = _scenario(name)
    checks.begin(name, scenario.ABOUT)
    lab = Lab(name, directory, tools, checks)
    try:
        scenario.run(lab)
    except Exception as error:  # A scenario that breaks is a failed check, and the next one still runs.
        checks.add("the scenario ran to its end", False, f"{error}\n{traceback.format_exc()}")
    finally:
        lab.close()


def _report(arguments: argparse.Namespace, checks: Checks, versions: dict[str, str], directory: pathlib.Path) -> None:
    failed = checks.failed()
    if arguments.format == "json":
        report = {
            "ok": not failed,
            "subject": arguments.subject,
            "versions": versions,
            "seconds": round(checks.seconds(), 1),
            "checks": [dataclasses.asdict(check) for check in checks.all],
        }
        print(json.dumps(report, indent=2, ensure_ascii=False))
        return
    held = sum(check.ok for check in checks.all)
    print(f"\n{held} of {len(checks.all)} checks ok in {checks.seconds():.0f} s")
    for check in checks.all:
        if check.known_fault:
            print(f"known fault of the Collector, {check.scenario}: {check.sentence}: {check.known_fault}")
    for check in failed:
        print(f"FAILED {check.scenario}: {check.sentence}")
    if failed or arguments.keep:
        print(f"configurations, logs and data: {directory}")


if __name__ == "__main__":
    sys.exit(main())
