"""The text of collect_env as facts: what it tells, what it does not, and what it is not called."""

import time
from pathlib import Path

import pytest

from envdoctor.api import (
    CudaComponents,
    CudaInit,
    Distributions,
    Driver,
    Environment,
    Gpus,
    Host,
    HostCompiler,
    Installer,
    Interpreter,
    Snapshot,
    Target,
    Toolkits,
    TorchAbsent,
    TorchBuild,
    TorchImport,
    TorchRuntime,
    Unknown,
)
from envdoctor.importers.collect_env import SOURCE, is_collect_env, snapshot_of
from envdoctor.report import stack_of
from tests.support.diagnosis import report_on
from tests.support.doctor import slack_s

DUMPS = Path(__file__).parent / "dumps"


def text_of(name: str) -> str:
    return (DUMPS / f"{name}.txt").read_text()


def machine(name: str) -> Snapshot:
    return snapshot_of(text_of(name))


def test_a_machine_with_two_gpus() -> None:
    snapshot = machine("torch-2.6-two-gpus")
    stack = report_on(snapshot).stack
    assert (stack.torch_version, stack.torch_cuda) == ("2.6.0+cu124", "12.4")
    assert (stack.python, stack.glibc) == ("3.11.7", "2.35")
    assert stack.driver_release == "535.183.01"
    assert [gpu.name for gpu in stack.gpus] == ["NVIDIA A100-SXM4-40GB"] * 2
    assert stack.os == "Ubuntu 22.04.5 LTS (x86_64)"
    host = snapshot.value(Host)
    assert host is not None
    assert (host.kernel, host.cpu_flags) == ("5.15.0-130-generic", ("avx2", "f16c", "fma"))
    assert (host.logical_cpus, host.physical_cpus, host.memory_bytes) == (96, 96, None)
    build = snapshot.value(TorchBuild)
    assert build is not None
    assert (build.variant, build.arch_flags) == ("cu124", ())


def test_the_cuda_runtime_is_that_of_nvcc_and_cudnn_is_that_of_the_system() -> None:
    snapshot = machine("torch-2.6-two-gpus")
    toolkits, compiler = snapshot.value(Toolkits), snapshot.value(HostCompiler)
    assert toolkits is not None
    assert [one.version for one in toolkits.items] == ["12.1"]
    assert compiler is not None
    assert compiler.version == "11.4.0"
    assert isinstance(snapshot.get(CudaComponents), Unknown)
    assert stack_of(snapshot).cudnn is None


def test_what_is_not_in_the_text_is_not_observed() -> None:
    snapshot = machine("torch-2.6-two-gpus")
    for kind in (Interpreter, CudaInit, Environment, Installer):
        assert isinstance(snapshot.get(kind), Unknown), kind
    known = {fact.source for _, fact in snapshot.items() if not isinstance(fact, Unknown)}
    assert known == {SOURCE}


def test_a_torch_of_conda_on_windows() -> None:
    snapshot = machine("torch-1.8-windows")
    stack = report_on(snapshot).stack
    assert (stack.torch_version, stack.torch_cuda, stack.python) == ("1.8.1", "11.1", "3.8")
    assert [gpu.name for gpu in stack.gpus] == ["GeForce RTX 3070"]
    assert (stack.driver_release, stack.installer) == ("461.92", "conda")
    distributions = snapshot.value(Distributions)
    assert distributions is not None
    assert {one.name: one.version for one in distributions.items} == {
        "numpy": "1.20.2",
        "torch": "1.8.1",
        "torchvision": "0.9.1",
    }


def test_a_text_of_vllm_behind_the_marks_of_a_log() -> None:
    snapshot = machine("vllm-in-a-log")
    stack = report_on(snapshot).stack
    assert (stack.torch_version, stack.torch_cuda) == ("2.5.1+rocm6.2", None)
    assert [gpu.name for gpu in stack.gpus] == ["AMD Instinct MI300X"]
    runtime, environment = snapshot.value(TorchRuntime), snapshot.value(Environment)
    assert runtime is not None
    assert runtime.hip == "6.2.41133-dd7f95766"
    assert environment is not None
    # What torch and opencv-python set themselves is left out, and what is no variable of theirs.
    assert environment.variables == {
        "LD_LIBRARY_PATH": "/opt/rocm/lib",
        "NCCL_SOCKET_IFNAME": "ens3",
    }


def test_amds_gpu_beside_a_build_for_amd_is_no_mix() -> None:
    report = report_on(machine("vllm-in-a-log"))
    assert [one.name for one in report.findings if one.severity.value != "info"] == []


def test_a_machine_without_torch() -> None:
    snapshot = machine("without-torch")
    imported, absent = snapshot.value(TorchImport), snapshot.value(TorchAbsent)
    assert imported is not None
    assert imported.outcome == "exception"
    assert absent is not None
    assert absent.absent
    assert isinstance(snapshot.get(TorchBuild), Unknown)
    assert report_on(snapshot).findings[0].name == "torch-not-installed"


