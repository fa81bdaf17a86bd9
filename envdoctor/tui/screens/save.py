"""What to save, and under which name."""

import os

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.events import Click
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from envdoctor.tui.screens.base import CLOSE

KINDS = {
    "json": ("JSON report, for a program or for `envdoctor tui FILE`", "report.json"),
    "markdown": ("Markdown report, for an issue or a chat", "report.md"),
    "facts": ("facts, to diagnose this machine elsewhere", "facts.json"),
    "screenshot": ("screenshot of this screen as SVG", "envdoctor.svg"),
}
MOST_NAMES = 100
"""How many names are tried before a taken one is proposed."""


class KindList(OptionList):
    """A click chooses a kind; saving needs Enter."""

    def on_click(self, event: Click) -> None:
        event.prevent_default()
        self.highlighted = event.style.meta.get("option", self.highlighted)


class SaveScreen(ModalScreen[tuple[str, str] | None]):
    """Ends with the kind and the absolute path, or with None. Names that are free are proposed;
    one that is taken has to be confirmed."""

    BINDINGS = CLOSE

    def compose(self) -> ComposeResult:
        self._proposed = free_name(KINDS["json"][1])
        self._warned = ""
        with Vertical(classes="dialog") as box:
            box.border_title = "save"
            box.border_subtitle = "Enter saves, Tab edits the name, Esc closes"
            yield KindList(
                *(Option(text, id=kind) for kind, (text, _) in KINDS.items()),
                id="kinds",
                markup=False,
            )
            yield Static("file")
            yield Input(value=self._proposed, id="path", compact=True)
            yield Static(id="taken", markup=False)

    def on_mount(self) -> None:
        self.query_one("#taken").display = False
        self.query_one(OptionList).highlighted = 0

    @on(OptionList.OptionHighlighted)
    def _propose(self, event: OptionList.OptionHighlighted) -> None:
        field = self.query_one(Input)
        if event.option.id and field.value == self._proposed:
            self._proposed = field.value = free_name(KINDS[event.option.id][1])

    @on(Input.Changed)
    def _typed(self) -> None:
        self._warned = ""
        self.query_one("#taken").display = False

    @on(OptionList.OptionSelected)
    @on(Input.Submitted)
    def _done(self) -> None:
        option = self.query_one(OptionList).highlighted_option
        typed = self.query_one(Input).value.strip()
        if option is None or not option.id or not typed:
            return
        path = os.path.abspath(os.path.expanduser(typed))
        if os.path.exists(path) and self._warned != path:
            self._warn(path, typed)
        else:
            self.dismiss((option.id, path))

    def _warn(self, path: str, typed: str) -> None:
        self._warned = path
        notice = self.query_one("#taken", Static)
        notice.update(f"! `{typed}` exists; Enter once more replaces it")
        notice.display = True


def free_name(name: str) -> str:
    """The name, or the first of `report-2.json`, `report-3.json` ... that is not taken."""
    stem, suffix = os.path.splitext(name)
    names = (name, *(f"{stem}-{number}{suffix}" for number in range(2, MOST_NAMES)))
    return next((one for one in names if not os.path.exists(one)), name)
