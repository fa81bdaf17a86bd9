"""A virtual environment whose base is gone, healed by the commands of the fix."""

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from envdoctor.facts.machine import Environment
from envdoctor.facts.python import Target
from envdoctor.facts.torch import ImportTrial, ImportTrials, TorchImport
from envdoctor.repair import Site, interpreters, site_of
from tests.repair.facts import findings, roots
from tests.support.doctor import envdoctor
from tests.support.patients import empty_patient, fake_torch

MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture
def dangling(tmp_path: Path) -> Path:
    """An environment with a package, whose links to its Python lead nowhere."""
    root = tmp_path / "my env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", root], check=True, timeout=60)
    (root / f"lib/python{MINOR}/site-packages/treasure.py").write_text("here = True\n")
    for name in ("python", "python3", f"python{MINOR}"):
        (root / "bin" / name).unlink()
        (root / "bin" / name).symlink_to(tmp_path / "gone" / name)
    return root


def _site(root: Path) -> Site:
    site = site_of.fn(
        target=Target(
            path=str(root / "bin/python"),
            chosen_because="test",
            problem="base-missing",
            site_packages=(str(root / f"lib/python{MINOR}/site-packages"),),
        ),
        interpreter=None,
        installer=None,
        host=None,
        container=None,
        environment=None,
    )
    assert isinstance(site, Site)
    return site


def _run(commands: tuple[str, ...], folder: Path) -> None:
    """In a shell that finds this Python by the name of its minor version."""
    programs = folder / "programs"
    programs.mkdir()
    base = Path(sys.base_prefix) / "bin" / f"python{MINOR}"
    (programs / f"python{MINOR}").symlink_to(base)
    path = f"{programs}:{os.environ['PATH']}"
    subprocess.run(["sh", "-euc", "\n".join(commands)], env={"PATH": path}, check=True, timeout=120)


def test_the_first_fix_keeps_the_packages(dangling: Path, tmp_path: Path) -> None:
    keep, anew = interpreters.with_base_again(_site(dangling))
    _run(keep.commands, tmp_path)
    python = str(dangling / "bin/python")
    code = "import sys, treasure; print(sys.prefix)"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(dangling)
    assert "its packages stay" in keep.summary
    assert "deletes every package" in anew.summary


def test_what_is_said_to_delete_deletes(dangling: Path, tmp_path: Path) -> None:
    _, anew = interpreters.with_base_again(_site(dangling))
    _run(anew.commands, tmp_path)
    assert not list(dangling.rglob("treasure.py"))


def test_upgrading_alone_does_not_heal_the_links(dangling: Path) -> None:
    """Why the links are removed first."""
    command = [sys.executable, "-m", "venv", "--upgrade", "--without-pip", str(dangling)]
    subprocess.run(command, check=False, timeout=60)
    assert not (dangling / "bin/python").exists()


def test_a_python_without_its_libpython_is_told_where_it_may_be() -> None:
    said = "python3: error while loading shared libraries: libpython3.11.so.1.0: cannot open"
    target = Target(path="/x/bin/python3", chosen_because="test", problem="not-python", detail=said)
    finding = findings(target)["ED103"]
    assert "`libpython3.11.so.1.0`" in finding.fixes[0].summary
    assert finding.fixes[0].commands == ("ldconfig -p | grep libpython3.11",)


# --- variables of Python ---


@pytest.mark.parametrize(
    ("variable", "value"),
    [("PYTHONHASHSEED", "abc"), ("PYTHONIOENCODING", "rubbish"), ("PYTHONUTF8", "7")],
)
def test_a_variable_with_which_no_python_starts(tmp_path: Path, variable: str, value: str) -> None:
    """Neither does the doctor's own, unless it is told to read none."""
    patient = empty_patient(tmp_path / "venv")
    command = [sys.executable, "-E", "-m", "envdoctor", "check", "--json", "--python", patient.root]
    run = subprocess.run(
        command, env={**os.environ, variable: value}, capture_output=True, check=False, timeout=60
    )
    first = json.loads(run.stdout)["findings"][0]
    assert (run.returncode, first["code"]) == (1, "ED103")
    assert first["fixes"][0]["commands"] == [f"unset {variable}"]


def test_a_pythonhome_of_another_python() -> None:
    """ED109, as `import torch` fails in it, and works in a child without it."""
    failed = TorchImport(
        outcome="exception",
        seconds=0.1,
        exception="ModuleNotFoundError",
        message="No module named '_struct'",
        isolated_outcome="ok",
    )
    home = Environment(variables={"PYTHONHOME": "/usr"})
    trial = ImportTrial(change="unset", variable="PYTHONHOME", outcome="ok")
    (root,) = roots(failed, home, ImportTrials(items=(trial,)))
    assert root.code == "ED109"
    assert root.fixes[0].commands == ("unset PYTHONHOME",)
    assert root.fixes[0].proof


def test_a_setting_that_was_seen_to_break_the_import() -> None:
    """ED113"""
    failed = TorchImport(
        outcome="exception", seconds=1.0, exception="ValueError", message="Invalid log settings"
    )
    trial = ImportTrial(change="unset", variable="TORCH_LOGS", outcome="ok")
    (root,) = roots(failed, ImportTrials(items=(trial,)))
    assert (root.code, root.fixes[0].commands) == ("ED113", ("unset TORCH_LOGS",))
    assert root.fixes[0].proof
    still = ImportTrial(change="unset", variable="TORCH_LOGS", outcome="exception")
    assert [one.code for one in roots(failed, ImportTrials(items=(still,)))] == ["ED401"]


def test_a_pythonhome_that_names_the_targets_own_is_nothing() -> None:
    assert not findings(Environment(variables={"PYTHONHOME": sys.base_prefix}))


def test_the_doctor_starts_whatever_pythonhome_says(tmp_path: Path) -> None:
    """A standard library that lacks what is compiled: the Python starts, and cannot do much."""
    home = tmp_path / "other"
    stdlib = Path(sysconfig.get_path("stdlib"))
    (home / "lib" / stdlib.name).mkdir(parents=True)
    for file in stdlib.iterdir():
        if file.name not in ("site-packages", "lib-dynload", "__pycache__"):
            (home / "lib" / stdlib.name / file.name).symlink_to(file)
    patient = empty_patient(tmp_path / "venv")
    fake_torch(patient, "import struct, math")
    run = envdoctor("check", "--json", "--python", patient.root, env={"PYTHONHOME": str(home)})
    first = run.json["findings"][0]
    assert (first["code"], first["fixes"][0]["commands"]) == ("ED109", ["unset PYTHONHOME"])
    assert run.exit_code == 1
    fine = {"PYTHONHOME": sys.base_prefix}
    report = envdoctor("check", "--json", "--python", patient.root, env=fine).json
    assert report["facts"]["TorchImport"]["value"]["outcome"] == "ok"
    assert not any(one["code"] == "ED109" for one in report["findings"])
