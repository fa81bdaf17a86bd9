"""What torch.compile, ninja and the compilers said on broken machines, and what the doctor makes of
it. The texts were recorded where the thing was broken for real; those of GPUs are from torch's own
sources and the recorded failures."""

from typing import Any

import pytest

from envdoctor.api import Attempt, CompileAttempts, Environment, ExtendAttempts, Reason, Unknown
from envdoctor.facts import Fact, Known, Observed, Snapshot
from envdoctor.facts.machine import Toolkit, Toolkits
from envdoctor.findings import Finding, Severity, Verdict
from envdoctor.report import Report
from tests.support.cases import CASES
from tests.support.diagnosis import report_on

CPU, GPU = CASES["healthy-cpu"].snapshot, CASES["healthy-gpu"].snapshot


def compiled(
    on: str, error: str | None, *others: Attempt, **fields: Any
) -> dict[type[Fact], Known]:
    items = (Attempt(on=on, error=error, **fields), *others)
    return {CompileAttempts: Observed(value=CompileAttempts(items=items), source="test")}


def extended(on: str, error: str | None) -> dict[type[Fact], Known]:
    items = (Attempt(on=on, error=error),)
    return {ExtendAttempts: Observed(value=ExtendAttempts(items=items), source="test")}


def diagnosed(snapshot: Snapshot, facts: dict[type[Fact], Known]) -> Report:
    return report_on(snapshot.with_facts(facts))


def root_of(snapshot: Snapshot, facts: dict[type[Fact], Known]) -> Finding:
    return diagnosed(snapshot, facts).findings[0]


COMMAND = (
    "g++ /tmp/torchinductor_me/nm/cnmi2.main.cpp -O3 -fPIC -std=c++20 -fopenmp "
    "-I/usr/include/python3.11 -o /tmp/torchinductor_me/nm/cnmi2.main.so -ltorch"
)
NO_HEADER = (
    f"CppCompileError: C++ compile error\n\nCommand:\n{COMMAND}\n\nOutput:\n"
    "/tmp/torchinductor_me/nm/cnmi2.main.cpp:33:10: fatal error: Python.h: No such file or "
    "directory\n   33 | #include <Python.h>\n      |          ^~~~~~~~~~\ncompilation terminated.\n"
)
NO_GXX = (
    "InvalidCxxCompiler: No working C++ compiler found in torch._inductor.config.cpp.cxx: "
    "(None, 'g++')"
)
NOEXEC = (
    "OSError: /scratch/cache/pl/cplsm75.main.so: failed to map segment from shared object.  The "
    "most common reason this may occur is if the /tmp folder is mounted with noexec"
)
READ_ONLY = "OSError: [Errno 30] Read-only file system: '/srv/cache/73'"
DENIED = "PermissionError: [Errno 13] Permission denied: '/tmp/torchinductor_me/73'"
FULL = "/usr/bin/as: cannot write: No space left on device"
TRITON_MISSING = (
    "TritonMissing: Cannot find a working triton installation. Either the package is not installed "
    "or it is too old."
)
TOO_OLD = (
    "GPUTooOldForTriton: Found NVIDIA GeForce GTX 1080 which is too old to be supported by the "
    "triton GPU compiler, which is used as the backend. Triton only supports devices of CUDA "
    "Capability >= 7.0, but your device is of CUDA capability 6.1"
)


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (NO_GXX, "ED380", "apt-get install g++"),
        (NO_HEADER, "ED381", ""),
        (NOEXEC, "ED383", "export TORCHINDUCTOR_CACHE_DIR="),
        (READ_ONLY, "ED384", "findmnt --target /srv/cache/73"),
        (DENIED, "ED384", "ls -ld /tmp/torchinductor_me/73"),
        (FULL, "ED384", "export TORCHINDUCTOR_CACHE_DIR="),
        ("RuntimeError: Dynamo is not supported on Python 3.12+", "ED387", "envdoctor prescribe"),
        ("torch.compile is not supported on Python 3.15+", "ED387", "envdoctor prescribe"),
        ("Python 3.11+ not yet supported for torch.compile", "ED387", "envdoctor prescribe"),
    ],
)
def test_what_torch_compile_says_has_a_name(error: str, code: str, words: str) -> None:
    report = diagnosed(CPU, compiled("cpu", error))
    root, *others = report.findings
    assert root.code == code
    assert root.breaks == ("compile:cpu",)
    assert [one.code for one in others] == ["ED422"]
    assert others[0].because == root.id
    assert words in " ".join(line for fix in root.fixes for line in fix.commands)
    assert report.verdict is Verdict.BROKEN


@pytest.mark.parametrize(
    ("error", "output", "code"),
    [
        (TRITON_MISSING, "", "ED385"),
        (TOO_OLD, "", "ED386"),
        ("RuntimeError: Failed to find C compiler. Please specify via CC.", "", "ED380"),
        (
            "Command '['/usr/bin/gcc', 'main.c']' failed",
            "main.c:5:10: fatal error: Python.h: No such file or directory",
            "ED381",
        ),
        (
            "Command '['/usr/bin/gcc', 'main.c']' failed",
            "/usr/bin/ld: cannot find -lcuda: No such file or directory",
            "ED390",
        ),
        ("AssertionError: libcuda.so cannot found!", "", "ED390"),
        (
            "Internal Triton PTX codegen error:\nptxas fatal   : Value 'sm_86' is not defined for "
            "option 'gpu-name'",
            "",
            "ED391",
        ),
        (
            "ptxas tmp/a.ptx, line 45; fatal : Unsupported .version 7.5; current version is '6.3'",
            "",
            "ED391",
        ),
    ],
)
def test_what_triton_says_has_a_name(error: str, output: str, code: str) -> None:
    root = root_of(GPU, compiled("cuda:0", error, output=output))
    assert (root.code, root.severity) == (code, Severity.ERROR)
    assert root.breaks == ("compile:gpu:0",)


