"""Libraries built on torch that say when they are imported that they were built for another."""

import pytest

from envdoctor.facts.libraries import Extension, LibraryResolution, Problem
from envdoctor.facts.python import Distributions
from envdoctor.facts.torch import CompanionImport, CompanionImports, TorchBuild
from envdoctor.report import Report
from tests.probes.test_companions import CHECK_FAIL
from tests.repair.facts import (
    OWN,
    REQUIRED,
    TORCH,
    diagnosed,
    distribution,
    findings,
    roots,
)

OLD_CHECK_FAIL = "_ZN3c106detail14torchCheckFailEPKcS2_jRKSs"
MODULE = f"{OWN}/flash_attn_2_cuda.cpython-311-x86_64-linux-gnu.so"
WHEELS = "https://github.com/Dao-AILab/flash-attention/releases/download/"


def build(*, cxx11_abi: bool, version: str = "2.6.0+cu124", cuda: str = "12.4") -> TorchBuild:
    return TorchBuild(
        version=version,
        cuda=cuda,
        hip=None,
        path=f"{OWN}/torch",
        variant=f"cu{cuda.replace('.', '')}",
        version_source=f"{OWN}/torch/version.py",
        cxx11_abi=cxx11_abi,
    )


def flash_attn(symbol: str, version: str = "2.7.4.post1") -> tuple[Distributions, CompanionImports]:
    item = CompanionImport(
        name="flash-attn",
        outcome="exception",
        exception="ImportError",
        message=f"{MODULE}: undefined symbol: {symbol}",
    )
    items = (TORCH, *REQUIRED, distribution("flash-attn", version))
    return Distributions(items=items), CompanionImports(items=(item,))


@pytest.mark.parametrize(
    ("cxx11_abi", "symbol", "words"),
    [
        (False, CHECK_FAIL, "with the new ABI of C++ (cxx11), and this torch with the old one"),
        (True, OLD_CHECK_FAIL, "with the old ABI of C++, and this torch with the new one (cxx11)"),
        (True, CHECK_FAIL, f"needs `{CHECK_FAIL}`"),
    ],
)
def test_the_abi_is_read_from_the_symbol(cxx11_abi: bool, symbol: str, words: str) -> None:
    facts = flash_attn(symbol)
    (root,) = roots(*facts, build(cxx11_abi=cxx11_abi))
    assert (root.name, root.severity.value) == ("extension-library-mismatch", "warning")
    assert words in root.message
    (command,) = root.fixes[0].commands
    wheel = f"cu12torch2.6cxx11abi{str(cxx11_abi).upper()}-cp311-cp311-linux_x86_64.whl"
    assert f"{WHEELS}v2.7.4.post1/flash_attn-2.7.4.post1+{wheel}" in command
    assert "--force-reinstall --no-deps" in command


def test_a_torch_that_no_wheel_was_made_for() -> None:
    torch = build(cxx11_abi=True, version="2.13.0+cu126", cuda="12.6")
    (root,) = roots(*flash_attn(CHECK_FAIL), torch)
    assert "no wheel of flash-attn was made for torch 2.13" in root.fixes[0].summary
    assert not root.fixes[0].commands


def test_a_symbol_that_is_none_of_torch_says_nothing_of_it() -> None:
    (root,) = roots(*flash_attn("ffi_call"), build(cxx11_abi=False))
    assert root.name == "companion-import-failed"


def test_a_torchaudio_for_another_cuda() -> None:
    """Up to 2.11 it refuses another minor release too, which nothing but itself tells."""
    said = (
        "Detected that PyTorch and TorchAudio were compiled with different CUDA versions. "
        "PyTorch has CUDA version 12.4 whereas TorchAudio has CUDA version 12.6. Please install"
    )
    item = CompanionImport(
        name="torchaudio", outcome="exception", exception="RuntimeError", message=said
    )
    audio = distribution("torchaudio", "2.6.0+cu126", OWN, "torch==2.6.0")
    items = Distributions(items=(TORCH, *REQUIRED, audio))
    torch = build(cxx11_abi=False)
    (root,) = roots(items, torch, CompanionImports(items=(item,)))
    assert (root.code, root.breaks) == ("ED371", ("import:torchaudio",))
    assert "built for CUDA 12.6" in root.message
    assert root.fixes[0].commands[0].endswith("--force-reinstall --no-deps torchaudio==2.6.0")
    works = CompanionImport(name="torchaudio", outcome="ok")
    assert not roots(items, torch, CompanionImports(items=(works,)))


