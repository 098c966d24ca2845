"""Debian's Prometheus as the legacy backend, and as the judge of what reaches it.

`fed` gets everything from the program under test by remote write; `own`
scrapes the same targets itself. Both are asked the same questions."""

from __future__ import annotations

import re
import sys
import time
import urllib.request

from harness import promql
from harness.lab import Lab, Process, http_get, port_open
from harness.subject import TELEMETRY, check_balance, check_stop
from harness.tools import INTEROP

ABOUT = "the same PromQL through scrape-and-remote-write and through Prometheus' own scrape gives the same answers"

INTERVAL_S = 1
WARM_UP_S = 25
LAG_S = 3
# A scrape reads the value some time after the timestamp it gives it; on a busy machine, up to this.
SLACK_S = 0.9

# One scrape configuration for both. `$` is doubled for the program under test, as in a Collector's file.
SCRAPES = """
global: {{scrape_interval: {interval}s, scrape_timeout: {interval}s}}
scrape_configs:
  - job_name: node
    static_configs: [{{targets: ["127.0.0.1:{node}"], labels: {{fleet: a}}}}]
  - job_name: synthetic
    metrics_path: /text
    static_configs: [{{targets: ["127.0.0.1:{synthetic}"], labels: {{environment: "test", empty: ""}}}}]
  - job_name: openmetrics
    metrics_path: /openmetrics
    static_configs: [{{targets: ["127.0.0.1:{synthetic}"]}}]
  - job_name: honoring
    metrics_path: /text
    honor_labels: true
    static_configs: [{{targets: ["127.0.0.1:{synthetic}"]}}]
  - job_name: unstamped
    metrics_path: /text
    honor_timestamps: false
    static_configs: [{{targets: ["127.0.0.1:{synthetic}"]}}]
    metric_relabel_configs:
      - {{source_labels: [__name__], regex: "stamped_.*", action: keep}}
  - job_name: relabelled
    metrics_path: /text
    static_configs: [{{targets: ["127.0.0.1:{synthetic}"]}}]
    relabel_configs:
      - {{source_labels: [__address__], regex: "([^:]+):(\\\\d+)", target_label: host, replacement: "$1 on $${{2}}"}}
      - {{target_label: instance, replacement: renamed}}
    metric_relabel_configs:
      - {{source_labels: [__name__, color], separator: "@", regex: "static_gauge@(red|green)", action: keep}}
      - {{regex: "si(.*)", action: labelmap, replacement: "mapped_$1"}}
      - {{regex: size, action: labeldrop}}
      - {{source_labels: [color], modulus: 7, target_label: bucket, action: hashmod}}
      - {{source_labels: [color], target_label: shout, action: uppercase}}
  - job_name: limited
    metrics_path: /text
    sample_limit: 5
    static_configs: [{{targets: ["127.0.0.1:{synthetic}"]}}]
  - job_name: missing_page
    metrics_path: /nowhere
    static_configs: [{{targets: ["127.0.0.1:{synthetic}"]}}]
  - job_name: dead
    static_configs: [{{targets: ["127.0.0.1:{dead}"]}}]
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
    remote_write_queue: {{num_consumers: 3}}
    {scope}
service:
  pipelines:
    metrics: {{receivers: [prometheus], exporters: [prometheusremotewrite]}}
"""

# Everything that two scrapers must answer alike to the last bit.
EXACT = [
    "static_gauge",
    "static_special",
    "static_requests_total",
    "static_unsuffixed",
    "static_latency_seconds_bucket",
    "static_latency_seconds_sum",
    "static_latency_seconds_count",
    "static_rpc_seconds",
    "static_rpc_seconds_sum",
    "static_rpc_seconds_count",
    '{__name__=~"static_un.*|static_name:.*|static_identity"}',
    '{__name__=~"om_.+"}',
    "sum by (color) (static_gauge)",
    "sum by (method) (static_requests_total)",
    "sum without (code) (static_requests_total)",
    "topk(2, static_requests_total)",
    "histogram_quantile(0.5, static_latency_seconds_bucket)",
    "histogram_quantile(0.99, sum by (le) (static_latency_seconds_bucket))",
    "static_latency_seconds_sum / static_latency_seconds_count",
    'static_requests_total{code=~"5.."} / ignoring(code) group_left sum without (code) (static_requests_total)',
    "rate(static_requests_total[10s])",
    "changes(static_gauge[10s])",
    "resets(static_requests_total[10s])",
    'count by (__name__) ({job="synthetic"})',
    'count by (__name__) ({job="openmetrics"})',
    'count by (__name__) ({job="node"})',
    'count by (job, instance) ({job!=""})',
    "up",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "absent(no_such_series)",
    "count(vanishing_gauge) by (part)",
    'label_replace(static_gauge{job="relabelled"}, "first", "$1", "color", "(.).*")',
    "min_over_time(up[10s])",
    "scrape_series_added",
]

