"""Repairs of the packages of a target: install, restore exactly what was there, take out."""

import re
from collections.abc import Iterable

from msgspec.structs import replace
from packaging.requirements import InvalidRequirement, Requirement

from envdoctor.facts.python import Distribution
from envdoctor.findings import Fix, Place, Safety
from envdoctor.prescribe.records import Prescription
from envdoctor.repair import other_places
from envdoctor.repair.changes import Batch, Change, Source, pytorch_index
from envdoctor.repair.manager import names_in
from envdoctor.repair.managers import MANAGERS, conda_install
from envdoctor.repair.pip_settings import remarks
from envdoctor.repair.site import Site
from envdoctor.shell import command
from envdoctor.stores import made_with, repair_of, store_of
from envdoctor.versions import parse_version
from envdoctor.wheel_index import is_variant

_WITH_VARIANT = (
    "torch",
    "torchvision",
    "torchaudio",
    "torchtext",
    "torchao",
    "torchcodec",
    "torchdata",
    "torchrec",
    "fbgemm-gpu",
)
"""What PyTorch's index holds with the variant as local version (download.pytorch.org/whl)."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""A name of a distribution (PEP 508); nothing else becomes a word of a command."""


def install(
    site: Site,
    *requirements: str,
    summary: str,
    source: Source | None = None,
    again: bool = False,
    beside: Distribution | None = None,
) -> Fix:
    """Install requirements into the target, or beside a distribution that lies elsewhere.

    `again` replaces the files of what counts as installed at that version.
    """
    batch = Batch(requirements=requirements, source=source, again=again)
    if not all(map(_is_requirement, requirements)):
        return Fix(summary=summary)
    if beside is not None and other_places.is_elsewhere(site, beside):
        lines = other_places.lines(site, beside, batch)
    else:
        lines = _change(site, Change(batches=(batch,)))
    names = names_in(requirements)
    fix = _fix(site, summary, lines, *names)
    return _unlisted_first(fix, beside) if beside is not None and beside.name in names else fix


def _unlisted_first(fix: Fix, *replaced: Distribution) -> Fix:
    """Take the metadata of what has no list of its files away before that is replaced.

    No installer uninstalls it, and all end there (pypa/pip#12645): a dist-info without RECORD, or
    the egg-info of distutils, which is a file. An egg-info that is a folder stays: its files are
    found by its other lists.
    """
    unlisted = [one.metadata_path for one in replaced if not one.has_record]
    if not unlisted or not fix.commands or any(map(store_of, unlisted)):
        return fix
    away = (
        command("rm", "-r", "--", one)
        if one.endswith(".dist-info")
        else command("find", one, "-maxdepth", "0", "-type", "f", "-delete")
        for one in unlisted
    )
    summary = f"{fix.summary} (its metadata, which lists no files, goes first)"
    return replace(fix, summary=summary, commands=(*away, *fix.commands))


def _is_requirement(text: str) -> bool:
    """Whether it is one, or the address of a wheel."""
    if text.startswith("https://"):
        return True
    try:
        return _NAME.fullmatch(Requirement(text).name) is not None
    except InvalidRequirement:
        return False


def complete(site: Site, distribution: Distribution, *, summary: str) -> Fix:
    """Install what a distribution requires and what is not there."""
    manager = MANAGERS.get(site.manager)
    if manager is not None and manager.sync and not other_places.is_elsewhere(site, distribution):
        return _fix(site, summary, tuple(manager.sync(site)))
    requirement = f"{distribution.name}=={distribution.version}"
    batch = Batch(requirements=(requirement,), source=_source_of(site, distribution))
    if _unpublished(distribution):
        return replace(_made_again(site, distribution), summary=summary)
    if other_places.is_elsewhere(site, distribution):
        return _fix(site, summary, other_places.lines(site, distribution, batch))
    return _fix(site, summary, _change(site, Change(batches=(batch,))), distribution.name)


def uninstall(site: Site, *names: str, summary: str) -> Fix:
    """Take distributions out of the target's environment."""
    manager = MANAGERS.get(site.manager)
    known = manager is not None and all(map(_NAME.fullmatch, names))
    return _fix(site, summary, tuple(manager.uninstall(site, names)) if known and manager else ())


