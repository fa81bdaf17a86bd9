"""The networks that can be trained: what a step of each is made of, and how its rate is counted."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .batch import IMAGES, SEQUENCES, Batches
from .devices import Device
from .gpt2 import MACS_PER_BLOCK, MACS_PER_TOKEN, TOKENS, Block, Gpt2, train_flop
from .gpt2 import WIDTH as GPT2_WIDTH
from .resnet50 import TRAIN_FLOP_PER_IMAGE, ResNet50

CLASSES = 1000
IMAGE_SIZE = 224
CHANNELS_LAST = "channels_last"
CONTIGUOUS = "contiguous"

CPU_LENGTH, GPU_LENGTH = 128, 1_024
"""Tokens of a sequence. A step of GPT-2 at its full length takes a CPU of two cores seven seconds,
so that a budget would hold too few."""


class Parts(NamedTuple):
    """What a step works with: a network, a batch that lies on the device, an optimizer."""

    network: Any
    inputs: Tensor
    labels: Tensor
    optimizer: torch.optim.Optimizer


class Workload:
    """One network in training. `tokens` of a sequence are counted where `length` is not null, else
    samples."""

    model: str
    unit: str
    batches: Batches
    formats: tuple[str | None, ...] = (None,)
    """The memory formats that it is run in, the usual one first."""

    def length(self, device: Device) -> int | None:
        """Tokens of a sequence; None where a sample is one thing."""
        return None

    def flop(self, device: Device) -> float:
        """Operations of training on one sample."""
        raise NotImplementedError

    def parts(self, device: Device, batch_size: int, memory_format: str | None) -> Parts:
        """Network, batch and optimizer."""
        raise NotImplementedError

    def part_of_a_step(self, device: Device) -> tuple[nn.Module, Tensor, float] | None:
        """A layer and its input, for one sample, and how many of its forward passes are a training
        step; None where whole steps of one sample take no longer than that."""
        return None

    def amount(self, device: Device, batch_size: int) -> int:
        """How many images or tokens a step is."""
        return batch_size * (self.length(device) or 1)


class Images(Workload):
    """ResNet-50 on synthetic images, with SGD."""

    model = "resnet50"
    unit = "images/s"
    batches = IMAGES
    formats = (CHANNELS_LAST, CONTIGUOUS)

    def flop(self, device: Device) -> float:
        return TRAIN_FLOP_PER_IMAGE

    def parts(self, device: Device, batch_size: int, memory_format: str | None) -> Parts:
        layout = torch.channels_last if memory_format == CHANNELS_LAST else torch.contiguous_format
        network: Any = ResNet50(CLASSES).to(device.torch)
        network = network.to(memory_format=layout)
        images = torch.randn(batch_size, 3, IMAGE_SIZE, IMAGE_SIZE, device=device.torch)
        return Parts(
            network=network,
            inputs=images.contiguous(memory_format=layout),
            labels=torch.randint(0, CLASSES, (batch_size,), device=device.torch),
            optimizer=torch.optim.SGD(
                network.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4
            ),
        )


class Sequences(Workload):
    """GPT-2 on synthetic tokens, with AdamW."""

    model = "gpt2"
    unit = "tokens/s"
    batches = SEQUENCES

    def length(self, device: Device) -> int:
        return CPU_LENGTH if device.kind == "cpu" else GPU_LENGTH

    def flop(self, device: Device) -> float:
        return train_flop(self.length(device))

    def parts(self, device: Device, batch_size: int, memory_format: str | None) -> Parts:
        network = Gpt2().to(device.torch)
        shape = batch_size, self.length(device)
        return Parts(
            network=network,
            inputs=torch.randint(0, TOKENS, shape, device=device.torch),
            labels=torch.randint(0, TOKENS, shape, device=device.torch),
            optimizer=adamw(network),
        )

    def part_of_a_step(self, device: Device) -> tuple[nn.Module, Tensor, float]:
        layer = Block().to(device.torch)
        features = torch.randn(1, self.length(device), GPT2_WIDTH, device=device.torch)
        # Backward is as twice forward.
        return layer, features, 3 * MACS_PER_TOKEN / MACS_PER_BLOCK


def adamw(network: nn.Module) -> torch.optim.Optimizer:
    """AdamW with the numbers of nanoGPT (train.py), and as there in one kernel where torch has it
    for the device (on CPUs since 2.4)."""
    numbers: dict[str, Any] = {"lr": 6e-4, "betas": (0.9, 0.95), "weight_decay": 0.1}
    try:
        return torch.optim.AdamW(network.parameters(), fused=True, **numbers)
    except (TypeError, RuntimeError):
        return torch.optim.AdamW(network.parameters(), **numbers)


RESNET50, GPT2 = Images(), Sequences()
WORKLOADS: dict[str, Workload] = {one.model: one for one in (RESNET50, GPT2)}
