"""Turns results into a table for people and a page for the documentation."""

from __future__ import annotations

import json
import pathlib
import statistics

import statsd
from peers import TITLES

COMMANDS = (
    "cargo build --profile dist -p crossfade   # as images and downloads are built",
    "CROSSFADE_BIN=target/dist/crossfade CROSSFADE_BENCH_OTELCOL=… CROSSFADE_BENCH_VMAGENT=… python3 bench/run.py --write",
)


def one_line(result: dict) -> str:
    """One run, short."""
    if "error" in result:
        return "failed: " + result["error"].splitlines()[0]
    if "cpu_us_per_item" in result:
        return (
            f"{result['cpu_us_per_item']:.3f} CPU-us/item, {result['items_per_s']:,} items/s, "
            f"{_mib(result['peak_bytes'])} MiB, {_delivery(result)}, load {result['load_average']}"
        )
    return ", ".join(f"{name} {value}" for name, value in result.items())


def text(results: dict) -> str:
    """All cases, as the page has them."""
    return "\n".join(_tables(results))


def write(results: dict, root: pathlib.Path) -> None:
    """Writes the page, and beside the scripts every single run as evidence."""
    (root / "bench" / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (root / "docs").mkdir(exist_ok=True)
    (root / "docs" / "benchmarks.md").write_text(page(results))


def page(results: dict) -> str:
    """The page of the documentation."""
    machine, settings = results["machine"], results["settings"]
    lines = [
        "# Benchmarks",
        "",
        "Written by `bench/run.py` from what it measured; every single run is in `bench/results.json`. Compare the",
        "columns of one row: they were measured in turns on one machine in one run. Absolute figures of other machines",
        "differ.",
        "",
        *(f"    {command}" for command in COMMANDS),
        "",
        "The figure is CPU time of the measured process, all threads, user and system, from before the first request",
        "until both backends hold every item, divided by the items sent. Generator and both counting backends are",
        "processes of their own and not counted. A backend tracks the identity of each item, so loss and duplicates are",
        "exact.",
        "",
        f"Measured {results['started']} on {machine['cores']} cores ({machine['cpu']}), {machine['memory_gib']} GiB,",
        f"{machine['kernel']}, {machine['architecture']}: median of {settings['runs']} runs with",
        f"{settings['connections']} connections and {settings['items_per_request']} items in a request, as fast as acknowledgements allow; brackets",
        "hold the lowest and the highest run. Every run sends the same number of items: two million uncompressed, one",
        f"million otherwise, of which this run sent a share of {settings['share']:g}.",
        "",
        *_peers(results),
        "",
        *_tables(results),
        "",
        "## The journal on disk",
        "",
        "What it costs against memory, how fast a backlog leaves it, and how soon a process starts with one stands in",
        "[reliability](reliability.md), beside what it promises.",
    ]
    statsd_lines = statsd.written_section()
    if statsd_lines:
        lines += ["", *statsd_lines]
    return "\n".join(lines) + "\n"


def _peers(results: dict) -> list[str]:
    lines = ["| program | version |", "|---|---|"]
    lines += [f"| {TITLES[name]} | {version.replace('|', ' ')} |" for name, version in results["peers"].items()]
    if results["absent"]:
        lines += ["", "Not measured here: " + "; ".join(results["absent"]) + "."]
    return lines


def _tables(results: dict) -> list[str]:
    lines: list[str] = []
    flows = {name: case for name, case in results["cases"].items() if case["kind"] == "flow"}
    if flows:
        lines += _flow_table(results, flows)
    for kind, make in (("idle", _idle_table), ("stalled", _stalled_table)):
        for case in results["cases"].values():
            if case["kind"] == kind:
                lines += ["", *make(case)]
    return lines


def _flow_table(results: dict, flows: dict) -> list[str]:
    names = list(results["peers"])
    lines = [
        "## CPU for each item",
        "",
        "CPU microseconds for each item; OTLP/gRPC in and to two OTLP/gRPC backends unless the row says otherwise. “Times”",
        "is the fastest peer's figure divided by Crossfade's; “goal” is what the project wants it to be at least.",
        "",
        "| work | " + " | ".join(TITLES[name] for name in names) + " | times | goal |",
        "|---|" + "---|" * (len(names) + 2),
    ]
    for case in flows.values():
        cells = [_cell(case["runs"].get(name), lambda run: run["cpu_us_per_item"], "{:.2f}") for name in names]
        lines.append(f"| {case['title']} | " + " | ".join(cells) + f" | {_times(case)} | {_goal(case)} |")
    lines += [
        "",
        "## Throughput, memory and delivery in the same runs",
        "",
        "Thousand items per second that the whole machine carried, generator and backends included / peak resident MiB;",
        "then what arrived.",
        "",
        "| work | " + " | ".join(TITLES[name] for name in names) + " |",
        "|---|" + "---|" * len(names),
    ]
    for case in flows.values():
        lines.append(f"| {case['title']} | " + " | ".join(_carried(case["runs"].get(name)) for name in names) + " |")
    return lines


def _good(runs: list[dict] | None) -> list[dict]:
    return [run for run in runs or [] if "error" not in run]


def _cell(runs: list[dict] | None, figure, form: str) -> str:
    good = [figure(run) for run in _good(runs)]
    if not good:
        return "failed" if runs else "–"
    shown = form.format(statistics.median(good))
    if len(good) > 1:
        shown += f" [{form.format(min(good))}–{form.format(max(good))}]"
    return shown


def _median(runs: list[dict] | None) -> float | None:
    good = [run["cpu_us_per_item"] for run in _good(runs)]
    return statistics.median(good) if good else None


def _times(case: dict) -> str:
    own = _median(case["runs"].get("crossfade"))
    others = [figure for name, runs in case["runs"].items() if name != "crossfade" and (figure := _median(runs))]
    return f"{min(others) / own:.1f}" if own and others else "–"


def _goal(case: dict) -> str:
    return f"{case['goal']:g}" if case["goal"] else "–"


def _carried(runs: list[dict] | None) -> str:
    good = _good(runs)
    if not good:
        return "failed" if runs else "–"
    rate = statistics.median(run["items_per_s"] for run in good) / 1000
    peak = statistics.median(run["peak_bytes"] for run in good)
    worst = max(good, key=lambda run: sum(abs(side["missing"]) + side["duplicates"] for side in run["delivery"].values()))
    return f"{rate:.0f} k/s / {_mib(peak)} MiB, {_delivery(worst)}"


def _delivery(run: dict) -> str:
    missing = sum(side["missing"] for side in run["delivery"].values())
    duplicates = sum(side["duplicates"] for side in run["delivery"].values())
    if not missing and not duplicates:
        return "all, once"
    return f"{missing:,} missing, {duplicates:,} doubled"


def _idle_table(case: dict) -> list[str]:
    lines = [
        "## Idle",
        "",
        "| program | resident MiB | start to ready | CPU while idle |",
        "|---|---|---|---|",
    ]
    for name, runs in case["runs"].items():
        resident = _cell(runs, lambda run: run["resident_bytes"] / 2**20, "{:.1f}")
        ready = _cell(runs, lambda run: run["ready_s"] * 1000, "{:.0f}")
        idle = _cell(runs, lambda run: run["idle_cpu_share"] * 100, "{:.2f}")
        lines.append(f"| {TITLES[name]} | {resident} | {ready} ms | {idle} % |")
    return lines


def _stalled_table(case: dict) -> list[str]:
    lines = [
        "## One backend stalls",
        "",
        "20,000 spans/s to two backends for 120 s; one refuses from second 15 to 45 and hangs from 60 to 90. Rates are",
        "what the healthy one received.",
        "",
        "| program | before | refusing | between | hanging | after | slowest 3 s | peak MiB | healthy | stalled |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, runs in case["runs"].items():
        good = _good(runs)
        if not good:
            lines.append(f"| {TITLES[name]} | failed |" + " |" * 8)
            continue
        run = good[0]
        rates = " | ".join(f"{run['healthy_per_s'][phase]:,}/s" for phase in ("before", "refusing", "between", "hanging", "after"))
        sides = " | ".join(
            "all, once" if not side["missing"] and not side["duplicates"] else f"{side['missing']:,} missing, {side['duplicates']:,} doubled"
            for side in (run["delivery"]["a"], run["delivery"]["b"])
        )
        lines.append(
            f"| {TITLES[name]} | {rates} | {run['slowest_second_share'] * 100:.0f} % | {_mib(run['peak_bytes'])} | {sides} |"
        )
    return lines


def _mib(size_bytes: float) -> int:
    return round(size_bytes / 2**20)
