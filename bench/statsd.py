#!/usr/bin/env python3
"""StatsD over UDP: what a line costs, and what is lost at which rate of packets.

    cost   lines for each CPU second of the process, to aggregated counters: packets of 30 lines and of one, at rates at which
           nothing is lost
    loss   packets of one line at rising rates: sent, received, dropped by the kernel as the receiver reports it, and what
           nobody accounts for, which must be none; CPU time for each packet

    python3 bench/statsd.py --write
    python3 bench/statsd.py --only loss --rate 500000 --seconds 5

The receiver has one core with all its threads, the sender another. Both are `crossfade`; CROSSFADE_BIN names the binary, a
release build of this repository otherwise. What is received is also added up behind an exporter: every line raises a
counter by one, so the sum of all totals must be the lines received.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import durable
import meter
from durable import Lab, Violation, say, wait_for

ROOT = pathlib.Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "statsd.json"
PAGE = ROOT / "docs" / "benchmarks.md"
HEADING = "## StatsD"

SERIES = 10_000
RATES = [50_000, 100_000, 200_000, 300_000, 400_000, 500_000, 600_000, 800_000, 0]
# Lines of a packet, and packets a second at which the receiver has room.
COSTS = [(30, 30_000), (1, 200_000)]
RECEIVER_CORE, SENDER_CORE = 0, 1
SETTLE_S_MAX = 30.0

CONFIG = """\
receivers: {{statsd: {{endpoint: "127.0.0.1:{port}", receive_buffer: {buffer}, aggregation_interval: 5s}}}}
exporters: {{file: {{path: {out}}}}}
admin: {{endpoint: "127.0.0.1:{admin}"}}
service:
  telemetry: {{metrics: {{address: "127.0.0.1:{telemetry}"}}}}
  pipelines: {{metrics: {{receivers: [statsd], exporters: [file]}}}}
"""


class Bench(Lab):
    """A receiver on one core, and a sender on another."""

    def __init__(self, directory: pathlib.Path, arguments: argparse.Namespace) -> None:
        directory.mkdir(parents=True)
        super().__init__(directory)
        self.arguments, self.port, self.out = arguments, durable.free_port(), directory / "out.json"
        config = directory / "config.yaml"
        config.write_text(CONFIG.format(port=self.port, buffer=arguments.buffer, out=self.out, admin=self.admin, telemetry=self.telemetry))
        argv = [self.crossfade, "run", "--config", config]
        self.process = self.start("receiver", _pinned(RECEIVER_CORE, arguments.realtime, argv))
        wait_for("it listens", lambda: self.counted("receive_buffer_bytes") > 0, durable.READY_S_MAX, self.process)

    def counted(self, what: str, **labels: str) -> float:
        """The sum of one of the receiver's own metrics, over all series that have these labels."""
        wanted = [f'{name}="{value}"' for name, value in labels.items()]
        return sum(
            value
            for name, value in self.metrics().items()
            if name.startswith(f"crossfade_receiver_{what}") and all(label in name for label in wanted)
        )

    def account(self) -> dict[str, int]:
        """What the receiver says."""
        return {
            "received": int(self.counted("arrived", unit="datagrams")),
            "kernel_drops": int(self.counted("lost", unit="datagrams", cause="kernel_drop")),
            "lines": int(self.counted("arrived", unit="lines")),
            "lost_lines": int(self.counted("lost", unit="lines")),
        }

    def measure(self, lines_per_packet: int, rate: int, seconds: float) -> dict:
        """Sends for some time, waits until the account is settled, and compares it with what was sent."""
        before = meter.cpu_seconds(self.process.pid)
        argv = [self.crossfade, "load", "statsd", "--to", f"127.0.0.1:{self.port}", "--rate", rate, "--duration", f"{seconds}s",
                "--lines-per-packet", lines_per_packet, "--series", SERIES, "--format", "json"]
        argv = _pinned(SENDER_CORE, self.arguments.realtime, argv)
        sent = json.loads(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)
        account, deadline = self.account(), time.monotonic() + SETTLE_S_MAX
        while account["received"] + account["kernel_drops"] < sent["packets"] and time.monotonic() < deadline:
            time.sleep(0.2)
            account = self.account()
        cpu_s = meter.cpu_seconds(self.process.pid) - before
        memory = meter.memory_bytes(self.process.pid)
        load = meter.load_average()
        self.process.stop()
        return {
            "rate": rate,
            "lines_per_packet": lines_per_packet,
            "seconds": round(sent["seconds"], 2),
            "sent_per_s": round(sent["packets_per_s"]),
            "sent": sent["packets"],
            "sender_errors": sent["errors"],
            **account,
            "unaccounted": sent["packets"] - account["received"] - account["kernel_drops"],
            "total": _total(self.out),
            "cpu_s": round(cpu_s, 3),
            "cpu_us_per_packet": round(cpu_s * 1e6 / max(account["received"], 1), 3),
            "lines_per_cpu_s": round(account["lines"] / cpu_s),
            "peak_bytes": memory["peak"],
            "load_average": load,
        }


