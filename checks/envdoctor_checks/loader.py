"""Libraries that torch loads: missing, refused, too old, or taken from the wrong place."""

import os
import re
from collections.abc import Iterator
from typing import Any

from envdoctor.api import (
    Confidence,
    Distributions,
    Environment,
    Evidence,
    Findings,
    Fix,
    ImportTrials,
    InstalledFiles,
    Knowledge,
    LibraryCatalogue,
    LibraryResolution,
    LoadedLibraries,
    Problem,
    ResolvedLibrary,
    Severity,
    Site,
    TorchBuild,
    TorchImport,
    check,
    describe,
    differences,
    stem_of,
    surroundings,
)
from envdoctor_checks.closed_files import names_of_closed
from envdoctor_checks.loader_codes import (
    LD_LIBRARY_PATH_SHADOW,
    OPENMP_DUPLICATE,
    PREDICTION_DIFFERS,
    PRELOAD_MISSING,
    PROBLEM_CODES,
    WHEELS_IN_OTHER_FOLDERS,
    disease_of,
    outcomes_of,
)
from envdoctor_checks.loader_fixes import (
    Repair,
    rule_from_outside,
    rule_of,
    without_rule,
)
from envdoctor_checks.path_fixes import proof_of

_MAX_NAMES = 3
_OF_GCC = ("libgomp.so", "libstdc++.so", "libgcc_s.so", "libgfortran.so", "libquadmath.so")
"""Any release serves that has the versions of symbols that are needed, which the loader sees to
(GCC manual, ABI Policy and Guidelines); whether it has them was looked at."""


@check(*PROBLEM_CODES)
def library_problem(
    resolution: LibraryResolution,
    distributions: Distributions | None,
    trials: ImportTrials | None,
    installed: InstalledFiles | None,
    site: Site,
    known: Knowledge,
) -> Findings:
    """A library that torch needs is absent, refused, or lacks what is needed of it.

    One that is there and closed to this user, which the loader takes for absent, is ED114's.
    """
    closed = names_of_closed(installed)
    repair = Repair(
        resolution=resolution,
        distributions=distributions,
        trials=trials,
        site=site,
        libraries=known.libraries,
    )
    for found in _grouped(resolution, repair):
        library, problem, fixes = found[0]
        if problem.kind == "missing" and os.path.basename(problem.library) in closed:
            continue
        doubtful = _is_part_of_a_part(library, resolution, known.libraries)
        apart = repair.is_apart(library, problem)
        code = WHEELS_IN_OTHER_FOLDERS if apart else disease_of(problem, known.libraries)
        yield code.finding(
            subjects=tuple(os.path.basename(one.library) for _, one, _ in found),
            breaks=outcomes_of(one.when for one, _, _ in found),
            severity=Severity.WARNING if doubtful else None,
            confidence=Confidence.LIKELY if doubtful else Confidence.CERTAIN,
            evidence=tuple(_evidence(problem, library, resolution, found[1:])),
            fixes=fixes,
            notes=tuple(_notes(library, resolution)),
            **_words(problem, library, len(found)),
        )


_Found = tuple[ResolvedLibrary, Problem, tuple[Fix, ...]]


def _grouped(resolution: LibraryResolution, repair: Repair) -> list[list[_Found]]:
    """The problems, each library's once; what is missing for one reason, which one step of the
    surroundings repairs, is together."""
    seen: set[tuple[str, str]] = set()
    groups: dict[object, list[_Found]] = {}
    for library in resolution.libraries:
        for problem in () if library.optional else library.problems:
            key = (disease_of(problem, repair.libraries).id, os.path.basename(problem.library))
            if key in seen or _was_found_later(library, problem):
                continue
            if _lacks_what_was_replaced(library, problem, resolution):
                continue
            seen.add(key)
            fixes = repair.of(library, problem)
            shared = problem.kind == "missing" and repair.is_of_paths(library, problem)
            groups.setdefault(fixes if shared else key, []).append((library, problem, fixes))
    error = resolution.import_error or ""
    # What the loader itself will name comes first.
    return [
        sorted(group, key=lambda one: os.path.basename(one[1].library) not in error)
        for group in groups.values()
    ]


