"""The release of a library built on torch that goes with the installed torch, as a command."""

import re

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from envdoctor.api import (
    Distribution,
    ExtensionRelease,
    Fix,
    Interpreter,
    Knowledge,
    Site,
    TorchBuild,
    packages,
    parse_version,
)

_FLASH_ATTN = (
    "https://github.com/Dao-AILab/flash-attention/releases/download/v{version}/flash_attn-{version}"
    "+cu{cuda}torch{torch}cxx11abi{abi}-{python}-{python}-linux_x86_64.whl"
)
"""Its wheels lie beside its releases, and PyPI has the source alone (flash-attention, setup.py,
`get_wheel_url`)."""


def matching_release(
    item: Distribution,
    build: TorchBuild,
    interpreter: Interpreter | None,
    known: Knowledge,
    site: Site,
) -> Fix:
    """What to install in the place of a library that was compiled for another torch."""
    torch = parse_version(build.version)
    releases = known.extensions(item.name)
    if torch is None or not releases:
        return Fix(summary=f"install a build of {item.name} for this torch, or compile it here")
    if item.name == "flash-attn":
        return _flash_attn(item, torch, build, interpreter, releases, site)
    fitting = [
        one.version
        for one in releases
        if (wanted := made_for(one)) is not None and torch.public in wanted
    ]
    if not fitting:
        return Fix(
            summary=f"install a build of {item.name} for torch {torch.public}, or compile it here"
        )
    summary = f"install {item.name} {fitting[-1]}, which admits torch {torch.public}"
    return packages.install(site, f"{item.name}=={fitting[-1]}", summary=summary, beside=item)


def made_for(release: ExtensionRelease) -> SpecifierSet | None:
    """The torch that a release requires, is paired with by its makers, or was compiled for.

    Compiled code serves the patch releases of one minor release. Of a release with builds for
    several (torchao 0.12: `2.5.0, 2.6.0, 2.7.1`) only the oldest is a bound; where each torch has a
    wheel of its own (flash-attn: `2.2.2..2.6.0`) the version does not tell which was taken.
    """
    stated = release.requires_torch or release.pairs_with_torch
    if stated:
        return SpecifierSet(stated)
    built = [one.strip() for one in (release.built_for_torch or "").split(";")[0].split(",")]
    if not built[0] or ".." in built[0]:
        return None
    if built[0].startswith(">="):
        return SpecifierSet(built[0])
    if len(built) > 1:
        return SpecifierSet(f">={built[0]}")
    major, minor = Version(built[0]).release[:2]
    return SpecifierSet(f"=={major}.{minor}.*")


def _flash_attn(
    item: Distribution,
    torch: Version,
    build: TorchBuild,
    interpreter: Interpreter | None,
    releases: tuple[ExtensionRelease, ...],
    site: Site,
) -> Fix:
    """One wheel for each minor release of torch, ABI and Python, for CUDA 12 and Linux x86-64."""
    minor = "{}.{}".format(*torch.release[:2])
    versions = [one.version for one in releases if _has_wheel_for(one, torch.release[:2])]
    if not versions:
        summary = (
            f"no wheel of flash-attn was made for torch {minor}: compile it here, or do without"
        )
        return Fix(summary=summary)
    version = item.version if item.version in versions else versions[-1]
    summary = f"install the wheel of flash-attn {version} that was made for torch {minor}"
    python = re.match(r"cpython-(3\d+)-x86_64-linux-gnu", (interpreter and interpreter.soabi) or "")
    if python is None or build.cxx11_abi is None or not (build.cuda or "").startswith("12."):
        return Fix(summary=summary)
    url = _FLASH_ATTN.format(
        version=version,
        cuda="12",
        torch=minor,
        abi=str(build.cxx11_abi).upper(),
        python=f"cp{python[1]}",
    )
    return packages.install(site, url, summary=summary, again=True, beside=item)


def _has_wheel_for(release: ExtensionRelease, minor: tuple[int, ...]) -> bool:
    first, _, last = (release.built_for_torch or "").partition("..")
    bounds = parse_version(first.strip()), parse_version(last.strip())
    if bounds[0] is None or bounds[1] is None:
        return False
    return bounds[0].release[:2] <= minor <= bounds[1].release[:2]
