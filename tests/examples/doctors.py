"""The examples as they are, and real doctors for their shells: of recorded machines, of this one,
and one that fails itself."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from envdoctor.facts.documents import facts_document
from tests.support.cases import CASES

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"

HEALTHY, MACHINE, ENVIRONMENT, UNKNOWN, LIVE, FAILS, MISSING = (
    "healthy-gpu",
    "driver-not-loaded",
    "cpu-torch-on-gpu-machine",
    "nothing-is-known",
    "this machine",
    "the doctor itself fails",
    "there is no doctor",
)
"""Recorded machines by their names, and three that are none."""

_ON_THIS_MACHINE = """#!{python}
import os, sys
os.execv("{python}", ["{python}", "-m", "envdoctor", *sys.argv[1:]])
"""

_ON_A_RECORDED_MACHINE = """#!{python}
import os, sys
words = sys.argv[1:]
if "--python" in words:
    place = words.index("--python")
    del words[place : place + 2]
os.execv("{python}", ["{python}", "-m", "envdoctor", *words, "--facts", "{facts}"])
"""

_THAT_FAILS = """#!{python}
import sys
sys.modules["msgspec"] = None
from envdoctor.__main__ import main
main()
"""


def doctor(folder: Path, machine: str, name: str = "doctor") -> Path:
    """A folder like a virtual environment that holds envdoctor, which sees a machine."""
    home = folder / name
    (home / "bin").mkdir(parents=True)
    if machine == MISSING:
        return home
    facts, python = home / "facts.json", sys.executable
    if machine in CASES:
        facts.write_bytes(msgspec.json.encode(facts_document(CASES[machine].snapshot)))
    text = {FAILS: _THAT_FAILS, LIVE: _ON_THIS_MACHINE}.get(machine, _ON_A_RECORDED_MACHINE)
    (home / "bin" / "envdoctor").write_text(text.format(python=python, facts=facts))
    (home / "bin" / "python").write_text(f'#!/bin/sh\nexec {python} "$@"\n')
    for program in (home / "bin").iterdir():
        program.chmod(0o755)
    return home


def run(
    words: list[str], folder: Path, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program in a folder, with a path of the system's own programs and little else."""
    return subprocess.run(
        words,
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )


def validator(name: str) -> str | None:
    """A validator of the environment of the tests, or of the system."""
    beside = Path(sys.executable).parent / name
    return str(beside) if os.access(beside, os.X_OK) else shutil.which(name)


def documents(file: Path) -> Any:
    """The first YAML document of a file."""
    return yaml.safe_load(file.read_text(encoding="utf-8"))