# Straight lines over time: a rate is the slope, whenever the scrapes fell.
LINEAR = [
    "rate(linear_total[10s])",
    'sum by (job) (rate(linear_total{slope="7"}[10s]))',
    "increase(linear_total[10s])",
    "irate(linear_total[5s])",
    "deriv(linear_total[10s])",
    "histogram_quantile(0.9, rate(linear_seconds_bucket[10s]))",
    "rate(linear_seconds_sum[10s]) / rate(linear_seconds_count[10s])",
]
LINEAR_TOLERANCE = 0.05


def run(lab: Lab) -> None:
    """Two judges, one after the other asked about life, vanishing and death of the targets."""
    node, synthetic, dead, telemetry = lab.port(), lab.port(), lab.port(), lab.port()
    target = _start_targets(lab, node, synthetic)
    scrapes = SCRAPES.format(interval=INTERVAL_S, node=node, synthetic=synthetic, dead=dead)
    own = lab.prometheus("own", scrapes.replace("$$", "$"))
    fed = lab.prometheus("fed", "global: {}\n", ["--web.enable-remote-write-receiver"])
    indented = "".join(f"      {line}\n" for line in re.sub(r"\$\$?", "$$", scrapes).splitlines())
    config = SUBJECT.format(scrapes=indented, url=fed, scope="disable_scope_info: true" if not lab.tools.is_crossfade else "") + TELEMETRY.format(port=telemetry)
    subject = lab.subject(config, [telemetry])
    lab.note(f"scraping for {WARM_UP_S} s")
    time.sleep(WARM_UP_S)
    at = float(int(time.time()))
    time.sleep(LAG_S)
    _series(lab, fed, own, at)
    _questions(lab, fed, own, at)
    _stamped(lab, fed, own, at)
    _exemplars(lab, fed, own, at)
    _moving(lab, fed, own, at, f"http://127.0.0.1:{node}/metrics")
    _vanish(lab, fed, own, synthetic)
    _die(lab, fed, own, target)
    check_balance(lab, "after all", telemetry)
    check_stop(lab, "after all", subject)


def _start_targets(lab: Lab, node: int, synthetic: int) -> Process:
    lab.start(
        "node-exporter",
        # What is mounted meanwhile would be there for one of two scrapes only.
        [
            lab.tools.node_exporter,
            f"--web.listen-address=127.0.0.1:{node}",
            "--no-collector.systemd",
            "--no-collector.filesystem",
        ],
        lambda: port_open(node),
    )
    return lab.start(
        "synthetic",
        [sys.executable, INTEROP / "targets" / "synthetic.py", "--port", synthetic],
        lambda: port_open(synthetic),
    )


# What the Collector does otherwise, when it stands in Crossfade's place.
RENAMES = "it renames OpenMetrics info and gauge histogram series"
STALE_SUM = "it writes no staleness marker for the sum of a histogram"
AFFECTED = {
    '{__name__=~"om_.+"}': RENAMES,
    'count by (__name__) ({job="openmetrics"})': RENAMES,
}


def _series(lab: Lab, fed: str, own: str, at: float) -> None:
    window = {"match[]": '{job!=""}', "start": at - 15, "end": at}
    here = {promql.labels(one) for one in promql.ask(fed, "series", window)}
    there = {promql.labels(one) for one in promql.ask(own, "series", window)}
    lines = [f"only fed: {name}" for name in sorted(here - there)] + [f"only own: {name}" for name in sorted(there - here)]
    evidence = "\n".join([f"{len(lines)} of {len(there)} series", *lines[:12]]) if lines else f"{len(there)} series"
    lab.check("both know the same series with the same labels", not lines and bool(there), evidence, RENAMES)


def _questions(lab: Lab, fed: str, own: str, at: float) -> None:
    for query in EXACT:
        _compare(lab, "now", query, promql.instant(fed, query, at), promql.instant(own, query, at), 0.0)
        rows = [promql.over(url, query, at - 8, at, 1) for url in (fed, own)]
        _compare(lab, "over 8 s", query, rows[0], rows[1], 0.0)
    for query in LINEAR:
        rows = [promql.over(url, query, at - 8, at, 1) for url in (fed, own)]
        _compare(lab, "over 8 s", query, rows[0], rows[1], LINEAR_TOLERANCE)


def _compare(lab: Lab, when: str, query: str, here: promql.Answer, there: promql.Answer, tolerance: float, fault: str = "") -> None:
    found = promql.difference(here, there, tolerance)
    points = sum(map(len, there.values()))
    evidence = found or f"{len(there)} series, {points} values"
    lab.check(f"{when}: {query}", not found and points > 0, evidence, AFFECTED.get(query, fault))


