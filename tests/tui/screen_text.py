"""A running application without a terminal, and its screen as plain text."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from textual.events import Key
from textual.keys import _character_to_key
from textual.pilot import Pilot

from envdoctor.tui.app import DoctorApp
from envdoctor.tui.contract import Model

Steps = Callable[[Pilot[int]], Awaitable[None]]
GOLDEN = Path(__file__).parent / "screens"
SIZES = {"80x24": (80, 24), "120x40": (120, 40), "200x60": (200, 60)}


def screen_text(app: DoctorApp) -> str:
    """Every line of the screen without its trailing blanks, ending with a line break."""
    strips = app.screen._compositor.render_strips()
    lines = ["".join(segment.text for segment in strip).rstrip() for strip in strips]
    return "\n".join(lines) + "\n"


def check_golden(name: str, seen: str, *, write: bool) -> None:
    """The screen is that in the folder of goldens; with `write` it is put there."""
    golden = GOLDEN / f"{name}.txt"
    if write:
        golden.write_text(seen, encoding="utf-8")
    assert seen.splitlines() == golden.read_text(encoding="utf-8").splitlines(), name


def play(model: Model, steps: Steps, size: tuple[int, int] = (80, 24)) -> DoctorApp:
    """Run the application over a model, do the steps, and give it back after its end."""

    async def body() -> DoctorApp:
        app = DoctorApp(model)
        async with app.run_test(size=size) as pilot:
            await settled(pilot)
            await steps(pilot)
        return app

    return asyncio.run(body())


async def settled(pilot: Pilot[int]) -> None:
    """Wait until events, and what they call after the next refresh, have been handled."""
    await pilot.pause()
    while isinstance(pilot.app, DoctorApp) and pilot.app._soon is not None:
        await asyncio.sleep(0.01)
    for _ in range(2):
        await pilot.pause()


async def press(pilot: Pilot[int], *keys: str) -> None:
    """Press keys one after the other, by Textual's names; single letters are typed.

    Pilot's own `press` waits several times for an idle process, which adds up over a suite.
    """
    for key in keys:
        char = key if len(key) == 1 else None
        name = key if char is None or key.isalnum() else _character_to_key(key)
        pilot.app.post_message(Key(name, char))
        # What a key calls may call more: beside other work one round is not the last.
        await settled(pilot)
    await settled(pilot)


def toasts(app: DoctorApp) -> str:
    """The titles and texts of all notices so far."""
    return "\n".join(f"{one.title} {one.message}" for one in app._notifications)
