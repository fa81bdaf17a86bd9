"""Which saved report or facts file to show."""

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Input, OptionList, Static

from envdoctor.tui.screens.base import CLOSE, StateDialog
from envdoctor.tui.state import State

_PATH = "path"
_NO_FILES = "none lies in this folder (`envdoctor collect` and `s` write them); the path of one"


class OpenScreen(StateDialog):
    """Ends with a path, or with None."""

    BINDINGS = CLOSE

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = "open a saved report or facts file"
            box.border_subtitle = "Enter opens, Esc closes"
            yield OptionList(id="files", markup=False)
            yield Static(_PATH, id="path-label")
            yield Input(id="path", compact=True)

    def on_mount(self) -> None:
        self.query_one(Input).focus()
        self._fill(self.state)

    def watch_state(self, before: State, state: State) -> None:
        if self.is_mounted and before.files != state.files:
            self._fill(state)

    def _fill(self, state: State) -> None:
        """List the files, and go there unless the user types a path already."""
        listed, field = self.query_one(OptionList), self.query_one(Input)
        self._files = state.files or ()
        listed.set_options(self._files)
        listed.highlighted = 0 if self._files else None
        listed.display = bool(self._files)
        none = state.files is not None and not self._files
        self.query_one("#path-label", Static).update(_NO_FILES if none else _PATH)
        if self._files and not field.value:
            listed.focus()

    @on(OptionList.OptionSelected)
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._files[event.option_index])

    @on(Input.Submitted)
    def _typed(self, event: Input.Submitted) -> None:
        if event.value.strip():
            self.dismiss(event.value.strip())