def forget(distributions: Iterable[Distribution], *, summary: str) -> Fix:
    """Remove the metadata of distributions whose files are gone."""
    folders = [one.metadata_path for one in distributions]
    if any(map(store_of, folders)):
        return Fix(summary=f"{summary}, where it is built")
    return Fix(
        summary=summary,
        commands=(command("rm", "-r", "--", *folders),),
        safety=Safety.CHANGES_ENV,
    )


def keep_one_set(
    site: Site, *, gone: list[Distribution], kept: list[Distribution], summary: str
) -> Fix:
    """Take out distributions that share folders with others, and put back what went with them."""
    out = uninstall(site, *(one.name for one in gone), summary=summary) if gone else None
    back = restore(site, *kept) if kept else None
    commands = tuple(line for fix in (out, back) if fix for line in fix.commands)
    return Fix(
        summary=summary,
        commands=commands,
        safety=Safety.CHANGES_ENV if commands else Safety.MANUAL,
    )


def restore(site: Site, *distributions: Distribution, torch: Distribution | None = None) -> Fix:
    """Put back exactly what is installed, by what installed it and where that was.

    Several are put back together if they lie in one place and came the same way, else the first.
    `torch` is what requires them: wheels that share a folder (nvidia/) cannot be put back one by
    one into a folder that `pip --target` filled.
    """
    first, *_ = distributions
    what = f"{first.name} {first.version}"
    store = store_of(first.location)
    if store:
        return Fix(
            summary=f"{what} is part of a store of {store}, where nothing is written: let {store} "
            "restore it",
            commands=(repair_of(store, first.metadata_path),),
            safety=Safety.NEEDS_ROOT,
        )
    if other_places.is_of_system(first):
        return other_places.restore_by_system(site, first)
    if first.installer == "conda":
        return other_places.restore_by_conda(site, first)
    if _unpublished(first) or not _NAME.fullmatch(first.name):
        return _made_again(site, first)
    alike = [one for one in distributions if _came_as(site, one) == _came_as(site, first)]
    batch = Batch(
        requirements=tuple(f"{one.name}=={one.version}" for one in alike),
        source=_source_of(site, first),
        again=True,
    )
    if len(alike) > 1:
        what = f"{len(alike)} packages, {what} among them"
    if not other_places.is_elsewhere(site, first):
        manager = MANAGERS.get(_manager_of(site, first))
        lines = tuple(manager.reinstall(site, batch)) if manager else ()
        return _unlisted_first(_fix(site, _restoring(what), lines), *alike)
    shared = first.name.startswith("nvidia-") and other_places.is_bare_folder(site, first)
    if shared and torch is not None:
        source = _source_of(site, torch)
        batch = Batch(requirements=(f"torch=={torch.version}",), source=source)
        what = f"torch {torch.version} with all that it requires, {first.name} among it,"
    lines = other_places.lines(site, first, batch)
    return _fix(site, f"{_restoring(what)} in {first.location}", lines)


def restore_all(site: Site, *distributions: Distribution) -> Fix:
    """Put back several distributions, one command after the other for those that came otherwise."""
    alike: dict[tuple[object, ...], list[Distribution]] = {}
    for one in distributions:
        alike.setdefault(_came_as(site, one), []).append(one)
    fixes = [restore(site, *group) for group in alike.values()]
    if len(fixes) == 1:
        return fixes[0]
    without = [fix.summary for fix in fixes if not fix.commands]
    rest = "".join(f"; {summary}" for summary in without)
    return replace(
        max(fixes, key=lambda fix: bool(fix.commands)),
        summary=f"restore {len(distributions)} packages: all of their files are replaced{rest}",
        commands=tuple(line for fix in fixes for line in fix.commands),
    )


def _came_as(site: Site, one: Distribution) -> tuple[object, ...]:
    """What two distributions share that one command can put back."""
    return one.location, _manager_of(site, one), _source_of(site, one), _unpublished(one)


