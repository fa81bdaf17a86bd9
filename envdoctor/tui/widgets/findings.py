"""The list of findings, the filter above it, and the chosen one beside or below it."""

from dataclasses import replace
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widgets import Input, Static, Tree

from envdoctor.findings import Finding, Severity
from envdoctor.report import Report
from envdoctor.tui.grouping import (
    Group,
    Wanted,
    group_findings,
    passed_checks,
    unrun_checks,
)
from envdoctor.tui.state import State
from envdoctor.tui.widgets.findings_tree import (
    Row,
    add_group,
    add_passed,
    add_unrun,
    nodes_below,
    preview,
    probe_label,
)
from envdoctor.tui.widgets.strip import TICK_S
from envdoctor.tui.words import plural

_LEAST = {
    Severity.INFO: "all severities",
    Severity.WARNING: "warnings and errors",
    Severity.ERROR: "errors only",
}


class FindingsPane(Vertical):
    """Findings by topic; below them the checks that passed, those that did not run, the probes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f", "severity", "Severity"),
        Binding("escape", "unfilter", "Clear filter", show=False),
    ]
    state: reactive[State] = reactive(State())
    wanted: reactive[Wanted] = reactive(Wanted())

    class Opened(Message):
        """The user wants to see all of a finding."""

        def __init__(self, finding: Finding) -> None:
            super().__init__()
            self.finding = finding

    def compose(self) -> ComposeResult:
        yield Input(placeholder="words that must all occur; Esc clears", id="filter", compact=True)
        yield Static(id="shown")
        with Container(id="list-and-preview"):
            tree: Tree[Row] = Tree("", id="findings-tree")
            tree.show_root = False
            tree.guide_depth = 2
            yield tree
            with VerticalScroll(id="preview", can_focus=False):
                yield Static(id="preview-text")

    def on_mount(self) -> None:
        self.query_one("#filter").display = False
        self._timer = self.set_interval(TICK_S, self._tick, pause=True)
        self._rebuild()

    @property
    def listed(self) -> Tree[Row]:
        """The tree itself."""
        return self.query_one("#findings-tree", Tree)

    @property
    def chosen(self) -> Row | None:
        """What the cursor is on."""
        node = self.listed.cursor_node
        return node.data if node is not None else None

    def watch_state(self, before: State, state: State) -> None:
        if not self.is_mounted:
            return
        if before.report is not state.report:
            self._rebuild()
        elif before.probes is not state.probes:
            self._rebuild_probes()
        if state.running:
            self._timer.resume()
        else:
            self._timer.pause()

    def watch_wanted(self) -> None:
        if self.is_mounted:
            self._rebuild()

    def open_filter(self) -> None:
        """Show the filter and put the focus into it, at once: the next key belongs to it."""
        field = self.query_one("#filter", Input)
        field.display = True
        self.screen.set_focus(field)

    def action_unfilter(self) -> None:
        """Show everything again."""
        field = self.query_one("#filter", Input)
        field.value = ""
        field.display = False
        self.wanted = Wanted()
        self.listed.focus()

    def action_severity(self) -> None:
        """The next least severity."""
        self.wanted = self.wanted.next_severity()

    @on(Input.Changed, "#filter")
    def _filter_typed(self, event: Input.Changed) -> None:
        self.wanted = replace(self.wanted, text=event.value)

    @on(Input.Submitted, "#filter")
    def _filter_done(self) -> None:
        self.listed.focus()

    @on(Tree.NodeHighlighted, "#findings-tree")
    def _highlighted(self, event: Tree.NodeHighlighted[Row]) -> None:
        event.stop()
        self._preview(event.node.data)

    @on(Tree.NodeSelected, "#findings-tree")
    def _selected(self, event: Tree.NodeSelected[Row]) -> None:
        event.stop()
        row = event.node.data
        if row is not None and row.finding is not None:
            self.post_message(self.Opened(row.finding))

    def _rebuild(self) -> None:
        report = self.state.report
        tree = self.listed
        chosen = self.chosen
        opened = {
            node.data.key for node in nodes_below(tree.root) if node.data and node.is_expanded
        }
        tree.clear()
        if report is None:
            self.query_one("#shown", Static).update("nothing is known yet")
        else:
            groups = group_findings(report, self.wanted)
            self._say_what_is_shown(report, groups)
            for group in groups:
                add_group(tree.root, group)
            add_passed(tree.root, passed_checks(report, self.wanted), opened)
            add_unrun(tree.root, unrun_checks(report, self.wanted), opened)
        self._probes_node = tree.root.add(
            Text("probes"), data=Row(key="probes"), expand="probes" in opened or report is None
        )
        self._rebuild_probes()
        self._return_to(chosen)

    def _say_what_is_shown(self, report: Report, groups: tuple[Group, ...]) -> None:
        shown = sum(len(group.findings) for group in groups)
        text = f", with “{self.wanted.text}”" if self.wanted.text else ""
        self.query_one("#shown", Static).update(
            Content.styled(
                f" {shown} of {plural(len(report.findings), 'finding')} · "
                f"{_LEAST[self.wanted.least]}{text}",
                "$text-muted",
            )
        )

    def _return_to(self, chosen: Row | None) -> None:
        """The same line again for a user who is in the list; else the first finding."""
        nodes = list(nodes_below(self.listed.root))
        on_a_line = chosen is not None and (chosen.finding or chosen.check or chosen.probe)
        kept = chosen if on_a_line and self.listed.has_focus else None
        same = (node for node in nodes if kept and node.data and node.data.key == kept.key)
        first = (node for node in nodes if node.data and node.data.finding)
        node = next(same, None) or next(first, None) or next(iter(nodes), None)
        if node is not None:
            self.call_after_refresh(self.listed.move_cursor, node)
            self._preview(node.data)

    def _rebuild_probes(self) -> None:
        probes = self.state.probes
        done = sum(not probe.running for probe in probes)
        self._probes_node.set_label(Text(f"· {done} of {plural(len(probes), 'probe')} done"))
        present = {child.data.key: child for child in self._probes_node.children if child.data}
        for probe in probes:
            row = Row(key=f"probe {probe.name}", probe=probe)
            node = present.pop(row.key, None)
            if node is None:
                self._probes_node.add_leaf(probe_label(probe), data=row)
            else:
                node.data = row
                node.set_label(probe_label(probe))
        for node in present.values():
            node.remove()

    def _tick(self) -> None:
        if not self._probes_node.is_expanded:
            return
        for node in self._probes_node.children:
            if node.data and node.data.probe and node.data.probe.running:
                node.set_label(probe_label(node.data.probe))

    def _preview(self, row: Row | None) -> None:
        self.query_one("#preview-text", Static).update(preview(row))
        self.query_one("#preview").scroll_home(animate=False)
