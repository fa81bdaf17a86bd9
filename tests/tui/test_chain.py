"""The chain from the GPU to PyTorch: where a disease sits, and how a link is by its outcomes."""

from typing import Any

import msgspec
import pytest

from envdoctor.api import Code, Finding, Layer, Reason, Severity
from envdoctor.findings import Verdict
from envdoctor.outcomes import Outcome
from envdoctor.report import Report, Stack, StackGpu
from envdoctor.symptoms.codes import CORE_CODES
from envdoctor.tui.chain import Link, LinkState, chain_of, link_of
from tests.support.cases import CASES
from tests.support.diagnosis import loaded, report_on
from tests.support.generated import machines_of
from tests.tui import machines

CODES = {code.name: code for code in (*CORE_CODES, *loaded().codes)}


def links(report: Report, *, final: bool = True) -> dict[str, Link]:
    return {link.name: link for link in chain_of(report, final=final)}


def states(report: Report, *, final: bool = True) -> dict[str, LinkState]:
    return {name: link.state for name, link in links(report, final=final).items()}


def of_gpus(report: Report) -> set[LinkState]:
    """How the GPUs are, whatever their number."""
    return {state for name, state in states(report).items() if name.startswith("GPU")}


# --- where a disease sits ---


@pytest.mark.parametrize(
    ("name", "subjects", "link"),
    [
        ("no-nvidia-gpu", (), "GPU"),
        ("gpu-hw-fault", ("gpu:0000:07:00.0",), "GPU"),
        ("driver-too-old", (), "driver"),
        ("nvml-driver-mismatch", (), "driver"),
        ("container-no-gpu-runtime", (), "driver"),
        ("device-permission", (), "driver"),
        ("cuda-init-failed", (), "CUDA"),
        ("missing-libcudart", ("libcudart.so.12",), "CUDA"),
        ("cudnn-missing", ("libcudnn.so.9",), "cuDNN"),
        ("missing-library", ("libcudnn_ops.so.9",), "cuDNN"),
        ("missing-library", ("libnccl.so.2",), "NCCL"),
        ("nccl-symbol-mismatch", (), "NCCL"),
        ("damaged-install", ("nvidia-cudnn-cu12",), "cuDNN"),
        ("damaged-install", ("torch",), "PyTorch"),
        ("missing-library", ("libc10.so",), "PyTorch"),
        ("cpu-only-torch", (), "PyTorch"),
        ("gpu-arch-too-new", ("gpu:0",), "PyTorch"),
        ("gpu-arch-too-old", ("gpu:0",), "PyTorch"),
        ("cuda-unavailable", ("gpu:0",), "PyTorch"),
        ("first-use-failed", ("gpu:0",), "PyTorch"),
        ("torchvision-mismatch", ("torchvision",), "PyTorch"),
        ("gcc-unsupported", (), None),
        ("shm-too-small", (), None),
        ("check-crashed", (), None),
    ],
)
def test_where_a_disease_sits(name: str, subjects: tuple[str, ...], link: str | None) -> None:
    assert link_of(CODES[name].finding(subjects=subjects)) == link


@pytest.mark.parametrize(
    "code",
    [code for code in CODES.values() if code.breaks in ("import:torch", "compute:gpu")],
    ids=lambda code: code.name,
)
def test_what_breaks_torch_sits_in_the_chain(code: Code) -> None:
    assert link_of(code.finding()) is not None


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.exit_code == 1])
def test_a_broken_machine_has_a_broken_link(name: str) -> None:
    assert LinkState.BROKEN in states(report_on(CASES[name].snapshot)).values()


# --- how a link is ---


def found(name: str, severity: Severity = Severity.ERROR, **more: Any) -> Finding:
    code = Code(id="ED999", name=name, family=name, severity=severity, message="made by hand")
    return msgspec.structs.replace(code.finding(), id=name, **more)


def changed(name: str, **fields: Any) -> Report:
    return msgspec.structs.replace(machines.read(name), **fields)


