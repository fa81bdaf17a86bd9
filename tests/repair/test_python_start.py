"""A Python that starts otherwise than its environment wants, or does not come through its start."""

import subprocess
from pathlib import Path

from msgspec.structs import replace

from envdoctor.facts import Observed
from envdoctor.facts.python import Distribution, Distributions, Installer, Target
from envdoctor.facts.torch import TorchAbsent, TorchImport
from envdoctor.probes.context import context_of
from envdoctor.probes.disk import observe_torch_build
from envdoctor.probes.run import Children
from envdoctor.probes.target.interpreter import is_damaged_pip
from envdoctor.probes.torch_build import read_torch_absent
from envdoctor.repair import Site, packages
from tests.repair.facts import KNOWLEDGE, OWN, PREFIX, REQUIRED, TORCH, findings, interpreter, roots

NO_TORCH = TorchImport(
    outcome="exception",
    seconds=1.0,
    exception="ModuleNotFoundError",
    message="No module named 'torch'",
)
ITEMS = Distributions(items=REQUIRED)


def test_an_environment_without_pyvenv_cfg() -> None:
    """ED115: its link to the base Python is then the base itself."""
    base = replace(interpreter(), prefix="/opt/python", site_packages=("/opt/python/site",))
    absent = TorchAbsent(absent=True, searched=("/opt/python/site",), elsewhere=(OWN,))
    (first,) = roots(ITEMS, base, absent, NO_TORCH)
    assert first.code == "ED115"
    again = f"/opt/python/bin/python3.11 -m venv --upgrade --without-pip {PREFIX}"
    assert first.fixes[0].commands == (again,)
    (first,) = roots(ITEMS, interpreter(), replace(absent, elsewhere=()), NO_TORCH)
    assert first.code == "ED400"


def test_the_packages_of_the_folder_that_python_was_started_from_are_looked_for(
    tmp_path: Path,
) -> None:
    own = tmp_path / "lib/python3.11/site-packages"
    (own / "torch").mkdir(parents=True)
    (own / "torch/version.py").write_text("__version__ = '2.6.0'\n")
    found = read_torch_absent([tmp_path / "base"], None, ITEMS, [own])
    assert found.elsewhere == (str(own),)
    assert read_torch_absent([own], None, ITEMS, [own]).elsewhere == ()


def test_a_link_to_the_python_of_an_environment(tmp_path: Path) -> None:
    """ED119: the link is found as it is, and Python by it is the base; pip there is no repair."""
    venv, link = tmp_path / "venv", tmp_path / "bin/py"
    own = venv / "lib/python3.11/site-packages"
    (own / "torch").mkdir(parents=True)
    (own / "torch/version.py").write_text("__version__ = '2.6.0'\n")
    (venv / "bin").mkdir()
    (venv / "bin/python").symlink_to("/opt/python/bin/python3.11")
    link.parent.mkdir()
    link.symlink_to(venv / "bin/python")
    base = replace(interpreter(), prefix="/opt/python", site_packages=("/opt/python/site",))
    target = Target(path=str(link), chosen_because="named")
    context = context_of(Children(), env={}, cwd=str(tmp_path))

    def look() -> TorchAbsent:
        seen = observe_torch_build(target, base, ITEMS, KNOWLEDGE, context)[TorchAbsent]
        assert isinstance(seen, Observed)
        assert isinstance(seen.value, TorchAbsent)
        return seen.value

    assert look().elsewhere == ()
    (venv / "pyvenv.cfg").write_text("home = /opt/python/bin\n")
    absent = look()
    assert absent.elsewhere == (str(own),)
    (first,) = roots(ITEMS, base, target, absent, NO_TORCH)
    assert first.code == "ED119"
    assert first.fixes[0].commands[0].startswith(f"{venv}/bin/python -X")
    found = findings(ITEMS, base, target, absent, NO_TORCH).values()
    lines = [line for one in found for fix in one.fixes for line in fix.commands]
    assert not [line for line in lines if " install " in line]


