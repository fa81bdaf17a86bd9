"""The TUI: shows a report and the progress of the work, and computes nothing."""

import gc
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from envdoctor.session import Session
    from envdoctor.tui.app import DoctorApp


def run(options: Mapping[str, Any], *, path: str | None = None) -> int:
    """Open the TUI and return the exit code, after a short plain summary on standard output.

    `options` are those of `envdoctor` by their names; `path` is a saved report or facts file to
    show instead of this machine. Ask `envdoctor.tui.terminal.can_show` first. Raises BadInput,
    before anything is drawn, for a file or a selection of checks that cannot be used.
    """
    import click

    from envdoctor.tui.summary import printable, summary

    app = _app(options, path)
    # The collector then leaves alone what was imported, which halves its pauses (40 to 20 ms here).
    gc.freeze()
    code = app.run()
    text = summary(app.state.report, final=app.state.final)
    click.echo(printable(text, sys.stdout.encoding), nl=False)
    return code if code is not None else app.return_code or 0


def picture(
    options: Mapping[str, Any], *, path: str | None, svg: str, size: str, keys: Sequence[str]
) -> int:
    """Save what the TUI shows after some keys as SVG, without a terminal; the exit code.

    Raises BadInput for a file, a size or an output that cannot be used.
    """
    from envdoctor.tui.screenshot import parse_size, take_screenshot

    columns_and_rows = parse_size(size)
    return take_screenshot(_app(options, path), svg, size=columns_and_rows, keys=keys)


def _app(options: Mapping[str, Any], path: str | None) -> "DoctorApp":
    from envdoctor.tui.app import DoctorApp
    from envdoctor.tui.ascii import ascii_driver
    from envdoctor.tui.model import LiveModel
    from envdoctor.tui.terminal import shows_unicode

    session = _checked(options, path)
    measure = path is None and not options.get("no_calibrate", True)
    model = LiveModel(options, path=path, session=session, measure_first=measure)
    return DoctorApp(model, driver_class=None if shows_unicode(os.environ) else ascii_driver())


def _checked(options: Mapping[str, Any], path: str | None) -> "Session | None":
    """The session that found the input usable; None where there is nothing to check first."""
    if path is None and not options["only"] and not options["skip"]:
        return None
    from envdoctor.session import Session

    session = Session()
    session.selection(options["only"], options["skip"])
    if path is not None:
        session.read(path)
    return session
