"""`envdoctor tui --screenshot`, without any terminal."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.tui import machines

DOCTOR = [sys.executable, "-c", "from envdoctor.cli import main; main()", "tui"]
REPORT = str(machines.file_of("broken_driver"))


def run(*argv: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*DOCTOR, *argv], check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )


def test_it_saves_what_is_on_the_screen_after_the_keys(tmp_path: Path) -> None:
    svg = tmp_path / "a.svg"
    done = run(REPORT, "--screenshot", str(svg), "--size", "90x24", "--keys", "2")
    assert done.returncode in (0, 1, 3)
    assert svg.read_text(encoding="utf-8").startswith("<svg")
    assert "severities" in svg.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "argv",
    [
        (REPORT, "--screenshot", "/nowhere/a.svg"),
        (REPORT, "--screenshot", "a.svg", "--size", "huge"),
        ("/nowhere.json", "--screenshot", "a.svg"),
        (REPORT, "--calibrate"),
        (REPORT, "--python", sys.executable),
    ],
)
def test_bad_input_is_one_line_and_2(argv: tuple[str, ...]) -> None:
    done = run(*argv)
    assert done.returncode == 2
    assert done.stderr.startswith("envdoctor: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("expect", ["gpu", "cpu"])
def test_what_the_user_expects_counts_for_a_saved_report_too(tmp_path: Path, expect: str) -> None:
    report = str(machines.file_of("healthy_cpu"))
    plain = subprocess.run(
        [*DOCTOR[:-1], "check", "--facts", report, "--expect", expect], check=False
    )
    done = run(report, "--expect", expect, "--screenshot", str(tmp_path / "a.svg"))
    assert done.returncode == plain.returncode == (1 if expect == "gpu" else 0)


def test_keys_that_lead_nowhere_end_too(tmp_path: Path) -> None:
    """A file that is not there is said on the picture, and the report stays what it was."""
    keys = "o,slash,x,enter,wait"
    done = run(REPORT, "--screenshot", str(tmp_path / "a.svg"), "--keys", keys)
    assert "could not do it" in (tmp_path / "a.svg").read_text().replace("&#160;", " ")
    assert done.returncode == 1
