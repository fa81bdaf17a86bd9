"""A picture of the TUI without a terminal: for documents, and for reports of problems."""

import asyncio
import re
from collections.abc import Sequence

from textual.pilot import Pilot

from envdoctor.errors import BadInput, Unwritable
from envdoctor.output.files import write_text
from envdoctor.tui.app import DoctorApp

_STEP_S = 0.1
_SIZE = re.compile(r"([1-9]\d{1,2})x([1-9]\d{1,2})")


def parse_size(text: str) -> tuple[int, int]:
    """Columns and rows of `120x40`. Raises BadInput."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise BadInput(f"`{text}` is no size; it looks like 120x40, each from 10 to 999")
    return int(match[1]), int(match[2])


def take_screenshot(
    app: DoctorApp, path: str, *, size: tuple[int, int], keys: Sequence[str] = ()
) -> int:
    """Run the application unseen until its work is done, press the keys, and save it as SVG.

    A key `wait` waits until the work that the keys before it began is done. Returns the exit
    code of the report. Raises Unwritable.
    """

    async def drive(pilot: Pilot[object]) -> None:
        await _idle(app)
        for key in keys:
            await (_idle(app) if key == "wait" else pilot.press(key))
        await pilot.pause()
        try:
            write_text(path, app.export_screenshot(title="envdoctor"))
        except Unwritable as error:
            failures.append(error)
        await pilot.press("q")

    failures: list[Unwritable] = []
    code = app.run(headless=True, size=size, auto_pilot=drive)
    if failures:
        raise failures[0]
    return app.exit_code if code is None else code


async def _idle(app: DoctorApp) -> None:
    """Wait until nothing goes on any more, whatever came of it."""
    quiet = 0
    while quiet < 2:
        await asyncio.sleep(_STEP_S)
        quiet = 0 if app.state.busy else quiet + 1
