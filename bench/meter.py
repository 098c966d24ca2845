"""What a process costs, as the kernel counts it."""

from __future__ import annotations

import os
import pathlib
import platform
import time


def cpu_seconds(pid: int) -> float:
    """CPU time of all threads of a process, ended ones too, user and system, since its start.

    The process's CPU clock (clock_getcpuclockid(3)) counts in nanoseconds;
    /proc/PID/stat has the same sum in steps of 10 ms, too coarse for a few
    hundred milliseconds.
    """
    return time.clock_gettime((~pid) << 3 | 2)


def memory_bytes(pid: int) -> dict[str, int]:
    """Resident memory now and at its highest."""
    found = {}
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name in ("VmRSS", "VmHWM"):
            found[name] = int(value.split()[0]) * 1024
    return {"now": found.get("VmRSS", 0), "peak": found.get("VmHWM", 0)}


def machine() -> dict[str, object]:
    """The machine, without its name."""
    model = "unknown"
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory_kib = int(pathlib.Path("/proc/meminfo").read_text().split()[1])
    return {
        "cores": os.cpu_count(),
        "cpu": model,
        "memory_gib": round(memory_kib / 2**20, 1),
        "kernel": f"{platform.system()} {platform.release().split('-')[0]}",
        "architecture": platform.machine(),
    }


def load_average() -> float:
    """How busy the machine was in the last minute; above the cores, figures are worth less."""
    return os.getloadavg()[0]
