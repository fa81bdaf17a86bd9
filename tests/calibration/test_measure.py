"""When warm-up and timing of a run end, with steps that take what a script says."""

from types import SimpleNamespace
from typing import Any

import pytest

from envdoctor.calibration.target import measure as measuring
from envdoctor.calibration.target.devices import FP32, CudaDevice, Device
from envdoctor.calibration.target.measure import Variant, measure
from tests.calibration.conftest import Told

BUDGET_S = 20.0


def test_the_slow_steps_of_a_cpus_first_seconds_are_not_in_the_figure(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slow ones that are within 10 % of the later ones, so that three in a row look steady."""
    clock = Clock(monkeypatch, slow_until_s=5.0, slow_s=0.54, fast_s=0.50)
    run = clock.measure(Device("cpu"), told, BUDGET_S)
    assert run["window"][0] >= 5.0
    assert run["ms_per_step"] == pytest.approx(500)
    assert run["window"][1] - run["window"][0] >= BUDGET_S / 2
    assert clock.now_s <= BUDGET_S


@pytest.mark.parametrize("budget_s", [0.0, -1.0])
def test_a_budget_that_is_spent_still_gives_two_samples(
    told: Told, monkeypatch: pytest.MonkeyPatch, budget_s: float
) -> None:
    """As where the precisions before have taken the time of this one."""
    clock = Clock(monkeypatch, slow_until_s=0.0, slow_s=0.5, fast_s=0.5)
    run = clock.measure(Device("cpu"), told, budget_s)
    assert (run["warmup_steps"], run["steps"]) == (2, 2)


def test_a_short_budget_of_a_cpu_is_not_ended_before_two_seconds(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch, slow_until_s=0.0, slow_s=0.1, fast_s=0.1)
    run = clock.measure(Device("cpu"), told, 3.0)
    assert run["stable"] is True
    assert run["window"][1] - run["window"][0] == pytest.approx(2.0, abs=0.2)


def test_a_figure_of_a_gpu_that_is_stable_at_once_takes_two_seconds(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch, slow_until_s=0.0, slow_s=0.1, fast_s=0.1)

    class Gpu(Device):
        kind = CudaDevice.kind

    run = clock.measure(Gpu("cpu"), told, BUDGET_S)
    assert run["stable"] is True
    assert run["window"][1] - run["window"][0] == pytest.approx(2.0, abs=0.2)


class Clock:
    """A clock that only steps move."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        *,
        slow_until_s: float,
        slow_s: float,
        fast_s: float,
    ) -> None:
        self.now_s = 0.0
        self.slow_until_s, self.slow_s, self.fast_s = slow_until_s, slow_s, fast_s
        clock = SimpleNamespace(monotonic=lambda: self.now_s, perf_counter=lambda: self.now_s)
        monkeypatch.setattr(measuring, "time", clock)
        monkeypatch.setattr("envdoctor.calibration.target.devices.time", clock)

    def step(self) -> None:
        """A step that takes its time."""
        self.now_s += self.slow_s if self.now_s < self.slow_until_s else self.fast_s

    def measure(self, device: Device, told: Told, budget_s: float) -> dict[str, Any]:
        variant = Variant(device, FP32, 4)
        return measure(variant, self.step, budget_s=budget_s, channel=told.channel)
