"""Errors of the import, read: what the loader or Python names, and no file tells by itself."""

import re
from collections.abc import Iterator

from msgspec.structs import replace

from envdoctor.api import (
    Code,
    CompanionImports,
    Confidence,
    Distributions,
    Evidence,
    Findings,
    Fix,
    Host,
    ImportTrials,
    Layer,
    Limits,
    Place,
    Safety,
    Severity,
    Site,
    TorchBuild,
    TorchImport,
    check,
    command,
    interpreters,
    packages,
    surroundings,
    system,
)
from envdoctor_checks.error_readings import Case, Reading, first_that_says
from envdoctor_checks.import_failures import failures_of

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
    fault="machine",
    breaks="import:torch",
    message="a library cannot be mapped: its file system is mounted noexec",
    detailed="`{thing}` cannot be mapped, as where its file system is mounted noexec",
)
ADDRESS_SPACE_LIMIT = Code(
    id="ED327",
    name="address-space-limit",
    family="address-space-limit",
    severity=Severity.ERROR,
    topic="libraries",
    layer=Layer.INTERPRETER,
    fault="machine",
    breaks="import:torch",
    message="a limit of the address space leaves no room for torch's libraries",
    detailed="a limit of the address space, {limit}, leaves no room for torch's libraries",
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
CUT_BYTECODE = Code(
    id="ED110",
    name="cut-bytecode",
    family="damaged-install",
    severity=Severity.ERROR,
    topic="python",
    layer=Layer.FILES,
    breaks="import:torch",
    message="a compiled file that Python keeps in `__pycache__` is cut or damaged",
    detailed="a compiled file that Python keeps in `__pycache__` is cut or damaged: {thing}",
)
DEVICE_BACKEND_FAILS = Code(
    id="ED111",
    name="device-backend-fails",
    family="device-backend-fails",
    severity=Severity.ERROR,
    topic="torch",
    layer=Layer.FILES,
    breaks="import:torch",
    message="a device backend that torch loads by itself does not load",
    detailed="the device backend `{thing}`, which torch loads by itself, does not load",
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

USER_WITHOUT_NAME = Code(
    id="ED335",
    name="user-without-name",
    family="user-without-name",
    severity=Severity.ERROR,
    topic="torch",
    layer=Layer.INTERPRETER,
    fault="machine",
    breaks="import:torch",
    message="the user of this process has no name, and torch names its cache after it",
    detailed="user {thing}, whom this process runs as, has no name, and torch names its cache "
    "after it",
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


def _of_bytecode(case: Case) -> Iterator[Fix]:
    folder = (case.torch_path or "").rpartition("/")[0]
    # Beside them lie modules that were shipped compiled, whose source is nowhere.
    delete = command("find", folder, "-path", "*__pycache__*", "-name", "*.pyc", "-delete")
    yield Fix(
        summary="delete the compiled files of `__pycache__`: Python makes them again from the "
        "sources",
        commands=(delete,) if folder else (),
        safety=Safety.CHANGES_ENV,
    )


def _of_backend(case: Case) -> Iterator[Fix]:
    yield surroundings.set_variable(
        "TORCH_DEVICE_BACKEND_AUTOLOAD",
        "0",
        summary=f"do without `{case.thing}`: torch then loads no backend by itself",
    )
    code = f"import {case.thing}" if case.thing.isidentifier() else "import torch"
    yield interpreters.try_in_target(
        case.site.target,
        code,
        summary=f"or repair the package that brings `{case.thing}`, or uninstall it; with that "
        "variable set, this shows what it lacks",
    )


def _of_user(case: Case) -> Iterator[Fix]:
    yield surroundings.set_variable("USER", f"user{case.thing}", summary="give the user a name")
    yield Fix(
        summary="or enter the user in /etc/passwd of the image (`useradd --uid`), or start the "
        "container as a user that is there",
        where=Place.IMAGE if case.site.contained else Place.HERE,
    )


READINGS = (
    Reading(
        text=re.compile(r"getpwuid\(\): uid not found: (\d+)"),
        code=USER_WITHOUT_NAME,
        fixes=_of_user,
        note="torch 2.6 asks `getpass.getuser()` alone, torch 2.13 does without a name",
    ),
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
    Reading(
        text=re.compile(r"(marshal data too short|bad marshal data|EOF read where \w+ expected)"),
        code=CUT_BYTECODE,
        fixes=_of_bytecode,
        note="Python looks at the first 16 bytes of a compiled file, and takes the rest as it is; "
        "a full disk or a copy that was broken off leaves such files",
    ),
    Reading(
        text=re.compile(r"Failed to load the backend extension: (\w[\w.-]*\w)"),
        code=DEVICE_BACKEND_FAILS,
        fixes=_of_backend,
        note="torch 2.5 and later load what names itself in the entry points `torch.backends`",
    ),
)


@check(*(reading.code for reading in READINGS))
def import_error_that_names_its_cause(
    imported: TorchImport,
    companions: CompanionImports | None,
    build: TorchBuild | None,
    limits: Limits | None,
    site: Site,
) -> Findings:
    """The exception of an import says what is wrong outside of the package: `import torch`, or
    else that of a library that is built on it."""
    limited = limits is not None and limits.address_space_bytes is not None
    readings = [one for one in READINGS if not (limited and one.code is NOEXEC_MOUNT)]
    yield from first_that_says(readings, imported, companions, build, site)


_NO_BACKENDS = "TORCH_DEVICE_BACKEND_AUTOLOAD"
_BACKENDS = (
    "intel-extension-for-pytorch",
    "torch-npu",
    "torch-xla",
    "habana-torch-plugin",
    "torch-mlu",
    "torch-musa",
    "torch-neuronx",
)
"""Distributions that name themselves in the entry points `torch.backends`."""


@check(DEVICE_BACKEND_FAILS)
def device_backend_ends_the_process(
    imported: TorchImport, trials: ImportTrials, distributions: Distributions | None, site: Site
) -> Findings:
    """The import ends without an exception, and not where torch loads no backend by itself."""
    if imported.outcome == "exception" or not trials.cured(set_variable=_NO_BACKENDS):
        return
    items = distributions.items if distributions else ()
    thing = next((one.name for one in items if one.name in _BACKENDS), "of another package")
    said = (imported.output_tail.strip().splitlines() or [""])[-1]
    ended = imported.signal or f"exit code {imported.exit_code}"
    proof = f"`import torch` works with {_NO_BACKENDS}=0"
    first, *_ = _of_backend(Case(thing=thing, site=site, torch_path=None))
    yield DEVICE_BACKEND_FAILS.finding(
        thing=thing,
        evidence=(
            Evidence(label="import torch", value=ended, source="the exit of the interpreter"),
            *((Evidence(label="it printed", value=said, source="import torch"),) if said else ()),
        ),
        fixes=(
            replace(first, proof=proof),
            packages.uninstall(
                site, thing, summary=f"or uninstall {thing}, or install its release for this torch"
            )
            if thing in _BACKENDS
            else Fix(summary="or uninstall the package that brings it"),
        ),
    )


_EMULATED_BY_MACOS = "VirtualApple"
"""What Rosetta calls the CPU that it emulates, in Linux guests as well."""


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
            system.without_emulation(site)
            if host.cpu_name.startswith(_EMULATED_BY_MACOS)
            else Fix(
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


_NO_ROOM = re.compile(
    r"failed to map segment|[Cc]annot allocate memory|MemoryError|bad_alloc"
    r"|[Mm]emory allocation|can't start new thread"
)


@check(ADDRESS_SPACE_LIMIT)
def address_space_is_limited(
    imported: TorchImport, companions: CompanionImports | None, limits: Limits
) -> Findings:
    """An import finds no room, and a limit of the address space holds for it.

    A build for CUDA maps some 10 GB, most of which it never touches.
    """
    limit = limits.address_space_bytes
    failures = [
        one
        for one in failures_of(imported, companions)
        if _NO_ROOM.search(f"{one.exception} {one.text}")
    ]
    if limit is None or not failures:
        return
    yield ADDRESS_SPACE_LIMIT.finding(
        breaks=tuple(one.outcome for one in failures),
        limit=f"{limit / 1e9:.1f} GB",
        confidence=Confidence.LIKELY,
        evidence=(
            Evidence(label="RLIMIT_AS", value=f"{limit} bytes", source="getrlimit"),
            Evidence(
                label=failures[0].outcome.replace(":", " "),
                value=failures[0].text,
                source="the exception",
            ),
        ),
        fixes=(
            Fix(
                summary="raise the limit, where the job scheduler or the shell's start files set "
                "it; without root it can only be lowered",
                commands=("ulimit -v unlimited",),
                safety=Safety.SAFE,
            ),
        ),
        notes=("`ulimit -v` shows it; it counts what is mapped, used or not",),
    )
