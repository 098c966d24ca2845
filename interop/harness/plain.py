"""OTLP JSON as plain records: what a client of another protocol meant is
written down in the same form, and both are compared field by field.

Clients of legacy protocols have no OTLP to record, and their protocols lose
something by definition (microseconds, kinds, types). So a scenario says what
it expects of a record, and everything else that arrived must be on the list
of what the protocol or the client is known to add."""

from __future__ import annotations

import collections
import json
import pathlib
from collections.abc import Iterable, Iterator

KINDS = ["", "internal", "server", "client", "producer", "consumer"]
STATUS = ["", "ok", "error"]


def requests(path: pathlib.Path) -> Iterator[dict]:
    """Every whole line of a file of OTLP JSON lines."""
    if not path.exists():
        return
    with open(path, "rb") as file:
        for line in file:
            if line.endswith(b"\n") and line.strip():
                yield json.loads(line)


def value(any_value: dict) -> object:
    """An AnyValue as the Python value it stands for; bytes stay base64 in a pair."""
    for field, convert in (("stringValue", str), ("intValue", int), ("doubleValue", float), ("boolValue", bool)):
        if field in any_value:
            return convert(any_value[field])
    if "arrayValue" in any_value:
        return [value(inner) for inner in any_value["arrayValue"].get("values", [])]
    if "kvlistValue" in any_value:
        return attributes(any_value["kvlistValue"].get("values", []))
    if "bytesValue" in any_value:
        return ("bytes", any_value["bytesValue"])
    return None


def attributes(pairs: list[dict]) -> dict[str, object]:
    """A list of key-values as a dictionary."""
    return {pair["key"]: value(pair.get("value", {})) for pair in pairs}


def spans(batches: Iterable[dict]) -> list[dict]:
    """Every span with its resource and scope."""
    found = []
    for batch in batches:
        for of_resource in batch.get("resourceSpans", []):
            resource = attributes(of_resource.get("resource", {}).get("attributes", []))
            for of_scope in of_resource.get("scopeSpans", []):
                scope = of_scope.get("scope", {}).get("name", "")
                found.extend(_span(span, resource, scope) for span in of_scope.get("spans", []))
    return found


def _span(span: dict, resource: dict, scope: str) -> dict:
    status = span.get("status", {})
    return {
        "trace": span["traceId"],
        "span": span["spanId"],
        "parent": span.get("parentSpanId", ""),
        "name": span.get("name", ""),
        "kind": KINDS[int(span.get("kind", 0))],
        "start": int(span.get("startTimeUnixNano", 0)),
        "end": int(span.get("endTimeUnixNano", 0)),
        "status": STATUS[int(status.get("code", 0))],
        "message": status.get("message", ""),
        "attributes": attributes(span.get("attributes", [])),
        "events": [
            {
                "name": event.get("name", ""),
                "time": int(event.get("timeUnixNano", 0)),
                "attributes": attributes(event.get("attributes", [])),
            }
            for event in span.get("events", [])
        ],
        "links": [{"trace": link["traceId"], "span": link["spanId"]} for link in span.get("links", [])],
        "resource": resource,
        "scope": scope,
    }


def logs(batches: Iterable[dict]) -> list[dict]:
    """Every log record with its resource."""
    found = []
    for batch in batches:
        for of_resource in batch.get("resourceLogs", []):
            resource = attributes(of_resource.get("resource", {}).get("attributes", []))
            for of_scope in of_resource.get("scopeLogs", []):
                for record in of_scope.get("logRecords", []):
                    found.append(
                        {
                            "time": int(record.get("timeUnixNano", 0)),
                            "severity": int(record.get("severityNumber", 0)),
                            "body": value(record.get("body", {})),
                            "event": record.get("eventName", ""),
                            "attributes": attributes(record.get("attributes", [])),
                            "resource": resource,
                        }
                    )
    return found


def points(batches: Iterable[dict]) -> list[dict]:
    """Every data point with its metric's name, type and temporality."""
    found = []
    for batch in batches:
        for of_resource in batch.get("resourceMetrics", []):
            resource = attributes(of_resource.get("resource", {}).get("attributes", []))
            for of_scope in of_resource.get("scopeMetrics", []):
                for metric in of_scope.get("metrics", []):
                    found.extend(_points(metric, resource))
    return found


def _points(metric: dict, resource: dict) -> Iterator[dict]:
    for kind in ("gauge", "sum", "histogram", "exponentialHistogram", "summary"):
        data = metric.get(kind)
        if data is None:
            continue
        temporality = {1: "delta", 2: "cumulative"}.get(int(data.get("aggregationTemporality", 0)), "")
        for point in data.get("dataPoints", []):
            yield {
                "name": metric["name"],
                "type": kind,
                "temporality": temporality,
                "monotonic": bool(data.get("isMonotonic", False)),
                "unit": metric.get("unit", ""),
                "attributes": attributes(point.get("attributes", [])),
                "start": int(point.get("startTimeUnixNano", 0)),
                "time": int(point.get("timeUnixNano", 0)),
                "value": _number(point),
                "count": int(point.get("count", 0)),
                "sum": float(point.get("sum", 0.0)),
                "resource": resource,
            }


