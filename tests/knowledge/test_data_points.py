"""Data that were wrong or missing once, each held to the document that has it."""

from typing import Any

import pytest

from envdoctor.knowledge import load
from envdoctor.prescribe import machine_elsewhere, prescribe

KNOWLEDGE = load()
GPUS: list[tuple[str, str, Any, str]] = [
    ("A10G", "fp32_tflops", 35.0, "NVIDIA A10G data sheet"),
    ("A10G", "tf32_tensor_tflops", 35.0, "NVIDIA A10G data sheet, dense"),
    ("A10G", "bf16_tensor_tflops", 70.0, "NVIDIA A10G data sheet, dense"),
    ("A10", "bf16_tensor_tflops", 125.0, "NVIDIA A10 data sheet, dense: not that of the A10G"),
    ("A100 SXM4 40 GB", "memory_type", "HBM2", "NVIDIA A100 data sheet: HBM2e is the 80 GB's"),
    ("A100 PCIe 40 GB", "memory_type", "HBM2", "NVIDIA A100 data sheet: HBM2e is the 80 GB's"),
    ("A100 SXM4 80 GB", "memory_type", "HBM2e", "NVIDIA A100 data sheet"),
    ("Jetson Thor T5000", "boost_mhz", None, "2525 MHz was wrong; no source has all of 1.57 GHz"),
    ("Jetson Thor T5000", "tdp_w", 130, "Hugging Face hardware catalogue: 130 W"),
    ("B300", "memory_gb", 288, "NVIDIA NIM support matrix: B300-SXM6-AC, 288 GB"),
    ("H20", "compute_capability", "9.0", "NVIDIA MIG user guide 610, supported GPUs"),
    ("H20", "memory_gb", 96.0, "NVIDIA MIG user guide 610, supported GPUs"),
    ("GB300 (per GPU)", "memory_gb", None, "no source says what one GPU of it has"),
]
SYSTEMS = [
    ("ubuntu", "26.04", "2.43", "packages.ubuntu.com, resolute"),
    ("debian", "13", "2.41", "package list of Debian 13"),
    ("rhel", "10", "2.39", "Linux distributions to kernel and glibc versions, RHEL 10"),
]
COMPILERS = [
    ("13.0", 15, "crt/host_config.h of nvidia-cuda-crt 13.0"),
    ("13.2", 15, "crt/host_config.h of nvidia-cuda-crt 13.2"),
    ("13.4", 16, "crt/host_config.h of nvidia-cuda-crt 13.4"),
]
EXTENSIONS = [
    ("xformers", "0.0.22.post7", "==2.1.0", "METADATA"),
    ("xformers", "0.0.28.post3", "==2.5.1", "METADATA"),
    ("vllm", "0.6.3", "==2.4.0", "METADATA"),
    ("vllm", "0.11.0", "==2.8.0", "METADATA"),
    ("bitsandbytes", "0.45.0", None, "METADATA: no version of torch"),
    ("torchcodec", "0.2.0", "==2.6.*", "torchcodec README, table of versions"),
    ("torchcodec", "0.10.0", "==2.10.*", "torchcodec README, table of versions"),
    ("torchcodec", "0.17.0", ">=2.11", "torchcodec README: from 0.12 on torch 2.11 and later"),
]


@pytest.mark.parametrize(("model", "field", "value", "source"), GPUS)
def test_a_gpu(model: str, field: str, value: Any, source: str) -> None:
    gpu = next(one for one in KNOWLEDGE.gpus if one.model == model)
    assert getattr(gpu, field) == value


@pytest.mark.parametrize(("name", "release", "glibc", "source"), SYSTEMS)
def test_a_system(name: str, release: str, glibc: str, source: str) -> None:
    found = [one for one in KNOWLEDGE.systems if (one.name, one.release) == (name, release)]
    assert [one.glibc for one in found] == [glibc]


@pytest.mark.parametrize(("cuda", "newest", "source"), COMPILERS)
def test_the_newest_gcc_of_a_toolkit(cuda: str, newest: int, source: str) -> None:
    known = KNOWLEDGE.host_compilers(cuda)
    assert known is not None
    assert known.gcc_max == newest


@pytest.mark.parametrize(
    ("cuda", "windows"), [("11.8", "452.39"), ("12.6", "528.33"), ("13.0", "580")]
)
def test_the_oldest_driver_on_windows_and_wsl(cuda: str, windows: str) -> None:
    """CUDA 13.2 release notes, table 2; uv, crates/uv-torch, Windows column."""
    floor = KNOWLEDGE.driver_floor(cuda)
    assert floor is not None
    assert floor.min_release_windows == windows


def test_the_end_of_branch_580() -> None:
    """NVIDIA's page of supported drivers: June 2028 in its editions 615 and 620, August in 2025."""
    branch = KNOWLEDGE.driver_branch("580")
    assert branch is not None
    assert (branch.kind, branch.end_of_life) == ("LTSB", "2028-06")
    assert "Aug 2028" in (branch.note or "")


@pytest.mark.parametrize(("name", "version", "torch", "source"), EXTENSIONS)
def test_what_an_extension_goes_with(
    name: str, version: str, torch: str | None, source: str
) -> None:
    known = KNOWLEDGE.extension(name, version)
    assert known is not None
    assert (known.pairs_with_torch or known.requires_torch) == torch


def test_a_k80_is_never_sent_beyond_branch_470() -> None:
    """NVIDIA's table of last driver branches: Kepler R470."""
    machine = machine_elsewhere(KNOWLEDGE, gpus=["K80"], driver="390.157", python="3.10")
    because = prescribe(machine, KNOWLEDGE).none_because or ""
    assert "driver branch 470 would run it" in because
