"""Measures every wanted device in every wanted precision."""

from __future__ import annotations

import os
import platform
from functools import partial
from typing import Any

import torch

from .attempt import attempt
from .ceilings import measure_ceilings
from .channel import Channel
from .cpu import measure_cpu
from .devices import Device, Precision, all_devices
from .gpu import measure_gpu
from .machine import threads_for
from .peers import measure_all_reduce
from .pipeline import measure_pipeline
from .stats import median


def run(channel: Channel, settings: dict[str, Any]) -> None:
    """Measure, and tell what was left out and why."""
    default_threads = torch.get_num_threads()
    threads = threads_for(settings.get("usable_cpus"))
    torch.set_num_threads(threads)
    conditions = _conditions(threads, default_threads)
    channel.send("conditions", **conditions)
    devices = _wanted(channel, settings)
    precisions = {device.name: _offered(channel, device, settings) for device in devices}
    for device in devices:
        measure_all = measure_cpu if device.kind == "cpu" else measure_gpu
        measure = partial(measure_all, channel, device, precisions[device.name], settings)
        attempt(channel, device, "all precisions", measure)
        if device.kind == "cpu":
            # A machine that was quiet before the runs need not have been so until their end.
            noise = max(conditions["noise_pct"], noise_pct())
            channel.send("conditions", noise_pct=noise)
    if settings.get("ceilings"):
        measure_ceilings(channel, devices, precisions)
    cpu = Device("cpu")
    if settings.get("all_reduce"):
        reduce = partial(measure_all_reduce, channel, "gloo", ["cpu", "cpu"])
        attempt(channel, cpu, "gloo all-reduce", reduce)
    if settings.get("pipeline"):
        attempt(channel, cpu, "input pipeline", partial(measure_pipeline, channel, settings))


def _conditions(threads: int, default_threads: int) -> dict[str, Any]:
    return {
        "torch_version": str(torch.__version__),
        "python_version": platform.python_version(),
        "cuda": torch.version.cuda,
        "hip": torch.version.hip,
        "cpu_name": Device("cpu").model,
        "threads": threads,
        "default_threads": default_threads,
        "noise_pct": noise_pct(),
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def noise_pct() -> float:
    """How far a fixed small kernel spreads on this machine: the 10th to the 90th percentile."""
    matrix = torch.randn(384, 384)
    device = Device("cpu")
    seconds = sorted(device.time(lambda: torch.mm(matrix, matrix), 4) for _ in range(60))[5:]
    low, high = seconds[len(seconds) // 10], seconds[len(seconds) * 9 // 10]
    return 100 * (high - low) / median(seconds)


def _wanted(channel: Channel, settings: dict[str, Any]) -> list[Device]:
    devices = all_devices()
    names = settings.get("devices") or []
    for name in names:
        if not any(_called(device, name) for device in devices):
            found = ", ".join(device.name for device in devices)
            channel.left_out(
                name, "device", f"torch has no such device; it has {found}", failed=True
            )
    return [d for d in devices if not names or any(_called(d, name) for name in names)]


def _called(device: Device, name: str) -> bool:
    return name in (device.name, device.kind, "gpu" if device.kind != "cpu" else "cpu")


def _offered(channel: Channel, device: Device, settings: dict[str, Any]) -> list[Precision]:
    wanted = settings.get("precisions") or []
    offered: list[Precision] = []
    known = device.precisions()
    for precision, problem in known:
        if wanted and precision.name not in wanted:
            continue
        if problem:
            channel.left_out(device.name, precision.name, problem, failed=False)
        else:
            offered.append(precision)
    for name in wanted:
        if name not in {precision.name for precision, _ in known}:
            channel.left_out(device.name, name, f"{device.name} has no {name}", failed=False)
    return offered
