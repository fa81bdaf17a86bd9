"""Which programs used the CPUs while was measured, as far as they are seen from here."""

import os
from collections.abc import Iterable

import psutil

from envdoctor.facts.calibration import BusyProcess

_FEWEST_CPUS = 0.1
"""Less of a CPU disturbs nobody."""

_MOST_NAMED = 3

CpuSeconds = dict[tuple[int, float], tuple[str, float]]


def cpu_seconds() -> CpuSeconds:
    """The name and the seconds of a CPU of every process that can be seen, by its number and when
    it began; the doctor's own are left out."""
    own = _own_family()
    found: CpuSeconds = {}
    for process in psutil.process_iter(["pid", "create_time", "name", "cpu_times"]):
        info = process.info
        if info["pid"] in own or info["cpu_times"] is None or info["create_time"] is None:
            continue
        seconds = info["cpu_times"].user + info["cpu_times"].system
        found[info["pid"], info["create_time"]] = (info["name"] or "?", seconds)
    return found


def _own_family() -> set[int]:
    own = psutil.Process()
    return {os.getpid(), *(child.pid for child in own.children(recursive=True))}


def busiest(before: CpuSeconds, after: CpuSeconds, seconds: float) -> tuple[BusyProcess, ...]:
    """Those that used most in these seconds; one that began meanwhile counts from its start."""
    used = _used(before, after, seconds)
    return tuple(sorted(used, key=lambda one: -one.cpus)[:_MOST_NAMED])


def _used(before: CpuSeconds, after: CpuSeconds, seconds: float) -> Iterable[BusyProcess]:
    for (pid, began), (name, total) in after.items():
        _, earlier = before.get((pid, began), (name, 0.0))
        cpus = (total - earlier) / seconds
        if cpus >= _FEWEST_CPUS:
            yield BusyProcess(pid=pid, name=name, cpus=round(cpus, 2))
