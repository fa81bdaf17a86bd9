"""The host compiler that nvcc would call; it matters to those who build extensions."""

import shutil

from envdoctor.facts import Fact, Known, Observed, Reason, Unknown
from envdoctor.facts.machine import HostCompiler, Toolkits
from envdoctor.options import Options
from envdoctor.probes.run import Children, run_child

_LIMIT_S = 5.0


def decode_compiler(
    toolkits: Toolkits, options: Options, children: Children
) -> dict[type[Fact], Known]:
    """The version of the gcc on PATH, by `gcc -dumpfullversion`."""
    gcc = shutil.which("gcc", path=options.env.get("PATH"))
    if toolkits.nvcc is None or gcc is None:
        missing = "nvcc" if toolkits.nvcc is None else "gcc"
        return {HostCompiler: Unknown(reason=Reason.NOT_APPLICABLE, detail=f"no {missing} on PATH")}
    child = run_child(
        [gcc, "-dumpfullversion", "-dumpversion"], children=children, timeout_s=_LIMIT_S
    )
    version = child.stdout.strip()
    if not child.ok or not version[:1].isdigit():
        return {HostCompiler: Unknown(reason=Reason.UNDECODABLE, detail=f"`{gcc}` says no version")}
    compiler = HostCompiler(path=gcc, version=version)
    return {HostCompiler: Observed(value=compiler, source=f"{gcc} -dumpfullversion")}
