"""What kind of a CPU torch has here: its kernels, and what its threads and its numbers cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from .devices import Device
from .machine import clock_mhz, cpu_flags

_SIZE = 768
"""A product of about ten milliseconds of one thread, whose matrices fit into a core's cache."""

_ROUNDS = 5
_NUMBERS = 1 << 16
_TINY = 1e-39
"""Below the smallest normal float, 1.18e-38."""

FEATURES = ("avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16", "bf16")
"""Of /proc/cpuinfo, those that decide how fast dense arithmetic is."""


def character(device: Device) -> dict[str, Any]:
    """These figures as conditions of a calibration; a third of a second."""
    return {
        "onednn": has_onednn(),
        "cpu_features": [one for one in FEATURES if one in cpu_flags()],
        "cpu_clock_mhz": clock_mhz(),
        "thread_gain": thread_gain(device),
        "denormal_cost": denormal_cost(device),
    }


def has_onednn() -> bool | None:
    """Whether torch computes convolutions with oneDNN; None where it does not say."""
    backend = getattr(torch.backends, "mkldnn", None)
    if backend is None:
        return None
    return bool(backend.is_available() and getattr(backend, "enabled", True))


def thread_gain(device: Device) -> float | None:
    """How many times as fast a product is on all threads as on one; None with one thread.

    The two are timed in turn, and the best of each counts: what others do in between then slows
    down neither.
    """
    threads = device.threads()
    if threads < 2:
        return None
    left, right = torch.randn(_SIZE, _SIZE), torch.randn(_SIZE, _SIZE)
    out = torch.empty_like(left)

    def on(count: int) -> float:
        torch.set_num_threads(count)
        return device.time(lambda: torch.mm(left, right, out=out), 1)

    try:
        pairs = [(on(1), on(threads)) for _ in range(_ROUNDS)]
    finally:
        torch.set_num_threads(threads)
    return min(one for one, _ in pairs) / min(all_of_them for _, all_of_them in pairs)


def denormal_cost(device: Device) -> float:
    """How many times as long arithmetic on denormal numbers takes as that on others."""
    usual = torch.rand(_NUMBERS) + 1.0
    tiny = usual * _TINY
    out = torch.empty_like(usual)
    return _best(device, lambda: torch.mul(tiny, 0.5, out=out)) / _best(
        device, lambda: torch.mul(usual, 0.5, out=out)
    )


def _best(device: Device, step: Callable[[], Any]) -> float:
    return min(device.time(step, 4) for _ in range(_ROUNDS))