NO_CC = (
    "Error building extension 'attempt': [1/2] c++ -MMD -MF main.o.d -isystem /usr/include -c "
    "/tmp/envdoctor-x/main.cpp -o main.o \nFAILED: main.o \n/bin/sh: 1: c++: not found\n"
    "ninja: build stopped: subcommand failed.\n"
)
NO_NVCC = (
    "OSError: CUDA_HOME environment variable is not set. Please set it to your CUDA install root."
)
NO_CUDART = (
    "/usr/bin/ld: cannot find -lcudart: No such file or directory\n"
    "collect2: error: ld returned 1 exit status"
)


@pytest.mark.parametrize(
    ("on", "error", "code"),
    [
        ("C++", "Ninja is required to load C++ extensions (pip install ninja to get it)", "ED382"),
        ("C++", NO_CC, "ED380"),
        ("C++", NO_HEADER, "ED381"),
        ("CUDA", NO_NVCC, "ED388"),
        ("CUDA", "/bin/sh: 1: /usr/local/cuda/bin/nvcc: not found", "ED388"),
        ("CUDA", NO_CUDART, "ED389"),
    ],
)
def test_what_building_an_extension_says_has_a_name(on: str, error: str, code: str) -> None:
    report = diagnosed(GPU, extended(on, error))
    root, *others = report.findings
    assert root.code == code
    assert root.breaks == (f"extend:{on}",)
    assert [one.code for one in others] == ["ED423"]


def test_a_toolkit_that_torch_refuses_is_an_error_where_that_was_seen() -> None:
    refused = (
        "RuntimeError: The detected CUDA version (11.8) mismatches the version that was used to "
        "compilePyTorch (12.4). Please make sure to use the same CUDA versions."
    )
    items = (Toolkit(path="/usr/local/cuda", version="11.8", source="/usr/local/cuda"),)
    toolkits: dict[type[Fact], Known] = {
        Toolkits: Observed(value=Toolkits(items=items), source="test")
    }
    assert diagnosed(GPU, toolkits).findings == ()
    root = root_of(GPU, {**toolkits, **extended("CUDA", refused)})
    assert (root.code, root.severity) == ("ED375", Severity.ERROR)


def test_a_variable_that_switches_torch_compile_off() -> None:
    nothing = compiled("cpu", "torch.compile left the function as it is and compiled nothing")
    off = Environment(variables={"TORCHDYNAMO_DISABLE": "1"})
    root = root_of(CPU, {**nothing, Environment: Observed(value=off, source="test")})
    assert (root.code, root.fixes[0].commands) == ("ED392", ("unset TORCHDYNAMO_DISABLE",))
    assert root_of(CPU, nothing).code == "ED422"


def test_an_error_that_nothing_explains_is_told_in_its_own_words() -> None:
    words = (
        f"CppCompileError: C++ compile error\n\nCommand:\n{COMMAND}\n\nOutput:\n"
        "x.cpp:7:1: error: 'foo' does not name a type"
    )
    for facts, code in ((compiled("cpu", words), "ED422"), (extended("C++", words), "ED423")):
        (finding,) = diagnosed(CPU, facts).findings
        assert finding.code == code
        assert finding.message.endswith("x.cpp:7:1: error: 'foo' does not name a type")
        assert finding.evidence[0].value == words


def test_what_died_has_failed() -> None:
    died = Unknown(reason=Reason.CRASHED, detail="the interpreter was ended by SIGSEGV")
    report = diagnosed(CPU, {CompileAttempts: died, ExtendAttempts: died})
    assert {one.code for one in report.findings} == {"ED422", "ED423"}
    assert all("SIGSEGV" in one.message for one in report.findings)


def test_what_had_no_time_makes_it_incomplete() -> None:
    late = Unknown(reason=Reason.TIMED_OUT, detail="no answer within the time limit")
    report = diagnosed(CPU, {CompileAttempts: late})
    assert report.verdict is Verdict.INCOMPLETE
    assert report.findings == ()


def test_beside_a_gpu_the_compiler_of_the_cpu_is_a_warning() -> None:
    works = Attempt(on="cuda:0")
    report = diagnosed(GPU, compiled("cpu", NO_GXX, works))
    assert report.verdict is Verdict.DEGRADED
    assert report.findings[0].code == "ED380"
    assert {one.id: one.state for one in report.outcomes if one.action == "compile"} == {
        "compile:cpu": "fails",
        "compile:gpu:0": "works",
    }


def test_an_old_gpu_beside_one_that_is_served_is_a_warning() -> None:
    works = Attempt(on="cuda:1")
    assert diagnosed(GPU, compiled("cuda:0", TOO_OLD, works)).verdict is Verdict.DEGRADED
    assert diagnosed(GPU, compiled("cuda:0", TOO_OLD)).verdict is Verdict.BROKEN


def test_what_works_is_healthy_and_is_told() -> None:
    report = diagnosed(CPU, {**compiled("cpu", None), **extended("C++", None)})
    assert report.verdict is Verdict.HEALTHY
    assert [one.id for one in report.outcomes if one.state == "works"][-2:] == [
        "compile:cpu",
        "extend:C++",
    ]


def test_where_nobody_asked_nothing_is_said() -> None:
    off = Unknown(reason=Reason.SWITCHED_OFF, detail="`envdoctor check --try compile` tries it")
    report = diagnosed(CPU, {CompileAttempts: off, ExtendAttempts: off})
    assert report.verdict is Verdict.HEALTHY
    assert not {one.action for one in report.outcomes} & {"compile", "extend"}
