"""Runs a child process safely: own group, stdin closed, time limit, capped output, no orphans."""

import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import IO

from envdoctor.probes.channel import Port
from envdoctor.probes.guard import Guard
from envdoctor.probes.restraint import restrain
from envdoctor.record import Record

OUTPUT_CAP_BYTES = 64 * 1024
"""How much of each stream is kept: the first and the last half of this."""

_TICK_S, _FIRST_TICK_S, _FIRST_S = 0.05, 0.005, 0.5
"""A caller looks for news of a child this often; a young one is waited for by what comes next."""

_CLOSED_TICK_S = 0.002
_DRAIN_S = 0.5
_REAP_S = 0.2
"""How long a killed child is waited for. Giving back the memory of a GPU takes longer, and what was
measured must be told within `watchdog.PATIENCE_S` of Ctrl-C, and in time."""

_LAST_WORDS_S = 0.3


class ChildResult(Record):
    """How a child ended. `exit_code` is null if a signal ended it; `signal` is its name."""

    exit_code: int | None
    signal: str | None
    timed_out: bool
    stdout: str
    stderr: str
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether the child exited with 0 in time."""
        return self.exit_code == 0 and not self.timed_out


class Stopping(RuntimeError):
    """No child is started any more."""


class Children:
    """The process groups that are running now, so that none survives the doctor."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._groups: set[int] = set()
        self._guard: Guard | None = None
        self._closed = False
        self.has_started = threading.Event()
        """Set once a child was started, or none will be."""

    def begin_anew(self) -> None:
        """In a process that was forked: its children are its own, and nothing is locked."""
        self.__init__()  # type: ignore[misc]

    def start(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, **options: object
    ) -> "subprocess.Popen[bytes]":
        """Start a child in a group of its own. Raises OSError if it cannot be started, and
        Stopping after `kill_all`."""
        with self._lock:
            if self._closed:
                raise Stopping("the doctor is stopping")
            if self._guard is None:
                self._guard = Guard()
            process: subprocess.Popen[bytes] = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env={**(os.environ if env is None else env), **self._guard.mark},
                **options,
            )  # type: ignore[call-overload]
            self._groups.add(process.pid)
            self._guard.watch(process.pid)
            restrain(process.pid)
            self.has_started.set()
            return process

    def kill(self, process: "subprocess.Popen[bytes]") -> None:
        """End a child and all that it started."""
        _kill_group(process.pid)

    def forget(self, process: "subprocess.Popen[bytes]") -> None:
        """End what a finished child left behind, and stop tracking it."""
        _kill_group(process.pid)
        with self._lock:
            self._groups.discard(process.pid)
            if self._guard is not None:
                self._guard.release(process.pid)

    def kill_all(self) -> None:
        """End every child, and start none any more."""
        with self._lock:
            self._closed = True
            for group in self._groups:
                _kill_group(group)
            self._groups.clear()
            guard, self._guard = self._guard, None
        if guard is not None:
            guard.dismiss()


def _kill_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


class _Capped:
    """The first and the last part of a stream."""

    def __init__(self, cap_bytes: int) -> None:
        self._half = cap_bytes // 2
        self._head = bytearray()
        self._tail = bytearray()
        self._dropped = 0

    def add(self, data: bytes) -> None:
        room = self._half - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]
        excess = len(self._tail) - self._half
        if excess > 0:
            del self._tail[:excess]
            self._dropped += excess

    def text(self) -> str:
        gap = b"" if not self._dropped else b"\n[... %d bytes left out ...]\n" % self._dropped
        return bytes(self._head + gap + self._tail).decode("utf-8", "surrogateescape")


