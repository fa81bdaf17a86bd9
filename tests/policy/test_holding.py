"""A machine that is not what its policy asks for, and one that is."""

import json
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from envdoctor.diagnose import diagnose
from envdoctor.facts import Observed, Reason, Snapshot, Unknown
from envdoctor.facts.calibration import Calibration, CalibrationRun, LeftOut
from envdoctor.facts.machine import Gpus
from envdoctor.facts.torch import TorchDevice, TorchRuntime
from envdoctor.findings import Finding, Severity, Verdict
from envdoctor.outcomes import Outcome
from envdoctor.report import Report
from tests.calibration.synthetic import make_calibration, make_run
from tests.policy.files import policy
from tests.support.cases import CASES
from tests.support.diagnosis import MOMENT, loaded, recorded, report_on, services
from tests.support.doctor import envdoctor, validator
from tests.tui import machines

MACHINE = "two_gpus"
"""Torch 2.13.0+cu126, driver 560.35.03, two A100-SXM4-80GB at 2,000 and 1,200 images/s in fp16."""


def held(text: str, folder: Path, machine: str = MACHINE) -> Report:
    snapshot = (
        recorded(str(machines.file_of(machine)))
        if machine in machines.MACHINES
        else CASES[machine].snapshot
    )
    return diagnose(snapshot, loaded(), services(), created_at=MOMENT, policy=policy(text, folder))


def of_policy(report: Report) -> list[Finding]:
    return [one for one in report.findings if one.family == "policy"]


@pytest.mark.parametrize(
    ("text", "machine", "code", "fault", "words"),
    [
        ('[versions]\ntorch = "<2.8"', MACHINE, "ED800", "environment", "torch is 2.13.0+cu126"),
        ('[versions]\ncuda = ">=13"', MACHINE, "ED800", "environment", "the CUDA of torch is 12.6"),
        ('[versions]\ncudnn = ">=9.6"', MACHINE, "ED800", "environment", "cuDNN is 9.5.1"),
        ('[versions]\nnccl = ">=2.22"', MACHINE, "ED800", "environment", "NCCL is 2.21.5"),
        ('[versions]\npython = "==3.12.*"', MACHINE, "ED800", "environment", "Python is 3.11"),
        ('[versions]\nglibc = ">=2.39"', MACHINE, "ED800", "environment", "glibc is 2.35"),
        ('[versions]\ndriver = ">=570"', MACHINE, "ED801", "machine", "driver is 560.35.03"),
        ('[versions]\ndriver-cuda = ">=13"', MACHINE, "ED801", "machine", "driver is 12.6"),
        ('[versions]\ncuda = ">=12"', "healthy-cpu", "ED800", "environment", "is not there"),
        ('[packages]\nrequired = ["no-such"]', "healthy-gpu", "ED802", "environment", "not there"),
        ('[packages]\nrequired = ["torch<1"]', "healthy-gpu", "ED802", "environment", "requires"),
        ('[packages]\nforbidden = ["Torch"]', "healthy-gpu", "ED803", "environment", "forbids"),
        ("[gpus]\nmin-count = 8", MACHINE, "ED804", "machine", "that the driver shows is 2"),
        ('[gpus]\nmodels = ["H100"]', MACHINE, "ED804", "machine", "GPU 0 is NVIDIA A100"),
        ("[gpus]\nmin-memory-gib = 81", MACHINE, "ED804", "machine", "memory of GPU 0 is 80 GiB"),
        ('[gpus]\ncompute-capability = ">=9"', MACHINE, "ED804", "machine", "GPU 1 is 8.0"),
        ("[gpus]\nmin-count = 1", "healthy-cpu", "ED804", "machine", "that the driver shows is 0"),
        ("[machine]\nmin-memory-gib = 65", MACHINE, "ED805", "machine", "is 64 GiB"),
        ("[machine]\nmin-free-memory-gib = 60", MACHINE, "ED805", "machine", "is 48 GiB"),
        ("[machine]\nmin-shm-gib = 1", "container-with-small-shm", "ED805", "machine", "/dev/shm"),
        ("[speed]\nfp16 = 1500", MACHINE, "ED806", "machine", "cuda:1 in fp16 is 1200 images/s"),
        ("[speed]\ncpu = 20.4", MACHINE, "ED806", "machine", "the CPU is 20 images/s"),
        ("[speed]\ncpu = 21", MACHINE, "ED806", "machine", "training on the CPU is 20 images/s"),
    ],
)
def test_what_does_not_hold_is_a_finding(
    tmp_path: Path, text: str, machine: str, code: str, fault: str, words: str
) -> None:
    report = held(text, tmp_path, machine)
    found = of_policy(report)
    assert {one.code for one in found} == {code}
    assert any(words in one.message for one in found)
    for one in found:
        assert (one.severity, one.fault, one.because) == (Severity.ERROR, fault, None)
        assert one.data["line"] == len(text.splitlines())
    assert (report.verdict, report.exit_code) == (Verdict.BROKEN, 1)
    assert outcome_of(report).state == "fails"


