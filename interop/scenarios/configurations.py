"""Configurations as public guides write them are accepted, unchanged."""

from __future__ import annotations

import os
import subprocess

from harness.lab import Lab
from harness.tools import INTEROP, ROOT

ABOUT = "the examples, and configurations in the shapes of public guides, pass the check of Crossfade and of the Collector"

# Variables that the guides leave to the reader.
VARIABLES = {
    "UPTRACE_DSN": "https://token@api.uptrace.dev?grpc=4317",
    "NEW_BACKEND": "new.example.com:4317",
    "LEGACY_URL": "http://legacy.example.com:9090/api/v1/write",
    "POD_IP": "10.0.0.7",
}
# A guide whose first line holds this word uses what the newest Collector no longer accepts.
CROSSFADE_ONLY = "older-collector"
# A guide whose first line holds this uses what is not built yet; it must be named so, and nothing else be wrong with it.
NOT_BUILT = "not-built-here"


def run(lab: Lab) -> None:
    """The check of the program under test, and the Collector's own."""
    guides = sorted((INTEROP / "guides").glob("*.yaml"))
    examples = sorted((ROOT / "examples").glob("*.yaml")) if lab.tools.is_crossfade else []
    lab.check("there are guides to check", len(guides) >= 5, f"{len(guides)} guides")
    for path in guides:
        name = path.relative_to(ROOT)
        if lab.tools.is_crossfade and NOT_BUILT in path.read_text().splitlines()[0]:
            code, output = _check(lab.tools.subject_check(path))
            errors = [line for line in output.splitlines() if line.startswith("error:")]
            named = code != 0 and bool(errors) and all("not built yet" in line for line in errors)
            lab.check(f"{name} is told what is not built yet, and nothing else", named, output.strip())
        elif lab.tools.is_crossfade or CROSSFADE_ONLY not in path.read_text().splitlines()[0]:
            _accepts(lab, f"{name} is accepted", lab.tools.subject_check(path))
        if lab.tools.is_crossfade and CROSSFADE_ONLY not in path.read_text().splitlines()[0]:
            _accepts(lab, f"{name} is accepted by the Collector too", [lab.tools.collector, "validate", "--config", path])
    if lab.tools.is_crossfade:
        lab.check("there are examples to check", len(examples) >= 4, f"{len(examples)} examples")
    for path in examples:
        _accepts(lab, f"{path.relative_to(ROOT)} is accepted", lab.tools.subject_check(path))
    _refuses(lab)


def _accepts(lab: Lab, sentence: str, argv: list[object]) -> None:
    code, output = _check(argv)
    lab.check(sentence, code == 0, "" if code == 0 else output)


def _refuses(lab: Lab) -> None:
    broken = lab.file(
        "broken.yaml",
        """
receivers:
  otlp: {protocols: {grpc: {endpoint: "127.0.0.1:4317"}}}
exporters:
  debug: {}
service:
  pipelines:
    traces: {receivers: [otlp], exporters: [nowhere]}
""",
    )
    code, output = _check(lab.tools.subject_check(broken))
    lab.check("a pipeline with an exporter that is not there is refused by name", code != 0 and "nowhere" in output, output.strip())


def _check(argv: list[object]) -> tuple[int, str]:
    done = subprocess.run(
        [str(argument) for argument in argv],
        env={**os.environ, **VARIABLES},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout
