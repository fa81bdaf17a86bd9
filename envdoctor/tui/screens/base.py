"""What every screen has: the state, handed down by the application."""

from typing import Any

from textual.binding import Binding, BindingType
from textual.reactive import reactive
from textual.screen import ModalScreen, Screen

from envdoctor.tui.state import State

CLOSE: list[BindingType] = [Binding("escape", "dismiss(None)", "Close", show=False)]
"""The keys of every dialog that ends with a choice or with None."""


class StateScreen(Screen[None]):
    """A screen that shows the state; the application sets it whenever it changes."""

    state: reactive[State] = reactive(State())

    def __init__(self, state: State, **options: Any) -> None:
        super().__init__(**options)
        self.set_reactive(StateScreen.state, state)


class StateDialog(ModalScreen[Any]):
    """A dialog that shows the state."""

    state: reactive[State] = reactive(State())

    def __init__(self, state: State, **options: Any) -> None:
        super().__init__(**options)
        self.set_reactive(StateDialog.state, state)
