"""The states of GPUs through pynvml, from a small real library that a file describes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from envdoctor.api import Gpu
from envdoctor.facts.machine import Gpus
from envdoctor.probes.context import context_of
from envdoctor.probes.driver_api import observe_nvml
from envdoctor.probes.run import Children
from tests.driver.fake import build_fake
from tests.support.doctor import names, report_of
from tests.support.patients import empty_patient, fake_torch

Described = Callable[..., tuple[Gpu, ...]]

MIB = 2**20


@pytest.fixture
def described(
    compiler: str, tmp_path: Path, children: Children, monkeypatch: pytest.MonkeyPatch
) -> Described:
    """The GPUs that NVML shows of a library that the lines describe."""

    def ask(*lines: str, gpus: int = 1) -> tuple[Gpu, ...]:
        library = build_fake(compiler, tmp_path, "nvml.c", "libnvidia-ml.so.1", f"COUNT={gpus}")
        description = tmp_path / "gpus.txt"
        description.write_text("".join(f"{line}\n" for line in lines))
        monkeypatch.setenv("LD_LIBRARY_PATH", str(library))
        monkeypatch.setenv("FAKE_NVML", str(description))
        fact = observe_nvml(context_of(children))[Gpus]
        devices: tuple[Gpu, ...] = fact.value.devices  # type: ignore[union-attr]
        return devices

    return ask


@pytest.mark.parametrize(
    ("lines", "fields"),
    [
        (["0 compute_mode 0"], {"compute_mode": "default"}),
        (["0 compute_mode 2"], {"compute_mode": "prohibited"}),
        (["0 compute_mode 3"], {"compute_mode": "exclusive-process"}),
        (["0 compute_mode 17"], {"compute_mode": None}),
        (["0 persistence_mode 1"], {"persistence_mode": True}),
        (["0 ecc_uncorrected 5000000000"], {"ecc_uncorrected": 5_000_000_000}),
        (["0 pages_pending 1"], {"pages_pending": True}),
        (["0 rows_pending 1", "0 rows_failed 0"], {"rows_pending": True, "rows_failed": False}),
        (["0 mig_mode 0", "0 mig_pending 1"], {"mig_mode": False, "mig_pending": True}),
        (["0 virtualization 2", "0 licensed 0"], {"virtualization": "vgpu", "licensed": False}),
        (["0 virtualization 2", "0 licensed 1"], {"virtualization": "vgpu", "licensed": True}),
        (["0 fabric_state 0"], {"fabric_state": None, "fabric_error": None}),
        (["0 fabric_state 2"], {"fabric_state": "in-progress", "fabric_error": None}),
        (["0 fabric_state 3"], {"fabric_state": "completed", "fabric_error": None}),
        (
            ["0 fabric_state 3", "0 fabric_status 999"],
            {"fabric_state": "completed", "fabric_error": "NVML_ERROR_UNKNOWN"},
        ),
        ([f"0 bar1_bytes {256 * MIB}"], {"bar1_bytes": 256 * MIB}),
    ],
)
def test_a_state_is_that_of_the_driver(
    described: Described, lines: list[str], fields: dict[str, Any]
) -> None:
    (gpu,) = described(*lines)
    assert {name: getattr(gpu, name) for name in fields} == fields
    assert gpu.refused == {}


def test_what_the_gpu_does_not_have_is_null_and_nothing_more(described: Described) -> None:
    (gpu,) = described()
    assert (gpu.compute_mode, gpu.rows_pending, gpu.fabric_state, gpu.bar1_bytes) == (None,) * 4
    assert gpu.refused == {}


def test_what_nvml_refuses_keeps_its_error(described: Described) -> None:
    lost, other = described("0 compute_mode !4", "0 rows_pending !15", "1 compute_mode 0", gpus=2)
    assert lost.refused == {
        "compute_mode": "NVML_ERROR_NO_PERMISSION",
        "rows_pending": "NVML_ERROR_GPU_IS_LOST",
        "rows_failed": "NVML_ERROR_GPU_IS_LOST",
    }
    assert (lost.compute_mode, other.compute_mode, other.refused) == (None, "default", {})


def test_which_gpus_reach_each_other_is_a_bit_for_each(described: Described) -> None:
    """Four GPUs on two bridges of NVLink; the last one reaches nobody by itself."""
    lines = ("0 peers 6", "0 nvlink_peers 2", "1 peers 5", "1 nvlink_peers 1", "3 peers 0")
    gpus = described(*lines, gpus=4)
    assert [(gpu.peers, gpu.nvlink_peers) for gpu in gpus] == [
        ((1, 2), (1,)),
        ((0, 2), (0,)),
        (None, None),
        ((), None),
    ]
    (alone,) = described("0 peers 0")
    assert (alone.peers, alone.nvlink_peers) == (None, None)


@pytest.mark.parametrize(
    ("lines", "name"),
    [
        (["0 rows_pending 1", "0 rows_failed 0"], "memory-repair-pending"),
        (["0 rows_pending 0", "0 rows_failed 1"], "row-remap-failed"),
        (["0 virtualization 2", "0 licensed 0"], "vgpu-unlicensed"),
        (["0 compute_mode 3"], "exclusive-and-taken"),
        (["0 rows_pending 0", "0 rows_failed 0", "0 compute_mode 0"], None),
    ],
)
def test_a_state_is_found_by_the_whole_program(
    compiler: str, tmp_path: Path, lines: list[str], name: str | None
) -> None:
    library = build_fake(compiler, tmp_path, "nvml.c", "libnvidia-ml.so.1")
    description = tmp_path / "gpus.txt"
    description.write_text("\n".join(lines))
    patient = empty_patient(tmp_path / "patient")
    fake_torch(patient, "__version__ = '2.13.0+cpu'\n")
    env = {"LD_LIBRARY_PATH": str(library), "FAKE_NVML": str(description)}
    report = report_of("--python", patient.root, "--static", env=env)
    of_states = [one for one in names(report) if one in OF_STATES]
    assert of_states == ([name] if name else [])


OF_STATES = (
    "memory-repair-pending",
    "row-remap-failed",
    "vgpu-unlicensed",
    "compute-prohibited",
    "exclusive-and-taken",
)


def test_a_fabric_that_waits_names_the_fabric_manager(compiler: str, tmp_path: Path) -> None:
    build_fake(compiler, tmp_path, "cuda.c", "libcuda.so.1", "INIT_STATUS=802")
    library = build_fake(compiler, tmp_path, "nvml.c", "libnvidia-ml.so.1")
    description = tmp_path / "gpus.txt"
    description.write_text("0 fabric_state 2\n")
    patient = empty_patient(tmp_path / "patient")
    fake_torch(patient, "__version__ = '2.13.0+cu126'\n")
    env = {"LD_LIBRARY_PATH": str(library), "FAKE_NVML": str(description)}
    report = report_of("--python", patient.root, "--static", env=env)
    (found,) = (one for one in report["findings"] if one["name"] == "fabric-manager")
    assert found["confidence"] == "certain"
    assert {"GPU 0: in-progress"} <= {one["value"] for one in found["evidence"]}
