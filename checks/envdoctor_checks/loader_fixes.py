"""What repairs a library, and the rule by which it wins, in words."""

import re

from envdoctor.facts.libraries import LibraryResolution, Problem, ResolvedLibrary
from envdoctor.facts.python import Distributions, Installer, Target
from envdoctor.findings import Fix, Safety
from envdoctor.knowledge import Library, LibraryCatalogue
from envdoctor.knowledge.libraries import stem_of
from envdoctor.repair import install_command, restore

_GLIBC = ("libc", "libm", "libpthread")
_PINNED = re.compile(r"([\w-]+)==[\w.]+")
_WITHOUT_BRACKETS = str.maketrans("", "", " ()")
"""Older METADATA writes `nvidia-nccl-cu12 (==2.18.1)`."""


def rule_of(library: ResolvedLibrary) -> str:
    """Why a file wins: the rule and, for RPATH and RUNPATH, whose it is."""
    whose = f" of {library.rule_of}" if library.rule_of else ""
    return f"{library.rule}{whose}"


def without_path(resolution: LibraryResolution, rule: str, part: str = "") -> Fix:
    """Start without the variable, or without the entries that contain `part`."""
    if rule == "LD_PRELOAD":
        return Fix(
            summary="start without LD_PRELOAD", commands=("unset LD_PRELOAD",), safety=Safety.SAFE
        )
    kept = [entry for entry in resolution.library_path if part and part not in entry]
    if kept:
        text = ":".join(kept)
        return Fix(
            summary="keep only the other entries of LD_LIBRARY_PATH",
            commands=(f"export LD_LIBRARY_PATH={text}",),
            safety=Safety.SAFE,
        )
    return Fix(
        summary="start without LD_LIBRARY_PATH (and unload the environment module that sets it)",
        commands=("unset LD_LIBRARY_PATH",),
        safety=Safety.SAFE,
    )


class Repair:
    """Fixes for the problems of one resolution."""

    def __init__(
        self,
        resolution: LibraryResolution,
        distributions: Distributions | None,
        target: Target | None,
        installer: Installer | None,
        libraries: LibraryCatalogue,
    ) -> None:
        self.resolution = resolution
        self.libraries = libraries
        self.distributions = distributions
        self.target = target
        self.installer = installer

    def of(self, library: ResolvedLibrary, problem: Problem) -> tuple[Fix, ...]:
        """What to do about a problem, the surest first."""
        if library.clean_path or library.rule in ("LD_LIBRARY_PATH", "LD_PRELOAD"):
            return (without_path(self.resolution, library.rule or "LD_LIBRARY_PATH"),)
        if problem.kind == "version" and stem_of(library.soname) in _GLIBC:
            return (Fix(summary="use a newer operating system or container, or an older torch"),)
        if self.libraries.is_of("libstdc++", library.soname):
            return (
                Fix(
                    summary="put a newer libstdc++ first",
                    commands=("conda install -c conda-forge libstdcxx-ng",),
                    safety=Safety.CHANGES_ENV,
                ),
            )
        if self.libraries.is_of("libcuda", library.soname):
            return (
                Fix(
                    summary="install the NVIDIA driver; in a container, start it with the GPU",
                    commands=("docker run --gpus all IMAGE",),
                ),
            )
        return self._reinstall(library)

    def _reinstall(self, library: ResolvedLibrary) -> tuple[Fix, ...]:
        wanted = self._requirement(self.libraries.of(library.soname))
        if wanted is not None:
            command = install_command(
                (wanted,), target=self.target, installer=self.installer, reinstall=True
            )
            summary = f"install the {wanted.partition('=')[0]} that torch pins"
            return (Fix(summary=summary, commands=(command,), safety=Safety.CHANGES_ENV),)
        owner = library.owner
        if owner is not None and owner.kind == "wheel":
            return (
                restore(owner.name, owner.version, target=self.target, installer=self.installer),
            )
        torch = self.distributions.first("torch") if self.distributions else None
        if torch is not None:
            return (
                restore(torch.name, torch.version, target=self.target, installer=self.installer),
            )
        return (Fix(summary=f"install the package that brings `{library.soname}`"),)

    def _requirement(self, component: Library | None) -> str | None:
        """The pinned requirement of torch that brings a library, `nvidia-cublas-cu12==12.4.5.8`."""
        torch = self.distributions.first("torch") if self.distributions else None
        if component is None or torch is None:
            return None
        for requirement in torch.requires:
            match = _PINNED.match(requirement.translate(_WITHOUT_BRACKETS))
            if match and component.is_package(match[1]):
                return match.group()
        return None
