"""The line above the footer: what is going on now, on every tab."""

import time

from textual.content import Content
from textual.reactive import reactive
from textual.widgets import Static

from envdoctor.tui.state import Measuring, ProbeState, State
from envdoctor.tui.unseen import could_not_look, did_not_apply, number_of
from envdoctor.tui.words import moment, spinner

TICK_S = 0.1
"""How often something that turns is drawn anew."""

EXPLAINED_AFTER_S = 1.0
"""A probe that takes longer than this says why."""


class StatusBar(Static):
    """Spinner, what runs, since when, and why it is slow."""

    state: reactive[State] = reactive(State())

    def on_mount(self) -> None:
        self._timer = self.set_interval(TICK_S, self._draw, pause=True)
        self._draw()

    def watch_state(self, before: State, state: State) -> None:
        if not self.is_mounted:
            return
        if state.busy:
            self._timer.resume()
        else:
            self._timer.pause()
        self._draw()

    def _draw(self) -> None:
        self.update(strip(self.state, time.monotonic()), layout=False)


def strip(state: State, now: float) -> Content:
    """What is said at that moment of the monotonic clock."""
    if state.examining:
        done = sum(not probe.running for probe in state.probes)
        total = f" · {done} of {len(state.probes)} probes done" if state.probes else ""
        waiting = _slowest(state.running, now) or state.examining
        return Content(f" {spinner(now)} {waiting}{total}")
    if state.measuring:
        news = state.measuring.now
        what = (news and news.message) or "starting"
        return Content(f" {spinner(now)} {elapsed(state.measuring, now)}, measuring: {what}")
    if state.reading:
        return Content(f" {spinner(now)} reading {state.reading}")
    if state.unfinished:
        looking = next((one for one in state.unfinished if one.phase == "looking"), None)
        what = f"examining {looking.name}" if looking else "examining the other targets"
        done = len(state.beside) - len(state.unfinished)
        return Content(f" {spinner(now)} {what} · {done} of {len(state.beside)} targets done")
    return Content.styled(f" {_idle(state)}", "$text-muted")


def elapsed(measuring: Measuring, now: float) -> str:
    """`12 s of about 40 s`; on a busy machine it takes longer, and then that is said."""
    seconds, planned = now - measuring.since, measuring.planned_s
    if not planned:
        return f"{seconds:.0f} s"
    if seconds > planned:
        return f"{seconds:.0f} s, longer than the planned {planned:.0f} s"
    return f"{seconds:.0f} s of about {planned:.0f} s"


def probe_line(probe: ProbeState, now: float) -> Content:
    """One probe: symbol, name, seconds, and why it is slow or what became of it."""
    if probe.running:
        seconds = now - probe.since
        why = f"  {probe.slow_because}" if seconds > EXPLAINED_AFTER_S else ""
        return Content.assemble(
            (f"{spinner(now)} {probe.name} {seconds:.1f} s", "bold"), (why, "$text-warning")
        )
    if probe.state == "unknown":
        return Content.assemble(
            (f"? {probe.name} {probe.seconds:.1f} s  no result: {probe.detail}", "$text-muted")
        )
    return Content.assemble(("✓ ", "$text-success"), f"{probe.name} {probe.seconds:.1f} s")


def _slowest(running: tuple[ProbeState, ...], now: float) -> str:
    if not running:
        return ""
    probe = min(running, key=lambda one: one.since)
    seconds = now - probe.since
    more = f" and {len(running) - 1} more" if len(running) > 1 else ""
    why = f" ({probe.slow_because})" if probe.slow_because and seconds > EXPLAINED_AFTER_S else ""
    return f"{probe.name}{more} {seconds:.0f} s{why}"


def _idle(state: State) -> str:
    if state.report is None:
        return "nothing examined yet"
    ran = sum(check.status == "ran" for check in state.report.checks)
    parts = [f"{ran} of {len(state.report.checks)} checks ran"]
    if unseen := number_of(could_not_look(state.report)):
        parts.append(f"{unseen} could not look")
    if other := number_of(did_not_apply(state.report)):
        parts.append(f"{other} skipped")
    watching = " · looks again on changes (`w` ends it)" if state.watching else ""
    return f"{', '.join(parts)} · {moment(state.report.created_at)}{watching}"
