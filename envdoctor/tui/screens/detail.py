"""All of one finding: message, evidence, fixes in boxes, relatives, and the disease's page."""

import asyncio
from collections.abc import Callable
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.events import Click
from textual.message import Message
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from envdoctor.findings import Finding, Fix
from envdoctor.report import Report
from envdoctor.tui.grouping import Fate, check_of, fate_of
from envdoctor.tui.requests import CopyRequested, FixRequested, RerunRequested
from envdoctor.tui.screens.base import StateScreen
from envdoctor.tui.state import State
from envdoctor.tui.widgets.finding_text import evidence_lines, headline, note_lines, numbered
from envdoctor.tui.widgets.keys import KeyLine
from envdoctor.tui.widgets.paragraphs import Paragraph, Paragraphs
from envdoctor.tui.widgets.status_bar import StatusBar
from envdoctor.tui.words import SAFETY, SEVERITY_SYMBOL, fate_text

PageOf = Callable[[str], str | None]


class FixBox(Static, can_focus=True):
    """One fix with its commands in a box; Enter, `c` or a click copies them."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "copy", "Copy", show=False)]

    class Chosen(Message):
        """These commands are wanted on the clipboard."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def __init__(self, fix: Fix, label: str) -> None:
        self.commands = "\n".join(fix.commands)
        lines = fix.commands or ("by hand",)
        body = [Paragraph(text=Content.styled(line, "bold"), hang=4) for line in lines]
        super().__init__(Paragraphs(body), classes="fix")
        self.border_title = SAFETY[fix.safety]
        self.border_subtitle = f"{f'c {label}'.strip()} copies" if fix.commands else ""

    def action_copy(self) -> None:
        self.post_message(self.Chosen(self.commands))

    def on_click(self, event: Click) -> None:
        event.stop()
        self.action_copy()