def _pinned(core: int, realtime: bool, argv: list[object]) -> list[str]:
    priority = ["chrt", "-f", "10"] if realtime else []
    return ["taskset", "-c", str(core), *priority, *(str(argument) for argument in argv)]


def _total(path: pathlib.Path) -> int:
    """The sum of all counters that were handed on: deltas add up."""
    total = 0
    for line in path.read_text().splitlines():
        for resource in json.loads(line)["resourceMetrics"]:
            for scope in resource["scopeMetrics"]:
                for metric in scope["metrics"]:
                    total += sum(int(point["asInt"]) for point in metric["sum"]["dataPoints"])
    return total


def _run(arguments: argparse.Namespace, scratch: pathlib.Path, name: str, lines: int, rate: int) -> list[dict]:
    runs = []
    for number in range(arguments.runs):
        bench = Bench(scratch / f"{name}-{lines}-{rate}-{number}", arguments)
        try:
            found = bench.measure(lines, rate, arguments.seconds)
        finally:
            bench.close()
        shutil.rmtree(bench.directory)
        if found["unaccounted"] or found["total"] != found["lines"] - found["lost_lines"]:
            raise Violation(f"not everything is accounted for: {found}")
        say(f"{name}, {lines} lines, {rate or 'as fast as it goes'}: {found}")
        runs.append(found)
    return runs


def main() -> int:
    """Measures what is asked for."""
    durable.end_on_sigterm()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["cost", "loss"])
    parser.add_argument("--rate", type=int, action="append", help="packets a second, instead of the whole curve; 0: as fast as it goes")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--buffer", default="4MiB", help="receive_buffer")
    parser.add_argument("--realtime", action="store_true",
                        help="both run with SCHED_FIFO, so that what else runs on the machine disturbs less; needs root")
    parser.add_argument("--scratch", default=None)
    parser.add_argument("--write", action="store_true", help="write the section of docs/benchmarks.md and bench/statsd.json")
    arguments = parser.parse_args()
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="crossfade-statsd-", dir=arguments.scratch))
    results = {
        "machine": meter.machine(),
        "started": time.strftime("%Y-%m-%d", time.gmtime()),
        "settings": {"runs": arguments.runs, "seconds": arguments.seconds, "buffer": arguments.buffer, "series": SERIES,
                     "realtime": arguments.realtime},
    }
    try:
        if arguments.only != "loss":
            results["cost"] = [_run(arguments, scratch, "cost", lines, rate) for lines, rate in COSTS]
        if arguments.only != "cost":
            rates = arguments.rate if arguments.rate is not None else RATES
            results["loss"] = [_run(arguments, scratch, "loss", 1, rate) for rate in rates]
    except Violation as violation:
        print(f"bench: {violation}", file=sys.stderr)
        return 1
    shutil.rmtree(scratch)
    print("\n".join(section(results)))
    if arguments.write:
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
        PAGE.write_text(_with_section(PAGE.read_text(), section(results)))
    return 0


def written_section() -> list[str]:
    """The section of the last run that was written; for the page that bench/run.py writes."""
    return section(json.loads(RESULTS.read_text())) if RESULTS.exists() else []


