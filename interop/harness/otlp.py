"""Reads OTLP JSON and flattens it to items that can be compared.

An item is one span, one data point or one log record together with its
resource and its scope, so that two batches that were merged or split on the
way still hold the same multiset of items. Fields that hold their default
are dropped on both sides, 64-bit integers become integers, enums become
their numbers, and attributes are ordered by key: none of these carries
meaning in OTLP. Everything else must be identical.
"""

from __future__ import annotations

import collections
import hashlib
import json
import pathlib

# Fields where presence itself carries meaning: never dropped as a default.
PRESENCE = {"stringValue", "boolValue", "intValue", "doubleValue", "bytesValue", "asInt", "asDouble", "sum", "min", "max"}
FLOATS = {"doubleValue", "asDouble", "sum", "min", "max", "quantile", "value", "zeroThreshold", "explicitBounds"}
TEXTS = {"stringValue", "bytesValue", "traceId", "spanId", "parentSpanId", "name", "description", "unit", "key",
         "schemaUrl", "traceState", "severityText", "eventName", "version", "message"}
ENUMS = {
    "kind": ["SPAN_KIND_UNSPECIFIED", "SPAN_KIND_INTERNAL", "SPAN_KIND_SERVER", "SPAN_KIND_CLIENT",
             "SPAN_KIND_PRODUCER", "SPAN_KIND_CONSUMER"],
    "code": ["STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR"],
    "aggregationTemporality": ["AGGREGATION_TEMPORALITY_UNSPECIFIED", "AGGREGATION_TEMPORALITY_DELTA",
                               "AGGREGATION_TEMPORALITY_CUMULATIVE"],
}

SIGNALS = {
    "traces": ("resourceSpans", "scopeSpans", "spans"),
    "metrics": ("resourceMetrics", "scopeMetrics", "metrics"),
    "logs": ("resourceLogs", "scopeLogs", "logRecords"),
}
METRIC_KINDS = ("gauge", "sum", "histogram", "exponentialHistogram", "summary")


# Canonical resources and scopes by digest: thousands of items share one, so that each item
# carries only the digest and a difference still shows the text.
_HEADS: dict[str, str] = {}


class Lines:
    """A growing file of OTLP JSON lines, read once each."""

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path
        self._offset = 0
        self.items: dict[str, list[str]] = {signal: [] for signal in SIGNALS}

    def read(self) -> dict[str, list[str]]:
        """The items of every whole line so far, by signal, in canonical form."""
        if not self._path.exists():
            return self.items
        with open(self._path, "rb") as file:
            file.seek(self._offset)
            while (line := file.readline()).endswith(b"\n"):
                self._offset = file.tell()
                self._take(line)
        return self.items

    def _take(self, line: bytes) -> None:
        if not line.strip():
            return
        request = json.loads(line)
        for signal, (field, _, _) in SIGNALS.items():
            if field in request:
                self.items[signal].extend(flatten(signal, request))


def read_lines(path: pathlib.Path) -> dict[str, list[str]]:
    """The items of a finished file of OTLP JSON lines."""
    return Lines(path).read()


def flatten(signal: str, request: dict) -> list[str]:
    """The canonical items of one export request."""
    resource_field, scope_field, item_field = SIGNALS[signal]
    found = []
    for of_resource in request.get(resource_field, []):
        for of_scope in of_resource.get(scope_field, []):
            head = _head(of_resource, of_scope)
            for item in of_scope.get(item_field, []):
                for one in _points(item) if signal == "metrics" else [item]:
                    found.append(f"{head} {_text(canonical(one))}")
    return found


