"""How events change what is shown. Pure; the reports are synthetic."""

import msgspec
import pytest

from envdoctor.api import Gpu
from envdoctor.calibration.progress import CalibrationProgress, Sample
from envdoctor.events import ProbeEvent
from envdoctor.tui.contract import (
    CalibrationEnded,
    CalibrationProgressed,
    CalibrationStarted,
    Event,
    ExaminationStarted,
    ProbeChanged,
    ReadingEnded,
    ReadingStarted,
    ReportReady,
    Saved,
    WorkEnded,
)
from envdoctor.tui.notices import notices
from envdoctor.tui.state import State, after
from envdoctor.tui.widgets.status_bar import strip
from tests.tui import machines

BROKEN, HEALTHY = machines.read("broken_driver"), machines.read("healthy_cpu")
REPAIRED = msgspec.structs.replace(BROKEN, findings=())
HERE = ExaminationStarted(what="examining")


def following(*events: Event, state: State | None = None) -> State:
    state = state or State()
    for event in events:
        state = after(state, event)
    return state


def started(probe: str) -> ProbeChanged:
    return ProbeChanged(event=ProbeEvent(probe=probe, state="started"))


def final(report: object = BROKEN) -> ReportReady:
    return ReportReady(report=report, final=True)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "events",
    [
        (HERE, WorkEnded()),
        (HERE, started("driver"), WorkEnded()),
        (HERE, final(), CalibrationStarted(), WorkEnded()),
        (HERE, final(), CalibrationStarted(), HERE, WorkEnded()),
        (HERE, final(), ReadingStarted(path="x"), ReadingEnded()),
        (ReadingStarted(path="x"), HERE, WorkEnded()),
        (HERE, final(), ReadingStarted(path="x"), CalibrationStarted(), WorkEnded()),
    ],
)
def test_nothing_goes_on_after_the_end(events: tuple[Event, ...]) -> None:
    state = following(*events)
    assert not state.busy
    assert not state.running


def test_an_examination_ends_a_calibration() -> None:
    assert following(HERE, final(), CalibrationStarted(), HERE).measuring is None


def test_after_a_failure_the_last_whole_report_stands() -> None:
    partial = ReportReady(report=HEALTHY, final=False)
    state = following(HERE, final(), HERE, partial, WorkEnded())
    assert state.report is BROKEN
    assert state.final


def test_a_file_that_is_read_is_named_until_it_is_read() -> None:
    reading = following(HERE, final(), ReadingStarted(path="far/away.json"))
    assert "reading far/away.json" in strip(reading, 0.0).plain
    assert "checks ran" in strip(after(reading, ReadingEnded()), 0.0).plain


def test_a_probe_that_never_answered_says_so() -> None:
    state = following(HERE, started("driver"), final())
    (probe,) = state.probes
    assert (probe.name, probe.state, probe.detail) == ("driver", "unknown", "no answer")


def test_a_probe_that_stirs_after_the_end_is_not_waited_for() -> None:
    assert not following(HERE, started("driver"), final(), started("driver")).running


def test_another_target_begins_with_nothing() -> None:
    state = following(HERE, final(), ExaminationStarted(what="examining /other/python"))
    assert state.report is None
    assert state.settled is None


def test_the_same_target_keeps_what_is_shown() -> None:
    assert following(HERE, final(), HERE).report is BROKEN


def said(state: State, event: Event) -> list[str]:
    return [one.text for one in notices(state, event)]


def test_a_repaired_finding_is_gone_also_after_partial_reports() -> None:
    partial = ReportReady(report=REPAIRED, final=False)
    again = following(HERE, final(), HERE, partial)
    assert said(following(HERE, final(), HERE), partial) == []
    assert said(again, final(REPAIRED))[0] == "✓ ED201 driver-too-old is fixed"


def test_what_could_not_be_looked_at_again_is_not_gone() -> None:
    blind = msgspec.structs.replace(
        REPAIRED,
        checks=tuple(msgspec.structs.replace(one, status="skipped") for one in REPAIRED.checks),
    )
    before = following(HERE, final(), HERE)
    assert said(before, final(blind))[0] == "? ED201 driver-too-old could not be looked at again"


def test_another_machine_repairs_nothing() -> None:
    opened = ReportReady(report=HEALTHY, final=True, source="other.json")
    assert said(following(HERE, final()), opened) == []


def test_notices_of_other_events() -> None:
    assert said(State(), Saved(path="a.json")) == ["written to a.json"]
    assert said(State(), CalibrationEnded(reason="no torch")) == ["no torch"]
    assert said(State(), CalibrationEnded()) == []


def sample(at: float, clock: int) -> Sample:
    return Sample(at=at, gpu=Gpu(index=0, name="by hand", sm_clock_mhz=clock))


def test_a_sample_that_is_told_twice_counts_once() -> None:
    samples = (sample(1.0, 210), sample(1.0, 210), sample(1.25, 1400), sample(1.25, 1400))
    events = (
        CalibrationProgressed(progress=CalibrationProgress(phase="timing", gpus=(one,)))
        for one in samples
    )
    state = following(CalibrationStarted(), *events)
    assert state.measuring is not None
    assert state.measuring.gpus[0].sm_clock_mhz == (210, 1400)
