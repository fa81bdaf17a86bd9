"""Every key and every flow, by Pilot over recorded reports."""

import msgspec
import pytest
from textual.pilot import Pilot
from textual.widgets import Input, OptionList, TabbedContent

from envdoctor.tui.contract import ReportReady
from envdoctor.tui.screens.detail import DetailScreen
from envdoctor.tui.screens.main import MainScreen
from envdoctor.tui.widgets.findings import FindingsPane
from tests.tui import machines
from tests.tui.recorded import RecordedModel
from tests.tui.screen_text import play, press, screen_text, settled, toasts


@pytest.fixture
def model() -> RecordedModel:
    return RecordedModel(machines.read("broken_driver"))


def test_the_banner_names_the_root_cause_and_its_fix(model: RecordedModel) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        seen = screen_text(pilot.app)
        assert "✗ BROKEN: PyTorch works here only in part" in seen
        assert "error ED201 driver-too-old" in seen
        assert "$ sudo apt install nvidia-driver-535-server" in seen
        assert "1 error, 2 consequences, 1 warning" in seen

    play(model, steps)


def test_before_any_report_it_says_what_is_looked_at() -> None:
    async def steps(pilot: Pilot[int]) -> None:
        seen = screen_text(pilot.app)
        assert "… LOOKING" in seen
        assert "~/train/.venv/bin/python" in seen
        assert "0 of 2 probes done" in seen

    play(RecordedModel(None), steps)


def test_an_unfinished_report_is_not_called_healthy() -> None:
    silent = RecordedModel(None)

    async def steps(pilot: Pilot[int]) -> None:
        silent.tell(ReportReady(report=machines.read("healthy_cpu"), final=False))
        await settled(pilot)
        seen = screen_text(pilot.app)
        assert "LOOKING: no error found so far" in seen
        assert "HEALTHY" not in seen
        assert "waiting" in seen

    app = play(silent, steps)
    assert app.exit_code == 3


@pytest.mark.parametrize(
    ("key", "pane"),
    [
        ("1", "overview"),
        ("2", "findings"),
        ("3", "libraries"),
        ("4", "calibration"),
        ("5", "what-if"),
        ("6", "targets"),
    ],
)
def test_number_keys_change_the_tab(model: RecordedModel, key: str, pane: str) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "2", key)
        assert pilot.app.screen.query_one(TabbedContent).active == pane
        assert pilot.app.focused is not None

    play(model, steps)


def test_a_link_of_the_chain_opens_its_finding(model: RecordedModel) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "enter")
        screen = pilot.app.screen
        assert isinstance(screen, DetailScreen)
        assert screen.finding.code == "ED201"

    play(model, steps)


def test_a_link_of_the_chain_opens_by_mouse(model: RecordedModel) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await pilot.click("#chain", offset=(5, 5))
        await settled(pilot)
        screen = pilot.app.screen
        assert isinstance(screen, DetailScreen)
        assert screen.finding.code == "ED411"

    play(model, steps)


def test_arrows_move_through_the_findings_and_preview_them(model: RecordedModel) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "2", "down")
        assert "cuInit: 803" in screen_text(pilot.app)

    play(model, steps)


def test_filter_by_words(model: RecordedModel) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "slash", *"shm")
        seen = screen_text(pilot.app)
        assert "1 of 4 findings" in seen
        assert "ED201 driver-too-old: driver" not in seen
        await press(pilot, "enter")
        assert pilot.app.focused is pilot.app.screen.query_one(FindingsPane).listed
        await press(pilot, "slash", "escape")
        assert "4 of 4 findings" in screen_text(pilot.app)

    play(model, steps)


def test_letters_in_the_filter_are_no_commands(model: RecordedModel) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "slash", *"qrs1/")
        assert pilot.app.screen.query_one("#filter", Input).value == "qrs1/"
        assert model.asked == []

    play(model, steps)


def test_filter_by_severity(model: RecordedModel) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "2", "f")
        assert "warnings and errors" in screen_text(pilot.app)
        await press(pilot, "f")
        seen = screen_text(pilot.app)
        assert "3 of 4 findings · errors only" in seen
        assert "shm-too-small:" not in seen

    play(model, steps)