def test_the_chain_of_the_broken_driver() -> None:
    chain = links(machines.read("broken_driver"))
    assert list(chain) == ["GPU", "driver", "CUDA", "cuDNN", "NCCL", "PyTorch"]
    assert chain["driver"].state is LinkState.BROKEN
    assert chain["driver"].finding is not None
    assert chain["driver"].finding.code == "ED201"
    assert chain["CUDA"].state is LinkState.AFFECTED
    assert chain["PyTorch"].state is LinkState.AFFECTED
    assert chain["GPU"].state is LinkState.AFFECTED


def test_a_machine_that_computes_is_ok_from_end_to_end() -> None:
    assert set(states(changed("two_gpus", findings=(), assessment=None)).values()) == {LinkState.OK}
    cpu = states(machines.read("healthy_cpu"))
    assert cpu.pop("PyTorch") is LinkState.OK
    assert set(cpu.values()) == {LinkState.ABSENT}


def of_gpu(state: str, **more: Any) -> Outcome:
    return Outcome(action="compute", subject="gpu:0", state=state, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("outcomes", "state"),
    [
        ((of_gpu("works"),), LinkState.OK),
        ((of_gpu("fails"),), LinkState.AFFECTED),
        ((of_gpu("fails", basis="predicted"),), LinkState.AFFECTED),
        ((of_gpu("unseen", reason=Reason.TIMED_OUT),), LinkState.UNKNOWN),
        ((of_gpu("unseen", reason=Reason.SWITCHED_OFF),), LinkState.UNKNOWN),
        ((of_gpu("unseen", wanted="unknown"),), LinkState.UNKNOWN),
        ((of_gpu("works"), of_gpu("fails", wanted="optional")), LinkState.WARNING),
        ((of_gpu("unseen", wanted="elsewhere"),), LinkState.UNUSED),
        ((), LinkState.UNUSED),
    ],
)
def test_a_gpu_is_as_its_outcome(outcomes: tuple[Outcome, ...], state: LinkState) -> None:
    report = changed("two_gpus", findings=(), assessment=None, outcomes=outcomes)
    assert states(report)["GPU 0"] is state


def test_each_gpu_has_a_row_and_a_slow_one_is_no_ok() -> None:
    both = changed("two_gpus", findings=(), assessment=None)
    assert states(both)["GPU 0"] is states(both)["GPU 1"] is LinkState.OK
    capped = links(changed("two_gpus", assessment=None))
    assert (capped["GPU 0"].state, capped["GPU 0"].finding) == (LinkState.OK, None)
    assert capped["GPU 1"].state is LinkState.WARNING
    assert capped["GPU 1"].finding is not None
    slow = links(changed("two_gpus", findings=()))
    assert slow["GPU 0"].state is LinkState.OK
    assert slow["GPU 1"].state is LinkState.WARNING
    assert slow["GPU 1"].value.endswith("57 % of expected speed")


def test_many_gpus_that_are_the_same_share_a_row() -> None:
    stack = Stack(gpus=(StackGpu(name="H100"),) * 8)
    outcomes = tuple(
        Outcome(action="compute", subject=f"gpu:{n}", state="fails" if n == 5 else "works")
        for n in range(8)
    )
    eight = changed("healthy_cpu", stack=stack, outcomes=outcomes, facts={})
    assert states(eight)["GPU 5"] is LinkState.AFFECTED
    assert [name for name in states(eight) if name.startswith("GPU")] == [
        "GPU 0-4",
        "GPU 5",
        "GPU 6-7",
    ]


def test_torch_is_as_its_import_and_the_cpu_are() -> None:
    for action, subject in (("import", "torch"), ("compute", "cpu"), ("import", "torchvision")):
        for state, expected in (("fails", LinkState.AFFECTED), ("unseen", LinkState.UNKNOWN)):
            outcome = Outcome(action=action, subject=subject, state=state)  # type: ignore[arg-type]
            assert states(changed("healthy_cpu", outcomes=(outcome,)))["PyTorch"] is expected


