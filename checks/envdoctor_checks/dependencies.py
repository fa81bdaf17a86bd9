"""What the installed torch and its domain libraries require, and what is installed of it."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from envdoctor.api import (
    DISTRIBUTIONS,
    CompanionImports,
    Distribution,
    Distributions,
    Evidence,
    Finding,
    Findings,
    Fix,
    Interpreter,
    LibraryResolution,
    Record,
    Severity,
    Site,
    TorchImport,
    check,
    library_of,
    packages,
)
from envdoctor_checks.against_torch import installed
from envdoctor_checks.import_failures import failures_of
from envdoctor_checks.loader_codes import DEPENDENCY_MISSING, DEPENDENCY_PIN_VIOLATED
from envdoctor_checks.requirements import (
    BUILD_TOOLS,
    markers_of,
    required_in_turn,
    requirements_of,
    satisfies,
)

_CUDA_WHEEL = re.compile(r"nvidia-|cuda-")
_OF_DRIVER = re.compile(r"libcuda\.so|libnvidia-")
_LIBRARY_OF = {
    "cuda-runtime": "cudart",
    "cuda-nvrtc": "nvrtc",
    "cuda-cupti": "cupti",
    "nvtx": "nvtoolsext",
}
"""What the library of a wheel is called, where that is not what the wheel is called."""
_TRITON = ("triton", "pytorch-triton")
_MODULES = {"pillow": "PIL"}
"""What is imported under another name than it is installed."""
_FORKS = {"pillow": "pillow-simd"}
"""What stands in for a package under a name of its own (Pillow-SIMD, README)."""
_NO_NUMPY = (
    "where something imports as `numpy` all the same, it is a folder that was left over: torch "
    "works without numpy, and not with an empty one",
)
_SHOWN = 8


class _Unmet(Record):
    """A requirement that is not met; `found` is what is there instead."""

    asker: Distribution
    name: str
    wanted: str
    found: Distribution | None = None

    @property
    def of_cuda(self) -> bool:
        """Whether it is a wheel of NVIDIA's libraries."""
        return _CUDA_WHEEL.match(self.name) is not None


class _Seen(Record):
    """What the imports did."""

    imported: TorchImport | None
    companions: CompanionImports | None
    resolution: LibraryResolution | None

    @property
    def torch_fails(self) -> bool:
        """Whether torch was seen not to import, or is predicted not to find its libraries."""
        if self.imported is not None:
            return self.imported.fails
        return self.resolution is not None and self.resolution.import_error is not None

    @property
    def finds_all_of_cuda(self) -> bool:
        """Whether torch, built for CUDA, finds every library that it needs, wherever that is: the
        wheels are left out where CUDA is installed by itself (pip --no-deps, uv's overrides)."""
        libraries = self.resolution.libraries if self.resolution else ()
        needed = [one for one in libraries if not one.optional and not _OF_DRIVER.match(one.soname)]
        of_cuda = any(one.soname.startswith("libcudart.so") for one in needed)
        return of_cuda and all(one.path and not one.problems for one in needed)

    def lacks_of(self, wheel: str) -> bool:
        """Whether torch fails, and what it or the loader says names a library of that wheel."""
        if not self.torch_fails:
            return False
        said = [one.text for one in failures_of(self.imported, None)]
        predicted = self.resolution.import_error if self.resolution else None
        part = wheel.removeprefix("nvidia-").split("-cu")[0]
        stem = "lib" + _LIBRARY_OF.get(part, part.replace("-", ""))
        return any(stem in text.lower() for text in (*said, predicted or ""))

    def failed_for(self, name: str) -> tuple[str, ...]:
        """The imports that failed and say that it was for that package."""
        module = _MODULES.get(name, name.replace("-", "_"))
        return tuple(
            failed.outcome
            for failed in failures_of(self.imported, self.companions)
            if _names(failed.text, module)
        )

    def works(self, asker: str) -> bool:
        """Whether the import of that package was seen to work."""
        if asker == "torch":
            return self.imported is not None and not self.imported.fails
        found = self.companions.named(library_of(asker)) if self.companions else None
        return found is not None and found.outcome == "ok"


@check(DEPENDENCY_PIN_VIOLATED, DEPENDENCY_MISSING)
def dependency_of_torch(
    distributions: Distributions,
    interpreter: Interpreter,
    resolution: LibraryResolution | None,
    imported: TorchImport | None,
    companions: CompanionImports | None,
    site: Site,
) -> Findings:
    """What the installed torch itself requires is another version, or not installed.

    So for the libraries that are built on it, as far as what they require is missing, or is what
    their import fails for.
    """
    seen = _Seen(imported=imported, companions=companions, resolution=resolution)
    unmet = list(_unmet(distributions, markers_of(interpreter), seen))
    torch = distributions.first("torch")
    for together in _gone_together([one for one in unmet if one.found is None], seen):
        yield _missing(together, torch, seen, site)
    for others in _violated_together([one for one in unmet if one.found is not None], seen):
        yield _violated(others, torch, seen, site)