def _with_section(page: str, lines: list[str]) -> str:
    text = "\n".join(lines) + "\n"
    before, heading, rest = page.partition(f"{HEADING}\n")
    if not heading:
        return f"{page.rstrip()}\n\n{text}"
    _, next_heading, after = rest.partition("\n## ")
    return f"{before}{text}" + (f"\n## {after}" if next_heading else "")


def section(results: dict) -> list[str]:
    """The section of the page."""
    machine, settings = results["machine"], results["settings"]
    lines = [
        HEADING,
        "",
        "Written by `bench/statsd.py`; every single run is in `bench/statsd.json`.",
        "",
        "    cargo build --release -p crossfade",
        f"    python3 bench/statsd.py --runs {settings['runs']} --seconds {settings['seconds']:g}{' --realtime' if settings['realtime'] else ''} --write",
        "",
        f"Measured {results['started']} on {machine['cores']} cores ({machine['cpu']}), {machine['kernel']}, over loopback:",
        f"median of {settings['runs']} runs of {settings['seconds']:g} s, brackets hold the lowest and the highest. The receiver, all its threads, has one",
        f"core, the sender the other; on loopback the kernel's work of receiving is the sender's. {settings['series']:,} series, each",
        f"line raises a counter by one, `receive_buffer: {settings['buffer']}`. In every run the counters handed on add up to the lines",
        "received, and packets sent are those received and those that the receiver reports as dropped by the kernel.",
        *_priorities(settings),
    ]
    if "cost" in results:
        lines += [
            "",
            "| packets | packets/s | lines/s | lines for each CPU second | CPU for each packet | dropped |",
            "|---|---|---|---|---|---|",
            *(_cost_row(runs) for runs in results["cost"]),
        ]
    if "loss" in results:
        lines += [
            "",
            "Loss against rate, packets of one line:",
            "",
            "| packets/s asked | sent/s | sent | received | dropped by the kernel | share | unaccounted | CPU for each packet |",
            "|---|---|---|---|---|---|---|---|",
            *(_loss_row(runs) for runs in results["loss"]),
        ]
        if not any(run["kernel_drops"] for runs in results["loss"] for run in runs):
            lines += ["", "The sender's core is full at the last rows: where the receiver's limit is, this machine cannot show."]
    return lines


def _priorities(settings: dict) -> list[str]:
    if not settings["realtime"]:
        return []
    return ["Other programs kept both cores busy meanwhile; receiver and sender ran before them (`--realtime`: SCHED_FIFO)."]


def _spread(runs: list[dict], name: str, form: str = "{:,.0f}", scale: float = 1.0) -> str:
    figures = [run[name] * scale for run in runs]
    shown = form.format(statistics.median(figures))
    if min(figures) != max(figures):
        shown += f" [{form.format(min(figures))}–{form.format(max(figures))}]"
    return shown


def _cost_row(runs: list[dict]) -> str:
    per_packet = runs[0]["lines_per_packet"]
    lines_per_s = statistics.median(run["lines"] / run["seconds"] for run in runs)
    return (
        f"| {per_packet} line{'s' if per_packet > 1 else ''} | {_spread(runs, 'sent_per_s')} | {lines_per_s:,.0f} | {_spread(runs, 'lines_per_cpu_s')} "
        f"| {_spread(runs, 'cpu_us_per_packet', '{:.2f}')} µs | {_spread(runs, 'kernel_drops')} |"
    )


def _loss_row(runs: list[dict]) -> str:
    asked = f"{runs[0]['rate']:,}" if runs[0]["rate"] else "as fast as it goes"
    shares = [{"share": run["kernel_drops"] / run["sent"]} for run in runs]
    return (
        f"| {asked} | {_spread(runs, 'sent_per_s')} | {_spread(runs, 'sent')} | {_spread(runs, 'received')} | {_spread(runs, 'kernel_drops')} "
        f"| {_spread(shares, 'share', '{:.3f}', 100)} % | {_spread(runs, 'unaccounted')} | {_spread(runs, 'cpu_us_per_packet', '{:.2f}')} µs |"
    )


if __name__ == "__main__":
    sys.exit(main())
