"""The chain from the GPU to PyTorch as a list; a link opens the finding behind it."""

from rich.cells import cell_len
from textual.content import Content
from textual.events import Resize
from textual.message import Message
from textual.reactive import reactive
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from envdoctor.findings import Finding, Severity
from envdoctor.tui.chain import Link, LinkState, chain_of
from envdoctor.tui.state import State
from envdoctor.tui.words import LINK_STYLE, LINK_SYMBOL

_WORST_FIRST = (LinkState.BROKEN, LinkState.WARNING, LinkState.UNKNOWN)


class ChainList(OptionList):
    """One line for each link, drawn as a chain."""

    state: reactive[State] = reactive(State())

    class Chosen(Message):
        """The user wants to see the finding behind a link."""

        def __init__(self, finding: Finding) -> None:
            super().__init__()
            self.finding = finding

    def __init__(self) -> None:
        super().__init__(id="chain", markup=False)
        self._links: tuple[Link, ...] = ()
        self._width = 0

    def watch_state(self, before: State, state: State) -> None:
        if before.report is state.report and before.final == state.final:
            return
        if state.report is None:
            return
        self._links = chain_of(state.report, final=state.final)
        self._list()

    def on_resize(self, event: Resize) -> None:
        # It comes with every change to this tab as well.
        if self._links and self.content_size.width != self._width:
            self._list()

    def _list(self) -> None:
        self._width = self.content_size.width
        width = self._width - 2
        highlighted = self.highlighted
        self.set_options(
            Option(link_line(link, number, len(self._links), width), id=link.name)
            for number, link in enumerate(self._links)
        )
        self.highlighted = self._worst() if highlighted is None else highlighted

    def _worst(self) -> int:
        states = [link.state for link in self._links]
        return next((states.index(one) for one in _WORST_FIRST if one in states), 0)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        finding = self._links[event.option_index].finding
        if finding is not None:
            self.post_message(self.Chosen(finding))


def link_line(link: Link, number: int, of: int, width: int) -> Content:
    """`╳ ✗ driver   BROKEN    470.82.01   ED201 driver-too-old`, on one line: where that has no
    room for both, the code stands without its name, and the value is cut."""
    joint = "╳" if link.state is LinkState.BROKEN else _joint(number, of)
    style = LINK_STYLE[link.state]
    finding = link.finding
    shown = finding is not None and link.state is not LinkState.WAITING
    before = f"{LINK_SYMBOL[link.state]} {link.name:<8} {link.state.value:<9}"
    room = width - cell_len(before) - 2
    behind = _behind(finding) if finding and shown else ""
    if finding and shown and cell_len(link.value + behind) > room:
        behind = f"  {finding.code}"
    value = Content(link.value).truncate(max(room - cell_len(behind), 1), ellipsis=True)
    return Content.assemble(
        (f"{joint} ", "$text-muted" if joint != "╳" else style),
        (before, style),
        value,
        (behind, style),
    )


def _behind(finding: Finding) -> str:
    # The name of a disease beside what is well would alarm.
    is_note = finding.severity is Severity.INFO
    return f"  note {finding.code}" if is_note else f"  {finding.code} {finding.name}"


def _joint(number: int, of: int) -> str:
    if number == 0:
        return "┌"
    return "└" if number == of - 1 else "├"
