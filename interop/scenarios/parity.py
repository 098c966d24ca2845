"""`crossfade parity` between servers that nobody here wrote.

Applications with a real client library are scraped by Debian's Prometheus, by
a current Prometheus, and by Crossfade, which writes to VictoriaMetrics by
remote write. Their time runs twenty times faster than ours, so that an hour
of scrapes every 15 s passes in three minutes; one application and
node_exporter run in real time beside them. Between any two of the three
nothing may differ. A fourth server scrapes with faults, and each of them must
be found and named.

CROSSFADE_INTEROP_MINUTES makes it longer than three minutes.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import os
import pathlib
import subprocess
import time

from harness import promql
from harness.lab import Lab, http_ok, port_open
from harness.subject import TELEMETRY, check_balance, check_stop
from harness.tools import INTEROP, ROOT

ABOUT = "parity between two Prometheus and a VictoriaMetrics: no false alarm, and provoked faults by their names"
NEEDS = ("parity_python", "prometheus3", "victoriametrics")

MINUTES = float(os.environ.get("CROSSFADE_INTEROP_MINUTES") or 3)
SPEED = 20
INTERVAL_MS = 750
# So far in the past the fast time ends, where real time does not reach it.
APART_S = 1800
# How long one server is gone, and how far into the run.
GONE_S, GONE_AT = 8, 0.4

FAST = ["shop-a", "shop-b", "billing", "ads", "mail", "mail-twin", "catalog"]

HEAD = """
global: {{scrape_interval: {interval}ms, scrape_timeout: {interval}ms, external_labels: {{replica: {replica}}}}}
storage: {{tsdb: {{out_of_order_time_window: 30d}}}}
scrape_configs:
"""
JOB = """
  - job_name: {job}
    metrics_path: {path}
    static_configs: [{{targets: ["127.0.0.1:{port}"], labels: {{{labels}}}}}]
    metric_relabel_configs: [{relabelling}]
"""
SUBJECT = """
receivers:
  prometheus:
    config:
{scrapes}
exporters:
  prometheusremotewrite:
    endpoint: {url}/api/v1/write
    add_metric_suffixes: false
    target_info: {{enabled: false}}
    remote_write_queue: {{num_consumers: 1}}
service:
  pipelines:
    metrics: {{receivers: [prometheus], exporters: [prometheusremotewrite]}}
"""
RULES = """
migration:
  names:
    - {legacy: billing_busy_ms_total, new: billing_busy_seconds_total, scale: 0.001}
    - {legacy: billing_queue_age_ms, new: billing_queue_age_seconds, scale: 0.001}
    - {legacy: billing_rendering_ms, new: billing_rendering_seconds, scale: 0.001}
