"""The main screen: six tabs between the machine's name and the status line."""

from collections.abc import Callable
from functools import partial
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.css.query import NoMatches
from textual.events import Resize
from textual.widgets import Input, TabbedContent, TabPane

from envdoctor.findings import Finding
from envdoctor.report import Report
from envdoctor.tui.grouping import check_of
from envdoctor.tui.requests import (
    DetailRequested,
    FixRequested,
    ForecastsRequested,
    PredictionRequested,
    RerunRequested,
    TargetRequested,
)
from envdoctor.tui.screens.base import StateScreen
from envdoctor.tui.state import State
from envdoctor.tui.widgets.banner import TALL, Banner
from envdoctor.tui.widgets.calibration import CalibrationPane
from envdoctor.tui.widgets.chain import ChainList
from envdoctor.tui.widgets.findings import FindingsPane
from envdoctor.tui.widgets.findings_tree import Row
from envdoctor.tui.widgets.keys import KeyLine
from envdoctor.tui.widgets.libraries import LibrariesPane
from envdoctor.tui.widgets.masthead import Masthead
from envdoctor.tui.widgets.overview_notes import OverviewNotes
from envdoctor.tui.widgets.probes import ProbeList
from envdoctor.tui.widgets.status_bar import StatusBar
from envdoctor.tui.widgets.targets import TargetsPane
from envdoctor.tui.widgets.what_if import WhatIfPane

TABS = {
    "overview": "#chain",
    "findings": "#findings-tree",
    "libraries": "#libraries-tree",
    "calibration": "CalibrationPane",
    "what-if": "#gpus",
    "targets": "#targets-table",
}
"""The tabs, in their order, with the part of each that takes the keys."""
_PANES = {
    "findings": FindingsPane,
    "libraries": LibrariesPane,
    "calibration": CalibrationPane,
    "what-if": WhatIfPane,
    "targets": TargetsPane,
}
"""What is on the tabs behind the first."""

_NOTHING_TO_SEARCH = ("calibration", "targets")
_WIDTHS = [(0, "-narrow"), (110, "-wide")]
_BROAD = 150
"""From so many columns on the table of GPUs has its prediction beside it."""
_HEIGHTS = [(0, "-short"), (TALL, "-tall")]


class Views(TabbedContent):
    """The tabs. They change when somebody asks for it, and not because a focus comes late: of two
    keys in quick succession the first would else win."""

    def on_tab_pane_focused(self, event: TabPane.Focused) -> None:
        event.prevent_default()
        event.stop()