def without_link(link: str, restoring: Fix) -> Fix:
    """Remove a link that is in place of a folder, and then put back what was in that folder; those
    of a store are as they have to be."""
    if not restoring.commands or store_of(link):
        return restoring
    return replace(
        restoring,
        summary=f"remove the link `{link}`, and {restoring.summary}",
        commands=(command("rm", link), *restoring.commands),
    )


def restore_system_package(site: Site, package: str) -> Fix:
    """Let the operating system put back a package of its own."""
    return other_places.restore_system_package(site, package)


def restore_conda_package(site: Site, package: str, version: str) -> Fix:
    """Let conda put back a package of its own, by its own name."""
    return other_places.restore_conda_package(site, package, version)


def newer_libstdcxx(site: Site) -> Fix:
    """Bring a newer libstdc++, which comes with compilers and not with wheels."""
    if site.installer is not None and site.installer.in_conda:
        line = conda_install(site, "conda-forge", "libstdcxx-ng")
        summary = "install a newer libstdc++ into the environment"
        return Fix(summary=summary, commands=(line,), safety=Safety.CHANGES_ENV)
    return Fix(
        summary="use a newer operating system or container, whose libstdc++ is newer, or an older "
        "torch",
        where=Place.IMAGE if site.contained else Place.HERE,
    )


def python_of_conda(site: Site, minor: str) -> Fix:
    """Let conda bring the release of Python back whose packages are still there."""
    line = conda_install(site, "conda-forge", f"python={minor}")
    summary = f"go back to Python {minor}: the packages that pip had installed for it are there"
    return Fix(summary=summary, commands=(line,), safety=Safety.CHANGES_ENV)


def library_of_python(site: Site, package: str) -> Fix:
    """Let conda bring its Python again together with a library that this is linked with."""
    python = f"python={site.python}" if site.python else "python"
    line = conda_install(site, "conda-forge", "--force-reinstall", python, package)
    summary = f"let conda install Python again, with the {package} that belongs to it"
    return Fix(summary=summary, commands=(line,), safety=Safety.CHANGES_ENV)


def mkl_with_profiling(site: Site) -> Fix:
    """Bring an Intel MKL that has the profiling interface which older builds of torch take of it:
    2024.1 left it out (pytorch/pytorch#123097)."""
    return Fix(
        summary="install an MKL before 2024.1, which has what this torch takes of it",
        commands=(conda_install(site, "conda-forge", "mkl<2024.1"),),
        safety=Safety.CHANGES_ENV,
    )


_FFMPEG = {
    "debian": "sudo apt-get install ffmpeg",
    "ubuntu": "sudo apt-get install ffmpeg",
    "fedora": "sudo dnf install ffmpeg-free",
    "suse": "sudo zypper install ffmpeg",
    "arch": "sudo pacman -S ffmpeg",
}
"""How the families of systems call FFmpeg with its shared libraries (torchcodec, README)."""


def ffmpeg(site: Site) -> Fix:
    """Bring FFmpeg's libraries, into the environment where conda manages it."""
    summary = "install FFmpeg with its shared libraries"
    if site.installer is not None and site.installer.in_conda:
        line = conda_install(site, "conda-forge", "ffmpeg")
        return Fix(summary=summary, commands=(line,), safety=Safety.CHANGES_ENV)
    line = _FFMPEG.get(site.os_family, "")
    return Fix(
        summary=summary,
        commands=(line,) if line else (),
        safety=Safety.NEEDS_ROOT if line else Safety.MANUAL,
        where=Place.IMAGE if site.contained else Place.HERE,
    )


def _restoring(what: str) -> str:
    return f"restore {what}: all of its files are replaced"


def _change(site: Site, change: Change) -> tuple[str, ...]:
    manager = MANAGERS.get(site.manager)
    return tuple(manager.change(site, change)) if manager else ()


