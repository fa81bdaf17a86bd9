"""NVML and cuInit through small real libraries that succeed, fail, hang and crash."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from envdoctor.facts import Observed, Reason, Unknown
from envdoctor.facts.machine import CudaInit, Gpus, Nvml, UnansweredGpu
from envdoctor.probes.context import context_of
from envdoctor.probes.driver_api import observe_cuda_init, observe_nvml
from envdoctor.probes.own_child import ask
from envdoctor.probes.run import Children
from tests.driver.fake import build_fake
from tests.support.doctor import names, report_of
from tests.support.patients import empty_patient, fake_torch

Build = Callable[..., Path]


@pytest.fixture
def build(compiler: str, tmp_path: Path) -> Build:
    """Compile a fake library under its soname; returns its folder."""

    def compile_(source: str, soname: str, *defines: str) -> Path:
        return build_fake(compiler, tmp_path, source, soname, *defines)

    return compile_


@pytest.fixture
def nvml(build: Build, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def install(*defines: str) -> None:
        folder = build("nvml.c", "libnvidia-ml.so.1", *defines)
        monkeypatch.setenv("LD_LIBRARY_PATH", str(folder))

    return install


def test_nvml_shows_a_gpu(nvml: Callable[..., None], children: Children, tmp_path: Path) -> None:
    nvml("WITHOUT_TEMPERATURE")
    facts = observe_nvml(context_of(children))
    assert isinstance(facts[Nvml], Observed)
    assert facts[Nvml].value == Nvml(
        status="ok",
        driver_release="535.183.01",
        driver_cuda="12.2",
        library=str(tmp_path / "lib" / "libnvidia-ml.so.1"),
        device_count=1,
    )
    (gpu,) = facts[Gpus].value.devices
    assert (gpu.name, gpu.compute_capability) == ("NVIDIA A100-SXM4-80GB", "8.0")
    assert (gpu.memory_bytes, gpu.power_limit_w) == (85_899_345_920, 400.0)
    assert gpu.throttle_reasons == ("SwPowerCap",)
    assert gpu.temperature_c is None, "a function that the driver does not have is unknown"


@pytest.mark.parametrize("define", ["NO_HANDLE=1", "LOST=1"])
def test_a_gpu_that_is_lost_is_counted_and_named(
    nvml: Callable[..., None], children: Children, define: str
) -> None:
    nvml("COUNT=3", define)
    facts = observe_nvml(context_of(children))
    assert facts[Nvml].value.device_count == 3
    assert facts[Nvml].value.unanswered == (UnansweredGpu(index=1, error="NVML_ERROR_GPU_IS_LOST"),)
    assert [gpu.index for gpu in facts[Gpus].value.devices] == [0, 2]


def test_gpus_that_cannot_be_counted(nvml: Callable[..., None], children: Children) -> None:
    nvml("COUNT_STATUS=999")
    facts = observe_nvml(context_of(children))
    assert (facts[Nvml].value.status, facts[Nvml].value.device_count) == ("ok", None)
    assert facts[Nvml].value.message == "nvmlDeviceGetCount: NVML_ERROR_UNKNOWN"
    assert facts[Gpus].value.devices == ()


def test_our_own_processes_are_no_other_processes(
    nvml: Callable[..., None], children: Children
) -> None:
    nvml()
    (gpu,) = observe_nvml(context_of(children))[Gpus].value.devices
    assert gpu.process_pids == (1,)


def test_a_version_mismatch_has_its_name(nvml: Callable[..., None], children: Children) -> None:
    nvml("INIT_STATUS=18")
    facts = observe_nvml(context_of(children))
    assert facts[Nvml].value.status == "NVML_ERROR_LIB_RM_VERSION_MISMATCH"
    assert isinstance(facts[Gpus], Unknown)


def test_a_library_that_aborts_is_a_fact(nvml: Callable[..., None], children: Children) -> None:
    nvml("CRASH")
    facts = observe_nvml(context_of(children))
    assert facts[Nvml] == Unknown(
        reason=Reason.CRASHED, detail="the probe was ended by SIGABRT, at nvmlInit"
    )


def test_a_library_that_hangs_is_given_up(nvml: Callable[..., None], children: Children) -> None:
    nvml("HANG")
    answer = ask("nvml_child.py", context_of(children), limit_s=1.0)
    assert isinstance(answer, Unknown)
    assert answer.reason is Reason.TIMED_OUT
    assert answer.detail == "no answer within 1 s, at nvmlInit"


def refused_library(compiler: str, folder: Path, kind: str) -> Path:
    """A libnvidia-ml.so.1 that the loader finds and refuses."""
    library = folder / "libnvidia-ml.so.1"
    if kind == "empty":
        library.touch()
    elif kind == "garbage":
        library.write_bytes(b"\x7fELF not really")
    elif kind == "of another kind of machine":
        data = bytearray(Path(sys.executable).resolve().read_bytes()[:4096])
        data[4] = 1
        library.write_bytes(data)
    else:
        needed = folder / "libneeded.so"
        for output, *inputs in ((needed,), (library, needed)):
            command = [compiler, "-shared", "-fPIC", "-Wl,--no-as-needed", "-o", output, *inputs]
            subprocess.run([*command, "-x", "c", "/dev/null"], check=True)
        needed.unlink()
    return library


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("empty", "file too short"),
        ("garbage", "file too short"),
        ("of another kind of machine", "wrong ELF class: ELFCLASS32"),
        ("without what it needs", "libneeded.so: cannot open shared object file"),
    ],
)
def test_a_library_that_is_found_and_refused_is_not_called_missing(
    compiler: str,
    children: Children,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    words: str,
) -> None:
    library = refused_library(compiler, tmp_path, kind)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    value = observe_nvml(context_of(children))[Nvml].value
    assert (value.status, value.unloadable) == ("NVML_ERROR_LIBRARY_NOT_FOUND", str(library))
    assert value.message.startswith(f"found at {library} but cannot be loaded: ")
    assert words in value.message


def test_without_the_library_nothing_is_claimed(
    children: Children, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    value = observe_nvml(context_of(children))[Nvml].value
    if value.status == "ok":
        pytest.skip("this machine has a driver")
    assert (value.status, value.unloadable) == ("NVML_ERROR_LIBRARY_NOT_FOUND", None)
    assert value.message == "NVML Shared Library Not Found"


def test_a_driver_is_not_asked_below_a_root_that_does_not_run(
    nvml: Callable[..., None], children: Children, tmp_path: Path
) -> None:
    nvml()
    context = context_of(children, root=tmp_path)
    for fact in {**observe_nvml(context), **observe_cuda_init(context)}.values():
        assert isinstance(fact, Unknown)
        assert fact.reason is Reason.SWITCHED_OFF
        assert str(tmp_path) in fact.detail


@pytest.mark.parametrize(
    ("defines", "status", "count"),
    [((), "ok", 1), (("INIT_STATUS=803",), "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", None)],
)
def test_cu_init(
    build: Build,
    children: Children,
    monkeypatch: pytest.MonkeyPatch,
    defines: tuple[str, ...],
    status: str,
    count: int | None,
) -> None:
    folder = build("cuda.c", "libcuda.so.1", *defines)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(folder))
    value = observe_cuda_init(context_of(children))[CudaInit].value
    assert (value.status, value.device_count, value.driver_cuda) == (status, count, "12.2")
    assert value.library == str(folder / "libcuda.so.1")
    said = "[CUDA][E] what the driver says of it\n[CUDA][E] Returning 803 from cuInit"
    assert value.log == ("" if count else said)


def test_without_a_driver_libcuda_is_missing(
    children: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    value = observe_cuda_init(context_of(children))[CudaInit].value
    assert value.status in ("libcuda-missing", "ok"), "a machine with a driver may run the tests"


def test_a_cpu_torch_beside_a_gpu_is_found_by_the_whole_program(
    build: Build, tmp_path: Path
) -> None:
    folder = build("nvml.c", "libnvidia-ml.so.1")
    patient = empty_patient(tmp_path / "patient")
    fake_torch(patient, "__version__ = '2.13.0+cpu'\n")
    env = {"LD_LIBRARY_PATH": str(folder)}
    report = report_of("--python", patient.root, "--static", env=env)
    assert "cpu-only-torch" in names(report)
    assert report["stack"]["gpus"][0]["name"] == "NVIDIA A100-SXM4-80GB"
    assert report["stack"]["driver_cuda"] == "12.2"


def test_a_hanging_driver_leaves_the_answer_open(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = build("nvml.c", "libnvidia-ml.so.1", "HANG")
    patient = empty_patient(tmp_path / "patient")
    fake_torch(patient, "__version__ = '2.13.0+cpu'\n")
    env = {"LD_LIBRARY_PATH": str(folder)}
    report = report_of("--python", patient.root, "--static", "--timeout", "4", env=env)
    assert (report["verdict"], report["exit_code"]) == ("unproven", 0)
    assert report["facts"]["Nvml"]["reason"] == "timed-out"
