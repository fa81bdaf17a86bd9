"""Where a distribution lies that is not in the target's own environment, and who keeps it there."""

import re

from msgspec.structs import replace

from envdoctor.facts.python import Distribution
from envdoctor.findings import Fix, Safety
from envdoctor.repair.changes import Batch, Change
from envdoctor.repair.managers import MANAGERS
from envdoctor.repair.pip_interface import install_for_user, install_into_folder
from envdoctor.repair.site import OsFamily, Site
from envdoctor.shell import command
from envdoctor.stores import store_of
from envdoctor.versions import parse_version

_ENVIRONMENT = re.compile(r"(?P<prefix>/.*)/lib(?:64)?/python3\.\d+/site-packages")
_SYSTEM = re.compile(r"/usr/lib(?:64)?/python3(?:\.\d+)?/(?:site|dist)-packages")
"""Where the packages of Linux distributions lie; what pip installs as root goes below /usr/local
(Debian Python Policy; Fedora change "Making sudo pip safe")."""


def is_of_system(distribution: Distribution) -> bool:
    """Whether the package manager of the operating system keeps it."""
    by_name = distribution.installer in ("debian", "rpm")
    return by_name or _SYSTEM.fullmatch(distribution.location) is not None


def is_elsewhere(site: Site, distribution: Distribution) -> bool:
    """Whether it lies in another place than what the target's installer fills, which can be
    installed into: what goes beside a package of a store goes into the target's own."""
    if store_of(distribution.location):
        return False
    if site.prefix is None or site.user_site == distribution.location:
        return site.user_site == distribution.location
    return not distribution.location.startswith(f"{site.prefix.rstrip('/')}/")


def is_bare_folder(site: Site, distribution: Distribution) -> bool:
    """Whether it lies in a folder that is no environment: one that `pip --target` filled."""
    of_user = site.user_site == distribution.location
    return not of_user and _prefix_of(distribution) is None


def _prefix_of(distribution: Distribution) -> str | None:
    found = _ENVIRONMENT.fullmatch(distribution.location)
    return found["prefix"] if found else None


def lines(site: Site, distribution: Distribution, batch: Batch) -> tuple[str, ...]:
    """Install into the place where a distribution lies, with pip."""
    prefix = _prefix_of(distribution)
    if distribution.location == site.user_site:
        return (install_for_user(site, batch),)
    if prefix is None:
        return (install_into_folder(site, distribution.location, batch),)
    there = replace(site, target=f"{prefix}/bin/python3", prefix=prefix)
    return tuple(MANAGERS["pip"].change(there, Change(batches=(batch,))))


# --- conda and the operating system ---

_OF_CONDA = {"torch": "pytorch"}
"""Packages that conda calls otherwise."""


def restore_by_conda(site: Site, distribution: Distribution) -> Fix:
    """Let conda, or pixi, put back a package that is called as its distribution."""
    name = _OF_CONDA.get(distribution.name, distribution.name)
    there = replace(site, prefix=_prefix_of(distribution) or site.prefix)
    return restore_conda_package(there, name, _base_of(distribution.version))


def restore_conda_package(site: Site, package: str, version: str) -> Fix:
    """Let conda, or pixi, put back a package."""
    manager = MANAGERS["pixi" if site.manager == "pixi" else "conda"]
    return Fix(
        summary=f"let conda restore {package} {version}, which it installed",
        commands=tuple(manager.reinstall(site, Batch(requirements=(f"{package}=={version}",)))),
        safety=Safety.CHANGES_ENV,
    )


def _base_of(version: str) -> str:
    """conda-forge counts its own builds as post releases; its packages are called without."""
    parsed = parse_version(version)
    return parsed.base_version if parsed else version


_BY_SYSTEM: dict[OsFamily, tuple[str, str]] = {
    "debian": ("sudo apt-get install --reinstall", "dpkg -S {path} | cut -d: -f1"),
    "ubuntu": ("sudo apt-get install --reinstall", "dpkg -S {path} | cut -d: -f1"),
    "fedora": ("sudo dnf reinstall", "rpm -qf {path}"),
    "rhel": ("sudo dnf reinstall", "rpm -qf {path}"),
    "suse": ("sudo zypper install --force", "rpm -qf {path}"),
    "arch": ("sudo pacman -S", "pacman -Qqo {path}"),
}
"""How to install a package again, and how to ask for the package that holds a file."""

_TORCH_OF_DEBIAN = "python3-torch $(dpkg-query --show --showformat='${Package} ' 'libtorch[0-9]*')"
"""Debian's torch is the Python package, and the libraries in packages of their own."""


def restore_by_system(site: Site, distribution: Distribution) -> Fix:
    """Let the package manager of the operating system put back what it installed."""
    debian = "/dist-packages" in distribution.location or distribution.installer == "debian"
    family = "debian" if debian else site.os_family
    again, owner = _BY_SYSTEM.get(family, ("", ""))
    summary = f"let the system's package manager restore {distribution.name}, which it installed"
    if not again:
        return Fix(summary=summary)
    asked = f"$({owner.format(path=command(distribution.metadata_path))})"
    package = _TORCH_OF_DEBIAN if debian and distribution.name == "torch" else asked
    return Fix(summary=summary, commands=(f"{again} {package}",), safety=Safety.NEEDS_ROOT)


def restore_system_package(site: Site, package: str) -> Fix:
    """Install a package of the operating system again."""
    again, _ = _BY_SYSTEM.get(site.os_family, ("", ""))
    summary = f"install the system's package {package} again"
    if not again:
        return Fix(summary=summary)
    line = f"{again} {command(package)}"
    return Fix(summary=summary, commands=(line,), safety=Safety.NEEDS_ROOT)
