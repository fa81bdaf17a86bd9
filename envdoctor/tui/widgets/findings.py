"""The list of findings, the filter above it, and the chosen one beside or below it."""

from typing import ClassVar

from msgspec.structs import replace
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widgets import Input, Static, Tree

from envdoctor.findings import Finding, Severity, Verdict
from envdoctor.report import Report
from envdoctor.tui.grouping import Group, Wanted, group_findings
from envdoctor.tui.state import State
from envdoctor.tui.widgets.findings_tree import FindingsTree, Row, preview
from envdoctor.tui.widgets.status_bar import TICK_S
from envdoctor.tui.words import plural

_LEAST = {
    Severity.INFO: "all severities",
    Severity.WARNING: "warnings and errors",
    Severity.ERROR: "errors only",
}


def nothing_known(state: State) -> str:
    """Where there is no report, what is waited for, or what to do."""
    if state.busy:
        return "nothing is known yet: the probes are at work"
    return "nothing was examined; `r` looks"


def none_found(state: State) -> str:
    """Where nothing was found, whether that is all, and what can be done next."""
    if state.report is None or not state.final:
        return "nothing found so far"
    if state.report.verdict in (Verdict.INCOMPLETE, Verdict.UNPROVEN):
        return "nothing found, but not all was looked at: `1` says what"
    if state.report.calibration is None and not state.source:
        return "nothing found; `m` measures whether it is as fast as it should be"
    return "nothing found"


class FindingsPane(Vertical):
    """Findings by topic; below them the checks that passed, those that did not run, the probes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f", "severity", "Severity"),
        Binding("escape", "unfilter", "Clear filter"),
    ]
    state: reactive[State] = reactive(State())
    wanted: reactive[Wanted] = reactive(Wanted())

    class Opened(Message):
        """The user wants to see all of a finding."""

        def __init__(self, finding: Finding) -> None:
            super().__init__()
            self.finding = finding

    def compose(self) -> ComposeResult:
        yield Input(
            placeholder="filter (all words must match); Esc clears", id="filter", compact=True
        )
        yield Static(id="shown")
        with Container(id="list-and-preview"):
            yield FindingsTree(id="findings-tree")
            with VerticalScroll(id="preview"):
                yield Static(id="preview-text")

    def on_mount(self) -> None:
        self.query_one("#filter").display = False
        self._previewed: str | None = None
        self._timer = self.set_interval(TICK_S, self._tick, pause=True)
        self._rebuild()

    @property
    def listed(self) -> FindingsTree:
        """The tree itself."""
        return self.query_one(FindingsTree)

    @property
    def chosen(self) -> Row | None:
        """What the cursor is on."""
        return self.listed.chosen

    def watch_state(self, before: State, state: State) -> None:
        if not self.is_mounted:
            return
        if before.report is not state.report or before.examining != state.examining:
            self._rebuild()
        elif before.probes is not state.probes:
            self.listed.show_probes(state.probes)
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

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Esc is offered while there is something to clear."""
        return action != "unfilter" or self.query_one("#filter").display

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
        else:
            self.listed.toggle_below(event.node)

    def _rebuild(self) -> None:
        report = self.state.report
        groups = group_findings(report, self.wanted) if report is not None else ()
        if report is None:
            self.query_one("#shown", Static).update(f" {nothing_known(self.state)}")
        else:
            self._say_what_is_shown(report, groups)
        self.listed.show(self.state, groups, self.wanted)
        self._preview(self.chosen)

    def _say_what_is_shown(self, report: Report, groups: tuple[Group, ...]) -> None:
        if not report.findings:
            self.query_one("#shown", Static).update(
                Content.styled(f" {none_found(self.state)}", "$text-muted")
            )
            return
        shown = sum(len(group.findings) for group in groups)
        text = f", with “{self.wanted.text}” (Esc clears)" if self.wanted.text else ""
        self.query_one("#shown", Static).update(
            Content.styled(
                f" {shown} of {plural(len(report.findings), 'finding')} · "
                f"{_LEAST[self.wanted.least]}{text}",
                "$text-muted",
            )
        )

    def _tick(self) -> None:
        self.listed.tick()

    def _preview(self, row: Row | None) -> None:
        self.query_one("#preview-text", Static).update(preview(row))
        key = row.key if row is not None else None
        if key != self._previewed:
            self._previewed = key
            self.query_one("#preview").scroll_home(animate=False)
