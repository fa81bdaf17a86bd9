"""Modules that are imported from another place than where they are installed."""

import re
from collections.abc import Iterator

from envdoctor.api import (
    PYTORCHS_OWN,
    Code,
    CompanionImports,
    Confidence,
    Distributions,
    Environment,
    Evidence,
    Finding,
    Findings,
    Frame,
    ImportTrials,
    Interpreter,
    Layer,
    Record,
    Severity,
    TorchBuild,
    TorchImport,
    check,
)
from envdoctor_checks.module_path import (
    Entry,
    entries_of,
    entry_of,
    is_another_environment,
    module_of,
)
from envdoctor_checks.path_fixes import without_folder

MODULE_SHADOWING = Code(
    id="ED105",
    name="module-shadowing",
    family="module-shadowing",
    severity=Severity.ERROR,
    topic="python",
    layer=Layer.FILES,
    breaks="import:torch",
    message="a file or folder that comes first on the path hides the real module",
    detailed="{modules} imported from `{file}` ({origin}), not from {instead}",
    explains=("ED101", "ED349", "ED360", "ED361", "ED370", "ED371", "ED372", "ED373", "ED413"),
)

_NAMED_FILE = re.compile(r"from '(?P<module>[\w.]+)' \((?P<file>/[^()\n]+)\)")
"""How Python says where a name was looked for: `cannot import name 'x' from 'm' (file)`."""

_LIBRARIES = ("torch", *PYTORCHS_OWN, "numpy")
"""Packages that nobody keeps within another one of that name."""


class _Stray(Record):
    """A module and the file that it comes from; `instead` is where it should come from."""

    module: str
    file: str
    instead: str
    breaks: tuple[str, ...] = ("import:torch",)
    breaks_now: bool = False


@check(MODULE_SHADOWING)
def module_shadowing(
    imported: TorchImport,
    interpreter: Interpreter,
    build: TorchBuild | None,
    distributions: Distributions | None,
    environment: Environment | None,
    companions: CompanionImports | None,
    trials: ImportTrials | None,
) -> Findings:
    """A folder that comes before the target's own packages hides a module of theirs.

    The culprit is that folder: the entry of PYTHONPATH, the current folder, the user's own
    site-packages, or what a .pth file names.
    """
    entries = entries_of(interpreter, environment)
    strays = [
        *_of_standard_library(imported),
        *_of_torch(imported, interpreter, build, distributions, entries),
        *_of_failed_import(imported, entries),
        *_of_path_file(imported, distributions, entries),
        *_of_companions(companions, entries),
    ]
    by_entry: dict[str, list[_Stray]] = {}
    for stray in strays:
        entry = entry_of(stray.file, entries)
        if entry is not None and entry.is_foreign:
            by_entry.setdefault(entry.path, []).append(stray)
    if not by_entry and imported.works_isolated:
        by_entry = _by_what_was_tried(entries, trials)
    for entry in entries:
        if entry.path in by_entry:
            yield _shadowed(entry, by_entry[entry.path], entries, imported, trials)


# --- what comes from the wrong place ---


def _of_standard_library(imported: TorchImport) -> Iterator[_Stray]:
    for listed in imported.shadowed:
        module, _, file = listed.partition(" (")
        yield _Stray(
            module=module,
            file=file.rstrip(")"),
            instead="the standard library",
            breaks_now=imported.outcome != "ok",
        )


def _of_torch(
    imported: TorchImport,
    interpreter: Interpreter,
    build: TorchBuild | None,
    distributions: Distributions | None,
    entries: tuple[Entry, ...],
) -> Iterator[_Stray]:
    """A torch that hides the target's own, or is that of another environment."""
    if imported.outcome != "ok" or not imported.file:
        return
    entry = entry_of(imported.file, entries)
    if entry is None or not entry.is_foreign:
        return
    found = distributions.named("torch") if distributions else ()
    if found and found[0].editable:
        return
    own = [one.location for one in found if one.location != entry.path]
    if build is not None and not entry.holds(build.path):
        own.append(build.path)
    if own or imported.version is None or is_another_environment(entry, interpreter):
        instead = f"`{own[0]}`" if own else "the target's own packages"
        yield _Stray(
            module="torch",
            file=imported.file,
            instead=instead,
            breaks_now=imported.version is None,
        )


def _of_failed_import(imported: TorchImport, entries: tuple[Entry, ...]) -> Iterator[_Stray]:
    if not imported.works_isolated:
        return
    texts = (imported.message, imported.cause)
    for module, file in _foreign_files(texts, imported.frames, entries):
        instead = "where it is with python -I"
        yield _Stray(module=module, file=file, instead=instead, breaks_now=True)


