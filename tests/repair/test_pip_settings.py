"""Commands of pip in a shell whose variables or files of pip would let them fail or go elsewhere:
what is printed is pasted, with a real pip, and installs where it has to."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from msgspec.structs import replace

from envdoctor.facts.python import Installer
from envdoctor.findings import Fix
from envdoctor.probes.context import context_of
from envdoctor.probes.pip_settings import hidden_from_pip, read_pip_settings
from envdoctor.probes.run import Children
from envdoctor.repair import Site, packages
from envdoctor.repair.changes import Batch
from envdoctor.repair.pip_interface import install_into_folder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with pip, and a folder with one wheel."""
    root = tmp_path_factory.mktemp("pip")
    subprocess.run([sys.executable, "-m", "venv", root / "env"], check=True)
    (root / "wheels").mkdir()
    with zipfile.ZipFile(root / "wheels/demo-1.0-py3-none-any.whl", "w") as wheel:
        info = "demo-1.0.dist-info"
        wheel.writestr("demo.py", "")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", f"demo.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n")
    return root


def variables(place: Path, **more: str) -> dict[str, str]:
    """A shell that knows no index and one folder of wheels, with these variables."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    ours = {"HOME": str(place / "home"), "PIP_NO_INDEX": "1", "XDG_CONFIG_DIRS": "/nowhere"}
    return {**kept, **ours, "PIP_FIND_LINKS": str(place / "wheels"), **more}


def site_of(
    place: Path, env: dict[str, str], *, virtual: bool = True, cwd: Path = Path("/")
) -> Site:
    prefix = str(place / "env")
    context = context_of(Children(), env=env, cwd=str(cwd))
    return Site(
        target=f"{prefix}/bin/python",
        installer=Installer(
            name="pip",
            evidence="",
            pip_settings=read_pip_settings(context, prefix),
            hides_from_pip=hidden_from_pip(context),
        ),
        python="{}.{}".format(*sys.version_info),
        prefix=prefix,
        base_prefix=sys.base_prefix if virtual else prefix,
    )


def paste(commands: tuple[str, ...], env: dict[str, str], cwd: Path = Path("/")) -> None:
    for line in commands:
        subprocess.run(["sh", "-c", line], env=env, cwd=cwd, check=True, stdout=subprocess.DEVNULL)


def installed(place: Path) -> bool:
    return any((place / "env").glob("lib/python3*/site-packages/demo.py"))


def install(site: Site) -> Fix:
    return packages.install(site, "demo==1.0", summary="install demo")


@pytest.mark.parametrize(
    "setting",
    [
        {"PIP_USER": "1"},
        {"PIP_TARGET": "/nowhere/else", "PIP_DRY_RUN": "true"},
        {"PIP_PREFIX": "/nowhere/else", "PIP_REQUIRE_HASHES": "1", "PIP_PYTHON": sys.executable},
    ],
    ids=" ".join,
)
def test_a_variable_of_pip_turns_no_command_elsewhere(place: Path, setting: dict[str, str]) -> None:
    env = variables(place, **setting)
    site = site_of(place, env)
    paste(install(site).commands, env)
    assert installed(place)
    paste(packages.uninstall(site, "demo", summary="take it out").commands, env)
    assert not installed(place)


def test_a_file_of_pip_switches_nothing_on(place: Path) -> None:
    file = place / "home/.config/pip/pip.conf"
    file.parent.mkdir(parents=True)
    file.write_text(
        "[global]\n# ours\nuser = true\n[install]\ndry_run: yes\n[download]\nroot = /x\n"
    )
    env = variables(place)
    site = site_of(place, env)
    file_says = [(one.option, one.source) for one in site.pip_settings if one.option != "no-index"]
    assert file_says == [("dry-run", str(file)), ("user", str(file))]
    paste(install(site).commands, env)
    paste(packages.uninstall(site, "demo", summary="take it out").commands, env)
    file.unlink()


def test_a_folder_that_a_file_sets_is_said(place: Path) -> None:
    file = place / "env/pip.conf"
    file.write_text("[install]\ntarget =\n    /nowhere/else\n")
    summary = install(site_of(place, variables(place))).summary
    file.unlink()
    assert f"`{file}` sets `target`: take that line out first" in summary


def test_a_python_that_is_no_virtual_environment(place: Path, tmp_path: Path) -> None:
    env = variables(place, PIP_REQUIRE_VIRTUALENV="1")
    site = site_of(place, env, virtual=False)
    line = install_into_folder(site, str(tmp_path / "folder"), Batch(requirements=("demo==1.0",)))
    base = Path(sys.base_prefix) / "bin/python3"
    has_pip = subprocess.run([base, "-c", "import pip"], check=False, capture_output=True)
    if has_pip.returncode:
        pytest.skip("the base Python has no pip")
    paste((line.replace(site.target, str(base)),), env)
    assert (tmp_path / "folder/demo.py").exists()


def test_what_cannot_be_spared_is_said(place: Path) -> None:
    env = variables(place, PIP_CONSTRAINT="/etc/pip/constraint.txt")
    fix = install(site_of(place, env))
    summary = fix.summary
    assert "env -u PIP_CONSTRAINT " in fix.commands[0]
    assert "`PIP_NO_INDEX` keeps pip from every index" in summary
    assert "the constraints that `PIP_CONSTRAINT` names are left aside" in summary


@pytest.mark.parametrize(
    ("variable", "value", "line"),
    [
        (
            "PIP_INDEX_URL",
            "https://download.pytorch.org/whl/cu118",
            "env -u PIP_INDEX_URL {} -m pip install demo==1.0",
        ),
        ("PIP_INDEX_URL", "https://user:secret@mirror.example/", "{} -m pip install demo==1.0"),
        ("PIP_USER", "0", "{} -m pip install demo==1.0"),
        ("PIP_USER", "", "{} -m pip install demo==1.0"),
    ],
)
def test_only_what_leads_elsewhere_is_spared(
    place: Path, variable: str, value: str, line: str
) -> None:
    site = site_of(place, {variable: value, "HOME": str(place / "home")})
    assert install(site).commands == (line.format(site.target),)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="the flag -P is of Python 3.11")
def test_a_file_that_pip_imports_is_not_in_its_way(place: Path, tmp_path: Path) -> None:
    """`email.py` of a project breaks pip, and torch does without it."""
    (tmp_path / "email.py").write_text("")
    (tmp_path / "lib/html").mkdir(parents=True)
    (tmp_path / "lib/html/__init__.py").write_text("")
    for folder, variable in ((tmp_path, ""), (place, str(tmp_path / "lib"))):
        env = variables(place, PYTHONPATH=variable)
        site = site_of(place, env, cwd=folder)
        paste(install(site).commands, env, folder)
        assert installed(place)
        paste(packages.uninstall(site, "demo", summary="take it out").commands, env, folder)
        assert not installed(place)


def test_an_older_python_is_told_to_start_pip_elsewhere(place: Path, tmp_path: Path) -> None:
    (tmp_path / "email.py").write_text("")
    site = replace(site_of(place, variables(place), cwd=tmp_path), python="3.10")
    assert f"pip would import `{tmp_path}/email.py`" in install(site).summary


def test_the_null_device_as_file_means_no_file(place: Path) -> None:
    file = place / "env/pip.conf"
    file.write_text("[global]\nuser = true\n")
    env = {"HOME": str(place / "home"), "PIP_CONFIG_FILE": os.devnull}
    assert site_of(place, env).pip_settings == ()
    file.unlink()
