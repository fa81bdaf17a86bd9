"""What the doctor says of GPUs is what `nvidia-smi -q -x` shows, field by field.

The fake driver is in the state that public outputs of nvidia-smi show (their figures, in
nvidia_smi.json). That shows that each field asks NVML for what nvidia-smi prints under that name,
in the same unit, under three schemas; it does not show that a real driver answers both alike. That
is compared on a machine with a GPU, here and in benchmarks/gpu_session.sh.
"""

import importlib.util
import json
import shutil
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest

from envdoctor.api import Gpu
from envdoctor.facts.machine import Gpus
from envdoctor.probes.context import context_of
from envdoctor.probes.driver_api import observe_nvml
from envdoctor.probes.run import Children
from tests.driver.fake import build_fake

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "nvml_agreement.py"
MACHINES = json.loads(Path(__file__).with_name("nvidia_smi.json").read_text(encoding="utf-8"))
BY_DRIVER = {one["driver"]: one["figures"] for one in MACHINES}

NOT_COMPARED = {
    *("index", "compute_capability", "refused", "throttle_reasons", "process_pids"),
    *("ecc_uncorrected", "licensed", "fabric_error", "peers", "nvlink_peers"),
}


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("nvml_agreement", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def document(*machines: dict[str, str]) -> ElementTree.Element:
    """The figures in the shape of nvidia-smi's own document."""
    root = ElementTree.Element("nvidia_smi_log")
    for figures in machines:
        gpu = ElementTree.SubElement(root, "gpu")
        for place, text in figures.items():
            at = gpu
            for name in place.split("/"):
                found = at.find(name)
                at = ElementTree.SubElement(at, name) if found is None else found
            at.text = text
    return root


NVML = {
    "product_name": ("name", lambda text: text.replace(" ", "~")),
    "uuid": ("uuid", str),
    "pci/pci_bus_id": ("pci_bus_id", str),
    "fb_memory_usage/total": ("memory_bytes", lambda text: int(text.split()[0]) << 20),
    "fb_memory_usage/reserved": ("reserved_bytes", lambda text: int(text.split()[0]) << 20),
    "fb_memory_usage/used": ("memory_used_bytes", lambda text: int(text.split()[0]) << 20),
    "bar1_memory_usage/total": ("bar1_bytes", lambda text: int(text.split()[0]) << 20),
    "mig_mode/current_mig": ("mig_mode", lambda text: int(text == "Enabled")),
    "mig_mode/pending_mig": ("mig_pending", lambda text: int(text == "Enabled")),
    "ecc_mode/current_ecc": ("ecc_mode", lambda text: int(text == "Enabled")),
    "compute_mode": ("compute_mode", {"Default": 0, "Prohibited": 2, "Exclusive_Process": 3}.get),
    "persistence_mode": ("persistence_mode", lambda text: int(text == "Enabled")),
    "gpu_virtualization_mode/virtualization_mode": (
        "virtualization",
        {"None": 0, "Pass-Through": 1, "VGPU": 2}.get,
    ),
    "retired_pages/pending_retirement": ("pages_pending", lambda text: int(text == "Yes")),
    "remapped_rows/remapped_row_pending": ("rows_pending", lambda text: int(text == "Yes")),
    "remapped_rows/remapped_row_failure": ("rows_failed", lambda text: int(text == "Yes")),
    "fabric/state": ("fabric_state", {"Not Started": 1, "In Progress": 2, "Completed": 3}.get),
    **dict.fromkeys(
        (
            "gpu_power_readings/average_power_draw",
            "gpu_power_readings/power_draw",
            "power_readings/power_draw",
        ),
        ("power_mw", lambda text: round(float(text.split()[0]) * 1000)),
    ),
    **dict.fromkeys(
        ("gpu_power_readings/current_power_limit", "power_readings/enforced_power_limit"),
        ("power_limit_mw", lambda text: round(float(text.split()[0]) * 1000)),
    ),
    **dict.fromkeys(
        ("gpu_power_readings/default_power_limit", "power_readings/default_power_limit"),
        ("power_default_limit_mw", lambda text: round(float(text.split()[0]) * 1000)),
    ),
    "temperature/gpu_temp": ("temperature_c", lambda text: int(text.split()[0])),
    "clocks/sm_clock": ("sm_clock_mhz", lambda text: int(text.split()[0])),
    "max_clocks/sm_clock": ("max_sm_clock_mhz", lambda text: int(text.split()[0])),
    "pci/pci_gpu_link_info/pcie_gen/current_link_gen": ("pcie_generation", int),
    "pci/pci_gpu_link_info/pcie_gen/max_link_gen": ("pcie_max_generation", int),
    "pci/pci_gpu_link_info/link_widths/current_link_width": (
        "pcie_width",
        lambda text: int(text.rstrip("x")),
    ),
    "pci/pci_gpu_link_info/link_widths/max_link_width": (
        "pcie_max_width",
        lambda text: int(text.rstrip("x")),
    ),
    "utilization/gpu_util": ("utilization_pct", lambda text: int(text.split()[0])),
}
"""In which state of the fake driver (tests/fakes/nvml.c) nvidia-smi would print that; `N/A` is what
NVML does not support."""


def described(machines: list[dict[str, str]]) -> str:
    lines = (
        f"{index} {NVML[place][0]} {NVML[place][1](text)}\n"
        for index, figures in enumerate(machines)
        for place, text in figures.items()
        if place in NVML and text != "N/A"
    )
    return "".join(lines)


def asked(
    compiler: str,
    folder: Path,
    children: Children,
    monkeypatch: pytest.MonkeyPatch,
    machines: list[dict[str, str]],
    *defines: str,
) -> list[dict[str, Any]]:
    """The GPUs as a report has them."""
    library = build_fake(
        compiler, folder, "nvml.c", "libnvidia-ml.so.1", f"COUNT={len(machines)}", *defines
    )
    description = folder / "gpus.txt"
    description.write_text(described(machines))
    monkeypatch.setenv("LD_LIBRARY_PATH", str(library))
    monkeypatch.setenv("FAKE_NVML", str(description))
    fact = observe_nvml(context_of(children))[Gpus]
    found: dict[str, Any] = msgspec.to_builtins(fact.value)  # type: ignore[union-attr]
    devices: list[dict[str, Any]] = found["devices"]
    return devices


def test_every_field_is_compared_or_left_out_on_purpose(script: ModuleType) -> None:
    assert set(script.FIELDS) | NOT_COMPARED == set(Gpu.__struct_fields__)


def test_each_gpu_is_what_nvidia_smi_shows(
    script: ModuleType,
    compiler: str,
    tmp_path: Path,
    children: Children,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machines = list(BY_DRIVER.values())
    ours = asked(compiler, tmp_path, children, monkeypatch, machines)
    lines = list(script.compared(ours, document(*machines)))
    assert len(lines) == len(machines) * len(script.FIELDS)
    assert [line for state, line in lines if state != "ok"] == []


def test_what_the_driver_keeps_for_itself_is_not_used(
    compiler: str, tmp_path: Path, children: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    """nvidia-smi shows 50 MiB of this A100; a driver before 510 counts the 869 MiB as well."""
    machines = [BY_DRIVER["535.54.03"]]
    (now,) = asked(compiler, tmp_path, children, monkeypatch, machines)
    (before,) = asked(compiler, tmp_path, children, monkeypatch, machines, "WITHOUT_MEMORY_V2")
    assert now["memory_used_bytes"] == 50 << 20
    assert before["memory_used_bytes"] == (50 + 869) << 20


@pytest.mark.parametrize(
    ("place", "text", "field"),
    [
        ("power_readings/enforced_power_limit", "350.00 W", "power_limit_w"),
        ("persistence_mode", "Disabled", "persistence_mode"),
        ("fb_memory_usage/total", "24577 MiB", "memory_bytes"),
        ("ecc_mode/current_ecc", "Enabled", "ecc_mode"),
        ("pci/pci_bus_id", "N/A", "pci_address"),
    ],
)
def test_a_difference_is_found(
    script: ModuleType,
    compiler: str,
    tmp_path: Path,
    children: Children,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    text: str,
    field: str,
) -> None:
    figures = BY_DRIVER["525.147.05"]
    ours = asked(compiler, tmp_path, children, monkeypatch, [figures])
    lines = script.compared(ours, document({**figures, place: text}))
    assert [line.split()[2] for state, line in lines if state == "OFF"] == [f"{field}:"]


def test_the_real_driver_says_the_same_to_both(script: ModuleType, children: Children) -> None:
    program = shutil.which("nvidia-smi")
    if program is None:
        pytest.skip("this machine has no nvidia-smi")
    done = subprocess.run([program, "-q", "-x"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip("nvidia-smi finds no driver here")
    fact = observe_nvml(context_of(children))[Gpus]
    ours = msgspec.to_builtins(fact.value)["devices"]  # type: ignore[union-attr]
    lines = script.compared(ours, ElementTree.fromstring(done.stdout))
    assert [line for state, line in lines if state == "OFF"] == []