def outcome_of(report: Report) -> Outcome:
    (outcome,) = (one for one in report.outcomes if one.action == "hold")
    return outcome


@pytest.mark.parametrize(
    "text",
    [
        '[versions]\ntorch = "==2.13.0"\ncuda = "==12.6"\ncudnn = "==9.5.*"\ndriver = ">=560.35"',
        '[gpus]\nmin-count = 2\nmodels = ["a100", "h100"]\nmin-memory-gib = 80',
        '[gpus]\ncompute-capability = ">=8"\n[machine]\nmin-memory-gib = 64',
        "[speed]\nfp16 = 1200\ntf32 = 500\ncpu = 20",
        'outcomes = ["gpu"]',
        "",
    ],
)
def test_what_holds_changes_no_verdict(tmp_path: Path, text: str) -> None:
    without, report = held("", tmp_path), held(text, tmp_path)
    assert of_policy(report) == []
    assert outcome_of(report).state == "works"
    assert (report.verdict, report.exit_code) == (without.verdict, without.exit_code)


def test_what_could_not_be_seen_is_no_violation(tmp_path: Path) -> None:
    """The disk was not looked at, which nobody switched off; a diagnosis measures nothing."""
    disk = held("[machine]\nmin-free-disk-gib = 1", tmp_path)
    assert of_policy(disk) == []
    assert (disk.verdict, disk.exit_code) == (Verdict.INCOMPLETE, 3)
    speed = held("[speed]\nbf16 = 1000", tmp_path, "healthy-gpu")
    assert of_policy(speed) == []
    assert (speed.verdict, speed.exit_code) == (Verdict.UNPROVEN, 0)


def beside_others(rate: float) -> Snapshot:
    """A machine whose CPU was measured beside programs that had it."""
    run = make_run(rate, device="cpu", precision="fp32", at_least=True, others_cpus=1.8)
    measured = Observed(value=make_calibration(run), source="synthetic")
    return CASES["healthy-cpu"].snapshot.with_facts({Calibration: measured})


@pytest.mark.parametrize(("rate", "works"), [(5.0, True), (0.6, False)])
def test_a_rate_that_others_disturbed_holds_or_is_not_known(
    tmp_path: Path, rate: float, works: bool
) -> None:
    report = asked("[speed]\ncpu = 5", beside_others(rate), tmp_path)
    assert of_policy(report) == []
    assert (outcome_of(report).state == "works") is works
    assert report.exit_code == (0 if works else 3)


def measured(*runs: CalibrationRun, left_out: tuple[LeftOut, ...] = ()) -> Snapshot:
    """A machine that works, and what was measured on it."""
    calibration = make_calibration(*runs, left_out=left_out)
    fact = Observed(value=calibration, source="synthetic")
    return CASES["healthy-gpu"].snapshot.with_facts({Calibration: fact})


def asked(text: str, snapshot: Snapshot, folder: Path) -> Report:
    return diagnose(snapshot, loaded(), services(), created_at=MOMENT, policy=policy(text, folder))


CPU = make_run(20.0, device="cpu", precision="fp32")
BUSY_CPU = make_run(20.0, device="cpu", precision="fp32", at_least=True)
FIRST, SECOND = make_run(1000.0), make_run(300.0, device="cuda:1")
FIRST_IN_FP32 = make_run(200.0, precision="fp32")
FAILED = LeftOut(device="cuda:1", what="all precisions", reason="out of memory", failed=True)


