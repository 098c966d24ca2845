"""Applications that are instrumented with prometheus_client, in a time that passes faster than ours.

Each application has a port of its own. Events come at random by their rates
in *its* time, of which `--speed` seconds pass in one of ours; a page shows
what was counted up to the moment it is asked for, and says so by the
timestamps of its samples. So an hour of scrapes every 15 s takes four
minutes, and nothing that a busy machine delays makes a difference between
two scrapers. `--speed 1` leaves timestamps to the scraper.

`/metrics` is what the application counts. `/lossy`, which one has, forgets 5 %
of its events; `/migrated`, which another one has, says seconds where the
other pages say milliseconds, as after a change of the instrumentation. All
pages of an application hear of the same events.
"""

from __future__ import annotations

import argparse
import collections
import heapq
import http.server
import math
import random
import threading
import time
from collections.abc import Iterator

import prometheus_client
from prometheus_client.core import CollectorRegistry, Metric
from prometheus_client.exposition import choose_encoder

prometheus_client.disable_created_metrics()

# Events a second, and what they are.
TRAFFIC = [
    (50.0, "GET", "/", "200"),
    (10.0, "GET", "/item", "200"),
    (2.0, "POST", "/cart", "200"),
    (0.5, "POST", "/pay", "200"),
    (0.1, "GET", "/item", "404"),
    (0.02, "POST", "/pay", "500"),
]
CHANNELS = ["web", "app", "phone"]
LOST = 0.05
# Who has which page beside `/metrics`.
PAGES = {"billing": ["/migrated"], "ads": ["/lossy"]}
# Where in its time, as shares of the run, an application restarts.
RESTARTS = {"shop-a": [0.35], "shop-b": [0.3, 0.7], "billing": [0.5]}


class Book:
    """The metrics of one page."""

    def __init__(self, prefix: str, in_seconds: bool) -> None:
        self.registry = CollectorRegistry()
        unit, self.scale = ("seconds", 1.0) if in_seconds else ("ms", 1000.0)
        common = {"registry": self.registry}
        bounds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5]
        name = f"{prefix}_%s".__mod__
        self.requests = prometheus_client.Counter(name("requests"), "Requests.", ["method", "route", "code"], **common)
        self.orders = prometheus_client.Counter(name("orders"), "Orders.", ["channel"], **common)
        self.duration = prometheus_client.Histogram(name("request_duration_seconds"), "Time of requests.", ["route"], buckets=bounds, **common)
        rendering = [self.scale * bound for bound in bounds]
        self.rendering = prometheus_client.Histogram(name(f"rendering_{unit}"), "Time to render.", buckets=rendering, **common)
        self.busy = prometheus_client.Counter(name(f"busy_{unit}"), "Time spent on requests.", **common)
        self.age = prometheus_client.Gauge(name(f"queue_age_{unit}"), "Age of what waits longest.", **common)
        self.payload = prometheus_client.Summary(name("payload_bytes"), "Size of requests; the library has no quantiles.", **common)
        self.depth = prometheus_client.Gauge(name("queue_depth"), "What waits.", **common)
        self.workers = prometheus_client.Gauge(name("workers"), "Constant.", **common)
        self.in_flight = prometheus_client.Gauge(name("in_flight"), "Jumps about.", **common)
        self.rooms = prometheus_client.Gauge(name("temperature_celsius"), "Hardly moves.", ["room"], **common)
        self.build = prometheus_client.Info(name("build"), "Constant labels.", **common)
        self.build.info({"version": "1.2.3"})
        self.workers.set(8)
        self.quantiles = Quantiles(name("parse_seconds"))
        self.registry.register(self.quantiles)

    def take(self, event: tuple[str, str, str], seconds: float, bytes_: int) -> None:
        """Counts one request."""
        method, route, code = event
        self.requests.labels(method, route, code).inc()
        self.duration.labels(route).observe(seconds)
        self.busy.inc(seconds * self.scale)
        if route == "/item":
            self.rendering.observe(seconds * self.scale / 2)
            self.quantiles.observe(seconds / 10)
        self.payload.observe(bytes_)
        if route == "/cart":
            self.orders.labels(CHANNELS[bytes_ % 3]).inc()

    def look(self, at: float, phase: float, in_flight: int) -> None:
        """Sets what is measured when somebody asks."""
        self.depth.set(round(40 + 15 * math.sin(at / 900 + phase) + 4 * math.sin(at / 47)))
        self.age.set(self.scale * (2 + math.sin(at / 700 + phase)))
        self.in_flight.set(in_flight)
        for place, room in enumerate(("hall", "cellar")):
            self.rooms.labels(room).set(round(21 - 6 * place + phase + 0.2 * math.sin(at / 1500), 3))


