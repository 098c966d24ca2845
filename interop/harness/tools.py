"""Finds or installs the foreign parts, and the program under test.

Everything that is built or downloaded lives in a cache directory outside
the repository (`CROSSFADE_INTEROP_CACHE`), so that a second run starts at
once."""

from __future__ import annotations

import filecmp
import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Callable

INTEROP = pathlib.Path(__file__).resolve().parent.parent
ROOT = INTEROP.parent

PYTHON_PACKAGES = INTEROP / "clients" / "requirements.txt"
# Clients that nobody releases any more need a protobuf that the current ones refuse.
OLD_PYTHON_PACKAGES = INTEROP / "clients" / "requirements-old.txt"
PARITY_PYTHON_PACKAGES = INTEROP / "clients" / "requirements-parity.txt"


class Missing(Exception):
    """A foreign part is not there and could not be installed; says what to do."""


class Tools:
    """Paths of everything the scenarios run."""

    def __init__(self, subject: str, say) -> None:
        self.say = say
        self.subject = subject
        self.cache = pathlib.Path(
            os.environ.get("CROSSFADE_INTEROP_CACHE")
            or pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "crossfade-interop"
        )
        (self.cache / "bin").mkdir(parents=True, exist_ok=True)

    # === the program under test ===

    def subject_run(self, config: pathlib.Path) -> list[object]:
        """The command that runs the program under test with `config`."""
        if self.subject == "collector":
            return [self.collector, "--config", config]
        return [self.crossfade, "run", "--config", config]

    def subject_check(self, config: pathlib.Path) -> list[object]:
        """The command that checks `config` without running it."""
        if self.subject == "collector":
            return [self.collector, "validate", "--config", config]
        return [self.crossfade, "check", "--config", config]

    @property
    def is_crossfade(self) -> bool:
        """Whether Crossfade is under test, and not the Collector in its place."""
        return self.subject == "crossfade"

    # === preparation ===

    def prepare(self, needs: set[str]) -> None:
        """Installs what is missing and builds the program under test; `needs` are the parts beyond the common ones."""
        self.prometheus = self._debian("prometheus", "prometheus")
        self.node_exporter = self._debian("prometheus-node-exporter", "prometheus-node-exporter")
        self.collector = self.build_go("otelcol", INTEROP / "collector", ".")
        self.python = self._python("venv", PYTHON_PACKAGES)
        self.node = self._which("node", "install Node.js 20 or later")
        self.js = self._js()
        for need in sorted(needs):
            setattr(self, need, PARTS[need](self))
        if self.is_crossfade:
            self.crossfade = build_crossfade(self.say)

    def versions(self) -> dict[str, str]:
        """What each foreign part says of itself."""
        found = {
            "prometheus": _first_line([self.prometheus, "--version"]),
            "node_exporter": _first_line([self.node_exporter, "--version"]),
            "collector": _first_line([self.collector, "--version"]),
            "node": _first_line([self.node, "--version"]),
            "python": _first_line([self.python, "--version"]),
            "opentelemetry-sdk (Python)": _first_line(
                [self.python, "-c", "from importlib.metadata import version; print(version('opentelemetry-sdk'))"]
            ),
            "opentelemetry sdk-node (JavaScript)": _first_line(
                [self.node, "-p", f"require('{self.js}/node_modules/@opentelemetry/sdk-node/package.json').version"]
            ),
        }
        for part, argv in PART_VERSIONS.items():
            if hasattr(self, part):
                found[part] = _first_line([getattr(self, part), *argv])
        for part, module in GO_TOOLS.items():
            if hasattr(self, part):
                found[part] = _required(INTEROP / part / "go.mod", module)
        if self.is_crossfade:
            found["crossfade"] = _first_line([self.crossfade, "--version"])
        return found

    def _which(self, command: str, advice: str) -> str:
        path = shutil.which(command, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
        if path is None:
            raise Missing(f"{command} is not installed: {advice}")
        return path

    def _debian(self, command: str, *packages: str) -> str:
        path = shutil.which(command, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
        if path is not None:
            return path
        if shutil.which("apt-get") is None or os.geteuid() != 0:
            raise Missing(f"{command} is not installed: apt-get install {' '.join(packages)}")
        self.say(f"installing Debian's {' '.join(packages)}")
        # The package would start a service of its own; the run starts its own servers instead.
        env = dict(os.environ, DEBIAN_FRONTEND="noninteractive", RUNLEVEL="1")
        subprocess.run(
            ["apt-get", "install", "-y", "--no-install-recommends", *packages], check=True, env=env, stdout=subprocess.DEVNULL
        )
        return self._which(command, f"apt-get install {' '.join(packages)}")

    def build_go(self, name: str, module: pathlib.Path, package: str, tags: str = "") -> pathlib.Path:
        """Builds one program from its Go modules, once per change of its go.sum and sources."""
        binary = self.cache / "bin" / name
        stamp = self.cache / "bin" / f"{name}.stamp"
        wanted = "\n".join(
            path.read_text() for path in sorted(module.iterdir()) if path.suffix in (".go", ".mod", ".sum")
        )
        if binary.exists() and stamp.exists() and stamp.read_text() == wanted:
            return binary
        go = self._which("go", "install Go 1.26 or later")
        self.say(f"building {name} from its Go modules (some ten minutes on two cores, once)")
        subprocess.run(
            ["nice", go, "build", "-trimpath", "-ldflags", "-s -w", "-tags", tags, "-o", str(binary), package],
            cwd=module,
            check=True,
        )
        stamp.write_text(wanted)
        return binary

    def build_tool(self, name: str, package: str, tags: str = "") -> pathlib.Path:
        """Builds the one program that a module of ours names as its tool."""
        return self.build_go(name, INTEROP / name, package, tags)

    def _python(self, name: str, packages: pathlib.Path) -> pathlib.Path:
        venv = self.cache / name
        python = venv / "bin" / "python"
        stamp = venv / "requirements.txt"
        if python.exists() and stamp.exists() and filecmp.cmp(stamp, packages, shallow=False):
            return python
        self.say(f"installing the Python clients of {packages.name}")
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(venv)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", "--requirement", str(packages)], check=True)
        shutil.copy(packages, stamp)
        return python

    def _js(self) -> pathlib.Path:
        directory = self.cache / "js"
        directory.mkdir(exist_ok=True)
        lock = INTEROP / "js" / "package-lock.json"
        stamp = directory / "installed-lock.json"
        if not (stamp.exists() and filecmp.cmp(stamp, lock, shallow=False)):
            npm = self._which("npm", "install Node.js 20 or later with npm")
            self.say("installing the JavaScript clients")
            for name in ("package.json", "package-lock.json"):
                shutil.copy(INTEROP / "js" / name, directory / name)
            subprocess.run([npm, "ci", "--silent", "--no-audit", "--no-fund"], cwd=directory, check=True)
            # Unix datagrams from Node.js need a compiled module. Without a compiler a scenario leaves them out and says so.
            subprocess.run([npm, "rebuild", "--silent", "unix-dgram"], cwd=directory, check=False, stdout=subprocess.DEVNULL)
            shutil.copy(lock, stamp)
        # Modules are found from where a client lies, so each lies beside node_modules.
        for client in (INTEROP / "js").glob("*.mjs"):
            shutil.copy(client, directory / client.name)
        return directory


# Programs that a module of ours names as its tool, by the module that they are in; they do not know their own version.
GO_TOOLS = {
    "jaeger": "github.com/jaegertracing/jaeger",
    "prometheus3": "github.com/prometheus/prometheus",
    "victorialogs": "github.com/VictoriaMetrics/VictoriaLogs",
    "victoriametrics": "github.com/VictoriaMetrics/VictoriaMetrics",
}
# What only some scenarios need: `NEEDS` of a scenario names it, and the attribute of that name is its path.
PARTS: dict[str, Callable[[Tools], object]] = {
    "old_python": lambda tools: tools._python("venv-old", OLD_PYTHON_PACKAGES),
    "parity_python": lambda tools: tools._python("venv-parity", PARITY_PYTHON_PACKAGES),
    "jaeger": lambda tools: tools.build_tool("jaeger", f"{GO_TOOLS['jaeger']}/cmd/jaeger"),
    "victorialogs": lambda tools: tools.build_tool("victorialogs", f"{GO_TOOLS['victorialogs']}/app/victoria-logs"),
    # Without the discovery of clouds, which is most of what there is to build.
    "prometheus3": lambda tools: tools.build_tool("prometheus3", f"{GO_TOOLS['prometheus3']}/cmd/prometheus", "remove_all_sd"),
    "victoriametrics": lambda tools: tools.build_tool("victoriametrics", f"{GO_TOOLS['victoriametrics']}/app/victoria-metrics"),
    "rsyslogd": lambda tools: tools._debian("rsyslogd", "rsyslog", "rsyslog-gnutls"),
    "logger": lambda tools: tools._debian("logger", "bsdutils"),
    "logrotate": lambda tools: tools._debian("logrotate", "logrotate"),
    "carbon_cache": lambda tools: tools._debian("carbon-cache", "graphite-carbon"),
    "whisper_fetch": lambda tools: tools._debian("whisper-fetch", "python3-whisper"),
    "influxd": lambda tools: tools._debian("influxd", "influxdb"),
}
PART_VERSIONS = {
    "rsyslogd": ["-v"],
    "logger": ["--version"],
    "logrotate": ["--version"],
    "influxd": ["version"],
}


def build_crossfade(say) -> pathlib.Path:
    """The program under test: CROSSFADE_BIN, or a release build of this workspace."""
    named = os.environ.get("CROSSFADE_BIN")
    if named:
        path = pathlib.Path(named).resolve()
        if not path.exists():
            raise Missing(f"CROSSFADE_BIN names {path}, which does not exist")
        return path
    if shutil.which("cargo") is None:
        raise Missing("cargo is not installed: install Rust, or name a binary in CROSSFADE_BIN")
    say("building crossfade (release)")
    subprocess.run(["cargo", "build", "--release", "--quiet", "-p", "crossfade"], cwd=ROOT, check=True)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")
    return target / "release" / "crossfade"


def _required(go_mod: pathlib.Path, module: str) -> str:
    for line in go_mod.read_text().splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == module:
            return f"{module} {words[1]}"
    return f"not in {go_mod}"


def _first_line(argv: list[object]) -> str:
    done = subprocess.run([str(arg) for arg in argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lines = done.stdout.splitlines()
    return lines[0].strip() if lines else f"exit code {done.returncode}"
