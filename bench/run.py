#!/usr/bin/env python3
"""Measures Crossfade beside whatever peers are installed, on the same work in one run.

The figure is CPU seconds of the process for each item delivered to both
backends; a run counts only if everything arrived. Runs of the peers take
turns, and the median is told.

    CROSSFADE_BENCH_OTELCOL=… CROSSFADE_BENCH_VMAGENT=… python3 bench/run.py --write
    python3 bench/run.py --only traces-none --runs 1

CROSSFADE_BIN names a binary; without it a release build is made. Peers are
named by CROSSFADE_BENCH_OTELCOL, CROSSFADE_BENCH_VMAGENT,
CROSSFADE_BENCH_ROTEL and CROSSFADE_BENCH_DFE; `--build-peers` builds the
first two from their Go modules into the cache of the interop run.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import shutil
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "interop"))

import measure  # noqa: E402
import meter  # noqa: E402
import peers as peers_module  # noqa: E402
import report  # noqa: E402
from cases import CASES, Case  # noqa: E402
from harness.tools import INTEROP, Missing, Tools, build_crossfade  # noqa: E402


def main() -> int:
    """Runs the chosen cases over every peer that is there."""
    arguments = _arguments()
    say = _say
    try:
        crossfade = build_crossfade(say)
        if arguments.build_peers:
            _build_peers(say)
    except Missing as missing:
        print(f"bench: {missing}", file=sys.stderr)
        return 2
    there, absent = peers_module.find(crossfade)
    for name in absent:
        say(f"not measured: {name}")
    there = [peer for peer in there if not arguments.peer or peer.name in arguments.peer]
    directory = pathlib.Path(tempfile.mkdtemp(prefix="crossfade-bench-"))
    cases = [case for case in CASES if not arguments.only or case.name in arguments.only]
    results = {
        "machine": meter.machine(),
        "peers": {peer.name: peer.version() for peer in there},
        "absent": absent,
        "settings": {"runs": arguments.runs, "share": arguments.share, "connections": arguments.connections,
                     "items_per_request": measure.ITEMS_PER_REQUEST},
        "started": time.strftime("%Y-%m-%d", time.gmtime()),
        "cases": {},
    }
    failed = False
    for case in cases:
        results["cases"][case.name], bad = _case(case, there, arguments, crossfade, directory)
        failed = failed or bad
    if arguments.write:
        report.write(results, ROOT)
    if arguments.format == "json":
        print(json.dumps(results, indent=2))
    else:
        print(report.text(results))
    if failed:
        print(f"some runs failed; configurations and logs: {directory}", file=sys.stderr)
        return 1
    shutil.rmtree(directory)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=[case.name for case in CASES])
    parser.add_argument("--peer", action="append", choices=["crossfade", *peers_module.VARIABLES])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--share", type=float, default=1.0, help="how much of each case's items is sent; 0.1 for a quick look")
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--rate", type=int, help="items per second instead of as fast as acknowledgements allow")
    parser.add_argument("--format", choices=["text", "json"], default="text")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md and bench/results.json")
    parser.add_argument("--build-peers", action="store_true")
    return parser.parse_args()


def _build_peers(say) -> None:
    tools = Tools("crossfade", say)
    bench = ROOT / "bench"
    collector = tools.build_go("otelcol", INTEROP / "collector", ".")
    vmagent = tools.build_go(
        "vmagent", bench / "peers" / "vmagent", "github.com/VictoriaMetrics/VictoriaMetrics/app/vmagent"
    )
    os.environ.setdefault("CROSSFADE_BENCH_OTELCOL", str(collector))
    os.environ.setdefault("CROSSFADE_BENCH_VMAGENT", str(vmagent))


def _case(case: Case, there, arguments, crossfade: pathlib.Path, directory: pathlib.Path) -> tuple[dict, bool]:
    able = [peer for peer in there if peer.template(case.template) is not None]
    runs = 1 if case.kind == "stalled" else arguments.runs
    collected: dict[str, list[dict]] = {peer.name: [] for peer in able}
    failed = False
    for number in range(runs):
        for peer in able:
            scratch = directory / case.name / f"{peer.name}-{number}"
            scratch.mkdir(parents=True)
            work = measure.Work(case, peer, crossfade, scratch, arguments.share, arguments.connections, arguments.rate)
            try:
                result = measure.run(work)
            except Exception as error:  # A peer that breaks is told, and the others are still measured.
                result = {"error": f"{error}"}
                failed = True
            result["load_average"] = round(meter.load_average(), 2)
            collected[peer.name].append(result)
            _say(f"{case.name} {peer.name} run {number + 1}: {report.one_line(result)}")
    return {"title": case.title, "kind": case.kind, "goal": case.goal_times_faster, "runs": collected}, failed


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
