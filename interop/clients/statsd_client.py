"""PyPI's `statsd` and Datadog's `datadog` as clients of StatsD.

Sends the same measurements in rounds, so that they fall into several
intervals of the aggregation, and records as JSON what they add up to. The
source of chance is replaced by one that takes turns: of a counter that is
sampled at a half exactly half is sent, so that its weighted total is known.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import json
import os
import sys
import time

ROUND_SECONDS = 0.7
# A packet that the kernel drops says nothing about a receiver, so the client takes its time.
BREATH_PACKETS = 25
BREATH_SECONDS = 0.002


class Totals:
    """What was meant."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.counters: dict[str, float] = collections.defaultdict(int)
        self.timers: dict[str, list[float]] = collections.defaultdict(lambda: [0, 0.0])
        self.gauges: dict[str, float] = {}
        self.sets: dict[str, int] = {}
        self.events: list[str] = []
        self.checks: dict[str, int] = {}

    def series(self, name: str, **tags: str) -> str:
        """A series as the judges write it."""
        inside = ",".join(f"{key}={tags[key]}" for key in sorted(tags))
        return f"{self.prefix}.{name}{{{inside}}}" if inside else f"{self.prefix}.{name}"

    def count(self, value: float, name: str, **tags: str) -> None:
        """Adds to a counter."""
        self.counters[self.series(name, **tags)] += value

    def time(self, value: float, name: str, **tags: str) -> None:
        """Adds one value to a timer, histogram or distribution."""
        timer = self.timers[self.series(name, **tags)]
        timer[0] += 1
        timer[1] += value


def turns():
    """Instead of chance: below a half and above, by turns."""
    order = itertools.cycle((0.25, 0.75))
    return lambda: next(order)


class Breath:
    """A pause after some packets."""

    def __init__(self) -> None:
        self.packets = 0

    def __call__(self) -> None:
        """Counts a packet."""
        self.packets += 1
        if self.packets % BREATH_PACKETS == 0:
            time.sleep(BREATH_SECONDS)


def with_statsd(arguments, totals: Totals) -> None:
    """Etsy's dialect: no tags, gauges that move by a sign."""
    import random

    import statsd

    random.random = turns()
    if arguments.transport == "udp":
        client = statsd.StatsClient("127.0.0.1", int(arguments.address), prefix=arguments.prefix, maxudpsize=1400)
    elif arguments.transport == "tcp":
        client = statsd.TCPStatsClient("127.0.0.1", int(arguments.address), prefix=arguments.prefix)
    else:
        client = statsd.UnixSocketStatsClient(arguments.address, prefix=arguments.prefix)
    breath = Breath()
    for one_round in range(arguments.rounds):
        for number in range(arguments.count):
            client.incr("orders")
            client.incr("items", number % 7)
            client.timing("latency", number % 50)
            totals.count(1, "orders")
            totals.count(number % 7, "items")
            totals.time(number % 50, "latency")
            breath()
        for number in range(100):
            client.incr("sampled", 3, rate=0.5)
            totals.count(3, "sampled")
            breath()
        with client.pipeline() as together:
            for number in range(50):
                together.incr("batched", 2)
                together.set("visitors", f"visitor-{number % 20}")
                totals.count(2, "batched")
        client.gauge("depth", 100 + one_round)
        client.gauge("depth", -7, delta=True)
        client.gauge("depth", 2, delta=True)
        totals.gauges[totals.series("depth")] = 100 + one_round - 5
        time.sleep(ROUND_SECONDS)
    client.gauge("below", -5)
    totals.gauges[totals.series("below")] = -5
    totals.sets[totals.series("visitors")] = 20
    client.close()


