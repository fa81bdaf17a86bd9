"""The calibration: how the rates settle while it runs, then what it found."""

import time

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.reactive import reactive
from textual.theme import Theme
from textual.widgets import ProgressBar, Static

from envdoctor.calibration.speedup import figure
from envdoctor.facts.assessment import Assessment
from envdoctor.facts.calibration import Calibration
from envdoctor.tui.state import Measuring, State
from envdoctor.tui.widgets.calibration_text import heading, sections
from envdoctor.tui.widgets.spark import SparkRow

_NONE_YET = (
    "not measured yet: `m` measures a training step on every device of the target "
    "and puts load on the machine for about 20 s for the CPU and 10 s for each precision of "
    "each GPU; `x` stops it"
)


_RECORDED = (
    "this recorded machine was not measured, and cannot be from here; `t` examines a live target"
)
_BROKEN = (
    "not measured: PyTorch was not seen to work in this target; `1` says why, and `m` measures "
    "once it does"
)
_LOOKING = "not measured yet: the examination goes on; `m` measures once it has ended"


def not_measured(state: State) -> str:
    """Why there is nothing to see, and what to do for it."""
    if state.source:
        return _RECORDED
    report = state.report
    if report is None or not state.final:
        return _LOOKING if state.examining else _NONE_YET
    # As session.can_be_measured has it.
    runs = report.facts.get("TorchRuntime", {}).get("value") is not None
    return _NONE_YET if runs else _BROKEN


def left(measuring: Measuring, now: float) -> str:
    """`about 28 s left`; empty where that is not known."""
    seconds = measuring.since + measuring.planned_s - now
    return f"about {seconds:.0f} s left" if measuring.planned_s and seconds >= 1 else ""


class CalibrationPane(VerticalScroll, can_focus=True):
    """Live curves above, results below."""

    state: reactive[State] = reactive(State())

    def compose(self) -> ComposeResult:
        yield Static(_NONE_YET, id="calibration-says", markup=False)
        with Vertical(id="live"):
            yield Static(id="live-plan", markup=False)
            yield Static(id="live-now", markup=False)
            yield ProgressBar(id="live-bar", show_eta=False)
            yield Vertical(id="live-rows")
        yield Vertical(id="results")

    def on_mount(self) -> None:
        self._rows: dict[str, SparkRow] = {}
        self._shown: Calibration | None = None
        self.query_one("#live").display = False
        self._show_results(self.state)
        self.app.theme_changed_signal.subscribe(self, self._recoloured)

    def _recoloured(self, _: Theme) -> None:
        self._shown = None
        self._show_results(self.state)

    def watch_state(self, before: State, state: State) -> None:
        if not self.is_mounted:
            return
        if before.measuring is not state.measuring:
            self._show_live(before.measuring, state.measuring)
        if before.report is not state.report or before.calibration_note != state.calibration_note:
            self._show_results(state)

    def _show_live(self, before: Measuring | None, measuring: Measuring | None) -> None:
        self.query_one("#live").display = measuring is not None
        self.query_one("#calibration-says").display = measuring is None or self._shown is not None
        if measuring is None:
            return
        if before is None:
            self._rows = {}
            self.query_one("#live-rows").remove_children()
        now = measuring.now
        says = (now and now.message) or "starting the worker"
        self.query_one("#live-now", Static).update(says, layout=False)
        self.query_one("#live").border_subtitle = left(measuring, time.monotonic())
        plan = self.query_one("#live-plan", Static)
        plan.display = bool(measuring.plan)
        if before is None or before.plan != measuring.plan:
            plan.update(measuring.plan)
        bar = self.query_one(ProgressBar)
        bar.display = bool(now and now.budget_s)
        if now is not None and now.budget_s:
            bar.update(total=now.budget_s, progress=min(now.seconds, now.budget_s))
        for track in measuring.tracks:
            label = f"{track.device} {track.precision}  {figure(track.rates[-1])} {track.unit}"
            self._show_row(f"{track.device} {track.precision}", label, track.rates)
        for gpu in measuring.gpus:
            for name, unit, figures in gpu.curves:
                label = f"GPU {gpu.index} {name}  {figures[-1]:.0f} {unit}"
                self._show_row(f"GPU {gpu.index} {name}", label, figures)

    def _show_row(self, name: str, label: str, figures: tuple[float, ...]) -> None:
        row = self._rows.get(name)
        if row is None:
            row = self._rows[name] = SparkRow(name)
            self.query_one("#live-rows").mount(row)
        row.show(label, figures)

    def _show_results(self, state: State) -> None:
        report = state.report
        calibration = report.calibration if report else None
        says = self.query_one("#calibration-says", Static)
        if calibration is None:
            says.update(state.calibration_note or not_measured(state))
        else:
            says.update(heading(calibration))
        if calibration == self._shown:
            return
        self._shown = calibration
        results = self.query_one("#results")
        results.remove_children()
        if report is None or calibration is None:
            return
        for title, body in sections(calibration, report.assessment or Assessment()):
            part = Static(body, classes="part")
            part.border_title = title
            results.mount(part)
