"""The application: shows what the model tells, and hands the user's wishes to it."""

import asyncio
import signal
from collections.abc import Callable, Iterable
from functools import partial
from types import FrameType
from typing import ClassVar

from textual import on
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.driver import Driver
from textual.message import Message
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import Input

from envdoctor.errors import Unwritable
from envdoctor.exit_codes import EXIT_INCOMPLETE, EXIT_INTERRUPTED
from envdoctor.facts.calibration import Calibration
from envdoctor.output.files import write_text
from envdoctor.report import as_one
from envdoctor.tui.contract import (
    CalibrationProgressed,
    EnvironmentChanged,
    Event,
    Failed,
    Model,
    ProbeChanged,
    Saved,
)
from envdoctor.tui.notices import (
    notices,
    why_not_on_top,
    why_not_saved,
    why_not_shown,
    why_nothing_else,
)
from envdoctor.tui.palette import PALETTE, TAB_HELP
from envdoctor.tui.requests import (
    CopyRequested,
    DetailRequested,
    FixRequested,
    ForecastsRequested,
    PredictionRequested,
    RerunRequested,
    TargetRequested,
)
from envdoctor.tui.screens.base import StateDialog, StateScreen
from envdoctor.tui.screens.main import TABS, MainScreen
from envdoctor.tui.state import State, after
from envdoctor.tui.themes import DARK, LIGHT, THEMES
from envdoctor.tui.widgets.finding_text import commands_of

SHOWN_EVERY_S = 0.05
"""How often the progress of probes and of a measurement is drawn. A hundred probes begin and end
within a second; to draw each took a third of the time of the thread that answers keys."""


class EventArrived(Message):
    """An event of the model, on its way from the model's thread to the application's."""

    def __init__(self, event: Event) -> None:
        super().__init__()
        self.event = event