def _was_found_later(library: ResolvedLibrary, problem: Problem) -> bool:
    """Whether torch itself opened a library by its path after the loader had not found it."""
    return problem.kind == "missing" and library.mapped and library.rule == "preloaded by torch"


def _lacks_what_was_replaced(
    library: ResolvedLibrary, problem: Problem, resolution: LibraryResolution
) -> bool:
    """Whether a library that is the same without LD_LIBRARY_PATH is said to lack a symbol that then
    nobody lacks: it was brought by another one, whose replacement ED310 tells."""
    of_the_variable = bool(resolution.import_error) and not resolution.clean_import_error
    lacks = problem.kind in ("symbol", "version") and not library.clean_path
    return lacks and of_the_variable and any(_is_shadowed(one) for one in resolution.libraries)


def _is_part_of_a_part(
    library: ResolvedLibrary, resolution: LibraryResolution, libraries: LibraryCatalogue
) -> bool:
    """Whether a part of cuDNN is opened at the first use of a GPU, and not by libcudnn itself.

    That another cuDNN then breaks the work follows from glibc's rules; no GPU has settled it.
    """
    main = resolution.named("libcudnn")
    if main is None or library.when != "use" or stem_of(library.soname) == "libcudnn":
        return False
    return libraries.is_of("cudnn", library.soname) and main.path not in library.needed_by


def _words(problem: Problem, library: ResolvedLibrary, count: int) -> dict[str, Any]:
    named = ", ".join(f"`{name}`" for name in problem.names[:_MAX_NAMES])
    more = len(problem.names) - _MAX_NAMES
    version = f" {library.version}" if library.version else ""
    name = os.path.basename(problem.library)
    others = f" and {count - 1} more" if count > 1 else ""
    return {
        "library": name,
        "missing": f"`{name}`{others}, which {os.path.basename(problem.needed_by)} needs,",
        "are": "are" if others else "is",
        "is_not": "are not" if others else "is not",
        "library_said": f"`{os.path.basename(problem.path or problem.library)}`{version}",
        "needed_by": os.path.basename(problem.needed_by),
        "path": problem.path or problem.library,
        "detail": problem.detail,
        "symbols": named + (f" and {more} more" if more > 0 else ""),
    }


def _evidence(
    problem: Problem, library: ResolvedLibrary, resolution: LibraryResolution, more: list[_Found]
) -> Iterator[Evidence]:
    yield Evidence(label="needed by", value=problem.needed_by, source="DT_NEEDED or dlopen")
    if library.path:
        yield Evidence(label="winner", value=library.path, source=rule_of(library))
    if library.owner:
        text = f"{library.owner.name} {library.owner.version}"
        yield Evidence(label="owner", value=text, source=library.owner.kind)
    if library.clean_path:
        yield Evidence(
            label="in place of", value=library.clean_path, source="the same without LD_LIBRARY_PATH"
        )
    others = [one for one in library.alternatives if one.path not in (library.path, problem.path)]
    for offer in others[:_MAX_NAMES]:
        yield Evidence(label="also there", value=offer.path, source=offer.rule)
    for _, other, _ in more:
        yield Evidence(label="also", value=other.library, source=f"needed by {other.needed_by}")
    if resolution.import_error and library.when in ("start", "import"):
        yield Evidence(
            label="the loader will say", value=resolution.import_error, source="predicted"
        )


