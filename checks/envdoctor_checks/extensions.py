"""Compiled modules of other distributions that cannot be loaded with the installed torch."""

import os
from collections.abc import Iterator

from envdoctor.api import (
    Confidence,
    Distributions,
    Evidence,
    Findings,
    Fix,
    Installer,
    Target,
    check,
)
from envdoctor.facts.libraries import Extension, LibraryResolution
from envdoctor.loader.tree import describe
from envdoctor.repair import restore
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
    target: Target | None,
    installer: Installer | None,
) -> Findings:
    """A compiled module of another distribution cannot be loaded with the installed torch."""
    seen: set[str] = set()
    for extension in resolution.extensions:
        if extension.distribution in seen:
            continue
        seen.add(extension.distribution)
        code = {
            "torchvision": TORCHVISION_LIBRARY_MISMATCH,
            "torchaudio": TORCHAUDIO_LIBRARY_MISMATCH,
        }.get(extension.distribution, EXTENSION_LIBRARY_MISMATCH)
        found = distributions.first(extension.distribution) if distributions else None
        yield code.finding(
            subjects=(extension.distribution,),
            confidence=Confidence.LIKELY,
            file=os.path.basename(extension.path),
            distribution=f"{extension.distribution} {found.version if found else ''}".strip(),
            what=describe(extension.problems[0]),
            evidence=tuple(_of_extension(extension)),
            fixes=(
                restore(found.name, found.version, target=target, installer=installer)
                if found and _is_damage(extension)
                else Fix(summary=f"install the {extension.distribution} made for this torch"),
            ),
            notes=("torch itself imports; this module does not",),
        )


def _is_damage(extension: Extension) -> bool:
    return all(problem.kind == "unreadable" for problem in extension.problems)


def _of_extension(extension: Extension) -> Iterator[Evidence]:
    yield Evidence(label="module", value=extension.path, source="RECORD")
    for problem in extension.problems[:_MAX_PROBLEMS]:
        yield Evidence(label=problem.library, value=describe(problem), source=problem.needed_by)
