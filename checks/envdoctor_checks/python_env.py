"""The target's Python itself: whether the path that was given is one that can be examined."""

import re

from envdoctor.api import (
    Code,
    Environment,
    Evidence,
    Findings,
    Fix,
    ImportTrials,
    Layer,
    Severity,
    Site,
    Target,
    TorchImport,
    check,
    interpreters,
    surroundings,
)

PYTHON_TOO_OLD = Code(
    id="ED102",
    name="python-too-old",
    family="python-too-old",
    severity=Severity.ERROR,
    topic="python",
    layer=Layer.INTERPRETER,
    breaks="import:torch",
    message="the target is a Python from before 3.8",
    detailed="the target is Python {version}, and envdoctor examines Python 3.8 and later",
)
TARGET_UNUSABLE = Code(
    id="ED103",
    name="target-unusable",
    family="target-unusable",
    severity=Severity.ERROR,
    topic="python",
    layer=Layer.INTERPRETER,
    breaks="import:torch",
    message="the target cannot be used as a Python",
    detailed="`{path}` cannot be used as a Python: {detail}",
)

PYTHON_HOME = Code(
    id="ED109",
    name="pythonhome",
    family="target-unusable",
    severity=Severity.ERROR,
    topic="python",
    layer=Layer.INTERPRETER,
    breaks="import:torch",
    message="PYTHONHOME gives the Python the standard library of another",
    detailed="PYTHONHOME is `{value}`, and gives the target the standard library of another Python",
)

VARIABLE_BREAKS_IMPORT = Code(
    id="ED113",
    name="variable-breaks-import",
    family="variable-breaks-import",
    severity=Severity.ERROR,
    topic="python",
    layer=Layer.INTERPRETER,
    breaks="import:torch",
    message="a variable has a value with which torch does not import",
    detailed="torch does not import with the value that {variable} has, and does without it",
)


@check(VARIABLE_BREAKS_IMPORT)
def variable_breaks_import(
    trials: ImportTrials, environment: Environment, imported: TorchImport
) -> Findings:
    """A setting of Python or of torch, which was seen to be what the import fails for.

    What brings other files (PYTHONPATH, LD_LIBRARY_PATH ...) has diseases of its own.
    """
    for one in trials.items:
        if (one.change, one.outcome) != ("unset", "ok") or one.variable in _BRING_FILES:
            continue
        value = environment.variables.get(one.variable, "set")
        yield VARIABLE_BREAKS_IMPORT.finding(
            subjects=(one.variable,),
            variable=one.variable,
            evidence=(
                Evidence(label=one.variable, value=value, source="environment"),
                Evidence(label="import torch", value=imported.message, source="the exception"),
            ),
            fixes=(
                surroundings.unset(
                    one.variable, proof=f"`import torch` works without {one.variable}"
                ),
            ),
        )


_BRING_FILES = ("PYTHONHOME", "PYTHONPATH", "LD_LIBRARY_PATH", "LD_PRELOAD")


@check(PYTHON_HOME)
def python_home(target: Target, environment: Environment, trials: ImportTrials | None) -> Findings:
    """The target does not start with PYTHONHOME, or imports torch without it alone.

    Programs that embed a Python set it; where it names the target's own, all works.
    """
    value = environment.variables.get("PYTHONHOME")
    starts = target.problem is None or "PYTHONHOME" not in target.detail
    cured = trials is not None and trials.cured(unset="PYTHONHOME")
    if value is None or (starts and not cured):
        return
    yield PYTHON_HOME.finding(
        value=value,
        evidence=(Evidence(label="PYTHONHOME", value=value, source="environment"),),
        fixes=(
            surroundings.unset(
                "PYTHONHOME", proof="`import torch` works without PYTHONHOME" if cured else ""
            ),
        ),
    )


@check(TARGET_UNUSABLE)
def target_unusable(target: Target, site: Site) -> Findings:
    """The path that was given, or the only one that was found, is no working Python."""
    if target.problem is None or target.problem == "too-old" or "PYTHONHOME" in target.detail:
        return
    library = _LIBPYTHON.search(target.detail)
    yield TARGET_UNUSABLE.finding(
        path=target.path,
        detail=target.detail,
        evidence=(Evidence(label="problem", value=target.problem, source=target.path),),
        fixes=_fixes(target, site, library[1] if library else ""),
    )


_LIBPYTHON = re.compile(r"loading shared libraries: (libpython[\w.]+)")
_CLOSED = re.compile(r"its end is `([^`]+)`, where this user may not look")
_VARIABLE = re.compile(r"with the value that (PYTHON\w+) has")


def _fixes(target: Target, site: Site, library: str) -> tuple[Fix, ...]:
    if target.problem == "base-missing":
        return interpreters.with_base_again(site)
    if library:
        return (interpreters.find_libpython(library),)
    variable = _VARIABLE.search(target.detail)
    if variable:
        return (surroundings.unset(variable[1]),)
    closed = _CLOSED.search(target.detail)
    if closed:
        return (interpreters.open_to_all(closed[1]), interpreters.other_target())
    return (interpreters.other_target(),)


@check(PYTHON_TOO_OLD)
def python_too_old(target: Target) -> Findings:
    """The target is a Python from before 3.8."""
    if target.problem != "too-old":
        return
    yield PYTHON_TOO_OLD.finding(
        version=target.version,
        evidence=(
            Evidence(label="sys.version_info", value=target.version or "", source=target.path),
        ),
        fixes=(
            interpreters.new_environment(
                "make an environment with a Python that current torch releases support"
            ),
        ),
        notes=("the last torch for Python 3.7 is 1.13.1 (python tags of its wheels on PyPI)",),
    )