def _notes(library: ResolvedLibrary, resolution: LibraryResolution) -> Iterator[str]:
    if library.when in ("query", "use"):
        yield "torch imports without it; the first operation on a GPU that needs it fails"
    others = {
        one.soname
        for one in resolution.libraries
        if one.path and stem_of(one.soname) == stem_of(library.soname)
    }
    for other in sorted(others - {library.soname}):
        yield f"`{other}` is there, but its number after `.so` is another, so it does not serve"


@check(LD_LIBRARY_PATH_SHADOW)
def ld_library_path_shadow(
    resolution: LibraryResolution, trials: ImportTrials | None, known: Knowledge
) -> Findings:
    """LD_LIBRARY_PATH or LD_PRELOAD replaces libraries that torch would load from elsewhere."""
    shadowed = [one for one in resolution.libraries if _is_shadowed(one)]
    if not shadowed:
        return
    cuda = [one for one in shadowed if _belongs_to_torch(one, known.libraries)]
    first = (cuda or shadowed)[0]
    breaks = bool(resolution.import_error and not resolution.clean_import_error)
    differs = not all(_is_the_same(one) for one in cuda)
    severity = Severity.ERROR if breaks else Severity.WARNING if differs else Severity.INFO
    rule = rule_from_outside(first)
    shown = cuda or shadowed
    yield LD_LIBRARY_PATH_SHADOW.finding(
        severity=severity,
        breaks=("import:torch",) if breaks else outcomes_of(one.when for one in shown),
        what="1 library is" if len(shown) == 1 else f"{len(shown)} libraries are",
        rule=rule,
        library=first.soname,
        path=first.path,
        evidence=tuple(_shadow_evidence(shown)),
        fixes=(without_rule(first, resolution, trials),),
        notes=tuple(_shadow_notes(breaks)),
    )


def _is_shadowed(library: ResolvedLibrary) -> bool:
    """Whether another file wins than without the variables, and one that no wheel here brings."""
    own = library.owner is not None and library.owner.kind == "wheel" and library.owner.intact
    return bool(library.clean_path and library.path and not own)


def _is_the_same(library: ResolvedLibrary) -> bool:
    """Whether it is the release that would be loaded without the variable; a file's name may tell
    less of it than a package (`libnvrtc-builtins.so.12.4`)."""
    return library.version is not None and any(
        offer.path == library.clean_path and f"{offer.version}.".startswith(f"{library.version}.")
        for offer in library.alternatives
    )


def _belongs_to_torch(library: ResolvedLibrary, libraries: LibraryCatalogue) -> bool:
    if library.soname.startswith(_OF_GCC):
        return False
    return libraries.uses_cuda(library.soname) or "/torch/lib/" in (library.clean_path or "")


def _shadow_evidence(shown: list[ResolvedLibrary]) -> Iterator[Evidence]:
    for one in shown[:_MAX_NAMES]:
        version = f" ({one.version})" if one.version else ""
        yield Evidence(label=one.soname, value=f"{one.path}{version}", source=rule_of(one))
        yield Evidence(
            label="in place of", value=one.clean_path or "", source="without the variable"
        )
    rest = ", ".join(one.soname for one in shown[_MAX_NAMES:])
    if rest:
        yield Evidence(label="and also", value=rest, source=rule_of(shown[-1]))


def _shadow_notes(breaks: bool) -> Iterator[str]:
    if breaks:
        yield "without it, `import torch` finds all that it needs"
    else:
        yield (
            "every version and symbol that is needed is there, so this works today; the next "
            "upgrade of either side can break it"
        )


_PRELOAD_FILE = "/etc/ld.so.preload"


