"""What to save, and under which name."""

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
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


class SaveScreen(ModalScreen[tuple[str, str] | None]):
    """Ends with the kind and the path, or with None."""

    BINDINGS = CLOSE

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = "save"
            box.border_subtitle = "Enter saves, Tab edits the name, Esc closes"
            yield OptionList(
                *(Option(text, id=kind) for kind, (text, _) in KINDS.items()),
                id="kinds",
                markup=False,
            )
            yield Static("file")
            yield Input(value=KINDS["json"][1], id="path", compact=True)

    def on_mount(self) -> None:
        self.query_one(OptionList).highlighted = 0

    @on(OptionList.OptionHighlighted)
    def _propose(self, event: OptionList.OptionHighlighted) -> None:
        names = {name for _, name in KINDS.values()}
        field = self.query_one(Input)
        if event.option.id and field.value in names:
            field.value = KINDS[event.option.id][1]

    @on(OptionList.OptionSelected)
    @on(Input.Submitted)
    def _done(self) -> None:
        option = self.query_one(OptionList).highlighted_option
        path = self.query_one(Input).value.strip()
        if option is not None and option.id and path:
            self.dismiss((option.id, path))
