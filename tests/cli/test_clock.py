"""`--timeout` bounds the whole run: choosing the target, reading files, joining what reads them."""

import fcntl
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from envdoctor.api import (
    Calibration,
    Distributions,
    Fact,
    InstalledFiles,
    Observed,
    Reason,
    Snapshot,
    Target,
    TorchBuild,
    TorchImport,
    Unknown,
)
from envdoctor.conclusion import verdict_of
from envdoctor.diagnose import diagnose_calibration
from envdoctor.facts.calibration import TIME_RAN_OUT
from envdoctor.facts.libraries import LibraryResolution
from envdoctor.findings import Verdict
from envdoctor.outcomes import outcomes_of
from envdoctor.probes.staging import NO_ANSWER
from envdoctor.session import Session
from tests.support.diagnosis import loaded, report_on, services
from tests.support.doctor import Run, envdoctor, slack_s
from tests.support.machines import machine
from tests.support.patients import Patient, empty_patient, fake_torch
from tests.support.plugins import plugin_with_a_check
from tests.tui.machines import calibration

TIMEOUT_S = 2.0
OVERRUN_S = 1.0


def bounded(*arguments: str | Path, command: str = "check", **options: object) -> Run:
    slack = slack_s()
    began = time.monotonic()
    words = (command, "--json", "--timeout", str(TIMEOUT_S), *arguments)
    run = envdoctor(*filter(None, words), **options)
    took = time.monotonic() - began
    assert took < TIMEOUT_S + OVERRUN_S + slack, f"{took:.1f} s, with {slack:.1f} s of slack"
    assert run.no_traceback
    # A facts file and a list of libraries or builds have none.
    assert run.exit_code == run.json.get("exit_code", run.exit_code)
    return run


@pytest.fixture
def patient(tmp_path: Path) -> Patient:
    patient = empty_patient(tmp_path / "venv")
    fake_torch(patient, "")
    return patient


def hanging_python(folder: Path) -> Path:
    (folder / "bin").mkdir(parents=True)
    python = folder / "bin" / "python"
    python.write_text("#!/bin/sh\nsleep 600\n")
    python.chmod(0o755)
    return folder


def test_every_candidate_hangs(tmp_path: Path) -> None:
    folders = [hanging_python(tmp_path / name) for name in ("venv", "conda", "path")]
    (folders[2] / "bin" / "python3").symlink_to("python")
    env = {
        "VIRTUAL_ENV": str(folders[0]),
        "CONDA_PREFIX": str(folders[1]),
        "PATH": f"{folders[2]}/bin:{os.environ['PATH']}",
    }
    bounded(env=env, cwd=tmp_path)


@pytest.mark.parametrize("command", ["check", ""])
def test_several_targets_share_the_time(tmp_path: Path, command: str) -> None:
    names = [hanging_python(tmp_path / str(number)) for number in range(3)]
    bounded(*(word for name in names for word in ("--python", name)), command=command)


@pytest.mark.parametrize("command", ["check", "collect", ""])
def test_an_import_that_hangs(patient: Patient, command: str) -> None:
    (patient.site_packages / "torch" / "__init__.py").write_text("import time; time.sleep(600)")
    bounded("--python", patient.root, command=command)


def test_checks_that_hang_are_left_out_and_the_verdict_says_so(
    patient: Patient, tmp_path: Path
) -> None:
    """A second less than what each check has for itself."""
    env = plugin_with_a_check(tmp_path / "site", "import time; time.sleep(600)")
    run = bounded("--static", "--python", patient.root, env=env, cwd=tmp_path / "site")
    assert run.exit_code == 3
    if run.json["type"] == "error":
        # Where not even the report was ready in time, that is said instead.
        assert "time ran out" in run.json["message"]
        return
    assert run.json["verdict"] == "incomplete"
    late = [one for one in run.json["checks"] if one["unknown"] == "timed-out"]
    assert "time ran out" in late[-1]["reason"]


@pytest.mark.parametrize("command", ["collect", "libs", "prescribe", "calibrate"])
def test_what_time_did_not_suffice_for_is_no_success(tmp_path: Path, command: str) -> None:
    run = bounded("--python", hanging_python(tmp_path / "venv"), command=command)
    assert run.exit_code == 3
    said = run.stderr + str(run.json.get("problem"))
    assert "time ran out" in said or "no answer within the time limit" in said
    if command == "collect":
        assert any(one.get("reason") == "timed-out" for one in run.json["facts"].values())
        return
    assert run.json["type"] in ("error", "calibration-report")


@pytest.mark.parametrize(("detail", "late"), [(f"{NO_ANSWER}, before it began", True), ("", False)])
def test_a_target_that_was_waited_for_to_the_end_was_not_looked_at(detail: str, late: bool) -> None:
    target = Target(path="/p", chosen_because="named", problem="failed", detail=detail)
    snapshot = Snapshot({Target: Observed(value=target, source="synthetic")})
    assert Session(time.monotonic()).ran_out(snapshot) is late
    assert not Session(time.monotonic() + 60).ran_out(snapshot)


def test_an_import_that_was_seen_to_hang_is_an_answer(patient: Patient) -> None:
    (patient.site_packages / "torch" / "__init__.py").write_text("import time; time.sleep(600)")
    assert bounded("--python", patient.root, command="libs").exit_code == 1
    run = bounded("--python", patient.root, command="collect")
    facts = run.json["facts"]
    assert facts["TorchImport"]["value"]["outcome"] == "hang"
    # What else is looked at may come too late on a machine that is busy.
    late = any(one.get("reason") == "timed-out" for one in facts.values())
    assert run.exit_code == (3 if late else 0)


