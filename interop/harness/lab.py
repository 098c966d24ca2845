"""The lab starts every server of a scenario on loopback with free ports,
waits until it is ready, keeps its log, and stops only what it started."""

from __future__ import annotations

import os
import pathlib
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable

from .checks import Checks
from .tools import Tools

READY_SECONDS_MAX = 30.0
STOP_SECONDS_MAX = 20.0


class NotReady(Exception):
    """A process ended or stayed silent before it was ready."""


class Process:
    """One started program, its log, and how to end it."""

    def __init__(self, name: str, argv: list[str], log: pathlib.Path, env: dict[str, str] | None) -> None:
        self.name = name
        self.log = log
        self._file = open(log, "ab")
        full_env = dict(os.environ)
        full_env.update(env or {})
        self.popen = subprocess.Popen(
            argv, stdout=self._file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=full_env, cwd=log.parent
        )

    @property
    def pid(self) -> int:
        """The operating system's id of the process."""
        return self.popen.pid

    def running(self) -> bool:
        """Whether the process has not ended."""
        return self.popen.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Sends one signal, for scenarios that hang a backend."""
        self.popen.send_signal(number)

    def stop(self) -> int:
        """Asks the process to end and returns its exit code; -9 says it had to be killed."""
        if self.running():
            self.popen.send_signal(signal.SIGCONT)
            self.popen.terminate()
            try:
                self.popen.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self.kill()
        self._file.close()
        return self.popen.returncode

    def kill(self) -> None:
        """Ends the process at once, as a crash would."""
        if self.running():
            self.popen.kill()
            self.popen.wait()

    def tail(self, lines: int = 15) -> str:
        """The end of the log, for evidence."""
        try:
            text = self.log.read_text(errors="replace").splitlines()
        except OSError:
            return ""
        return "\n".join(text[-lines:])


class Lab:
    """The processes and the working directory of one scenario."""

    def __init__(self, name: str, directory: pathlib.Path, tools: Tools, checks: Checks) -> None:
        self.name = name
        self.directory = directory
        self.tools = tools
        self.checks = checks
        self.subject_starts = 0
        self._processes: list[Process] = []
        self._ports: list[socket.socket] = []
        directory.mkdir(parents=True, exist_ok=True)

    # === checks ===

    def check(self, sentence: str, ok: bool, evidence: object = "", collector_fault: str = "") -> bool:
        """Records one check. `collector_fault` says why the Collector, in Crossfade's place, does not pass it."""
        return self.checks.add(sentence, ok, evidence, "" if self.tools.is_crossfade else collector_fault)

    def note(self, text: str) -> None:
        """Tells a waiting person what is going on."""
        self.checks.note(text)

    # === ports and files ===

    def port(self) -> int:
        """A port of loopback that nobody listens on now, never the same twice."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            number = probe.getsockname()[1]
        if number in self._ports:
            return self.port()
        self._ports.append(number)
        return number

    def file(self, name: str, text: str) -> pathlib.Path:
        """Writes one file of the scenario."""
        path = self.directory / name
        path.write_text(text)
        return path

    # === processes ===

    def start(
        self, name: str, argv: list[object], ready: Callable[[], bool] | None = None, env: dict[str, str] | None = None
    ) -> Process:
        """Starts a program and waits until `ready` says so."""
        process = Process(name, [str(arg) for arg in argv], self.directory / f"{name}.log", env)
        self._processes.append(process)
        if ready is not None:
            self.wait(f"{name} is ready", ready, READY_SECONDS_MAX, process)
        return process

    def wait(self, what: str, done: Callable[[], bool], seconds: float, process: Process | None = None) -> None:
        """Polls until `done`, or raises with what was awaited."""
        deadline = time.monotonic() + seconds
        while not done():
            if process is not None and not process.running():
                raise NotReady(f"{process.name} ended with code {process.popen.returncode}:\n{process.tail()}")
            if time.monotonic() > deadline:
                log = "\n" + process.tail() if process is not None else ""
                raise NotReady(f"waited {seconds:.0f} s and still not: {what}{log}")
            time.sleep(0.05)

    def subject(
        self,
        config: str,
        ports: list[int],
        name: str = "subject",
        env: dict[str, str] | None = None,
        datagrams: list[int | pathlib.Path] | None = None,
    ) -> Process:
        """Starts the program under test with `config`; ready when every port of `ports` accepts, and
        every port or path of `datagrams` is bound."""
        self.subject_starts += 1
        path = self.file(f"{name}.yaml", config)
        return self.start(
            name,
            self.tools.subject_run(path),
            lambda: all(port_open(port) for port in ports) and all(datagrams_open(one) for one in datagrams or []),
            env,
        )

    def collector(self, config: str, ports: list[int], name: str) -> Process:
        """Starts an OpenTelemetry Collector as a neighbour of the program under test."""
        path = self.file(f"{name}.yaml", config)
        return self.start(
            name, [self.tools.collector, "--config", path], lambda: all(port_open(port) for port in ports)
        )

    def prometheus(
        self, name: str, config: str, arguments: list[str] | None = None, binary: object = None, port: int | None = None
    ) -> str:
        """Starts a Prometheus, Debian's if none is named, and returns its base URL."""
        port = port or self.port()
        path = self.file(f"{name}.yml", config)
        url = f"http://127.0.0.1:{port}"
        self.start(
            name,
            [
                binary or self.tools.prometheus,
                f"--config.file={path}",
                f"--storage.tsdb.path={self.directory / (name + '-data')}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--enable-feature=exemplar-storage",
                "--log.level=info",
                *(arguments or []),
            ],
            lambda: http_ok(url + "/-/ready"),
        )
        return url

    def stop(self, name: str) -> None:
        """Stops one process, the newest of this name."""
        next(process for process in reversed(self._processes) if process.name == name).stop()

    def close(self) -> None:
        """Stops everything this lab started, last started first."""
        for process in reversed(self._processes):
            process.stop()
        self._processes.clear()


def port_open(port: int) -> bool:
    """Whether something accepts connections on this port of loopback."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def datagrams_open(address: int | pathlib.Path) -> bool:
    """Whether something takes datagrams on this port of loopback, or there is a socket at this path."""
    if isinstance(address, pathlib.Path):
        return address.is_socket()
    local = f":{address:04X}"
    return any(
        line.split()[1].endswith(local)
        for table in ("/proc/net/udp", "/proc/net/udp6")
        for line in pathlib.Path(table).read_text().splitlines()[1:]
    )


def http_ok(url: str) -> bool:
    """Whether a GET answers 200."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError, ValueError):
        return False


def http_get(url: str, headers: dict[str, str] | None = None) -> str:
    """The body of a GET that must succeed."""
    request = urllib.request.Request(url, headers=headers or {})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.read().decode()
