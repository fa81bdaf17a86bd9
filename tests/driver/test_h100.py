"""What a real driver and a real GPU answered, kept and replayed: an H100 in a microVM.

`h100_states.json` holds what `sh benchmarks/gpu_states.sh` found with one thing taken away, as far
as it differs from the machine as it is (tests/captured/h100.json).
"""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from envdoctor.facts import Snapshot
from envdoctor.knowledge import load
from tests.captured import CAPTURED
from tests.driver.test_nvidia_smi import script
from tests.support.diagnosis import recorded, report_on

__all__ = ["script"]

HERE = Path(__file__).parent
AS_IT_IS = next(path for path in CAPTURED if path.stem == "h100")
STATES: dict[str, dict[str, Any]] = json.loads((HERE / "h100_states.json").read_text())["states"]

ROOTS = {
    ("index-out-of-range", "none"): "cuda-visible-devices",
    ("uuid-of-another", "none"): "cuda-visible-devices",
    # cuInit returns 101, which is no cause beside it.
    ("twice", "none"): "cuda-visible-devices",
    ("nodes-refused", "none"): "device-permission",
    ("nodes-refused", "docker"): "device-permission",
    ("uvm-node-missing", "none"): "cuda-unknown-uvm",
    ("uvm-node-missing", "docker"): "container-device-nodes",
    ("control-node-missing", "none"): "device-nodes-missing",
    ("control-node-missing", "docker"): "container-device-nodes",
    # NVML answers, and does not list the GPU.
    ("gpu-node-missing", "none"): "device-nodes-missing",
    ("gpu-node-missing", "docker"): "container-device-nodes",
}


def machine(tmp_path: Path, state: str = "", container: str = "none") -> Snapshot:
    """The machine in one of the states, as a container or not."""
    document = json.loads(AS_IT_IS.read_text())
    document["facts"].update(STATES[state]["facts"] if state else {})
    document["facts"]["Container"]["value"]["kind"] = container
    path = tmp_path / "facts.json"
    path.write_text(json.dumps(document))
    return recorded(str(path))


@pytest.mark.parametrize(("state", "container"), ROOTS, ids=lambda one: one)
def test_what_is_taken_away_is_the_root_and_all_else_follows(
    tmp_path: Path, state: str, container: str
) -> None:
    report = report_on(machine(tmp_path, state, container))
    errors = [one for one in report.findings if one.severity.value != "info"]
    assert errors[0].name == ROOTS[state, container]
    assert {one.because for one in errors[1:]} == {errors[0].code}
    assert errors[0].fixes[0].commands


def test_root_gets_missing_nodes_made_anew(tmp_path: Path) -> None:
    """By the driver's libraries; nothing is wrong then."""
    assert STATES["root-makes-nodes"]["what"] == "no /dev/nvidia*, root"
    assert report_on(machine(tmp_path, "root-makes-nodes")).verdict.value == "healthy"


def test_the_libraries_of_torch_and_of_cuda_that_were_mapped_had_been_predicted() -> None:
    """But for one of the driver, which libcuda opens and which is known since."""
    facts = json.loads(AS_IT_IS.read_text())["facts"]
    predicted = {one["path"] for one in facts["LibraryResolution"]["value"]["libraries"]}
    mapped = facts["LoadedLibraries"]["value"]["paths"]
    whose = ("site-packages/nvidia/", "site-packages/torch/", "/usr/local/nvidia/")
    ours = [one for one in mapped if any(folder in one for folder in whose)]
    assert len(ours) == 34
    missed = [Path(one).name for one in ours if one not in predicted]
    assert missed == ["libnvidia-ptxjitcompiler.so.580.159.04"]
    opened = load().libraries.opened_by("libcuda.so.1", "13", lambda name: None)
    assert [name for _, name in opened] == ["libnvidia-ptxjitcompiler.so.1"]


def test_nvml_says_what_nvidia_smi_shows(script: Any) -> None:
    """Asked one second apart: of 27 fields the power differs, by 0.07 W."""
    shown = ElementTree.parse(HERE / "h100_nvidia_smi.xml").getroot()
    gpus = json.loads(AS_IT_IS.read_text())["facts"]["Gpus"]["value"]["devices"]
    lines = list(script.compared(gpus, shown))
    assert len(lines) == len(script.FIELDS) == 27
    assert [line for state, line in lines if state != "ok"] == ["GPU 0 power_w: 71.556 | 71.63 W"]