CUT = Unknown(reason=Reason.TIMED_OUT, detail="time ran out (`--timeout`)")


def test_a_measurement_that_was_cut_is_not_healthy() -> None:
    assert report_on(machine()).verdict is Verdict.HEALTHY
    report = report_on(machine((Calibration, CUT)))
    assert (report.verdict, report.exit_code) == (Verdict.INCOMPLETE, 3)


@pytest.mark.parametrize("reason", [TIME_RAN_OUT, "the worker was ended by SIGSEGV"])
def test_a_measurement_that_was_cut_in_the_middle_is_not_healthy(reason: str) -> None:
    part = msgspec.structs.replace(calibration(), complete=False, incomplete_because=reason)
    snapshot = machine(part)
    assert report_on(snapshot).exit_code == 3
    assert diagnose_calibration(snapshot, loaded(), services()).exit_code == 3


WRITES_FOR_EVER = """
import sys, time
from envdoctor.render import emitters
emitters.EMITTERS = dict.fromkeys(emitters.EMITTERS, lambda *_: time.sleep(600))
from envdoctor.cli import main
main()
"""


@pytest.mark.parametrize("form", ["--json", "--plain"])
def test_a_report_that_is_never_ready_is_an_error(patient: Patient, form: str) -> None:
    slack, began = slack_s(), time.monotonic()
    words = ["check", form, "--static", "--timeout", str(TIMEOUT_S), "--python", str(patient.root)]
    done = subprocess.run(
        [sys.executable, "-c", WRITES_FOR_EVER, *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert time.monotonic() - began < TIMEOUT_S + OVERRUN_S + slack
    assert done.returncode == 3
    assert done.stderr.startswith("envdoctor: time ran out")
    assert "--timeout" in done.stderr
    if form == "--plain":
        assert done.stdout == ""
        return
    document = json.loads(done.stdout)
    assert (document["type"], document["exit_code"]) == ("error", 3)


def test_who_reads_slowly_is_waited_for(patient: Patient) -> None:
    """The time is for looking, not for the reader."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "envdoctor", "check", "--json", "--static"),
            *("--timeout", "1", "--python", str(patient.root)),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    # The pipe is too small for the report, so that the doctor waits in the middle of it.
    fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, 4096)
    time.sleep(3)
    report = json.loads(process.stdout.read())
    assert process.wait() == report["exit_code"]


@pytest.mark.parametrize(
    "file",
    [
        "torch/version.py",
        "torch-2.13.0+cpu.dist-info/METADATA",
        "torch-2.13.0+cpu.dist-info/RECORD",
        "torch-2.13.0+cpu.dist-info/INSTALLER",
        "torch-2.13.0+cpu.dist-info/direct_url.json",
    ],
)
def test_a_pipe_in_place_of_a_file_is_not_waited_for(patient: Patient, file: str) -> None:
    """Nor does it make a verdict late or healthy."""
    path = patient.site_packages / file
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    run = envdoctor("check", "--json", "--static", "--timeout", "60", "--python", patient.root)
    reasons = {fact.get("reason") for fact in run.json["facts"].values()}
    assert "timed-out" not in reasons
    assert run.json["verdict"] != "healthy"


def test_an_init_of_500_mb_is_read_in_part(patient: Patient) -> None:
    os.truncate(patient.site_packages / "torch" / "__init__.py", 500 << 20)
    bounded("--static", "--python", patient.root)


@pytest.mark.parametrize("kind", [Distributions, TorchBuild, LibraryResolution, InstalledFiles])
@pytest.mark.parametrize("reason", [one for one in Reason if one.is_failure])
def test_a_gate_does_not_pass_because_looking_failed(kind: type[Fact], reason: Reason) -> None:
    """An import that the user left out is unseen on purpose only if what foretells it was seen."""
    off = Unknown(reason=Reason.SWITCHED_OFF, detail="left out by --static")
    facts = {TorchImport: off, kind: Unknown(reason=reason, detail="no answer in time")}
    found = {one.id: one for one in outcomes_of(Snapshot(facts))}["import:torch"]
    assert (found.state, found.reason) == ("unseen", reason)
    assert verdict_of((), (found,), narrowed=False) is Verdict.INCOMPLETE


def damaged_distributions(patient: Patient, count: int, files: int = 100) -> None:
    for number in range(count):
        info = patient.site_packages / f"p{number}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Name: p{number}\nVersion: 1.0\n")
        (info / "RECORD").write_text("".join(f"p{number}/{n}.py,,1\n" for n in range(files)))


def test_of_many_damaged_distributions_some_are_named_and_all_counted(patient: Patient) -> None:
    damaged_distributions(patient, 300, files=1)
    run = envdoctor("check", "--json", "--static", "--python", patient.root)
    installed = run.json["facts"]["InstalledFiles"]["value"]
    assert (len(installed["damaged"]), installed["more_damaged"]) == (200, 100)
    (finding,) = (one for one in run.json["findings"] if one["name"] == "damaged-install")
    assert len(finding["subjects"]) == 100
    assert "and of 292 more" in finding["notes"]


@pytest.mark.heavy
@pytest.mark.parametrize("mode", [("--static",), ()])
@pytest.mark.parametrize("count", [9_000, 20_000])
def test_very_many_damaged_distributions(
    patient: Patient, count: int, mode: tuple[str, ...]
) -> None:
    damaged_distributions(patient, count)
    run = bounded(*mode, "--python", patient.root)
    assert run.json["verdict"] == "incomplete"
    assert run.exit_code == 3
    used_kb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    assert used_kb < 300_000
