"""Every word can be read, in the dark and in the light theme (WCAG 2.1: contrast of 4.5)."""

from collections.abc import Iterator

import pytest
from rich.color import Color
from rich.segment import Segment
from textual.pilot import Pilot

from envdoctor.tui.app import DoctorApp
from envdoctor.tui.contract import ReportReady
from envdoctor.tui.themes import THEMES
from tests.tui import machines
from tests.tui.recorded import RecordedModel
from tests.tui.screen_text import play, press, settled

LEAST = 4.5


def luminance(color: Color) -> float:
    """Relative luminance by WCAG 2.1."""
    parts = [part / 255 for part in color.get_truecolor()]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: Color, other: Color) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def words(app: DoctorApp) -> Iterator[Segment]:
    """What stands on the screen and can be read; below a dialog nothing can."""
    dialogs = app.screen.query(".dialog") if app.screen.is_modal else None
    region = dialogs.first().region if dialogs else app.screen.region
    for strip in app.screen._compositor.render_strips()[region.y : region.bottom]:
        for segment in strip.crop(region.x, region.right):
            if any(char.isalnum() for char in segment.text):
                yield segment


def pale(app: DoctorApp) -> list[tuple[float, str]]:
    found = []
    for segment in words(app):
        style = segment.style
        assert style is not None
        assert style.color is not None, segment
        assert style.bgcolor is not None, segment
        seen = contrast(style.color, style.bgcolor)
        if seen < LEAST:
            found.append((round(seen, 1), segment.text.strip()))
    return found


@pytest.mark.parametrize("theme", [theme.name for theme in THEMES])
@pytest.mark.parametrize("machine", machines.MACHINES)
def test_every_word_can_be_read(machine: str, theme: str) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        app = pilot.app
        assert isinstance(app, DoctorApp)
        if theme != app.theme:
            await press(pilot, "d")
        for keys in (("1",), ("enter",), ("2",), ("3",), ("4",), ("5",), ("question_mark",)):
            await press(pilot, *keys)
            assert pale(app) == [], keys
        await press(pilot, "escape", "s")
        assert pale(app) == []

    play(RecordedModel(machines.read(machine)), steps, (120, 40))


@pytest.mark.parametrize("theme", [theme.name for theme in THEMES])
def test_what_is_not_yet_known_can_be_read(theme: str) -> None:
    model = RecordedModel(None)

    async def steps(pilot: Pilot[int]) -> None:
        app = pilot.app
        assert isinstance(app, DoctorApp)
        if theme != app.theme:
            await press(pilot, "d")
        for tab in "12345":
            await press(pilot, tab)
            assert pale(app) == [], tab
        model.tell(ReportReady(report=machines.read("driver_silent"), final=False))
        await settled(pilot)
        await press(pilot, "1")
        assert pale(app) == []

    play(model, steps, (120, 40))
