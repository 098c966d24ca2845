"""The Python SDK over gRPC and HTTP, compressed and not."""

from __future__ import annotations

from harness.clients import Way, python_client, through
from harness.lab import Lab

ABOUT = "the Python SDK sends all signals; two Collectors behind get every field of every item, once"


def run(lab: Lab) -> None:
    """Each protocol with each compression, and each way out."""
    through(lab, "python grpc", python_client(lab, "grpc"), Way("none", "none"))
    through(lab, "python grpc gzip", python_client(lab, "grpc", "--compression", "gzip"), Way("gzip", "gzip"))
    through(lab, "python http", python_client(lab, "http"), Way("zstd", "zstd"))
    through(lab, "python http gzip", python_client(lab, "http", "--compression", "gzip"), Way("snappy", "gzip", "json"))
    deflate = python_client(lab, "http", "--compression", "deflate", "--temporality", "delta")
    through(lab, "python http deflate, delta", deflate, Way("gzip", "deflate"))