def _number(point: dict) -> float | int | None:
    if "asInt" in point:
        return int(point["asInt"])
    if "asDouble" in point:
        number = float(point["asDouble"])
        return int(number) if number.is_integer() else number
    return None


def series(name: str, labels: dict[str, object]) -> str:
    """A series as text: `orders{route=/,zone=a}`."""
    inside = ",".join(f"{key}={labels[key]}" for key in sorted(labels))
    return f"{name}{{{inside}}}" if inside else name


def totals(all_points: list[dict], field: str = "value") -> dict[str, float | int]:
    """What each series adds up to: deltas are added; of a cumulative series each life (start time) counts
    with its last value."""
    sums: dict[str, float | int] = collections.defaultdict(int)
    lives: dict[tuple[str, int], tuple[int, float | int]] = {}
    for point in all_points:
        number = point[field]
        if number is None:
            continue
        name = series(point["name"], point["attributes"])
        if point["temporality"] == "delta":
            sums[name] += number
        else:
            life = (name, point["start"])
            if life not in lives or lives[life][0] <= point["time"]:
                lives[life] = (point["time"], number)
    for (name, _), (_, number) in lives.items():
        sums[name] += number
    return dict(sums)


def last(all_points: list[dict]) -> dict[str, float | int | None]:
    """The newest value of each series."""
    newest: dict[str, tuple[int, float | int | None]] = {}
    for point in all_points:
        name = series(point["name"], point["attributes"])
        if name not in newest or newest[name][0] <= point["time"]:
            newest[name] = (point["time"], point["value"])
    return {name: number for name, (_, number) in newest.items()}


def unequal(expected: dict, got: dict, limit: int = 6) -> str:
    """Where two dictionaries differ, in words; empty when they are equal."""
    lines = []
    for name in sorted(expected.keys() | got.keys()):
        if expected.get(name) != got.get(name):
            lines.append(f"{name}: expected {expected.get(name)}, got {got.get(name)}")
    more = f"\n… {len(lines) - limit} more" if len(lines) > limit else ""
    return "\n".join(lines[:limit]) + more


def span_difference(expected: list[dict], got: list[dict], added: set[str], apart_ns: int = 0, limit: int = 4) -> str:
    """What is missing, doubled or changed among spans; empty when nothing is.

    `added` are the attributes, of spans and resources, that the protocol or the client is known to add;
    `apart_ns` is how far times may be apart, for protocols that count in microseconds."""
    lines = []
    have = collections.defaultdict(list)
    for span in got:
        have[span["trace"], span["span"]].append(span)
    for want in expected:
        found = have.pop((want["trace"], want["span"]), [])
        if len(found) != 1:
            lines.append(f"{want['name']} {want['trace']}/{want['span']} came {len(found)} times")
            continue
        lines.extend(f"{want['name']}: {change}" for change in _span_changes(want, found[0], added, apart_ns))
    lines.extend(f"not expected: {found[0]['name']} {key}" for key, found in have.items())
    more = f"\n… {len(lines) - limit} more" if len(lines) > limit else ""
    return "\n".join(lines[:limit]) + more


def _span_changes(want: dict, span: dict, added: set[str], apart_ns: int) -> Iterator[str]:
    for field in ("name", "parent", "kind", "status", "message", "scope", "links"):
        if field in want and want[field] != span[field]:
            yield f"{field} was {want[field]!r}, came as {span[field]!r}"
    for field in ("start", "end"):
        if field in want and abs(want[field] - span[field]) > apart_ns:
            yield f"{field} was {want[field]}, came as {span[field]}"
    for field in ("attributes", "resource"):
        if field in want:
            yield from _attribute_changes(field, want[field], span[field], added)
    if "events" not in want:
        return
    if len(want["events"]) != len(span["events"]):
        yield f"{len(want['events'])} events became {len(span['events'])}"
    # Events of the same microsecond have no order.
    for mine, theirs in zip(sorted(want["events"], key=_event_order), sorted(span["events"], key=_event_order)):
        if mine["name"] != theirs["name"]:
            yield f"event {mine['name']!r} came as {theirs['name']!r}"
        if "time" in mine and abs(mine["time"] - theirs["time"]) > apart_ns:
            yield f"event {mine['name']!r} was at {mine['time']}, came at {theirs['time']}"
        yield from _attribute_changes(f"event {mine['name']!r}", mine.get("attributes", {}), theirs["attributes"], added)


def _event_order(event: dict) -> str:
    return json.dumps([event["name"], event.get("attributes", {})], sort_keys=True)


def _attribute_changes(where: str, want: dict, have: dict, added: set[str]) -> Iterator[str]:
    for key in sorted(want.keys() | have.keys()):
        if key not in want:
            if key not in added:
                yield f"{where} has {key}={have[key]!r}, which nobody set"
        elif key not in have:
            yield f"{where} lost {key}={want[key]!r}"
        elif want[key] != have[key] or type(want[key]) is not type(have[key]):
            yield f"{where} {key} was {want[key]!r}, came as {have[key]!r}"
