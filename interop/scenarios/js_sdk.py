"""The JavaScript SDK over gRPC, HTTP with protobuf and HTTP with JSON."""

from __future__ import annotations

from harness.clients import Way, js_client, through
from harness.lab import Lab

ABOUT = "the JavaScript SDK sends all signals; two Collectors behind get every field of every item, once"


def run(lab: Lab) -> None:
    """Each protocol of the SDK."""
    through(lab, "js grpc gzip", js_client(lab, "grpc", "--compression", "gzip"), Way())
    through(lab, "js http json", js_client(lab, "json"), Way(http_encoding="json"))
    through(lab, "js http json gzip", js_client(lab, "json", "--compression", "gzip"), Way("none"))
    through(lab, "js http protobuf", js_client(lab, "protobuf"), Way(http_compression="none"))