@check(PRELOAD_MISSING)
def preload_missing(
    resolution: LibraryResolution, environment: Environment | None, trials: ImportTrials | None
) -> Findings:
    """LD_PRELOAD, or the loader's own file, names a library that cannot be loaded."""
    variable = environment.variables.get("LD_PRELOAD", "") if environment else ""
    for problem in resolution.preload_problems:
        source = _preloaded_by(problem, variable)
        if source is None:
            continue
        what = "does not exist" if problem.kind == "missing" else describe(problem)
        proof = proof_of(None, trials, unset="LD_PRELOAD")
        in_variable = source == "LD_PRELOAD"
        yield PRELOAD_MISSING.finding(
            subjects=(problem.library,),
            source=source,
            library=problem.library,
            what=what,
            evidence=(Evidence(label=source, value=variable or problem.library, source=source),),
            fixes=(
                _without_preload(problem.library, variable, proof)
                if in_variable
                else surroundings.without_preload_line(problem.library),
            ),
            notes=("the loader complains and goes on without it, in every process",),
        )


def _preloaded_by(problem: Problem, variable: str) -> str | None:
    """What asked for a library before all others; None where torch itself did."""
    if any(name in problem.library for name in re.split(r"[\s:]+", variable) if name):
        return "LD_PRELOAD"
    by_program = os.path.basename(problem.needed_by).startswith("python")
    return _PRELOAD_FILE if by_program and problem.kind in ("missing", "unreadable") else None


def _without_preload(library: str, variable: str, proof: str) -> Fix:
    """What is left of LD_PRELOAD, whose names are parted by colons or spaces."""
    names = [name for name in re.split(r"[\s:]+", variable) if name]
    unwanted = [name for name in names if name in library]
    return surroundings.without_entry("LD_PRELOAD", names, unwanted, proof=proof)


@check(OPENMP_DUPLICATE)
def openmp_duplicate(
    resolution: LibraryResolution, loaded: LoadedLibraries | None, environment: Environment | None
) -> Findings:
    """Two copies of libiomp5 or libomp in one process, which makes them abort (OMP Error #15)."""
    paths = {one.path for one in resolution.libraries if one.path and one.mapped}
    paths |= set(loaded.paths if loaded else ())
    copies = sorted(p for p in paths if stem_of(os.path.basename(p)) in ("libiomp5", "libomp"))
    if len(copies) < 2:
        return
    allowed = environment is not None and "KMP_DUPLICATE_LIB_OK" in environment.variables
    yield OPENMP_DUPLICATE.finding(
        count=len(copies),
        confidence=Confidence.LIKELY,
        evidence=tuple(
            Evidence(label="mapped", value=path, source="/proc/self/maps or predicted")
            for path in copies
        ),
        fixes=(
            Fix(
                summary="take torch, numpy and MKL from one channel, so that one runtime serves all"
            ),
        ),
        notes=(
            "KMP_DUPLICATE_LIB_OK is set: the runtime no longer aborts, and may give wrong results "
            "or run slowly"
            if allowed
            else "the second runtime that starts ends the process with `OMP: Error #15`",
        ),
    )


@check(PREDICTION_DIFFERS)
def prediction_differs(
    resolution: LibraryResolution,
    loaded: LoadedLibraries,
    known: Knowledge,
    imported: TorchImport | None,
    build: TorchBuild | None,
) -> Findings:
    """What is mapped is not what was predicted: a fault of the doctor.

    Where another torch is imported than the installed one, nothing was predicted of it.
    """
    if imported is not None and _is_another(imported, build):
        return
    for one in differences(resolution, loaded.paths, known.libraries):
        yield PREDICTION_DIFFERS.finding(
            subjects=(one.soname,),
            library=one.soname,
            predicted=one.predicted or "nothing",
            mapped=one.mapped or "nothing",
            evidence=(
                Evidence(label="predicted", value=one.predicted or "none", source="ELF files"),
                Evidence(label="mapped", value=one.mapped or "none", source="/proc/self/maps"),
            ),
            fixes=(Fix(summary="report this with the output of `envdoctor collect`"),),
        )


def _is_another(imported: TorchImport, build: TorchBuild | None) -> bool:
    if imported.is_no_torch or build is None or imported.file is None:
        return imported.is_no_torch
    return not imported.file.startswith(f"{build.path.rstrip('/')}/")
