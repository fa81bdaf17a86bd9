"""`--timeout` bounds the whole run: choosing the target, reading files, joining what reads them."""

import os
import time
from pathlib import Path

import pytest

from envdoctor.api import (
    Distributions,
    Fact,
    InstalledFiles,
    Reason,
    Snapshot,
    TorchBuild,
    TorchImport,
    Unknown,
)
from envdoctor.conclusion import verdict_of
from envdoctor.facts.libraries import LibraryResolution
from envdoctor.findings import Verdict
from envdoctor.outcomes import outcomes_of
from tests.support.doctor import Run, envdoctor
from tests.support.patients import Patient, empty_patient, fake_torch

TIMEOUT_S = 2.0
OVERRUN_S = 1.0
LOAD_S = 2.0
"""For a machine that runs other tests as well."""


def bounded(*arguments: str | Path, **options: object) -> Run:
    began = time.monotonic()
    run = envdoctor("check", "--json", "--timeout", str(TIMEOUT_S), *arguments, **options)
    took = time.monotonic() - began
    assert took < TIMEOUT_S + OVERRUN_S + LOAD_S, f"{took:.1f} s"
    assert run.no_traceback
    assert run.exit_code == run.json["exit_code"]
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


def test_several_targets_share_the_time(tmp_path: Path) -> None:
    names = [hanging_python(tmp_path / str(number)) for number in range(3)]
    bounded(*(word for name in names for word in ("--python", name)))


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
    run = bounded("--static", "--python", patient.root)
    reasons = {fact.get("reason") for fact in run.json["facts"].values()}
    assert "timed-out" not in reasons
    assert run.json["verdict"] != "healthy"


def test_an_init_of_500_mb_is_read_in_part(patient: Patient) -> None:
    os.truncate(patient.site_packages / "torch" / "__init__.py", 500 << 20)
    bounded("--static", "--python", patient.root)


@pytest.mark.parametrize("kind", [Distributions, TorchBuild, LibraryResolution, InstalledFiles])
@pytest.mark.parametrize("reason", [Reason.TIMED_OUT, Reason.CRASHED])
def test_a_gate_does_not_pass_because_looking_failed(kind: type[Fact], reason: Reason) -> None:
    """An import that the user left out is unseen on purpose only if what foretells it was seen."""
    off = Unknown(reason=Reason.SWITCHED_OFF, detail="left out by --static")
    facts = {TorchImport: off, kind: Unknown(reason=reason, detail="no answer in time")}
    found = {one.id: one for one in outcomes_of(Snapshot(facts))}["import:torch"]
    assert (found.state, found.reason) == ("unseen", reason)
    assert verdict_of((), (found,), narrowed=False) is Verdict.INCOMPLETE


@pytest.mark.heavy
def test_20000_distributions(patient: Patient) -> None:
    for number in range(20_000):
        info = patient.site_packages / f"p{number}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Name: p{number}\nVersion: 1.0\n")
        (info / "RECORD").write_text("".join(f"p{number}/{n}.py,,1\n" for n in range(100)))
    run = bounded("--static", "--python", patient.root)
    assert run.json["verdict"] == "incomplete"
    assert run.exit_code == 3
