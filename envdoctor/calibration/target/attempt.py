"""Makes one measurement, and turns what goes wrong into a statement."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable
from typing import Any

from .channel import Channel
from .devices import Device
from .kernels import with_kernels
from .measure import Variant, measure
from .training import training_step


def attempt(channel: Channel, device: Device, what: str, action: Callable[[], Any]) -> Any:
    """What `action` returns; None if it failed, which is then told with its reason.

    Nothing is attempted on a device that was lost before.
    """
    if device.lost:
        return None
    try:
        return action()
    except Exception as error:
        channel.left_out(device.name, what, reason_of(error), failed=True)
        return None
    finally:
        gc.collect()
        _settle(channel, device)


def _settle(channel: Channel, device: Device) -> None:
    """Give cached memory back. A device that cannot even be waited for is lost, told once: after
    an illegal access every call to it fails for as long as the process lives."""
    if device.lost:
        return
    try:
        device.synchronize()
    except Exception as error:
        device.lost = True
        channel.left_out(device.name, "everything after this", reason_of(error), failed=True)
    # The cache is that of all GPUs, and a lost one must not take the others with it.
    with contextlib.suppress(Exception):
        device.tidy()


def run_variant(channel: Channel, variant: Variant, budget_s: float) -> Any:
    """Build and time one variant; None if that failed."""

    def build_and_time() -> Any:
        step = training_step(
            variant.device,
            variant.precision,
            variant.batch_size,
            memory_format=variant.memory_format,
            compiled=variant.compiled,
            workload=variant.workload,
        )
        chosen, warm = with_kernels(channel, variant, step, budget_s)
        if variant.compiled:
            channel.progress(
                device=variant.device.name,
                precision=variant.precision.name,
                phase="warm-up",
                message="compiling the network, which can take minutes",
            )
            # It is no part of the budget.
            warm.append(variant.device.time(step, 1))
        return measure(chosen, step, budget_s=budget_s, channel=channel, warm=warm)

    return attempt(channel, variant.device, variant.what, build_and_time)


def reason_of(error: BaseException) -> str:
    """One line on what went wrong; running out of memory is said in the same words everywhere."""
    text = str(error).strip() or type(error).__name__
    if isinstance(error, MemoryError) or "out of memory" in text or "can't allocate" in text:
        return "out of memory: " + text.splitlines()[0]
    return f"{type(error).__name__}: {text.splitlines()[0]}"
