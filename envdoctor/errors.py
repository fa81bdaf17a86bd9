"""What can go wrong between the user and the doctor, by kind. Imports nothing heavy."""

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


def limit_reached(error: BaseException) -> str:
    """What to say where the system starts no more threads or processes; empty for another error.

    Python says it of a thread in these words (`Modules/_threadmodule.c`), of a process with EAGAIN
    (fork(2)).
    """
    is_thread = isinstance(error, RuntimeError) and "start new thread" in str(error)
    if not is_thread and not isinstance(error, BlockingIOError):
        return ""
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    limit = "that of a cgroup (pids.max)" if soft == resource.RLIM_INFINITY else f"{soft}"
    return (
        "the system starts no more threads and processes: the limit of the user is reached "
        f"(`ulimit -u`: {limit}); raise it, or end other processes"
    )


def nearest(word: str, known: Iterable[str]) -> str:
    """`did you mean ...` with the known words that are most like it; empty if none is."""
    import difflib

    near = difflib.get_close_matches(word, list(known), n=3)
    return f"did you mean {' or '.join(f'`{name}`' for name in near)}" if near else ""
