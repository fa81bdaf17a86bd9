"""The devices of the target, what they offer, and how time and memory are read on them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from .machine import apple_name, cpu_flags, cpu_name, memory_available, status_bytes


class Precision(NamedTuple):
    """How numbers are computed: autocast to a type or not, TF32 or not, loss scaling or not."""

    name: str
    autocast: str | None = None
    tf32: bool = False
    scaled: bool = False


FP32 = Precision("fp32")
TF32 = Precision("tf32", tf32=True)
BF16 = Precision("bf16", autocast="bfloat16", tf32=True)
FP16 = Precision("fp16", autocast="float16", tf32=True, scaled=True)


class Device:
    """A CPU, or anything else whose work is finished when the call returns."""

    kind = "cpu"
    timed_s = 0.4
    """How long each limit of the hardware is timed."""

    def __init__(self, name: str, index: int = 0) -> None:
        self.name = name
        self.index = index
        self.torch = torch.device(name)
        self.lost = False
        """Whether it failed so that nothing more can be done with it in this process."""
        self.is_crowded = False
        """Whether others had so many CPUs that it is measured with fewer threads."""
        self.is_throttled = False
        """Whether a quota of less than one CPU makes its one thread wait, others or not."""

    @property
    def model(self) -> str:
        """The name of the hardware."""
        return cpu_name()

    def precisions(self) -> list[tuple[Precision, str]]:
        """What is measured here, and what is left out with its reason."""
        return [(FP32, ""), (BF16, bf16_on_cpu(cpu_flags()))]

    def use(self) -> None:
        """Make it the one that work goes to by default."""

    def synchronize(self) -> None:
        """Wait until all work is done."""

    def threads(self) -> int:
        """The threads that compute."""
        return torch.get_num_threads()

    def time(self, step: Callable[[], Any], count: int) -> float:
        """Seconds for one of `count` steps."""
        self.synchronize()
        started = time.perf_counter()
        for _ in range(count):
            step()
        self.synchronize()
        return (time.perf_counter() - started) / count

    def reset_peak(self) -> None:
        """Begin anew to watch the peak of the memory."""
        try:
            with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
                file.write("5")
        except OSError:
            return

    def peak_bytes(self) -> int | None:
        """The most memory since `reset_peak`: of the whole process, of tensors on a GPU."""
        return status_bytes("VmHWM")

    def set_precision(self, precision: Precision) -> None:
        """Switch what is global: nothing on a CPU."""

    @property
    def may_search(self) -> bool:
        """Whether a search for the fastest kernels can be had or left out."""
        return False

    def search(self, on: bool) -> None:
        """Whether the fastest kernels for every new shape are searched for, or taken by rules."""

    def free_bytes(self) -> int | None:
        """Memory that could be had now."""
        return memory_available()

    def tidy(self) -> None:
        """Give cached memory back."""

    def bus_id(self) -> str | None:
        """The PCI address, by which NVML knows a GPU; None where torch does not say."""
        return None

    def uuid(self) -> str | None:
        """The other name by which NVML knows a GPU; None where torch does not say."""
        return None

    def note(self, memory_format: str | None) -> str:
        """What should be known of runs in this format; empty if nothing."""
        return ""


class CudaDevice(Device):
    """A GPU of torch.cuda: NVIDIA, or AMD in a ROCm build."""

    kind = "cuda"
    timed_s = 1.0

    @property
    def model(self) -> str:
        return str(torch.cuda.get_device_name(self.index))

    def precisions(self) -> list[tuple[Precision, str]]:
        capability = torch.cuda.get_device_capability(self.index)
        return gpu_precisions(capability, rocm=torch.version.hip is not None)

    def use(self) -> None:
        torch.cuda.set_device(self.index)

    def synchronize(self) -> None:
        torch.cuda.synchronize(self.index)

    def time(self, step: Callable[[], Any], count: int) -> float:
        with torch.cuda.device(self.index):
            start = torch.cuda.Event(enable_timing=True)
            end = torch.cuda.Event(enable_timing=True)
            start.record()
            for _ in range(count):
                step()
            end.record()
            end.synchronize()
        return float(start.elapsed_time(end)) / 1000 / count

    def reset_peak(self) -> None:
        torch.cuda.reset_peak_memory_stats(self.index)

    def peak_bytes(self) -> int | None:
        return int(torch.cuda.max_memory_allocated(self.index))

    def set_precision(self, precision: Precision) -> None:
        torch.backends.cuda.matmul.allow_tf32 = precision.tf32
        torch.backends.cudnn.allow_tf32 = precision.tf32

    @property
    def may_search(self) -> bool:
        # With MIOpen the same switch means an exhaustive search for every shape.
        return torch.version.hip is None

    def search(self, on: bool) -> None:
        torch.backends.cudnn.benchmark = on

    def free_bytes(self) -> int | None:
        return int(torch.cuda.mem_get_info(self.index)[0])

    def tidy(self) -> None:
        torch.cuda.empty_cache()

    def bus_id(self) -> str | None:
        properties = torch.cuda.get_device_properties(self.index)
        bus, device = (getattr(properties, f"pci_{part}_id", None) for part in ("bus", "device"))
        if bus is None or device is None:
            return None
        return f"{getattr(properties, 'pci_domain_id', 0):08x}:{bus:02x}:{device:02x}.0"

    def uuid(self) -> str | None:
        said = getattr(torch.cuda.get_device_properties(self.index), "uuid", None)
        return None if said is None else f"GPU-{said}"

    def note(self, memory_format: str | None) -> str:
        # torch's ATen/native/ConvUtils.h: MIOpen gets channels_last only on request.
        asked = os.environ.get("PYTORCH_MIOPEN_SUGGEST_NHWC") == "1"
        if torch.version.hip is None or memory_format != "channels_last" or asked:
            return ""
        return (
            "may have run contiguous: PYTORCH_MIOPEN_SUGGEST_NHWC=1 is not set, without which "
            "torch for ROCm may not hand channels_last on to MIOpen"
        )

    def reaches(self, other: Device) -> bool:
        """Whether it can write to the memory of another GPU without the host's help."""
        return bool(torch.cuda.can_device_access_peer(self.index, other.index))


