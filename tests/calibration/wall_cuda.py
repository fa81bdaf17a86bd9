"""torch.cuda as far as the calibration uses it, played by the CPU and the wall clock.

Everything above that boundary is the real code, with tensors that lie in ordinary memory. Nothing
here says anything about the speed of a GPU, nor whether CUDA does what its documentation says.
"""

import contextlib
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from envdoctor.calibration.target import ceilings, devices, workloads

ILLEGAL = "CUDA error: an illegal memory access was encountered"


class CpuBackedGpu(devices.CudaDevice):
    """A GPU whose tensors lie in ordinary memory."""

    def __init__(self, name: str, index: int = 0) -> None:
        super().__init__(name, index)
        self.torch = torch.device("cpu")


class WallCuda:
    """Some GPUs. One that is in `breaks_after` fails for good after so many events."""

    def __init__(self, count: int, capability: tuple[int, int] = (8, 0)) -> None:
        self.count = count
        self.capability = capability
        self.current = 0
        self.breaks_after: dict[int, int] = {}
        self.peak = 0
        self.properties: dict[str, Any] = {"uuid": "5f2d7c1e-0000-0000-0000-000000000000"}

    def replace(self, patch: pytest.MonkeyPatch) -> None:
        """Put it in the place of torch.cuda, and make networks and sizes tiny."""
        for name in (
            *("is_available", "device_count", "set_device", "device", "synchronize", "Event"),
            *("empty_cache", "mem_get_info", "max_memory_allocated", "reset_peak_memory_stats"),
            *("get_device_name", "get_device_capability", "get_device_properties"),
            "can_device_access_peer",
        ):
            patch.setattr(torch.cuda, name, getattr(self, name))
        patch.setattr(devices, "CudaDevice", CpuBackedGpu)
        patch.setattr(workloads, "ResNet50", Tiny)
        patch.setattr(workloads, "IMAGE_SIZE", 8)
        patch.setattr(workloads, "Gpt2", TinyOfTokens)
        patch.setattr(workloads, "GPU_LENGTH", 16)
        patch.setattr(workloads, "TOKENS", 64)
        patch.setattr(ceilings, "GPU_MATRIX", 128)
        patch.setattr(ceilings, "CPU_MATRIX", 128)
        for name in ("GPU_COPY_BYTES", "CPU_COPY_BYTES", "LINK_BYTES"):
            patch.setattr(ceilings, name, 1 << 20)
        for name in ("GPU_SAMPLE_S", "GPU_WARM_S"):
            patch.setattr(ceilings, name, 0.01)
        for kind in (devices.Device, devices.CudaDevice):
            patch.setattr(kind, "timed_s", 0.01)
        patch.setattr(ceilings, "LAUNCHES", 10)

    def touch(self, index: int) -> None:
        """What every call to a broken GPU does."""
        if self.breaks_after.get(index, 1) <= 0:
            raise RuntimeError(ILLEGAL)

    def count_event(self) -> None:
        if self.current in self.breaks_after:
            self.breaks_after[self.current] -= 1
        self.touch(self.current)

    def is_available(self) -> bool:
        return True

    def device_count(self) -> int:
        return self.count

    def set_device(self, index: int) -> None:
        self.touch(index)
        self.current = index

    @contextlib.contextmanager
    def device(self, index: int) -> Iterator[None]:
        before, self.current = self.current, index
        yield
        self.current = before

    def synchronize(self, index: int) -> None:
        self.touch(index)

    def empty_cache(self) -> None:
        # As in CUDACachingAllocator: that of every GPU.
        for index in range(self.count):
            self.touch(index)

    def mem_get_info(self, index: int) -> tuple[int, int]:
        self.touch(index)
        return 16 * 2**30, 80 * 2**30

    def max_memory_allocated(self, index: int) -> int:
        return self.peak

    def reset_peak_memory_stats(self, index: int) -> None:
        self.touch(index)
        self.peak = 2**30

    def get_device_name(self, index: int) -> str:
        return f"ordinary memory {index}"

    def get_device_capability(self, index: int) -> tuple[int, int]:
        return self.capability

    def get_device_properties(self, index: int) -> SimpleNamespace:
        return SimpleNamespace(**self.properties)

    def can_device_access_peer(self, index: int, other: int) -> bool:
        return abs(index - other) == 1

    def Event(self, enable_timing: bool) -> "WallEvent":
        return WallEvent(self)


class WallEvent:
    """A moment: work in ordinary memory is done when its call returns."""

    def __init__(self, cuda: WallCuda) -> None:
        self.cuda = cuda
        self.at = 0.0

    def record(self) -> None:
        self.cuda.count_event()
        self.at = time.perf_counter()

    def synchronize(self) -> None:
        self.cuda.touch(self.cuda.current)

    def elapsed_time(self, end: "WallEvent") -> float:
        return 1000 * (end.at - self.at)


class Tiny(torch.nn.Module):
    """The smallest network with a convolution, for images of any size."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3)
        self.fc = torch.nn.Linear(4, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.fc(self.conv(images).mean((2, 3)))


class TinyOfTokens(torch.nn.Module):
    """The smallest network from tokens to logits."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(workloads.TOKENS, 2)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.embedding(tokens) @ self.embedding.weight.T
