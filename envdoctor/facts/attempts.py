"""Facts about what is tried only where the user asks for it: code that is compiled here."""

import re

from envdoctor.facts.base import Fact
from envdoctor.record import Record

__all__ = ["Attempt", "CompileAttempts", "ExtendAttempts"]


class Attempt(Record):
    """One attempt, on a device (`cpu`, `cuda:0`) or in a language (`C++`, `CUDA`).

    `error` is null where it gave the right result; `exception` is the type of what was raised,
    `output` what compilers printed meanwhile where the exception does not hold it.
    """

    volatile = frozenset({"seconds"})

    on: str
    error: str | None = None
    exception: str | None = None
    output: str = ""
    seconds: float = 0.0

    @property
    def text(self) -> str:
        """All that was said where it failed."""
        return f"{self.error}\n{self.output}" if self.error is not None else ""

    @property
    def in_one_line(self) -> str:
        """The line of the error that says most; empty where there is none."""
        lines = [line.strip() for line in self.text.splitlines() if line.strip()]
        telling = (line for line in lines if re.search(_TELLS, line))
        return next(telling, lines[0] if lines else "")[:_LONGEST]


_TELLS = r": (fatal )?error: |: not found$|: cannot find -l|No such file or directory"
"""How compilers, shells and linkers begin what went wrong, after a command of some lines."""

_LONGEST = 300


class CompileAttempts(Fact):
    """What torch.compile does with a small function on the CPU and on every visible GPU."""

    items: tuple[Attempt, ...]


class ExtendAttempts(Fact):
    """What torch.utils.cpp_extension does with one function in C++ and, where torch sees a GPU of
    NVIDIA, in CUDA."""

    items: tuple[Attempt, ...]
