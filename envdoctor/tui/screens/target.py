"""Which interpreter to examine: those of this machine, or another path."""

from collections.abc import Mapping

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from envdoctor.facts.python import Candidate, TargetProblem
from envdoctor.tui.screens.base import CLOSE, StateDialog
from envdoctor.tui.state import State

_LOOKING = "looking for interpreters …"
_NONE = "no interpreter was found here; give the path of one"


class TargetScreen(StateDialog):
    """Ends with a path, or with None."""

    BINDINGS = CLOSE

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = "examine another interpreter"
            box.border_subtitle = "Enter examines, Esc closes"
            yield Static(_LOOKING, id="looking")
            yield OptionList(id="targets", markup=False)
            yield Static("or the path of an interpreter, venv folder or conda prefix")
            yield Input(id="path", compact=True)

    def on_mount(self) -> None:
        self._fill(self.state)

    def watch_state(self, before: State, state: State) -> None:
        if self.is_mounted and before.targets != state.targets:
            self._fill(state)

    def _fill(self, state: State) -> None:
        targets = state.targets
        looking = self.query_one("#looking", Static)
        looking.display = not targets
        looking.update(_LOOKING if targets is None else _NONE)
        if targets is None:
            return
        listed = self.query_one(OptionList)
        chosen = listed.highlighted_option.id if listed.highlighted_option else None
        paths = [one.path for one in targets]
        listed.set_options(Option(target_line(one), id=one.path) for one in targets)
        listed.highlighted = paths.index(chosen) if chosen in paths else (0 if paths else None)
        # Whoever is typing a path goes on typing.
        if not self.query_one(Input).value:
            (listed if targets else self.query_one(Input)).focus()

    @on(OptionList.OptionSelected)
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option.id)

    @on(Input.Submitted)
    def _typed(self, event: Input.Submitted) -> None:
        if event.value.strip():
            self.dismiss(event.value.strip())


_PROBLEMS: Mapping[TargetProblem, str] = {
    "not-found": "is not there",
    "not-executable": "closed to this user",
    "not-python": "is no Python",
    "base-missing": "its base Python is gone",
    "too-old": "too old",
    "failed": "gives no answer",
}


def target_line(target: Candidate) -> str:
    """`~/venv/bin/python  VIRTUAL_ENV, has a torch`."""
    torch = {True: ", has a torch", False: ", no torch", None: ""}[target.torch_on_disk]
    problem = f", {_PROBLEMS[target.problem]}" if target.problem else ""
    return f"{target.path}  ({target.origin}{torch}{problem})"
