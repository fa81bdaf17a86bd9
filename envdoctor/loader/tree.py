"""The resolution as text: a tree of what torch loads, and one library explained."""

import os
from collections.abc import Callable, Iterable, Iterator

from envdoctor.facts.libraries import LibraryResolution, Offer, Problem, ResolvedLibrary
from envdoctor.loader.mapped import Difference, Libraries

_WHEN = {
    "start": "the interpreter itself",
    "import": "import torch",
    "query": "torch asks for versions",
    "use": "first use on a GPU (opened by name)",
}
_RULES = {"path": "opened by its path"}
_MAX_NAMES = 3
_AS_PREDICTED = "checked: torch was imported, and exactly these files are mapped"

Paint = Callable[[str], str]


def render_libraries(found: Libraries, *, colour: bool = False) -> str:
    """The whole tree and where it differs from what is mapped; or the library that was asked for.

    What is wrong is marked with `!!`.
    """
    paint = _red if colour else str
    if found.asked is not None:
        return "".join(_library(one, paint) for one in found.libraries)
    return _tree(found, paint) + _truth(found.differences)


def _red(text: str) -> str:
    return f"\x1b[1;31m{text}\x1b[0m"


def _truth(differing: Iterable[Difference] | None) -> str:
    if differing is None:
        return ""
    lines = [
        f"differs: {one.soname}: predicted {one.predicted or 'none'}, mapped {one.mapped or 'none'}"
        for one in differing
    ]
    return "\n".join(lines or [_AS_PREDICTED]) + "\n"


def _tree(resolution: LibraryResolution, paint: Paint) -> str:
    lines = [resolution.root]
    for when, title in _WHEN.items():
        libraries = [one for one in resolution.libraries if one.when == when]
        if not libraries:
            continue
        lines += ["", title]
        width = min(40, max(len(one.soname) for one in libraries))
        for one in libraries:
            lines += _entry(one, width, paint)
    lines += ["", *_verdict(resolution, paint)]
    return "\n".join(lines) + "\n"


def _entry(library: ResolvedLibrary, width: int, paint: Paint) -> Iterator[str]:
    name = library.soname.ljust(width)
    if library.path is None and library.optional:
        yield f"  -  {name}  not found; nothing needs it without a GPU driver"
        return
    if library.path is None:
        there = any(problem.kind == "unreadable" for problem in library.problems)
        yield paint(f"  !! {name}  {'cannot be used' if there else 'not found'}")
        yield from _trouble(library, paint)
        return
    mark = "!!" if library.problems else "=>" if library.clean_path else "  "
    line = f"  {mark} {name}  {_why(library)}{_from(library)}"
    yield paint(line) if library.problems else line
    yield f"     {' ' * width}  {library.path}"
    if library.clean_path:
        yield f"     {' ' * width}  in place of {library.clean_path}"
    yield from _trouble(library, paint)


def _trouble(library: ResolvedLibrary, paint: Paint) -> Iterator[str]:
    # Several may ask for one library, and what is wrong with it is the same for all.
    for text in dict.fromkeys(map(describe, library.problems)):
        yield paint(f"       {text}")


def _why(library: ResolvedLibrary) -> str:
    opened = {"dlopen": "dlopen, ", "preload": ""}.get(library.how, "")
    return f"{opened}{_RULES.get(library.rule or '', library.rule)}"


def _from(library: ResolvedLibrary | Offer) -> str:
    owner = library.owner
    if owner is None:
        return f"  ({library.version})" if library.version else ""
    changed = ", but the file was changed" if owner.intact is False else ""
    return f"  ({owner.name} {owner.version}{changed})"


def describe(problem: Problem) -> str:
    """One problem in words."""
    asker = os.path.basename(problem.needed_by)
    names = ", ".join(f"`{name}`" for name in problem.names[:_MAX_NAMES])
    more = len(problem.names) - _MAX_NAMES
    names += f" and {more} more" if more > 0 else ""
    if problem.kind == "missing":
        return f"no file of this name where {asker} looks"
    if problem.kind == "unreadable":
        return f"cannot be loaded: {problem.detail}"
    if problem.kind == "version":
        return f"lacks the version {names} that {asker} requires"
    return f"{asker} needs {names}, which no loaded library has"


def _verdict(resolution: LibraryResolution, paint: Paint) -> Iterator[str]:
    for problem in resolution.preload_problems:
        yield paint(f"!! {problem.library}: {describe(problem)}; it is left out")
    for extension in resolution.extensions:
        for problem in extension.problems:
            yield paint(f"!! {extension.path}: {describe(problem)}")
    if resolution.import_error:
        yield paint(f"`import torch` will fail: {resolution.import_error}")
        yield "how to repair it: `envdoctor check`"
    else:
        yield "`import torch` will find all that it loads"


def _library(library: ResolvedLibrary, paint: Paint) -> str:
    """All that is known of one library."""
    rows: list[tuple[str, str]] = [
        ("file", library.path or "none"),
        ("opened as", library.named if library.named != library.path and library.named else ""),
        ("rule", _rule(library)),
        ("owner", _from(library).strip(" ()")),
        ("loaded", f"{_WHEN[library.when]}, {library.how}"),
        *(("asked by", path) for path in library.needed_by),
        *(("also there", f"{o.path}  [{o.rule}]{_from(o)}") for o in library.alternatives),
        ("shadows", library.clean_path or ""),
        *(("problem", paint(describe(problem))) for problem in library.problems),
    ]
    return "\n".join([library.soname, *_rows(rows)]) + "\n"


def _rule(library: ResolvedLibrary) -> str:
    if library.rule is None:
        return ""
    whose = f" of {library.rule_of}" if library.rule_of else ""
    return f"{library.rule}{whose}: {library.directory}"


def _rows(rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    previous = ""
    for label, text in rows:
        if text:
            yield f"  {('' if label == previous else label).ljust(11)} {text}"
            previous = label