def _of_path_file(
    imported: TorchImport, distributions: Distributions | None, entries: tuple[Entry, ...]
) -> Iterator[_Stray]:
    """A torch that fails and that a path file puts before the target's own, which `python -I` reads
    as well: an egg of easy_install."""
    if imported.outcome == "ok" or imported.works_isolated:
        return
    start = (one.file for one in imported.frames if one.file.endswith("/torch/__init__.py"))
    file = next(start, "")
    entry = entry_of(file, entries)
    found = distributions.named("torch") if distributions else ()
    if entry is None or entry.origin != "path file" or any(one.editable for one in found):
        return
    own = [one.location for one in found if not f"{one.location}/".startswith(f"{entry.path}/")]
    if own:
        yield _Stray(module="torch", file=file, instead=f"`{own[0]}`", breaks_now=True)


def _of_companions(
    companions: CompanionImports | None, entries: tuple[Entry, ...]
) -> Iterator[_Stray]:
    for one in companions.items if companions else ():
        if one.outcome == "ok":
            continue
        for module, file in _foreign_files((one.message,), one.frames, entries):
            yield _Stray(
                module=module,
                file=file,
                instead="the target's own packages",
                breaks=(f"import:{one.name}",),
                breaks_now=True,
            )


def _foreign_files(
    texts: tuple[str, ...], frames: tuple[Frame, ...], entries: tuple[Entry, ...]
) -> Iterator[tuple[str, str]]:
    """The module that a failure names or ended in, if it is none of the target's own; the first."""
    named = [match["file"] for text in texts for match in _NAMED_FILE.finditer(text)]
    for file in (*named, *(frame.file for frame in reversed(frames))):
        entry = entry_of(file, entries)
        if entry is not None and entry.is_foreign and not _is_of_a_finder(file, entry):
            yield module_of(file, entry)
            return


def _is_of_a_finder(file: str, entry: Entry) -> bool:
    """Whether a library's package lies deeper below an entry than Python looks: what was installed
    with `pip install -e` is found by a hook, wherever its checkout is."""
    first, *deeper = file.removeprefix(f"{entry.path.rstrip('/')}/").split("/")[:-1] or [""]
    return first not in _LIBRARIES and any(part in _LIBRARIES for part in deeper)


def _by_what_was_tried(
    entries: tuple[Entry, ...], trials: ImportTrials | None
) -> dict[str, list[_Stray]]:
    """The entry whose absence makes the import work, where nothing else names it."""
    origins: tuple[str, ...] = ("PYTHONPATH", "user", "folder")
    if trials is not None:
        cured = {
            "PYTHONPATH": trials.cured(unset="PYTHONPATH"),
            "user": trials.cured(set_variable="PYTHONNOUSERSITE"),
            "folder": trials.cured(folder=True),
        }
        origins = tuple(origin for origin in origins if cured[origin])
    there = (entry for origin in origins for entry in entries if entry.origin == origin)
    found = next(there, None)
    if found is None:
        return {}
    instead = "where it is with python -I"
    stray = _Stray(module="", file=found.path, instead=instead, breaks_now=True)
    return {found.path: [stray]}


# --- the finding ---


def _shadowed(
    entry: Entry,
    strays: list[_Stray],
    entries: tuple[Entry, ...],
    imported: TorchImport,
    trials: ImportTrials | None,
) -> Finding:
    first = next((one for one in strays if one.breaks_now), strays[0])
    breaking = any(one.breaks_now for one in strays)
    named = tuple(dict.fromkeys(f"`{one.module}`" for one in (first, *strays) if one.module))
    fixes = without_folder(entry, entries, imported, trials, file=first.file)
    sure = any(fix.proof for fix in fixes) or first.module not in ("torch", "")
    sure = sure or (first.module == "torch" and imported.is_no_torch)
    return MODULE_SHADOWING.finding(
        subjects=(entry.path,),
        breaks=tuple(dict.fromkeys(one for stray in strays for one in stray.breaks)),
        severity=Severity.ERROR if breaking else Severity.WARNING,
        confidence=Confidence.CERTAIN if sure else Confidence.LIKELY,
        modules=_in_words(named),
        file=first.file,
        origin=entry.in_words,
        instead=first.instead,
        evidence=tuple(dict.fromkeys(_evidence(entry, strays, imported))),
        fixes=fixes,
    )


def _in_words(named: tuple[str, ...]) -> str:
    if not named:
        return "something that torch needs is"
    if len(named) == 1:
        return f"{named[0]} is"
    rest = len(named) - 1
    return f"{named[0]} and {rest} more {'module' if rest == 1 else 'modules'} are"


def _evidence(entry: Entry, strays: list[_Stray], imported: TorchImport) -> Iterator[Evidence]:
    for stray in strays:
        if stray.module:
            yield Evidence(label=f"{stray.module}.__file__", value=stray.file, source="sys.modules")
    if imported.works_isolated:
        yield Evidence(label="python -I -c 'import torch'", value="works", source="a second import")
    if entry.origin == "PYTHONPATH":
        yield Evidence(label="PYTHONPATH", value=entry.path, source="environment")
