"""A running application without a terminal, and its screen as plain text."""

import asyncio
from collections.abc import Awaitable, Callable

from textual.pilot import Pilot

from envdoctor.tui.app import DoctorApp
from envdoctor.tui.contract import Model

Steps = Callable[[Pilot[int]], Awaitable[None]]
SIZES = {"80x24": (80, 24), "120x40": (120, 40), "200x60": (200, 60)}


def screen_text(app: DoctorApp) -> str:
    """Every line of the screen without its trailing blanks, ending with a line break."""
    strips = app.screen._compositor.render_strips()
    lines = ["".join(segment.text for segment in strip).rstrip() for strip in strips]
    return "\n".join(lines) + "\n"


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
    for _ in range(2):
        await pilot.pause()


async def press(pilot: Pilot[int], *keys: str) -> None:
    """Press keys one after the other, each settled."""
    for key in keys:
        await pilot.press(key)
        await settled(pilot)