class Quantiles:
    """A summary with quantiles over the newest values, which the library can write but does not compute."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.newest: collections.deque[float] = collections.deque(maxlen=500)
        self.count, self.sum = 0, 0.0

    def observe(self, value: float) -> None:
        """Takes one value in."""
        self.newest.append(value)
        self.count += 1
        self.sum += value

    def collect(self) -> Iterator[Metric]:
        """The metric as it stands."""
        metric = Metric(self.name, "Time to parse.", "summary")
        ordered = sorted(self.newest)
        for quantile in (0.5, 0.9, 0.99):
            value = ordered[int(quantile * (len(ordered) - 1))] if ordered else math.nan
            metric.add_sample(self.name, {"quantile": str(quantile)}, value)
        metric.add_sample(f"{self.name}_count", {}, self.count)
        metric.add_sample(f"{self.name}_sum", {}, self.sum)
        yield metric


class Application:
    """One application with its events."""

    def __init__(self, name: str, seed: int, start: float, length: float) -> None:
        self.prefix = name.split("-")[0]
        self.pages = ["/metrics", *PAGES.get(name, [])]
        self.random = random.Random(seed)
        self.phase = self.random.uniform(0, 3)
        self.lock = threading.Lock()
        self.next = [(start + self.random.expovariate(rate), at) for at, (rate, *_) in enumerate(TRAFFIC)]
        heapq.heapify(self.next)
        self.restarts = [start + share * length for share in RESTARTS.get(name, [])]
        self.running: list[float] = []
        self._begin()

    def _begin(self) -> None:
        self.books = {page: Book(self.prefix, page == "/migrated") for page in self.pages}

    def page(self, path: str, at: float, accept: str, is_stamped: bool) -> tuple[str, bytes]:
        """One page as of a moment of the application's time."""
        with self.lock:
            self._advance(at)
            book = self.books[path]
            book.look(at, self.phase, len(self.running))
            encode, content_type = choose_encoder(accept)
            return content_type, encode(Stamped(book.registry, at) if is_stamped else book.registry)

    def _advance(self, to: float) -> None:
        while self.next[0][0] <= to:
            at, kind = self.next[0]
            heapq.heapreplace(self.next, (at + self.random.expovariate(TRAFFIC[kind][0]), kind))
            if self.restarts and self.restarts[0] <= at:
                self.restarts.pop(0)
                self._begin()
            seconds, bytes_ = self.random.lognormvariate(-3, 1), self.random.randrange(200, 2000)
            self.running = [end for end in self.running if end > at] + [at + seconds]
            for page, book in self.books.items():
                if page != "/lossy" or self.random.random() >= LOST:
                    book.take(TRAFFIC[kind][1:], seconds, bytes_)
        self.running = [end for end in self.running if end > to]


class Stamped:
    """A registry whose samples say when they were true."""

    def __init__(self, registry: CollectorRegistry, at: float) -> None:
        self.registry, self.at = registry, round(at, 3)

    def collect(self) -> Iterator[Metric]:
        """What the registry has, with times."""
        for metric in self.registry.collect():
            metric.samples = [sample._replace(timestamp=self.at) for sample in metric.samples]
            yield metric


def handler(application: Application, clock, is_stamped: bool) -> type[http.server.BaseHTTPRequestHandler]:
    """Answers scrapes of one application."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:  # noqa: N802, the name is the base class's.
            """One scrape."""
            if self.path not in application.pages:
                self.send_error(404)
                return
            at = clock()
            if at is None:
                self.send_error(503)
                return
            content_type, data = application.page(self.path, at, self.headers.get("Accept", ""), is_stamped)
            self.send_response(200)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Scrapes are too many to log."""

    return Handler


def main() -> None:
    """Serves until it is stopped."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--application", action="append", required=True, help="NAME=PORT")
    parser.add_argument("--speed", type=float, default=1.0)
    parser.add_argument("--start", type=float, required=True, help="what time it is for the applications at first")
    parser.add_argument("--length", type=float, required=True, help="how many of their seconds the run has")
    arguments = parser.parse_args()
    began = time.monotonic()

    def clock() -> float | None:
        """What time it is for the applications; none when the run is over, and they with it."""
        passed = (time.monotonic() - began) * arguments.speed
        return arguments.start + passed if passed <= arguments.length else None

    servers = []
    for seed, (name, port) in enumerate(pair.split("=") for pair in arguments.application):
        application = Application(name, seed, arguments.start, arguments.length)
        answering = handler(application, clock, arguments.speed != 1.0)
        servers.append(http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), answering))
    threads = [threading.Thread(target=server.serve_forever) for server in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
