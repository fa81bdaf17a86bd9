"""What is printed where only documents may be: by plugins, C libraries, programs they start."""

import contextlib
import fcntl
import io
import os
from typing import Any, TextIO

CAP_BYTES = 64 * 1024
"""What is kept of it, of what Python prints and of the rest; a multiple of the size of a page."""

_LEFT_OUT = "\n[... what followed was left out ...]\n"


class Printed(contextlib.redirect_stdout[TextIO]):
    """Takes the place of standard output, down to its descriptor; use as a context manager.

    `stdout` is the real one, for documents alone. The descriptor does not become that again:
    threads of plugins may live as long as the process.
    """

    def __init__(self, stdout: TextIO) -> None:
        self.stdout = stdout
        self._kept = _Kept()
        self._file: int | None = None
        # Written at once, and never refused: a plugin may print whatever it has.
        super().__init__(
            io.TextIOWrapper(
                self._kept,  # type: ignore[type-var]
                encoding="utf-8",
                errors="backslashreplace",
                write_through=True,
            )
        )
        # Where no descriptor is left (`ulimit -n`), what is printed by Python is held alone.
        with contextlib.suppress(OSError, ValueError):
            if stdout.fileno() == 1:
                self.stdout = _moved(stdout)
                self._file = _capped_file()
                os.dup2(self._file, 1)

    def text(self) -> str:
        """All that was printed until now, as far as it was kept."""
        past_python = b"" if self._file is None else _beginning(self._file)
        return "".join(map(_shown, (bytes(self._kept.data), past_python)))


class _Kept(io.RawIOBase):
    """The first of what is written; in a process that was forked it goes to the descriptor."""

    def __init__(self) -> None:
        self.data = bytearray()
        self._process = os.getpid()

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return 1

    def write(self, data: Any, /) -> int:
        view = memoryview(data).cast("B")
        if os.getpid() != self._process:
            with contextlib.suppress(OSError):
                os.write(1, view)
            return len(view)
        self.data += view[: CAP_BYTES - len(self.data)]
        return len(view)


def _moved(stdout: TextIO) -> TextIO:
    """The same stream on a descriptor that no child inherits."""
    stdout.flush()
    return open(os.dup(1), "w", encoding=stdout.encoding, errors=stdout.errors)


def _capped_file() -> int:
    """A file in memory that does not grow beyond the cap: writing more fails, nothing waits.

    A pipe would have to be read meanwhile, which a C library that holds Python's lock prevents.
    """
    file = -1
    try:
        file = os.memfd_create("printed", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(file, CAP_BYTES)
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
    except OSError:  # ulimit -f 0, or a system without such files.
        if file >= 0:
            os.close(file)
        return os.open(os.devnull, os.O_WRONLY)
    return file


def _beginning(file: int) -> bytes:
    try:
        return os.pread(file, CAP_BYTES, 0).rstrip(b"\0")
    except OSError:
        return b""


def _shown(data: bytes) -> str:
    text = data.decode("utf-8", "surrogateescape")
    return text + _LEFT_OUT if len(data) == CAP_BYTES else text


class OwnTerminal(contextlib.redirect_stdout[TextIO]):
    """Meanwhile `sys.__stdout__`, which is asked for the size of the terminal, is that stream."""

    _stream = "__stdout__"
