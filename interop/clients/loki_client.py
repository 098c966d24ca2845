"""`python-logging-loki` as a client of Loki's push API, in its two forms of JSON.

Records the lines as JSON."""

from __future__ import annotations

import argparse
import json
import logging
import sys

import logging_loki


def main() -> int:
    """Sends everything once."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--record", required=True)
    parser.add_argument("--version", choices=["0", "1"], required=True)
    parser.add_argument("--count", type=int, default=300)
    arguments = parser.parse_args()
    failed = []
    path = "/loki/api/v1/push" if arguments.version == "1" else "/api/prom/push"
    handler = logging_loki.LokiHandler(
        url=f"http://127.0.0.1:{arguments.port}{path}",
        tags={"application": "shop", "form": f"v{arguments.version}"},
        version=arguments.version,
    )
    handler.handleError = lambda record: failed.append(record.getMessage())
    logger = logging.getLogger("interop.loki")
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    lines = []
    for number in range(arguments.count):
        text = f"line {number} of v{arguments.version}: Grüße, 世界 \"quoted\" \\ and\nanother line"
        logger.warning(text, extra={"tags": {"route": f"/{number % 3}"}})
        labels = {"application": "shop", "form": f"v{arguments.version}", "route": f"/{number % 3}",
                  "severity": "warning", "logger": "interop.loki"}
        lines.append({"body": text, "labels": labels})
    with open(arguments.record, "w") as file:
        json.dump(lines, file)
    if failed:
        print(f"{len(failed)} failed", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