@pytest.mark.parametrize("verdict", [Verdict.UNPROVEN, Verdict.INCOMPLETE])
def test_where_the_verdict_is_open_not_all_is_ok(verdict: Verdict) -> None:
    report = changed("two_gpus", findings=(), verdict=verdict)
    assert states(report)["PyTorch"] is LinkState.UNKNOWN


def test_what_misses_in_a_cpu_build_is_a_matter_of_torch() -> None:
    missing = found("missing-library", topic="libraries", layer=Layer.LIBRARIES)
    chain = chain_of(changed("healthy_cpu", findings=(missing,)))
    assert [link.name for link in chain if link.finding] == ["PyTorch"]


def test_a_root_cause_outranks_a_consequence_on_one_link() -> None:
    where = {"topic": "torch", "layer": Layer.IMPORT}
    findings = (found("b", because="a", **where), found("a", **where))
    assert states(changed("healthy_cpu", findings=findings))["PyTorch"] is LinkState.BROKEN


def test_a_cuda_build_without_a_known_cudnn_is_unknown() -> None:
    stack = Stack(torch_version="2.6.0+cu124", torch_cuda="12.4")
    seen = states(changed("healthy_cpu", stack=stack))
    assert (seen["cuDNN"], seen["driver"]) == (LinkState.UNKNOWN, LinkState.ABSENT)


def test_a_gpu_that_could_not_be_looked_for_is_not_called_absent() -> None:
    assert states(machines.read("driver_silent"))["GPU"] is LinkState.UNKNOWN
    nowhere = {"Gpus": msgspec.to_builtins(machines.LATE)}
    chain = links(changed("driver_silent", facts=nowhere))
    assert chain["GPU"].value == "not known: no answer within 20 s"
    assert chain["driver"].value.startswith("550")
    assert states(machines.read("healthy_cpu"))["GPU"] is LinkState.ABSENT


def test_what_nobody_looked_for_is_not_called_absent() -> None:
    chain = links(changed("healthy_cpu", facts={}, stack=Stack()))
    assert (chain["GPU"].state, chain["driver"].state) == (LinkState.UNKNOWN, LinkState.UNKNOWN)


def test_a_gpu_that_only_the_bus_shows_is_said() -> None:
    gpu = links(report_on(CASES["driver-not-loaded"].snapshot))["GPU"]
    assert (gpu.value, gpu.state) == ("NVIDIA device 20b2", LinkState.AFFECTED)


def test_meanwhile_what_is_known_is_shown_and_the_rest_waits() -> None:
    chain = links(machines.read("driver_silent"), final=False)
    assert chain["GPU"].state is LinkState.WAITING
    assert chain["driver"].state is LinkState.OK
    cpu = links(machines.read("healthy_cpu"), final=False)["GPU"]
    assert (cpu.value, cpu.state) == ("", LinkState.WAITING)


def test_on_machines_that_nobody_has_seen_the_chain_says_what_the_outcomes_say() -> None:
    good = {LinkState.OK, LinkState.ABSENT, LinkState.UNUSED}
    for story, snapshot in machines_of(range(300)):
        report = report_on(snapshot)
        seen = states(report)
        wanted = [one for one in report.outcomes if one.wanted in ("yes", "unknown")]
        on_gpu = [one for one in wanted if one.subject.startswith("gpu")]
        if any(one.state != "works" for one in on_gpu):
            assert not of_gpus(report) <= good, story
        if any(one.state != "works" for one in wanted):
            assert not set(seen.values()) <= good, story
        if report.verdict in (Verdict.UNPROVEN, Verdict.INCOMPLETE):
            assert not set(seen.values()) <= good, story
        if report.verdict is Verdict.BROKEN:
            assert {LinkState.BROKEN, LinkState.AFFECTED} & set(seen.values()), story
        if report.verdict is Verdict.HEALTHY:
            assert set(seen.values()) <= good | {LinkState.UNKNOWN}, story
