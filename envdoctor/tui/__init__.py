"""The TUI: shows a report and the progress of the work, and computes nothing."""

import gc
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from envdoctor.options import Options
from envdoctor.output import Output

if TYPE_CHECKING:
    from envdoctor.session import Session
    from envdoctor.tui.app import DoctorApp


def run(options: Options, output: Output, *, path: str | None = None) -> tuple[int, str]:
    """Open the TUI; returns the exit code and a short plain summary for the shell.

    `path` is a saved report or facts file to show instead of this machine, and what is shown goes
    through the filter of `output`. Ask `envdoctor.tui.terminal.can_show` first. Raises BadInput,
    before anything is drawn, for a file or a selection of checks that cannot be used.
    """
    from envdoctor.tui.remembered import starting_colours
    from envdoctor.tui.summary import printable, summary

    with starting_colours(os.environ) as is_light:
        app = _app(options, output, path, is_light=is_light)
    # The collector then leaves alone what was imported, which halves its pauses (40 to 20 ms here).
    gc.freeze()
    code = app.run()
    text = summary(app.state.report, final=app.state.final)
    text = printable(text, output.stdout.encoding)
    return code if code is not None else app.return_code or 0, text


def picture(
    options: Options,
    output: Output,
    *,
    path: str | None,
    svg: str,
    size: str,
    keys: Sequence[str],
) -> int:
    """Save what the TUI shows after some keys as SVG, without a terminal; the exit code.

    Raises BadInput for a file or a size that cannot be used, and Unwritable.
    """
    from envdoctor.tui.screenshot import parse_size, take_screenshot

    columns_and_rows = parse_size(size)
    return take_screenshot(_app(options, output, path), svg, size=columns_and_rows, keys=keys)


def _app(
    options: Options,
    output: Output,
    path: str | None,
    *,
    is_light: Callable[[], bool] | None = None,
) -> "DoctorApp":
    """The application, in the colours that the user or the terminal has chosen if these are asked
    for."""
    from envdoctor.tui.app import DoctorApp
    from envdoctor.tui.ascii import ascii_driver
    from envdoctor.tui.model import LiveModel
    from envdoctor.tui.remembered import remember
    from envdoctor.tui.terminal import shows_unicode

    session = _checked(options, path)
    model = LiveModel(options, output, path=path, session=session)
    driver = None if shows_unicode(os.environ) else ascii_driver()
    if is_light is None:
        return DoctorApp(model, driver_class=driver)
    return DoctorApp(
        model,
        driver_class=driver,
        light=is_light(),
        remember=lambda light: remember(os.environ, light=light),
    )


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
