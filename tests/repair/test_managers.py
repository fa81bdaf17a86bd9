"""Every manager of packages, in its own words, as a real shell understands them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from envdoctor.facts.python import Distribution, Installer
from envdoctor.findings import Fix, Safety
from envdoctor.repair import Site, packages, pytorch_source
from tests.repair.shell import HOSTILE, Call, Shell

CU126 = "https://download.pytorch.org/whl/cu126"
SOURCE = pytorch_source("cu126", "2.6.0")


@dataclass(frozen=True)
class Place:
    """The project of a hostile name, its environment, and its interpreter."""

    project: str
    target: str

    @property
    def site_packages(self) -> str:
        return f"{self.prefix}/lib/python3.11/site-packages"

    @property
    def prefix(self) -> str:
        return str(Path(self.target).parent.parent)

    def site(self, manager: str) -> Site:
        evidence = {
            "uv project": f"{self.project}/uv.lock",
            "pixi": f"{self.prefix}/conda-meta",
            "conda": f"{self.prefix}/conda-meta",
            "poetry": f"{self.project}/poetry.lock",
            "pdm": f"{self.project}/pdm.lock",
            "pipenv": f"{self.project}/Pipfile.lock",
        }.get(manager, "")
        return Site(
            target=self.target,
            installer=Installer(
                name=manager.split(maxsplit=1)[0],
                evidence=evidence,
                in_conda=manager in ("conda", "pixi"),
            ),
            python="3.11",
            prefix=self.prefix,
            base_prefix="/usr",
            machine="x86_64",
        )

    def distribution(
        self, name: str = "torch", version: str = "2.6.0+cu126", installer: str = "pip"
    ) -> Distribution:
        return Distribution(
            name=name,
            version=version,
            location=self.site_packages,
            metadata_path=f"{self.site_packages}/{name}.dist-info",
            installer=installer,
        )


@pytest.fixture
def place(shell: Shell) -> Place:
    project = shell.root / HOSTILE
    target = shell.add(project / ".venv" / "bin" / "python")
    return Place(project=str(project), target=str(target))


@pytest.fixture
def pixi_place(shell: Shell) -> Place:
    project = shell.root / HOSTILE
    target = shell.add(project / ".pixi" / "envs" / "gpu" / "bin" / "python")
    return Place(project=str(project), target=str(target))


Expected = Callable[[Place], list[Call]]


def pip(*words: str) -> Expected:
    return lambda place: [Call(place.target, ("-m", "pip", *words))]


def uv(verb: str, *words: str) -> Expected:
    return lambda place: [Call("uv", ("pip", verb, "--python", place.target, *words))]


def of_project(program: str, option: str, *words: str, after: int = 1) -> Expected:
    """The option that names the project stands after that many words."""
    return lambda place: [Call(program, (*words[:after], option, place.project, *words[after:]))]


def pipenv(*words: str) -> Expected:
    return lambda place: [Call("pipenv", words, f"{place.project}/Pipfile")]


def both(*expected: Expected) -> Expected:
    return lambda place: [call for one in expected for call in one(place)]


def nothing(place: Place) -> list[Call]:
    return []


INSTALL = {
    "pip": pip("install", "numpy<2"),
    "uv": uv("install", "numpy<2"),
    "uv project": of_project("uv", "--project", "add", "numpy<2"),
    "conda": pip("install", "numpy<2"),
    "poetry": of_project("poetry", "--directory", "add", "numpy<2", after=0),
    "pdm": of_project("pdm", "--project", "add", "numpy<2"),
    "pipenv": pipenv("install", "numpy<2"),
}
FROM_INDEX = {
    "pip": pip("install", "torch==2.6.0", "--index-url", CU126),
    "uv": uv("install", "torch==2.6.0", "--index-url", CU126),
    "uv project": of_project("uv", "--project", "add", "torch==2.6.0"),
    "conda": pip("install", "torch==2.6.0", "--index-url", CU126),
    "poetry": both(
        of_project(
            "poetry",
            "--directory",
            *("source", "add", "--priority=explicit", "pytorch-cu126", CU126),
            after=0,
        ),
        of_project(
            "poetry", "--directory", "add", "--source", "pytorch-cu126", "torch==2.6.0", after=0
        ),
    ),
    "pdm": both(
        of_project("pdm", "--project", "config", "--local", "pypi.pytorch-cu126.url", CU126),
        of_project("pdm", "--project", "add", "torch==2.6.0+cu126"),
    ),
    "pipenv": pipenv("install", "--index", CU126, "torch==2.6.0"),
}
RESTORE = {
    "pip": pip(
        "install", "--force-reinstall", "--no-deps", "torch==2.6.0+cu126", "--index-url", CU126
    ),
    "uv": uv("install", "--reinstall", "--no-deps", "torch==2.6.0+cu126", "--index-url", CU126),
    "uv project": of_project(
        "uv", "--project", "sync", "--inexact", "--reinstall-package", "torch"
    ),
    "conda": pip(
        "install", "--force-reinstall", "--no-deps", "torch==2.6.0+cu126", "--index-url", CU126
    ),
    "poetry": both(
        pip("uninstall", "-y", "torch"), of_project("poetry", "--directory", "install", after=0)
    ),
    "pdm": of_project("pdm", "--project", "sync", "--reinstall"),
    "pipenv": both(pip("uninstall", "-y", "torch"), pipenv("sync")),
}
UNINSTALL = {
    "pip": pip("uninstall", "-y", "numpy", "torch"),
    "uv": uv("uninstall", "numpy", "torch"),
    "uv project": uv("uninstall", "numpy", "torch"),
    "conda": pip("uninstall", "-y", "numpy", "torch"),
    "poetry": pip("uninstall", "-y", "numpy", "torch"),
    "pdm": of_project("pdm", "--project", "sync", "--clean"),
    "pipenv": pip("uninstall", "-y", "numpy", "torch"),
}
COMPLETE = {
    "pip": pip("install", "torch==2.6.0+cu126", "--index-url", CU126),
    "uv": uv("install", "torch==2.6.0+cu126", "--index-url", CU126),
    "uv project": of_project("uv", "--project", "sync", "--inexact"),
    "conda": pip("install", "torch==2.6.0+cu126", "--index-url", CU126),
    "poetry": of_project("poetry", "--directory", "install", after=0),
    "pdm": of_project("pdm", "--project", "sync"),
    "pipenv": pipenv("sync"),
}


def calls_of(fix: Fix, shell: Shell) -> list[Call]:
    """The calls of a fix that changes the environment."""
    assert fix.safety is Safety.CHANGES_ENV, fix
    return shell.run(fix.commands)


@pytest.mark.parametrize("manager", INSTALL)
def test_install(manager: str, place: Place, shell: Shell) -> None:
    fix = packages.install(place.site(manager), "numpy<2", summary="install it")
    assert calls_of(fix, shell) == INSTALL[manager](place)


@pytest.mark.parametrize("manager", FROM_INDEX)
def test_install_from_an_index_of_pytorch(manager: str, place: Place, shell: Shell) -> None:
    fix = packages.install(place.site(manager), "torch==2.6.0", summary="install it", source=SOURCE)
    assert calls_of(fix, shell) == FROM_INDEX[manager](place)


@pytest.mark.parametrize("manager", RESTORE)
def test_restore(manager: str, place: Place, shell: Shell) -> None:
    fix = packages.restore(place.site(manager), place.distribution())
    assert calls_of(fix, shell) == RESTORE[manager](place)
    assert "all of its files are replaced" in fix.summary


@pytest.mark.parametrize("manager", UNINSTALL)
def test_uninstall(manager: str, place: Place, shell: Shell) -> None:
    fix = packages.uninstall(place.site(manager), "numpy", "torch", summary="take them out")
    assert calls_of(fix, shell) == UNINSTALL[manager](place)


@pytest.mark.parametrize("manager", COMPLETE)
def test_install_what_is_missing(manager: str, place: Place, shell: Shell) -> None:
    fix = packages.complete(place.site(manager), place.distribution(), summary="complete it")
    assert calls_of(fix, shell) == COMPLETE[manager](place)


def test_pixi_names_the_index_in_its_manifest(pixi_place: Place, shell: Shell) -> None:
    place, site = pixi_place, pixi_place.site("pixi")
    manifest = ("--manifest-path", place.project)
    fix = packages.install(site, "torch==2.6.0", summary="install it", source=SOURCE)
    assert f'#   torch = {{ version = "==2.6.0", index = "{CU126}" }}' in fix.commands
    assert calls_of(fix, shell) == [Call("pixi", ("install", *manifest))]
    again = packages.restore(site, place.distribution(installer="uv-pixi"))
    words = ("reinstall", *manifest, "--environment", "gpu", "torch")
    assert calls_of(again, shell) == [Call("pixi", words)]
    missing = packages.complete(site, place.distribution(), summary="complete it")
    assert calls_of(missing, shell) == [Call("pixi", ("install", *manifest))]


def test_what_pip_put_into_an_environment_of_pixi_is_restored_by_pip(
    pixi_place: Place, shell: Shell
) -> None:
    fix = packages.restore(pixi_place.site("pixi"), pixi_place.distribution("numpy", "2.1.0"))
    assert calls_of(fix, shell) == pip("install", "--force-reinstall", "--no-deps", "numpy==2.1.0")(
        pixi_place
    )


def test_a_project_whose_folder_is_not_known_is_named_by_its_interpreter(
    place: Place, shell: Shell
) -> None:
    for name in ("poetry", "pdm", "pipenv"):
        site = Site(target=place.target, installer=Installer(name=name, evidence=""))
        fix = packages.install(site, "numpy<2", summary="install it")
        assert fix.commands[0] == f"# in the project of {place.target}"
        words = ("install" if name == "pipenv" else "add", "numpy<2")
        assert calls_of(fix, shell) == [Call(name, words)]


def test_a_line_feed_in_a_path_does_not_end_the_comment(shell: Shell) -> None:
    site = Site(target="/a\ntouch pwned\n/python", installer=Installer(name="pdm", evidence=""))
    fix = packages.install(site, "numpy<2", summary="install it")
    assert calls_of(fix, shell) == [Call("pdm", ("add", "numpy<2"))]


def test_the_index_of_a_uv_project_is_for_torch_alone(place: Place) -> None:
    """As explicit: numpy is on PyTorch's index too, and uv would take the older one there."""
    fix = packages.install(
        place.site("uv project"), "torch==2.6.0", summary="install it", source=SOURCE
    )
    lines = [line.removeprefix("#").strip() for line in fix.commands]
    assert "explicit = true" in lines
    assert 'torch = { index = "pytorch-cu126" }' in lines