def test_a_torch_that_is_listed_and_not_imported_is_not_absent() -> None:
    text = text_of("without-torch").replace("[pip3] numpy", "[pip3] torch==2.6.0\n[pip3] numpy")
    snapshot = snapshot_of(text)
    assert isinstance(snapshot.get(TorchAbsent), Unknown)
    imported = snapshot.value(TorchImport)
    assert imported is not None
    assert imported.outcome == "exception"


def test_a_driver_that_nobody_asked_is_unknown_and_not_missing() -> None:
    text = text_of("torch-2.6-two-gpus")
    text = text.replace("Nvidia driver version: 535.183.01", "Nvidia driver version: No CUDA")
    text = text.replace("GPU 0: NVIDIA A100-SXM4-40GB\nGPU 1: NVIDIA A100-SXM4-40GB\n", "")
    snapshot = snapshot_of(text)
    assert isinstance(snapshot.get(Driver), Unknown)
    assert isinstance(snapshot.get(Gpus), Unknown)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\ufeff" + text,
        lambda text: "\n".join(f"> {line}" for line in text.splitlines()),
        lambda text: "### Your current environment\n\n```text\n" + text + "```\n",
        lambda text: "\n".join(line + " " * 60 for line in text.splitlines()),
    ],
    ids=["CRLF", "BOM", "quoted", "in an issue", "padded"],
)
def test_a_text_as_people_paste_it(change) -> None:  # type: ignore[no-untyped-def]
    text = change(text_of("torch-2.6-two-gpus"))
    assert is_collect_env(text)
    assert report_on(snapshot_of(text)).stack == report_on(machine("torch-2.6-two-gpus")).stack


@pytest.mark.parametrize("text", ["", "{}", "PyTorch version: 2.6.0", "torch 2.6.0 on an A100"])
def test_other_texts_are_none(text: str) -> None:
    assert not is_collect_env(text)


@pytest.mark.parametrize("name", sorted(path.stem for path in DUMPS.glob("*.txt")))
def test_a_text_that_is_cut_or_mixed_up_is_read_as_far_as_it_goes(name: str) -> None:
    lines = text_of(name).splitlines()
    texts = ["\n".join(lines[:end]) for end in range(1, len(lines))]
    texts.append("\n".join(sorted(lines)))
    texts.append("\n".join(line.replace(".", "٣").replace(":", ": :") for line in lines))
    for text in texts:
        report_on(snapshot_of(text))


def test_a_line_without_end_is_read_at_once() -> None:
    text = text_of("torch-2.6-two-gpus")
    for field in ("OS: ", "Python version: ", "GCC version: ", "[pip3] torch==", "[conda] "):
        text += f"{field}{'a' + ' ' * 1_000_000 + 'b'}\n"
        odd = text.replace(f"\n{field}", f"\n{field}{' (' * 500_000}")
        began = time.monotonic()
        snapshot_of(odd)
        assert time.monotonic() - began < 2.0 + slack_s(), field


def test_a_version_in_other_digits_is_no_surprise() -> None:
    text = text_of("torch-2.6-two-gpus").replace("3.11.7", "٣.١١.٧").replace("CPU(s):", "CPU(s): ٩")
    snapshot = snapshot_of(text)
    assert snapshot.value(Target) is None or report_on(snapshot).stack.python


def test_every_real_dump_is_read(shared: Path) -> None:
    """All of them tell of a torch, or say that there is none; each of a system and a Python."""
    dumps = sorted((shared / "cases" / "collect_env").glob("*.txt"))
    assert len(dumps) >= 85
    for path in dumps:
        text = path.read_text(encoding="utf-8", errors="replace")
        assert is_collect_env(text), path.name
        snapshot = snapshot_of(text)
        stack = report_on(snapshot).stack
        assert None not in (stack.python, stack.os), path.name
        said_none = "PyTorch version: N/A" in text
        assert (stack.torch_version is None) is said_none, path.name
        listed = text.count("\nGPU 0: ") or "configuration: GPU 0: " in text
        assert not listed or stack.gpus, path.name


def test_the_name_of_an_amd_gpu_without_its_architecture() -> None:
    text = (
        "Collecting environment information...\nPyTorch version: 2.1.1+git011de5c\n"
        "ROCM used to build PyTorch: 5.6.31061\nIs CUDA available: True\n"
        "GPU models and configuration: AMD Radeon PRO W7900NoGCNArchNameOnOldPyTorch\n"
    )
    runtime = snapshot_of(text).value(TorchRuntime)
    assert runtime is not None
    assert [one.name for one in runtime.devices] == ["AMD Radeon PRO W7900"]
