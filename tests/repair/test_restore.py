"""What is restored by whom, and where: by what installed it, at the place where it lies."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from envdoctor.facts.machine import Container, Host
from envdoctor.facts.python import Distribution, Installer, Interpreter, Target
from envdoctor.findings import Place, Safety
from envdoctor.repair import Site, packages, site_of
from tests.repair.shell import HOSTILE, Call, Shell

PREFIX = "/home/me/env"
SITE = Site(
    target=f"{PREFIX}/bin/python",
    installer=Installer(name="pip", evidence=""),
    python="3.11",
    prefix=PREFIX,
    base_prefix="/opt/python",
    user_site="/home/me/.local/lib/python3.11/site-packages",
    os_family="debian",
    machine="x86_64",
)
OWN = f"{PREFIX}/lib/python3.11/site-packages"


def distribution(name: str, version: str, location: str = OWN, **fields: object) -> Distribution:
    metadata = f"{location}/{name}-{version}.dist-info"
    made = Distribution(name=name, version=version, location=location, metadata_path=metadata)
    return replace(made, **fields)


# --- local versions ---


@pytest.mark.parametrize(
    ("version", "index"),
    [
        ("2.6.0", None),
        ("2.6.0+cpu", "https://download.pytorch.org/whl/cpu"),
        ("2.6.0+cu124", "https://download.pytorch.org/whl/cu124"),
        ("1.8.1+cu92", "https://download.pytorch.org/whl/cu92"),
        ("2.6.0+rocm6.2.4", "https://download.pytorch.org/whl/rocm6.2.4"),
        ("2.6.0+xpu", "https://download.pytorch.org/whl/xpu"),
        ("2.7.0.dev20250110+cu128", "https://download.pytorch.org/whl/nightly/cu128"),
    ],
)
def test_a_variant_of_pytorch_names_its_index(version: str, index: str | None) -> None:
    (line,) = packages.restore(SITE, distribution("torch", version)).commands
    assert f"torch=={version}" in line
    assert line.endswith(f"--index-url {index}" if index else f"torch=={version}")


@pytest.mark.parametrize(
    "version",
    [
        "2.5.0a0+ecf3bae40a.nv25.1",
        "2.3.0a0+ebedce2.nv24.04",
        "1.13.0a0+gitunknown",
        "2.6.0a0+git1a2b3c4",
        "2.6.0+cu126.pypi",
        "2.6.0+cu1234",
        "2.6.0+rocm6",
        "2.6.0+computecanada",
        "2.6.0a0",
        "2.7.0.dev20250110",
        "2.6.0+../../evil",
        "not a version",
    ],
)
@pytest.mark.parametrize("container", ["none", "docker"])
def test_what_no_index_holds_gets_no_command(version: str, container: str) -> None:
    site = replace(SITE, container=container)
    for fix in (
        packages.restore(site, distribution("torch", version)),
        packages.complete(site, distribution("torch", version), summary="complete it"),
    ):
        assert fix.commands == ()
        assert fix.safety is Safety.MANUAL
    said = packages.restore(site, distribution("torch", version))
    assert f"no index holds torch {version}" in said.summary
    assert ("image" in said.summary) or container == "none"
    assert said.where is (Place.IMAGE if container == "docker" else said.where)


def test_nvidias_own_build_and_one_from_source_are_told_apart() -> None:
    vendor = packages.restore(SITE, distribution("torch", "2.5.0a0+ecf3bae40a.nv25.1"))
    assert vendor.where is Place.NONE
    assert "NVIDIA's own, from an image or JetPack" in vendor.summary
    source = packages.restore(SITE, distribution("torch", "2.6.0a0+git1a2b3c4"))
    assert source.where is Place.HERE
    assert "build it again in its checkout" in source.summary
    editable = packages.restore(SITE, distribution("torch", "2.6.0", editable=True))
    assert "build it again in its checkout" in editable.summary


def test_a_local_version_of_another_package_is_no_index() -> None:
    """flash-attn's wheels come from a page of releases."""
    fix = packages.restore(SITE, distribution("flash-attn", "2.7.4+cu12torch2.6cxx11abiFALSE"))
    assert fix.commands == ()
    assert packages.restore(SITE, distribution("xformers", "0.0.29+cu124")).commands == ()