def test_passed_and_skipped_checks_open_on_demand(model: RecordedModel) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "2")
        assert "python: damaged-install" not in screen_text(pilot.app)
        pane = pilot.app.screen.query_one(FindingsPane)
        for node in pane.listed.root.children:
            node.expand_all()
        await settled(pilot)
        seen = screen_text(pilot.app)
        assert "✓ python: damaged-install" in seen
        assert "speed not measured (`envdoctor calibrate` does)" in seen

    play(model, steps, size=(120, 40))


def test_copy_puts_the_fix_on_the_clipboard(model: RecordedModel) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "c")
        assert "copy which fix?" in screen_text(pilot.app)
        assert pilot.app.clipboard == ""
        await press(pilot, "1")
        assert pilot.app.clipboard == "sudo apt install nvidia-driver-535-server"
        assert "sent to the terminal's clipboard" in toasts(pilot.app)

    play(model, steps)


def test_copy_without_a_command_says_so() -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "c")
        assert pilot.app.clipboard == ""
        assert "no command" in toasts(pilot.app)

    play(RecordedModel(machines.read("healthy_cpu")), steps)


def test_detail_copies_the_focused_fix(model: RecordedModel) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "enter", "tab", "tab", "c")
        assert "whl/cu118" in pilot.app.clipboard

    play(model, steps)


def test_a_click_on_a_fix_copies_it(model: RecordedModel) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "enter")
        await pilot.click(".fix")
        await settled(pilot)
        assert pilot.app.clipboard == "sudo apt install nvidia-driver-535-server"

    play(model, steps)


def test_detail_walks_and_returns(model: RecordedModel) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "enter")
        screen = pilot.app.screen
        assert isinstance(screen, DetailScreen)
        await press(pilot, "n")
        assert screen.finding.code == "ED212"
        await press(pilot, "p", "p")
        assert screen.finding.code == "ED503"
        await press(pilot, "escape")
        assert isinstance(pilot.app.screen, MainScreen)

    play(model, steps)


def test_detail_shows_the_page(model: RecordedModel) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "enter")
        assert ("page", "ED201") in model.asked
        assert "What it means" in screen_text(pilot.app)

    play(model, steps, size=(120, 60))


def test_a_related_finding_opens(model: RecordedModel) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "enter")
        screen = pilot.app.screen
        assert isinstance(screen, DetailScreen)
        screen.query_one("#related", OptionList).focus()
        await press(pilot, "down", "enter")
        assert screen.finding.code in ("ED212", "ED411")
        assert "caused by ✗ ED201" in screen_text(pilot.app)

    play(model, steps, size=(120, 60))


def test_a_click_on_a_key_presses_it(model: RecordedModel) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        line = screen_text(pilot.app).splitlines()[-1]
        await pilot.click("#keys", offset=(line.index("? Help"), 0))
        await settled(pilot)
        assert "command palette" in screen_text(pilot.app)

    play(model, steps)


def test_the_root_cause_is_chosen_when_it_is_found_after_its_consequence() -> None:
    silent = RecordedModel(None)
    whole = machines.read("broken_driver")
    late = [one for one in whole.findings if one.code == "ED212"]
    alone = tuple(msgspec.structs.replace(one, because=None) for one in late)
    partial = msgspec.structs.replace(whole, findings=alone)

    async def steps(pilot: Pilot[int]) -> None:
        silent.tell(ReportReady(report=partial, final=False))
        await settled(pilot)
        silent.tell(ReportReady(report=whole, final=True))
        await settled(pilot)
        await press(pilot, "2")
        chosen = pilot.app.screen.query_one(FindingsPane).chosen
        assert chosen is not None
        assert chosen.key == whole.findings[0].id

    play(silent, steps)


def test_a_new_report_keeps_the_line_that_the_user_is_on(model: RecordedModel) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "2", "down")
        later = msgspec.structs.replace(machines.read("broken_driver"), created_at="later")
        model.tell(ReportReady(report=later, final=True))
        await settled(pilot)
        chosen = pilot.app.screen.query_one(FindingsPane).chosen
        assert chosen is not None
        assert chosen.finding is not None
        assert chosen.finding.code == "ED212"

    play(model, steps)