@pytest.mark.parametrize(
    ("snapshot", "wanted", "words"),
    [
        # The fastest precision counts, 1,000 over 20 images/s.
        (measured(CPU, FIRST_IN_FP32, FIRST), 50, None),
        (measured(CPU, FIRST_IN_FP32, FIRST), 50.1, "speedup of cuda:0 over the CPU is 50x"),
        # Each GPU has to have it.
        (measured(CPU, FIRST, SECOND), 20, "cuda:1 over the CPU is 15x"),
        # The CPU does no less than its bound: the speedup is that at most.
        (measured(BUSY_CPU, FIRST), 60, "cuda:0 over the CPU is at most 50x"),
        # And a GPU that does at least so much has at least that.
        (measured(CPU, make_run(1000.0, at_least=True)), 40, None),
    ],
)
def test_the_speedup_over_the_cpu_of_one_run(
    tmp_path: Path, snapshot: Snapshot, wanted: float, words: str | None
) -> None:
    report = asked(f"[speed]\nspeedup = {wanted}", snapshot, tmp_path)
    found = of_policy(report)
    assert [(one.code, one.fault) for one in found] == ([("ED806", "machine")] if words else [])
    assert all(f"{words}, and " in one.message for one in found)
    assert all(one.message.endswith(f"asks for at least {wanted:g}x") for one in found)
    assert outcome_of(report).state == ("fails" if words else "works")
    assert report.exit_code == (1 if words else 0)


@pytest.mark.parametrize(
    ("snapshot", "why"),
    [
        (measured(FIRST), "the CPU was not measured"),
        (measured(CPU), "no GPU was measured"),
        (measured(CPU, FIRST, left_out=(FAILED,)), "out of memory"),
        (measured(BUSY_CPU, FIRST), "no more than a bound"),
        (measured(CPU, make_run(100.0, at_least=True)), "no more than a bound"),
    ],
)
def test_a_speedup_that_could_not_be_measured_is_no_violation_and_does_not_pass(
    tmp_path: Path, snapshot: Snapshot, why: str
) -> None:
    report = asked("[speed]\nspeedup = 40", snapshot, tmp_path)
    assert of_policy(report) == []
    assert why in outcome_of(report).detail
    assert (report.verdict, report.exit_code) == (Verdict.INCOMPLETE, 3)


def test_a_check_measures_no_speedup(tmp_path: Path) -> None:
    speed = held("[speed]\nspeedup = 40", tmp_path, "healthy-gpu")
    assert (speed.verdict, speed.exit_code) == (Verdict.UNPROVEN, 0)


def test_one_gpu_of_two_that_has_no_rate_does_not_pass(tmp_path: Path) -> None:
    report = asked("[speed]\nbf16 = 900", measured(CPU, FIRST, left_out=(FAILED,)), tmp_path)
    assert of_policy(report) == []
    assert "images/s of cuda:1 in bf16: out of memory" in outcome_of(report).detail
    assert report.exit_code == 3


EVERYTHING = (
    '[versions]\ntorch = "==9"\ncuda = "==9"\ncudnn = "==9"\nnccl = "==9"\npython = "==9"\n'
    'driver = "==9"\ndriver-cuda = "==9"\n[gpus]\nmin-count = 9\n[packages]\nrequired = ["x"]\n'
)


def test_what_is_out_of_scope_is_not_judged(tmp_path: Path) -> None:
    (tmp_path / "envdoctor.toml").write_text(EVERYTHING)
    options = ("--static", "--python", sys.executable, "--policy", "envdoctor.toml", "--json")
    user = envdoctor("check", "--scope", "user", *options, cwd=tmp_path).json
    node_words = ("check", "--scope", "node", "--static", "--policy", "envdoctor.toml", "--json")
    node = envdoctor(*node_words, cwd=tmp_path).json
    of_user = {one["code"] for one in user["findings"] if one["family"] == "policy"}
    of_node = {one["code"] for one in node["findings"] if one["family"] == "policy"}
    assert of_user == {"ED800", "ED802"}
    assert of_node <= {"ED801", "ED804"}
    assert "ED804" in of_node


def test_nothing_is_said_of_a_machine_of_which_nothing_is_known(tmp_path: Path) -> None:
    report = held(EVERYTHING, tmp_path, "nothing-is-known")
    assert of_policy(report) == []
    assert report.verdict is Verdict.INCOMPLETE


def test_what_a_text_does_not_tell_of_an_amd_gpu_is_no_violation(tmp_path: Path) -> None:
    unlike = TorchDevice(index=0, name="AMD Instinct", compute_capability="", memory_bytes=0)
    gone = Unknown(reason=Reason.NOT_APPLICABLE, detail="no GPU of NVIDIA")
    runtime = CASES["healthy-gpu"].snapshot.value(TorchRuntime)
    assert runtime is not None
    seen = Observed(value=replace(runtime, devices=(unlike,)), source="a text")
    snapshot = CASES["healthy-gpu"].snapshot.with_facts({Gpus: gone, TorchRuntime: seen})
    report = asked('[gpus]\nmin-memory-gib = 1\ncompute-capability = ">=8"', snapshot, tmp_path)
    assert of_policy(report) == []
    assert "the memory of GPU 0, the compute capability of GPU 0" in outcome_of(report).detail


