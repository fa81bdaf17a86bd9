"""Interpreters that are not the usual CPython: each is examined statically, and live by way of a
facts file, with the right answer and no traceback. One that is not on this machine is skipped."""

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.doctor import envdoctor

PYENV = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"

ODD = {
    "PyPy": ("pypy3*/bin/pypy3", "pypy3", "torch-not-installed"),
    "3.6": ("3.6.*/bin/python3.6", "python3.6", "python-too-old"),
    "3.8": ("3.8.*/bin/python3.8", "python3.8", "torch-not-installed"),
    "3.13": ("3.13.?/bin/python3.13", "python3.13", "torch-not-installed"),
    "3.13 free-threaded": ("3.13*t/bin/python3.13t", "python3.13t", "torch-not-installed"),
    "3.14": ("3.14.?/bin/python3.14", "python3.14", "torch-not-installed"),
    "3.14 free-threaded": ("3.14*t/bin/python3.14t", "python3.14t", "torch-not-installed"),
    "3.15": ("3.15*/bin/python3.15", "python3.15", "torch-not-installed"),
}
"""Where pyenv puts it, its name on PATH, and what is wrong with one that is empty."""


def interpreter(name: str) -> str:
    pattern, command, _ = ODD[name]
    found = next(map(str, sorted(PYENV.glob(pattern))), None) or shutil.which(command)
    if found is None:
        pytest.skip(f"no {name} on this machine")
    return found


def empty_venv(python: str, folder: Path) -> str:
    """An environment of an interpreter that holds nothing."""
    real = Path(python).resolve()
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(real)
    (folder / "pyvenv.cfg").write_text(
        f"home = {real.parent}\ninclude-system-site-packages = false\n"
    )
    return str(folder / "bin" / "python")


def answer(*arguments: str, cwd: Path) -> Any:
    result = envdoctor(*arguments, cwd=cwd)
    assert result.no_traceback
    assert result.exit_code == 1, result.stderr
    return result.json


@pytest.mark.parametrize("name", ODD)
def test_an_odd_interpreter_is_examined(tmp_path: Path, name: str) -> None:
    python = empty_venv(interpreter(name), tmp_path / "venv")
    wrong = ODD[name][2]
    static = answer("check", "--python", python, "--static", "--json", cwd=tmp_path)
    assert static["findings"][0]["name"] == wrong
    facts = str(tmp_path / "facts.json")
    collected = envdoctor("collect", "--python", python, "-o", facts, cwd=tmp_path)
    assert collected.exit_code == 0, collected.stderr
    report = answer("check", "--facts", facts, "--json", cwd=tmp_path)
    assert (report["verdict"], report["findings"][0]["name"]) == ("broken", wrong)
    told = report["facts"]["Interpreter"]
    if wrong == "torch-not-installed":
        assert told["type"] == "Observed", told
        assert told["value"]["implementation"] == ("PyPy" if name == "PyPy" else "CPython")


def without_modules(folder: Path, *names: str) -> str:
    """This Python as if these compiled modules had not been built: its files, less theirs."""
    base, version = Path(sys.base_prefix), f"python3.{sys.version_info[1]}"
    stdlib = folder / "lib" / version
    (stdlib / "lib-dynload").mkdir(parents=True)
    (stdlib / "site-packages").mkdir()
    (folder / "bin").mkdir()
    for file in (base / "lib" / version).iterdir():
        if file.name not in ("lib-dynload", "site-packages"):
            (stdlib / file.name).symlink_to(file)
    for file in (base / "lib" / version / "lib-dynload").iterdir():
        if file.name.split(".")[0] not in names:
            (stdlib / "lib-dynload" / file.name).symlink_to(file)
    python = folder / "bin" / "python3"
    shutil.copy(os.path.realpath(sys.executable), python)
    return str(python)


@pytest.mark.parametrize(
    "lacks", [("_ctypes",), ("_ssl", "_hashlib"), ("_posixsubprocess", "select", "_struct", "math")]
)
def test_a_python_that_was_built_without_modules(tmp_path: Path, lacks: tuple[str, ...]) -> None:
    python = without_modules(tmp_path / "prefix", *lacks)
    site = tmp_path / "prefix" / "lib" / f"python3.{sys.version_info[1]}" / "site-packages"
    (site / "torch").mkdir()
    (site / "torch" / "__init__.py").write_text(f"import {lacks[0]}\n")
    for mode in ((), ("--static",)):
        result = envdoctor("check", "--python", python, *mode, "--json", cwd=tmp_path)
        assert result.no_traceback
        report = result.json
        assert report["facts"]["Interpreter"]["type"] == "Observed"
        if not mode:
            imported = report["facts"]["TorchImport"]["value"]
            assert imported["message"] == f"No module named '{lacks[0]}'"
        if not mode and lacks[0] in ("_ctypes", "_ssl"):
            assert report["findings"][0]["name"] == "python-lacks-module"
