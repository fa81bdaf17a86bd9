"""The TUI: shows a report and the progress of the work, and computes nothing."""

import gc
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NoReturn

from envdoctor.options import Options
from envdoctor.output import Output

if TYPE_CHECKING:
    from textual.driver import Driver

    from envdoctor.session import Session
    from envdoctor.tui.app import DoctorApp
    from envdoctor.tui.contract import Model

FRAMES_PER_SECOND = 120


def run(
    options: Options,
    output: Output,
    *,
    path: str | None = None,
    others: Sequence[Options] = (),
    in_browser: bool = False,
) -> tuple[int, str]:
    """Open the TUI; returns the exit code and a short plain summary for the shell.

    `others` are further targets to be shown beside that of `options`. `path` is a saved report or
    facts file to show instead of this machine, and what is shown goes through the filter of
    `output`. Ask `envdoctor.tui.terminal.why_not` first, unless this is the
    program of a page in a browser. Raises BadInput, before anything is drawn, for a file or a
    selection of checks that cannot be used.
    """
    from envdoctor.tui.preferences import starting_colours
    from envdoctor.tui.summary import printable, summary_of

    with starting_colours(os.environ, asks=not in_browser) as is_light:
        app = _app(options, output, path, others=others, is_light=is_light, in_browser=in_browser)
    _spare_what_is_loaded()
    code = app.run()
    text = summary_of(app.state)
    text = printable(text, output.stdout.encoding)
    return code if code is not None else app.return_code or 0, text


def _spare_what_is_loaded() -> None:
    """The collector then leaves alone what was imported, which halves its pauses (40 to 20 ms)."""
    gc.freeze()


def picture(
    options: Options,
    output: Output,
    *,
    path: str | None,
    others: Sequence[Options] = (),
    svg: str,
    size: str,
    keys: Sequence[str],
) -> int:
    """Save what the TUI shows after some keys as SVG, without a terminal; the exit code.

    Raises BadInput for a file or a size that cannot be used, and Unwritable.
    """
    from envdoctor.tui.screenshot import parse_size, take_screenshot

    columns_and_rows = parse_size(size)
    app = _app(options, output, path, others=others)
    return take_screenshot(app, svg, size=columns_and_rows, keys=keys)


def _app(
    options: Options,
    output: Output,
    path: str | None,
    *,
    others: Sequence[Options] = (),
    is_light: Callable[[], bool] | None = None,
    in_browser: bool = False,
) -> "DoctorApp":
    """The application, in the colours that the user or the terminal has chosen if these are asked
    for."""
    _set_beat()
    from envdoctor.tui.app import DoctorApp
    from envdoctor.tui.deferred_model import DeferredModel
    from envdoctor.tui.preferences import remember

    session = _checked(options, path)

    def make() -> "Model":
        from envdoctor.tui.model import LiveModel

        model = LiveModel(options, output, path=path, others=others, session=session)
        _spare_what_is_loaded()
        return model

    model = DeferredModel(make)
    first_tab = "targets" if others else "overview"
    driver = _driver(in_browser=in_browser)
    if is_light is None:
        return DoctorApp(model, driver_class=driver, first_tab=first_tab)
    return DoctorApp(
        model,
        driver_class=driver,
        light=is_light(),
        first_tab=first_tab,
        remember=lambda light: remember(os.environ, light=light),
    )


def _set_beat() -> None:
    """Textual draws on a beat of 60 a second, and a key that leads to another tab waits for two of
    them; it reads its variable when it is loaded."""
    if "TEXTUAL_FPS" not in os.environ:
        os.environ["TEXTUAL_FPS"] = str(FRAMES_PER_SECOND)
        import textual.constants  # noqa: F401

        del os.environ["TEXTUAL_FPS"]


def _driver(*, in_browser: bool) -> "type[Driver] | None":
    """What draws, and gives the keys; null: Textual's own for a terminal."""
    from envdoctor.tui.terminal import shows_unicode

    if in_browser:
        from envdoctor.tui.browser.driver import BrowserDriver

        return BrowserDriver
    if shows_unicode(os.environ):
        return None
    from envdoctor.tui.ascii import ascii_driver

    return ascii_driver()


def serve(options: Options, output: Output, *, path: str | None, port: int, line: str) -> NoReturn:
    """Serve the TUI to browsers of this machine until a signal ends it; `line` is the program of a
    page. Raises BadInput, as `run` does and for a port that cannot be had."""
    from envdoctor.tui.browser import server

    _checked(options, path)
    bound = server.listening(port)
    stdout = output.protocol()

    def announce(address: str) -> None:
        stdout.write(f"{address}\n")
        stdout.flush()
        output.say("open this address in a browser on this machine; Ctrl-C ends it")

    server.serve(line, bound, announce=announce, say=output.say)


def _checked(options: Options, path: str | None) -> "Session | None":
    """The session that found the input usable; None where there is nothing to check first."""
    if path is None and not options.only and not options.skip:
        return None
    from envdoctor.session import Session

    session = Session()
    session.selected(options)
    if path is not None:
        session.read(path)
    return session
