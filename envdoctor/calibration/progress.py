"""What a calibration tells while it runs."""

from collections.abc import Callable
from typing import Literal

from envdoctor.facts.calibration import Unit
from envdoctor.facts.machine import Gpu
from envdoctor.record import Record

Phase = Literal["starting", "warm-up", "timing", "ceilings", "pipeline"]


class Sample(Record):
    """One GPU at one moment of the monotonic clock."""

    at: float
    gpu: Gpu


class CalibrationProgress(Record):
    """What is being measured now.

    `rate` is the median so far, in `unit`; `seconds` of `budget_s` are spent on this device and
    precision; `message` is one line for a human; `gpus` is the last sample of every GPU, which
    may be that of the progress before. `plan` is told once: what is measured, and how long;
    `planned_s` with it, the whole in seconds.
    """

    device: str = ""
    precision: str = ""
    phase: Phase
    step: int = 0
    rate: float | None = None
    unit: Unit = "images/s"
    seconds: float = 0.0
    budget_s: float = 0.0
    message: str = ""
    plan: str = ""
    planned_s: float = 0.0
    gpus: tuple[Sample, ...] = ()


OnProgress = Callable[[CalibrationProgress], None]
