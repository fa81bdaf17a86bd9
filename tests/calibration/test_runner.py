"""What the runner makes of the worker's words, written by hand (synthetic)."""

import json
from typing import Any

import msgspec
import pytest

from envdoctor.calibration.runner import SEARCHING_LIMIT_S, SILENCE_LIMIT_S, _Ended, _Heard
from envdoctor.facts.calibration import Settings
from tests.calibration.synthetic import make_run
from tests.calibration.test_telemetry import line, samples

UUID = "GPU-5f2d7c1e-0000-0000-0000-000000000000"


@pytest.fixture
def heard() -> _Heard:
    return _Heard(on_progress=lambda progress: None)


def say(heard: _Heard, event: str, data: dict[str, Any]) -> None:
    heard.take_line(json.dumps({"event": event, "data": data}).encode())


def test_a_rocm_build_may_be_silent_for_longer(heard: _Heard) -> None:
    say(heard, "conditions", {"hip": None})
    assert heard.patience_s == SILENCE_LIMIT_S
    say(heard, "conditions", {"hip": "6.2.41133"})
    assert heard.patience_s == SEARCHING_LIMIT_S


def test_a_limit_that_was_asked_for_holds_everywhere() -> None:
    heard = _Heard(on_progress=lambda progress: None, silence_limit_s=2.0, compiling=True)
    assert heard.patience_s == 2.0


@pytest.mark.parametrize(
    ("names", "clock"),
    [
        ({"bus_id": "00000000:08:00.0", "uuid": None}, 900),
        ({"bus_id": None, "uuid": UUID}, 900),
        ({"bus_id": None, "uuid": "GPU-of-another-machine"}, None),
        ({"bus_id": None, "uuid": None}, None),
    ],
)
def test_a_run_finds_its_gpu_by_address_or_uuid(
    heard: _Heard, names: dict[str, str | None], clock: int | None
) -> None:
    taken = samples(line(1.0), line(1.0, index=1, sm_clock_mhz=900, uuid=UUID))
    say(heard, "run", {**msgspec.to_builtins(make_run(1.0)), "window": [0.0, 2.0], **names})
    (run,) = heard.calibration(Settings(), _Ended(), 1.0, taken).runs
    found = run.telemetry.sm_clock_mhz if run.telemetry else None
    assert (found.median if found else None) == clock
