"""A scrape target whose answers are known.

Serves `/text` (Prometheus text 0.0.4) and `/openmetrics` (OpenMetrics 1.0.0,
with exemplars). Static series never change; linear ones are a straight line
over time, so that two scrapers that read at different moments still see the
same rate. `POST /hide` makes the series named `vanishing_*` vanish, `POST
/show` brings them back.
"""

from __future__ import annotations

import argparse
import http.server
import threading
import time

STARTED = time.time()
HIDDEN = threading.Event()

STATIC = r"""# HELP static_gauge A gauge with "quotes", a backslash \\ and a\nline break in its help.
# TYPE static_gauge gauge
static_gauge{color="red",size="large"} 1.5
static_gauge{color="green",size=""} -2
static_gauge{color="quote \" backslash \\ newline \n done",size="ünïcödé 世界 🚀"} 3e-9
static_gauge{reserved_like="kept",a="1",A="2"} 1.7976931348623157e+308
# TYPE static_special gauge
static_special{is="nan"} NaN
static_special{is="plus_inf"} +Inf
static_special{is="minus_inf"} -Inf
static_special{is="zero"} 0
static_special{is="minus_zero"} -0
static_special{is="tiny"} 5e-324
static_special{is="above_2_53"} 9007199254740993
static_special{is="hex_like"} 1e3
# HELP static_requests_total Requests.
# TYPE static_requests_total counter
static_requests_total{method="get",code="200"} 1027
static_requests_total{method="get",code="500"} 3
static_requests_total{method="post",code="200"} 12
# TYPE static_unsuffixed counter
static_unsuffixed 5
# TYPE static_latency_seconds histogram
static_latency_seconds_bucket{route="/",le="0.05"} 24
static_latency_seconds_bucket{route="/",le="0.1"} 33
static_latency_seconds_bucket{route="/",le="0.5"} 129
static_latency_seconds_bucket{route="/",le="1"} 133
static_latency_seconds_bucket{route="/",le="2.5"} 140
static_latency_seconds_bucket{route="/",le="+Inf"} 144
static_latency_seconds_sum{route="/"} 53.423
static_latency_seconds_count{route="/"} 144
static_latency_seconds_bucket{route="/empty",le="0.05"} 0
static_latency_seconds_bucket{route="/empty",le="0.1"} 0
static_latency_seconds_bucket{route="/empty",le="0.5"} 0
static_latency_seconds_bucket{route="/empty",le="1"} 0
static_latency_seconds_bucket{route="/empty",le="2.5"} 0
static_latency_seconds_bucket{route="/empty",le="+Inf"} 0
static_latency_seconds_sum{route="/empty"} 0
static_latency_seconds_count{route="/empty"} 0
# TYPE static_rpc_seconds summary
static_rpc_seconds{service="a",quantile="0.5"} 0.0473
static_rpc_seconds{service="a",quantile="0.99"} 0.0766
static_rpc_seconds_sum{service="a"} 17.56
static_rpc_seconds_count{service="a"} 2693
static_rpc_seconds{service="none",quantile="0.5"} NaN
static_rpc_seconds{service="none",quantile="0.99"} NaN
static_rpc_seconds_sum{service="none"} 0
static_rpc_seconds_count{service="none"} 0
# TYPE static_untyped untyped
static_untyped{kind="declared"} 7
static_undeclared 8
static_identity{job="faked",instance="faked:1",exported_job="already"} 1
static_name:with:colons 9
"""

OPENMETRICS = """# HELP om_requests Requests with exemplars.
# TYPE om_requests counter
om_requests_total{path="/a"} 17.0 # {trace_id="0af7651916cd43dd8448eb211c80319c",span_id="00f067aa0ba902b7"} 1.0 %(stamp)s
om_requests_total{path="/b"} 4.0
# TYPE om_latency_seconds histogram
# UNIT om_latency_seconds seconds
om_latency_seconds_bucket{le="0.25"} 2 # {trace_id="aaf7651916cd43dd8448eb211c80319c"} 0.2 %(stamp)s
om_latency_seconds_bucket{le="0.75"} 6 # {trace_id="bbf7651916cd43dd8448eb211c80319c"} 0.5 %(stamp)s
om_latency_seconds_bucket{le="+Inf"} 7
om_latency_seconds_sum 4.25
om_latency_seconds_count 7
# TYPE om_build info
om_build_info{version="1.2.3"} 1
# TYPE om_state stateset
om_state{om_state="on"} 1
om_state{om_state="off"} 0
# TYPE om_sizes gaugehistogram
om_sizes_bucket{le="0.5"} 1
om_sizes_bucket{le="+Inf"} 3
om_sizes_gcount 3
om_sizes_gsum 2.5
# TYPE om_temperature_celsius gauge
# UNIT om_temperature_celsius celsius
om_temperature_celsius 21.5
# TYPE om_unknown unknown
om_unknown 1
# EOF
"""

VANISHING = """# TYPE vanishing_gauge gauge
vanishing_gauge{part="a"} 1
vanishing_gauge{part="b"} 2
# TYPE vanishing_total counter
vanishing_total 3
# TYPE vanishing_seconds histogram
vanishing_seconds_bucket{le="0.5"} 1
vanishing_seconds_bucket{le="+Inf"} 2
vanishing_seconds_sum 3
vanishing_seconds_count 2
# TYPE vanishing_rpc summary
vanishing_rpc{quantile="0.5"} 1
vanishing_rpc_sum 1
vanishing_rpc_count 1
"""


def moving(now: float) -> str:
    """Series that are straight lines over time."""
    seconds = now - STARTED + 100.0
    total = 100.0 * seconds
    return f"""# TYPE linear_total counter
linear_total{{slope="7"}} {7 * seconds:.6f}
linear_total{{slope="0.5"}} {0.5 * seconds:.6f}
# TYPE linear_seconds histogram
linear_seconds_bucket{{le="0.1"}} {int(0.5 * total)}
linear_seconds_bucket{{le="0.5"}} {int(0.8 * total)}
linear_seconds_bucket{{le="2"}} {int(0.95 * total)}
linear_seconds_bucket{{le="+Inf"}} {int(total)}
linear_seconds_sum {0.3 * total:.6f}
linear_seconds_count {int(total)}
"""


def stamped(now: float) -> str:
    """Series that carry their own timestamps, which move every five seconds."""
    stamp_ms = int(now // 5) * 5000
    return f"# TYPE stamped_gauge gauge\nstamped_gauge{{at=\"five\"}} {stamp_ms // 5000} {stamp_ms}\n"


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers scrapes and the two switches."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:  # noqa: N802, the name is the base class's.
        """One scrape."""
        now = time.time()
        if self.path.startswith("/openmetrics"):
            stamp = f"{STARTED:.3f}"
            self._answer(OPENMETRICS % {"stamp": stamp}, "application/openmetrics-text; version=1.0.0; charset=utf-8")
        elif self.path.startswith("/text"):
            hidden = "" if HIDDEN.is_set() else VANISHING
            self._answer(STATIC + moving(now) + hidden + stamped(now), "text/plain; version=0.0.4; charset=utf-8")
        else:
            self._answer("not here\n", "text/plain", 404)

    def do_POST(self) -> None:  # noqa: N802
        """One of the switches."""
        HIDDEN.set() if self.path == "/hide" else HIDDEN.clear()
        self._answer("", "text/plain")

    def _answer(self, body: str, content_type: str, status: int = 200) -> None:
        data = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Scrapes are too many to log."""


def main() -> None:
    """Serves until it is stopped."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    http.server.ThreadingHTTPServer(("127.0.0.1", arguments.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