def _unmet(
    distributions: Distributions, markers: Mapping[str, str], seen: _Seen
) -> Iterator[_Unmet]:
    known: set[str] = set()
    for asker in filter(None, map(distributions.first, ("torch", *DISTRIBUTIONS))):
        for by, wanted in requirements_of(asker, distributions, markers):
            name = canonicalize_name(wanted.name)
            found = distributions.first(name)
            if name == "torch" or any(
                satisfies(one, wanted) for one in _at_first(name, distributions)
            ):
                continue
            if name in known or (found is None and distributions.named(_FORKS.get(name, name))):
                continue
            if found is None or asker.name == "torch" or seen.failed_for(name):
                known.add(name)
                yield _Unmet(asker=by, name=name, wanted=_text_of(wanted), found=found)
    yield from _missing_in_turn(known, distributions, markers, seen)
    torch = distributions.first("torch")
    if torch and "numpy" not in known and not distributions.named("numpy"):
        # Torch asks for no numpy, and fails for an empty folder of that name.
        yield from (
            _Unmet(asker=torch, name="numpy", wanted="") for _ in seen.failed_for("numpy")[:1]
        )


def _missing_in_turn(
    known: set[str], distributions: Distributions, markers: Mapping[str, str], seen: _Seen
) -> Iterator[_Unmet]:
    """What those require in turn that torch requires; of others, what an import fails for."""
    failed = any(failures_of(seen.imported, seen.companions))
    for asker in ("torch", *(DISTRIBUTIONS if failed else ())):
        for by, wanted in required_in_turn(asker, distributions, markers):
            name = canonicalize_name(wanted.name)
            if name in known or distributions.first(name) is not None:
                continue
            if asker == "torch" or seen.failed_for(name):
                known.add(name)
                yield _Unmet(asker=by, name=name, wanted=_text_of(wanted))


def _names(text: str, module: str) -> bool:
    return f"'{module}'" in text or f"'{module}." in text or module in text.split()


def _at_first(name: str, distributions: Distributions) -> list[Distribution]:
    """The distributions of that name in the first folder that has one; one of them is in use."""
    found = distributions.named(name)
    return [one for one in found if one.location == found[0].location]


def _text_of(wanted: Requirement) -> str:
    return str(wanted.specifier)


# --- not installed ---


def _gone_together(missing: list[_Unmet], seen: _Seen) -> list[list[_Unmet]]:
    """What one cause took: NVIDIA's wheels, and what one distribution was installed without. The
    one that weighs most comes first; what is only told is told by itself."""
    torchs = sum(one.of_cuda for one in missing) > 1
    groups: dict[str, list[_Unmet]] = {}
    for one in missing:
        weighs = _severity_of_missing(one, seen) is not Severity.INFO
        asker = "torch" if one.of_cuda and torchs else one.asker.name
        groups.setdefault(asker if weighs else one.name, []).append(one)
    return [
        sorted(group, key=lambda one: _severity_of_missing(one, seen).rank, reverse=True)
        for group in groups.values()
    ]


def _missing(
    together: list[_Unmet], torch: Distribution | None, seen: _Seen, site: Site
) -> Finding:
    first, shown = together[0], together[:_SHOWN]
    asker, rest = first.asker, len(together) - len(shown)
    more = Evidence(label="and", value=f"{rest} more", source=asker.metadata_path)
    return DEPENDENCY_MISSING.finding(
        subjects=tuple(one.name for one in together),
        severity=_severity_of_missing(first, seen),
        breaks=tuple(dict.fromkeys(what for one in together for what in _broken_by(one, seen))),
        evidence=(*map(_source, shown), *((more,) * (rest > 0))),
        fixes=(_brought_back(together, torch, site),),
        notes=_NO_NUMPY if any(one.name == "numpy" for one in together) else (),
        **_said(first) if len(together) == 1 else _said_of_several(together),
    )