def test_a_path_file_in_another_encoding_ends_python(tmp_path: Path) -> None:
    """ED116: and the command that is printed shows the file and the line."""
    tail = (
        "Fatal Python error: init_import_site: Failed to import the site module\n"
        "Traceback (most recent call last):\n"
        "UnicodeDecodeError: 'utf-8' codec can't decode byte 0xe9 in position 10: invalid\n"
    )
    ended = TorchImport(outcome="exit", seconds=0.1, exit_code=1, output_tail=tail)
    target = Target(
        path=f"{PREFIX}/bin/python", chosen_because="test", site_packages=(str(tmp_path),)
    )
    (first,) = roots(ITEMS, target, ended)
    assert first.code == "ED116"
    assert "UnicodeDecodeError" in first.message
    (tmp_path / "good.pth").write_text("/home/andré\n", encoding="utf-8")
    (tmp_path / "bad.pth").write_bytes("/ok\n/home/andré\n".encode("latin-1"))
    (find,) = first.fixes[0].commands
    shown = subprocess.run(find, shell=True, capture_output=True, check=True).stdout
    assert shown == f"{tmp_path}/bad.pth:2:/home/andr".encode() + b"\xe9\n"


def test_a_site_that_fails_for_another_reason_is_looked_at() -> None:
    tail = "Fatal Python error: init_import_site: Failed to import the site module\nOSError: no\n"
    ended = TorchImport(outcome="exit", seconds=0.1, exit_code=1, output_tail=tail)
    (first,) = roots(ITEMS, ended)
    assert first.message.endswith("OSError: no")
    assert first.fixes[0].commands == (
        f"{PREFIX}/bin/python -S -c 'print('\"'\"'it starts'\"'\"')'",
    )


def test_a_repair_by_pip_in_the_python_of_debian() -> None:
    """Whose ensurepip is switched off."""
    torch = Distribution(name="torch", version="2.6.0", location="/x", metadata_path="/x/t")
    site = Site(target="/usr/bin/python3", os_family="ubuntu", externally_managed=True)
    fix = packages.restore(
        replace(site, without_pip=True, installer=Installer(name="pip", evidence="")), torch
    )
    assert fix.commands[0] == "sudo apt-get install python3-pip"


def test_the_users_own_packages_are_no_environment() -> None:
    """`~/.local/bin/python3.11`, a link that uv makes, with the user's packages switched off."""
    own = "/home/me/.local/lib/python3.11/site-packages"
    absent = TorchAbsent(absent=True, searched=("/opt/python/site",), elsewhere=(own,))
    target = Target(path="/home/me/.local/bin/python3.11", chosen_because="")
    seen = replace(interpreter(), prefix="/opt/python", base_prefix="/opt/python", user_site=own)
    found = findings(Distributions(items=()), absent, target, seen, NO_TORCH)
    assert "ED115" not in {one.code for one in found.values()}


def test_a_repair_by_pip_where_there_is_no_pip() -> None:
    """As in an image that was slimmed: Python brings a pip of its own."""
    gone = Distributions(items=(TORCH, REQUIRED[0]))
    (first,) = roots(gone, replace(interpreter(), has_pip=False))
    bring, install = first.fixes[0].commands
    assert bring == f"{PREFIX}/bin/python -m ensurepip"
    assert install.startswith(f"{PREFIX}/bin/python -m pip install")


def test_a_repair_by_a_pip_that_is_damaged(tmp_path: Path) -> None:
    """An upgrade of pip was broken off; `ensurepip` alone finds that one is installed."""
    own = tmp_path / "site-packages"
    assert not is_damaged_pip(str(own))
    (own / "pip/_internal").mkdir(parents=True)
    (own / "pip-24.0.dist-info").mkdir()
    (own / "pip/__main__.py").write_text("from pip._internal.cli.main import main\n")
    assert is_damaged_pip(str(own))
    gone = Distributions(items=(TORCH, REQUIRED[0]))
    (first,) = roots(gone, replace(interpreter(), damaged_pip=str(own)))
    away, bring, install = first.fixes[0].commands
    subprocess.run(away, shell=True, check=True)
    assert not list(own.iterdir())
    assert bring == f"{PREFIX}/bin/python -m ensurepip"
    assert install.startswith(f"{PREFIX}/bin/python -m pip install")


def test_a_repair_in_a_folder_that_is_mounted_read_only() -> None:
    gone = Distributions(items=(TORCH, REQUIRED[0]))
    (first,) = roots(gone, replace(interpreter(), read_only=True))
    assert "mounted read-only" in first.fixes[0].summary
    (first,) = roots(gone)
    assert "read-only" not in first.fixes[0].summary


def test_setuptools_that_is_not_there_is_worth_a_word() -> None:
    """Torch 2.13 requires it for those who build extensions; images are slimmed of it."""
    torch = replace(TORCH, requires=(*TORCH.requires, "setuptools>=77.0.3"))
    assert not roots(Distributions(items=(torch, *REQUIRED)))