def test_no_torch_is_none_of_the_version_that_is_asked_for(tmp_path: Path) -> None:
    report = held('[versions]\ntorch = ">=2"', tmp_path, "torch-not-installed")
    assert report.findings[0].code == "ED400"
    assert "torch is not there" in of_policy(report)[0].message


def test_an_outcome_that_is_wanted_and_that_nobody_tried(tmp_path: Path) -> None:
    report = held('outcomes = ["distributed", "compile"]', tmp_path, "healthy-gpu")
    unseen = {one.action: one for one in report.outcomes if one.state == "unseen"}
    assert unseen.keys() == {"distributed", "compile"}
    assert all(one.wanted == "yes" for one in unseen.values())
    assert report.verdict is Verdict.UNPROVEN


def test_a_disease_comes_before_what_is_asked_for(tmp_path: Path) -> None:
    report = held("[gpus]\nmin-count = 99", tmp_path, "driver-not-loaded")
    plain = report_on(CASES["driver-not-loaded"].snapshot)
    assert report.findings[0].code == plain.findings[0].code
    assert of_policy(report)[0].because is None


def test_severities_are_the_policys(tmp_path: Path) -> None:
    text = '[severity]\ngpu-slower-than-expected = "error"\npolicy-gpu = "warning"\n'
    report = held(text + "[gpus]\nmin-count = 8", tmp_path)
    by_code = {one.code: one for one in report.findings}
    assert by_code["ED600"].severity is Severity.ERROR
    assert by_code["ED804"].severity is Severity.WARNING
    assert any("makes this error" in note for note in by_code["ED600"].notes)
    assert report.exit_code == 1


IGNORED = '[[ignore]]\nrule = "shm-too-small"\nreason = "no workers"\nexpires = {day}\n'


def test_what_is_ignored_says_who_ignores_it(tmp_path: Path) -> None:
    plain = report_on(CASES["container-with-small-shm"].snapshot)
    assert plain.verdict is Verdict.DEGRADED
    report = held(IGNORED.format(day="2026-11-23"), tmp_path, "container-with-small-shm")
    (finding,) = (one for one in report.findings if one.code == "ED503")
    assert finding.severity is Severity.INFO
    assert finding.notes[-1].endswith("until 2026-11-23: no workers")
    assert report.verdict is not Verdict.DEGRADED


def test_what_fails_is_not_healthy_though_all_of_it_is_ignored(tmp_path: Path) -> None:
    codes = {one.code for one in report_on(CASES["driver-not-loaded"].snapshot).findings}
    text = "".join(
        f'[[ignore]]\nrule = "{code}"\nreason = "known"\nexpires = 2099-01-01\n'
        for code in sorted(codes)
    )
    report = held(text, tmp_path, "driver-not-loaded")
    assert {one.severity for one in report.findings} == {Severity.INFO}
    assert (report.verdict, report.exit_code) == (Verdict.DEGRADED, 0)


def test_an_exception_that_has_expired_says_so(tmp_path: Path) -> None:
    report = held(IGNORED.format(day="2026-11-22"), tmp_path, "container-with-small-shm")
    by_code = {one.code: one for one in report.findings}
    assert by_code["ED503"].severity is Severity.WARNING
    assert "ED503" in by_code["ED807"].message
    assert "expired on 2026-11-22: no workers" in by_code["ED807"].message


def test_the_program_holds_a_machine_to_a_policy(tmp_path: Path) -> None:
    (tmp_path / "envdoctor.toml").write_text("\n[gpus]\nmin-count = 8\n")
    words = ("check", "--facts", machines.file_of(MACHINE), "--policy", "envdoctor.toml")
    run = envdoctor(*words, "-o", "json=out.json", "-o", "sarif=out.sarif", cwd=tmp_path)
    assert run.exit_code == 1
    assert run.stdout.startswith("verdict: broken - this is not what the policy asks for;")
    report = json.loads((tmp_path / "out.json").read_text())
    validator().validate(report)
    assert report["selection"]["policy"] == "envdoctor.toml"
    assert report["fault"] == "machine"
    assert '"uri": "envdoctor.toml"' in (tmp_path / "out.sarif").read_text()
