"""`fluent-logger` for Python as a client: message mode, in seconds and in nanoseconds.

Records the events as JSON."""

from __future__ import annotations

import argparse
import json
import sys
import time

from fluent import sender
from fluent.sender import EventTime


def main() -> int:
    """Sends everything once."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--record", required=True)
    parser.add_argument("--count", type=int, default=2000)
    arguments = parser.parse_args()
    logger = sender.FluentSender("shop", host="127.0.0.1", port=arguments.port, nanosecond_precision=True)
    events, refused = [], 0
    base = time.time_ns()
    for number in range(arguments.count):
        moment = base + number * 1001
        fields = {"message": f"line {number}", "number": number, "half": number / 2, "odd": bool(number % 2)}
        if number % 100 == 0:
            fields["nested"] = {"list": [1, "zwei", None], "text": "世界 🚀\n\"quoted\""}
        refused += not logger.emit_with_time("access", EventTime.from_unix_nano(moment), fields)
        events.append({"tag": "shop.access", "time": moment, "fields": fields})
    seconds = base // 1_000_000_000
    refused += not logger.emit_with_time("seconds", seconds, {"message": "whole seconds", "number": -1})
    events.append({"tag": "shop.seconds", "time": seconds * 1_000_000_000, "fields": {"message": "whole seconds", "number": -1}})
    logger.close()
    with open(arguments.record, "w") as file:
        json.dump(events, file)
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