# --- who installed it ---


def test_conda_restores_what_conda_installed(shell: Shell) -> None:
    prefix = str(shell.root / HOSTILE)
    location = f"{prefix}/lib/python3.11/site-packages"
    site = replace(
        SITE,
        target=f"{prefix}/bin/python",
        prefix=prefix,
        installer=Installer(name="conda", evidence=f"{prefix}/conda-meta", in_conda=True),
    )
    torch = distribution("torch", "2.5.1.post303", location, installer="conda")
    fix = packages.restore(site, torch)
    words = ("install", "--yes", "--prefix", prefix, "--force-reinstall", "pytorch=2.5.1")
    assert shell.run(fix.commands) == [Call("conda", words)]
    by_pip = packages.restore(site, distribution("torch", "2.5.1", location, installer="pip"))
    assert "-m pip install --force-reinstall --no-deps torch==2.5.1" in by_pip.commands[0]


def test_a_conda_below_a_virtual_environment_restores_its_own() -> None:
    torch = distribution(
        "torch", "2.5.1", "/opt/conda/lib/python3.11/site-packages", installer="conda"
    )
    assert packages.restore(SITE, torch).commands == (
        "conda install --yes --prefix /opt/conda --force-reinstall pytorch=2.5.1",
    )


def test_the_operating_system_restores_what_it_installed(shell: Shell) -> None:
    """By the files of its packages: the names of packages are not those of distributions."""
    debian = distribution("pyyaml", "6.0", "/usr/lib/python3/dist-packages", installer="debian")
    (line,) = packages.restore(SITE, debian).commands
    assert line.startswith("sudo apt-get install --reinstall $(dpkg -S /usr/lib/python3/")
    torch = replace(debian, name="torch", version="1.13.0a0+gitunknown", installer=None)
    fix = packages.restore(SITE, torch)
    assert fix.commands[0].startswith("sudo apt-get install --reinstall python3-torch ")
    assert fix.safety is Safety.NEEDS_ROOT
    fedora = distribution("torch", "2.5.1", "/usr/lib64/python3.13/site-packages", installer="rpm")
    (line,) = packages.restore(replace(SITE, os_family="fedora"), fedora).commands
    assert line.startswith("sudo dnf reinstall $(rpm -qf /usr/lib64/python3.13/")
    unknown = packages.restore(replace(SITE, os_family="alpine"), fedora)
    assert unknown.commands == ()


def test_a_hostile_path_is_quoted_inside_of_a_substitution(shell: Shell) -> None:
    odd = distribution("torch", "2.5.1", f"/{HOSTILE}", installer="rpm")
    fix = packages.restore(replace(SITE, os_family="fedora"), odd)
    asked, reinstalled = shell.run(fix.commands)
    assert asked == Call("rpm", ("-qf", odd.metadata_path))
    assert reinstalled == Call("sudo", ("dnf", "reinstall"))


# --- where it lies ---


def test_in_the_base_of_a_virtual_environment() -> None:
    torch = distribution("torch", "2.6.0", "/opt/python/lib/python3.11/site-packages")
    assert packages.restore(SITE, torch).commands == (
        "/opt/python/bin/python3 -m pip install --force-reinstall --no-deps torch==2.6.0",
    )


def test_in_the_users_own_site_packages() -> None:
    torch = distribution("torch", "2.6.0", str(SITE.user_site))
    assert packages.restore(SITE, torch).commands == (
        f"{PREFIX}/bin/python -m pip install --user --force-reinstall --no-deps torch==2.6.0",
    )


def test_in_a_folder_that_pip_filled(shell: Shell) -> None:
    folder = str(shell.root / HOSTILE)
    python = shell.add(shell.root / "env" / "bin" / "python")
    site = replace(SITE, target=str(python))
    fix = packages.restore(site, distribution("numpy", "2.1.0", folder))
    words = ("install", "--upgrade", "--target", folder, "--force-reinstall", "--no-deps")
    assert shell.run(fix.commands) == [Call(str(python), ("-m", "pip", *words, "numpy==2.1.0"))]


