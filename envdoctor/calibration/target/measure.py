"""Times training steps: warm-up until they are steady, then repeats until the figure is stable."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from .channel import Channel
from .contention import BUSY_CPUS, QUIET_SHARE, moment, others_cpus, waited_share
from .devices import Device, Precision
from .stats import is_stable, is_steady, median, rate_spread
from .workloads import CHANNELS_LAST, RESNET50, Workload

MIN_TIMED_S = 2.0
"""A figure that looks stable sooner has not yet seen the clocks that the load brings about."""

WINDOW_S = 0.1
"""On a device that works behind our back several steps are timed together, at least so long, so
that waiting for the last of them costs nothing that can be seen."""

HOST_SAMPLES = 5
MIN_TIMED_SAMPLES = 2
MAX_WARMUP_SHARE = 0.4
TIMED_SHARE = 0.5
FEWEST_QUIET = 5
"""Samples in which nobody else wanted the CPUs that make a figure of their own."""

CPU_WARMUP_SHARE = 0.25
"""At least so much of a CPU's budget is warm-up. The steps of the first seconds can be within 10 %
of each other and still a few per cent slower than all that follow: docs/calibration.md."""


class Variant(NamedTuple):
    """What distinguishes one run from the others."""

    device: Device
    precision: Precision
    batch_size: int
    memory_format: str | None = CHANNELS_LAST
    compiled: bool = False
    workload: Workload = RESNET50
    searched: bool | None = None
    """Whether cuDNN searches for its fastest kernels; null where nobody has decided."""

    @property
    def what(self) -> str:
        """What is run on the device, in words."""
        length = self.workload.length(self.device)
        shape = self.memory_format or f"of {length} tokens"
        extra = ", compiled" if self.compiled else ""
        return f"{self.precision.name} batch {self.batch_size} {shape}{extra}"

    @property
    def amount(self) -> int:
        """How many images or tokens a step is."""
        return self.workload.amount(self.device, self.batch_size)

    @property
    def label(self) -> str:
        """The variant in words."""
        return f"{self.device.name} {self.what}"


def plain(workload: Workload, device: Device, precision: Precision, batch_size: int) -> Variant:
    """The usual run of a network, not compiled."""
    return Variant(device, precision, batch_size, workload.formats[0], workload=workload)


def measure(
    variant: Variant,
    step: Callable[[], Any],
    *,
    budget_s: float,
    channel: Channel,
    warm: Sequence[float] = (),
) -> dict[str, Any]:
    """Time `step` within the budget, tell every sample, and return the run.

    `warm` are the seconds of steps that were done before. However long the warm-up takes, half of
    the budget and at least two samples are left for the timed steps; a slow machine exceeds the
    budget by that. A CPU, which is shared with other programs, is timed for half of the budget
    even if the figure looks stable sooner.

    The figure of a CPU is that of the steps in which nobody else wanted it. Where there are too few
    of them it is that of all, and `at_least` says that the machine by itself does no less.
    """
    clock = _Clock(variant, budget_s, channel)
    warm = _warm_up(clock, step, warm)
    variant.device.reset_peak()
    together = _steps_together(variant.device, warm)
    host_s = _host_seconds(variant, step)
    timed_from = clock.spent_s()
    until = max(budget_s, timed_from + TIMED_SHARE * budget_s)
    samples = _Samples(variant.device, together)
    while True:
        samples.add(step)
        run = _run(variant, samples, warm)
        run["host_share"] = None if host_s is None else host_s / median(samples.seconds)
        run["window"] = [clock.began + timed_from, time.monotonic()]
        channel.send("run", **run)
        clock.tell("timing", samples.steps, variant.amount / median(samples.seconds))
        enough = run["stable"] and clock.spent_s() - timed_from >= _at_least_s(clock)
        late = clock.spent_s() + median(samples.seconds) * together > until
        if enough or (late and len(samples.seconds) >= MIN_TIMED_SAMPLES):
            return run


def first_bound(variant: Variant, warm: Sequence[float]) -> dict[str, Any]:
    """The run that the first steps of a process stand for, where no other is made: the machine does
    at least that."""
    samples = _Samples(variant.device, 1)
    samples.seconds = list(warm)
    now = time.monotonic()
    bound = {"at_least": True, "stable": False, "host_share": None, "window": [now, now]}
    return {**_run(variant, samples, warm), "warmup_steps": 0, **bound}


class _Samples:
    """The seconds of timed steps; on a CPU with what its threads waited for others meanwhile."""

    def __init__(self, device: Device, together: int) -> None:
        self.device = device
        self.together = together
        self.seconds: list[float] = []
        self.waited: list[float] = []
        self.began = moment()

    @property
    def steps(self) -> int:
        return len(self.seconds) * self.together

    def add(self, step: Callable[[], Any]) -> None:
        """Time so many steps together."""
        before = moment()
        seconds = self.device.time(step, self.together)
        share = waited_share(before, moment(), seconds * self.together, self.device.threads())
        self.seconds.append(seconds)
        if self.device.kind == "cpu" and not self.device.is_throttled and share is not None:
            self.waited.append(share)

    @property
    def quiet(self) -> list[float]:
        """The seconds of those in which nobody else wanted the CPUs; all where nothing is known."""
        if len(self.waited) < len(self.seconds):
            return self.seconds
        return [seconds for i, seconds in enumerate(self.seconds) if self.waited[i] <= QUIET_SHARE]

    def figures(self) -> dict[str, Any]:
        """What these samples say of the others."""
        waited = median(self.waited) if self.waited else None
        others = others_cpus(self.began, moment()) if self.waited else None
        # Who waits where nobody else used the CPUs is held back by a limit of its own.
        disturbed = (waited or 0.0) > QUIET_SHARE and (others is None or others > BUSY_CPUS)
        return {
            "at_least": self.device.is_crowded or (disturbed and len(self.quiet) < FEWEST_QUIET),
            "waited_share": waited,
            "others_cpus": others,
        }


class _Clock:
    """How much of the budget of a run is spent, and who is told of it."""

    def __init__(self, variant: Variant, budget_s: float, channel: Channel) -> None:
        self.variant = variant
        self.budget_s = budget_s
        self.channel = channel
        self.began = time.monotonic()

    @property
    def on_cpu(self) -> bool:
        return self.variant.device.kind == "cpu"

    def spent_s(self) -> float:
        return time.monotonic() - self.began

    def tell(self, phase: str, done: int, rate: float | None) -> None:
        self.channel.progress(
            device=self.variant.device.name,
            precision=self.variant.precision.name,
            phase=phase,
            step=done,
            rate=rate,
            unit=self.variant.workload.unit,
            seconds=self.spent_s(),
            budget_s=self.budget_s,
            message=self.variant.label,
        )


def _warm_up(clock: _Clock, step: Callable[[], Any], before: Sequence[float]) -> list[float]:
    """Run steps until they are steady; the seconds of all, those before included."""
    warm = list(before)
    while _is_cold(clock, warm):
        clock.tell("warm-up", len(warm), None)
        warm.append(clock.variant.device.time(step, 1))
        if clock.on_cpu:
            clock.channel.send("first", **first_bound(clock.variant, warm))
    return warm


def _is_cold(clock: _Clock, warm: Sequence[float]) -> bool:
    """Whether another step of warm-up is needed, and the budget allows it."""
    if clock.on_cpu and clock.spent_s() < CPU_WARMUP_SHARE * clock.budget_s:
        return True
    in_time = len(warm) < 2 or clock.spent_s() < MAX_WARMUP_SHARE * clock.budget_s
    return in_time and not is_steady(warm)


def _at_least_s(clock: _Clock) -> float:
    """How long steps are timed before a figure that looks stable is believed."""
    return max(MIN_TIMED_S, TIMED_SHARE * clock.budget_s) if clock.on_cpu else MIN_TIMED_S


def _host_seconds(variant: Variant, step: Callable[[], Any]) -> float | None:
    """How long the host needs to hand one step to a GPU; None where a step waits for the device.

    One step, beginning with nothing queued: after about a thousand kernels the driver makes the
    host wait for the device, and the time would be the device's.
    """
    if variant.device.kind != "cuda" or variant.precision.scaled:
        return None
    samples = []
    for _ in range(HOST_SAMPLES):
        variant.device.synchronize()
        started = time.perf_counter()
        step()
        samples.append(time.perf_counter() - started)
    return median(samples)


def _steps_together(device: Device, warm: Sequence[float]) -> int:
    if device.kind == "cpu":
        return 1
    return max(1, round(WINDOW_S / max(warm[-1], 1e-4)))


def _run(variant: Variant, timed: _Samples, warm: Sequence[float]) -> dict[str, Any]:
    workload, device = variant.workload, variant.device
    quiet = timed.quiet
    samples = quiet if len(quiet) >= FEWEST_QUIET else timed.seconds
    figures = timed.figures()
    seconds = median(samples)
    rate = rate_spread(samples, variant.amount)
    length = workload.length(device)
    return {
        "model": workload.model,
        "device": device.name,
        "device_name": device.model,
        "precision": variant.precision.name,
        "memory_format": variant.memory_format,
        "compiled": variant.compiled,
        "batch_size": variant.batch_size,
        "sequence_length": length,
        "steps": len(samples) * timed.together,
        "images_per_s": rate if length is None else None,
        "tokens_per_s": None if length is None else rate,
        "ms_per_step": seconds * 1000,
        "first_step_s": warm[0],
        "compile_s": max(0.0, warm[0] - seconds) if variant.compiled else None,
        "peak_memory_bytes": device.peak_bytes(),
        "tflops": variant.batch_size / seconds * workload.flop(device) / 1e12,
        "stable": is_stable(samples) and not figures["at_least"],
        **figures,
        "warmup_steps": len(warm),
        "note": "" if length else device.note(variant.memory_format),
        "bus_id": device.bus_id(),
        "uuid": device.uuid(),
        "cudnn_search": variant.searched,
    }