def _fix(site: Site, summary: str, lines: tuple[str, ...], *names: str) -> Fix:
    store = store_of(site.prefix or site.target)
    if store and not any(f" {one} " in line for line in lines for one in ("--target", "--user")):
        means = made_with(store, *names) if names else "build it again without that"
        return Fix(summary=f"{summary}: this Python is part of a store of {store}; {means}")
    if not lines:
        name = site.installer.name if site.installer else "what installed it"
        return Fix(summary=f"{summary}, with {name}, which manages this environment")
    if site.externally_managed and any("--break-system-packages" in line for line in lines):
        summary += " (the system manages this Python: a virtual environment is the better place)"
    where = Place.HERE
    if site.read_only and any(site.target in line for line in lines):
        summary += " (its folder is mounted read-only: do it where the image or the share is made, "
        summary += "or mount it writable first)"
        where = Place.IMAGE if site.contained else Place.HERE
    by_pip = [line for line in lines if f"{command(site.target)} " in line and " -m pip " in line]
    if any(" -m pip install " in line for line in lines):
        summary += "".join(f" ({one})" for one in remarks(site))
    if site.damaged_pip and by_pip and not site.externally_managed:
        folder = command(site.damaged_pip)
        away = f"rm -r -- {folder}/pip {folder}/pip-*.dist-info"
        lines = (away, command(site.target, "-m", "ensurepip"), *lines)
        summary += " (pip itself is damaged here, and comes first)"
    elif site.without_pip and by_pip:
        of_debian = site.externally_managed and site.os_family in ("debian", "ubuntu")
        # Debian switches ensurepip off in the Python of the system.
        first = "sudo apt-get install python3-pip" if of_debian else ""
        lines = (first or command(site.target, "-m", "ensurepip"), *lines)
        summary += " (there is no pip here, which comes first)"
    return Fix(summary=summary, commands=lines, safety=Safety.CHANGES_ENV, where=where)


def _manager_of(site: Site, distribution: Distribution) -> str:
    """What installed a distribution, where that is not what manages the environment."""
    by_hand = distribution.installer in ("pip", "uv")
    if site.manager == "conda" or (site.manager == "pixi" and distribution.installer == "pip"):
        return str(distribution.installer) if by_hand else "pip"
    return site.manager


# --- builds that no index holds ---


def _source_of(site: Site, distribution: Distribution) -> Source | None:
    """PyTorch's index, if the local version of one of its packages names one."""
    local = distribution.version.partition("+")[2]
    if distribution.name not in _WITH_VARIANT or not is_variant(local):
        return None
    version = parse_version(distribution.version)
    nightly = version is not None and version.is_devrelease
    return pytorch_index(local, nightly=nightly, machine=site.machine)


def _unpublished(distribution: Distribution) -> bool:
    """Whether no index can be expected to hold that version.

    The ordinary index takes no local versions (PEP 440), and PyTorch's only those of its variants;
    its alphas are those of a checkout.
    """
    version = parse_version(distribution.version)
    if version is None or distribution.editable:
        return True
    hosted = distribution.name in _WITH_VARIANT
    if version.local is not None:
        return not (hosted and is_variant(version.local))
    return hosted and bool(version.pre or version.dev is not None)


def _made_again(site: Site, distribution: Distribution) -> Fix:
    what = f"{distribution.name} {distribution.version}"
    local = distribution.version.partition("+")[2]
    if re.search(r"(^|\.)nv\d", local):
        maker, again = "it is NVIDIA's own, from an image or JetPack", "take it from there again"
    elif distribution.editable or "git" in local:
        maker, again = "it was built from source", "build it again in its checkout"
    else:
        maker, again = "it was built or downloaded by itself", "install it again from where it came"
    where = Place.HERE if "built" in maker else Place.NONE
    if site.contained:
        again, where = f"start again from the image, or rebuild it ({again})", Place.IMAGE
    return Fix(summary=f"no index holds {what}: {maker}; {again}", where=where)


# --- what the prescriber says ---


def prescribed(prescription: Prescription | None, summary: str) -> Fix:
    """The build that would work here, as a fix: `summary`, its version, and its commands."""
    if prescription is None:
        return Fix(summary=summary, commands=("envdoctor prescribe",), safety=Safety.CHANGES_ENV)
    build = prescription.best
    if build is None:
        return Fix(summary=f"no build of torch fits: {prescription.none_because}")
    return Fix(
        summary=f"{summary}: torch {build.torch}, {build.variant} (`envdoctor prescribe` lists "
        "all that fit)",
        commands=build.commands,
        safety=Safety.CHANGES_ENV,
    )
