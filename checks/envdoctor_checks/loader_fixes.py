"""What repairs a library, and the rule by which it wins, in words."""

import os
import re

from msgspec.structs import replace

from envdoctor.api import (
    Distribution,
    Distributions,
    Fix,
    ImportTrials,
    Library,
    LibraryCatalogue,
    LibraryResolution,
    Place,
    Problem,
    Record,
    ResolvedLibrary,
    Site,
    command,
    packages,
    stem_of,
    surroundings,
    system,
)
from envdoctor_checks.path_fixes import proof_of

PRELOAD_FILE = "ld.so.preload"
SET_FROM_OUTSIDE = ("LD_LIBRARY_PATH", "LD_PRELOAD", PRELOAD_FILE)
"""The rules by which the user or the machine, and no installed file, leads the loader."""
_GLIBC = ("libc", "libm", "libpthread")
_PINNED = re.compile(r"([\w-]+)==[\w.]+")
_WITHOUT_BRACKETS = str.maketrans("", "", " ()")
"""Older METADATA writes `nvidia-nccl-cu12 (==2.18.1)`."""


def rule_of(library: ResolvedLibrary) -> str:
    """Why a file wins: the rule and, for RPATH and RUNPATH, whose it is."""
    whose = f" of {library.rule_of}" if library.rule_of else ""
    return f"{library.rule or 'the rule is not known'}{whose}"


def without_path(
    resolution: LibraryResolution, rule: str, part: str = "", trials: ImportTrials | None = None
) -> Fix:
    """Start without the variable, or without the entries that contain `part`. `rule` is one of
    `SET_FROM_OUTSIDE`; of the loader's own file `part` is the line."""
    if rule == PRELOAD_FILE:
        return surroundings.without_preload_line(part)
    variable = "LD_PRELOAD" if rule == "LD_PRELOAD" else "LD_LIBRARY_PATH"
    proof = proof_of(None, trials, unset=variable)
    if variable == "LD_PRELOAD":
        return surroundings.unset(variable, proof=proof)
    unwanted = [entry for entry in resolution.library_path if part in entry]
    if part and len(unwanted) < len(resolution.library_path):
        return surroundings.without_entry(variable, resolution.library_path, unwanted)
    summary = f"start without {variable} (and unload the environment module that sets it)"
    return surroundings.unset(variable, summary=summary, proof=proof)


class Repair(Record):
    """Fixes for the problems of one resolution."""

    resolution: LibraryResolution
    distributions: Distributions | None
    trials: ImportTrials | None
    site: Site
    libraries: LibraryCatalogue

    def of(self, library: ResolvedLibrary, problem: Problem) -> tuple[Fix, ...]:
        """What to do about a problem, the surest first."""
        if _is_of_variables(library):
            return (without_rule(library, self.resolution, self.trials),)
        if problem.kind == "version" and stem_of(library.soname) in _GLIBC:
            return (_newer_system(self.site),)
        if self.libraries.is_of("libstdc++", library.soname):
            return (packages.newer_libstdcxx(self.site),)
        if self.libraries.is_of("libcuda", library.soname):
            return (_driver(self.site),)
        if self.is_apart(library, problem):
            return _in_one_folder(self.resolution, self._installed("torch"))
        return (self._reinstall(library, problem),)

    def is_of_paths(self, library: ResolvedLibrary, problem: Problem) -> bool:
        """Whether the file is there, and one change of where the loader looks serves all such."""
        return _is_of_variables(library) or self.is_apart(library, problem)

    def is_apart(self, library: ResolvedLibrary, problem: Problem) -> bool:
        """Whether NVIDIA's wheel of a missing library is in another folder than torch."""
        if problem.kind != "missing" or library.clean_path:
            return False
        torch = self._installed("torch")
        if torch is None or _folders_of_wheels(library, torch):
            return torch is not None
        wanted = self._requirement(self.libraries.of(library.soname))
        found = self._installed(wanted.partition("==")[0]) if wanted else None
        return found is not None and found.location != torch.location

    def _reinstall(self, library: ResolvedLibrary, problem: Problem) -> Fix:
        owner = library.owner
        if owner is not None and owner.kind == "dpkg":
            return packages.restore_system_package(self.site, owner.name)
        torch = self._installed("torch")
        wanted = self._requirement(self.libraries.of(library.soname))
        if wanted is not None:
            return self._pinned(wanted, torch)
        if owner is not None and owner.kind == "conda":
            if self.libraries.is_of("mkl", library.soname) and problem.kind == "symbol":
                return packages.mkl_with_profiling(self.site)
            return packages.restore_conda_package(self.site, owner.name, owner.version)
        unasked = next((one for one in _UNASKED if library.soname.startswith(one)), None)
        if unasked is not None and problem.kind == "missing":
            return _install_unasked(self.site, library.soname, *_UNASKED[unasked])
        found = (self._installed(owner.name) if owner else None) or torch
        if found is not None:
            return packages.restore(self.site, found, torch=torch)
        return Fix(summary=f"install the package that brings `{library.soname}`")

    def _pinned(self, wanted: str, torch: Distribution | None) -> Fix:
        """The wheel that torch pins: put back if it is installed, else installed beside torch."""
        name, _, version = wanted.partition("==")
        found = self._installed(name)
        if found is not None and found.version == version:
            return packages.restore(self.site, found, torch=torch)
        summary = f"install the {name} that torch pins"
        return packages.install(self.site, wanted, summary=summary, again=True, beside=torch)

    def _installed(self, name: str) -> Distribution | None:
        return self.distributions.first(name) if self.distributions else None

    def _requirement(self, component: Library | None) -> str | None:
        """The pinned requirement of torch that brings a library, `nvidia-cublas-cu12==12.4.5.8`."""
        torch = self._installed("torch")
        if component is None or torch is None:
            return None
        for requirement in torch.requires:
            match = _PINNED.match(requirement.translate(_WITHOUT_BRACKETS))
            if match and component.is_package(match[1]):
                return match.group()
        return None


