"""Distributions that are there twice, and the entry of the module path that brings them again."""

from collections.abc import Iterator

from envdoctor.api import (
    Code,
    CompanionImports,
    Distribution,
    Distributions,
    Environment,
    Evidence,
    Finding,
    Findings,
    ImportTrials,
    Interpreter,
    Layer,
    Severity,
    Site,
    TorchBuild,
    TorchImport,
    TorchRuntime,
    check,
    library_of,
    packages,
)
from envdoctor_checks.against_torch import base_of
from envdoctor_checks.module_path import Entry, entries_of
from envdoctor_checks.path_fixes import without_folder
from envdoctor_checks.requirements import BUILD_TOOLS, needed_by_torch

DUPLICATE_DISTRIBUTION = Code(
    id="ED101",
    name="duplicate-distribution",
    family="duplicate-distribution",
    severity=Severity.WARNING,
    topic="python",
    layer=Layer.FILES,
    message="a distribution is installed more than once",
    detailed="{what}: {versions}",
)

_SHOWN = 8


@check(DUPLICATE_DISTRIBUTION)
def duplicate_distribution(
    distributions: Distributions,
    interpreter: Interpreter | None,
    environment: Environment | None,
    imported: TorchImport | None,
    trials: ImportTrials | None,
    build: TorchBuild | None,
    runtime: TorchRuntime | None,
    companions: CompanionImports | None,
    site: Site,
) -> Findings:
    """Two versions of one distribution are visible; an import takes the first.

    Packages of a virtual environment above those of its base are what layers are for. What one
    entry of PYTHONPATH, the user's site-packages or a .pth file brings again is told once.
    """
    entries = entries_of(interpreter, environment) if interpreter else ()
    by_folder = {entry.path: entry for entry in entries}
    hidden: dict[str, list[tuple[Distribution, Distribution]]] = {}
    by_name: dict[str, list[Distribution]] = {}
    for item in distributions.items:
        by_name.setdefault(item.name, []).append(item)
    for name, (first, *others) in by_name.items():
        other = next((one for one in others if one.version != first.version), None)
        if other is None:
            continue
        entry = by_folder.get(first.location)
        if other.location == first.location or entry is None:
            actual = _actual_version(name, build, runtime, companions)
            yield _twice(name, distributions, actual, site)
        elif entry.is_foreign:
            hidden.setdefault(entry.path, []).append((first, other))
    for folder, pairs in hidden.items():
        if not _is_layered(pairs, distributions):
            entry = by_folder[folder]
            yield _brought_again(entry, pairs, distributions, entries, imported, trials)


def _actual_version(
    name: str,
    build: TorchBuild | None,
    runtime: TorchRuntime | None,
    companions: CompanionImports | None,
) -> str | None:
    """The version that a package says of itself, if it was asked."""
    if name == "torch":
        return build.version if build else None
    if name == "numpy":
        return runtime.numpy_version if runtime else None
    found = companions.named(library_of(name)) if companions else None
    return found.version if found else None


def _twice(name: str, distributions: Distributions, actual: str | None, site: Site) -> Finding:
    found = distributions.named(name)
    outdated = _outdated(found, actual)
    relevant = name in needed_by_torch(distributions) and name not in BUILD_TOOLS
    return DUPLICATE_DISTRIBUTION.finding(
        subjects=(name,),
        severity=Severity.WARNING if relevant else Severity.INFO,
        what=f"{name} is installed {len(found)} times",
        versions=", ".join(f"{item.version} in `{item.location}`" for item in found),
        evidence=tuple(
            Evidence(label=name, value=item.version, source=item.metadata_path) for item in found
        ),
        fixes=(
            packages.forget(outdated, summary=_forgetting(found, outdated))
            if outdated
            else packages.uninstall(
                site,
                name,
                summary=f"remove {name} until none is found, then install the wanted one",
            ),
        ),
    )


def _forgetting(found: tuple[Distribution, ...], outdated: tuple[Distribution, ...]) -> str:
    (kept,) = (one for one in found if one not in outdated)
    return (
        f"the files are those of {kept.name} {kept.version}: remove the metadata that the other "
        "left behind"
    )


def _outdated(found: tuple[Distribution, ...], actual: str | None) -> tuple[Distribution, ...]:
    """Those of which only the metadata is left, where one folder holds several: the package itself
    says which of them it is, or one alone has a list of its files."""
    if len({one.location for one in found}) > 1:
        return ()
    if actual is None:
        stale = tuple(one for one in found if not one.has_record)
    else:
        stale = tuple(one for one in found if base_of(one.version) != base_of(actual))
    return stale if len(stale) == len(found) - 1 else ()


def _is_layered(
    pairs: list[tuple[Distribution, Distribution]], distributions: Distributions
) -> bool:
    """Whether a folder is meant to lie above the others: it alone holds torch, or the packages
    below it are those of the operating system."""
    torch = distributions.named("torch")
    holds_torch = bool(torch) and {one.location for one in torch} == {pairs[0][0].location}
    return holds_torch or all(other.location.startswith("/usr/lib") for _, other in pairs)


def _brought_again(
    entry: Entry,
    pairs: list[tuple[Distribution, Distribution]],
    distributions: Distributions,
    entries: tuple[Entry, ...],
    imported: TorchImport | None,
    trials: ImportTrials | None,
) -> Finding:
    needed = needed_by_torch(distributions)
    pairs = sorted(pairs, key=lambda pair: pair[0].name not in needed)
    relevant = pairs[0][0].name in needed
    first, other = pairs[0]
    return DUPLICATE_DISTRIBUTION.finding(
        subjects=(entry.path,),
        severity=Severity.WARNING if relevant else Severity.INFO,
        what=f"{entry.in_words} brings {_counted(len(pairs))} again",
        versions=f"{first.name} {first.version} in `{entry.path}`, in place of {other.version} in "
        f"`{other.location}`",
        evidence=tuple(_evidence(pairs)),
        fixes=without_folder(entry, entries, imported, trials),
    )


def _counted(number: int) -> str:
    return "an installed distribution" if number == 1 else f"{number} installed distributions"


def _evidence(pairs: list[tuple[Distribution, Distribution]]) -> Iterator[Evidence]:
    for first, other in pairs[:_SHOWN]:
        value = f"{first.version}, in place of {other.version}"
        yield Evidence(label=first.name, value=value, source=first.metadata_path)
    rest = ", ".join(first.name for first, _ in pairs[_SHOWN:])
    if rest:
        yield Evidence(label="and also", value=rest, source=pairs[0][0].location)
