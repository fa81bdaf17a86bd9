"""What could not be looked at is said before anything else, in the view and after it."""

import msgspec
import pytest
from textual.pilot import Pilot

from envdoctor.api import Reason
from envdoctor.findings import Verdict
from envdoctor.tui.summary import summary
from envdoctor.tui.unseen import could_not_look, did_not_apply, not_looked_for, not_tried
from envdoctor.tui.widgets.findings import FindingsPane
from tests.tui import machines
from tests.tui.recorded import RecordedModel
from tests.tui.screen_text import play, press, screen_text

SILENT = machines.read("driver_silent")


def test_the_banner_says_why_it_is_incomplete_before_any_warning() -> None:
    async def steps(pilot: Pilot[int]) -> None:
        seen = screen_text(pilot.app)
        assert "INCOMPLETE" in seen
        assert "? not tried: compute on the CPU and GPU 0000:01:00.0:" in seen
        assert "could not look: NVML unknown: no answer within 20 s" in seen
        assert "not looked for: driver-too-old, driver-not-loaded" in seen
        assert "not looked for: cuda-init" in seen
        assert "cudnn-pin" not in seen
        assert seen.index("not looked for: cuda-init") < seen.index("warning ED503")

    play(RecordedModel(SILENT), steps)


def test_the_shell_keeps_why_it_is_incomplete() -> None:
    text = summary(SILENT, final=True)
    assert "not tried: compute on the CPU and GPU 0000:01:00.0: no answer within 20 s\n" in text
    assert "could not look: NVML unknown: no answer within 20 s\n" in text
    assert "not looked for: driver-too-old, driver-not-loaded\n" in text
    assert text.index("could not look") < text.index("ED503")
    assert "not looked for" not in summary(machines.read("healthy_cpu"), final=True)


def test_what_was_switched_off_is_said_as_well() -> None:
    off = tuple(
        msgspec.structs.replace(
            one, state="unseen", reason=Reason.SWITCHED_OFF, detail="left out by --static"
        )
        for one in machines.read("two_gpus").outcomes
    )
    report = msgspec.structs.replace(
        machines.read("two_gpus"), outcomes=off, findings=(), verdict=Verdict.UNPROVEN
    )
    said = "import torch, compute on the CPU and GPUs 0 and 1"
    assert not_tried(report) == {"left out by --static": said}
    assert f"not tried: {said}: left out by --static\n" in summary(report, final=True)

    async def steps(pilot: Pilot[int]) -> None:
        assert f"? not tried: {said}" in screen_text(pilot.app)

    play(RecordedModel(report), steps)


def test_what_did_not_apply_is_not_called_unseen() -> None:
    healthy = machines.read("healthy_cpu")
    assert could_not_look(healthy) == {}
    assert sum(map(len, did_not_apply(healthy).values())) == 2

    async def steps(pilot: Pilot[int]) -> None:
        assert "9 of 11 checks ran, 2 skipped" in screen_text(pilot.app)
        await press(pilot, "2")
        assert "– 2 checks skipped" in screen_text(pilot.app)

    play(RecordedModel(healthy), steps)


def test_a_reason_that_blinds_one_check_blinds_all_of_it() -> None:
    one_blind = tuple(
        msgspec.structs.replace(
            check, unknown=Reason.TIMED_OUT if check.name == "driver-too-old" else None
        )
        for check in SILENT.checks
    )
    report = msgspec.structs.replace(SILENT, checks=one_blind)
    unseen = [one.name for checks in could_not_look(report).values() for one in checks]
    assert unseen == ["driver-too-old", "driver-not-loaded"]
    assert list(not_looked_for(report).values()) == [("driver-too-old",)]


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
def test_the_list_opens_what_could_not_be_looked_at(size: tuple[int, int]) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "2")
        tree = pilot.app.screen.query_one(FindingsPane).listed
        opened = {node.data.key: node.is_expanded for node in tree.root.children if node.data}
        assert opened["could not look"]
        assert not opened["skipped"]
        assert "? 3 checks could not look" in screen_text(pilot.app)

    play(RecordedModel(SILENT), steps, size)