class MpsDevice(Device):
    """Apple's GPU."""

    kind = "mps"

    @property
    def model(self) -> str:
        return f"{apple_name() or 'Apple'} GPU"

    def precisions(self) -> list[tuple[Precision, str]]:
        return [(FP32, ""), (FP16._replace(scaled=False), autocast_problem("mps", "float16"))]

    def synchronize(self) -> None:
        if hasattr(torch, "mps"):
            torch.mps.synchronize()
        else:
            # torch 1.13 has the device but no such module; reading a value waits as well.
            torch.zeros(1, device=self.torch).item()

    def reset_peak(self) -> None:
        return

    def peak_bytes(self) -> int | None:
        return int(torch.mps.driver_allocated_memory()) if hasattr(torch, "mps") else None

    def free_bytes(self) -> int | None:
        most = getattr(getattr(torch, "mps", None), "recommended_max_memory", None)
        return None if most is None else max(0, int(most()) - (self.peak_bytes() or 0))

    def tidy(self) -> None:
        if hasattr(torch, "mps"):
            torch.mps.empty_cache()


def device_named(name: str) -> Device:
    """The device that torch calls `name`: cpu, cuda:1 or mps."""
    kind, _, index = name.partition(":")
    kinds = {"cpu": Device, "cuda": CudaDevice, "mps": MpsDevice}
    return kinds[kind](name, int(index or 0))


def all_devices() -> list[Device]:
    """The CPU, then every GPU that torch can use, in its order."""
    names = ["cpu"]
    if torch.cuda.is_available():
        names += [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    mps = getattr(torch.backends, "mps", None)
    if mps is not None and mps.is_available():
        names.append("mps")
    return [device_named(name) for name in names]


def gpu_precisions(capability: tuple[int, int], *, rocm: bool) -> list[tuple[Precision, str]]:
    """What a GPU of that compute capability is measured in.

    Tensor cores came with 7.0, those for TF32 and bfloat16 with 8.0 (CUDA C++ Programming Guide,
    "Compute Capabilities"). In a ROCm build capabilities are AMD's and do not compare: the 16-bit
    types are tried.
    """
    if rocm:
        return [(FP32, ""), (TF32, "not measured in ROCm builds"), (BF16, ""), (FP16, "")]
    spoken = "{}.{}".format(*capability)
    ampere = "" if capability >= (8, 0) else f"needs compute capability 8.0, this GPU has {spoken}"
    volta = "" if capability >= (7, 0) else f"no tensor cores before 7.0, this GPU has {spoken}"
    return [(FP32, ""), (TF32, ampere), (BF16, ampere), (FP16, volta)]


def bf16_on_cpu(flags: frozenset[str]) -> str:
    """Why bfloat16 is not measured on a CPU with these flags; empty where it is."""
    if flags & {"avx512_bf16", "amx_bf16", "bf16"}:
        return ""
    if not flags:
        return "unknown whether the CPU has bfloat16 instructions: its features cannot be read"
    return "the CPU has no bfloat16 instructions (avx512_bf16, amx_bf16); it would be emulated"


def autocast_problem(kind: str, dtype: str) -> str:
    """Why a device of that kind has no autocast to that type; empty where it has."""
    try:
        torch.autocast(kind, dtype=getattr(torch, dtype))
    except RuntimeError:
        return f"torch {torch.__version__} has no autocast for {kind}"
    return ""
