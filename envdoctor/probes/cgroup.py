"""CPU quota, memory limit and limit of tasks of this process's control groups, versions 1 and 2.

Source: the Linux kernel's documentation, admin-guide/cgroup-v2 and admin-guide/cgroup-v1. A limit
of any ancestor binds, so the smallest one up to the root counts.
"""

from collections.abc import Iterator
from pathlib import Path

from envdoctor.probes.files import read_number, read_text
from envdoctor.versions import parse_number

_NO_LIMIT_BYTES = 1 << 60
"""Version 1 writes a number near 2**63 where no memory limit is set."""


def cpu_quota(root: Path) -> float | None:
    """How many CPUs' worth of time the process may use; None without a quota."""
    quotas = [*_quotas_v2(root), *_quotas_v1(root)]
    return min(quotas, default=None)


def memory_limit_bytes(root: Path) -> int | None:
    """The memory limit in bytes; None without one."""
    folders_v2 = _folders(root, "", "sys/fs/cgroup")
    folders_v1 = _folders(root, "memory", "sys/fs/cgroup/memory")
    limits = [read_number(folder / "memory.max") for folder in folders_v2]
    limits += [read_number(folder / "memory.limit_in_bytes") for folder in folders_v1]
    return min((limit for limit in limits if limit and limit < _NO_LIMIT_BYTES), default=None)


def task_limit(root: Path) -> tuple[int, int | None] | None:
    """How many processes and threads the group that leaves the least room may have, and how many
    it has; None without a limit (admin-guide/cgroup-v1/pids)."""
    folders = [
        *_folders(root, "", "sys/fs/cgroup"),
        *_folders(root, "pids", "sys/fs/cgroup/pids"),
    ]
    found = [
        (limit, read_number(folder / "pids.current"))
        for folder in folders
        if (limit := read_number(folder / "pids.max")) is not None
    ]
    return min(found, key=lambda one: one[0] - (one[1] or 0), default=None)


def _quotas_v2(root: Path) -> Iterator[float]:
    for folder in _folders(root, "", "sys/fs/cgroup"):
        words = (read_text(folder / "cpu.max") or "").strip().partition(" ")
        quota, period = parse_number(words[0]), parse_number(words[2])
        if quota is not None and period:
            yield quota / period


def _quotas_v1(root: Path) -> Iterator[float]:
    for mount in ("sys/fs/cgroup/cpu", "sys/fs/cgroup/cpu,cpuacct"):
        for folder in _folders(root, "cpu", mount):
            quota = read_number(folder / "cpu.cfs_quota_us")
            period = read_number(folder / "cpu.cfs_period_us")
            if quota and period and quota > 0:
                yield quota / period


def _folders(root: Path, controller: str, mount: str) -> Iterator[Path]:
    """The process's group and its ancestors; only the mount's root is visible in a container."""
    top = root / mount
    for line in (read_text(root / "proc/self/cgroup") or "").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controller not in controllers.split(","):
            continue
        folder = top / path.lstrip("/")
        while folder != top and top in folder.parents:
            yield folder
            folder = folder.parent
    yield top
