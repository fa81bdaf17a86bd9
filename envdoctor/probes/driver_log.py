"""What NVIDIA's driver writes of errors in a child, kept in memory (CUDA Programming Guide, "Error
Log Management": CUDA_LOG_FILE, from CUDA 12.9 on)."""

import fcntl
import os
import re
from collections.abc import Mapping

VARIABLE = "CUDA_LOG_FILE"

MOST_BYTES = 1 << 20
"""A file that holds more takes no more. Of a failing cuInit the driver writes 200 bytes."""

_MOST_LINES, _LONGEST_LINE = 20, 300
_NAME = "envdoctor driver log"
_WHEN = r"^\[[\d:.]+\]\[\d+\]"
"""The time and the thread, with which each line begins; they tell nothing of the cause. Compiled
where a driver wrote something."""


class DriverLog:
    """A file without a name on any disk that a child's driver writes; use as a context manager.

    A child opens it by the doctor's entry in /proc, and inherits nothing: in what it starts itself
    the number of a descriptor may be that of another file.
    """

    def __init__(self) -> None:
        try:
            self._file = os.memfd_create(_NAME, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        except (AttributeError, OSError):
            # Another system than Linux, or no memory: then nothing is logged.
            self._file = -1

    def __enter__(self) -> "DriverLog":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Forget what was written."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    @property
    def path(self) -> str:
        """By which a child of the same user opens it; empty where there is none."""
        return f"/proc/{os.getpid()}/fd/{self._file}" if self._file >= 0 else ""

    def variables(self, env: Mapping[str, str]) -> dict[str, str]:
        """Those variables and this log; what the user has logged stays where he wants it."""
        return {**({VARIABLE: self.path} if self.path else {}), **env}

    def bound(self) -> None:
        """Let it grow no more once it is large."""
        if self._file >= 0 and os.fstat(self._file).st_size > MOST_BYTES:
            fcntl.fcntl(self._file, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW)

    def text(self, begin: int = 0, end: int = MOST_BYTES) -> str:
        """What was written between two places, as `readable` has it."""
        if self._file < 0 or begin >= end:
            return ""
        return readable(os.pread(self._file, min(end - begin, MOST_BYTES), begin))


def readable(written: bytes) -> str:
    """What the driver wrote, as a text of some lines: each once, without its time and thread. Of
    many the first and the last remain, for the cause and for what it came to."""
    lines = written.decode("utf-8", "replace").splitlines()
    told = list(dict.fromkeys(re.sub(_WHEN, "", line).rstrip()[:_LONGEST_LINE] for line in lines))
    told = [line for line in told if line]
    if len(told) > _MOST_LINES:
        half = _MOST_LINES // 2
        left_out = f"[... {len(told) - 2 * half} lines left out ...]"
        told = [*told[:half], left_out, *told[-half:]]
    return "\n".join(told)
