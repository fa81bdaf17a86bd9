"""Under `--static` nothing of the target and nothing of the current folder is executed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from envdoctor.facts import Observed
from envdoctor.facts.python import Interpreter
from envdoctor.find_target import find_target
from envdoctor.options import Options
from envdoctor.probes.choose import Choice
from envdoctor.probes.context import context_of
from envdoctor.probes.run import Children
from tests.support.patients import Patient, empty_patient, fake_torch

PYENV = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"

MODULES = (
    *("abc", "codecs", "datetime", "encodings/__init__", "enum", "faulthandler", "io", "os", "re"),
    *("json/__init__", "random", "site", "sitecustomize", "struct", "time", "types", "typing"),
    *("usercustomize", "numpy", "torch", "msgspec", "click", "_signal"),
    *(f"_sysconfigdata__linux_{machine}-linux-gnu" for machine in ("x86_64", "aarch64")),
)
PROGRAMS = (
    *("sh", "bash", "grep", "gcc", "cc", "nvcc", "python", "python3", "conda", "uv", "pip"),
    *("ldconfig", "nvidia-smi", "lspci"),
)


def booby_trap(folder: Path, log: Path) -> None:
    """Fill a folder with modules and programs that leave a trace when they are executed."""
    for name in MODULES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.py").write_text(f"open({str(log)!r}, 'a').write('module {name} ')\n")
    for place in (folder, folder / "bin"):
        place.mkdir(exist_ok=True)
        for name in PROGRAMS:
            (place / name).write_text(f"#!/bin/sh\necho program {name} >> '{log}'\n")
            (place / name).chmod(0o755)


def trapped_patient(root: Path, log: Path) -> Patient:
    """A target whose site-packages leave a trace, too."""
    patient = empty_patient(root)
    trace = f"open({str(log)!r}, 'a').write('target ')\n"
    fake_torch(patient, trace)
    for name in ("sitecustomize", "usercustomize", "numpy", "torchvision"):
        (patient.site_packages / f"{name}.py").write_text(trace)
    (patient.site_packages / "trap.pth").write_text(f"import sys; {trace}")
    return patient


@pytest.mark.parametrize(
    "command",
    [("check", "--static"), ("libs", "--static"), ("collect", "--static"), ("prescribe",)],
)
def test_nothing_of_a_hostile_folder_or_target_runs(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    log, folder = tmp_path / "log", tmp_path / "cwd"
    patient = trapped_patient(tmp_path / "target", log)
    booby_trap(folder, log)
    env = {"PATH": f".:bin::{os.environ['PATH']}", "LD_LIBRARY_PATH": ".", "CUDA_HOME": "."}
    # As the installed command starts: `-m` would look into the current folder itself.
    start = [sys.executable, "-I", "-c", "from envdoctor.__main__ import main; main()"]
    done = subprocess.run(
        [*start, *command, "--python", patient.root],
        env={**os.environ, **env},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert done.returncode in (0, 1, 3), done.stderr
    assert not log.exists(), log.read_text()


def asked(python: Path, children: Children, env: dict[str, str], cwd: Path, static: bool) -> Choice:
    context = context_of(children, env={**os.environ, **env}, cwd=str(cwd))
    return find_target(Options(python=str(python), static=static), context, stages=())


@pytest.mark.parametrize("version", ["own", "3.8", "3.9", "3.10", "3.12", "3.13"])
@pytest.mark.parametrize("path", [".", "", ":", "rel:{cwd}", "{cwd}"])
def test_the_interpreter_runs_nothing_of_pythonpath(
    children: Children, tmp_path: Path, version: str, path: str
) -> None:
    log, folder = tmp_path / "log", tmp_path / "cwd"
    own = empty_patient(tmp_path / "venv").python
    found = sorted(PYENV.glob(f"{version}.*/bin/python{version}")) if version != "own" else [own]
    if not found:
        pytest.skip(f"no Python {version} on this machine")
    booby_trap(folder, log)
    env = {"PYTHONPATH": path.format(cwd=folder)}
    fact = asked(found[0], children, env, folder, static=True).facts[Interpreter]
    assert isinstance(fact, Observed)
    assert not log.exists(), log.read_text()


@pytest.mark.parametrize("variable", ["PYTHONPATH", "PYTHONNOUSERSITE", "PYTHONSAFEPATH", "none"])
def test_the_interpreter_says_the_same_as_when_it_runs_its_sites(
    children: Children, tmp_path: Path, variable: str
) -> None:
    (tmp_path / "empty").mkdir()
    env = {variable: f"relative::{tmp_path}/empty" if variable == "PYTHONPATH" else "1"}
    python = empty_patient(tmp_path / "venv").python
    live, static = (
        asked(python, children, env, tmp_path, static).facts[Interpreter]
        for static in (False, True)
    )
    assert isinstance(live, Observed)
    assert isinstance(static, Observed)
    assert live.value == static.value
