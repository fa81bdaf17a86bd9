"""The calibration and what-if tabs, by Pilot, with hand-made progress."""

import io

import msgspec
import pytest
from rich.console import Console
from textual.pilot import Pilot
from textual.widgets import Input, OptionList, Sparkline, TabbedContent

from envdoctor.api import Gpu
from envdoctor.calibration.progress import CalibrationProgress, Sample
from envdoctor.report import Report
from envdoctor.tui.contract import CalibrationEnded, CalibrationProgressed, Predicted, ReportReady
from envdoctor.tui.widgets.calibration_text import speedup_table
from tests.captured import CAPTURED
from tests.support.diagnosis import recorded, report_on
from tests.tui import machines
from tests.tui.recorded import RecordedModel
from tests.tui.screen_text import play, press, screen_text, settled, toasts


@pytest.fixture
def model() -> RecordedModel:
    return RecordedModel(machines.read("healthy_cpu"))


def progress(rate: float | None, seconds: float = 1.0, **more: object) -> CalibrationProgressed:
    return CalibrationProgressed(
        progress=CalibrationProgress(
            device="cuda:0",
            precision="fp16",
            phase="timing",
            rate=rate,
            seconds=seconds,
            budget_s=10.0,
            message="cuda:0 fp16 batch 256",
            **more,  # type: ignore[arg-type]
        )
    )


def measured(report: Report) -> Report:
    return msgspec.structs.replace(
        report, calibration=machines.calibration(), assessment=machines.assessment()
    )


def test_what_is_expected_stands_by_the_run_that_is_held_against_it() -> None:
    """On a captured H100 fp32 is faster contiguous, which stands for it: 72 % are of that run."""
    (path,) = (one for one in CAPTURED if one.stem == "h100")

    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "4")
        lines = screen_text(pilot.app).splitlines()
        (usual,) = (line for line in lines if "cuda:0 fp32  " in line and "images" not in line)
        (other,) = (line for line in lines if "cuda:0 fp32 NCHW  " in line)
        assert "953 (906" in usual
        assert "of expected" not in usual
        assert "72 % of expected" in other

    play(RecordedModel(report_on(recorded(str(path)))), steps, size=(120, 24))


def test_measuring_shows_the_rates_as_they_settle(model: RecordedModel) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "m")
        assert pilot.app.screen.query_one(TabbedContent).active == "calibration"
        assert model.asked == [("calibrate",)]
        for rate in (100.0, 1500.0, 1990.0):
            model.tell(progress(rate))
        await settled(pilot)
        seen = screen_text(pilot.app)
        assert "cuda:0 fp16  1,990 images/s" in seen
        assert "10%" in seen
        assert "measuring: cuda:0 fp16 batch 256" in seen
        assert pilot.app.screen.query_one(Sparkline).data == [0.0, 100.0, 1500.0, 1990.0]

    play(model, steps)


def test_gpus_have_curves_of_clock_power_and_temperature(model: RecordedModel) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "m")
        for clock, power in ((210, 60.0), (1410, 300.0)):
            gpu = Gpu(index=1, name="by hand", sm_clock_mhz=clock, power_w=power, temperature_c=44)
            model.tell(progress(None, gpus=(Sample(at=float(clock), gpu=gpu),)))
        await settled(pilot)
        seen = screen_text(pilot.app)
        assert "GPU 1 clock  1410 MHz" in seen
        assert "GPU 1 power  300 W" in seen
        assert "GPU 1 temperature  44 °C" in seen

    play(model, steps)


def test_the_end_shows_bars_speedups_epochs_and_the_pipeline(model: RecordedModel) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "4")
        assert "not measured yet" in screen_text(pilot.app)
        await press(pilot, "m")
        model.tell(CalibrationEnded())
        model.tell(ReportReady(report=measured(machines.read("healthy_cpu")), final=True))
        await settled(pilot)
        seen = screen_text(pilot.app)
        assert "2,000 (1,960 – 2,040) 95 % of expected" in seen
        assert "100× (98.0 – 102)" in seen
        assert "an ImageNet epoch takes 44 min" in seen
        assert (
            "this GPU will be idle part of the time: 2,000 images/s wanted, 480 fed by 4 CPUs"
            in seen
        )
        assert "249 W of 250 W" in seen

    play(model, steps, size=(120, 60))


def test_stop_and_repeat(model: RecordedModel) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "m", "m")
        await press(pilot, "x")
        assert "stopped" in screen_text(pilot.app)
        await press(pilot, "m", "x")

    play(model, steps)
    assert model.asked == [("calibrate",), ("stop",), ("calibrate",), ("stop",)]


def test_stop_without_a_calibration_does_nothing(model: RecordedModel) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "x")
        assert model.asked == []

    play(model, steps)


def test_measuring_waits_for_the_examination() -> None:
    model = RecordedModel(None)

    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "m")
        assert "not finished" in toasts(pilot.app)
        assert model.asked == []

    play(model, steps)


def test_a_partial_calibration_says_so(model: RecordedModel) -> None:
    partial = msgspec.structs.replace(
        machines.calibration(), complete=False, incomplete_because="stopped by the user"
    )
    report = msgspec.structs.replace(machines.read("healthy_cpu"), calibration=partial)

    async def steps(pilot: Pilot[int]) -> None:
        model.tell(ReportReady(report=report, final=True))
        await press(pilot, "4")
        assert "PARTIAL: stopped by the" in screen_text(pilot.app)

    play(model, steps)


def test_the_overview_says_how_fast_it_trains() -> None:
    async def steps(pilot: Pilot[int]) -> None:
        assert "━ 2,000 images/s of ResNet-50 in fp16" in screen_text(pilot.app)

    play(RecordedModel(machines.read("two_gpus")), steps)


def test_what_if(model: RecordedModel) -> None:
    assessment = machines.assessment()
    expected = msgspec.structs.replace(
        assessment.expected[0], device="H100", verdict="not-measured"
    )
    speedup = msgspec.structs.replace(
        assessment.speedups[0], of="H100 fp16", against="cpu fp32", kind="predicted"
    )
    model.predicted = Predicted(
        gpu="H100-SXM5",
        assessment=msgspec.structs.replace(assessment, expected=(expected,), speedups=(speedup,)),
    )

    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "5", "down", "enter")
        assert model.asked[-1] == ("predict", "H100-SXM5")
        seen = screen_text(pilot.app)
        assert "H100-SXM5: prediction, not measured" in seen
        assert "fp16: 2,100 images/s (1,900 – 2,300), from made up for this test" in seen
        assert "100× (98.0 – 102)" in seen

    play(model, steps, size=(120, 40))


def test_what_if_search(model: RecordedModel) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "5")
        pilot.app.screen.query_one("#gpu-search", Input).focus()
        await press(pilot, *"h100", "enter")
        gpus = pilot.app.screen.query_one("#gpus", OptionList)
        assert [option.id for option in gpus.options] == ["H100-SXM5"]
        await press(pilot, "enter")
        assert model.asked[-1] == ("predict", "H100-SXM5")

    play(model, steps)


def test_a_large_speedup_is_its_ratio_alone() -> None:
    """The other two forms would say 100.0 % less time and +9,900 % throughput."""
    console = Console(width=100, file=io.StringIO())
    console.print(speedup_table([machines.assessment().speedups[0]]))
    assert "%" not in console.file.getvalue().replace("throughput", "")  # type: ignore[attr-defined]
