"""Measures every wanted device in every wanted precision."""

from __future__ import annotations

import os
import platform
import time
from functools import partial
from typing import Any

import torch

from .attempt import attempt
from .ceilings import measure_ceilings
from .channel import Channel
from .contention import leave_no_room, look, usable_cpus
from .cpu import measure_cpu
from .cpu_character import character
from .devices import Device, Precision, all_devices
from .gpu import measure_gpu
from .machine import threads_for
from .peers import measure_all_reduce
from .pipeline import measure_pipeline
from .plan import CpuBudget, cpu_budget, tell_plan
from .stats import median
from .workloads import RESNET50, WORKLOADS

QUIET_WAIT_S = 3.0
QUIET_WAIT_SHARE = 0.1
"""How long others are waited for: so much of the budget at most."""

USUAL = ("bf16", "fp16", "tf32", "fp32")
"""The first of these that a GPU offers is what one trains in."""

NOISE_S = 0.3
FEWEST_NOISE_SAMPLES = 12


def run(channel: Channel, settings: dict[str, Any]) -> None:
    """Measure, and tell what was left out and why."""
    default_threads = torch.get_num_threads()
    threads = threads_for(settings.get("usable_cpus"))
    torch.set_num_threads(threads)
    conditions = _conditions(threads, default_threads)
    channel.send("conditions", **conditions)
    devices = _wanted(channel, settings)
    precisions = {device.name: _offered(channel, device, settings) for device in devices}
    alike = set() if settings.get("precisions") else _alike(devices)
    budget = cpu_budget(channel, settings)
    planned = {
        name: _usual(all_of) if name in alike else all_of for name, all_of in precisions.items()
    }
    tell_plan(channel, devices, planned, budget, settings, alike)
    measured: dict[str, str] = {}
    for device in devices:
        first = measured.get(device.model) if device.name in alike else None
        if first is not None:
            precisions[device.name] = _only_usual(channel, device, first, precisions[device.name])
        measure = partial(
            _measure,
            channel,
            device,
            precisions[device.name],
            settings,
            budget,
            compare=first is None,
        )
        if attempt(channel, device, "all precisions", measure):
            measured.setdefault(device.model, device.name)
        if device.kind == "cpu":
            # A machine that was quiet before the runs need not have been so until their end.
            noise = max(conditions["noise_pct"], noise_pct())
            channel.send("conditions", noise_pct=noise)
    if settings.get("ceilings"):
        measure_ceilings(channel, devices, precisions, budget.ceilings)
    cpu = Device("cpu")
    if settings.get("all_reduce"):
        reduce = partial(measure_all_reduce, channel, "gloo", ["cpu", "cpu"])
        attempt(channel, cpu, "gloo all-reduce", reduce)
    if settings.get("pipeline"):
        feed = partial(measure_pipeline, channel, settings, budget.pipeline)
        attempt(channel, cpu, "input pipeline", feed)


def _measure(
    channel: Channel,
    device: Device,
    precisions: list[Precision],
    settings: dict[str, Any],
    budget: CpuBudget,
    *,
    compare: bool,
) -> bool:
    """Whether a GPU gave a figure."""
    workload = WORKLOADS[settings.get("model") or RESNET50.model]
    if device.kind != "cpu":
        return measure_gpu(channel, device, precisions, settings, workload, compare=compare)
    until = time.monotonic() + budget.training
    _make_room(channel, device, settings, budget)
    channel.send("conditions", **character(device))
    measure_cpu(channel, device, precisions, settings, workload, until)
    return False


def _make_room(
    channel: Channel, device: Device, settings: dict[str, Any], budget: CpuBudget
) -> None:
    """Wait shortly for a machine that others use; then compute on what they leave.

    Threads that wait for each other at every operation, and one of them for a CPU, are slower than
    one thread by an order of magnitude.
    """
    threads = device.threads()
    device.is_throttled = threads > (settings.get("usable_cpus") or threads)
    until = time.monotonic() + min(QUIET_WAIT_S, QUIET_WAIT_SHARE * budget.total)
    while leave_no_room(others := look(), threads) and time.monotonic() < until:
        channel.progress(
            device=device.name,
            phase="warm-up",
            message=f"waiting: other programs use {others:.1f} of {usable_cpus()} CPUs",
        )
    if others is None or not leave_no_room(others, threads):
        return
    device.is_crowded = True
    threads = max(1, min(threads, round(usable_cpus() - others)))
    torch.set_num_threads(threads)
    channel.send("conditions", threads=threads, others_cpus=others)


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
    until = time.monotonic() + NOISE_S
    seconds: list[float] = []
    while len(seconds) < FEWEST_NOISE_SAMPLES or time.monotonic() < until:
        seconds.append(device.time(lambda: torch.mm(matrix, matrix), 4))
    seconds = sorted(seconds)[len(seconds) // 12 :]
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


def _alike(devices: list[Device]) -> set[str]:
    """The GPUs of a model that another of these has that comes before."""
    models = [device.model for device in devices]
    return {one.name for i, one in enumerate(devices) if one.model in models[:i]}


def _usual(offered: list[Precision]) -> list[Precision]:
    return [one for kind in USUAL for one in offered if one.name == kind][:1]


def _only_usual(
    channel: Channel, device: Device, first: str, offered: list[Precision]
) -> list[Precision]:
    """The precision in which one trains: of GPUs that are alike it shows which is slower."""
    usual = _usual(offered)
    rest = ", ".join(one.name for one in offered if one not in usual)
    if rest:
        reason = f"the same GPU as {first}, which is measured in them (--precision measures all)"
        channel.left_out(device.name, rest, reason, failed=False)
    return usual


def _called(device: Device, name: str) -> bool:
    return name in (device.name, device.kind, "gpu" if device.kind != "cpu" else "cpu")


def _asked_for(device: Device, precision: Precision, wanted: list[str]) -> bool:
    """Whether a CPU is to compute in a precision that it has no instructions for, but can."""
    return device.kind == "cpu" and precision.name in wanted


def _offered(channel: Channel, device: Device, settings: dict[str, Any]) -> list[Precision]:
    wanted = settings.get("precisions") or []
    offered: list[Precision] = []
    known = device.precisions()
    for precision, problem in known:
        if wanted and precision.name not in wanted:
            continue
        if problem and not _asked_for(device, precision, wanted):
            channel.left_out(device.name, precision.name, problem, failed=False)
        else:
            offered.append(precision)
    for name in wanted:
        if name not in {precision.name for precision, _ in known}:
            channel.left_out(device.name, name, f"{device.name} has no {name}", failed=False)
    return offered
