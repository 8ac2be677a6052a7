"""The machine that a figure was measured on, and the CPUs used."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import django
import requests
from django.db import connection

CAN_PIN = hasattr(os, "sched_setaffinity")


def describe() -> dict[str, Any]:
    """Return what a reader needs to compare figures: CPUs and all relevant versions."""
    version = ".".join(str(part) for part in connection.get_database_version())
    return {
        "cpus": os.cpu_count(),
        "cpu": _cpu_model(),
        "python": platform.python_version(),
        "django": django.get_version(),
        "requests": requests.__version__,
        "database": f"{connection.display_name} {version}",
    }


def line(machine: dict[str, Any]) -> str:
    """Return the description as one line."""
    return (
        f"{machine['cpus']} × {machine['cpu']}, Python {machine['python']}, Django {machine['django']}, "
        f"requests {machine['requests']}, {machine['database']}"
    )


@contextmanager
def pinned_apart() -> Iterator[set[int]]:
    """
    Pin this process, including the threads it starts, to its first CPU; yield the CPUs for the other side.

    Threads that share one interpreter lock are slower on two CPUs than on one,
    by a varying amount. Database servers aren't pinned.
    """
    if not CAN_PIN:
        yield set()
        return
    cpus = os.sched_getaffinity(0)
    first = min(cpus)
    os.sched_setaffinity(0, {first})
    try:
        yield cpus - {first} or cpus
    finally:
        os.sched_setaffinity(0, cpus)


def pin(pid: int, cpus: set[int]) -> None:
    """Pin a process that has just been started to some CPUs."""
    if CAN_PIN and cpus:
        os.sched_setaffinity(pid, cpus)


def resident_megabytes(pid: int, *, peak: bool = False) -> float:
    """Return the memory that a process uses, or the most that it has ever used; Linux only."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(rf"{'VmHWM' if peak else 'VmRSS'}:\s+(\d+) kB", status)
    if not found:
        raise RuntimeError(f"Process {pid} has ended.")
    return int(found[1]) / 1024


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of all threads of a process; Linux only."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def children(pid: int) -> list[int]:
    """Return the IDs of a process's children; Linux only."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _cpu_model() -> str:
    with suppress(OSError):
        if found := re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text()):
            return found[1]
    return platform.processor() or platform.machine()
