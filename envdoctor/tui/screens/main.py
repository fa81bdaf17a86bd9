"""The main screen: five tabs between the machine's name and the status line."""

from collections.abc import Callable
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.css.query import NoMatches
from textual.widgets import Input, TabbedContent, TabPane

from envdoctor.findings import Finding
from envdoctor.tui.grouping import check_of
from envdoctor.tui.screens.base import StateScreen
from envdoctor.tui.state import State
from envdoctor.tui.widgets.also import Also
from envdoctor.tui.widgets.banner import Banner
from envdoctor.tui.widgets.calibration import CalibrationPane
from envdoctor.tui.widgets.chain import ChainList
from envdoctor.tui.widgets.findings import FindingsPane
from envdoctor.tui.widgets.keys import KeyLine
from envdoctor.tui.widgets.libraries import LibrariesPane
from envdoctor.tui.widgets.masthead import Masthead
from envdoctor.tui.widgets.probes import ProbeList
from envdoctor.tui.widgets.strip import StatusStrip
from envdoctor.tui.widgets.what_if import WhatIfPane
from envdoctor.tui.wishes import CopyWanted, DetailWanted, PredictionWanted, RerunWanted

MAIN_WIDGET = {
    "overview": "#chain",
    "findings": "#findings-tree",
    "libraries": "#libraries-tree",
    "calibration": "CalibrationPane",
    "what-if": "#gpus",
}
"""The tabs, in their order, with the part of each that takes the keys."""
_WIDTHS = [(0, "-narrow"), (110, "-wide")]
_HEIGHTS = [(0, "-short"), (36, "-tall")]


class MainScreen(StateScreen):
    """Overview, findings, libraries, calibration, what-if."""

    HORIZONTAL_BREAKPOINTS = _WIDTHS
    VERTICAL_BREAKPOINTS = _HEIGHTS
    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            Binding(str(number), f"tab('{name}')", name.capitalize(), show=False)
            for number, name in enumerate(MAIN_WIDGET, 1)
        ),
        # With priority, so that letters typed right behind it already go into the filter.
        Binding("slash", "filter", "Filter", key_display="/", priority=True),
        Binding("r", "app.rerun", "Re-run"),
        Binding("R", "rerun_check", "Re-run check", show=False),
        Binding("c", "copy", "Copy"),
        Binding("m", "app.measure", "Measure"),
        Binding("x", "app.stop", "Stop", show=False),
    ]

    def __init__(self, state: State, gpus: Callable[[], tuple[str, ...]]) -> None:
        super().__init__(state)
        self._gpus = gpus

    def compose(self) -> ComposeResult:
        yield Masthead(id="masthead").data_bind(MainScreen.state)
        with TabbedContent(initial="overview"):
            with TabPane("1 Overview", id="overview"), VerticalScroll(id="overview-scroll"):
                yield Banner(id="banner", markup=False).data_bind(MainScreen.state)
                yield ChainList().data_bind(MainScreen.state)
                yield Also(id="also", markup=False).data_bind(MainScreen.state)
                yield ProbeList(id="probes", markup=False).data_bind(MainScreen.state)
            with TabPane("2 Findings", id="findings"):
                yield FindingsPane().data_bind(MainScreen.state)
            with TabPane("3 Libraries", id="libraries"):
                yield LibrariesPane().data_bind(MainScreen.state)
            with TabPane("4 Calibration", id="calibration"):
                yield CalibrationPane().data_bind(MainScreen.state)
            with TabPane("5 What-if", id="what-if"):
                yield WhatIfPane().data_bind(MainScreen.state)
        yield StatusStrip(id="strip").data_bind(MainScreen.state)
        yield KeyLine(id="keys")

    def action_tab(self, name: str) -> None:
        """Show a tab and put the focus into it."""
        self.query_one(TabbedContent).active = name

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """In a field `/` is a letter."""
        return not (action == "filter" and isinstance(self.focused, Input))

    def action_filter(self) -> None:
        """The filter of the findings, from any tab."""
        self.query_one(TabbedContent).active = "findings"
        self.query_one(FindingsPane).open_filter()

    @on(TabbedContent.TabActivated)
    def _tab_activated(self, event: TabbedContent.TabActivated) -> None:
        pane_id = event.pane.id or "overview"
        if pane_id == "what-if":
            self.query_one(WhatIfPane).offer(self._gpus())
        if not isinstance(self.focused, Input):
            self.query_one(MAIN_WIDGET[pane_id]).focus()

    @on(WhatIfPane.Asked)
    def _what_if(self, event: WhatIfPane.Asked) -> None:
        self.app.post_message(PredictionWanted(event.gpu))

    @property
    def finding(self) -> Finding | None:
        """The finding that the user looks at: in the list, else the root cause."""
        try:
            on_list = self.query_one(TabbedContent).active == "findings"
            chosen = self.query_one(FindingsPane).chosen if on_list else None
        except NoMatches:
            return None
        if chosen is not None:
            return chosen.finding
        report = self.state.report
        return report.findings[0] if report and report.findings else None

    def action_copy(self) -> None:
        """Copy the first command of the fix of the finding."""
        commands = [
            command
            for fix in (self.finding.fixes if self.finding else ())
            for command in fix.commands
        ]
        self.app.post_message(CopyWanted(commands[0] if commands else None))

    def action_rerun_check(self) -> None:
        """Look again at what the chosen check needs."""
        report = self.state.report
        chosen = self.query_one(FindingsPane).chosen
        if report is None or chosen is None:
            return
        name = chosen.check.name if chosen.check else None
        if chosen.finding is not None:
            name = check_of(report, chosen.finding.code)
        self.app.post_message(RerunWanted(name))

    @on(ChainList.Chosen)
    def _link_chosen(self, event: ChainList.Chosen) -> None:
        self.app.post_message(DetailWanted(event.finding))

    @on(FindingsPane.Opened)
    def _finding_opened(self, event: FindingsPane.Opened) -> None:
        self.app.post_message(DetailWanted(event.finding))
