"""Runs what others' plugins bring in processes of their own: what ends one of these ends no more.

Forked, since the work needs what was observed, and what a plugin is made of. Loaded only where
somebody else's plugin is installed.
"""

import contextlib
import ctypes
import marshal
import os
import select
import signal
import struct
import time
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from envdoctor.errors import described
from envdoctor.plugins.bounded import LIMIT_S, OUT_OF_TIME, Failed
from envdoctor.probes.restraint import restrain
from envdoctor.watchdog import NEVER

Plain = Any
"""What JSON can hold, and texts that are not UTF-8."""

_SIZE = struct.Struct("<Q")
_MOST_BYTES = 64 << 20
_MOST_DESCRIPTORS = 65536
_PR_SET_PDEATHSIG = 1
_TIMES, _PAUSE_S = 100, 0.005
_THEIR_OWN = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def in_process(
    work: Callable[[], Plain], limit_s: float = LIMIT_S, *, until: float = NEVER
) -> Plain | Failed:
    """The result of one work."""
    return all_in_processes([work], limit_s, until=until)[0]


def all_in_processes(
    works: Sequence[Callable[[], Plain]], limit_s: float = LIMIT_S, *, until: float = NEVER
) -> tuple[Plain | Failed, ...]:
    """The results of the works, which run one after the other, each at most `limit_s`, and none
    beyond the moment `until` of the monotonic clock.

    All in one process, but for those behind one that ends it or has to be ended.
    """
    results: list[Plain | Failed] = []
    while len(results) < len(works) and time.monotonic() < until:
        results += _in_one_process(works[len(results) :], limit_s, until)
    return (*results, *[OUT_OF_TIME] * (len(works) - len(results)))


def _in_one_process(
    works: Sequence[Callable[[], Plain]], limit_s: float, until: float
) -> list[Plain | Failed]:
    """The results up to the first work that does not come to its end."""
    libc, doctor = ctypes.CDLL(None), os.getpid()
    pipe: tuple[int, ...] = ()
    try:
        pipe = reading, writing = os.pipe()
        pid = os.fork()
    except OSError as error:  # ulimit -n, ulimit -u
        for end in pipe:
            os.close(end)
        return [Failed(error=f"no process can be started for it: {error.strerror}")] * len(works)
    if pid == 0:
        _work_and_exit(works, writing, libc, doctor)
    try:
        os.close(writing)
        restrain(pid)
        results: list[Plain | Failed] = []
        for _ in works:
            result = _received(reading, limit_s, until)
            if result is OUT_OF_TIME:
                break
            if result is None:
                results.append(Failed(error=_end_of(pid)))
                break
            results.append(result)
            if isinstance(result, _GivenUp):
                break
        return results
    finally:
        os.close(reading)
        _end(pid)


class _GivenUp(Failed):
    """A work after which its process is of no more use."""


# --- the child ---


def _work_and_exit(
    works: Sequence[Callable[[], Plain]], writing: int, libc: ctypes.CDLL, doctor: int
) -> NoReturn:
    """Whatever happens, this process does not go on with the doctor's own work."""
    try:
        os.setpgid(0, 0)
        for number in _THEIR_OWN:
            signal.signal(number, signal.SIG_DFL)
        # The thread that waits for this process lives as long as it does, unless the doctor dies.
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        # A pipe of the doctor that stays open here would never end for who reads it.
        os.closerange(3, writing)
        os.closerange(writing + 1, _MOST_DESCRIPTORS)
        with open(writing, "wb") as answers:
            for work in works if os.getppid() == doctor else ():
                message = _message_of(work)
                answers.write(_SIZE.pack(len(message)) + message)
                answers.flush()
    finally:
        os._exit(0)


def _message_of(work: Callable[[], Plain]) -> bytes:
    try:
        return marshal.dumps((True, work()))
    except BaseException as error:
        return marshal.dumps((False, described(error)))


# --- the doctor ---


def _received(reading: int, limit_s: float, until: float) -> Plain | Failed | None:
    """One result; None where the process ended before it."""
    deadline = min(time.monotonic() + limit_s, until)
    data = bytearray()
    size = _SIZE.size
    while len(data) < size:
        if not select.select([reading], [], [], max(0.0, deadline - time.monotonic()))[0]:
            if deadline == until:
                return OUT_OF_TIME
            return _GivenUp(error=f"no answer within {limit_s:g} s")
        part = os.read(reading, min(size - len(data), 1 << 20))
        if not part:
            return None
        data += part
        if len(data) == size == _SIZE.size:
            size += _SIZE.unpack(data)[0]
            if size > _MOST_BYTES:
                return _GivenUp(error=f"an answer of {size} bytes")
    fine, value = marshal.loads(bytes(data[_SIZE.size :]))
    return value if fine else Failed(error=value)


def _end_of(pid: int) -> str:
    """In which way a process ended that closed its pipe; one that only did that is ended."""
    code = _code_of(pid)
    if code is None:
        return "it ended its process"
    if code >= 0:
        return f"it ended its process with exit code {code}"
    try:
        return f"it ended its process by {signal.Signals(-code).name}"
    except ValueError:
        return f"it ended its process by signal {-code}"


def _code_of(pid: int) -> int | None:
    for _ in range(_TIMES):
        try:
            ended, status = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            return None
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(_PAUSE_S)
    return None


def _end(pid: int) -> None:
    """End a process, unless it has ended, and what it left behind in its group."""
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(OSError):
            kill(pid, signal.SIGKILL)
    with contextlib.suppress(OSError):
        os.waitpid(pid, 0)