def test_a_wheel_that_shares_its_folder_is_not_put_back_alone_there() -> None:
    """`pip install --target --upgrade nvidia-...` would replace all of nvidia/ by that wheel."""
    folder = "/srv/target"
    torch = distribution("torch", "2.6.0", folder)
    runtime = distribution("nvidia-cuda-runtime-cu12", "12.4.127", folder)
    (line,) = packages.restore(SITE, runtime, torch=torch).commands
    assert line.endswith("pip install --upgrade --target /srv/target torch==2.6.0")
    assert "--no-deps" not in line


def test_what_is_missing_is_installed_beside_what_asks_for_it() -> None:
    torch = distribution("torch", "2.6.0", "/opt/python/lib/python3.11/site-packages")
    fix = packages.install(SITE, "filelock", summary="install it", beside=torch)
    assert fix.commands == ("/opt/python/bin/python3 -m pip install filelock",)


@pytest.mark.parametrize(
    ("metadata", "away"),
    [
        (f"{OWN}/idna-3.0.dist-info", f"rm -r -- {OWN}/idna-3.0.dist-info"),
        (f"{OWN}/idna-3.0.egg-info", f"find {OWN}/idna-3.0.egg-info -maxdepth 0 -type f -delete"),
    ],
)
def test_metadata_without_a_list_of_files_goes_first(metadata: str, away: str) -> None:
    """No installer uninstalls such a distribution (pypa/pip#12645)."""
    item = distribution("idna", "3.0", OWN)
    unlisted = replace(item, metadata_path=metadata, has_record=False)
    pip = "/home/me/env/bin/python -m pip install"
    fix = packages.install(SITE, "idna>=3.5", summary="install it", beside=unlisted)
    assert fix.commands == (away, f"{pip} 'idna>=3.5'")
    assert packages.restore(SITE, unlisted).commands[0] == away
    assert len(packages.install(SITE, "idna>=3.5", summary="x", beside=item).commands) == 1
    assert len(packages.install(SITE, "filelock", summary="x", beside=unlisted).commands) == 1


# --- the site itself ---


def _interpreter(prefix: str, base_prefix: str) -> Interpreter:
    return Interpreter(
        executable=f"{prefix}/bin/python3",
        version="3.12.3",
        version_info=(3, 12, 3),
        implementation="CPython",
        soabi=None,
        machine="x86_64",
        prefix=prefix,
        base_prefix=base_prefix,
        sys_path=(),
        site_packages=(),
        user_site=None,
        user_site_enabled=False,
        safe_path=False,
        stdlib="/usr/lib/python3.12",
        cwd="/",
        externally_managed=True,
    )


@pytest.mark.parametrize(("prefix", "managed"), [("/usr", True), ("/home/me/env", False)])
def test_a_virtual_environment_of_a_managed_python_is_free(prefix: str, managed: bool) -> None:
    """The mark EXTERNALLY-MANAGED lies in the standard library, which it shares."""
    interpreter = _interpreter(prefix, "/usr")
    site = site_of.fn(
        target=Target(path="/x/python", chosen_because="test"),
        interpreter=interpreter,
        installer=None,
        host=None,
        container=None,
        environment=None,
    )
    assert isinstance(site, Site)
    assert (site.externally_managed, site.python) == (managed, "3.12")


def test_a_site_of_which_nothing_is_known_still_has_words() -> None:
    site = site_of.fn(
        target=None,
        interpreter=None,
        installer=None,
        host=None,
        container=None,
        environment=None,
    )
    assert isinstance(site, Site)
    fix = packages.install(site, "numpy<2", summary="install it")
    assert fix.commands == ("python3 -m pip install 'numpy<2'",)


def test_the_site_of_a_container(tmp_path: Path) -> None:
    site = site_of.fn(
        target=None,
        interpreter=None,
        installer=None,
        host=Host(
            os="Fedora Linux 41",
            os_id="fedora",
            os_version="41",
            kernel="6.11.0",
            machine="aarch64",
            glibc="2.40",
            cpu_name="made up",
            cpu_flags=(),
            logical_cpus=4,
            physical_cpus=4,
            memory_bytes=2**33,
            memory_available_bytes=2**32,
        ),
        container=Container(kind="podman"),
        environment=None,
    )
    assert isinstance(site, Site)
    assert (site.os_family, site.machine, site.contained) == ("fedora", "aarch64", True)
