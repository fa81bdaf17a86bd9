"""Dark or light: as chosen last, else as the terminal's background is."""

import asyncio
import os
import pty
import select
import threading
from pathlib import Path

import pytest

from envdoctor.tui.app import DoctorApp
from envdoctor.tui.background import asked_background
from envdoctor.tui.preferences import remember, remembered, starting_colours
from envdoctor.tui.themes import LIGHT
from tests.tui import machines
from tests.tui.recorded import RecordedModel
from tests.tui.screen_text import press, settled


def starts(env: dict[str, str]) -> bool:
    with starting_colours(env) as is_light:
        return is_light()


def test_what_was_chosen_is_remembered(tmp_path: Path) -> None:
    env = {"XDG_STATE_HOME": str(tmp_path / "new"), "SSH_CONNECTION": "x", "COLORFGBG": "0;15"}
    assert remembered(env) is None
    assert starts(env)
    remember(env, light=False)
    assert remembered(env) is False
    assert not starts(env)
    (tmp_path / "full").touch()
    remember({"XDG_STATE_HOME": str(tmp_path / "full")}, light=True)


@pytest.mark.parametrize(
    ("colours", "light"), [("0;15", True), ("15;0", False), ("0;default;7", True), ("", False)]
)
def test_without_an_answer_the_variable_tells(colours: str, light: bool) -> None:
    with asked_background({"COLORFGBG": colours}, "/nowhere") as is_light:
        assert is_light() is light


@pytest.mark.parametrize(
    ("answer", "light"),
    [
        (b"\x1b]11;rgb:ffff/ffff/eeee\x1b\\\x1b[?62;c", True),
        (b"\x1b]11;rgb:1e/1e/2e\x07\x1b[?62;c", False),
        (b"\x1b[?62;c", False),
    ],
)
def test_a_terminal_that_is_asked(answer: bytes, light: bool) -> None:
    terminal, side = pty.openpty()

    def answers() -> None:
        if select.select([terminal], [], [], 60)[0]:
            os.read(terminal, 100)
            os.write(terminal, answer)

    thread = threading.Thread(target=answers)
    thread.start()
    try:
        with asked_background({}, os.ttyname(side)) as is_light:
            assert is_light() is light
    finally:
        thread.join()
        os.close(terminal)
        os.close(side)


def test_the_application_begins_so_and_tells_a_change() -> None:
    told: list[bool] = []
    model = RecordedModel(machines.read("healthy_cpu"))
    app = DoctorApp(model, light=True, remember=told.append)

    async def body() -> None:
        async with app.run_test() as pilot:
            await settled(pilot)
            assert app.theme == LIGHT.name
            await press(pilot, "d")

    asyncio.run(body())
    assert told == [False]
