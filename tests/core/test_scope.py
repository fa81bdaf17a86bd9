"""The machine alone or the target alone: each is judged without the other."""

import json
import os
import sys
from pathlib import Path

import pytest

from envdoctor.api import Interpreter, Nvml, Reason, Snapshot, Target, TorchImport, Unknown
from envdoctor.findings import Verdict
from envdoctor.options import Options, Scope
from envdoctor.report import Report
from envdoctor.session import Session
from tests.support.cases import CASES
from tests.support.doctor import envdoctor
from tests.support.generated import machines_of
from tests.support.given_states import of_mounted_driver
from tests.support.gpu_states import DISEASES, LOOKALIKES, NO_DEVICE
from tests.support.invariants import violations
from tests.support.machines import machine
from tests.support.place_states import PLACE_DISEASES, PLACE_LOOKALIKES, TWO, in_mig_mode

SESSION = Session()
EVERY: dict[str, Snapshot] = {
    **{name: case.snapshot for name, case in {**CASES, **DISEASES}.items()},
    **LOOKALIKES,
}

OF_THE_NODE = {
    "driver-not-loaded": "driver-not-loaded",
    "nvml-driver-mismatch": "nvml-driver-mismatch",
    "error-803": "driver-lib-mismatch",
    "error-804": "forward-compat",
    "error-802": "fabric-manager",
    "error-999-after-suspend": "cuda-unknown-uvm",
    "no-permission": "device-permission",
    "gpu-lost": "gpu-hw-fault",
    "driver-without-libcuda": "driver-without-libcuda",
    "container-without-uvm": "container-device-nodes",
    "one-of-two-silent": "gpu-hw-fault",
    "driver-lists-no-gpu": "gpus-not-listed",
    "mig-on-without-instances": "mig-no-instances",
    "driver-that-hangs": "driver-hangs",
    "gpu-expected": "no-nvidia-gpu",
}
"""What a node is broken by, although nobody looked at a torch."""

OF_THE_TARGET = {
    "torch-not-installed": "torch-not-installed",
    "import-raises": "torch-import-failed",
    "import-crashes": "torch-import-crashed",
    "import-hangs": "torch-import-hangs",
    "library-missing-from-the-wheel": "damaged-install",
    "queue-py-in-the-folder": "module-shadowing",
    "target-is-a-shell-script": "target-unusable",
    "target-is-python-3.6": "python-too-old",
    "numpy-2-beside-torch-2.1": "numpy-abi-mismatch",
}


def judged(snapshot: Snapshot, scope: Scope) -> Report:
    return SESSION.diagnose(snapshot, Options(scope=scope))


@pytest.mark.parametrize("name", OF_THE_NODE)
def test_what_breaks_a_node(name: str) -> None:
    report = judged(EVERY[name], "node")
    assert (report.findings[0].name, report.exit_code) == (OF_THE_NODE[name], 1)
    assert report.findings[0].fixes
    assert {one.action for one in report.outcomes} == {"start"}


def test_cuda_does_not_start_and_nothing_below_says_why() -> None:
    (one,) = judged(machine(NO_DEVICE), "node").findings
    assert (one.code, one.name) == ("ED290", "cuda-does-not-start")
    assert one.breaks == ("start:gpu:0",)


def test_a_node_with_an_amd_gpu_is_open_and_not_broken() -> None:
    """Nothing here starts ROCm, so that it is neither proved nor refuted."""
    expected = PLACE_DISEASES["cpu-torch-where-a-radeon-is-expected"][0].snapshot
    report = judged(expected, "node")
    assert (report.verdict, report.findings) == (Verdict.INCOMPLETE, ())
    assert judged(PLACE_LOOKALIKES["radeon-that-computes"], "node").verdict is Verdict.HEALTHY


@pytest.mark.parametrize("root", ["/run/nvidia/driver/usr/lib64", "/home/kubernetes/bin/nvidia"])
def test_a_node_whose_driver_is_for_containers_is_open_and_not_broken(root: str) -> None:
    report = judged(of_mounted_driver(f"{root}/libcuda.so.1"), "node")
    assert (report.verdict, report.findings) == (Verdict.INCOMPLETE, ())
    elsewhere = judged(of_mounted_driver("/opt/driver/libcuda.so.1"), "node")
    assert elsewhere.findings[0].name == "driver-without-libcuda"


