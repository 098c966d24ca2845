"""Asks two Prometheus the same question and compares the answers."""

from __future__ import annotations

import json
import math
import urllib.parse
import urllib.request

Points = list[tuple[float, float]]
Answer = dict[str, Points]


def ask(url: str, path: str, parameters: dict[str, object]) -> object:
    """The `data` of one call of the HTTP API."""
    body = urllib.parse.urlencode(parameters, doseq=True).encode()
    with urllib.request.urlopen(urllib.request.Request(f"{url}/api/v1/{path}", data=body), timeout=30) as answer:
        return json.load(answer)["data"]


def get(url: str, path: str, parameters: dict[str, object]) -> object:
    """The same for calls that are GET only."""
    with urllib.request.urlopen(f"{url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}", timeout=30) as answer:
        return json.load(answer)["data"]


def instant(url: str, query: str, at: float) -> Answer:
    """The answer of an instant query; a range selector gives the raw samples."""
    return _answer(ask(url, "query", {"query": query, "time": f"{at:.3f}"}))


def over(url: str, query: str, start: float, end: float, step: float) -> Answer:
    """The answer of a range query."""
    parameters = {"query": query, "start": f"{start:.3f}", "end": f"{end:.3f}", "step": step}
    return _answer(ask(url, "query_range", parameters))


def _answer(data: object) -> Answer:
    found: Answer = {}
    kind, result = data["resultType"], data["result"]
    if kind == "scalar":
        return {"scalar": [(float(result[0]), float(result[1]))]}
    for series in result:
        points = series["values"] if "values" in series else [series["value"]]
        found[labels(series["metric"])] = [(float(at), float(value)) for at, value in points]
    return found


def labels(metric: dict[str, str]) -> str:
    """One label set as text that sorts and compares."""
    name = metric.get("__name__", "")
    rest = ", ".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in sorted(metric.items()) if key != "__name__")
    return f"{name}{{{rest}}}"


def difference(one: Answer, other: Answer, tolerance: float) -> str:
    """What differs between two answers: series sets exactly, values within a share; empty when nothing."""
    lines = [f"only in the first: {name}" for name in sorted(one.keys() - other.keys())]
    lines += [f"only in the second: {name}" for name in sorted(other.keys() - one.keys())]
    for name in sorted(one.keys() & other.keys()):
        here, there = dict(one[name]), dict(other[name])
        if here.keys() != there.keys():
            lines.append(f"{name}: steps {len(here)} and {len(there)}, not the same")
            continue
        for at, value in here.items():
            if not near(value, there[at], tolerance):
                lines.append(f"{name} at {at:.3f}: {value} and {there[at]}")
                break
    return "\n".join(lines[:8] + ([f"and {len(lines) - 8} more"] if len(lines) > 8 else []))


def near(one: float, other: float, tolerance: float) -> bool:
    """Whether two values agree within a share of the larger; NaN agrees with NaN."""
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) and math.isnan(other)
    if one == other:
        return True
    return abs(one - other) <= tolerance * max(abs(one), abs(other))


def impossible_counter(samples: Points, reference: Points, slack_s: float) -> str:
    """Why no counter can have both sample rows; empty when one can.

    A counter never falls, so each sample lies between the reference's last
    sample before it and the first after it. `slack_s` is how long after its
    timestamp a scrape may read the value.
    """
    for at, value in samples:
        before = [other for when, other in reference if when <= at - slack_s]
        after = [other for when, other in reference if when >= at + slack_s]
        if before and value < before[-1]:
            return f"{value} at {at:.3f} is below {before[-1]}, read earlier"
        if after and value > after[0]:
            return f"{value} at {at:.3f} is above {after[0]}, read later"
    return ""


def impossible_gauge(samples: Points, reference: Points) -> str:
    """Why two samplings of one gauge cannot be the same value; empty when they can.

    One that never moved must be equal. One that moved must at least have
    been in the same region: the two ranges, each widened by its own width,
    overlap.
    """
    here, there = [value for _, value in samples], [value for _, value in reference]
    if len(set(map(repr, here))) == 1 and len(set(map(repr, there))) == 1:
        return "" if near(here[0], there[0], 0.0) else f"constant {here[0]} and constant {there[0]}"
    low, high = _widened(here)
    other_low, other_high = _widened(there)
    if low > other_high or other_low > high:
        return f"between {min(here)} and {max(here)}, but between {min(there)} and {max(there)}"
    return ""


def _widened(values: list[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return low - (high - low), high + (high - low)
