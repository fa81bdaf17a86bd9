"""Every probe of the examination, with its time; those that run have a spinner."""

import time

from textual.content import Content
from textual.reactive import reactive
from textual.widgets import Static

from envdoctor.tui.state import ProbeState, State
from envdoctor.tui.widgets.status_bar import EXPLAINED_AFTER_S, TICK_S, probe_line


class ProbeList(Static):
    """One line for each probe: running ones first, then unknown ones, then the slowest.

    Where the screen is `short`, those that took no time and saw something are left out.
    """

    state: reactive[State] = reactive(State())
    short: reactive[bool] = reactive(False)

    def on_mount(self) -> None:
        self.border_title = "probes"
        self._timer = self.set_interval(TICK_S, self._draw, pause=True)
        self._hidden = False
        self._draw()

    def watch_state(self, before: State, state: State) -> None:
        if self.is_mounted and before.probes is not state.probes:
            self._turn()
            self._draw()

    def watch_short(self) -> None:
        if self.is_mounted:
            self._draw()

    def on_show(self) -> None:
        """The tab is shown."""
        self._hidden = False
        self._turn()

    def on_hide(self) -> None:
        """On another tab nobody sees the spinners turn."""
        self._hidden = True
        self._turn()

    def _turn(self) -> None:
        if self.state.running and not self._hidden:
            self._timer.resume()
        else:
            self._timer.pause()

    def _draw(self) -> None:
        now = time.monotonic()
        probes = [one for one in self.state.probes if not self.short or _is_notable(one)]
        probes.sort(key=lambda one: (not one.running, one.state != "unknown", -one.seconds))
        self.display = bool(probes)
        text = Content("\n").join(probe_line(probe, now) for probe in probes)
        self.update(text, layout=self._moves(text))

    def _moves(self, text: Content) -> bool:
        """Whether it takes another number of lines than what is shown."""
        width, height = self.content_size
        return not width or text.get_height({}, width) != height


def _is_notable(probe: ProbeState) -> bool:
    return probe.state != "finished" or probe.seconds > EXPLAINED_AFTER_S
