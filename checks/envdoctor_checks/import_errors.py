"""Errors of the import, read: what the loader or Python names, and no file tells by itself."""

import re
from collections.abc import Callable, Iterator

from envdoctor.api import (
    Code,
    Confidence,
    Evidence,
    Findings,
    Fix,
    Host,
    Layer,
    Place,
    Record,
    Safety,
    Severity,
    Site,
    TorchBuild,
    TorchImport,
    check,
    command,
    interpreters,
    surroundings,
)

EXECUTABLE_STACK = Code(
    id="ED323",
    name="executable-stack",
    family="executable-stack",
    severity=Severity.ERROR,
    topic="libraries",
    layer=Layer.LIBRARIES,
    breaks="import:torch",
    message="a library asks for an executable stack, and the loader refuses one",
    detailed="`{thing}` asks for an executable stack, and the loader refuses one",
)
NOEXEC_MOUNT = Code(
    id="ED324",
    name="noexec-mount",
    family="noexec-mount",
    severity=Severity.ERROR,
    topic="libraries",
    layer=Layer.LIBRARIES,
    breaks="import:torch",
    message="a library cannot be mapped: its file system is mounted noexec",
    detailed="`{thing}` cannot be mapped, as where its file system is mounted noexec",
)
PYTHON_LACKS_MODULE = Code(
    id="ED106",
    name="python-lacks-module",
    family="python-lacks-module",
    severity=Severity.ERROR,
    topic="python",
    layer=Layer.INTERPRETER,
    breaks="import:torch",
    message="a module of the standard library was not built into this Python",
    detailed="`{thing}`, a module of the standard library, was not built into this Python",
)

CPU_LACKS_INSTRUCTIONS = Code(
    id="ED420",
    name="cpu-lacks-instructions",
    family="cpu-lacks-instructions",
    severity=Severity.ERROR,
    topic="torch",
    layer=Layer.BUILD,
    breaks="import:torch",
    message="the import ends by SIGILL, and this CPU has no AVX2",
    detailed="the import ends by SIGILL, and this CPU ({cpu}) has no AVX2",
)

_DEVELOPMENT = {
    "_ctypes": "libffi-dev",
    "_ssl": "libssl-dev",
    "_hashlib": "libssl-dev",
    "_lzma": "liblzma-dev",
    "_bz2": "libbz2-dev",
    "_sqlite3": "libsqlite3-dev",
    "zlib": "zlib1g-dev",
}
"""What has to be there while Python is built, by Debian's names (Python Developer's Guide, "Install
dependencies")."""


class Case(Record):
    """What an error names, and where a repair is done."""

    thing: str
    site: Site
    torch_path: str | None


class Reading(Record):
    """A text that an error holds, and what it says; its group is what the text names."""

    text: re.Pattern[str]
    code: Code
    fixes: Callable[[Case], Iterator[Fix]]
    note: str
    confidence: Confidence = Confidence.CERTAIN


def _of_stack(case: Case) -> Iterator[Fix]:
    yield surroundings.set_variable(
        "GLIBC_TUNABLES",
        "glibc.rtld.execstack=2",
        summary="allow executable stacks to this program",
    )
    if case.torch_path is not None:
        file = f"{case.torch_path}/lib/{case.thing.rpartition('/')[2]}"
        yield Fix(
            summary="or take the request out of the library, or install a newer build of torch",
            commands=(command("patchelf", "--clear-execstack", file),),
            safety=Safety.CHANGES_ENV,
        )


def _of_mount(case: Case) -> Iterator[Fix]:
    yield Fix(
        summary="move the environment to a file system that is not mounted noexec, or have this "
        "one mounted with exec; see how it is mounted",
        commands=(command("findmnt", "--target", case.thing),),
        safety=Safety.SAFE,
        where=Place.HOST if case.site.contained else Place.HERE,
    )


def _of_module(case: Case) -> Iterator[Fix]:
    package = _DEVELOPMENT[case.thing]
    yield Fix(
        summary=f"install what `{case.thing}` is built with (Debian's {package}) and build this "
        "Python again, or use a Python that was built with it",
        where=Place.IMAGE if case.site.contained else Place.HERE,
    )
    yield interpreters.try_in_target(
        case.site.target, f"import {case.thing}", summary="see it by itself"
    )


READINGS = (
    Reading(
        text=re.compile(r"(?<![^\s:])([^\s:]+): cannot enable executable stack"),
        code=EXECUTABLE_STACK,
        fixes=_of_stack,
        note="glibc 2.41 and later give no executable stack to a library that is opened late",
    ),
    Reading(
        text=re.compile(r"(?<![^\s:])([^\s:]+): failed to map segment from shared object"),
        code=NOEXEC_MOUNT,
        fixes=_of_mount,
        note="a limit of the address space (`ulimit -v`) gives the same message",
        confidence=Confidence.LIKELY,
    ),
    Reading(
        text=re.compile(rf"No module named '({'|'.join(_DEVELOPMENT)})'"),
        code=PYTHON_LACKS_MODULE,
        fixes=_of_module,
        note="a Python that is built where a library's headers are missing leaves the module out",
    ),
)


@check(*(reading.code for reading in READINGS))
def import_error_that_names_its_cause(
    imported: TorchImport, build: TorchBuild | None, site: Site
) -> Findings:
    """The exception of `import torch` says what is wrong outside of torch."""
    if imported.outcome != "exception":
        return
    for reading in READINGS:
        said = next((m for m in map(reading.text.search, _texts(imported)) if m), None)
        if said is None:
            continue
        thing = said[1]
        case = Case(thing=thing, site=site, torch_path=build.path if build else None)
        yield reading.code.finding(
            confidence=reading.confidence,
            thing=thing,
            evidence=(Evidence(label="import torch", value=said.string, source="the exception"),),
            fixes=tuple(reading.fixes(case)),
            notes=(reading.note,),
        )
        return


@check(CPU_LACKS_INSTRUCTIONS)
def cpu_lacks_instructions(imported: TorchImport, host: Host, site: Site) -> Findings:
    """An illegal instruction on a CPU that lacks what builds of today use."""
    if imported.signal != "SIGILL" or host.machine != "x86_64" or "avx2" in host.cpu_flags:
        return
    flags = " ".join(host.cpu_flags) or "none of AVX2, FMA, AVX-512"
    yield CPU_LACKS_INSTRUCTIONS.finding(
        confidence=Confidence.LIKELY,
        cpu=host.cpu_name,
        evidence=(
            Evidence(label="import torch", value="SIGILL", source="the exit of the interpreter"),
            Evidence(label="CPU features", value=flags, source="/proc/cpuinfo"),
        ),
        fixes=(
            Fix(
                summary="in a virtual machine: give it the CPU of the host (QEMU `-cpu host`, "
                "Proxmox CPU type `host`), so that it shows AVX",
                where=Place.HOST,
            ),
            Fix(
                summary="else use another machine, or an older torch or one from source; wheels "
                "and their libraries are compiled for CPUs with AVX",
                where=Place.IMAGE if site.contained else Place.HERE,
            ),
        ),
    )


def _texts(imported: TorchImport) -> tuple[str, ...]:
    return imported.message, imported.cause