def run_child(
    argv: Sequence[str],
    *,
    children: Children,
    timeout_s: float,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    pass_fds: Sequence[int] = (),
    ports: Sequence[Port] = (),
    cap_bytes: int = OUTPUT_CAP_BYTES,
    still_allowed: Callable[[], bool] = lambda: True,
    last_words: signal.Signals | None = None,
) -> ChildResult:
    """Run a command to its end, its time limit, or until `still_allowed` says no.

    `ports` are served meanwhile. `still_allowed` is asked after that, and at least every 50 ms, so
    that a caller can set a limit for each stage of the child. `last_words` is a signal that makes
    the child say what it does, before it is ended for its time. Raises OSError if the command
    cannot be started, and Stopping if none may be any more.
    """
    started = time.monotonic()
    process = children.start(
        argv,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
        cwd=cwd,
        pass_fds=tuple(pass_fds),
    )
    outputs = {"stdout": _Capped(cap_bytes), "stderr": _Capped(cap_bytes)}
    try:
        timed_out = _pump(process, outputs, started + timeout_s, still_allowed, ports)
        if timed_out:
            if last_words is not None:
                process.send_signal(last_words)
                _pump(process, outputs, time.monotonic() + _LAST_WORDS_S, lambda: True)
            children.kill(process)
        code = _reap(process)
    finally:
        children.forget(process)
        process.poll()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
    return ChildResult(
        exit_code=code if code >= 0 else None,
        signal=_signal_name(-code) if code < 0 and not timed_out else None,
        timed_out=timed_out,
        stdout=outputs["stdout"].text(),
        stderr=outputs["stderr"].text(),
        seconds=time.monotonic() - started,
    )


def _reap(process: "subprocess.Popen[bytes]") -> int:
    """The exit status of an ended or killed child. One that the kernel has not ended yet, because
    it is inside of a driver, is left behind and counts as killed."""
    try:
        return process.wait(timeout=_REAP_S)
    except subprocess.TimeoutExpired:
        return -signal.SIGKILL


def _pump(
    process: "subprocess.Popen[bytes]",
    outputs: Mapping[str, _Capped],
    deadline: float,
    still_allowed: Callable[[], bool],
    ports: Sequence[Port] = (),
) -> bool:
    """Serve the child until it has ended; True if it ran out of time first."""
    with selectors.DefaultSelector() as selector:
        for name, stream in (("stdout", process.stdout), ("stderr", process.stderr)):
            assert stream is not None
            os.set_blocking(stream.fileno(), False)
            selector.register(stream, selectors.EVENT_READ, outputs[name])
        for port in ports:
            selector.register(port, port.events, port)
        began, ended_at = time.monotonic(), None
        while _has_output(selector):
            is_young = time.monotonic() - began < _FIRST_S
            _serve(selector, _FIRST_TICK_S if is_young else _TICK_S)
            now = time.monotonic()
            if ended_at is None and process.poll() is not None:
                ended_at = now
            if ended_at is not None and now - ended_at > _DRAIN_S:
                return False
            if ended_at is None and (now > deadline or not still_allowed()):
                return True
        # It closed its output; what it may still tell is waited for.
        while process.poll() is None:
            if time.monotonic() > deadline or not still_allowed():
                return True
            _serve(selector, _CLOSED_TICK_S)
    return False


def _has_output(selector: selectors.BaseSelector) -> bool:
    return any(isinstance(key.data, _Capped) for key in selector.get_map().values())


def _serve(selector: selectors.BaseSelector, wait_s: float) -> None:
    """Serve what is ready within that time."""
    if not selector.get_map():
        time.sleep(wait_s)
    for key, _ in selector.select(wait_s):
        if isinstance(key.data, _Capped):
            _read(selector, key.fileobj, key.data)  # type: ignore[arg-type]
            continue
        # A port that is done may have closed its descriptor, and must be gone before that.
        selector.unregister(key.fileobj)
        if key.data.serve():
            selector.register(key.fileobj, key.events, key.data)


def _read(selector: selectors.BaseSelector, stream: IO[bytes], output: _Capped) -> None:
    try:
        data = os.read(stream.fileno(), 65536)
    except BlockingIOError:
        return
    if data:
        output.add(data)
    else:
        selector.unregister(stream)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
