"""The Collector in front of and behind the program under test."""

from __future__ import annotations

from harness.clients import Way, python_client, through
from harness.lab import Lab

ABOUT = "client -> Collector -> subject -> two Collectors: nothing lost, nothing doubled, nothing changed"

GRPC = 'otlp: {{endpoint: "127.0.0.1:{grpc}", tls: {{insecure: true}}, compression: %s}}'
HTTP = 'otlphttp: {{endpoint: "http://127.0.0.1:{http}", compression: %s, encoding: %s}}'


def run(lab: Lab) -> None:
    """Each protocol, compression and encoding that the Collector speaks, in front."""
    for compression, protocol in [("none", "grpc"), ("gzip", "http"), ("zstd", "grpc"), ("snappy", "http")]:
        client = python_client(lab, protocol, "--count", "5000")
        through(lab, f"collector grpc {compression}", client, Way(compression, front=GRPC % compression))
    for compression, encoding in [("gzip", "json"), ("zstd", "proto"), ("snappy", "proto"), ("deflate", "json"), ("lz4", "proto")]:
        client = python_client(lab, "grpc", "--compression", "gzip", "--count", "5000")
        way = Way("gzip", compression, encoding, front=HTTP % (compression, encoding))
        through(lab, f"collector http {compression} {encoding}", client, way)