def test_an_environment_beside_that_of_the_project_is_not_the_projects(place: Place) -> None:
    """`uv sync` fills `.venv` alone."""
    lock = Installer(name="uv", evidence=f"{place.project}/uv.lock")
    site = Site(target=f"{place.project}/.venv-old/bin/python", installer=lock)
    assert site.manager == "uv"
    fix = packages.install(site, "numpy<2", summary="install it")
    assert fix.commands[0].startswith("uv pip install --python ")


def test_a_manager_without_words_is_named_and_no_command_is_made_up() -> None:
    site = Site(installer=Installer(name="bazel", evidence=""))
    for fix in (
        packages.install(site, "numpy<2", summary="install an older numpy"),
        packages.uninstall(site, "numpy", summary="take numpy out"),
    ):
        assert fix.commands == ()
        assert fix.safety is Safety.MANUAL
        assert "with bazel, which manages this environment" in fix.summary


@pytest.mark.parametrize("name", ["--index-url=http://evil", "-r/etc/passwd", "a b", ""])
def test_what_is_no_name_becomes_no_word_of_a_command(name: str, place: Place) -> None:
    site = place.site("pip")
    assert packages.uninstall(site, name, summary="out").commands == ()
    assert packages.restore(site, place.distribution(name, "1.0")).commands == ()
    assert packages.install(site, f"{name}==1.0", summary="in").commands == ()


def test_a_python_that_the_system_manages_needs_the_flag_and_is_not_the_place(
    place: Place, shell: Shell
) -> None:
    site = Site(target=place.target, externally_managed=True)
    fix = packages.install(site, "numpy<2", summary="install it")
    words = ("-m", "pip", "install", "--break-system-packages", "numpy<2")
    assert calls_of(fix, shell) == [Call(place.target, words)]
    assert "a virtual environment is the better place" in fix.summary


def test_several_wheels_of_one_place_are_restored_by_one_command(
    place: Place, shell: Shell
) -> None:
    wheels = [
        place.distribution(f"nvidia-{part}-cu12", "12.4.1") for part in ("cublas", "nccl", "cufft")
    ]
    elsewhere = Distribution(
        name="nvidia-curand-cu12", version="1", location="/other", metadata_path="/other/x"
    )
    fix = packages.restore(place.site("pip"), *wheels, elsewhere)
    names = [f"nvidia-{part}-cu12==12.4.1" for part in ("cublas", "nccl", "cufft")]
    assert calls_of(fix, shell) == pip("install", "--force-reinstall", "--no-deps", *names)(place)
    assert "3 packages, nvidia-cublas-cu12 12.4.1 among them" in fix.summary
