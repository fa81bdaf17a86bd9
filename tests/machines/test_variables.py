"""Variables that slow one machine down are nothing to another: healthy machines that have them."""

from typing import Any

import pytest
from msgspec.structs import replace

from envdoctor.api import (
    Environment,
    FirstUse,
    Gpu,
    Gpus,
    Observed,
    Snapshot,
    TorchDevice,
    TorchFirstUse,
)
from envdoctor.diagnose import diagnose
from envdoctor.findings import Verdict
from envdoctor.knowledge import Knowledge, load
from envdoctor.plugin_loading import load_plugins
from envdoctor.report import Report
from tests.support.cases import CASES, CPU_USE, NO_CUDA
from tests.support.machines import machine

A100, GEFORCE = "NVIDIA A100-SXM4-80GB", "NVIDIA GeForce RTX 4090"


def on_cpu(**variables: str) -> Report:
    """The CPU build on a machine without a GPU, with these variables."""
    environment = Observed(value=Environment(variables=variables), source="synthetic")
    return report_on(CASES["healthy-cpu"].snapshot.with_facts({Environment: environment}))


def on_gpus(name: str, count: int, **variables: str) -> Report:
    """Torch on so many equal GPUs, with these variables."""
    return report_on(with_gpus(name, count, **variables))


def with_gpus(name: str, count: int, **variables: str) -> Snapshot:
    """The machine of `on_gpus`."""
    capability = "8.9" if "GeForce" in name else "8.0"
    facts: list[Any] = [
        {"index": index, "name": name, "compute_capability": capability} for index in range(count)
    ]
    devices = tuple(TorchDevice(memory_bytes=24 * 2**30, **one) for one in facts)
    return machine(
        Gpus(devices=tuple(Gpu(**one) for one in facts)),
        TorchFirstUse(
            operations=tuple(
                FirstUse(device=device, operation="matmul")
                for device in ("cpu", *(f"cuda:{index}" for index in range(count)))
            )
        ),
        TorchRuntime={"device_count": count, "devices": devices},
        CudaInit={"device_count": count},
        Environment={"variables": variables},
    )


def report_on(snapshot: Snapshot) -> Report:
    return diagnose(snapshot, load_plugins(), {Knowledge: load()})


@pytest.mark.parametrize(
    "variables",
    [
        {"CUDA_LAUNCH_BLOCKING": "1"},
        {"NCCL_IB_DISABLE": "1", "NCCL_P2P_DISABLE": "1", "NCCL_DEBUG": "INFO"},
        {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1", "NVIDIA_TF32_OVERRIDE": "0"},
        {"TORCH_DISTRIBUTED_DEBUG": "DETAIL"},
        {"OMP_NUM_THREADS": "64"},
    ],
    ids="+".join,
)
def test_a_healthy_cpu_machine_stays_healthy(variables: dict[str, str]) -> None:
    """It has 64 cores with two hardware threads each."""
    report = on_cpu(**variables)
    assert report.verdict is Verdict.HEALTHY
    assert report.findings == ()


def test_a_machine_that_trains_on_a_gpu_needs_no_threads() -> None:
    (one,) = on_gpus(A100, 1, OMP_NUM_THREADS="8").findings
    assert (one.name, one.severity.value) == ("threads-limited", "info")
    (one,) = on_cpu(OMP_NUM_THREADS="8").findings
    assert (one.name, one.severity.value) == ("threads-limited", "warning")


def test_gpus_that_are_hidden_on_purpose_are_not_slowed_down() -> None:
    variables = {"CUDA_VISIBLE_DEVICES": "", "CUDA_LAUNCH_BLOCKING": "1"}
    hidden = machine(CPU_USE, TorchRuntime=NO_CUDA, Environment={"variables": variables})
    assert "debug-environment" not in {one.name for one in report_on(hidden).findings}


def test_the_remedy_of_geforce_cards_is_left_alone() -> None:
    """Two RTX 4090 have no peer access, and NCCL hangs where it tries (NVIDIA/nccl-tests#117)."""
    report = on_gpus(GEFORCE, 2, NCCL_P2P_DISABLE="1")
    assert report.verdict is Verdict.HEALTHY
    assert report.findings == ()
    (one,) = on_gpus(A100, 2, NCCL_P2P_DISABLE="1").findings
    assert one.severity.value == "warning"
    assert one.fixes[0].commands == ("unset NCCL_P2P_DISABLE",)
    assert "unless NCCL hangs without it" in one.fixes[0].summary


def test_gpus_that_the_driver_keeps_apart_lose_nothing() -> None:
    """Two RTX 6000 Ada on a board whose driver allows no peer access."""
    snapshot = with_gpus("NVIDIA RTX 6000 Ada Generation", 2, NCCL_P2P_DISABLE="1")
    listed = snapshot.value(Gpus)
    assert listed is not None
    for peers, expected in (((), []), ((0, 1), ["debug-environment"])):
        gpus = Gpus(devices=tuple(replace(gpu, peers=peers) for gpu in listed.devices))
        known = snapshot.with_facts({Gpus: Observed(value=gpus, source="synthetic")})
        slowed = [one.name for one in report_on(known).findings if one.severity.value == "warning"]
        assert slowed == expected


def test_one_gpu_sends_nothing_to_another() -> None:
    for variable, value in {"NCCL_P2P_DISABLE": "1", "TORCH_DISTRIBUTED_DEBUG": "DETAIL"}.items():
        assert on_gpus(A100, 1, **{variable: value}).verdict is Verdict.HEALTHY


def test_what_waits_for_every_kernel_is_a_warning_where_there_are_kernels() -> None:
    report = on_gpus(A100, 1, CUDA_LAUNCH_BLOCKING="1")
    assert report.verdict is Verdict.DEGRADED
    assert [one.name for one in report.findings] == ["debug-environment"]


@pytest.mark.parametrize(
    ("name", "value", "other"),
    [("CUDA_MODULE_LOADING", "EAGER", "LAZY"), ("CUBLAS_WORKSPACE_CONFIG", ":16:8", ":4096:8")],
)
def test_what_costs_a_little_is_information(name: str, value: str, other: str) -> None:
    report = on_gpus(A100, 1, **{name: value})
    assert report.verdict is Verdict.HEALTHY
    assert [(one.name, one.subjects) for one in report.findings] == [("debug-environment", (name,))]
    assert on_gpus(A100, 1, **{name: other}).findings == ()
    assert on_cpu(**{name: value}).findings == ()
