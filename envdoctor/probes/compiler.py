"""The host compiler that nvcc would call; it matters to those who build extensions."""

import os

from envdoctor.facts import Fact, Known, Observed, Reason, Unknown
from envdoctor.facts.machine import HostCompiler, Toolkits
from envdoctor.probes.context import Context
from envdoctor.probes.live import only_live
from envdoctor.probes.toolkits import find_program

_LIMIT_S = 5.0


def observe_compiler(toolkits: Toolkits, context: Context) -> dict[type[Fact], Known]:
    """The version of the gcc on PATH, by `gcc -dumpfullversion`."""
    gcc = find_program("gcc", context)
    if toolkits.nvcc is None or gcc is None:
        missing = "nvcc" if toolkits.nvcc is None else "gcc"
        return {HostCompiler: Unknown(reason=Reason.NOT_APPLICABLE, detail=f"no {missing} on PATH")}
    if not os.path.isabs(gcc):
        # Found by a relative entry of PATH: a program of the current folder is not run.
        detail = f"`{gcc}` is found by a relative entry of PATH"
        return {HostCompiler: Unknown(reason=Reason.NOT_APPLICABLE, detail=detail)}
    if not context.is_live:
        return {HostCompiler: only_live(context, f"`{gcc}` says its version when it is run")}
    child = context.run([gcc, "-dumpfullversion", "-dumpversion"], timeout_s=_LIMIT_S)
    version = child.stdout.strip()
    if not child.ok or not version[:1].isdecimal():
        return {HostCompiler: Unknown(reason=Reason.UNDECODABLE, detail=f"`{gcc}` says no version")}
    compiler = HostCompiler(path=gcc, version=version)
    return {HostCompiler: Observed(value=compiler, source=f"{gcc} -dumpfullversion")}
