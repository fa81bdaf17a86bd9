"""Pick a GPU and see what it would bring here."""

from typing import ClassVar

from rich.console import Group, RenderableType
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical, VerticalScroll
from textual.message import Message
from textual.reactive import reactive
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from envdoctor.calibration.speedup import in_digits
from envdoctor.facts.assessment import Assessment, ExpectedRate
from envdoctor.tui.contract import Predicted
from envdoctor.tui.state import State
from envdoctor.tui.widgets.calibration_text import epochs_text, speedup_table, vaguely

_HINT = "choose a GPU and press Enter; `/` searches"


class WhatIfPane(Vertical):
    """The list of GPUs that the knowledge holds, and the prediction for the chosen one."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "end_search", "Clear search", show=False),
    ]
    state: reactive[State] = reactive(State())

    class Asked(Message):
        """The user wants the prediction for a GPU."""

        def __init__(self, gpu: str) -> None:
            super().__init__()
            self.gpu = gpu

    def compose(self) -> ComposeResult:
        yield Input(placeholder="words of a GPU's name; Esc clears", id="gpu-search", compact=True)
        with Container(id="gpus-and-prediction"):
            yield OptionList(id="gpus", markup=False)
            with VerticalScroll(id="prediction"):
                yield Static(_HINT, id="prediction-text", markup=False)

    def open_search(self) -> None:
        """Put the focus into the search field."""
        self.query_one("#gpu-search").focus()

    def action_end_search(self) -> None:
        """All GPUs again."""
        self.query_one("#gpu-search", Input).value = ""
        self.query_one("#gpus").focus()

    def on_mount(self) -> None:
        self._gpus: tuple[str, ...] = ()

    def offer(self, gpus: tuple[str, ...]) -> None:
        """The GPUs to choose from."""
        if gpus != self._gpus:
            self._gpus = gpus
            self._list("")

    def watch_state(self, before: State, state: State) -> None:
        if self.is_mounted and before.predicted is not state.predicted and state.predicted:
            self.query_one("#prediction-text", Static).update(prediction(state.predicted))
            self.query_one("#prediction").scroll_home(animate=False)

    def _list(self, words: str) -> None:
        wanted = words.lower().split()
        names = [name for name in self._gpus if all(word in name.lower() for word in wanted)]
        gpus = self.query_one("#gpus", OptionList)
        gpus.set_options(Option(name, id=name) for name in names)
        gpus.highlighted = 0 if names else None

    @on(Input.Changed, "#gpu-search")
    def _typed(self, event: Input.Changed) -> None:
        self._list(event.value)

    @on(Input.Submitted, "#gpu-search")
    def _to_the_list(self) -> None:
        self.query_one("#gpus").focus()

    @on(OptionList.OptionSelected, "#gpus")
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        if event.option.id is not None:
            self.post_message(self.Asked(event.option.id))


def prediction(predicted: Predicted) -> RenderableType:
    """What the GPU would reach, and how much faster than this machine that is."""
    parts: list[RenderableType] = [Text(f"{predicted.gpu}: prediction, not measured", "bold")]
    if predicted.assessment is not None:
        parts += _parts(predicted.assessment)
    if predicted.reason:
        parts.append(Text(predicted.reason))
    return Group(*parts)


def _parts(assessment: Assessment) -> list[RenderableType]:
    rates = [rate for rate in assessment.expected if rate.verdict == "not-measured"]
    parts: list[RenderableType] = [Text("\n".join(map(_rate, rates)))]
    speedups = [one for one in assessment.speedups if one.kind == "predicted"]
    if speedups:
        parts += [Text(""), speedup_table(speedups)]
    epochs = [one for one in assessment.epochs if one.kind == "predicted"]
    if epochs:
        parts += [Text(""), epochs_text(epochs)]
    return parts


def _rate(rate: ExpectedRate) -> str:
    spread = rate.images_per_s
    return (
        f"{rate.precision}: {in_digits(spread.median, spread)} images/s {vaguely(spread)}, "
        f"from {rate.basis}"
    )
