"""Libraries as text: a line of the tree, and all about one of them."""

from collections.abc import Iterable, Iterator

from msgspec.structs import replace
from rich.text import Text
from textual.content import Content

from envdoctor.facts.libraries import Problem, ResolvedLibrary
from envdoctor.findings import Finding
from envdoctor.report import Report
from envdoctor.tui.widgets.paragraphs import Paragraph, Paragraphs

WRONG = "bold $text-error"
WHEN = {
    "import": "loaded by `import torch`",
    "query": "loaded when torch says its versions",
    "use": "loaded by the first operation on a GPU",
    "start": "loaded when python starts",
}


def is_wrong(library: ResolvedLibrary) -> bool:
    """Whether it is missing though needed, or has problems."""
    return bool(library.problems) or (library.path is None and not library.optional)


def library_line(library: ResolvedLibrary) -> Text:
    """`✓ libcudart.so.12  12.4.127  nvidia-cuda-runtime-cu12  RUNPATH`."""
    if is_wrong(library):
        symbol, style = "✗", WRONG
    elif library.path is None:
        symbol, style = "–", ""
    elif library.clean_path is not None:
        symbol, style = "!", "$text-warning"
    else:
        symbol, style = "✓", "$text-success"
    parts = (library.version, library.owner and library.owner.name, library.rule)
    rest = "  ".join(part for part in parts if part) or (library.path or "not there")
    return Text.assemble((f"{symbol} {library.soname}", style), f"  {rest}")


def again_line(libraries: tuple[ResolvedLibrary, ...]) -> Text:
    """`· also needs libc10.so, ✗ libcudart.so.12`, for libraries that stand elsewhere."""
    names = ", ".join(f"✗ {one.soname}" if is_wrong(one) else one.soname for one in libraries)
    wrong = any(map(is_wrong, libraries))
    return Text(f"· also needs {names}", "$text-error" if wrong else "$text-muted")


def again_text(libraries: tuple[ResolvedLibrary, ...]) -> Paragraphs:
    """The libraries with their files, one below the other."""
    title = Paragraph(text=Content.styled("also needs, and stands elsewhere in the tree", "bold"))
    files = [
        Paragraph(text=Content(f"{one.soname}: {one.path or 'not there'}"), first="  ", hang=4)
        for one in libraries
    ]
    return Paragraphs([title, *files])


def finding_about(library: ResolvedLibrary, report: Report | None) -> Finding | None:
    """The finding that says how a library with problems is repaired."""
    if report is None or not is_wrong(library):
        return None
    findings = (one for one in report.findings if library.soname in one.message)
    return next(findings, None)


def library_text(library: ResolvedLibrary, finding: Finding | None = None) -> Paragraphs:
    """All about one library; `finding` is that about it."""
    rows = [
        ("file", library.path or ("cannot be used" if _is_refused(library) else "not found")),
        ("found by", " ".join(filter(None, (library.rule, library.directory)))),
        ("of", library.rule_of),
        ("version", library.version),
        ("owner", _owner(library)),
        ("needed by", ", ".join(map(_short, library.needed_by))),
        ("how", f"{library.how}, {WHEN.get(library.when, library.when)}"),
        ("without LD_LIBRARY_PATH", library.clean_path),
    ]
    lines = [Paragraph(text=Content.styled(library.soname, "bold"))]
    lines += [
        Paragraph(text=Content.styled(line, "bold $text-error"), hang=2)
        for line in problem_lines(library.problems)
    ]
    if finding is not None:
        where = Content(f"how to repair it: {finding.code} {finding.name}, on tab 2")
        lines.append(Paragraph(text=where, hang=2))
    lines += [
        Paragraph(text=Content.assemble((f"{name}: ", "bold"), text), hang=2)
        for name, text in rows
        if text
    ]
    lines += [
        Paragraph(text=Content(f"also offered: {one.path} ({one.rule})"), hang=2)
        for one in library.alternatives
    ]
    return Paragraphs(lines)


def _owner(library: ResolvedLibrary) -> str | None:
    owner = library.owner
    if owner is None:
        return None
    there = library.path is not None
    damaged = ", not of the size that was installed" if there and owner.intact is False else ""
    return f"{owner.name} {owner.version} ({owner.kind}{damaged})"


def _is_refused(library: ResolvedLibrary) -> bool:
    """Whether there is a file, which the loader does not take."""
    return any(problem.kind == "unreadable" for problem in library.problems)


def problem_lines(problems: Iterable[Problem]) -> Iterator[str]:
    """A line for each thing that is wrong, with all that need the library."""
    needing: dict[Problem, list[str]] = {}
    for one in problems:
        needing.setdefault(replace(one, needed_by=""), []).append(_short(one.needed_by))
    for same, names in needing.items():
        yield problem_line(replace(same, needed_by=", ".join(names)))


def problem_line(problem: Problem) -> str:
    """`✗ symbol: libcusparse.so.12 wants __nvJitLinkComplete_12_4 of libnvJitLink.so.12`."""
    names = f" {', '.join(problem.names[:3])}" if problem.names else ""
    more = f" and {len(problem.names) - 3} more" if len(problem.names) > 3 else ""
    detail = f": {problem.detail}" if problem.detail else ""
    needed_by = _short(problem.needed_by)
    return f"✗ {problem.kind} {problem.library}{names}{more}, needed by {needed_by}{detail}"


def _short(path: str) -> str:
    """The name without its folders, which would fill the pane."""
    return path.rpartition("/")[2]
