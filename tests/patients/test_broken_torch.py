"""A real torch, broken in the ways that machines break it, and torches that misbehave."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import require
from tests.support.doctor import envdoctor, names, report_of
from tests.support.patients import Patient, empty_patient, fake_torch, has_torch, torch_patient


@pytest.fixture
def patient(tmp_path: Path) -> Patient:
    require(has_torch(), "a torch in the environment of the tests")
    return torch_patient(tmp_path / "patient")


def test_a_healthy_torch_is_healthy(patient: Patient) -> None:
    report = report_of("--python", patient.root)
    assert (report["verdict"], report["exit_code"]) == ("healthy", 0)
    assert report["findings"] == []
    assert report["stack"]["torch_version"].startswith("2.")
    assert report["stack"]["installer"] == "pip"
    assert report["facts"]["TorchFirstUse"]["value"]["operations"][0]["error"] is None


def cut_library(patient: Patient) -> None:
    patient.truncate("torch/lib/libtorch_cpu.so", 5_000_000)


def remove_library(patient: Patient) -> None:
    patient.remove("torch/lib/libc10.so")


def cut_module(patient: Patient) -> None:
    patient.truncate("torch/__init__.py", 20_000)


@pytest.mark.parametrize(
    ("break_it", "file"),
    [
        (cut_library, "torch/lib/libtorch_cpu.so"),
        (remove_library, "torch/lib/libc10.so"),
        (cut_module, "torch/__init__.py"),
    ],
)
def test_a_damaged_torch_is_damaged_not_missing(
    patient: Patient, break_it: Callable[[Patient], None], file: str
) -> None:
    break_it(patient)
    report = report_of("--python", patient.root)
    first = report["findings"][0]
    assert (report["verdict"], report["exit_code"]) == ("broken", 1)
    assert (first["name"], first["subjects"], first["because"]) == (
        "damaged-install",
        ["torch"],
        None,
    )
    assert first["evidence"][0]["label"] == file
    # The patient has no pip, which is brought first.
    assert "--force-reinstall --no-deps torch==" in first["fixes"][0]["commands"][-1]
    assert "torch-not-installed" not in names(report)
    consequences = [one for one in report["findings"][1:] if one["severity"] == "error"]
    assert consequences
    assert all(one["because"] == first["id"] for one in consequences)


def test_a_damaged_torch_is_seen_without_running_anything(patient: Patient) -> None:
    cut_library(patient)
    report = report_of("--python", patient.root, "--static")
    assert names(report)[0] == "damaged-install"
    assert report["facts"]["TorchImport"]["type"] == "Unknown"


def test_deep_finds_a_changed_file_of_the_same_size(patient: Patient) -> None:
    data = bytearray((patient.site_packages / "torch/functional.py").read_bytes())
    data[-1] = ord(" ") if data[-1] != ord(" ") else ord("\n")
    patient.replace("torch/functional.py", bytes(data))
    assert report_of("--python", patient.root, "--static")["findings"] == []
    report = report_of("--python", patient.root, "--static", "--deep")
    assert names(report) == ["damaged-install"]
    assert "was changed" in report["findings"][0]["message"]


@pytest.mark.parametrize(
    ("init", "name", "words"),
    [
        ("raise ValueError('no luck')", "torch-import-failed", "ValueError: no luck"),
        ("import ctypes; ctypes.string_at(0)", "torch-import-crashed", "SIGSEGV"),
        ("import os; os.abort()", "torch-import-crashed", "SIGABRT"),
        ("import sys; sys.exit(7)", "torch-import-exits", "code 7"),
        ("import os; os._exit(0)", "torch-import-exits", "code 0"),
        ("import time; time.sleep(600)", "torch-import-hangs", "no answer"),
        ("print('x' * 10**6); raise OSError('noise')", "torch-import-failed", "OSError: noise"),
        ("while True: pass", "torch-import-hangs", "no answer"),
    ],
)
def test_a_torch_that_misbehaves_is_the_first_finding(
    tmp_path: Path, init: str, name: str, words: str
) -> None:
    patient = empty_patient(tmp_path / "patient")
    fake_torch(patient, init)
    report = report_of("--python", patient.root, "--timeout", "8")
    assert (report["verdict"], report["exit_code"]) == ("broken", 1)
    assert names(report)[0] == name
    assert words in report["findings"][0]["message"]
    assert report["facts"]["Host"]["type"] == "Observed"


def test_torch_that_is_nowhere_is_not_installed(tmp_path: Path) -> None:
    report = report_of("--python", empty_patient(tmp_path / "patient").root)
    assert names(report) == ["torch-not-installed", "torch-import-failed"]
    assert report["exit_code"] == 1


def test_a_torch_py_in_the_current_folder_is_shadowing(patient: Patient, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / "torch.py").write_text("print('not torch')\n")
    report = report_of("--python", patient.root, cwd=work)
    assert names(report)[0] == "module-shadowing"
    assert str(work / "torch.py") in report["findings"][0]["message"]
    assert report["verdict"] == "broken", "nothing was imported that computes"
    assert not any(one["name"] == "prediction-differs" for one in report["findings"])
    assert report_of("--python", patient.root, cwd=tmp_path)["verdict"] == "healthy"


def test_a_random_py_in_the_current_folder_is_shadowing(patient: Patient, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / "random.py").write_text("raise RuntimeError('mine')\n")
    report = report_of("--python", patient.root, cwd=work)
    assert names(report)[0] == "module-shadowing"


def test_text_and_json_say_the_same(patient: Patient) -> None:
    remove_library(patient)
    run = envdoctor("check", "--python", patient.root)
    report = report_of("--python", patient.root)
    assert run.exit_code == report["exit_code"]
    assert run.stdout.startswith(f"verdict: {report['verdict']}")
    assert max(map(len, run.stdout.splitlines()[:3])) <= 80
    words = " ".join(run.stdout.split())
    for finding in report["findings"]:
        assert f"{finding['severity']}[{finding['code']}] {finding['name']}" in words
        assert " ".join(finding["message"].split()) in words


def test_collected_facts_give_the_same_report(patient: Patient, tmp_path: Path) -> None:
    cut_module(patient)
    facts = tmp_path / "facts.json"
    assert envdoctor("collect", "--python", patient.root, "-o", facts).exit_code == 0
    live, replayed = report_of("--python", patient.root), report_of("--facts", facts)
    for report in (live, replayed):
        for key in ("created_at", "facts"):
            del report[key]
        for check in report["checks"]:
            del check["seconds"]
    assert live == replayed


def test_what_hides_modules_from_the_target_does_not_stop_the_doctor(
    patient: Patient, tmp_path: Path
) -> None:
    for module in ("random", "json", "click", "email", "signal", "ctypes", "typing_extensions"):
        (tmp_path / f"{module}.py").write_text("raise RuntimeError('mine')\n")
    report = report_of("--python", patient.root, env={"PYTHONPATH": str(tmp_path)})
    first = report["findings"][0]
    assert first["name"] == "module-shadowing"
    assert {"label": "PYTHONPATH", "value": str(tmp_path)}.items() <= first["evidence"][-1].items()


def test_what_a_torch_says_moves_no_cursor(tmp_path: Path) -> None:
    patient = empty_patient(tmp_path / "patient")
    fake_torch(patient, "raise OSError('\\x1b[31mred\\x1b[0m \\x9b2J \\x07gone')")
    text = envdoctor("check", "--python", patient.root).stdout
    assert "raises OSError: red \ufffd2J \ufffdgone" in " ".join(text.split())
