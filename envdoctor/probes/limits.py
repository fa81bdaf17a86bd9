"""What this process may really use of the machine, and the space where it works."""

import os
import re
from pathlib import Path

from envdoctor.facts import Fact, Known, Observed, Reason, Unknown
from envdoctor.facts.machine import Limits, TemporaryFolder, TemporaryFolders, WorkingFolder
from envdoctor.probes.cgroup import cpu_quota, memory_limit_bytes, task_limit
from envdoctor.probes.context import Context
from envdoctor.probes.files import matching, read_text
from envdoctor.probes.live import only_live

_CPUS = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?", re.ASCII)
"""Linux allows 8,192 CPUs at most (NR_CPUS of x86)."""


def read_limits(context: Context) -> Limits:
    """The limits of this process, which its children inherit."""
    cpus = usable_cpus()
    affinity = len(cpus)
    quota = cpu_quota(context.root)
    shm = _space(context.path("/dev/shm"))
    tasks, running = _tasks(context.root)
    open_files, open_files_hard = _limits_of("RLIMIT_NOFILE")
    return Limits(
        usable_cpus=min(float(affinity), quota) if quota else float(affinity),
        affinity_cpus=affinity,
        cgroup_cpu_quota=quota,
        cgroup_memory_bytes=memory_limit_bytes(context.root),
        shm_bytes=shm[0] if shm else None,
        shm_free_bytes=shm[1] if shm else None,
        open_files=open_files,
        numa_nodes=numa_nodes(context.root, cpus),
        address_space_bytes=_soft_limit("RLIMIT_AS"),
        locked_memory_bytes=_locked_memory(context.root),
        tasks=tasks,
        tasks_running=running,
        open_files_hard=open_files_hard,
    )


_IPC_LOCK = 14
"""CAP_IPC_LOCK (linux/capability.h): whoever has it is held by no RLIMIT_MEMLOCK."""

_UNCOUNTED = (21, 24)
"""CAP_SYS_ADMIN and CAP_SYS_RESOURCE: whoever has one is held by no RLIMIT_NPROC (getrlimit(2))."""


def _locked_memory(root: Path) -> int | None:
    return None if _capable(root, _IPC_LOCK) else _soft_limit("RLIMIT_MEMLOCK")


def _tasks(root: Path) -> tuple[int | None, int | None]:
    """How many processes and threads there may be and are, by the narrower of the two limits."""
    of_group = task_limit(root)
    free = os.getuid() == 0 or _capable(root, *_UNCOUNTED)
    of_user = None if free else _soft_limit("RLIMIT_NPROC")
    if of_user is not None and (of_group is None or of_user < of_group[0]):
        return of_user, None
    return of_group or (None, None)


def _capable(root: Path, *capabilities: int) -> bool:
    """Whether this process has one of these capabilities in force."""
    status = read_text(root / "proc/self/status") or ""
    effective = re.search(r"^CapEff:\s*([0-9a-f]{1,16})$", status, re.MULTILINE)
    return effective is not None and any(int(effective[1], 16) >> one & 1 for one in capabilities)


def usable_cpus() -> set[int]:
    """The CPUs that this process may run on: all of them on macOS, which has no affinity."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def numa_nodes(root: Path, cpus: set[int]) -> tuple[int, ...]:
    """The NUMA nodes that these CPUs belong to; none where Linux shows none."""
    folders = matching(root / "sys/devices/system/node", "node[0-9]*")
    nodes = {
        int(folder.name.removeprefix("node")): cpu_list(read_text(folder / "cpulist") or "")
        for folder in folders
    }
    return tuple(sorted(node for node, own in nodes.items() if own & cpus))


def cpu_list(text: str) -> set[int]:
    """The CPUs of a list like `0-3,8` (cpuset(7), "List format"); empty if it is not one."""
    cpus: set[int] = set()
    for part in text.strip().split(","):
        match = _CPUS.fullmatch(part)
        if match:
            cpus.update(range(int(match[1]), int(match[2] or match[1]) + 1))
    return cpus


def _space(folder: Path) -> tuple[int, int] | None:
    try:
        space = os.statvfs(folder)
    except OSError:
        return None
    return space.f_frsize * space.f_blocks, space.f_frsize * space.f_bavail


def _soft_limit(name: str) -> int | None:
    return _limits_of(name)[0]


def _limits_of(name: str) -> tuple[int | None, int | None]:
    """The limit in force and the one up to which it may be raised; null without one."""
    import resource

    soft, hard = resource.getrlimit(getattr(resource, name))
    without = resource.RLIM_INFINITY
    return None if soft == without else soft, None if hard == without else hard


def observe_limits(context: Context) -> dict[type[Fact], Known]:
    """The limits of this process."""
    if not context.is_live:
        return {Limits: only_live(context, "limits are those of a running process")}
    source = "/proc/self/cgroup, sched_getaffinity, statvfs"
    return {Limits: Observed(value=read_limits(context), source=source)}


def observe_working_folder(context: Context) -> dict[type[Fact], Known]:
    """The space where the user works. A file server that is gone holds this probe and no other."""
    space = _space(context.path(context.cwd))
    if space is None:
        detail = f"`{context.cwd}` does not say how much space it has"
        return {WorkingFolder: Unknown(reason=Reason.UNDECODABLE, detail=detail)}
    folder = WorkingFolder(path=context.cwd, free_bytes=space[1])
    return {WorkingFolder: Observed(value=folder, source="statvfs")}


_TEMPORARY = ("TMPDIR", "TEMP", "TMP")
_USUAL = ("/tmp", "/var/tmp", "/usr/tmp")
"""Where Python's tempfile looks, in this order, and then in the working folder."""


def observe_temporary_folders(context: Context) -> dict[type[Fact], Known]:
    """The space for temporary files, in the folders that tempfile tries one after the other."""
    if not context.is_live:
        why = "who may write where is known of a running system"
        return {TemporaryFolders: only_live(context, why)}
    named = (context.env.get(name, "") for name in _TEMPORARY)
    paths = (os.path.join(context.cwd, path) for path in (*filter(None, named), *_USUAL))
    folders = tuple(_temporary(context, path) for path in dict.fromkeys([*paths, context.cwd]))
    source = "TMPDIR, access, statvfs"
    return {TemporaryFolders: Observed(value=TemporaryFolders(items=folders), source=source)}


def _temporary(context: Context, path: str) -> TemporaryFolder:
    folder = context.path(path)
    try:
        space = os.statvfs(folder)
    except OSError:
        return TemporaryFolder(path=path)
    # Of a read-only file system access(2) says the same.
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        return TemporaryFolder(path=path)
    # Btrfs and others make inodes as they need them, and count none.
    files = space.f_favail if space.f_files else None
    return TemporaryFolder(path=path, free_bytes=space.f_frsize * space.f_bavail, free_files=files)
