"""What can go wrong between the user and the doctor, by kind. Imports nothing heavy."""

import errno
from collections.abc import Iterable


class BadInput(ValueError):
    """Something given by the user cannot be used; the message names it and the remedy."""


class Unseen(Exception):
    """What the answer rests on could not be looked at, as where time ran out; the message says
    why."""


class Unwritable(OSError):
    """A file or stream that cannot be written; the message names it."""


def described(error: BaseException) -> str:
    """The error in words, also where it cannot say what it is."""
    try:
        text = str(error)
    except BaseException:
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def files_refused(error: BaseException) -> str:
    """What to say where the system opens no more files, sockets or pipes; empty for another error.
    Imports nothing: that would open one."""
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.EMFILE:
        return (
            "the system opens no more files for this program: the limit of the process is reached "
            "(`ulimit -n`); raise it to 64 or more, or start it without the files that it inherits"
        )
    if number == errno.ENFILE:
        return (
            "the system opens no more files for anybody: its own limit is reached (`fs.file-max`); "
            "raise that, or end what has so many open"
        )
    return ""


def limit_reached(error: BaseException) -> str:
    """What to say where the system opens no more files for the doctor, or starts no more threads or
    processes; empty for another error.

    Python says it of a thread in these words (`Modules/_threadmodule.c`), of a process with EAGAIN
    (fork(2)).
    """
    files = files_refused(error)
    if files:
        return files
    is_thread = isinstance(error, RuntimeError) and "start new thread" in str(error)
    if not is_thread and not isinstance(error, BlockingIOError):
        return ""
    if is_thread and _threads_are_forbidden():
        return (
            "the filter of system calls of this container forbids threads (`clone3`), as Docker "
            "before 20.10.10 does: update what starts the container, or start it with "
            "`--security-opt seccomp=unconfined`"
        )
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    limit = "that of a cgroup (pids.max)" if soft == resource.RLIM_INFINITY else f"{soft}"
    return (
        "the system starts no more threads and processes: the limit of the user is reached "
        f"(`ulimit -u`: {limit}); raise it, or end other processes"
    )


_CLONE3 = 435
"""The number of that call on every architecture of Linux (asm-generic/unistd.h)."""


def _threads_are_forbidden() -> bool:
    """Whether glibc's way of making threads is refused with EPERM, at which it gives up; the call
    itself, without arguments, is none that Linux would follow (moby/moby#42680)."""
    import ctypes
    import errno
    import sys

    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    return libc.syscall(_CLONE3, None, 0) == -1 and ctypes.get_errno() == errno.EPERM


def nearest(word: str, known: Iterable[str]) -> str:
    """`did you mean ...` with the known words that are most like it; empty if none is."""
    import difflib

    near = difflib.get_close_matches(word, list(known), n=3)
    return f"did you mean {' or '.join(f'`{name}`' for name in near)}" if near else ""
