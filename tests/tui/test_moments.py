"""What lasts only for a while, or is opened by a key, as plain text like the screens."""

import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
from textual.pilot import Pilot

from envdoctor.api import Gpu
from envdoctor.calibration.progress import Sample
from envdoctor.events import ProbeEvent
from envdoctor.tui.ascii import to_ascii
from envdoctor.tui.contract import CalibrationStarted, Predicted, ProbeChanged, ReportReady
from envdoctor.tui.words import SPINNER
from tests.tui import machines
from tests.tui.recorded import RecordedModel
from tests.tui.screen_text import SIZES, check_golden, play, press, screen_text, settled
from tests.tui.test_calibration import progress
from tests.tui.test_targets import rows

Moment = Callable[[Pilot[int], RecordedModel], Awaitable[None]]


async def looking(pilot: Pilot[int], model: RecordedModel) -> None:
    """Half of the facts are there; one probe saw nothing, one still looks."""
    for event in (
        ProbeEvent(probe="nvml", state="unknown", detail="no answer within 20 s", seconds=20.0),
        ProbeEvent(probe="driver", state="finished", seconds=0.5),
    ):
        model.tell(ProbeChanged(event=event))
    model.tell(ReportReady(report=machines.read("healthy_cpu"), final=False))
    await settled(pilot)


async def measuring(pilot: Pilot[int], model: RecordedModel) -> None:
    """Rates settle; the GPU warms up."""
    model.tell(CalibrationStarted())
    for number in range(40):
        rate = 2000.0 * (1 - 0.6**number)
        gpu = Gpu(
            index=0,
            name="by hand",
            sm_clock_mhz=1410 - 5 * number,
            power_w=60.0 + 8 * number,
            temperature_c=40 + number // 2,
        )
        model.tell(
            progress(rate or None, seconds=number / 4, gpus=(Sample(at=number / 4, gpu=gpu),))
        )
    await press(pilot, "4")


async def predicted(pilot: Pilot[int], model: RecordedModel) -> None:
    assessment = machines.assessment()
    rates = tuple(
        msgspec.structs.replace(
            assessment.expected[0],
            device="H100-SXM5",
            precision=precision,
            verdict="not-measured",
            images_per_s=machines.spread(rate, 0.15),
        )
        for precision, rate in (("fp32", 700.0), ("tf32", 1500.0), ("fp16", 3200.0))
    )
    speedups = tuple(
        msgspec.structs.replace(one, of="H100-SXM5 fp16", kind="predicted")
        for one in assessment.speedups
    )
    epochs = tuple(
        msgspec.structs.replace(one, device="H100-SXM5", kind="predicted")
        for one in assessment.epochs
    )
    model.predicted = Predicted(
        gpu="H100-SXM5",
        assessment=msgspec.structs.replace(
            assessment, expected=rates, speedups=speedups, epochs=epochs
        ),
    )
    await press(pilot, "5", "down", "enter")


async def side_by_side(pilot: Pilot[int], model: RecordedModel) -> None:
    for target in rows("broken_driver", "healthy_cpu", "two_gpus"):
        model.tell(target)
    await press(pilot, "6", "down", "down")


async def helped(pilot: Pilot[int], _: RecordedModel) -> None:
    await press(pilot, "question_mark")


async def saving(pilot: Pilot[int], _: RecordedModel) -> None:
    Path("report.json").touch()
    await press(pilot, "s", "tab", *"report.json", "enter")


async def choosing(pilot: Pilot[int], _: RecordedModel) -> None:
    await press(pilot, "t")


async def filtering(pilot: Pilot[int], _: RecordedModel) -> None:
    await press(pilot, "slash", *"cuda")


async def in_ascii(pilot: Pilot[int], _: RecordedModel) -> None:
    await press(pilot, "2")


MOMENTS: dict[str, tuple[Moment, str | None]] = {
    "looking": (looking, None),
    "measuring": (measuring, "two_gpus"),
    "what-if": (predicted, "two_gpus"),
    "targets": (side_by_side, "broken_driver"),
    "help": (helped, "broken_driver"),
    "save": (saving, "broken_driver"),
    "target": (choosing, "broken_driver"),
    "filter": (filtering, "broken_driver"),
    "ascii": (in_ascii, "broken_driver"),
}


def still(seen: str) -> str:
    """The screen with its spinners and running seconds stopped."""
    stopped = re.sub(f"[{SPINNER}]", SPINNER[0], seen)
    return re.sub(rf"({SPINNER[0]} [^\n]*?)\d+(?:\.\d)? s", r"\g<1>0 s", stopped)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", MOMENTS)
def test_moments(
    name: str, size: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_goldens: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    moment, machine = MOMENTS[name]
    model = RecordedModel(machines.read(machine) if machine else None)
    seen = []

    async def steps(pilot: Pilot[int]) -> None:
        await moment(pilot, model)
        seen.append(still(screen_text(pilot.app)))

    play(model, steps, SIZES[size])
    shown = to_ascii(seen[0]) if name == "ascii" else seen[0]
    check_golden(f"moment-{name}-{size}", shown, write=write_goldens)
