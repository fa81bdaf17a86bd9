"""Which of several fixes to copy: by its number, or from the list."""

from collections.abc import Sequence

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.events import Key
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from envdoctor.findings import Fix
from envdoctor.tui.screens.base import CLOSE, StateDialog
from envdoctor.tui.state import State
from envdoctor.tui.widgets.finding_text import fix_title


class CopyScreen(StateDialog):
    """Ends with the commands of a fix, or with None."""

    BINDINGS = CLOSE

    def __init__(self, state: State, fixes: Sequence[Fix]) -> None:
        super().__init__(state)
        self._fixes = tuple(fixes)

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = "copy which fix?"
            box.border_subtitle = "its number or Enter copies, Esc closes"
            yield OptionList(
                *(
                    Option(_line(fix, number), disabled=not fix.commands)
                    for number, fix in enumerate(self._fixes, 1)
                ),
                id="fixes",
                markup=False,
            )

    def on_mount(self) -> None:
        self.query_one(OptionList).action_first()

    def on_key(self, event: Key) -> None:
        """A digit chooses at once."""
        if event.character is None or not event.character.isdecimal():
            return
        event.stop()
        self._choose(int(event.character) - 1)

    @on(OptionList.OptionSelected)
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        self._choose(event.option_index)

    def _choose(self, index: int) -> None:
        if 0 <= index < len(self._fixes) and self._fixes[index].commands:
            self.dismiss("\n".join(self._fixes[index].commands))


def _line(fix: Fix, number: int) -> Content:
    commands = (Content.styled(f"  $ {command}", "bold") for command in fix.commands)
    return Content("\n").join([fix_title(fix, str(number)), *commands])