_UNASKED = {
    "libnvpl_lapack": ("nvpl-lapack",),
    "libnvpl_blas": ("nvpl-blas",),
    "libcudss": ("nvidia-cudss-cu13", "nvidia-cudss-cu12"),
}
"""Libraries that builds of torch for Arm and Jetson link and do not require, and the packages that
bring them, by the CUDA of the build (pollen-robotics/microduck_rl issue 38)."""


def _install_unasked(site: Site, soname: str, package: str, older: str | None = None) -> Fix:
    fix = packages.install(
        site,
        package,
        summary=f"install {package}{f' (for CUDA 12 {older})' if older else ''}, which this build "
        "of torch links and does not ask for, and name the folder of the library in "
        "LD_LIBRARY_PATH: torch does not look there",
    )
    find = (command("find", site.prefix, "-name", soname),) if site.prefix else ()
    return replace(fix, commands=(*fix.commands, *find))


def without_rule(
    library: ResolvedLibrary, resolution: LibraryResolution, trials: ImportTrials | None
) -> Fix:
    """Start without what puts that library before the others."""
    rule = rule_from_outside(library)
    part = (library.named or library.path or library.soname) if rule == PRELOAD_FILE else ""
    return without_path(resolution, rule, part, trials)


def rule_from_outside(library: ResolvedLibrary) -> str:
    """Which of `SET_FROM_OUTSIDE` leads to that library; one that is needed by another file than
    without them is LD_LIBRARY_PATH's."""
    return library.rule if library.rule in SET_FROM_OUTSIDE else "LD_LIBRARY_PATH"


def _is_of_variables(library: ResolvedLibrary) -> bool:
    return bool(library.clean_path) or library.rule in SET_FROM_OUTSIDE


def _folders_of_wheels(library: ResolvedLibrary, torch: Distribution | None) -> list[str]:
    """Where NVIDIA's own wheel of a library lies, whole, and not in the folder that torch is in."""
    beside = f"{torch.location}/" if torch else ""
    return [
        os.path.dirname(offer.path)
        for offer in library.alternatives
        if offer.owner is not None
        and (offer.owner.kind, offer.owner.intact) == ("wheel", True)
        and offer.owner.name.startswith("nvidia-")
        and not (beside and offer.path.startswith(beside))
    ]


def _in_one_folder(resolution: LibraryResolution, torch: Distribution | None) -> tuple[Fix, ...]:
    wanted = [
        folder
        for library in resolution.libraries
        if library.path is None
        for folder in _folders_of_wheels(library, torch)
    ]
    together = Fix(
        summary="install torch and the wheels that it requires into one site-packages: it "
        "looks for their libraries beside itself"
    )
    if not wanted:
        return (together,)
    path = ":".join(dict.fromkeys((*resolution.library_path, *wanted)))
    summary = "or name the folders of these libraries"
    return together, surroundings.set_variable("LD_LIBRARY_PATH", path, summary=summary)


def _newer_system(site: Site) -> Fix:
    return Fix(
        summary="use a newer operating system or container, or an older torch",
        where=Place.IMAGE if site.contained else Place.HERE,
    )


def _driver(site: Site) -> Fix:
    return system.give_gpus(site) if site.contained else system.show_libcuda(site, None, ())
