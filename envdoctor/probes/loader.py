"""The probe of the loader: which libraries torch will load, worked out from files alone."""

import os
from collections.abc import Iterator
from pathlib import Path

from envdoctor.facts import Fact, Known, Observed, Reason, Unknown
from envdoctor.facts.libraries import LibraryResolution
from envdoctor.facts.machine import Environment
from envdoctor.facts.python import Distributions, Interpreter
from envdoctor.facts.torch import TorchBuild
from envdoctor.knowledge import Knowledge
from envdoctor.loader.elf import Foreign, Unreadable, read_elf
from envdoctor.loader.resolve import Surroundings, resolve
from envdoctor.loader.search import CACHE, Files, system_of
from envdoctor.loader.simulate import Program
from envdoctor.plugins import Probe, Where
from envdoctor.probes.context import Context


def cpu_flags(cpuinfo: Path) -> frozenset[str]:
    """The flags of the first processor, as Linux names them; they decide glibc-hwcaps levels."""
    try:
        with cpuinfo.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                key, _, value = line.partition(":")
                if key.strip() == "flags":
                    return frozenset(value.split())
    except OSError:
        pass
    return frozenset()


def files_named(name: str, program: str, context: Context) -> Iterator[str]:
    """The files of that name that a program meets when it opens a library by its name, in order."""
    try:
        executable = read_elf(program)
    except (OSError, Unreadable, Foreign):
        return
    flags = cpu_flags(context.path("/proc/cpuinfo"))
    system, files = system_of(executable, context.env, cpu_flags=flags), Files()
    folders = [*system.library_path, CACHE, *system.default_dirs]
    for folder in folders:
        if folder == CACHE:
            cached = system.cache.lookup(name, system.levels)
            yield from [cached] if cached else []
            continue
        for place in files.folders(folder, system.subdirs):
            if files.exists(place, name):
                yield os.path.join(place, name)


def observe_libraries(
    interpreter: Interpreter,
    torch: TorchBuild,
    distributions: Distributions | None,
    environment: Environment | None,
    knowledge: Knowledge,
    context: Context,
) -> dict[type[Fact], Known]:
    """The resolution of torch's libraries. It does not apply where there is no ELF interpreter."""
    try:
        executable = read_elf(interpreter.executable)
    except (OSError, Unreadable, Foreign) as error:
        detail = f"`{interpreter.executable}` is no ELF program of this machine: {error}"
        return {LibraryResolution: Unknown(reason=Reason.NOT_APPLICABLE, detail=detail)}
    variables = environment.variables if environment else {}
    program = Program(
        executable=executable,
        torch_path=torch.path,
        sys_path=interpreter.sys_path,
        soabi=interpreter.soabi,
        cuda_major=torch.cuda.partition(".")[0] if torch.cuda else None,
    )
    resolution = resolve(
        program,
        system_of(executable, variables, cpu_flags=cpu_flags(context.path("/proc/cpuinfo"))),
        Surroundings(
            distributions=distributions.items if distributions else (),
            conda_prefix=interpreter.conda_prefix,
        ),
        knowledge.libraries,
    )
    return {
        LibraryResolution: Observed(
            value=resolution, source="the ELF files, by the rules of ld.so(8)"
        )
    }


LOADER_PROBES = (
    Probe(
        name="loader",
        where=Where.HOST,
        provides=(LibraryResolution,),
        observe=observe_libraries,
        static=True,
    ),
)
