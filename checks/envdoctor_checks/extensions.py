"""Compiled modules of other distributions that cannot be loaded with the installed torch."""

import os
from collections.abc import Iterator

from envdoctor.api import (
    CompanionImports,
    Confidence,
    Distribution,
    Distributions,
    Evidence,
    Extension,
    Findings,
    Fix,
    Knowledge,
    LibraryResolution,
    Site,
    TorchBuild,
    check,
    describe,
    packages,
)
from envdoctor_checks.against_torch import has_its_own_torch
from envdoctor_checks.companions import PAIRED, pairing
from envdoctor_checks.loader_codes import (
    EXTENSION_LIBRARY_MISMATCH,
    TORCHAUDIO_LIBRARY_MISMATCH,
    TORCHVISION_LIBRARY_MISMATCH,
)

_MAX_PROBLEMS = 3


@check(EXTENSION_LIBRARY_MISMATCH, TORCHVISION_LIBRARY_MISMATCH, TORCHAUDIO_LIBRARY_MISMATCH)
def extension_mismatch(
    resolution: LibraryResolution,
    distributions: Distributions | None,
    companions: CompanionImports | None,
    build: TorchBuild | None,
    known: Knowledge,
    site: Site,
) -> Findings:
    """A compiled module of another distribution cannot be loaded with the installed torch.

    What was imported is not broken: it may load first what is missing here. What lies beside a
    torch of its own is judged by the finding that this torch is hidden.
    """
    seen = {one.name for one in (companions.items if companions else ()) if one.outcome == "ok"}
    for extension in resolution.extensions:
        name = extension.distribution
        if name in seen:
            continue
        seen.add(name)
        code = {
            "torchvision": TORCHVISION_LIBRARY_MISMATCH,
            "torchaudio": TORCHAUDIO_LIBRARY_MISMATCH,
        }.get(name, EXTENSION_LIBRARY_MISMATCH)
        found = distributions.first(name) if distributions else None
        if found and distributions and has_its_own_torch(found, distributions):
            continue
        yield code.finding(
            subjects=(name,),
            breaks=(f"import:{name}",),
            confidence=Confidence.LIKELY,
            file=os.path.basename(extension.path),
            distribution=f"{name} {found.version if found else ''}".strip(),
            what=_what(extension, build, known),
            evidence=tuple(_of_extension(extension)),
            fixes=tuple(_fixes(extension, found, build, known, site)),
            notes=("torch itself imports; this module does not",),
        )


def _what(extension: Extension, build: TorchBuild | None, known: Knowledge) -> str:
    first = extension.problems[0]
    for_cpu = build is not None and build.cuda is None and build.hip is None
    if for_cpu and known.libraries.uses_cuda(first.library):
        library = os.path.basename(first.library)
        return f"it is built for CUDA (it needs `{library}`), and torch for the CPU"
    return describe(first)


def _fixes(
    extension: Extension,
    found: Distribution | None,
    build: TorchBuild | None,
    known: Knowledge,
    site: Site,
) -> Iterator[Fix]:
    name = extension.distribution
    if found is not None and _is_damage(extension):
        yield packages.restore(site, found)
        return
    paired = found is not None and build is not None and name in PAIRED
    fixes = list(pairing(name, found, build, known, site)) if paired and found and build else []
    yield from fixes or [Fix(summary=f"install the {name} made for this torch")]


def _is_damage(extension: Extension) -> bool:
    return all(problem.kind == "unreadable" for problem in extension.problems)


def _of_extension(extension: Extension) -> Iterator[Evidence]:
    yield Evidence(label="module", value=extension.path, source="RECORD")
    for problem in extension.problems[:_MAX_PROBLEMS]:
        yield Evidence(label=problem.library, value=describe(problem), source=problem.needed_by)
