"""Pick a GPU and see what it would bring here."""

from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.console import Group, RenderableType
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.timer import Timer
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from envdoctor.calibration.speedup import in_digits
from envdoctor.facts.assessment import Assessment, ExpectedRate
from envdoctor.tui.contract import GpuForecast, Predicted
from envdoctor.tui.state import State
from envdoctor.tui.widgets.calibration_text import epochs_text, speedup_table, vaguely

_HINT = "move to a GPU to see what it would bring here; `/` searches, `f` changes the order"
_ASKED_AFTER_S = 0.15
"""How long the cursor rests on a GPU before its prediction is made."""
_ORDERS = ("usual GPUs first", "fastest first", "most memory first", "by name")
_BAR = 10


class WhatIfPane(Vertical):
    """The list of GPUs that the knowledge holds, and the prediction for the chosen one."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "end_search", "Clear search", show=False),
        Binding("f", "order", "Order"),
    ]
    state: reactive[State] = reactive(State())

    class Asked(Message):
        """The user wants the prediction for a GPU."""

        def __init__(self, gpu: str) -> None:
            super().__init__()
            self.gpu = gpu

    def compose(self) -> ComposeResult:
        yield Input(id="gpu-search", compact=True)
        with Container(id="gpus-and-prediction"):
            with Vertical(id="gpus-side"):
                yield Static("", id="gpus-head", markup=False)
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
        self._order = 0
        self._words = ""
        self._at: str | None = None
        self._asked: Timer | None = None

    def offer(self, gpus: tuple[str, ...]) -> None:
        """The GPUs to choose from."""
        if gpus != self._gpus:
            self._gpus = gpus
            self._list()

    def watch_state(self, before: State, state: State) -> None:
        if not self.is_mounted:
            return
        if before.predicted is not state.predicted and state.predicted:
            self.query_one("#prediction-text", Static).update(prediction(state.predicted))
            self.query_one("#prediction").scroll_home(animate=False)
        if before.forecasts != state.forecasts:
            self._list()

    def action_order(self) -> None:
        """The next order of the list."""
        self._order = (self._order + 1) % len(_ORDERS)
        self.query_one("#gpus", OptionList).highlighted = None
        self._list()

    def _list(self) -> None:
        known = {one.gpu: one for one in self.state.forecasts}
        rows = [known.get(name) or GpuForecast(gpu=name) for name in self._gpus]
        highest = max(map(_rate_of, rows), default=0.0)
        wanted = self._words.lower().split()
        shown = [one for one in rows if all(word in one.gpu.lower() for word in wanted)]
        shown = ordered(shown, self._order)
        gpus = self.query_one("#gpus", OptionList)
        chosen = gpus.highlighted_option.id if gpus.highlighted_option else None
        names = [one.gpu for one in shown]
        place = names.index(chosen) if chosen in names else 0
        self._at = names[place] if names else None
        gpus.set_options(Option(gpu_line(one, highest), id=one.gpu) for one in shown)
        gpus.highlighted = place if names else None
        self.query_one("#gpus-head", Static).update(_HEAD)
        order = f"search a GPU (all words must match) · `f` orders: {_ORDERS[self._order]}"
        self.query_one("#gpu-search", Input).placeholder = order
        if self._gpus and not names:
            self.query_one("#prediction-text", Static).update("no GPU has these words; Esc clears")

    @on(Input.Changed, "#gpu-search")
    def _typed(self, event: Input.Changed) -> None:
        self._words = event.value
        self._list()

    @on(OptionList.OptionHighlighted, "#gpus")
    def _moved(self, event: OptionList.OptionHighlighted) -> None:
        """Whoever runs down the list is not held up by predictions of what is passed."""
        event.stop()
        gpu, now = event.option.id, event.option_list.highlighted_option
        if gpu is None or gpu == self._at or now is None or now.id != gpu:
            return
        self._at = gpu
        self._forget()
        self._asked = self.set_timer(_ASKED_AFTER_S, lambda: self.post_message(self.Asked(gpu)))

    def _forget(self) -> None:
        if self._asked is not None:
            self._asked.stop()
            self._asked = None

    @on(Input.Submitted, "#gpu-search")
    def _to_the_list(self) -> None:
        self.query_one("#gpus").focus()

    @on(OptionList.OptionSelected, "#gpus")
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self._forget()
        if event.option.id is not None:
            self.post_message(self.Asked(event.option.id))


def _rate_of(one: GpuForecast) -> float:
    return one.images_per_s.median if one.images_per_s is not None else 0.0


def ordered(rows: Sequence[GpuForecast], order: int) -> list[GpuForecast]:
    """The rows in one of the orders."""
    keys: tuple[Callable[[GpuForecast], tuple[float, str]], ...] = (
        lambda one: (0.0, ""),
        lambda one: (-_rate_of(one), one.gpu),
        lambda one: (-(one.memory_gb or 0.0), one.gpu),
        lambda one: (0.0, one.gpu),
    )
    return sorted(rows, key=keys[order])


_HEAD = f"{'GPU':<27} {'memory':>7} {'':<5} {'images/s':>8} {'':<{_BAR}} {'× here':>6}"


def gpu_line(one: GpuForecast, highest: float) -> Content:
    """`H100 SXM5 80 GB   80 GB bf16  3,100 ━━━━━━   2.4×`; its name alone until it is predicted."""
    name = one.gpu if len(one.gpu) <= 27 else f"{one.gpu[:26]}…"
    rate = one.images_per_s
    if rate is None:
        memory = f"{one.memory_gb:g} GB" if one.memory_gb else ""
        # A dash once others have a figure: this one has none.
        return Content(f"{name:<27} {memory:>7} {'':<5} {'–' if highest else '':>8}".rstrip())
    filled = "━" * max(1, round(_BAR * rate.median / highest))
    memory = f"{one.memory_gb:g} GB" if one.memory_gb else ""
    ratio = f"{_times(one.ratio)}×" if one.ratio is not None else ""
    return Content.assemble(
        f"{name:<27} {memory:>7} {one.precision:<5} {in_digits(rate.median, rate):>8} ",
        (f"{filled:<{_BAR}}", "$text-success"),
        f" {ratio:>6}",
    )


def _times(ratio: float) -> str:
    """A ratio of a prediction, in as many digits as its error of some ten percent allows."""
    return f"{ratio:.1f}" if ratio < 10 else f"{float(f'{ratio:.2g}'):,.0f}"


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
