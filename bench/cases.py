"""What is measured. A case is one work, the same for every peer that can do it."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Case:
    """One work."""

    name: str
    title: str
    template: str
    signal: str
    # What the generator sends.
    protocol: str = "otlp-grpc"
    compression_in: str = "none"
    # What the program under test sends to both backends.
    compression_out: str = "none"
    items: int = 2_000_000
    # Items per second; 0 is as fast as acknowledgements allow.
    rate: int = 0
    backend: str = "otlp"
    kind: str = "flow"
    # What Crossfade is to reach: the fastest peer's CPU per item, divided by this.
    goal_times_faster: float | None = None


SIGNALS = ("traces", "metrics", "logs")


def _flows() -> list[Case]:
    found = []
    for signal in SIGNALS:
        found.append(Case(f"{signal}-none", f"{signal}, uncompressed in and out", "passthrough", signal, goal_times_faster=2))
    for signal in SIGNALS:
        found.append(
            Case(
                f"{signal}-gzip-out",
                f"{signal}, uncompressed in, gzip out",
                "passthrough",
                signal,
                compression_out="gzip",
                items=1_000_000,
                goal_times_faster=3,
            )
        )
    for signal in SIGNALS:
        found.append(
            Case(
                f"{signal}-gzip-gzip",
                f"{signal}, gzip in and out",
                "passthrough",
                signal,
                compression_in="gzip",
                compression_out="gzip",
                items=1_000_000,
                goal_times_faster=4,
            )
        )
    found.append(Case("traces-upsert", "traces, one resource attribute upserted", "upsert", "traces", goal_times_faster=2))
    found.append(Case("logs-upsert", "logs, one resource attribute upserted", "upsert", "logs", goal_times_faster=2))
    for signal in SIGNALS:
        found.append(
            Case(f"{signal}-batch", f"{signal}, with the `batch` processor", "batch", signal, goal_times_faster=2)
        )
    return found


CASES = [
    *_flows(),
    Case(
        "metrics-remote-write",
        "metrics by OTLP/HTTP in, two remote writes out",
        "remote-write",
        "metrics",
        protocol="otlp-http",
        backend="remote-write",
        items=1_000_000,
        goal_times_faster=2,
    ),
    Case("idle", "started and left alone", "passthrough", "traces", kind="idle"),
    Case(
        "stalled",
        "one of two backends refuses for 30 s, then hangs for 30 s",
        "stalled",
        "traces",
        rate=20_000,
        kind="stalled",
    ),
]