def test_a_node_in_mig_mode_shows_one_instance() -> None:
    both = in_mig_mode(True, True)
    whole = judged(machine(TWO, both, CudaInit={"device_count": 1}), "node")
    assert (whole.verdict, whole.findings) == (Verdict.HEALTHY, ())
    without = judged(machine(TWO, both, NO_DEVICE), "node")
    assert without.findings[0].name == "mig-no-instances"


@pytest.mark.parametrize("name", OF_THE_TARGET)
def test_a_broken_target_never_fails_a_node(name: str) -> None:
    report = judged(EVERY[name], "node")
    assert (report.verdict, report.findings) == (Verdict.HEALTHY, ())
    of_the_user = judged(EVERY[name], "user")
    assert (of_the_user.findings[0].name, of_the_user.exit_code) == (OF_THE_TARGET[name], 1)


@pytest.mark.parametrize("name", OF_THE_NODE)
def test_a_broken_node_is_no_fault_of_the_target(name: str) -> None:
    assert judged(EVERY[name], "user").exit_code in (0, 3)


@pytest.mark.parametrize("name", LOOKALIKES)
def test_a_machine_that_works_is_healthy_in_part_as_well(name: str) -> None:
    for scope in ("node", "user"):
        report = judged(LOOKALIKES[name], scope)
        assert report.verdict is Verdict.HEALTHY, [one.message for one in report.findings]


@pytest.mark.parametrize("scope", ["node", "user"])
def test_the_invariants_hold_in_part_as_well(scope: Scope) -> None:
    machines = [*EVERY.items(), *machines_of(range(9000, 9050))]
    wrong = {
        story: found
        for story, snapshot in machines
        if (found := violations(judged(snapshot, scope)))
    }
    assert not wrong


@pytest.mark.parametrize("name", EVERY)
def test_a_node_does_not_depend_on_what_was_recorded_of_a_target(name: str) -> None:
    nobody = Unknown(reason=Reason.NOT_OBSERVED, detail="nobody looked")
    without = EVERY[name].with_facts(dict.fromkeys((Target, Interpreter, TorchImport), nobody))
    one, other = judged(EVERY[name], "node"), judged(without, "node")
    assert (one.findings, one.outcomes) == (other.findings, other.outcomes)
    assert one.target is None


def test_a_driver_that_is_silent_leaves_a_node_open() -> None:
    silent = Unknown(reason=Reason.TIMED_OUT, detail="no answer")
    report = judged(EVERY["nothing-is-known"].with_facts({Nvml: silent}), "node")
    assert (report.verdict, report.exit_code) == (Verdict.INCOMPLETE, 3)


# --- live ---


def test_a_node_needs_no_python_and_looks_for_none(tmp_path: Path) -> None:
    """Neither the one that a variable names nor any on PATH is there."""
    env = {**os.environ, "PATH": str(tmp_path), "ENVDOCTOR_PYTHON": "/nowhere/python"}
    done = envdoctor("check", "--scope", "node", "--json", env=env)
    report = json.loads(done.stdout)
    assert done.exit_code == 0
    assert report["selection"]["scope"] == "node"
    assert report["target"] is None
    assert report["facts"]["TorchImport"]["reason"] == "switched-off"
    assert report["facts"]["CudaInit"]["type"] == "Observed"


def test_the_text_says_what_was_left_out() -> None:
    text = " ".join(envdoctor("check", "--scope", "node").stdout.split())
    assert "no problem was found in this machine" in text
    assert "not looked at: the target and its torch (--scope node)" in text


def test_a_user_is_judged_without_the_driver() -> None:
    argv = ("collect", "--scope", "user", "--static", "--python", sys.executable)
    facts = json.loads(envdoctor(*argv).stdout)["facts"]
    left_out = {name for name, fact in facts.items() if "--scope user" in fact.get("detail", "")}
    assert left_out == {"CudaInit", "Driver", "Gpus", "Nvml", "PciGpus"}
    assert facts["Distributions"]["type"] == "Observed"


@pytest.mark.parametrize(
    "words", [("--scope", "node", "--python", "x"), ("--scope", "user", "--expect", "gpu")]
)
def test_a_scope_that_contradicts_the_rest_is_refused(words: tuple[str, ...]) -> None:
    done = envdoctor("check", *words)
    assert done.exit_code == 2
    assert "give one" in done.stderr
