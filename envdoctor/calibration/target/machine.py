"""What the system says of the machine: its CPU, its memory, the threads to compute with."""

from __future__ import annotations

import os
import platform
import subprocess


def cpu_flags() -> frozenset[str]:
    """The features of the CPU as Linux names them; empty where they cannot be read."""
    return frozenset((_cpuinfo("flags") or _cpuinfo("Features") or "").split())


def cpu_name() -> str:
    """The CPU's name as the system gives it, else its architecture."""
    known = _cpuinfo("model name") or apple_name()
    return known or platform.processor() or platform.machine()


def apple_name() -> str:
    """The chip of a Mac, which has no /proc; empty elsewhere."""
    return "" if os.path.isdir("/proc") else sysctl("machdep.cpu.brand_string")


def sysctl(key: str) -> str:
    """A variable of the kernel by the tool of that name; empty where it does not say."""
    try:
        done = subprocess.run(
            ["sysctl", "-n", key],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode(errors="replace").strip()


def _cpuinfo(key: str) -> str | None:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                name, _, value = line.partition(":")
                if name.strip() == key:
                    return value.strip()
    except OSError:
        return None
    return None


def clock_mhz() -> float | None:
    """The fastest clock of a CPU that Linux tells now, in MHz; in a virtual machine it is that of
    the data sheet. None where Linux does not say."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            lines = [line.partition(":") for line in file if line.startswith("cpu MHz")]
        return max((float(value) for _, _, value in lines), default=None)
    except (OSError, ValueError):
        return None


def status_bytes(key: str) -> int | None:
    """A size from /proc/self/status, in bytes; None where there is none."""
    return _kibibytes("/proc/self/status", key)


def memory_available() -> int | None:
    """Bytes that could be had without swapping; None where Linux does not say."""
    return _kibibytes("/proc/meminfo", "MemAvailable")


def _kibibytes(path: str, key: str) -> int | None:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            for line in file:
                name, _, value = line.partition(":")
                if name == key:
                    return int(value.split()[0]) * 1024
    except (OSError, ValueError, IndexError):
        return None
    return None


def physical_cpus(affinity: set[int]) -> int:
    """How many different cores those CPUs are; their number where Linux does not say.

    Two threads of one core share its vector units, so that a thread a core is the most that
    helps dense arithmetic.
    """
    cores = set()
    for cpu in affinity:
        path = f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"
        try:
            with open(path, encoding="ascii") as file:
                cores.add(file.read().strip())
        except OSError:
            cores.add(str(cpu))
    return len(cores)


def threads_for(usable_cpus: float | None) -> int:
    """The threads to compute with: a physical core each, within what the process may use."""
    affinity = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    cores = physical_cpus(affinity) if affinity else os.cpu_count() or 1
    return max(1, min(cores, int(usable_cpus or cores)))
