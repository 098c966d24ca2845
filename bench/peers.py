"""Who is measured: Crossfade, and whatever peers environment variables name."""

from __future__ import annotations

import os
import pathlib
import shlex
import subprocess

PEERS_DIRECTORY = pathlib.Path(__file__).resolve().parent / "peers"

# Which variable names which peer's binary.
VARIABLES = {
    "otelcol": "CROSSFADE_BENCH_OTELCOL",
    "vmagent": "CROSSFADE_BENCH_VMAGENT",
    "rotel": "CROSSFADE_BENCH_ROTEL",
    "dfe": "CROSSFADE_BENCH_DFE",
}
TITLES = {
    "crossfade": "Crossfade",
    "otelcol": "OpenTelemetry Collector",
    "vmagent": "vmagent",
    "rotel": "Rotel",
    "dfe": "otel-arrow dataflow engine",
}


class Peer:
    """One program that can be given a case's work."""

    def __init__(self, name: str, binary: pathlib.Path) -> None:
        self.name = name
        self.binary = binary
        self.title = TITLES[name]

    def template(self, template: str) -> pathlib.Path | None:
        """This peer's configuration for a kind of work, if it can do that work."""
        directory = PEERS_DIRECTORY / ("collector" if self.name in ("crossfade", "otelcol") else self.name)
        for suffix in (".yaml", ".flags"):
            path = directory / (template + suffix)
            if path.exists():
                return path
        return None

    def command(self, template: str, wiring: dict[str, str], directory: pathlib.Path) -> list[str]:
        """The command that does the work, with its configuration written to `directory`."""
        source = self.template(template)
        if source is None:
            raise ValueError(f"{self.name} has no template {template}")
        text = source.read_text()
        for token, value in wiring.items():
            text = text.replace(f"@{token}@", value)
        if source.suffix == ".flags":
            return [str(self.binary), *(word for line in text.splitlines() for word in shlex.split(line, comments=True))]
        config = directory / f"{self.name}.yaml"
        config.write_text(text)
        if self.name == "crossfade":
            return [str(self.binary), "run", "--config", str(config)]
        return [str(self.binary), "--config", str(config)]

    def version(self) -> str:
        """What the program says of itself."""
        flag = "-version" if self.name == "vmagent" else "--version"
        done = subprocess.run([str(self.binary), flag], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        lines = [line for line in done.stdout.splitlines() if line.strip()]
        return lines[0].strip() if lines else "unknown"


def find(crossfade: pathlib.Path) -> tuple[list[Peer], list[str]]:
    """The peers that are there, Crossfade first, and the names of those that are not."""
    there, absent = [Peer("crossfade", crossfade)], []
    for name, variable in VARIABLES.items():
        path = os.environ.get(variable)
        if path and pathlib.Path(path).exists():
            there.append(Peer(name, pathlib.Path(path).resolve()))
        else:
            absent.append(f"{TITLES[name]} ({variable} {'names no file' if path else 'is not set'})")
    return there, absent