def test_a_module_from_a_newer_system_is_compiled_here() -> None:
    """GLIBC_2.32 on Ubuntu 20.04 (flash-attention#1708): other wheels of it are made there too."""
    lacks = Problem(kind="version", library="libc.so.6", needed_by=MODULE, names=("GLIBC_2.39",))
    module = Extension(distribution="flash-attn", path=MODULE, problems=(lacks,))
    items = Distributions(items=(TORCH, *REQUIRED, distribution("flash-attn", "2.8.0.post2")))
    resolution = LibraryResolution(root="/x", libraries=(), extensions=(module,))
    (root,) = roots(items, resolution, build(cxx11_abi=False))
    assert root.code == "ED345"
    (fix,) = root.fixes
    assert fix.summary.startswith("compile flash-attn on this system")
    assert not fix.commands


# --- what needs the driver of a GPU, where none is ---


def cupy(message: str) -> tuple[Distributions, CompanionImports]:
    item = CompanionImport(
        name="cupy", outcome="exception", exception="ImportError", message=message
    )
    items = (TORCH, *REQUIRED, distribution("cupy-cuda12x", "13.3.0"))
    return Distributions(items=items), CompanionImports(items=(item,))


@pytest.mark.parametrize("name", ["bitsandbytes", "xformers"])
def test_kernels_of_triton_are_not_made_without_a_driver(name: str) -> None:
    """What compiles them as it is imported says it in triton's words."""
    said = "0 active drivers ([]). There should only be one."
    item = CompanionImport(name=name, outcome="exception", exception="RuntimeError", message=said)
    items = Distributions(items=(TORCH, *REQUIRED, distribution(name, "0.44.1")))
    assert not roots(items, CompanionImports(items=(item,)))


NO_DRIVER = "libcuda.so.1: cannot open shared object file: No such file or directory"


def test_cupy_imports_nowhere_without_a_driver() -> None:
    assert not findings(*cupy(NO_DRIVER))
    (outcome,) = (one for one in diagnosed(*cupy(NO_DRIVER)).outcomes if one.subject == "cupy")
    assert (outcome.state, outcome.detail) == ("unseen", "it needs an NVIDIA driver")


def test_triton_compiles_for_gpus_alone() -> None:
    """`import triton` 3.2 wants setuptools, which uv puts into no environment."""
    item = CompanionImport(
        name="triton", outcome="exception", message="No module named 'setuptools'"
    )
    items = (TORCH, *REQUIRED, distribution("triton", "3.2.0"))
    assert not findings(Distributions(items=items), CompanionImports(items=(item,)))


def test_any_other_failure_of_it_is_told() -> None:
    (root,) = roots(*cupy("No module named 'fastrlock'"))
    assert (root.name, root.severity.value) == ("companion-import-failed", "warning")


def test_a_module_that_needs_the_driver_fits_all_the_same() -> None:
    """vllm's `_C.abi3.so` names libcuda.so.1, which no image that is built has."""
    path = f"{OWN}/vllm/_C.abi3.so"
    problem = Problem(kind="missing", library="libcuda.so.1", needed_by=path)
    extension = Extension(distribution="vllm", path=path, problems=(problem,))
    facts = LibraryResolution(root="/x", libraries=(), extensions=(extension,))
    items = (TORCH, *REQUIRED, distribution("vllm", "0.8.5"))
    assert not roots(Distributions(items=items), facts)


# --- one missing package, which several need ---


def verdict_without_sympy(*failing: str) -> Report:
    said = "No module named 'sympy'"
    items = tuple(
        CompanionImport(
            name=name, outcome="exception", exception="ModuleNotFoundError", message=said
        )
        for name in failing
    )
    vision = distribution("torchvision", "0.21.0", OWN, "numpy")
    there = (TORCH, REQUIRED[0], vision, distribution("numpy", "2.2.6"))
    return diagnosed(Distributions(items=there), CompanionImports(items=items))


def test_a_longer_name_is_that_of_another_package() -> None:
    item = CompanionImport(
        name="torchvision", outcome="exception", message="No module named 'sympy_plots'"
    )
    vision = distribution("torchvision", "0.21.0", OWN)
    there = Distributions(items=(TORCH, REQUIRED[0], vision))
    told = {one.name: one.severity.value for one in roots(there, CompanionImports(items=(item,)))}
    assert told == {"dependency-missing": "warning", "companion-import-failed": "error"}


def test_a_companion_that_fails_for_what_torch_requires_is_a_consequence() -> None:
    report = verdict_without_sympy("torchvision")
    (root,) = (one for one in report.findings if not one.because and one.severity.rank)
    assert (root.name, root.severity.value) == ("dependency-missing", "error")
    assert "sympy" in root.message
    assert [one.name for one in report.findings if one.because] == ["companion-import-failed"]
