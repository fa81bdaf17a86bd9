"""Which saved report or facts file to show."""

from pathlib import Path

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static

from envdoctor.tui.screens.base import CLOSE

MOST_FILES = 30
"""How many files of the working folder are offered."""


class OpenScreen(ModalScreen[str | None]):
    """Ends with a path, or with None."""

    BINDINGS = CLOSE

    def __init__(self, files: tuple[str, ...]) -> None:
        super().__init__()
        self._files = files

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = "open a saved report or facts file"
            box.border_subtitle = "Enter opens, Esc closes"
            yield OptionList(*self._files, id="files", markup=False)
            yield Static("path")
            yield Input(id="path", compact=True)

    def on_mount(self) -> None:
        listed = self.query_one(OptionList)
        listed.display = bool(self._files)
        (listed if self._files else self.query_one(Input)).focus()

    @on(OptionList.OptionSelected)
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._files[event.option_index])

    @on(Input.Submitted)
    def _typed(self, event: Input.Submitted) -> None:
        if event.value.strip():
            self.dismiss(event.value.strip())


def saved_files(folder: Path) -> tuple[str, ...]:
    """The JSON files of a folder that may be reports or facts, the newest first."""
    try:
        files = [(path.stat().st_mtime, path.name) for path in folder.glob("*.json")]
    except OSError:
        return ()
    return tuple(name for _, name in sorted(files, reverse=True)[:MOST_FILES])
