"""`envdoctor tui --screenshot`, without any terminal."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.tui import machines

DOCTOR = [sys.executable, "-c", "from envdoctor.cli import main; main()", "tui"]
REPORT = str(machines.REPORTS / "broken_driver.json")


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
    ],
)
def test_bad_input_is_one_line_and_2(argv: tuple[str, ...]) -> None:
    done = run(*argv)
    assert done.returncode == 2
    assert done.stderr.startswith("envdoctor: ")
    assert done.stderr.count("\n") == 1
