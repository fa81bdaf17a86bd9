"""Who else has the CPUs while they are measured: what others use, and how long our threads wait.

From Linux alone: /proc/stat (proc(5)) for what the CPUs of this process did, and the second field
of /proc/self/task/*/schedstat (Documentation/scheduler/sched-stats.rst), the nanoseconds that a
thread was ready and waited for a CPU. Elsewhere nothing is known, and None says so.
"""

from __future__ import annotations

import os
import time
from typing import NamedTuple

QUIET_SHARE = 0.03
"""As much as the tolerance of a figure: who waits longer cannot be measured to it."""

BUSY_CPUS = 0.15
"""Less of a CPU is what any system uses for itself, by the ticks of 10 ms that it is counted in."""

_LOOK_S = 0.25
_BUSY_FIELDS = (0, 1, 2, 5, 6, 7)
"""Of a line of /proc/stat: user, nice, system, irq, softirq, steal."""

_STEAL = 7


class Moment(NamedTuple):
    """What the counters said: seconds of the clock, of CPUs that were used (by others as well), of
    this process alone, and of waiting for a CPU. None where the system does not say."""

    at: float
    used_s: float | None
    own_s: float
    waited_s: float | None


def moment() -> Moment:
    """The counters now."""
    used, stolen = _used_and_stolen()
    waited = _run_queue_s()
    if waited is not None and stolen is not None:
        # What the hypervisor gives to others is no waiting in the kernel's own queue.
        waited += stolen
    times = os.times()
    own = times.user + times.system + times.children_user + times.children_system
    return Moment(time.monotonic(), used, own, waited)


def others_cpus(before: Moment, after: Moment) -> float | None:
    """How many of our CPUs others used in between, on average."""
    seconds = after.at - before.at
    if before.used_s is None or after.used_s is None or seconds <= 0:
        return None
    used, own = after.used_s - before.used_s, after.own_s - before.own_s
    return max(0.0, used - own) / seconds


def waited_share(before: Moment, after: Moment, seconds: float, threads: int) -> float | None:
    """How long as many threads waited for a CPU within those seconds, as a share of them."""
    if before.waited_s is None or after.waited_s is None or seconds <= 0:
        return None
    return max(0.0, after.waited_s - before.waited_s) / (seconds * threads)


def usable_cpus() -> int:
    """The CPUs that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def look() -> float | None:
    """How many of our CPUs others use now."""
    before = moment()
    time.sleep(_LOOK_S)
    return others_cpus(before, moment())


def leave_no_room(others: float | None, threads: int) -> bool:
    """Whether so many threads and what others use do not fit onto our CPUs."""
    if others is None or others <= BUSY_CPUS:
        return False
    return others + threads > usable_cpus() + BUSY_CPUS


def _used_and_stolen() -> tuple[float | None, float | None]:
    """Seconds since the start of the system that our CPUs were used, and were another guest's."""
    if not hasattr(os, "sched_getaffinity"):
        return None, None
    ours = {f"cpu{number}" for number in os.sched_getaffinity(0)}
    tick = os.sysconf("SC_CLK_TCK")
    used = stolen = 0
    try:
        with open("/proc/stat", encoding="ascii") as file:
            for line in file:
                name, *fields = line.split()
                if name in ours:
                    ours.discard(name)
                    used += sum(int(fields[one]) for one in _BUSY_FIELDS)
                    stolen += int(fields[_STEAL])
    except (OSError, ValueError, IndexError):
        return None, None
    # A container may be shown other numbers than those that it runs on (lxcfs).
    return (None, None) if ours else (used / tick, stolen / tick)


def _run_queue_s() -> float | None:
    """Seconds that the threads of this process have waited for a CPU since they began."""
    total = 0
    try:
        for task in os.listdir("/proc/self/task"):
            with open(f"/proc/self/task/{task}/schedstat", encoding="ascii") as file:
                total += int(file.read().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return total / 1e9
