"""Applications that write log files with Python's own handlers, while somebody rotates them.

`rotating`: RotatingFileHandler rotates by size, by renaming. `watched`:
WatchedFileHandler notices that somebody else moved the file away. `plain`:
holds the file open for ever, for rotation by copying and truncating."""

from __future__ import annotations

import argparse
import logging
import logging.handlers
import sys
import time


def main() -> int:
    """Writes numbered lines at a steady pace."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kind", choices=["rotating", "watched", "plain"], required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=5.0)
    arguments = parser.parse_args()
    handler = _handler(arguments)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("application")
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    levels = [logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR]
    began = time.monotonic()
    for number in range(arguments.count):
        text = f"line {number} with some text that makes it longer than it would need to be: Grüße"
        if number % 500 == 0:
            # As a stack trace: one record of several lines.
            text += "\n  at one\n  at two\n\tat three"
        logger.log(levels[number % 4], text)
        ahead = number / arguments.count * arguments.seconds - (time.monotonic() - began)
        if ahead > 0.005:
            time.sleep(ahead)
    logging.shutdown()
    return 0


def _handler(arguments) -> logging.Handler:
    if arguments.kind == "rotating":
        return logging.handlers.RotatingFileHandler(arguments.path, maxBytes=150_000, backupCount=30, encoding="utf-8")
    if arguments.kind == "watched":
        return logging.handlers.WatchedFileHandler(arguments.path, encoding="utf-8")
    return logging.FileHandler(arguments.path, mode="a", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