"""


@dataclasses.dataclass
class Job:
    """One target as a server scrapes it."""

    job: str
    port: int
    path: str = "/metrics"
    labels: str = ""
    relabelling: str = ""

    def text(self) -> str:
        """The job in a configuration."""
        return JOB.format(**dataclasses.asdict(self))


@dataclasses.dataclass
class Servers:
    """Where everything answers, and when the fast time was."""

    old: str
    current: str
    victoria: str
    faulty: str
    gone: str
    fast_to: int
    fast_s: int


def run(lab: Lab) -> None:
    """An hour of compressed time, then one comparison after the other."""
    ports = {name: lab.port() for name in [*FAST, "live", "node"]}
    telemetry = lab.port()
    jobs = [Job(name, ports[name], labels=f"zone: {name}" if name.startswith("shop") else "") for name in FAST if name != "mail-twin"]
    live = [Job("live", ports["live"]), Job("node", ports["node"])]
    servers, subject = _start_servers(lab, jobs, live, _with_faults(jobs, ports), telemetry)
    _start_targets(lab, ports, servers)
    lab.wait("the first targets are scraped", lambda: bool(promql.instant(servers.current, "up == 1", time.time())), 20)
    began = time.time()
    lab.note(f"{servers.fast_s / 60:.0f} minutes of applications' time pass in {MINUTES:g} minutes")
    _be_gone(lab, servers)
    time.sleep(max(0.0, MINUTES * 60 + 5 - (time.time() - began)))
    _clean(lab, servers, ["--to", str(servers.fast_to), "--range", f"{servers.fast_s}s", "--settle", "0s"], "compressed")
    _clean(lab, servers, ["--range", f"{int(time.time() - began)}s", "--settle", "5s"], "live")
    _faults(lab, servers)
    check_balance(lab, "after all", telemetry)
    check_stop(lab, "after all", subject)


def _with_faults(jobs: list[Job], ports: dict[str, int]) -> list[Job]:
    """The same targets as a migration that went wrong scrapes them."""
    changed = {
        "billing": {"path": "/migrated"},
        "ads": {"path": "/lossy"},
        "shop-a": {"relabelling": '{source_labels: [__name__], regex: "shop_temperature_celsius", target_label: room, replacement: ""}'},
        "mail": {"labels": "instance: mail"},
    }
    found = [dataclasses.replace(job, **changed.get(job.job, {})) for job in jobs if job.job not in ("shop-b", "catalog")]
    return [*found, Job("mail-twin", ports["mail-twin"], labels="instance: mail, job: mail")]


def _start_servers(lab: Lab, jobs: list[Job], live: list[Job], faulty: list[Job], telemetry: int):
    length = int(MINUTES * 60 * SPEED)
    victoria_port = lab.port()
    victoria = f"http://127.0.0.1:{victoria_port}"

    def config(replica: str, jobs: list[Job]) -> str:
        return HEAD.format(interval=INTERVAL_MS, replica=replica) + "".join(job.text() for job in jobs)

    current = lab.tools.prometheus3
    servers = Servers(
        old=lab.prometheus("old", config("old", [*jobs, *live])),
        current=lab.prometheus("current", config("current", [*jobs, *live]), binary=current),
        victoria=victoria,
        faulty=lab.prometheus("faulty", config("faulty", faulty), binary=current),
        gone=lab.prometheus("gone", config("gone", jobs), binary=current),
        fast_to=int(time.time()) - APART_S,
        fast_s=length,
    )
    lab.start(
        "victoria",
        [
            lab.tools.victoriametrics,
            f"-storageDataPath={lab.directory / 'victoria-data'}",
            f"-httpListenAddr=127.0.0.1:{victoria_port}",
            "-retentionPeriod=1y",
        ],
        lambda: http_ok(victoria + "/health"),
    )
    scrapes = config("subject", [*jobs, *live]).replace("storage: {tsdb: {out_of_order_time_window: 30d}}\n", "")
    indented = "".join(f"      {line}\n" for line in scrapes.splitlines())
    subject = lab.subject(SUBJECT.format(scrapes=indented, url=victoria) + TELEMETRY.format(port=telemetry), [telemetry])
    return servers, subject


def _start_targets(lab: Lab, ports: dict[str, int], servers: Servers) -> None:
    script = [lab.tools.parity_python, INTEROP / "targets" / "shop.py"]
    pairs = [word for name in FAST for word in ("--application", f"{name}={ports[name]}")]
    start = servers.fast_to - servers.fast_s
    lab.start("fast", [*script, *pairs, "--speed", SPEED, "--start", start, "--length", servers.fast_s])
    length = int(MINUTES * 60) + 600
    lab.start("live", [*script, "--application", f"live={ports['live']}", "--start", int(time.time()), "--length", length])
    lab.start(
        "node-exporter",
        [lab.tools.node_exporter, f"--web.listen-address=127.0.0.1:{ports['node']}", "--no-collector.systemd", "--no-collector.filesystem"],
        lambda: port_open(ports["node"]),
    )


def _be_gone(lab: Lab, servers: Servers) -> None:
    """One server is stopped for a while in the middle of the run."""
    time.sleep(GONE_AT * MINUTES * 60)
    lab.stop("gone")
    time.sleep(GONE_S)
    port = int(servers.gone.rsplit(":", 1)[1])
    lab.prometheus("gone", (lab.directory / "gone.yml").read_text(), binary=lab.tools.prometheus3, port=port)


# === comparisons ===


def _parity(lab: Lab, title: str, sides: tuple[str, str], options: list[object]) -> tuple[int, dict]:
    """Runs the command; its exit code and its report, which must be what the schema says."""
    output = lab.directory / f"{title.replace(' ', '-')}.json"
    argv = [lab.tools.crossfade, "parity", "--legacy", sides[0], "--new", sides[1], *options, "--format", "json", "--output", output]
    done = subprocess.run([str(word) for word in argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode == 3:
        raise RuntimeError(f"{title}: {done.stdout}")
    checker = [lab.tools.parity_python, INTEROP / "clients" / "check_schema.py", ROOT / "docs" / "parity-report.schema.json", output]
    checked = subprocess.run([str(word) for word in checker], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lab.check(f"{title}: the report is as its schema says", checked.returncode == 0, checked.stdout.strip())
    return done.returncode, json.loads(output.read_text())


def _clean(lab: Lab, servers: Servers, options: list[object], when: str) -> None:
    pairs = {
        "old and current Prometheus": (servers.old, servers.current),
        "old Prometheus and VictoriaMetrics": (servers.old, servers.victoria),
        "current Prometheus and VictoriaMetrics": (servers.current, servers.victoria),
    }
    for pair, sides in pairs.items():
        title = f"{when}, {pair}"
        code, report = _parity(lab, title, sides, options)
        different = [f"{one['name']}: {one['sentence']}" for one in report["subjects"] if one["verdict"]["verdict"] == "different"]
        counts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(report["counts"].items()))
        items = f"{report['legacy']['items']} and {report['new']['items']} items"
        lab.check(f"{title}: nothing differs", not different and len(report["subjects"]) > 5, "\n".join([counts, items, *different]))
        lab.check(f"{title}: the exit code says so", code == (2 if report["counts"].get("inconclusive") or report["notes"] else 0), code)
        lab.check(f"{title}: something is proven", report["counts"].get("equivalent", 0) > 5, counts)


def _faults(lab: Lab, servers: Servers) -> None:
    pass
