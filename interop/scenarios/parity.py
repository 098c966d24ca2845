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

import dataclasses
import json
import os
import subprocess
import time
import xml.etree.ElementTree

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

# What runs at the moment of a scrape is mostly other scrapes, which come at the same times again and again.
OF_THE_MOMENT = '{source_labels: [__name__], regex: "node_procs_(running|blocked)|promhttp_metric_handler_requests_in_flight", action: drop}'

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
# What only the side that is written to has, since a server adds it to what it sends away.
IGNORED = "migration: {parity: {ignore: {labels: [replica]}}}\n"
RULES = """
migration:
  names:
    - {legacy: billing_busy_ms_total, new: billing_busy_seconds_total, scale: 0.001}
    - {legacy: billing_queue_age_ms, new: billing_queue_age_seconds, scale: 0.001}
    - {legacy: billing_rendering_ms, new: billing_rendering_seconds, scale: 0.001}
"""
RENAMED = {
    "billing_busy_ms_total": "billing_busy_seconds_total",
    "billing_queue_age_ms": "billing_queue_age_seconds",
    "billing_rendering_ms": "billing_rendering_seconds",
}
QUERIES = """
- shop_workers
- sum by (route) (billing_requests_total{route=~"/|/item"})
- legacy: sum(ads_queue_age_ms)
  new: sum(ads_queue_age_ms) / 1000
  scale: 0.001
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
    jobs = [Job(name, ports[name], labels=f"zone: {name}" if name.startswith("shop") else "") for name in FAST]
    live = [Job("live", ports["live"]), Job("node", ports["node"], relabelling=OF_THE_MOMENT)]
    servers, subject = _start_servers(lab, jobs, live, _with_faults(jobs), telemetry)
    _start_targets(lab, ports, servers)
    lab.wait("the first targets are scraped", lambda: bool(promql.instant(servers.current, "up == 1", time.time())), 20)
    began = time.time()
    lab.note(f"{servers.fast_s / 60:.0f} minutes of applications' time pass in {MINUTES:g} minutes")
    _be_gone(lab, servers)
    time.sleep(max(0.0, MINUTES * 60 + 5 - (time.time() - began)))
    fast = ["--to", servers.fast_to, "--range", f"{servers.fast_s}s", "--settle", "0s"]
    live = ["--to", int(time.time()) - 3, "--range", f"{int(time.time() - began)}s", "--settle", "0s"]
    _clean(lab, servers, fast, "compressed")
    _clean(lab, servers, live, "live")
    _faults(lab, servers, fast)
    _codes(lab, servers, fast)
    check_balance(lab, "after all", telemetry)
    check_stop(lab, "after all", subject)


def _with_faults(jobs: list[Job]) -> list[Job]:
    """The same targets as a migration that went wrong scrapes them."""
    changed = {
        "billing": {"path": "/migrated"},
        "ads": {"path": "/lossy"},
        "shop-a": {"relabelling": '{source_labels: [__name__], regex: "shop_temperature_celsius", target_label: room, replacement: ""}'},
        "mail": {"labels": "instance: mail"},
        "mail-twin": {"labels": "instance: mail, job: mail"},
    }
    return [dataclasses.replace(job, **changed.get(job.job, {})) for job in jobs if job.job not in ("shop-b", "catalog")]


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


def _run(lab: Lab, sides: tuple[str, str], options: list[object]) -> subprocess.CompletedProcess:
    argv = [lab.tools.crossfade, "parity", "--legacy", sides[0], "--new", sides[1], *options]
    return subprocess.run([str(word) for word in argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _parity(lab: Lab, title: str, sides: tuple[str, str], options: list[object]) -> tuple[int, dict]:
    """Runs the command; its exit code and its report, which must be what the schema says."""
    output = lab.directory / f"{title.replace(' ', '-')}.json"
    done = _run(lab, sides, [*options, "--format", "json", "--output", output])
    if done.returncode == 3:
        raise RuntimeError(f"{title}: {done.stdout}")
    checker = [lab.tools.parity_python, INTEROP / "clients" / "check_schema.py", ROOT / "docs" / "parity-report.schema.json", output]
    checked = subprocess.run([str(word) for word in checker], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lab.check(f"{title}: the report is as its schema says", checked.returncode == 0, checked.stdout.strip())
    return done.returncode, json.loads(output.read_text())


def _verdicts(report: dict) -> dict[str, dict]:
    return {subject["name"]: subject for subject in report["subjects"]}


def _different(report: dict) -> list[str]:
    return [name for name, one in _verdicts(report).items() if one["verdict"]["verdict"] == "different"]


def _counts(report: dict) -> str:
    return ", ".join(f"{count} {verdict}" for verdict, count in sorted(report["counts"].items()))


def _clean(lab: Lab, servers: Servers, options: list[object], when: str) -> None:
    ignored = [*options, "--config", lab.file("ignored.yaml", IGNORED)]
    for pair, sides in {
        "old and current Prometheus": (servers.old, servers.current),
        "old Prometheus and VictoriaMetrics": (servers.old, servers.victoria),
        "current Prometheus and VictoriaMetrics": (servers.current, servers.victoria),
    }.items():
        title = f"{when}, {pair}"
        code, report = _parity(lab, title, sides, ignored)
        different = [f"{name}: {_verdicts(report)[name]['sentence']}" for name in _different(report)]
        items = f"{report['legacy']['items']} and {report['new']['items']} items"
        lab.check(f"{title}: nothing differs", not different and len(report["subjects"]) > 5, "; ".join([_counts(report), items, *different]))
        expected = 1 if different else 2 if report["counts"].get("inconclusive") or report["notes"] else 0
        lab.check(f"{title}: the exit code says what the report does", code == expected, code)
        lab.check(f"{title}: more is proven than is open", report["counts"].get("equivalent", 0) > len(report["subjects"]) / 2, _counts(report))


# Of the faulty server: by subject, the cause, what it says of it, and the failure.
FOUND = {
    "ads_requests_total": ("loss", {"side": "new"}, "silent_loss"),
    "ads_request_duration_seconds": ("loss", {"side": "new"}, "silent_loss"),
    "catalog_requests_total": ("series_missing", {"side": "new"}, "silent_loss"),
    "shop_requests_total": ("series_missing", {"side": "new"}, "silent_loss"),
    "shop_temperature_celsius": ("attribute_missing", {"side": "new", "key": "room"}, "attribute_changed"),
    "mail_requests_total": ("duplicate_writers", {"side": "new"}, "duplicate_writers"),
    "mail_rendering_ms": ("duplicate_writers", {"side": "new"}, "duplicate_writers"),
}


def _faults(lab: Lab, servers: Servers, options: list[object]) -> None:
    sides = (servers.old, servers.faulty)
    code, report = _parity(lab, "faults", sides, [*options, "--config", lab.file("rules.yaml", RULES)])
    lab.check("faults: the exit code is 1", code == 1, code)
    _named(lab, report, FOUND)
    losses = [one["verdict"]["cause"] for name, one in _verdicts(report).items() if name == "ads_requests_total" and name in _different(report)]
    lab.check("5 % of the events lost: the interval holds them", bool(losses) and losses[0]["ratio_low"] <= 0.05 <= losses[0]["ratio_high"], losses)
    subjects = _verdicts(report)
    for legacy, new in RENAMED.items():
        subject = subjects[new]
        is_pair = (subject["legacy_names"], subject["new_names"]) == ([legacy], [new])
        lab.check(f"renamed and in another unit by a rule: {new} does not differ", is_pair and new not in _different(report), subject["sentence"])
    sound = ["ads_workers", "billing_workers", "billing_orders_total", "billing_request_duration_seconds", "ads_queue_age_ms"]
    wrong = [f"{name}: {subjects[name]['sentence']}" for name in sound if name in _different(report)]
    lab.check("what has no fault does not differ beside those that have", not wrong, "; ".join(wrong))
    unscaled = RULES.replace(", scale: 0.001", "")
    _, report = _parity(lab, "another unit", sides, [*options, "--config", lab.file("unscaled.yaml", unscaled)])
    _named(lab, report, {name: ("unit_changed", {"factor": 0.001}, "unit_changed") for name in RENAMED.values()})
    _, report = _parity(lab, "no rules", sides, options)
    expected = {name: ("series_missing", {"side": "new"}, "silent_loss") for name in RENAMED}
    expected["billing_rendering_seconds"] = ("series_missing", {"side": "legacy"}, "silent_loss")
    _named(lab, report, expected)
    _, report = _parity(lab, "a label more", (servers.old, servers.victoria), options)
    _named(lab, report, {"billing_orders_total": ("attribute_missing", {"side": "legacy", "key": "replica"}, "attribute_changed")})
    _, report = _parity(lab, "gone for a while", (servers.current, servers.gone), options)
    _named(lab, report, {"all metrics": ("gap", {"side": "new"}, "silent_loss")})
    lab.check("a server that was gone differs in nothing but its gap", _different(report) == ["all metrics"], _different(report))


def _named(lab: Lab, report: dict, expected: dict[str, tuple[str, dict, str]]) -> None:
    subjects = _verdicts(report)
    for name, (cause, figures, failure) in expected.items():
        subject = subjects.get(name, {"verdict": {}, "failure": None, "sentence": "not in the report"})
        found = subject["verdict"].get("cause", {})
        ok = found.get("cause") == cause and figures.items() <= found.items() and subject["failure"] == failure
        lab.check(f"{cause} is named: {name}", ok, subject["sentence"])


def _codes(lab: Lab, servers: Servers, options: list[object]) -> None:
    """Everything that is asked is equal: 0. Nobody answers: 3. And the forms of a report for other programs."""
    queries = [*options, "--margin", "5%", "--queries", lab.file("queries.yaml", QUERIES)]
    code, report = _parity(lab, "queries", (servers.old, servers.victoria), [*queries, "--config", lab.directory / "ignored.yaml"])
    sentences = "; ".join(f"{name}: {one['sentence']}" for name, one in _verdicts(report).items())
    lab.check("expressions that are equal end with 0", code == 0, sentences)
    done = _run(lab, (servers.old, f"http://127.0.0.1:{lab.port()}"), options)
    lab.check("a backend that does not answer ends with 3", done.returncode == 3, done.stdout.strip())
    done = _run(lab, (servers.old, servers.faulty), [*options, "--format", "junit"])
    tests = xml.etree.ElementTree.fromstring(done.stdout)
    failed = tests.findall(".//testcase/failure")
    lab.check("JUnit: as many cases failed as it says", len(failed) == int(tests.get("failures", 0)) > 5, f"{len(failed)} of {tests.get('tests')}")
    for form in ("table", "markdown", "html"):
        done = _run(lab, (servers.old, servers.faulty), [*options, "--format", form])
        lab.file(f"report.{form}", done.stdout)
        lab.check(f"{form}: the duplicate writer is in it", "mail_" in done.stdout and "several writers" in done.stdout, f"{len(done.stdout)} characters")