class DoctorApp(App[int]):
    """envdoctor on a terminal. Its return value is the exit code."""

    TITLE = "envdoctor"
    CSS_PATH = "app.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c", "interrupt", "Quit at once", show=False, priority=True),
        Binding("ctrl+z", "suspend_process", "Suspend", show=False, priority=True),
        *(
            # With priority as `/` has it: of two keys in quick succession the first is done first.
            Binding(str(number), f"tab('{name}')", name.capitalize(), show=False, priority=True)
            for number, name in enumerate(TABS, 1)
        ),
        Binding("r", "rerun", "Re-run"),
        Binding("m", "measure", "Measure"),
        Binding("x", "stop", "Stop"),
        Binding("t", "target", "Target"),
        Binding("s", "save", "Save"),
        Binding("o", "open", "Open", show=False),
        Binding("w", "watch", "Watch", show=False),
        Binding("d", "dark", "Dark/light", show=False),
        Binding("question_mark", "help", "Help", key_display="?"),
        Binding("q", "quit", "Quit"),
    ]

    def __init__(
        self,
        model: Model,
        *,
        driver_class: type[Driver] | None = None,
        light: bool = False,
        first_tab: str = "overview",
        remember: Callable[[bool], None] = lambda light: None,
    ) -> None:
        super().__init__(driver_class=driver_class)
        self._light, self._remember = light, remember
        self._first_tab = first_tab
        self._model = model
        self._compared_with: Calibration | None = None
        self._soon: Timer | None = None
        self.state = State()

    def get_default_screen(self) -> Screen[None]:
        return MainScreen(self.state, self._model.gpus, first=self._first_tab)

    def on_mount(self) -> None:
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = LIGHT.name if self._light else DARK.name
        # Movement costs bandwidth over ssh and tells nothing.
        self.animation_level = "none"
        if not self.is_headless:
            self._end_on_signals()
        # A terminal forgets the screen of a program that was suspended, and Textual does not.
        self.app_resume_signal.subscribe(self, lambda _: self.refresh(layout=True))
        # The model starts once the first screen is on the terminal, so that it costs no paint.
        self.call_after_refresh(self._model.start, self._receive)

    def _receive(self, event: Event) -> None:
        if self.is_running:
            self.post_message(EventArrived(event))

    def _end_on_signals(self) -> None:
        """Not by `add_signal_handler`: it takes the signals from the watchdog, which ends a program
        that waits for a terminal that nobody reads."""
        loop = asyncio.get_running_loop()

        def came(number: int, frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(self._leave, 128 + number)

        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, came)

    @on(EventArrived)
    def _event_arrived(self, message: EventArrived) -> None:
        before, event = self.state, message.event
        self.state = after(before, event)
        if (before.measuring is None) != (self.state.measuring is None):
            self.refresh_bindings()
        if not isinstance(event, ProbeChanged | CalibrationProgressed):
            self._show()
        elif self._soon is None:
            self._soon = self.set_timer(SHOWN_EVERY_S, self._show)
        if isinstance(event, EnvironmentChanged):
            self._look_again()
        for one in notices(before, event):
            self.notify(one.text, title=one.title, severity=one.severity, markup=False)

    def _show(self) -> None:
        """Give the screens what is known by now."""
        if self._soon is not None:
            self._soon.stop()
            self._soon = None
        for screen in self.screen_stack:
            if isinstance(screen, StateScreen | StateDialog):
                screen.state = self.state

    def _look_again(self) -> None:
        """A calibration is not interrupted by a change, nor an examination begun twice."""
        if not self.state.busy:
            self._model.rerun(None)

    def _refused(self, why: str | None) -> bool:
        if why is not None:
            self.notify(why, markup=False)
        return why is not None

    @property
    def exit_code(self) -> int:
        """The exit code that `--plain` would give for what is shown, or for all the targets that
        the command line named."""
        asked = [one.report for one in self.state.beside if one.asked]
        if asked:
            whole = tuple(filter(None, asked))
            code = as_one(whole).exit_code if whole else EXIT_INCOMPLETE
            return code or (EXIT_INCOMPLETE if None in asked else code)
        if self.state.report is None:
            return EXIT_INCOMPLETE
        code = self.state.report.exit_code
        return code if self.state.final or code else EXIT_INCOMPLETE

    async def action_quit(self) -> None:
        """Leave with the exit code of the report."""
        self._leave(self.exit_code)

    def action_interrupt(self) -> None:
        """Ctrl-C: leave now, whatever goes on."""
        self._leave(EXIT_INTERRUPTED)

    def _leave(self, code: int) -> None:
        self._model.close()
        self.exit(code)

    def on_unmount(self) -> None:
        """However the application ends, no child is left."""
        self._model.close()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """`x` is offered while there is something to stop, `m` while there is not; in a field and
        in a dialog a digit is a digit."""
        if action == "tab":
            return not (self.screen.is_modal or isinstance(self.focused, Input))
        if action in ("measure", "stop"):
            return (action == "stop") == (self.state.measuring is not None)
        return True

    def action_tab(self, name: str) -> None:
        """Show a tab, from wherever the user is."""
        while not isinstance(self.screen, MainScreen):
            self.pop_screen()
        self.screen.show_tab(name)

    def action_rerun(self) -> None:
        """Look at everything again."""
        if not self._refused(why_nothing_else(self.state)):
            self._model.rerun(None)

    def action_watch(self) -> None:
        """Look again whenever the environment changes, or not any more."""
        if self.state.source:
            self.notify("a recorded machine does not change; `t` examines a live one")
            return
        self._model.watch(on=not self.state.watching)

    @on(ForecastsRequested)
    def _compare(self) -> None:
        """Once for each measurement: it would hold the next keys up every time."""
        measured = self.state.report.calibration if self.state.report else None
        if not self.state.forecasts or measured != self._compared_with:
            self._compared_with = measured
            self._model.compare()

    @on(RerunRequested)
    def _rerun_check(self, message: RerunRequested) -> None:
        if message.check is None:
            self.notify("no check is chosen; choose one in the findings")
        elif not self._refused(why_not_on_top(self.state)):
            self._model.rerun((message.check,))

    @on(PredictionRequested)
    def _predict(self, message: PredictionRequested) -> None:
        self._model.predict(message.gpu)

    def action_measure(self) -> None:
        """Measure, or measure again, and show how it goes."""
        self.action_tab("calibration")
        if not self._refused(why_not_on_top(self.state)):
            self._model.calibrate()

    def action_stop(self) -> None:
        """Stop the calibration; what was measured is kept."""
        if self.state.measuring is not None:
            self._model.stop()

    @on(CopyRequested)
    def _copy(self, message: CopyRequested) -> None:
        if message.text is None:
            self.notify("there is no command to copy here")
            return
        self.copy_to_clipboard(message.text)
        # Nothing tells whether the terminal takes it: tmux and some others may not.
        self.notify(message.text, title="sent to the terminal's clipboard", markup=False)

    @on(FixRequested)
    def _copy_fix(self, message: FixRequested) -> None:
        fixes = message.finding.fixes if message.finding is not None else ()
        if sum(bool(fix.commands) for fix in fixes) < 2:
            self._copy(CopyRequested(commands_of(message.finding)))
            return
        from envdoctor.tui.screens.copying import CopyScreen

        self.push_screen(CopyScreen(self.state, fixes), self._copy_chosen)

    def _copy_chosen(self, text: str | None) -> None:
        if text is not None:
            self._copy(CopyRequested(text))

    @on(DetailRequested)
    def _detail(self, message: DetailRequested) -> None:
        from envdoctor.tui.screens.detail import DetailScreen

        self.push_screen(DetailScreen(self.state, message.finding, self._model.page))

    def action_target(self) -> None:
        """List the interpreters of this machine."""
        from envdoctor.tui.screens.target import TargetScreen

        if self._refused(why_nothing_else(self.state)):
            return
        self._model.find_targets()
        self.push_screen(TargetScreen(self.state), self._switch)

    def _switch(self, path: str | None) -> None:
        if path is not None and not self._refused(why_nothing_else(self.state)):
            self._model.switch_target(path)

    @on(TargetRequested)
    def _show_target(self, message: TargetRequested) -> None:
        one = next((one for one in self.state.beside if one.key == message.key), None)
        if one is None or self._refused(why_nothing_else(self.state)):
            return
        if one.key == self.state.shown_target:
            self.action_tab("overview")
        elif self._refused(why_not_shown(one)):
            return
        else:
            self._model.show(one.key)
            self.action_tab("overview")

    def action_save(self) -> None:
        """Ask what to save, and where."""
        from envdoctor.tui.screens.save import SaveScreen

        self.push_screen(SaveScreen(), self._save)

    def _save(self, choice: tuple[str, str] | None) -> None:
        if choice is None:
            return
        kind, path = choice
        if kind == "screenshot":
            self.call_after_refresh(self._save_screenshot, path)
        elif not self._refused(why_not_saved(self.state)) and self.state.report is not None:
            self._model.save(kind, path, self.state.report)

    def _save_screenshot(self, path: str) -> None:
        try:
            write_text(path, self.export_screenshot(title="envdoctor"))
        except Unwritable as error:
            self._receive(Failed(message=str(error)))
        else:
            self._receive(Saved(path=path))

    def action_open(self) -> None:
        """Ask which saved report to show."""
        from envdoctor.tui.screens.open_file import OpenScreen

        if self._refused(why_nothing_else(self.state)):
            return
        self._model.find_files()
        self.push_screen(OpenScreen(self.state), self._open)

    def _open(self, path: str | None) -> None:
        if path is not None and not self._refused(why_nothing_else(self.state)):
            self._model.open(path)

    def action_help(self) -> None:
        """Show the keys."""
        from envdoctor.tui.screens.help import HelpScreen

        self.push_screen(HelpScreen())

    def action_dark(self) -> None:
        """Change between dark and light; the next start begins with the same."""
        self.theme = LIGHT.name if self.current_theme.dark else DARK.name
        self._remember(not self.current_theme.dark)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        for title, help_text, action in PALETTE:
            yield SystemCommand(title, help_text, partial(self.run_action, action))
        for name, help_text in TAB_HELP.items():
            yield SystemCommand(name.capitalize(), help_text, partial(self.action_tab, name))
