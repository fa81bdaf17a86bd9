"""Every probe of the examination, with its time; those that run have a spinner."""

import time

from textual.content import Content
from textual.reactive import reactive
from textual.widgets import Static

from envdoctor.tui.state import State
from envdoctor.tui.widgets.strip import TICK_S, probe_line


class ProbeList(Static):
    """One line for each probe: running ones first, then unknown ones, then the slowest."""

    state: reactive[State] = reactive(State())

    def on_mount(self) -> None:
        self.border_title = "probes"
        self._timer = self.set_interval(TICK_S, self._draw, pause=True)
        self._draw()

    def watch_state(self, before: State, state: State) -> None:
        if not self.is_mounted or before.probes is state.probes:
            return
        if state.running:
            self._timer.resume()
        else:
            self._timer.pause()
        self._draw()

    def _draw(self) -> None:
        now = time.monotonic()
        probes = sorted(
            self.state.probes,
            key=lambda probe: (not probe.running, probe.state != "unknown", -probe.seconds),
        )
        self.display = bool(probes)
        self.update(Content("\n").join(probe_line(probe, now) for probe in probes))
