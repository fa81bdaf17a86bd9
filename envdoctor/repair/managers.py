"""Every manager of packages by its name, and conda's own words.

Source: the manual of conda (`conda install`, `conda remove`).
"""

from collections.abc import Mapping

from envdoctor.repair.changes import Batch
from envdoctor.repair.manager import Lines, Manager, split_requirement
from envdoctor.repair.pip_interface import PIP, UV
from envdoctor.repair.projects import PROJECTS
from envdoctor.repair.site import Site
from envdoctor.shell import command


def _conda_again(site: Site, batch: Batch) -> Lines:
    specs = (
        f"{name}={version.lstrip('=')}"
        for name, version in map(split_requirement, batch.requirements)
    )
    yield command("conda", "install", "--yes", *_of_prefix(site), "--force-reinstall", *specs)


def conda_install(site: Site, channel: str, *packages: str) -> str:
    """The line that lets conda install packages of a channel."""
    return command("conda", "install", "--yes", *_of_prefix(site), "-c", channel, *packages)


def conda_remove(site: Site, *packages: str) -> str:
    """The line that lets conda remove packages of its own."""
    return command("conda", "remove", "--yes", *_of_prefix(site), *packages)


def _of_prefix(site: Site) -> tuple[str, ...]:
    return ("--prefix", site.prefix) if site.prefix else ()


MANAGERS: Mapping[str, Manager] = {
    "pip": PIP,
    "uv": UV,
    "conda": Manager(change=PIP.change, reinstall=_conda_again, uninstall=PIP.uninstall),
    **PROJECTS,
}
"""By the name of the manager. Which builds conda's channels hold is not in the data: into its
environments torch is installed by their pip."""