def with_datadog(arguments, totals: Totals) -> None:
    """Datadog's dialect: tags, distributions, packed packets, events, service checks, timestamps."""
    from datadog.dogstatsd import base

    base.random = turns()
    where = {"socket_path": arguments.address} if arguments.transport == "unixgram" else {
        "host": "127.0.0.1", "port": int(arguments.address)
    }
    client = base.DogStatsd(
        **where,
        namespace=arguments.prefix,
        constant_tags=["env:interop"],
        disable_telemetry=True,
        # Without it the client drops what a full Unix socket does not take at once.
        socket_timeout=5,
        disable_buffering=not arguments.buffered,
    )
    breath = Breath()
    for one_round in range(arguments.rounds):
        for number in range(arguments.count):
            route = f"/{number % 3}"
            client.increment("orders", tags=[f"route:{route}"])
            client.count("items", number % 7)
            client.distribution("latency", number % 50, tags=[f"route:{route}"])
            client.histogram("size", number % 20)
            client.timing("busy", number % 10)
            totals.count(1, "orders", env="interop", route=route)
            totals.count(number % 7, "items", env="interop")
            totals.time(number % 50, "latency", env="interop", route=route)
            totals.time(number % 20, "size", env="interop")
            totals.time(number % 10, "busy", env="interop")
            breath()
        for number in range(100):
            client.increment("sampled", 3, sample_rate=0.5)
            totals.count(3, "sampled", env="interop")
            breath()
        client.gauge("depth", 100 + one_round)
        # In Datadog's dialect a sign is part of the number.
        client.gauge("below", -5 - one_round)
        totals.gauges[totals.series("depth", env="interop")] = 100 + one_round
        totals.gauges[totals.series("below", env="interop")] = -5 - one_round
        client.flush()
        time.sleep(ROUND_SECONDS)
    for number in range(60):
        client.set("visitors", f"visitor-{number % 20}")
    client.flush()
    totals.sets[totals.series("visitors", env="interop")] = 20
    title, check = f"{arguments.prefix}.deployed: v2", f"{arguments.prefix}.shop.can_connect"
    client.event(title, "All went well\nsecond line | with a bar", alert_type="success", tags=["team:shop"])
    totals.events.append(title)
    client.service_check(check, 2, message="no answer", tags=["team:shop"])
    totals.checks[check] = 2
    then = int(time.time()) - 30
    client.count_with_timestamp("late", 41, then)
    client.gauge_with_timestamp("measured_then", 17, then)
    totals.count(41, "late", env="interop")
    totals.gauges[totals.series("measured_then", env="interop")] = 17
    client.flush()
    client.stop()
    client.close_socket()
    _with_origin(base, where, totals)


def _with_origin(base, where: dict, totals: Totals) -> None:
    """As in a container: the client says which one, what an admission controller wrote into its environment, and
    how many tags it wants."""
    os.environ["DD_EXTERNAL_ENV"] = "it-false,cn-shop,pu-4711"
    client = base.DogStatsd(
        **where,
        namespace=totals.prefix,
        disable_telemetry=True,
        disable_buffering=True,
        container_id="8dd3a0a4d8a1",
        cardinality="low",
        socket_timeout=5,
    )
    for _ in range(10):
        client.increment("contained", 2, tags=["a:b"])
    client.stop()
    client.close_socket()
    # Under OpenTelemetry's names where it has some.
    origin = {
        "a": "b",
        "container.id": "8dd3a0a4d8a1",
        "k8s.container.name": "shop",
        "k8s.pod.uid": "4711",
        "dogstatsd.cardinality": "low",
    }
    totals.count(20, "contained", **origin)


def main() -> int:
    """Sends everything once."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--client", choices=["statsd", "datadog"], required=True)
    parser.add_argument("--transport", choices=["udp", "tcp", "unix", "unixgram"], required=True)
    parser.add_argument("--address", required=True, help="a port of loopback, or a path")
    parser.add_argument("--prefix", required=True)
    parser.add_argument("--buffered", action="store_true")
    parser.add_argument("--record", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--count", type=int, default=500)
    arguments = parser.parse_args()
    totals = Totals(arguments.prefix)
    (with_statsd if arguments.client == "statsd" else with_datadog)(arguments, totals)
    with open(arguments.record, "w") as file:
        json.dump(vars(totals), file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
