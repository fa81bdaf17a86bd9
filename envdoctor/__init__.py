"""envdoctor: finds the root cause when PyTorch and CUDA do not work on a machine.

`check`, `calibrate`, `diff` and `read` are for programs; they are loaded when they are first asked
for.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from envdoctor.program import calibrate, check, diff, read

__version__ = "0.1.0"
__all__ = ["__version__", "calibrate", "check", "diff", "read"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from envdoctor import program

        return getattr(program, name)
    raise AttributeError(f"module `envdoctor` has no attribute `{name}`")
