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

    def command(
        self, template: str, wiring: dict[str, str], directory: pathlib.Path
    ) -> tuple[list[str], dict[str, str]]:
        """The command that does the work and its environment, with its configuration written to `directory`.

        In a template `@NAME@` is replaced. A line with `@COMPRESSION_UNLESS_NONE@` is left out where nothing is
        compressed. In a `.flags` template a line is one or several arguments, or `$NAME=value` for the environment.
        """
        source = self.template(template)
        if source is None:
            raise ValueError(f"{self.name} has no template {template}")
        text = source.read_text()
        if wiring["COMPRESSION"] == "none":
            text = "\n".join(line for line in text.splitlines() if "@COMPRESSION_UNLESS_NONE@" not in line) + "\n"
        text = text.replace("@COMPRESSION_UNLESS_NONE@", wiring["COMPRESSION"])
        for token, value in wiring.items():
            text = text.replace(f"@{token}@", value)
        if source.suffix == ".flags":
            words = [word for line in text.splitlines() for word in shlex.split(line, comments=True)]
            environment = dict(word[1:].split("=", 1) for word in words if word.startswith("$"))
            return [str(self.binary), *(word for word in words if not word.startswith("$"))], environment
        config = directory / f"{self.name}.yaml"
        config.write_text(text)
        if self.name == "crossfade":
            return [str(self.binary), "run", "--config", str(config)], {}
        return [str(self.binary), "--config", str(config)], {}

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
