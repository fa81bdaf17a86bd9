"""The doctor in a program, in a notebook and in a session of pytest."""

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import nbclient
import nbformat
import pytest

import envdoctor
from envdoctor.errors import BadInput
from envdoctor.findings import Verdict
from tests.conftest import require
from tests.support.doctor import envdoctor as command_line
from tests.support.patients import Patient, empty_patient, fake_torch, has_torch

DOCUMENT = Path(__file__).parents[1] / "documents" / "v1" / "report-calibrated.json"


@pytest.fixture
def patient(tmp_path: Path) -> Patient:
    patient = empty_patient(tmp_path / "patient")
    fake_torch(patient, "raise ImportError('libnowhere.so.1: cannot open shared object file')")
    return patient


def test_a_recorded_file_gets_the_report_of_the_command_line(
    capfd: pytest.CaptureFixture[str],
) -> None:
    report = envdoctor.read(str(DOCUMENT))
    assert capfd.readouterr() == ("", "")
    told = command_line("check", "--facts", DOCUMENT, "--json").json
    mine = json.loads(msgspec.json.encode(report))
    for name in ("verdict", "exit_code", "outcomes"):
        assert mine[name] == told[name]
    assert [one["id"] for one in mine["findings"]] == [one["id"] for one in told["findings"]]


def test_a_live_diagnosis_prints_nothing(
    patient: Patient, capfd: pytest.CaptureFixture[str]
) -> None:
    report = envdoctor.check(str(patient.root))
    assert report.verdict is Verdict.BROKEN
    assert report.target is not None
    assert report.target.path.startswith(str(patient.root))
    assert capfd.readouterr() == ("", "")


def test_a_policy_is_held_to(tmp_path: Path) -> None:
    policy = tmp_path / "envdoctor.toml"
    policy.write_text('[versions]\ntorch = "<2"\n')
    report = envdoctor.check(facts=str(DOCUMENT), policy=str(policy))
    assert [one.code for one in report.findings] == ["ED800"]


def test_two_recorded_files_get_the_comparison_of_the_command_line(
    capfd: pytest.CaptureFixture[str],
) -> None:
    files = [str(DOCUMENT.with_name(f"facts{name}.json")) for name in ("", "-library-removed")]
    comparison = envdoctor.diff(*files)
    assert capfd.readouterr() == ("", "")
    told = command_line("diff", *files, "--json").json
    assert comparison.exit_code == told["exit_code"] == 1
    assert [one.sentence for one in comparison.differences] == [
        one["sentence"] for one in told["differences"]
    ]
    assert "damaged" in comparison.differences[0].sentence


def test_one_side_alone_is_compared_with_an_interpreter_of_here(patient: Patient) -> None:
    comparison = envdoctor.diff(str(DOCUMENT), python=str(patient.root), static=True)
    assert (comparison.first.name, comparison.second.name) == ("here", "there")
    assert comparison.first.label.startswith(str(patient.root))
    with pytest.raises(BadInput, match="give one"):
        envdoctor.diff(str(DOCUMENT), str(DOCUMENT), python=str(patient.root))


@pytest.mark.parametrize("given", [{"python": "/nowhere"}, {"facts": "/nowhere"}, {"only": ["X"]}])
def test_what_cannot_be_used_is_bad_input(given: dict[str, object]) -> None:
    with pytest.raises(BadInput):
        envdoctor.check(**given)  # type: ignore[arg-type]


@pytest.mark.parametrize("given", [{"static": True}, {"scope": "node"}, {"facts": "f"}])
def test_what_runs_nothing_tries_nothing(given: dict[str, object]) -> None:
    with pytest.raises(BadInput, match="give one"):
        envdoctor.check(tried=("compile",), **given)  # type: ignore[arg-type]


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute `chek`"):
        envdoctor.chek  # noqa: B018


def test_a_notebook_shows_the_text(tmp_path: Path) -> None:
    cells = [
        nbformat.v4.new_code_cell("import envdoctor"),
        nbformat.v4.new_code_cell(f"envdoctor.read({str(DOCUMENT)!r})"),
        nbformat.v4.new_code_cell(f"envdoctor.diff({str(DOCUMENT)!r}, {str(DOCUMENT)!r})"),
    ]
    notebook = nbformat.v4.new_notebook(cells=cells)
    nbclient.NotebookClient(
        notebook, timeout=120, resources={"metadata": {"path": tmp_path}}
    ).execute()
    (output,) = notebook.cells[1].outputs
    assert output["data"]["text/html"].startswith('<pre style="white-space: pre-wrap">')
    assert "verdict: " in output["data"]["text/html"]
    assert notebook.cells[0].outputs == []
    (output,) = notebook.cells[2].outputs
    assert "in A incomplete, in B incomplete" in output["data"]["text/html"]


def run_pytest(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_mine.py").write_text("def test_mine():\n    import torch\n")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *words, "test_mine.py"],
        cwd=folder,
        env={**os.environ, "PYTEST_ADDOPTS": "", **variables},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def test_a_broken_environment_ends_the_session_once_with_its_cause(tmp_path: Path) -> None:
    torch = tmp_path / "elsewhere" / "torch"
    torch.mkdir(parents=True)
    (torch / "__init__.py").write_text("raise ImportError('no such luck')")
    done = run_pytest(tmp_path, "--envdoctor", PYTHONPATH=str(torch.parent))
    assert done.returncode == 1
    assert "no such luck" in done.stdout + done.stderr
    assert "verdict: broken" in done.stdout + done.stderr
    assert "1 failed" not in done.stdout


def test_the_header_tells_verdict_and_versions(tmp_path: Path) -> None:
    require(has_torch(), "a torch in the environment of the tests")
    done = run_pytest(tmp_path, "--envdoctor")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "envdoctor: " in done.stdout
    assert "(torch 2." in done.stdout


def test_without_the_option_nothing_is_looked_at(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, "--collect-only", "-q")
    assert done.returncode == 0
    assert "envdoctor" not in done.stdout
