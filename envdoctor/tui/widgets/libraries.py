"""The loader's resolution: for each library the file that wins, why, and what is wrong."""

from collections.abc import Iterator

import msgspec
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Container, Vertical, VerticalScroll
from textual.content import Content
from textual.reactive import reactive
from textual.widgets import Static, Tree

from envdoctor.loader.facts import LibraryResolution, Owner, Problem, ResolvedLibrary
from envdoctor.report import Report
from envdoctor.tui.state import State
from envdoctor.tui.words import plural

Item = ResolvedLibrary | Problem | None
_WHEN = {
    "start": "loaded when python starts",
    "import": "loaded by `import torch`",
    "query": "loaded when torch says its versions",
    "use": "loaded by the first operation on a GPU",
}


class LibrariesPane(Vertical):
    """A tree: what is wrong first, then the libraries by the moment when they are loaded."""

    state: reactive[State] = reactive(State())

    def compose(self) -> ComposeResult:
        yield Static("", id="libraries-say", markup=False)
        with Container(id="libraries-and-detail"):
            tree: Tree[Item] = Tree("", id="libraries-tree")
            tree.show_root = False
            tree.guide_depth = 2
            yield tree
            with VerticalScroll(id="library-detail"):
                yield Static("", id="library-text", markup=False)

    def on_mount(self) -> None:
        self._rebuild()

    def watch_state(self, before: State, state: State) -> None:
        if self.is_mounted and before.report is not state.report:
            self._rebuild()

    @on(Tree.NodeHighlighted, "#libraries-tree")
    def _highlighted(self, event: Tree.NodeHighlighted[Item]) -> None:
        event.stop()
        self._explain(event.node.data)

    def _explain(self, item: Item) -> None:
        if isinstance(item, ResolvedLibrary):
            text = library_text(item)
        elif isinstance(item, Problem):
            text = Content(problem_line(item))
        else:
            text = Content("")
        self.query_one("#library-text", Static).update(text)

    def _rebuild(self) -> None:
        tree = self.query_one("#libraries-tree", Tree)
        tree.clear()
        resolution = resolution_of(self.state.report)
        self.query_one("#libraries-say", Static).update(says(resolution, self.state.report))
        if resolution is None:
            return
        for title, libraries in groups(resolution):
            node = tree.root.add(title, expand=True)
            for library in libraries:
                node.add_leaf(library_line(library), data=library)
        for extension in resolution.extensions:
            if extension.problems:
                title = Text(f"✗ {extension.distribution}: {extension.path}", "bold red")
                node = tree.root.add(title, expand=True)
                for problem in extension.problems:
                    node.add_leaf(Text(problem_line(problem)), data=problem)
        self.call_after_refresh(tree.move_cursor_to_line, 1)


def groups(resolution: LibraryResolution) -> Iterator[tuple[Text, tuple[ResolvedLibrary, ...]]]:
    """What is wrong, then the others by the moment when they are loaded; no empty group."""
    wrong = tuple(one for one in resolution.libraries if is_wrong(one))
    if wrong:
        title = f"✗ {plural(len(wrong), 'library', 'libraries')} with problems"
        yield Text(title, "bold red"), wrong
    for when, title in _WHEN.items():
        fine = tuple(one for one in resolution.libraries if one.when == when and one not in wrong)
        if fine:
            yield Text(f"{title}: {len(fine)}", "bold"), fine


def resolution_of(report: Report | None) -> LibraryResolution | None:
    """The resolution that the report's facts hold, if any and if this version can read it."""
    value = report.facts.get("LibraryResolution", {}).get("value") if report else None
    if value is None:
        return None
    try:
        return msgspec.convert(value, LibraryResolution)
    except msgspec.ValidationError:
        return None


def says(resolution: LibraryResolution | None, report: Report | None) -> str:
    """One line above the tree."""
    if resolution is None:
        fact = report.facts.get("LibraryResolution", {}) if report else {}
        return f"nothing is known of the libraries: {fact.get('detail') or 'not looked at'}"
    wrong = sum(is_wrong(one) for one in resolution.libraries)
    count = plural(len(resolution.libraries), "library", "libraries")
    if resolution.import_error:
        return f"✗ `import torch` is predicted to fail: {resolution.import_error}"
    if wrong:
        return f"! {wrong} of {count} with problems"
    return f"✓ {count}, nothing wrong"


def is_wrong(library: ResolvedLibrary) -> bool:
    """Whether it is missing though needed, or has problems."""
    return bool(library.problems) or (library.path is None and not library.optional)


def library_line(library: ResolvedLibrary) -> Text:
    """`✓ libcudart.so.12  12.4.127  nvidia-cuda-runtime-cu12  RUNPATH`."""
    if is_wrong(library):
        symbol, style = "✗", "bold red"
    elif library.path is None:
        symbol, style = "–", ""
    elif library.clean_path is not None:
        symbol, style = "!", "yellow"
    else:
        symbol, style = "✓", "green"
    parts = (library.version, library.owner and library.owner.name, library.rule)
    rest = "  ".join(part for part in parts if part) or (library.path or "not there")
    return Text.assemble((f"{symbol} {library.soname}", style), f"  {rest}")


def library_text(library: ResolvedLibrary) -> Content:
    """All about one library."""
    rows = [
        ("file", library.path or "none"),
        ("because", " ".join(filter(None, (library.rule, library.directory)))),
        ("of", library.rule_of),
        ("version", library.version),
        ("owner", _owner(library.owner)),
        ("needed by", ", ".join(map(_short, library.needed_by))),
        ("how", f"{library.how}, {_WHEN.get(library.when, library.when)}"),
        ("without LD_LIBRARY_PATH", library.clean_path),
    ]
    lines = [Content.styled(library.soname, "bold")]
    lines += [Content.assemble((f"{name}: ", "bold"), text) for name, text in rows if text]
    lines += [Content.styled(problem_line(one), "bold $text-error") for one in library.problems]
    lines += [Content(f"also offered: {one.path} ({one.rule})") for one in library.alternatives]
    return Content("\n").join(lines)


def _owner(owner: Owner | None) -> str | None:
    if owner is None:
        return None
    damaged = ", not of the size that was installed" if owner.intact is False else ""
    return f"{owner.name} {owner.version} ({owner.kind}{damaged})"


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
