"""What is tried in a child before it is advised, and the fixes that say that it was."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from envdoctor.facts.python import Interpreter
from envdoctor.facts.torch import ImportTrials, TorchImport
from envdoctor.probes.run import ChildResult
from envdoctor.probes.trials import Try, run_trials, trials
from tests.repair.facts import interpreter
from tests.support.doctor import report_of
from tests.support.patients import Patient, empty_patient, fake_torch

FAILED = TorchImport(outcome="exception", seconds=1.0, isolated_outcome="exception")
CURED = TorchImport(outcome="exception", seconds=1.0, isolated_outcome="ok")


def ended(exit_code: int | None = 0, stderr: str = "", **fields: object) -> ChildResult:
    written = "torch is imported\n" if exit_code == 0 else ""
    values = {"signal": None, "timed_out": False, "stdout": written, "seconds": 0.1, **fields}
    return ChildResult(exit_code=exit_code, stderr=stderr, **values)  # type: ignore[arg-type]


# --- what is tried ---


def test_only_variables_that_are_set_are_taken_away() -> None:
    env = {"LD_LIBRARY_PATH": "/x", "PYTHONPATH": "", "PATH": "/bin"}
    todo = trials(FAILED, interpreter(), env)
    assert [(one.change, one.variable) for one in todo] == [("unset", "LD_LIBRARY_PATH")]
    assert todo[0].environment(env) == {"PYTHONPATH": "", "PATH": "/bin"}


def test_settings_of_torch_are_taken_away_and_those_of_python_where_isolation_helps() -> None:
    env = {"TORCH_LOGS": "foo", "PYTHONWARNINGS": "error", "PYTHONUNBUFFERED": "1", "TORCH_X": ""}
    assert [one.variable for one in trials(FAILED, interpreter(), env)] == ["TORCH_LOGS"]
    todo = trials(CURED, interpreter(), env)
    assert [one.variable for one in todo] == ["PYTHONWARNINGS", ""]


def test_an_import_that_ends_its_process_is_tried_without_backends() -> None:
    """What torch loads by itself may exit, as no exception tells."""
    variable = "TORCH_DEVICE_BACKEND_AUTOLOAD"
    (todo,) = trials(replace(FAILED, outcome="exit"), interpreter(), {})
    assert todo.environment({}) == {variable: "0"}
    assert not trials(FAILED, interpreter(), {})
    assert "set" not in {one.change for one in trials(FAILED, interpreter(), {variable: "0"})}


def test_the_folder_and_the_users_packages_are_tried_where_isolation_helps(
    tmp_path: Path,
) -> None:
    assert [one.change for one in trials(CURED, interpreter(), {})] == ["folder"]
    with_user = _with_user_site(tmp_path)
    todo = trials(CURED, with_user, {})
    assert [one.change for one in todo] == ["set", "folder"]
    assert todo[0].environment({"A": "b"}) == {"A": "b", "PYTHONNOUSERSITE": "1"}


def _with_user_site(folder: Path) -> Interpreter:
    return replace(interpreter(), user_site=str(folder), user_site_enabled=True)


def test_the_first_that_works_ends_the_trials() -> None:
    asked: list[str] = []

    def attempt(one: Try) -> ChildResult:
        asked.append(one.variable)
        return ended(1, "Traceback\nImportError: no") if one.variable == "A" else ended()

    todo = [Try(change="unset", variable=name) for name in "ABC"]
    found = list(run_trials(todo, attempt, time.monotonic() + 9))
    assert asked == ["A", "B"]
    assert [(one.outcome, one.message) for one in found] == [
        ("exception", "ImportError: no"),
        ("ok", ""),
    ]


@pytest.mark.parametrize(
    ("child", "outcome"),
    [
        (ended(0), "ok"),
        (ended(1, "Traceback (most recent call last)\nImportError: x"), "exception"),
        (ended(7), "exit"),
        (ended(0, stdout=""), "exit"),
        (ended(None, signal="SIGSEGV"), "signal"),
        (ended(None, timed_out=True), "hang"),
    ],
)
def test_every_end_of_a_child_has_its_name(child: ChildResult, outcome: str) -> None:
    (trial,) = run_trials([Try(change="folder")], lambda one: child, time.monotonic() + 9)
    assert trial.outcome == outcome


def test_no_trial_begins_after_its_time() -> None:
    def never(one: Try) -> ChildResult:
        raise AssertionError

    assert not list(run_trials([Try(change="folder")], never, time.monotonic() - 1))


def test_a_cure_is_that_change_and_no_other() -> None:
    (trial,) = run_trials(
        [Try(change="unset", variable="PYTHONPATH")], lambda one: ended(), time.monotonic() + 9
    )
    fact = ImportTrials(items=(trial,))
    assert fact.cured(unset="PYTHONPATH")
    assert not fact.cured(unset="LD_PRELOAD")
    assert not fact.cured(set_variable="PYTHONPATH")
    assert not fact.cured(folder=True)


# --- with real children ---

_FAILS_WITH = "import os\nif os.environ.get('{name}'): raise ImportError('no luck')\n"


@pytest.fixture
def patient(tmp_path: Path) -> Patient:
    return empty_patient(tmp_path / "my patient")


def _trials_of(report: dict[str, object]) -> list[tuple[str, str]]:
    facts = report["facts"]
    assert isinstance(facts, dict)
    items = facts["ImportTrials"]["value"]["items"]
    return [(one["variable"] or one["change"], one["outcome"]) for one in items]


@pytest.mark.parametrize("name", ["LD_LIBRARY_PATH", "LD_PRELOAD"])
def test_the_variable_that_breaks_the_import_is_found_by_trying(
    name: str, patient: Patient, tmp_path: Path
) -> None:
    fake_torch(patient, _FAILS_WITH.format(name=name))
    report = report_of("--python", patient.root, env={name: str(tmp_path)})
    assert (name, "ok") in _trials_of(report)


def test_a_folder_on_pythonpath_is_the_proved_cause(patient: Patient, tmp_path: Path) -> None:
    fake_torch(patient, "import decimal\n")
    other = tmp_path / "it's other"
    other.mkdir()
    (other / "decimal.py").write_text("raise RuntimeError('mine')\n")
    report = report_of("--python", patient.root, env={"PYTHONPATH": str(other)})
    assert _trials_of(report) == [("PYTHONPATH", "ok")]
    first = report["findings"][0]
    assert (first["name"], first["subjects"]) == ("module-shadowing", [str(other)])
    assert first["fixes"][0]["commands"] == ["unset PYTHONPATH"]
    assert first["fixes"][0]["proof"] == "`import torch` works without PYTHONPATH"


def test_the_current_folder_is_the_proved_cause(patient: Patient, tmp_path: Path) -> None:
    fake_torch(patient, "import decimal\n")
    work = tmp_path / "work"
    work.mkdir()
    (work / "decimal.py").write_text("raise RuntimeError('mine')\n")
    report = report_of("--python", patient.root, cwd=work)
    assert _trials_of(report) == [("folder", "ok")]
    first = report["findings"][0]
    assert first["name"] == "module-shadowing"
    assert [fix["proof"] for fix in first["fixes"]] == [
        "`import torch` works from another folder"
    ] * 2


@pytest.mark.parametrize("break_it", [lambda patient: fake_torch(patient, "")])
def test_nothing_is_tried_where_the_import_works(
    break_it: Callable[[Patient], None], patient: Patient
) -> None:
    break_it(patient)
    report = report_of("--python", patient.root, env={"LD_LIBRARY_PATH": "/nowhere"})
    assert report["facts"]["ImportTrials"]["reason"] == "not-applicable"
