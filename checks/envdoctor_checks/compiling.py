"""Why torch.compile or the building of an extension fails, read from the words of the compilers."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from msgspec.structs import replace

from envdoctor.api import (
    Attempt,
    Code,
    CompileAttempts,
    Confidence,
    Distributions,
    Environment,
    Evidence,
    ExtendAttempts,
    Fault,
    Findings,
    Fix,
    GpuTrace,
    Layer,
    Place,
    Record,
    Severity,
    Site,
    Topic,
    TorchBuild,
    check,
    compilers,
    doctor,
    packages,
    surroundings,
)


def _code(
    id: str,
    name: str,
    message: str,
    detailed: str = "",
    *,
    family: str = "",
    layer: Layer = Layer.FILES,
    topic: Topic = "toolkit",
    fault: Fault | None = None,
    breaks: str = "compile",
) -> Code:
    return Code(
        id=id,
        name=name,
        family=family or name,
        severity=Severity.ERROR,
        topic=topic,
        layer=layer,
        fault=fault,
        breaks=breaks,
        message=message,
        detailed=detailed,
    )


COMPILER_MISSING = _code(
    "ED380",
    "cxx-compiler-missing",
    "no C or C++ compiler that works is on PATH, which torch.compile and extensions need",
    family="python-headers-missing",
)
HEADERS_MISSING = _code(
    "ED381",
    "python-headers-missing",
    "the headers of this Python (Python.h) are not installed, which compiled code needs",
)
NINJA_MISSING = _code(
    "ED382",
    "ninja-missing",
    "ninja is not installed, which runs the compilers for extensions",
    breaks="extend",
)
CODE_NOT_EXECUTABLE = _code(
    "ED383",
    "compiled-code-not-mapped",
    "code that was compiled cannot be mapped: its folder is mounted noexec",
    "`{folder}`, where code was compiled, cannot be executed from, as where it is mounted noexec",
    family="noexec-mount",
    fault="machine",
)
FOLDER_CLOSED = _code(
    "ED384",
    "compiler-folder-closed",
    "a compiler cannot write into the folder of its files",
    "a compiler cannot write to `{folder}`: {why}",
    fault="machine",
)
TRITON_MISSING = _code(
    "ED385",
    "triton-missing",
    "triton, with which torch.compile compiles for GPUs, is not installed or does not work",
    topic="torch",
)
GPU_TOO_OLD = _code(
    "ED386",
    "gpu-too-old-for-triton",
    "triton compiles for no GPU as old as this one",
    family="gpu-arch-too-old",
    topic="torch",
    layer=Layer.BUILD,
)
PYTHON_TOO_NEW = _code(
    "ED387",
    "python-too-new-for-compile",
    "torch.compile of this torch does not support this Python",
    "torch.compile of this torch does not support Python {python} and newer",
    topic="torch",
    layer=Layer.BUILD,
)
NVCC_MISSING = _code(
    "ED388",
    "nvcc-missing",
    "no nvcc is found, which builds extensions in CUDA",
    breaks="extend",
)
CUDART_NOT_LINKED = _code(
    "ED389",
    "cudart-not-linked",
    "the linker does not find the CUDA runtime (libcudart.so) of a toolkit",
    breaks="extend",
)
LIBCUDA_NOT_LINKED = _code(
    "ED390",
    "triton-libcuda-missing",
    "triton does not find the driver's libcuda to link with",
    layer=Layer.LIBRARIES,
    fault="machine",
)
PTXAS_TOO_OLD = _code(
    "ED391",
    "ptxas-too-old",
    "the ptxas that triton uses is too old for this GPU or for triton's code",
    "the ptxas that triton uses is too old: {why}",
)


SWITCHED_OFF = _code(
    "ED392",
    "compile-switched-off",
    "torch.compile is switched off: it runs the function as it is",
    family="debug-environment",
    topic="torch",
    layer=Layer.INTERPRETER,
)


class Case(Record):
    """What is known when an attempt has failed: the place, torch's CUDA, and what its error names.

    `cache` is the variable that moves the folder of what was compiled; `has_ninja` says that its
    distribution is installed.
    """

    site: Site
    cuda: str | None
    cache: str
    has_ninja: bool
    variables: Mapping[str, str]
    folder: str | None = None


class Reading(Record):
    """A text that an error holds, and what it says. Its groups fill the message.

    `text` is compiled where an attempt was made: most examinations make none.
    """

    text: str
    code: Code
    fixes: Callable[[Case], tuple[Fix, ...]]
    note: str = ""
    confidence: Confidence = Confidence.CERTAIN


def _of_compiler(case: Case) -> tuple[Fix, ...]:
    return (compilers.cxx_compiler(case.site),)


def _of_headers(case: Case) -> tuple[Fix, ...]:
    return (compilers.python_headers(case.site),)


def _of_ninja(case: Case) -> tuple[Fix, ...]:
    return (compilers.ninja(case.site, is_installed=case.has_ninja),)


def _of_folder(case: Case) -> tuple[Fix, ...]:
    look = (compilers.how_mounted(case.folder),) if case.folder else ()
    return compilers.another_folder(case.cache, case.folder), *look


def _of_triton(case: Case) -> tuple[Fix, ...]:
    again = "install triton again, in the release that torch requires"
    return packages.install(case.site, "triton", summary=again), doctor.other_builds(
        case.site, "or install torch again as a build for GPUs, which brings its triton"
    )


def _of_old_gpu(case: Case) -> tuple[Fix, ...]:
    return (
        Fix(
            summary="use this GPU without torch.compile: no release of triton compiles for it",
            where=Place.NONE,
        ),
    )


def _of_python(case: Case) -> tuple[Fix, ...]:
    return (doctor.other_builds(case.site, "install a torch that supports it, or an older Python"),)


def _of_toolkit(case: Case) -> tuple[Fix, ...]:
    return (compilers.cuda_toolkit(case.site, case.cuda),)


def _of_cudart(case: Case) -> tuple[Fix, ...]:
    return (compilers.link_cudart(case.site),)


def _of_libcuda(case: Case) -> tuple[Fix, ...]:
    return (compilers.show_libcuda_to_triton(),)


def _of_ptxas(case: Case) -> tuple[Fix, ...]:
    if "TRITON_PTXAS_PATH" in case.variables:
        return (surroundings.unset("TRITON_PTXAS_PATH", summary="let triton use its own ptxas"),)
    return (doctor.other_builds(case.site, "install a newer torch, whose triton knows this GPU"),)


_SWITCHES = ("TORCH_COMPILE_DISABLE", "TORCHDYNAMO_DISABLE")
"""What has torch.compile do nothing (torch/_dynamo/config.py)."""


def _of_switch(case: Case) -> tuple[Fix, ...]:
    return tuple(surroundings.unset(name) for name in _SWITCHES if name in case.variables)


_READINGS = (
    Reading(
        text=r"fatal error: \W?Python\.h\b",
        code=HEADERS_MISSING,
        fixes=_of_headers,
        note="what is compiled becomes a module of this Python, and reads its headers",
    ),
    Reading(
        text=(
            r"(?m)InvalidCxxCompiler|No working C\+\+ compiler|Failed to find C compiler|"
            r"(?:^|[ '\"/])(?:g\+\+|c\+\+|gcc|cc|clang)['\"]?: (?:command )?not found|"
            r"No such file or directory: '(?:\S*/)?(?:g\+\+|c\+\+|gcc|cc|clang)'|"
            r"fatal error: \W?std\w+\.h\b|cannot execute .?(?:cc1|cc1plus|as|ld)\b|"
            r"nvcc fatal +: .*host compiler"
        ),
        code=COMPILER_MISSING,
        fixes=_of_compiler,
        note="torch itself needs no compiler: only what it compiles here does",
    ),
    Reading(
        text=r"Ninja is required to load C\+\+ extensions",
        code=NINJA_MISSING,
        fixes=_of_ninja,
    ),
    Reading(
        text=r"(?P<folder>/[^\s:']*)/[^/\s:']+: failed to map segment from shared object",
        code=CODE_NOT_EXECUTABLE,
        fixes=_of_folder,
        note="a limit of the address space (`ulimit -v`) has the same words",
        confidence=Confidence.LIKELY,
    ),
    Reading(
        text=(
            r"\[Errno (?:13|28|30|122)\] (?P<why>[^:\n]+): '(?P<folder>/[^'\n]*)'|"
            r"\[Errno (?:2|13|28|30|122)\] (?P<nowhere>No usable temporary directory)|"
            r"(?P<full>No space left on device)"
        ),
        code=FOLDER_CLOSED,
        fixes=_of_folder,
    ),
    Reading(
        text=r"Cannot find a working triton installation|No module named 'triton'",
        code=TRITON_MISSING,
        fixes=_of_triton,
    ),
    Reading(
        text=r"too old to be supported by the triton",
        code=GPU_TOO_OLD,
        fixes=_of_old_gpu,
        note="triton compiles for compute capability 7.0 and above (torch/_inductor/exc.py, "
        "2026-11)",
    ),
    Reading(
        text=(
            r"(?:Dynamo|torch\.compile) is not (?:yet )?supported on Python (?P<python>3\.\d+)|"
            r"Python (?P<older>3\.\d+)\+ not yet supported for torch\.compile"
        ),
        code=PYTHON_TOO_NEW,
        fixes=_of_python,
    ),
    Reading(
        text=(
            r"CUDA_HOME environment variable is not set|nvcc['\"]?: (?:command )?not found|"
            r"No such file or directory: '(?:\S*/)?nvcc'"
        ),
        code=NVCC_MISSING,
        fixes=_of_toolkit,
        note="the wheels of torch bring CUDA's libraries, and not its compiler",
    ),
    Reading(
        text=r"cannot find -lcudart\b",
        code=CUDART_NOT_LINKED,
        fixes=_of_cudart,
    ),
    Reading(
        text=r"cannot find -lcuda\b|libcuda\.so cannot found",
        code=LIBCUDA_NOT_LINKED,
        fixes=_of_libcuda,
    ),
    Reading(
        text=(
            r"ptxas[^\n]*(?P<why>Unsupported \.version[^\n]*|"
            r"'sm_\w+' is not defined for option 'gpu-name')"
        ),
        code=PTXAS_TOO_OLD,
        fixes=_of_ptxas,
    ),
    Reading(
        text=r"^torch\.compile left the function as it is",
        code=SWITCHED_OFF,
        fixes=_of_switch,
        confidence=Confidence.LIKELY,
    ),
)
"""In their order: the first that reads an error is its cause."""


_CODES = tuple(dict.fromkeys(one.code for one in _READINGS))


@check(*_CODES)
def why_nothing_is_compiled(
    tried: CompileAttempts,
    site: Site,
    trace: GpuTrace,
    build: TorchBuild | None,
    distributions: Distributions | None,
    environment: Environment | None,
) -> Findings:
    """What the errors of torch.compile say of their cause."""
    about = _about("compile", site, build, distributions, environment)
    for one in tried.items:
        yield from _cause(one, "compile", trace, about)


@check(*_CODES)
def why_no_extension_is_built(
    tried: ExtendAttempts,
    site: Site,
    trace: GpuTrace,
    build: TorchBuild | None,
    distributions: Distributions | None,
    environment: Environment | None,
) -> Findings:
    """What the errors of building an extension say of their cause."""
    about = _about("extend", site, build, distributions, environment)
    for one in tried.items:
        yield from _cause(one, "extend", trace, about)


_FOLDERS = {"compile": "TORCHINDUCTOR_CACHE_DIR", "extend": "TMPDIR"}
"""The variable that moves the folder of what is compiled."""


def _about(
    action: str,
    site: Site,
    build: TorchBuild | None,
    distributions: Distributions | None,
    environment: Environment | None,
) -> Case:
    return Case(
        site=site,
        cuda=build.cuda if build else None,
        cache=_FOLDERS[action],
        has_ninja=distributions is not None and distributions.first("ninja") is not None,
        variables=environment.variables if environment else {},
    )


def _cause(one: Attempt, action: str, trace: GpuTrace, about: Case) -> Findings:
    readings = ((reading, re.search(reading.text, one.text)) for reading in _READINGS)
    found = next(((reading, said) for reading, said in readings if said), None)
    if found is None:
        return
    reading, said = found
    fixes = reading.fixes(replace(about, folder=said.groupdict().get("folder")))
    if not fixes:
        # What would explain it is not here.
        return
    data: dict[str, Any] = {name: text for name, text in said.groupdict().items() if text}
    if "older" in data:
        data["python"] = data.pop("older")
    yield reading.code.finding(
        breaks=(f"{action}:{trace.subject_of(one.on)}",),
        confidence=reading.confidence,
        evidence=(Evidence(label=action, value=one.in_one_line, source=one.on),),
        fixes=fixes,
        notes=(reading.note,) if reading.note else (),
        **data,
    )