class DetailScreen(StateScreen):
    """One finding at full width; `n` and `p` walk through the others."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "app.pop_screen", "Back"),
        Binding("c", "copy", "Copy"),
        Binding("n", "walk(1)", "Next"),
        Binding("p", "walk(-1)", "Prev"),
        Binding("R", "rerun_check", "Re-check"),
        # As everywhere; not named here, so that the line of keys fits 80 columns.
        Binding("m", "app.measure", "Measure", show=False),
        Binding("t", "app.target", "Target", show=False),
    ]

    def __init__(self, state: State, finding: Finding, page_of: PageOf) -> None:
        super().__init__(state)
        self.finding = finding
        self._found_in = state.shown
        self._page_of = page_of
        self._shown: tuple[Finding, ...] = ()
        self._filling = asyncio.Lock()

    def compose(self) -> ComposeResult:
        yield Static("", id="gone", markup=False)
        yield VerticalScroll(id="detail")
        yield StatusBar(id="status").data_bind(DetailScreen.state)
        yield KeyLine(id="keys")

    async def on_mount(self) -> None:
        await self._show(self.finding)

    async def _show(self, finding: Finding) -> None:
        """Another finding, from its top."""
        async with self._filling:
            await self._fill(finding)
        body = self.query_one("#detail", VerticalScroll)
        body.scroll_home(animate=False)
        body.focus()

    async def _fill(self, finding: Finding) -> None:
        self.finding, self._found_in = finding, self.state.shown
        self._shown = self._known_of(finding)
        body = self.query_one("#detail", VerticalScroll)
        await body.remove_children()
        await body.mount(*self._parts(finding))
        self._say_what_became_of_it()
        page = self._page_of(finding.code)
        if page is not None:
            from textual.widgets import Markdown

            await body.mount(Markdown(page, id="page", open_links=False))

    def _known_of(self, finding: Finding) -> tuple[Finding, ...]:
        report = self.state.report
        return (finding, *related(report, finding)) if report else (finding,)

    def _parts(self, finding: Finding) -> list[Static | OptionList]:
        facts = [*headline(finding), *evidence_lines(finding.evidence)]
        parts: list[Static | OptionList] = [Static(Paragraphs(facts), id="facts")]
        for label, fix in numbered(finding.fixes):
            title = Content.assemble((f"fix {label}: " if label else "fix: ", "bold"), fix.summary)
            hang = 7 if label else 5
            parts.append(Static(Paragraphs([Paragraph(text=title, hang=hang)]), classes="fix-text"))
            parts.append(FixBox(fix, label))
        notes = list(note_lines(finding.notes))
        if notes:
            parts.append(Static(Paragraphs(notes), id="notes"))
        relatives = related(self.state.report, finding) if self.state.report else ()
        if relatives:
            options = (Option(_relative(one, finding), id=one.id) for one in relatives)
            links = OptionList(*options, id="related", markup=False)
            links.border_title = "related findings"
            parts.append(links)
        return parts

    async def watch_state(self, before: State, state: State) -> None:
        if not self.is_mounted:
            return
        if before.settled is not state.settled:
            self._say_what_became_of_it()
        if before.report is state.report or state.report is None:
            return
        same = (one for one in state.report.findings if one.id == self.finding.id)
        finding = next(same, None)
        if finding is not None and self._known_of(finding) != self._shown:
            await self._show_news(finding)

    async def _show_news(self, finding: Finding) -> None:
        """The same finding with other words; whoever reads it stays where they are."""
        body = self.query_one("#detail", VerticalScroll)
        top = body.scroll_offset.y
        async with self._filling:
            await self._fill(finding)
        if self.focused is None:
            body.focus(scroll_visible=False)
        self.call_after_refresh(body.scroll_to, y=top, animate=False)

    def _say_what_became_of_it(self) -> None:
        before, now = self._found_in, self.state.settled
        fate = Fate.THERE
        if before is not None and now is not None and self.state.final:
            fate = fate_of(self.finding, before, now)
        notice = self.query_one("#gone", Static)
        notice.display = fate is not Fate.THERE
        notice.update(fate_text(self.finding, fate))

    async def action_walk(self, step: int) -> None:
        """The next or the previous finding of the report."""
        report = self.state.report
        if report is None or not report.findings:
            return
        ids = [one.id for one in report.findings]
        here = ids.index(self.finding.id) if self.finding.id in ids else -step
        await self._show(report.findings[(here + step) % len(ids)])

    def action_copy(self) -> None:
        """Copy the focused fix, else the only one, else the one that is chosen then."""
        focused = next((box for box in self.query(FixBox) if box.has_focus), None)
        if focused is not None and focused.commands:
            self.app.post_message(CopyRequested(focused.commands))
        else:
            self.app.post_message(FixRequested(self.finding))

    def action_rerun_check(self) -> None:
        """Look again at what the check of this finding needs."""
        report = self.state.report
        name = check_of(report, self.finding.code) if report else None
        self.app.post_message(RerunRequested(name))

    @on(FixBox.Chosen)
    def _fix_chosen(self, event: FixBox.Chosen) -> None:
        self.app.post_message(CopyRequested(event.text or None))

    @on(OptionList.OptionSelected, "#related")
    async def _related_chosen(self, event: OptionList.OptionSelected) -> None:
        report = self.state.report
        wanted = event.option.id
        found = next((one for one in report.findings if one.id == wanted), None) if report else None
        if found is not None:
            await self._show(found)


def related(report: Report, finding: Finding) -> tuple[Finding, ...]:
    """Its root cause, its consequences, and the other findings of the same family."""
    return tuple(
        other
        for other in report.findings
        if other.id != finding.id
        and (
            other.id == finding.because
            or other.because == finding.id
            or other.family == finding.family
            or (finding.because is not None and other.because == finding.because)
        )
    )


def _relative(other: Finding, finding: Finding) -> str:
    if other.id == finding.because:
        role = "caused by"
    elif other.because == finding.id:
        role = "causes"
    else:
        role = "see also"
    symbol = SEVERITY_SYMBOL[other.severity]
    return f"{role} {symbol} {other.code} {other.name}: {other.message}"
