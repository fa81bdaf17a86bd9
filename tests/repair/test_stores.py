"""Environments in the stores of Nix and Guix: links into folders that nothing is installed into."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from envdoctor.repair import packages
from envdoctor.stores import store_of
from tests.repair.facts import distribution
from tests.repair.test_restore import SITE
from tests.support.doctor import report_of
from tests.support.patients import Patient, fake_torch

MINOR = f"python{sys.version_info.major}.{sys.version_info.minor}"
HASH = "q3wx1gab2ysnk5nyvyyg56ana2v4r2ar"


def environment(store: Path) -> Path:
    """What `python3.withPackages` builds: a Python, and links into the folders of packages."""
    package = Patient(store / f"{HASH}-{MINOR}-torch-2.6.0")
    package.site_packages.mkdir(parents=True)
    fake_torch(package, "import filelock")
    env = store / f"{HASH[::-1]}-{MINOR}-env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", env], check=True)
    with next(package.site_packages.glob("torch-*/METADATA")).open("a") as metadata:
        metadata.write("Requires-Dist: filelock\n")
    site = env / "lib" / MINOR / "site-packages"
    for one in package.site_packages.iterdir():
        (site / one.name).symlink_to(one)
    return env


def commands(report: dict[str, Any]) -> list[str]:
    return [line for one in report["findings"] for fix in one["fixes"] for line in fix["commands"]]


def summaries(report: dict[str, Any]) -> str:
    return "\n".join(fix["summary"] for one in report["findings"] for fix in one["fixes"])


@pytest.mark.parametrize(
    ("folder", "words"),
    [
        ("nix/store", "python3.withPackages (ps: [ ps.filelock ])"),
        ("gnu/store", "guix install python-filelock"),
    ],
)
def test_what_is_missing_comes_by_the_owner_of_the_store(
    tmp_path: Path, folder: str, words: str
) -> None:
    env = environment(tmp_path / folder)
    report = report_of("--python", env)
    assert words in summaries(report)
    assert not [line for line in commands(report) if "pip" in line]


def test_a_store_without_torch_gets_it_from_its_expression(tmp_path: Path) -> None:
    env = environment(tmp_path / "nix/store")
    for link in (env / "lib" / MINOR / "site-packages").glob("torch*"):
        link.unlink()
    report = report_of("--python", env)
    assert "ps.torch" in summaries(report)
    assert not [line for line in commands(report) if "pip" in line]


def test_damage_in_a_store_is_repaired_by_its_owner(tmp_path: Path) -> None:
    """The link that leads to it is as it has to be."""
    env = environment(tmp_path / "nix/store")
    next((tmp_path / "nix/store").glob(f"*/lib/{MINOR}/site-packages/torch/version.py")).unlink()
    lines = commands(report_of("--python", env))
    assert lines[0].startswith('sudo nix-store --repair-path "$(readlink -f ')
    assert not [line for line in lines if "pip" in line or line.startswith("rm ")]


def test_beside_a_store_the_environments_own_folder_is_filled() -> None:
    """A virtual environment with the packages of a Python of Nix."""
    torch = distribution("torch", "2.6.0", f"/nix/store/{HASH}-env/lib/python3.11/site-packages")
    fix = packages.install(SITE, "filelock", summary="install it", beside=torch)
    assert fix.commands == (f"{SITE.target} -m pip install filelock",)


def test_what_a_user_adds_to_a_python_of_a_store_is_installed_for_that_user() -> None:
    user_site = "/home/ann/.local/lib/python3.11/site-packages"
    site = replace(SITE, prefix=f"/nix/store/{HASH}-env", user_site=user_site)
    torch = distribution("torch", "2.6.0", user_site)
    (line,) = packages.restore(site, torch).commands
    assert "--user" in line


@pytest.mark.parametrize(
    ("path", "store"),
    [
        (f"/nix/store/{HASH}-env", "Nix"),
        ("/etc/profiles/per-user/ann/lib", "Nix"),
        ("/home/ann/.guix-profile", "Guix"),
        (f"/gnu/store/{HASH}-profile", "Guix"),
        ("/home/ann/nix/env", None),
        (os.path.realpath(sys.prefix), None),
    ],
)
def test_which_store_a_path_is_of(path: str, store: str | None) -> None:
    assert store_of(path) == store
