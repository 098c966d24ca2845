"""A real Prometheus scrapes the `prometheus` exporter, as text and as OpenMetrics."""

from __future__ import annotations

import json
import time
import urllib.request

from harness import promql
from harness.lab import Lab, http_get
from harness.subject import TELEMETRY, check_balance, check_stop

ABOUT = "Prometheus scrapes the pull exporter: names, labels, values, exemplars, metadata; what is silent expires"

CONFIG = """
receivers:
  otlp:
    protocols:
      http: {{endpoint: "127.0.0.1:{http}"}}
exporters:
  prometheus/text:
    endpoint: 127.0.0.1:{text}
    metric_expiration: 8s
    const_labels: {{via: text}}
  prometheus/openmetrics:
    endpoint: 127.0.0.1:{openmetrics}
    enable_open_metrics: true
    namespace: shop
    resource_to_telemetry_conversion: {{enabled: true}}
service:
  pipelines:
    metrics: {{receivers: [otlp], exporters: [prometheus/text, prometheus/openmetrics]}}
"""

SCRAPES = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: text
    honor_labels: true
    static_configs: [{{targets: ["127.0.0.1:{text}"]}}]
  - job_name: openmetrics
    honor_labels: true
    static_configs: [{{targets: ["127.0.0.1:{openmetrics}"]}}]
