#!/usr/bin/env python3
"""What it costs to compare while a migration runs: CPU time and memory of the same work with and without a `migration`.

    python3 bench/parity.py
    python3 bench/parity.py --targets 100 --interval 5 --seconds 60

Two scrapers of one process read the same targets, as a legacy and a new way would: each side has as many active series.
What they read goes into the journal, and by remote write to a server that counts. A process with the comparison and one
without run side by side, each with targets and a server of its own, so that whatever else the machine does slows both. The
process is `crossfade`; CROSSFADE_BIN names the binary, a release build of this repository otherwise.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import statistics
import sys
import tempfile
import time

import durable
import meter
from durable import Lab, say, wait_for

SAMPLES_PER_PAGE = 1000

CONFIG = """\
receivers:
{receivers}
exporters:
  prometheusremotewrite/legacy: {{endpoint: "http://127.0.0.1:{port}/api/v1/write"}}
  prometheusremotewrite/new: {{endpoint: "http://127.0.0.1:{port}/api/v1/write"}}
admin: {{endpoint: "127.0.0.1:{admin}"}}
service:
  telemetry: {{metrics: {{address: "127.0.0.1:{telemetry}"}}}}
  pipelines:
    metrics/legacy: {{receivers: [prometheus/legacy], exporters: [prometheusremotewrite/legacy]}}
    metrics/new: {{receivers: [prometheus/new], exporters: [prometheusremotewrite/new]}}
{migration}
"""

RECEIVER = """\
  prometheus/{side}:
    config:
      scrape_configs:
        - job_name: {side}
          scrape_interval: {interval}s
          scrape_timeout: {interval}s
          http_sd_configs: [{{url: "http://127.0.0.1:{targets}/sd"}}]
          relabel_configs: [{{source_labels: [__metrics_path__], target_label: target}}]
"""

MIGRATION = """\
migration:
  legacy: {receivers: [prometheus/legacy], exporters: [prometheusremotewrite/legacy]}
  new: {receivers: [prometheus/new], exporters: [prometheusremotewrite/new]}
  parity: {sample: SAMPLE}
"""


class Bench(Lab):
    """Targets, a process that scrapes them twice, and a server that counts."""

    def __init__(self, directory: pathlib.Path, arguments: argparse.Namespace, compared: bool) -> None:
        directory.mkdir(parents=True)
        super().__init__(directory)
        targets, port = durable.free_port(), durable.free_port()
        self.start("targets", [self.crossfade, "load", "targets", "--listen", f"127.0.0.1:{targets}",
                               "--targets", arguments.targets, "--series", SAMPLES_PER_PAGE])
        self.start("backend", [self.crossfade, "load", "receive", "--remote-write", f"127.0.0.1:{port}"])
        wait_for("the targets listen", lambda: durable.accepts(targets) and durable.accepts(port), durable.READY_S_MAX)
        sides = ["legacy", "new"]
        receivers = "".join(RECEIVER.format(side=side, interval=arguments.interval, targets=targets) for side in sides)
        migration = MIGRATION.replace("SAMPLE", arguments.sample) if compared else ""
        config = directory / "config.yaml"
        config.write_text(CONFIG.format(receivers=receivers, port=port, admin=self.admin, telemetry=self.telemetry,
                                        migration=migration))
        self.process = self.start("crossfade", [self.crossfade, "run", "--config", config])

    def sum_of(self, name: str) -> float:
        return sum(value for key, value in self.metrics().items() if key.startswith(name))

    def now(self) -> tuple[float, float, float]:
        """Points, CPU seconds, and busy seconds of the comparison so far."""
        points, cpu = self.sum_of("otelcol_receiver_accepted_metric_points"), meter.cpu_seconds(self.process.popen.pid)
        return points, cpu, self.sum_of("crossfade_parity_busy_seconds")

    def since(self, before: tuple[float, float, float]) -> dict:
        """What a point took since then."""
        points, cpu, busy = (after - known for after, known in zip(self.now(), before))
        return {
            "points": points,
            "cpu_us_per_point": cpu / points * 1e6,
            "busy_us_per_point": busy / points * 1e6,
            "memory_bytes": meter.memory_bytes(self.process.popen.pid)["now"],
            "missed_items": self.sum_of("crossfade_parity_missed_items"),
            "verdicts": self.verdicts(),
        }

    def verdicts(self) -> dict:
        report = json.loads(durable.get(f"http://127.0.0.1:{self.admin}/api/v1/parity", 120))
        if "counts" not in report:
            return {}
        series = [subject["counts"] for subject in report["subjects"]]
        return {"subjects": report["counts"], "series": sum(sum(counts.values()) for counts in series)}


def measure(directory: pathlib.Path, arguments: argparse.Namespace) -> dict[str, dict]:
    """CPU time for a point with and without the comparison, after everything was scraped often enough to be known."""
    benches: dict[str, Bench] = {}
    try:
        for name in ("plain", "compared"):
            benches[name] = Bench(directory / name, arguments, compared=name == "compared")
        time.sleep(arguments.warm)
        before = {name: bench.now() for name, bench in benches.items()}
        time.sleep(arguments.seconds)
        return {name: bench.since(before[name]) for name, bench in benches.items()}
    finally:
        for bench in benches.values():
            bench.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", type=int, default=200)
    parser.add_argument("--interval", type=int, default=10, help="seconds between two scrapes of a target")
    parser.add_argument("--sample", default="100%%", help="migration.parity.sample")
    parser.add_argument("--warm", type=float, default=180, help="seconds before the measurement")
    parser.add_argument("--seconds", type=float, default=120, help="seconds of the measurement, two looks at least")
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    arguments.sample = arguments.sample.replace("%%", "%")
    durable.end_on_sigterm()
    runs: dict[str, list[dict]] = {"plain": [], "compared": []}
    with tempfile.TemporaryDirectory(prefix="crossfade-parity-") as scratch:
        for run in range(arguments.runs):
            for name, found in measure(pathlib.Path(scratch) / str(run), arguments).items():
                say(f"{name}: {json.dumps(found)}")
                runs[name].append(found)
    plain, compared = (statistics.median(one["cpu_us_per_point"] for one in runs[name]) for name in runs)
    pairs = zip(runs["plain"], runs["compared"])
    more = [compared["cpu_us_per_point"] / plain["cpu_us_per_point"] - 1 for plain, compared in pairs]
    memory = [statistics.median(one["memory_bytes"] for one in runs[name]) for name in ("plain", "compared")]
    series = max(one["verdicts"].get("series", 0) for one in runs["compared"])
    print(f"series compared            {series:,}")
    print(f"CPU for a point            {plain:.3f} us without, {compared:.3f} us with: {statistics.median(more):+.1%}")
    print(f"memory                     {memory[0] / 2**20:,.0f} MiB without, {memory[1] / 2**20:,.0f} MiB with")
    if series:
        print(f"memory for a series, side  {(memory[1] - memory[0]) / series / 2:,.0f} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