def _stamped(lab: Lab, fed: str, own: str, at: float) -> None:
    query = 'stamped_gauge{job="synthetic"}[20s]'
    _compare(lab, "raw samples with timestamps of their own", query, promql.instant(fed, query, at), promql.instant(own, query, at), 0.0)
    for url, name in ((fed, "fed"), (own, "own")):
        raw = promql.instant(url, 'stamped_gauge{job="unstamped"}[10s]', at)
        stamps = [stamp for points in raw.values() for stamp, _ in points]
        lab.check(f"{name}: honor_timestamps false gives each scrape its own time", len(set(stamps)) >= 8, f"{len(stamps)} samples")


def _exemplars(lab: Lab, fed: str, own: str, at: float) -> None:
    found = []
    for url in (fed, own):
        answer = promql.ask(url, "query_exemplars", {"query": '{__name__=~"om_.+"}', "start": at - 3600, "end": at})
        found.append(
            sorted(
                f"{promql.labels(series['seriesLabels'])} <- {sorted(one['labels'].items())} {float(one['value'])} {one['timestamp']:.3f}"
                for series in answer
                for one in series["exemplars"]
            )
        )
    same = found[0] == found[1] and len(found[1]) == 3
    lab.check("both hold the same exemplars", same, f"{len(found[1])} exemplars" if same else f"fed {found[0]}\nown {found[1]}")


def _moving(lab: Lab, fed: str, own: str, at: float, page: str) -> None:
    counters = set(re.findall(r"^# TYPE (\S+) counter$", http_get(page), re.MULTILINE))
    counters |= {f"{name}_{part}" for name in re.findall(r"^# TYPE (\S+) histogram$", http_get(page), re.MULTILINE) for part in ("bucket", "count", "sum")}
    query = '{job="node",__name__!~"scrape_.*|up"}[20s]'
    here, there = promql.instant(fed, query, at), promql.instant(own, query, at)
    wrong, brackets, regions = [], 0, 0
    for name in sorted(here.keys() & there.keys()):
        if name.split("{")[0] in counters:
            found = promql.impossible_counter(here[name], there[name], SLACK_S)
            brackets += 1
        else:
            found = promql.impossible_gauge(here[name], there[name])
            regions += 1
        if found:
            wrong.append(f"{name}: {found}")
    evidence = "\n".join(wrong[:8]) or f"{brackets} counters between their neighbours, {regions} others equal or in the same region"
    lab.check("node_exporter: every value is one that two samplings of it can give", not wrong and brackets > 50, evidence)
    samples = {name: len(points) for name, points in here.items()}
    gaps = [f"{name}: {count}" for name, count in samples.items() if abs(count - len(there.get(name, []))) > 1]
    lab.check("node_exporter: no sample is missing", not gaps and bool(samples), "\n".join(gaps[:8]) or f"{sum(samples.values())} samples")


def _vanish(lab: Lab, fed: str, own: str, synthetic: int) -> None:
    _post(f"http://127.0.0.1:{synthetic}/hide")
    time.sleep(4 * INTERVAL_S + LAG_S)
    at = time.time() - LAG_S + 1
    for url, name in ((fed, "fed"), (own, "own")):
        left = promql.instant(url, '{__name__=~"vanishing_.*"}', at)
        lab.check(f"{name}: a vanished series is stale at once", not left, f"left {sorted(left)[:5]}" if left else "none left", STALE_SUM)
    _compare(lab, "the other series live on", "static_gauge", promql.instant(fed, "static_gauge", at), promql.instant(own, "static_gauge", at), 0.0)
    _post(f"http://127.0.0.1:{synthetic}/show")
    time.sleep(3 * INTERVAL_S + LAG_S)
    at = time.time() - LAG_S + 1
    query = '{__name__=~"vanishing_.*"}'
    _compare(lab, "a series that comes back", query, promql.instant(fed, query, at), promql.instant(own, query, at), 0.0)


def _die(lab: Lab, fed: str, own: str, target: Process) -> None:
    target.stop()
    time.sleep(4 * INTERVAL_S + LAG_S)
    at = time.time() - LAG_S + 1
    query = '{job=~"synthetic|openmetrics|honoring|relabelled",__name__!~"scrape_duration_seconds"}'
    here, there = promql.instant(fed, query, at), promql.instant(own, query, at)
    _compare(lab, "after the target died", query, here, there, 0.0, STALE_SUM)
    up = {name: points[0][1] for name, points in here.items() if name.startswith("up{")}
    lab.check("fed: up is 0 for every job of the dead target", len(up) == 4 and not any(up.values()), up)


def _post(url: str) -> None:
    urllib.request.urlopen(urllib.request.Request(url, data=b"", method="POST"), timeout=5).close()