"""

RESOURCE = {"service.namespace": "shop", "service.name": "cart", "service.instance.id": "cart-1", "host.name": "h1"}

# What Prometheus must answer, by query; scopes are summed away because their labels are an option.
SCOPE = "otel_scope_name, otel_scope_version, otel_scope_schema_url"
TEXT = {
    "temperature_celsius": {'{room="kitchen"}': 21.5, '{room="out \\"side\\" \\\\ \\n"}': -3.0},
    "requests_total": {'{http_method="GET"}': 17.0, '{http_method="POST"}': 4.0},
    "queue_depth": {"{}": -7.0},
    "latency_milliseconds_bucket": {
        '{le="0.5"}': 1.0,
        '{le="10"}': 3.0,
        '{le="100"}': 6.0,
        '{le="+Inf"}': 7.0,
    },
    "latency_milliseconds_count": {"{}": 7.0},
    "latency_milliseconds_sum": {"{}": 312.25},
    "rpc_seconds": {'{quantile="0.5"}': 0.25, '{quantile="0.99"}': 0.75},
    "rpc_seconds_count": {"{}": 11.0},
    "rpc_seconds_sum": {"{}": 3.5},
}


def run(lab: Lab) -> None:
    """One push, two pages, two ways to read them."""
    http, text, openmetrics, telemetry = lab.port(), lab.port(), lab.port(), lab.port()
    config = CONFIG.format(http=http, text=text, openmetrics=openmetrics) + TELEMETRY.format(port=telemetry)
    subject = lab.subject(config, [http, text, openmetrics])
    judge = lab.prometheus("judge", SCRAPES.format(text=text, openmetrics=openmetrics))
    # Prometheus takes some seconds to find its first targets.
    lab.wait("Prometheus scrapes both", lambda: len(promql.instant(judge, "up == 1", time.time())) == 2, 20)
    _push(http)
    time.sleep(4)
    at = time.time() - 1
    _content_types(lab, text, openmetrics)
    _answers(lab, judge, at)
    _metadata(lab, judge)
    _exemplars(lab, judge, at)
    up = promql.instant(judge, "min_over_time(up[3s])", at)
    lab.check("both pages are well-formed for Prometheus in every scrape", len(up) == 2 and all(points[0][1] == 1 for points in up.values()), up)
    lab.wait(
        "the series expire",
        lambda: not promql.instant(judge, 'requests_total{via="text"}', time.time() - 0.5),
        15,
    )
    still = promql.instant(judge, "shop_requests_total", time.time() - 0.5)
    lab.check("what is silent for metric_expiration is gone, and only at that exporter", len(still) == 2, f"{len(still)} series at the other")
    check_balance(lab, "after all", telemetry)
    check_stop(lab, "after all", subject)


def _answers(lab: Lab, judge: str, at: float) -> None:
    for name, expected in TEXT.items():
        for page, prefix, extra in (
            ("text", "", {"via": "text"}),
            ("openmetrics", "shop_", {key.replace(".", "_"): value for key, value in RESOURCE.items()}),
        ):
            selector = '{via="text"}' if page == "text" else '{host_name="h1"}'
            got = promql.instant(judge, f"sum without ({SCOPE}) ({prefix}{name}{selector})", at)
            wanted = {}
            for labels, value in expected.items():
                pairs = {"job": "shop/cart", "instance": "cart-1", **extra}
                if page == "openmetrics":
                    # OpenMetrics writes numbers of `le` in canonical form, with a point.
                    labels = labels.replace('le="10"', 'le="10.0"').replace('le="100"', 'le="100.0"')
                wanted[_with(labels, pairs)] = [(at, value)]
            # Only the values count; the time of an instant answer is the question's.
            got = {series: [(at, points[0][1])] for series, points in got.items()}
            found = promql.difference(wanted, got, 0.0)
            lab.check(f"{page}: {prefix}{name}", not found, found or f"{len(got)} series")
    info = promql.instant(judge, 'target_info{job="shop/cart",instance="cart-1",host_name="h1"}', at)
    lab.check("target_info carries the resource", len(info) >= 1 and all(points[0][1] == 1 for points in info.values()), sorted(info))


def _with(labels: str, more: dict[str, str]) -> str:
    pairs = {}
    inner = labels[1:-1]
    if inner:
        key, _, value = inner.partition("=")
        pairs[key] = json.loads(value)
    return promql.labels({**pairs, **more})


def _content_types(lab: Lab, text: int, openmetrics: int) -> None:
    accept = {"Accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"}
    for port, wanted in ((text, "text/plain"), (openmetrics, "application/openmetrics-text")):
        request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers=accept)
        with urllib.request.urlopen(request, timeout=5) as answer:
            got = answer.headers["Content-Type"]
        lab.check(f"a scraper that prefers OpenMetrics gets {wanted}", got.startswith(wanted), got)
    page = http_get(f"http://127.0.0.1:{openmetrics}/metrics", accept)
    lab.check("the OpenMetrics page ends with # EOF", page.endswith("# EOF\n"), page[-40:])


def _metadata(lab: Lab, judge: str) -> None:
    found = promql.get(judge, "metadata", {})
    for name, kind in (
        ("temperature_celsius", "gauge"),
        ("requests_total", "counter"),
        ("queue_depth", "gauge"),
        ("latency_milliseconds", "histogram"),
        ("rpc_seconds", "summary"),
    ):
        got = [(one["type"], one["help"]) for one in found.get(name, [])]
        lab.check(f"metadata: {name} is a {kind} with its help", got == [(kind, f"About {name.split('_')[0]}.")], got)


def _exemplars(lab: Lab, judge: str, at: float) -> None:
    answer = promql.ask(judge, "query_exemplars", {"query": "shop_latency_milliseconds_bucket", "start": at - 60, "end": at + 60})
    found = [(series["seriesLabels"].get("le"), one["labels"], float(one["value"])) for series in answer for one in series["exemplars"]]
    wanted = [("10.0", {"trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": "00f067aa0ba902b7"}, 7.5)]
    lab.check("OpenMetrics: the exemplar is in its bucket", found == wanted, found)


def _push(port: int) -> None:
    start, now = str(time.time_ns() - 10_000_000_000), str(time.time_ns())

    def point(**more: object) -> dict:
        attributes = [{"key": key, "value": {"stringValue": value}} for key, value in more.pop("attributes", {}).items()]
        return {"startTimeUnixNano": start, "timeUnixNano": now, "attributes": attributes, **more}

    exemplar = {
        "timeUnixNano": now,
        "asDouble": 7.5,
        "traceId": "0af7651916cd43dd8448eb211c80319c",
        "spanId": "00f067aa0ba902b7",
    }
    metrics = [
        {
            "name": "temperature",
            "unit": "Cel",
            "description": "About temperature.",
            "gauge": {
                "dataPoints": [
                    point(asDouble=21.5, attributes={"room": "kitchen"}),
                    point(asDouble=-3.0, attributes={"room": 'out "side" \\ \n'}),
                ]
            },
        },
        {
            "name": "requests",
            "unit": "1",
            "description": "About requests.",
            "sum": {
                "isMonotonic": True,
                "aggregationTemporality": 2,
                "dataPoints": [
                    point(asInt="17", attributes={"http.method": "GET"}),
                    point(asInt="4", attributes={"http.method": "POST"}),
                ],
            },
        },
        {
            "name": "queue.depth",
            "unit": "{item}",
            "description": "About queue.",
            "sum": {"isMonotonic": False, "aggregationTemporality": 2, "dataPoints": [point(asInt="-7")]},
        },
        {
            "name": "latency",
            "unit": "ms",
            "description": "About latency.",
            "histogram": {
                "aggregationTemporality": 2,
                "dataPoints": [
                    point(count="7", sum=312.25, explicitBounds=[0.5, 10, 100], bucketCounts=["1", "2", "3", "1"], exemplars=[exemplar])
                ],
            },
        },
        {
            "name": "rpc",
            "unit": "s",
            "description": "About rpc.",
            "summary": {
                "dataPoints": [
                    point(count="11", sum=3.5, quantileValues=[{"quantile": 0.5, "value": 0.25}, {"quantile": 0.99, "value": 0.75}])
                ]
            },
        },
    ]
    resource = {"attributes": [{"key": key, "value": {"stringValue": value}} for key, value in RESOURCE.items()]}
    scope = {"name": "interop.pull", "version": "1"}
    body = {"resourceMetrics": [{"resource": resource, "scopeMetrics": [{"scope": scope, "metrics": metrics}]}]}
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/metrics", data=json.dumps(body).encode(), headers={"Content-Type": "application/json"}
    )
    urllib.request.urlopen(request, timeout=10).close()
