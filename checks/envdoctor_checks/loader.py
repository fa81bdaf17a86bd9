"""Libraries that torch loads: missing, refused, too old, or taken from the wrong place."""

import os
import re
from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from envdoctor.api import (
    Code,
    Confidence,
    Distributions,
    Environment,
    Evidence,
    Finding,
    Findings,
    Fix,
    ImportTrials,
    Knowledge,
    LibraryCatalogue,
    LibraryResolution,
    LoadedLibraries,
    Problem,
    Record,
    ResolvedLibrary,
    Severity,
    Site,
    check,
    describe,
    differences,
    stem_of,
    surroundings,
)
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
from envdoctor_checks.loader_fixes import Repair, rule_of, without_path
from envdoctor_checks.path_fixes import proof_of

_MAX_NAMES = 3


@check(*PROBLEM_CODES)
def library_problem(
    resolution: LibraryResolution,
    distributions: Distributions | None,
    trials: ImportTrials | None,
    site: Site,
    known: Knowledge,
) -> Findings:
    """A library that torch needs is absent, refused, or lacks what is needed of it."""
    repair = Repair(
        resolution=resolution,
        distributions=distributions,
        trials=trials,
        site=site,
        libraries=known.libraries,
    )
    found = list(_found(resolution, known.libraries))
    for group in _with_one_repair(found, resolution, repair):
        yield _told(group, resolution, repair, known.libraries)


class _Found(Record):
    """A problem of a library, and the disease that it is."""

    code: Code
    library: ResolvedLibrary
    problem: Problem

    @property
    def subject(self) -> str:
        """The library that is absent, refused or lacking."""
        return os.path.basename(self.problem.library)


def _found(resolution: LibraryResolution, libraries: LibraryCatalogue) -> Iterator[_Found]:
    """Every problem once, by its disease and its library."""
    seen: set[str] = set()
    for library in resolution.libraries:
        for problem in () if library.optional else library.problems:
            one = _Found(code=disease_of(problem, libraries), library=library, problem=problem)
            if f"{one.code.id}:{one.subject}" not in seen:
                seen.add(f"{one.code.id}:{one.subject}")
                yield one


def _with_one_repair(
    found: list[_Found], resolution: LibraryResolution, repair: Repair
) -> list[list[_Found]]:
    """The problems, those together that one repair ends: libraries that are only not found because
    of LD_LIBRARY_PATH, or that lie in folders where no rule of the loader leads to.

    What the loader itself will name comes first.
    """
    error = resolution.import_error or ""
    groups: dict[object, list[_Found]] = {}
    for number, one in enumerate(sorted(found, key=lambda one: one.subject not in error)):
        missing = one.problem.kind == "missing"
        if missing and one.library.clean_path:
            groups.setdefault("LD_LIBRARY_PATH", []).append(one)
        elif missing and repair.is_astray(one.library):
            elsewhere = replace(one, code=WHEELS_IN_OTHER_FOLDERS)
            groups.setdefault("folders", []).append(elsewhere)
        else:
            groups[number] = [one]
    return list(groups.values())


def _told(
    group: list[_Found],
    resolution: LibraryResolution,
    repair: Repair,
    libraries: LibraryCatalogue,
) -> Finding:
    first = group[0]
    doubtful = all(_is_part_of_a_part(one.library, resolution, libraries) for one in group)
    return first.code.finding(
        subjects=tuple(one.subject for one in group),
        breaks=outcomes_of(one.library.when for one in group),
        severity=Severity.WARNING if doubtful else None,
        confidence=Confidence.LIKELY if doubtful else Confidence.CERTAIN,
        evidence=tuple(
            line for one in group for line in _evidence(one.problem, one.library, resolution)
        ),
        fixes=repair.of(first.library, first.problem),
        notes=tuple(
            dict.fromkeys(note for one in group for note in _notes(one.library, resolution))
        ),
        **_words(first.problem, first.library),
    )


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


def _words(problem: Problem, library: ResolvedLibrary) -> dict[str, Any]:
    named = ", ".join(f"`{name}`" for name in problem.names[:_MAX_NAMES])
    more = len(problem.names) - _MAX_NAMES
    version = f" {library.version}" if library.version else ""
    return {
        "library": os.path.basename(problem.library),
        "library_said": f"`{os.path.basename(problem.path or problem.library)}`{version}",
        "needed_by": os.path.basename(problem.needed_by),
        "path": problem.path or problem.library,
        "detail": problem.detail,
        "symbols": named + (f" and {more} more" if more > 0 else ""),
    }


def _evidence(
    problem: Problem, library: ResolvedLibrary, resolution: LibraryResolution
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
    for offer in library.alternatives[:_MAX_NAMES]:
        yield Evidence(label="also there", value=offer.path, source=offer.rule)
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
    severity = Severity.ERROR if breaks else Severity.WARNING if cuda else Severity.INFO
    rule = "LD_PRELOAD" if first.rule == "LD_PRELOAD" else "LD_LIBRARY_PATH"
    shown = cuda or shadowed
    yield LD_LIBRARY_PATH_SHADOW.finding(
        severity=severity,
        breaks=("import:torch",) if breaks else outcomes_of(one.when for one in shown),
        what="1 library is" if len(shown) == 1 else f"{len(shown)} libraries are",
        rule=rule,
        library=first.soname,
        path=first.path,
        evidence=tuple(_shadow_evidence(shown)),
        fixes=(without_path(resolution, rule, trials=trials),),
        notes=tuple(_shadow_notes(breaks)),
    )


def _is_shadowed(library: ResolvedLibrary) -> bool:
    """Whether another file wins than without the variables, and one that no wheel here brings."""
    own = library.owner is not None and library.owner.kind == "wheel" and library.owner.intact
    return bool(library.clean_path and library.path and not own)


def _belongs_to_torch(library: ResolvedLibrary, libraries: LibraryCatalogue) -> bool:
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
    resolution: LibraryResolution, loaded: LoadedLibraries, known: Knowledge
) -> Findings:
    """What is mapped is not what was predicted: a fault of the doctor."""
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
