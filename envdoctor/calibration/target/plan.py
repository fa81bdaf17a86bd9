"""How long each part of the measurement may take, told before it begins."""

from __future__ import annotations

import time
from collections.abc import Container
from typing import Any, NamedTuple

from .channel import Channel
from .devices import FP32, Device, Precision
from .gpu import BUDGET_S as GPU_BUDGET_S
from .gpu import COMPARISON_BUDGET_S
from .kernels import SEARCH_LOADS_S, may_take_s
from .workloads import RESNET50, WORKLOADS

CPU_BUDGET_S = 28.0
"""For training steps, limits and input pipeline on the CPU; with a first import of torch and the
rest of the doctor a whole run then takes less than 40 s."""

TRAINING, CEILINGS, PIPELINE = 0.7, 0.15, 0.15
"""The shares of it."""

FP32_SHARE = 2.0
"""An fp32 step takes about twice as long as a bf16 step where the CPU has bfloat16."""

IMPORT_S = 1.5
"""What the import of torch may take without costing the budget; a slower one shortens it."""

LEAST_SHARE = 0.6
OVERRUN_S, LEAST_S = 0.7, 4.9
"""What the last step may take too long before the worker is ended from outside, and what a
measurement may take at least, whatever its budget: some samples of everything."""

_GPU_MEMORY_S = 3.0
_GPU_COMPARISONS = 3
"""The probe of the memory of each precision; runs in the other format and with a smaller batch."""

_TIMED_SHARE, _SEARCH_S = 0.3, 15.0
"""What a run takes of its budget until the figure is stable (2 to 3 s of 10), and what a search for
kernels takes (14 to 18 s), on an H100 (benchmarks/results/gpu_h100.json)."""


class CpuBudget(NamedTuple):
    """Seconds for the parts that the CPU is measured in."""

    training: float
    ceilings: float
    pipeline: float

    @property
    def total(self) -> float:
        return sum(self)


def cpu_budget(channel: Channel, settings: dict[str, Any]) -> CpuBudget:
    """The parts of the budget; a part that is not wanted leaves its time to the others."""
    given = settings.get("budget_s") or CPU_BUDGET_S
    spent = time.monotonic() - channel.began
    total = min(given, max(LEAST_SHARE * given, given + IMPORT_S - spent))
    ceilings = CEILINGS if settings.get("ceilings") else 0.0
    pipeline = PIPELINE if settings.get("pipeline") else 0.0
    whole = TRAINING + ceilings + pipeline
    return CpuBudget(*(total * share / whole for share in (TRAINING, ceilings, pipeline)))


def precision_shares(precisions: list[Precision]) -> list[float]:
    """How the time for training is shared by the precisions of a CPU."""
    weights = [FP32_SHARE if one.autocast is None else 1.0 for one in precisions]
    return [weight / sum(weights) for weight in weights]


def tell_plan(
    channel: Channel,
    devices: list[Device],
    precisions: dict[str, list[Precision]],
    budget: CpuBudget,
    settings: dict[str, Any],
    alike: Container[str] = (),
) -> None:
    """Say what is measured and for how long. Where only the CPU is, within known times, the doctor
    ends what takes longer: one step on a machine that others use may take as long as the plan."""
    parts: list[tuple[str, float]] = []
    for device in devices:
        compare = device.name not in alike
        parts += _parts_of(device, precisions[device.name], budget, settings, compare=compare)
    parts += [("limits", budget.ceilings), ("input pipeline", budget.pipeline)]
    parts = [(what, seconds) for what, seconds in parts if seconds]
    total = sum(seconds for _, seconds in parts)
    open_ended = any(settings.get(one) for one in ("compile", "all_reduce", "data", "batch_size"))
    is_bounded = not open_ended and all(device.kind == "cpu" for device in devices)
    limit = max(budget.total, LEAST_S) + OVERRUN_S if is_bounded else None
    message = ", ".join(f"{what} {seconds:.0f} s" for what, seconds in parts)
    channel.send("plan", seconds=total, limit_s=limit, message=f"{message}; {total:.0f} s in all")


def _parts_of(
    device: Device,
    precisions: list[Precision],
    budget: CpuBudget,
    settings: dict[str, Any],
    *,
    compare: bool,
) -> list[tuple[str, float]]:
    if device.kind == "cpu":
        shares = precision_shares(precisions)
        return [
            (f"cpu {precision.name}", budget.training * shares[i])
            for i, precision in enumerate(precisions)
        ]
    each = settings.get("budget_s") or GPU_BUDGET_S
    comparisons = _GPU_COMPARISONS if compare and precisions else 0
    timed = len(precisions) * each + comparisons * min(COMPARISON_BUDGET_S, each)
    seconds = len(precisions) * _GPU_MEMORY_S + _TIMED_SHARE * timed
    workload = WORKLOADS[settings.get("model") or RESNET50.model]
    searches = device.may_search and workload.length(device) is None
    if searches and may_take_s(each) > SEARCH_LOADS_S:
        # In fp32 the steps are so slow that there is no time for it, in either format.
        others = sum(one != FP32 for one in precisions)
        runs = others + (comparisons - 1 if others and comparisons else 0)
        seconds += runs * min(_SEARCH_S, may_take_s(each))
    return [(device.name, seconds)]
