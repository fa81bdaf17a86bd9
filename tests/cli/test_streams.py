"""Standard streams that are full, closed or broken: one line, the documented exit code."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.doctor import envdoctor
from tests.support.patients import empty_patient
from tests.tui import machines

FACTS = str(machines.file_of("healthy_cpu"))
DOCTOR = f"{sys.executable} -m envdoctor"

EVERY_WAY_OUT = [
    "--version",
    "--help",
    "check --help",
    "check --facts FACTS",
    "check --json --facts FACTS",
    "check --format markdown --facts FACTS",
    "tui --plain FACTS",
    "prescribe --facts FACTS",
    "fits torch==2.6.0",
    "predict A100-SXM4-40GB",
    "knowledge",
    "rules --json",
    "rule ED201",
    "schema",
]


def with_facts(arguments: str) -> str:
    """The name of the file is no part of a test's name: it differs from run to run."""
    return arguments.replace("FACTS", FACTS)


def shell(script: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=False, timeout=60, **options
    )


def one_line(stderr: str, *words: str) -> None:
    (line,) = stderr.splitlines()
    assert line.startswith("envdoctor: ")
    for word in words:
        assert word in line


@pytest.mark.parametrize("arguments", EVERY_WAY_OUT)
def test_a_full_standard_output_is_one_line(arguments: str) -> None:
    done = shell(f"{DOCTOR} {with_facts(arguments)} >/dev/full")
    assert done.returncode == 2
    one_line(done.stderr, "standard output", "No space left")


@pytest.mark.parametrize("arguments", EVERY_WAY_OUT)
def test_a_closed_standard_output_is_one_line(arguments: str) -> None:
    done = shell(f"{DOCTOR} {with_facts(arguments)} >&-")
    assert done.returncode == 2
    one_line(done.stderr, "standard output", "closed")


@pytest.mark.parametrize("arguments", EVERY_WAY_OUT)
def test_a_pipe_that_nobody_reads_is_one_line(arguments: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "envdoctor", *with_facts(arguments).split()],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=60,
    )
    os.close(writing)
    assert done.returncode == 2
    one_line(done.stderr, "standard output", "closed")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_leaves_in_the_middle(unbuffered: str) -> None:
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    process = subprocess.Popen(
        [sys.executable, "-m", "envdoctor", "schema"],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    )
    os.close(writing)
    assert os.read(reading, 10)
    os.close(reading)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 2
    one_line(error, "standard output", "closed")


@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-"])
@pytest.mark.parametrize(
    ("arguments", "code"),
    [("knowledge", 0), ("check --facts none", 2), ("check --json --facts none", 2)],
)
def test_a_standard_error_that_takes_nothing_changes_nothing(
    redirection: str, arguments: str, code: int
) -> None:
    done = shell(f"{DOCTOR} {arguments} {redirection}")
    assert done.returncode == code
    assert done.stdout == shell(f"{DOCTOR} {arguments} 2>/dev/null").stdout


def test_all_streams_closed_still_give_the_exit_code() -> None:
    assert shell(f"{DOCTOR} check --facts none <&- >&- 2>&-").returncode == 2


def test_a_closed_standard_input_changes_no_diagnosis(tmp_path: Path) -> None:
    target = f"check --json --static --python {sys.executable}"
    closed, opened = shell(f"{DOCTOR} {target} <&-"), shell(f"{DOCTOR} {target} </dev/null")
    assert (closed.returncode, closed.stderr) == (opened.returncode, "")
    assert '"verdict"' in closed.stdout


def test_facts_from_a_closed_standard_input() -> None:
    done = shell(f"{DOCTOR} check --facts - <&-")
    assert done.returncode == 2
    one_line(done.stderr, "standard input", "closed")


def test_facts_come_in_through_a_pipe() -> None:
    done = shell(f"cat {FACTS} | {DOCTOR} check --json --facts -")
    assert '"type": "report"' in done.stdout


def test_a_locale_without_utf8_prints_all_the_same(tmp_path: Path) -> None:
    env = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C.UTF-8"}
    target = empty_patient(tmp_path / "größe").root
    text = envdoctor("check", "--static", "--python", target, env=env)
    assert "gr\\xf6\\xdfe" in text.stdout
    assert text.no_traceback
    document = envdoctor("check", "--static", "--json", "--python", target, env=env)
    assert "größe" in document.json["target"]["path"]
    # Where Python takes names for ASCII, the bytes of this one are shown.
    env = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    assert "gr\\xc3\\xb6" in envdoctor("check", "--static", "--python", target, env=env).stdout