class MainScreen(StateScreen):
    """Overview, findings, libraries, calibration, what-if, targets."""

    HORIZONTAL_BREAKPOINTS = _WIDTHS
    VERTICAL_BREAKPOINTS = _HEIGHTS
    BINDINGS: ClassVar[list[BindingType]] = [
        # With priority, so that letters typed right behind it already go into the filter.
        Binding("slash", "filter", "Filter", key_display="/", priority=True),
        Binding("R", "rerun_check", "Re-run check", show=False),
        Binding("c", "copy", "Copy"),
    ]

    def __init__(
        self, state: State, gpus: Callable[[], tuple[str, ...]], *, first: str = "overview"
    ) -> None:
        super().__init__(state)
        self._gpus, self._first = gpus, first
        self._is_whole = False
        self._wanted: Callable[[], None] | None = None

    def compose(self) -> ComposeResult:
        yield Masthead(id="masthead").data_bind(MainScreen.state)
        with Views(initial=self._first):
            with TabPane("1 Overview", id="overview"), VerticalScroll(id="overview-scroll"):
                yield Banner(id="banner", markup=False).data_bind(MainScreen.state)
                yield ChainList().data_bind(MainScreen.state)
                yield OverviewNotes(id="overview-notes", markup=False).data_bind(MainScreen.state)
                yield ProbeList(id="probes", markup=False).data_bind(MainScreen.state)
            for number, (name, pane) in enumerate(_PANES.items(), 2):
                with TabPane(f"{number} {name.capitalize()}", id=name):
                    if name == self._first:
                        yield pane().data_bind(MainScreen.state)
        yield StatusBar(id="status").data_bind(MainScreen.state)
        yield KeyLine(id="keys")

    def on_mount(self) -> None:
        self.call_after_refresh(self._fill)

    async def _fill(self) -> None:
        """The tabs that nobody sees at first. They would hold the first paint up by 30 ms."""
        for name, pane in _PANES.items():
            if name != self._first:
                tab = self.query_one(f"#{name}", TabPane)
                await tab.mount(pane().data_bind(MainScreen.state))
        self._is_whole = True
        if self._wanted is not None:
            self._wanted()

    def _put_off(self, request: Callable[[], None]) -> bool:
        """Whether the tabs are not there yet; then it is done as soon as they are."""
        if not self._is_whole:
            self._wanted = request
        return not self._is_whole

    def on_resize(self, event: Resize) -> None:
        """Where lines are few, they are for what matters most."""
        self.query_one(ProbeList).short = event.size.height < TALL
        self.query_one(Banner).height = event.size.height
        self.set_class(event.size.width >= _BROAD, "-broad")

    def show_tab(self, name: str) -> None:
        """Show a tab and put the focus into it, at once: the next key belongs to it."""
        if self._put_off(partial(self.show_tab, name)):
            return
        self.query_one(TabbedContent).active = name
        self.set_focus(self.query_one(TABS[name]))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """In a field `/` is a letter, and not every tab has a list to search."""
        if action != "filter":
            return True
        has_list = self.query_one(TabbedContent).active not in _NOTHING_TO_SEARCH
        return has_list and not isinstance(self.focused, Input)

    def action_filter(self) -> None:
        """The search of what-if and of the libraries on their tabs; else that of the findings."""
        if self._put_off(self.action_filter):
            return
        active = self.query_one(TabbedContent).active
        if active == "what-if":
            self.query_one(WhatIfPane).open_search()
            return
        if active == "libraries":
            self.query_one(LibrariesPane).open_filter()
            return
        self.query_one(TabbedContent).active = "findings"
        self.query_one(FindingsPane).open_filter()

    @on(TabbedContent.TabActivated)
    def _tab_activated(self, event: TabbedContent.TabActivated) -> None:
        pane_id = event.pane.id or "overview"
        if pane_id != event.tabbed_content.active:
            return
        if pane_id != self._first and self._put_off(partial(self.show_tab, pane_id)):
            return
        if pane_id == "what-if":
            self.query_one(WhatIfPane).offer(self._gpus())
            self.app.post_message(ForecastsRequested())
        types = isinstance(self.focused, Input) and event.pane in self.focused.ancestors
        if not types:
            self.query_one(TABS[pane_id]).focus()

    @on(WhatIfPane.Asked)
    def _what_if(self, event: WhatIfPane.Asked) -> None:
        self.app.post_message(PredictionRequested(event.gpu))

    @property
    def _row(self) -> Row | None:
        """The line of the findings that the user looks at; None on another tab."""
        try:
            on_list = self.query_one(TabbedContent).active == "findings"
            return self.query_one(FindingsPane).chosen if on_list else None
        except NoMatches:
            return None

    @property
    def finding(self) -> Finding | None:
        """The finding that the user looks at: in the list, else the root cause."""
        row = self._row
        if row is not None:
            return row.finding
        report = self._report_looked_at
        return report.findings[0] if report and report.findings else None

    @property
    def _report_looked_at(self) -> Report | None:
        """That of the target under the cursor on their tab, else the one that is shown."""
        if self.query_one(TabbedContent).active != "targets":
            return self.state.report
        chosen = self.query_one(TargetsPane).chosen
        return chosen.report if chosen else None

    def action_copy(self) -> None:
        """Copy the commands of a fix of the finding."""
        self.app.post_message(FixRequested(self.finding))

    def action_rerun_check(self) -> None:
        """Look again at what the check needs: that under the cursor, else that of the finding."""
        report = self.state.report
        if report is None:
            return
        row = self._row
        if row is not None and row.check is not None:
            self.app.post_message(RerunRequested(row.check.name))
        elif self.finding is not None:
            self.app.post_message(RerunRequested(check_of(report, self.finding.code)))
        else:
            self.app.post_message(RerunRequested(None))

    @on(ChainList.Chosen)
    def _link_chosen(self, event: ChainList.Chosen) -> None:
        self.app.post_message(DetailRequested(event.finding))

    @on(TargetsPane.Opened)
    def _target_opened(self, event: TargetsPane.Opened) -> None:
        self.app.post_message(TargetRequested(event.key))

    @on(FindingsPane.Opened)
    def _finding_opened(self, event: FindingsPane.Opened) -> None:
        self.app.post_message(DetailRequested(event.finding))