def _brought_back(together: list[_Unmet], torch: Distribution | None, site: Site) -> Fix:
    """One command for all: NVIDIA's wheels, on whatever index they are, come with torch."""
    asker = together[0].asker
    if sum(one.of_cuda for one in together) > 1:
        whole = torch or asker
        summary = f"install all that {whole.name} requires and that is missing"
        return packages.complete(site, whole, summary=summary)
    what = together[0].name if len(together) == 1 else "packages"
    summary = f"install the {what} that {asker.name} asks for"
    wanted = [f"{one.name}{one.wanted}" for one in together]
    return packages.install(site, *wanted, summary=summary, beside=asker)


def _said_of_several(together: list[_Unmet]) -> dict[str, Any]:
    of_cuda = all(one.of_cuda for one in together)
    kind = "NVIDIA's wheels" if of_cuda else "packages"
    said = _said(together[0])
    name = f"{said['name']}, like {len(together) - 1} more {kind},"
    return {**said, "name": name, "wanted": "them"}


def _severity_of_missing(one: _Unmet, seen: _Seen) -> Severity:
    if one.of_cuda:
        if seen.torch_fails:
            return Severity.ERROR
        return Severity.INFO if seen.finds_all_of_cuda else Severity.WARNING
    if seen.failed_for(one.name):
        return Severity.ERROR
    if one.name in BUILD_TOOLS:
        return Severity.INFO
    # What torch requires it imports late: jinja2 for torch.compile. Of another library that was
    # seen to work it is not known what for, and conda names some packages otherwise.
    asker = one.asker
    quiet = asker.name != "torch" and (seen.works(asker.name) or asker.installer == "conda")
    return Severity.INFO if quiet else Severity.WARNING


def _broken_by(one: _Unmet, seen: _Seen) -> tuple[str, ...]:
    if one.name in _TRITON:
        return ("compile",)
    if one.name in BUILD_TOOLS:
        return seen.failed_for(one.name)
    if one.of_cuda:
        return ("import:torch", "compute:gpu") if seen.torch_fails else ("compute:gpu",)
    return seen.failed_for(one.name) or (f"import:{library_of(one.asker.name)}",)


# --- another version ---


def _violated_together(others: list[_Unmet], seen: _Seen) -> list[list[_Unmet]]:
    """NVIDIA's wheels are exchanged together, by who installs another CUDA (Colab's images); one
    that the import names stands for itself."""
    of_cuda = [one for one in others if one.of_cuda and not _named(one, seen)]
    alone = [[one] for one in others if one not in of_cuda]
    return [*alone, of_cuda] if of_cuda else alone


def _named(one: _Unmet, seen: _Seen) -> tuple[str, ...]:
    """The outcomes that were seen to fail for a package of another version."""
    if one.of_cuda and seen.lacks_of(one.name):
        return ("import:torch", "compute:gpu")
    return seen.failed_for(one.name)


def _violated(
    together: list[_Unmet], torch: Distribution | None, seen: _Seen, site: Site
) -> Finding:
    first, rest = together[0], len(together) - 1
    named = _named(first, seen)
    pinned = first.of_cuda or first.name in _TRITON
    harmless = first.name in BUILD_TOOLS or (seen.works("torch") and not pinned)
    severity = Severity.ERROR if named else Severity.INFO if harmless else Severity.WARNING
    said = _said(first)
    if rest:
        said["wanted"] += f", and so for {rest} more of NVIDIA's wheels"
    return DEPENDENCY_PIN_VIOLATED.finding(
        subjects=tuple(one.name for one in together),
        severity=severity,
        breaks=named,
        installed=first.found.version if first.found else "",
        evidence=tuple(
            evidence
            for one in together[:_SHOWN]
            for evidence in (_source(one), *((installed(one.found),) if one.found else ()))
        ),
        fixes=(_all_wanted(together, torch, site) if rest else _wanted_version(first, site),),
        **said,
    )


def _all_wanted(together: list[_Unmet], torch: Distribution | None, site: Site) -> Fix:
    """One command: what torch requires in other versions comes with torch, from its index."""
    whole = torch or together[0].asker
    summary = f"install the {len(together)} wheels of NVIDIA's that {whole.name} asks for"
    return packages.complete(site, whole, summary=summary)


def _wanted_version(one: _Unmet, site: Site) -> Fix:
    summary = f"install the {one.name} that {one.asker.name} asks for"
    return packages.install(site, f"{one.name}{one.wanted}", summary=summary, beside=one.found)


def _said(one: _Unmet) -> dict[str, Any]:
    return {
        "name": one.name,
        "by": one.asker.name,
        "by_version": one.asker.version,
        "wanted": one.wanted or "any version",
    }


def _source(one: _Unmet) -> Evidence:
    label = f"{one.asker.name} {one.asker.version}"
    return Evidence(label=label, value=f"{one.name}{one.wanted}", source=one.asker.metadata_path)
