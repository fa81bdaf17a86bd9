"""The loader's resolution: for each library the file that wins, why, and what is wrong."""

from typing import ClassVar

import msgspec
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical, VerticalScroll
from textual.content import Content
from textual.reactive import reactive
from textual.widgets import Input, Static, Tree
from textual.widgets.tree import TreeNode

from envdoctor.facts.libraries import Extension, LibraryResolution, Problem, ResolvedLibrary
from envdoctor.record import Record
from envdoctor.report import Report
from envdoctor.tui.library_tree import Branch, branches
from envdoctor.tui.state import State
from envdoctor.tui.widgets.kept_tree import KeptTree
from envdoctor.tui.widgets.library_text import (
    WHEN,
    WRONG,
    again_line,
    again_text,
    finding_about,
    is_wrong,
    library_line,
    library_text,
    problem_line,
)
from envdoctor.tui.widgets.paragraphs import Paragraphs
from envdoctor.tui.words import plural


class Item(Record):
    """What a line stands for; `key` is stable while the report changes."""

    key: str
    library: ResolvedLibrary | None = None
    problem: Problem | None = None
    again: tuple[ResolvedLibrary, ...] = ()


class LibrariesTree(KeptTree[Item]):
    """What is wrong first, then which library is opened for which, by the moment of loading."""

    def show(self, resolution: LibraryResolution | None, words: str = "") -> None:
        """All of it anew; with words a flat list of the libraries that have them all."""
        with self.rebuilt(lambda item: item.library is not None):
            if resolution is not None and words.strip():
                self._add_matching(resolution, words.lower().split())
            elif resolution is not None:
                self._add_wrong(resolution)
                for when, title in WHEN.items():
                    self._add_moment(resolution, when, title)
                for extension in resolution.extensions:
                    self._add_extension(extension)

    def _add_matching(self, resolution: LibraryResolution, words: list[str]) -> None:
        matching = [one for one in resolution.libraries if _matches(one, words)]
        for library in matching:
            item = Item(key=f"found {library.soname}", library=library)
            self.root.add_leaf(library_line(library), data=item)
        if not matching:
            self.root.add_leaf(Text("no library has these words; Esc clears"), Item(key="none"))

    def _add_wrong(self, resolution: LibraryResolution) -> None:
        wrong = [one for one in resolution.libraries if is_wrong(one)]
        if not wrong:
            return
        title = f"✗ {plural(len(wrong), 'library', 'libraries')} with problems"
        node = self.grow(self.root, Text(title, WRONG), Item(key="wrong"), opened=True)
        for library in wrong:
            item = Item(key=f"wrong {library.soname}", library=library)
            node.add_leaf(library_line(library), data=item)

    def _add_moment(self, resolution: LibraryResolution, when: str, title: str) -> None:
        libraries = [one for one in resolution.libraries if one.when == when]
        if not libraries:
            return
        label = Text(f"{title}: {len(libraries)}", "bold")
        node = self.grow(self.root, label, Item(key=when), opened=when != "start")
        for branch in branches(libraries):
            self._add_branch(node, branch)

    def _add_branch(self, above: TreeNode[Item], branch: Branch) -> None:
        library = branch.library
        item = Item(key=library.soname, library=library)
        if not branch.below and not branch.again:
            above.add_leaf(library_line(library), data=item)
            return
        node = self.grow(above, library_line(library), item, opened=True)
        for below in branch.below:
            self._add_branch(node, below)
        if branch.again:
            item = Item(key=f"again {library.soname}", again=branch.again)
            node.add_leaf(again_line(branch.again), data=item)

    def _add_extension(self, extension: Extension) -> None:
        if not extension.problems:
            return
        title = Text(f"✗ {extension.distribution}: {extension.path}", WRONG)
        node = self.grow(self.root, title, Item(key=extension.path), opened=True)
        for problem in extension.problems:
            line = problem_line(problem)
            item = Item(key=f"{extension.path} {line}", problem=problem)
            node.add_leaf(Text(line), data=item)


