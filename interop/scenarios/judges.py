"""The judges themselves: each comparison must notice what it is there for.

Without this a comparison that never fails would look like a program that is
never wrong."""

from __future__ import annotations

import copy

from harness import otlp, plain, promql
from harness.lab import Lab

ABOUT = "each comparison notices a planted difference"

SPAN = {
    "traceId": "0af7651916cd43dd8448eb211c80319c",
    "spanId": "00f067aa0ba902b7",
    "name": "one",
    "kind": 2,
    "startTimeUnixNano": "1700000000000000001",
    "endTimeUnixNano": "1700000000000000002",
    "attributes": [{"key": "a", "value": {"intValue": "1"}}, {"key": "b", "value": {"doubleValue": 0.5}}],
}


def run(lab: Lab) -> None:
    """Planted differences, and rewritings that are none."""
    _same(lab, "the order of attributes", lambda span: span["attributes"].reverse())
    _same(lab, "an integer as a number", lambda span: span["attributes"][0]["value"].update(intValue=1))
    _same(lab, "an enum by name", lambda span: span.update(kind="SPAN_KIND_SERVER"))
    _same(lab, "a default that is written", lambda span: span.update(droppedAttributesCount=0, parentSpanId=""))
    _differs(lab, "an integer off by one", lambda span: span["attributes"][0]["value"].update(intValue="2"))
    _differs(lab, "an integer that became a double", lambda span: span["attributes"][0].update(value={"doubleValue": 1.0}))
    _differs(lab, "a nanosecond", lambda span: span.update(endTimeUnixNano="1700000000000000003"))
    _differs(lab, "a span kind", lambda span: span.update(kind=3))
    _differs(lab, "a missing attribute", lambda span: span["attributes"].pop())
    _differs(lab, "an attribute that turned empty", lambda span: span["attributes"][0].update(value={}))
    _differs(lab, "a flag", lambda span: span.update(flags=257))
    items = otlp.flatten("traces", _request(SPAN))
    lab.check("a lost item is noticed", otlp.difference(items, []) != "")
    lab.check("a doubled item is noticed", otlp.difference(items, items * 2) != "")
    _promql(lab)
    _plain(lab)
    _totals(lab)


def _request(span: dict) -> dict:
    return {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}


def _changed(change) -> str:
    span = copy.deepcopy(SPAN)
    change(span)
    return otlp.difference(otlp.flatten("traces", _request(SPAN)), otlp.flatten("traces", _request(span)))


def _same(lab: Lab, what: str, change) -> None:
    found = _changed(change)
    lab.check(f"{what} is no difference", found == "", found)


def _differs(lab: Lab, what: str, change) -> None:
    lab.check(f"{what} is noticed", _changed(change) != "")


def _promql(lab: Lab) -> None:
    here = {"{a=1}": [(1.0, 1.0), (2.0, 1.0)]}
    cases = {
        "a missing series": {},
        "another series": {"{a=1}": here["{a=1}"], "{a=2}": here["{a=1}"]},
        "another value": {"{a=1}": [(1.0, 1.0), (2.0, 1.5)]},
        "a missing step": {"{a=1}": [(1.0, 1.0)]},
    }
    lab.check("equal answers are equal", promql.difference(here, dict(here), 0.0) == "")
    for what, other in cases.items():
        lab.check(f"{what} in an answer is noticed", promql.difference(here, other, 0.1) != "")
    lab.check("NaN equals NaN", promql.difference({"x": [(1.0, float("nan"))]}, {"x": [(1.0, float("nan"))]}, 0.0) == "")
    counter = [(0.0, 0.0), (1.0, 10.0), (2.0, 20.0), (3.0, 30.0)]
    lab.check("a counter between its neighbours is possible", promql.impossible_counter([(1.5, 15.0)], counter, 0.6) == "")
    lab.check("a counter above its later neighbour is noticed", promql.impossible_counter([(0.5, 25.0)], counter, 0.6) != "")
    lab.check("a counter below its earlier neighbour is noticed", promql.impossible_counter([(2.5, 5.0)], counter, 0.6) != "")


def _plain(lab: Lab) -> None:
    """Spans as clients of other protocols record them."""
    span = plain.spans([_request(SPAN)])[0]
    span["events"] = [{"name": "one", "time": 5_000, "attributes": {"n": 1}}]

    def differs(apart_ns: int = 0, added: frozenset[str] = frozenset(), **changes) -> bool:
        return plain.span_difference([span], [{**copy.deepcopy(span), **changes}], set(added), apart_ns) != ""

    lab.check("a plain span equals itself", not differs())
    lab.check("another kind of a plain span is noticed", differs(kind="client"))
    lab.check("a text for a number is noticed", differs(attributes={"a": "1", "b": 0.5}))
    lab.check("an attribute that nobody set is noticed", differs(attributes={"a": 1, "b": 0.5, "c": 1}))
    lab.check("unless the client is known to add it", not differs(added=frozenset({"c"}), attributes={"a": 1, "b": 0.5, "c": 1}))
    lab.check("a lost attribute is noticed, whatever may be added", differs(added=frozenset({"b"}), attributes={"a": 1}))
    lab.check("an end a nanosecond beyond what is allowed is noticed", differs(1000, end=span["end"] + 1001))
    lab.check("an end within it is not", not differs(1000, end=span["end"] + 1000))
    lab.check("a changed event is noticed", differs(events=[{"name": "one", "time": 5_000, "attributes": {"n": 2}}]))
    lab.check("a lost event is noticed", differs(events=[]))
    lab.check("a plain span that came twice is noticed", plain.span_difference([span], [span, span], set()) != "")
    lab.check("a plain span that nobody sent is noticed", plain.span_difference([], [span], set()) != "")


def _totals(lab: Lab) -> None:
    """What counters add up to."""

    def point(temporality: str, start: int, time: int, value: float) -> dict:
        return {"name": "n", "attributes": {"a": "b"}, "temporality": temporality, "start": start, "time": time, "value": value}

    cases = {
        "deltas are added": ([point("delta", 0, 1, 3), point("delta", 1, 2, 4)], 7),
        "a running total counts once": ([point("cumulative", 1, 2, 3), point("cumulative", 1, 3, 7)], 7),
        "whatever the order": ([point("cumulative", 1, 3, 7), point("cumulative", 1, 2, 3)], 7),
        "a second life is added": ([point("cumulative", 1, 3, 7), point("cumulative", 4, 5, 2)], 9),
    }
    for what, (points, total) in cases.items():
        lab.check(f"totals: {what}", plain.totals(points) == {"n{a=b}": total}, plain.totals(points))
    lab.check("totals that differ by one are noticed", plain.unequal({"n": 7}, {"n": 8}) != "")
    lab.check("a missing total is noticed", plain.unequal({"n": 0}, {}) != "")