def _head(of_resource: dict, of_scope: dict) -> str:
    text = _text(
        canonical(
            {
                "resource": of_resource.get("resource", {}),
                "resourceSchemaUrl": of_resource.get("schemaUrl", ""),
                "scope": of_scope.get("scope", {}),
                "scopeSchemaUrl": of_scope.get("schemaUrl", ""),
            }
        )
    )
    digest = hashlib.sha256(text.encode()).hexdigest()
    _HEADS[digest] = text
    return digest


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _whole(item: str) -> dict:
    digest, _, text = item.partition(" ")
    return {"head": json.loads(_HEADS[digest]), "item": json.loads(text)}


def _points(metric: dict) -> list[dict]:
    for kind in METRIC_KINDS:
        if kind in metric:
            data = dict(metric[kind])
            points = data.pop("dataPoints", [])
            head = {name: value for name, value in metric.items() if name != kind}
            return [{**head, "type": kind, "data": data, "point": point} for point in points]
    return [metric]


def canonical(value: object, field: str = "") -> object:
    """One value without what carries no meaning."""
    if isinstance(value, dict):
        kept = {}
        for name, inner in value.items():
            one = canonical(inner, name)
            if name in PRESENCE or one not in (None, "", 0, False, [], {}):
                kept[name] = one
        return kept
    if isinstance(value, list):
        items = [canonical(inner, field) for inner in value]
        if items and all(isinstance(item, dict) and "key" in item for item in items):
            items.sort(key=lambda item: item["key"])
        return items
    if field in ENUMS and isinstance(value, str) and not value.lstrip("-").isdigit():
        return ENUMS[field].index(value)
    if field in FLOATS:
        # The Collector's JSON writes -0.0 as 0.0, so the sign of zero cannot be judged here.
        return repr(float(value) or 0.0)
    if isinstance(value, str) and field not in TEXTS and value.lstrip("-").isdigit():
        return int(value)
    return value


def difference(expected: list[str], got: list[str], limit: int = 3) -> str:
    """What is missing and what is too much, in words; empty when both are the same multiset."""
    want, have = collections.Counter(expected), collections.Counter(got)
    missing, extra = list((want - have).elements()), list((have - want).elements())
    if not missing and not extra:
        return ""
    lines = [f"{len(missing)} of {len(expected)} missing, {len(extra)} not expected"]
    paired = set()
    for item in missing[:limit]:
        twin = next((other for other in extra if other not in paired and identity(other) == identity(item)), None)
        if twin is not None:
            paired.add(twin)
            lines.append(f"changed {identity(item)}: {_first_change(_whole(item), _whole(twin))}")
        else:
            lines.append(f"missing {_text(_whole(item)['item'])[:400]}")
    for item in [other for other in extra if other not in paired][:limit]:
        word = "duplicate" if item in want else "unexpected"
        lines.append(f"{word} {_text(_whole(item)['item'])[:400]}")
    return "\n".join(lines)


def identity(item: str) -> str:
    """What makes two items the same thing, whatever else differs."""
    inner = json.loads(item.partition(" ")[2])
    if "spanId" in inner and "traceId" in inner and "startTimeUnixNano" in inner:
        return f"span {inner['traceId']}/{inner['spanId']}"
    if "type" in inner:
        point = inner.get("point", {})
        return f"point {inner.get('name')} {json.dumps(point.get('attributes', []), sort_keys=True)} {point.get('timeUnixNano')}"
    return f"log {inner.get('timeUnixNano')} {inner.get('observedTimeUnixNano')}"


def _first_change(expected: object, got: object, path: str = "") -> str:
    if isinstance(expected, dict) and isinstance(got, dict):
        for name in sorted(expected.keys() | got.keys()):
            if expected.get(name) != got.get(name):
                return _first_change(expected.get(name), got.get(name), f"{path}.{name}")
    if isinstance(expected, list) and isinstance(got, list):
        for index in range(max(len(expected), len(got))):
            one = expected[index] if index < len(expected) else None
            other = got[index] if index < len(got) else None
            if one != other:
                return _first_change(one, other, f"{path}[{index}]")
    return f"{path.lstrip('.')} was {json.dumps(expected)[:200]}, came as {json.dumps(got)[:200]}"
