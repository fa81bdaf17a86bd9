"""One training step of ResNet-50: the thing that is timed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from .devices import Device, Precision
from .resnet50 import ResNet50

CLASSES = 1000
IMAGE_SIZE = 224
CHANNELS_LAST = "channels_last"
CONTIGUOUS = "contiguous"


def training_step(
    device: Device,
    precision: Precision,
    batch_size: int,
    *,
    memory_format: str = CHANNELS_LAST,
    compiled: bool = False,
) -> Callable[[], None]:
    """A function that does one step: forward, backward, SGD with momentum.

    The batch is synthetic and lies on the device. Nothing in a step waits for the device.
    """
    torch.manual_seed(0)
    device.set_precision(precision)
    layout = torch.channels_last if memory_format == CHANNELS_LAST else torch.contiguous_format
    model: Any = ResNet50(CLASSES).to(device.torch)
    model = model.to(memory_format=layout).train()
    images = torch.randn(batch_size, 3, IMAGE_SIZE, IMAGE_SIZE, device=device.torch)
    images = images.contiguous(memory_format=layout)
    labels = torch.randint(0, CLASSES, (batch_size,), device=device.torch)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    scaler = _scaler(device) if precision.scaled else None
    forward = compile_afresh(model) if compiled else model
    loss_of = nn.CrossEntropyLoss()

    def step() -> None:
        with _autocast(device, precision):
            loss = loss_of(forward(images), labels)
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


def _autocast(device: Device, precision: Precision) -> Any:
    if precision.autocast is None:
        return contextlib.nullcontext()
    return torch.autocast(device.torch.type, dtype=getattr(torch, precision.autocast))


def _scaler(device: Device) -> Any:
    """The GradScaler, which moved from torch.cuda.amp to torch.amp in 2.3."""
    moved = getattr(torch.amp, "GradScaler", None)
    return moved(device.torch.type) if moved is not None else torch.cuda.amp.GradScaler()
