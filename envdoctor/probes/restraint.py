"""What a child may not do to the machine. None of it may keep a healthy torch from working."""

import resource

MOST_FILE_BYTES = 64 << 30
"""Of one file that a child writes. A log that a `sitecustomize` appends to, the shared memory of
workers (a file of /dev/shm) and a cache of compiled kernels are far below it."""

KILLED_FIRST = 500
"""The oom_score_adj of a child: when memory runs out it counts as if it took half of the machine
more than it does (proc(5)), so that a runaway target is ended and nothing else. There is no limit
of memory itself: CUDA reserves address space for all memory of host and GPUs (RLIMIT_AS), and a
healthy import on 256 CPUs that have stacks of 1 GB maps 256 GB for them (RLIMIT_DATA)."""


def restrain(pid: int) -> None:
    """Restrain a child that was just started, and what it will start. What the system refuses is
    left out."""
    _limit(pid, resource.RLIMIT_FSIZE, MOST_FILE_BYTES)
    # Where it crashes, its memory is not written into the folder of the user.
    _limit(pid, resource.RLIMIT_CORE, 0)
    try:
        with open(f"/proc/{pid}/oom_score_adj", "r+b", buffering=0) as file:
            if int(file.read()) < KILLED_FIRST:
                file.write(b"%d" % KILLED_FIRST)
    except (OSError, ValueError):
        return


def _limit(pid: int, kind: int, most: int) -> None:
    try:
        soft, hard = resource.prlimit(pid, kind)
        resource.prlimit(pid, kind, (_lower(soft, most), hard))
    except (OSError, ValueError, AttributeError):
        return


def _lower(limit: int, most: int) -> int:
    return most if limit == resource.RLIM_INFINITY else min(limit, most)
