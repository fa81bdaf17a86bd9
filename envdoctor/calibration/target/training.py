"""One training step: the thing that is timed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from .devices import Device, Precision
from .workloads import RESNET50, Workload


def training_step(
    device: Device,
    precision: Precision,
    batch_size: int,
    *,
    memory_format: str | None,
    compiled: bool = False,
    workload: Workload = RESNET50,
) -> Callable[[], None]:
    """A function that does one step: forward, backward, and the optimizer's.

    The batch is synthetic and lies on the device. Nothing in a step waits for the device.
    """
    torch.manual_seed(0)
    device.set_precision(precision)
    network, inputs, labels, optimizer = workload.parts(device, batch_size, memory_format)
    network = network.train()
    labels = labels.flatten()
    scaler = _scaler(device) if precision.scaled else None
    forward = compile_afresh(network) if compiled else network
    loss_of = nn.CrossEntropyLoss()

    def step() -> None:
        with autocast(device, precision):
            loss = loss_of(forward(inputs).flatten(0, -2), labels)
        # Not before the forward pass: the order of PyTorch's ImageNet example, and on a CPU it
        # spares the allocator tens of thousands of page faults a step.
        optimizer.zero_grad(set_to_none=True)
        if scaler is None:
            loss.backward()
            optimizer.step()
            return
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

    return step


def compile_afresh(model: Any) -> Any:
    """The compiled model. Nothing is left of what was compiled before: it would count towards
    the limit of recompilations, and make sizes dynamic that here never change."""
    import torch._dynamo

    torch._dynamo.reset()
    return torch.compile(model, dynamic=False)


def autocast(device: Device, precision: Precision) -> Any:
    """A context in which is computed in that precision."""
    if precision.autocast is None:
        return contextlib.nullcontext()
    return torch.autocast(device.torch.type, dtype=getattr(torch, precision.autocast))


def _scaler(device: Device) -> Any:
    """The GradScaler, which moved from torch.cuda.amp to torch.amp in 2.3."""
    moved = getattr(torch.amp, "GradScaler", None)
    return moved(device.torch.type) if moved is not None else torch.cuda.amp.GradScaler()