class LibrariesPane(Vertical):
    """The tree, with all about the line under its cursor beside or below it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "unfilter", "Clear search", show=False),
    ]
    state: reactive[State] = reactive(State())

    def compose(self) -> ComposeResult:
        yield Input(
            placeholder="search a library (all words must match); Esc clears",
            id="library-search",
            compact=True,
        )
        yield Static("", id="libraries-say", markup=False)
        with Container(id="libraries-and-detail"):
            yield LibrariesTree(id="libraries-tree")
            with VerticalScroll(id="library-detail"):
                yield Static("", id="library-text", markup=False)

    def on_mount(self) -> None:
        self._resolution: LibraryResolution | None = None
        self.query_one("#library-search").display = False
        self._show(self.state)

    def watch_state(self, before: State, state: State) -> None:
        changed = before.report is not state.report or before.final != state.final
        if self.is_mounted and changed:
            self._show(state)

    def _show(self, state: State) -> None:
        resolution = resolution_of(state.report)
        self.query_one("#libraries-say", Static).update(says(resolution, state))
        if resolution == self._resolution:
            return
        self._resolution = resolution
        tree = self.query_one(LibrariesTree)
        tree.show(resolution, self.query_one("#library-search", Input).value)
        self._explain(tree.chosen)

    @on(Tree.NodeHighlighted, "#libraries-tree")
    def _highlighted(self, event: Tree.NodeHighlighted[Item]) -> None:
        event.stop()
        self._explain(event.node.data)

    @on(Tree.NodeSelected, "#libraries-tree")
    def _selected(self, event: Tree.NodeSelected[Item]) -> None:
        event.stop()
        self.query_one(LibrariesTree).toggle_below(event.node)

    def open_filter(self) -> None:
        """Show the search and put the focus into it, at once: the next key belongs to it."""
        field = self.query_one("#library-search", Input)
        field.display = True
        self.screen.set_focus(field)

    def action_unfilter(self) -> None:
        """The whole tree again."""
        field = self.query_one("#library-search", Input)
        field.value = ""
        field.display = False
        self.query_one(LibrariesTree).focus()

    @on(Input.Changed, "#library-search")
    def _typed(self, event: Input.Changed) -> None:
        tree = self.query_one(LibrariesTree)
        tree.show(self._resolution, event.value)
        self.call_after_refresh(lambda: self._explain(tree.chosen))

    @on(Input.Submitted, "#library-search")
    def _to_the_tree(self) -> None:
        self.query_one(LibrariesTree).focus()

    def _explain(self, item: Item | None) -> None:
        text: Content | Paragraphs = Content("")
        if item is not None and item.library is not None:
            text = library_text(item.library, finding_about(item.library, self.state.report))
        elif item is not None and item.problem is not None:
            text = Content(problem_line(item.problem))
        elif item is not None and item.again:
            text = again_text(item.again)
        self.query_one("#library-text", Static).update(text)


def resolution_of(report: Report | None) -> LibraryResolution | None:
    """The resolution that the report's facts hold, if any and if this version can read it."""
    value = report.facts.get("LibraryResolution", {}).get("value") if report else None
    if value is None:
        return None
    try:
        return msgspec.convert(value, LibraryResolution)
    except msgspec.ValidationError:
        return None


def says(resolution: LibraryResolution | None, state: State) -> str:
    """One line above the tree."""
    if resolution is None and not state.final:
        return "not yet known: the examination is not finished"
    if resolution is None:
        fact = state.report.facts.get("LibraryResolution", {}) if state.report else {}
        why = fact.get("detail") or "not looked at"
        remedy = "`t` examines a live target" if state.source else "`r` looks again"
        return f"nothing is known of the libraries: {why}; {remedy}"
    wrong = sum(is_wrong(one) for one in resolution.libraries)
    count = plural(len(resolution.libraries), "library", "libraries")
    if resolution.import_error:
        return f"✗ `import torch` is predicted to fail: {resolution.import_error}"
    if wrong:
        return f"! {wrong} of {count} with problems"
    return f"✓ {count}, nothing wrong"


def _matches(library: ResolvedLibrary, words: list[str]) -> bool:
    owner = library.owner.name if library.owner else ""
    text = " ".join(filter(None, (library.soname, library.path, owner, library.version))).lower()
    return all(word in text for word in words)
