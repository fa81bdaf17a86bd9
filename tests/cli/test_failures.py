"""What nobody foresaw, and what ends a run early: one line, never 0 or 1, in machine formats a
document."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.doctor import Run, envdoctor, validator
from tests.support.patients import Patient, empty_patient, fake_torch
from tests.support.plugins import plugin_that_breaks_the_doctor, plugin_with_a_check

TARGET = ("--static", "--python", sys.executable)


def error_of(run: Run) -> dict[str, object]:
    """The error document, which agrees with the exit code and with the line."""
    document = run.json
    validator().validate(document)
    assert (document["type"], document["exit_code"]) == ("error", run.exit_code)
    assert str(document["message"]) in run.stderr
    assert run.no_traceback
    return document  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("raise SystemExit(0)", "SystemExit: 0"),
        ("raise SystemExit(1)", "SystemExit: 1"),
        ("raise GeneratorExit", "GeneratorExit"),
        ("raise Odd", "Odd"),
        ("raise SystemExit('two\\nlines\\x1b[31m and \\x9b')", "two lines and \ufffd"),
    ],
)
@pytest.mark.parametrize("form", [(), ("--json",), ("--format", "json"), ("--format=json",)])
def test_a_fault_of_our_own_is_4_and_one_line(
    tmp_path: Path, body: str, words: str, form: tuple[str, ...]
) -> None:
    env = plugin_that_breaks_the_doctor(tmp_path / "site", body)
    run = envdoctor("check", *form, *TARGET, env=env, cwd=tmp_path / "site")
    assert run.exit_code == 4
    (line,) = run.stderr.splitlines()
    assert line.startswith("envdoctor: failed itself: ")
    assert words in line
    assert "ENVDOCTOR_DEBUG=1" in line
    if form:
        error_of(run)
    else:
        assert run.stdout == ""


def test_a_traceback_is_shown_to_who_asks_for_it(tmp_path: Path) -> None:
    env = plugin_that_breaks_the_doctor(tmp_path / "site", "raise SystemExit(0)")
    run = envdoctor(
        "check", "--json", *TARGET, env={**env, "ENVDOCTOR_DEBUG": "1"}, cwd=tmp_path / "site"
    )
    assert run.exit_code == 4
    assert "Traceback" in run.stderr
    assert "odd_plugin.py" in run.stderr
    assert run.json["exit_code"] == 4


def test_what_a_plugin_prints_is_in_no_document(tmp_path: Path) -> None:
    env = plugin_with_a_check(tmp_path / "site", "print('hello \\x1b]0;title\\x07')")
    run = envdoctor("check", "--json", *TARGET, env=env, cwd=tmp_path / "site")
    validator().validate(run.json)
    assert run.json["type"] == "report"
    assert run.stderr == "hello \n"
    file = tmp_path / "report.json"
    to_a_file = envdoctor("check", "-o", file, *TARGET, env=env, cwd=tmp_path / "site")
    assert to_a_file.stdout == ""
    validator().validate(json.loads(file.read_text()))


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "--format", "json", "--facts", "/none"),
        ("check", "--json", "--no-such-option"),
        ("--format=json", "check"),
        ("collect", "--timeout", "0.5"),
        ("collect", "--no-such-option"),
        ("collect", "--python", "a", "--python", "b"),
        ("libs", "--json", "--facts", "/none"),
        ("fits", "--json", "nothing"),
        ("predict", "--json", "no such GPU"),
        ("prescribe", "--json", "--torch", "9.9"),
        ("calibrate", "--json", "--baseline", "/none"),
        ("rules", "--json", "too", "many"),
    ],
)
def test_bad_input_is_a_document_where_one_was_wanted(arguments: tuple[str, ...]) -> None:
    run = envdoctor(*arguments)
    assert run.exit_code == 2
    error_of(run)


def test_a_folder_that_is_gone_is_a_document_too(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    script = f'cd "{folder}" && rmdir "{folder}" && exec "{sys.executable}" -m envdoctor "$@"'
    done = subprocess.run(
        ["sh", "-c", script, "sh", "check", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    document = error_of(Run(done.returncode, done.stdout, done.stderr))
    assert "the current folder is gone" in str(document["message"])
    assert done.returncode == 2


@pytest.fixture
def hanging(tmp_path: Path) -> Patient:
    patient = empty_patient(tmp_path / "hanging")
    fake_torch(patient, f"import time\nopen({str(tmp_path / 'begun')!r}, 'w')\ntime.sleep(600)")
    return patient


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
)
@pytest.mark.parametrize("command", [("check", "--json"), ("collect",), ("libs", "--json")])
def test_a_signal_gives_a_document(
    hanging: Patient, number: signal.Signals, code: int, command: tuple[str, ...]
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "envdoctor", *command, "--python", str(hanging.root)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not (hanging.root.parent / "begun").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert process.returncode == code
    error_of(Run(process.returncode, out, err))


def test_a_signal_in_text_is_one_line(hanging: Patient) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "envdoctor", "check", "--python", str(hanging.root)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (hanging.root.parent / "begun").exists():
        time.sleep(0.02)
    process.terminate()
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (143, "", "envdoctor: ended by SIGTERM\n")
