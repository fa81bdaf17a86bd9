"""What a machine that works is recorded as."""

import sys
from pathlib import Path

import pytest

from envdoctor.diagnose import diagnose
from envdoctor.formats import Look
from envdoctor.policy.lock import lock_of
from envdoctor.policy.records import Policy
from envdoctor.render.toml import render
from envdoctor.report import Report
from tests.policy.files import policy
from tests.support.cases import CASES
from tests.support.diagnosis import MOMENT, loaded, report_on, services
from tests.support.doctor import envdoctor
from tests.tui import machines


def lock(report: Report, name: str) -> Policy:
    return lock_of(CASES[name].snapshot, report.stack.versions, report.outcomes)


LOCKABLE = [name for name in sorted(CASES) if name.startswith(("healthy", "container", "two"))]


@pytest.mark.parametrize("name", LOCKABLE)
def test_a_machine_keeps_its_own_lock(tmp_path: Path, name: str) -> None:
    plain = report_on(CASES[name].snapshot)
    locked = lock(plain, name)
    again = policy(render(locked, Look()), tmp_path)
    assert again.policy == locked
    report = diagnose(CASES[name].snapshot, loaded(), services(), created_at=MOMENT, policy=again)
    assert not [one for one in report.findings if one.family == "policy"]
    assert report.verdict is plain.verdict


def test_the_lock_of_a_machine_with_gpus(tmp_path: Path) -> None:
    facts = machines.file_of("two_gpus")
    run = envdoctor("lock", "--facts", facts, "-o", tmp_path / "envdoctor.lock")
    assert run.exit_code == 0, run.stderr
    text = (tmp_path / "envdoctor.lock").read_text()
    for line in (
        'outcomes = ["gpu"]',
        'torch = "==2.13.0+cu126"',
        'cudnn = "==9.5.1.*"',
        'driver = ">=560.35.03"',
        'compute-capability = ">=8.0"',
        "fp16 = 1080",
    ):
        assert line in text.splitlines()
    # It says as much of the CPU as of the GPU, and another machine may have a better one.
    assert "speedup" not in text
    held = envdoctor("check", "--facts", facts, "--policy", tmp_path / "envdoctor.lock")
    assert held.exit_code == 0
    assert "the policy" in held.stdout


def test_what_was_locked_from_files_alone_holds_where_torch_is_run(tmp_path: Path) -> None:
    file = tmp_path / "envdoctor.lock"
    target = ("--python", sys.executable)
    assert envdoctor("lock", "--static", *target, "-o", file).exit_code == 0
    run = envdoctor("check", *target, "--policy", file, "--json")
    assert not [one for one in run.json["findings"] if one["family"] == "policy"]


def test_a_broken_machine_is_not_locked(tmp_path: Path) -> None:
    facts = machines.file_of("broken_driver")
    run = envdoctor("lock", "--facts", facts, "-o", tmp_path / "envdoctor.lock")
    assert run.exit_code == 1
    (line,) = run.stderr.splitlines()
    assert line.startswith("envdoctor: this machine is broken (ED")
    assert not (tmp_path / "envdoctor.lock").exists()
