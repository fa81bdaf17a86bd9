"""The devices of the target, what they offer, and how time and memory are read on them."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch


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

    def __init__(self, name: str, index: int = 0) -> None:
        self.name = name
        self.index = index
        self.torch = torch.device(name)

    @property
    def model(self) -> str:
        """The name of the hardware."""
        return cpu_name()

    def precisions(self) -> list[tuple[Precision, str]]:
        """What is measured here, and what is left out with its reason."""
        return [(FP32, ""), (BF16, bf16_on_cpu(cpu_flags()))]

    def synchronize(self) -> None:
        """Wait until all work is done."""

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
        """The most memory in use since `reset_peak`: of the whole process."""
        return status_bytes("VmHWM")

    def peak_tensor_bytes(self) -> int | None:
        """The most memory of tensors since `reset_peak`, where that is told apart."""
        return self.peak_bytes()

    def set_precision(self, precision: Precision) -> None:
        """Switch what is global: nothing on a CPU."""

    def free_bytes(self) -> int | None:
        """Memory that could be had now."""
        return memory_available()

    def tidy(self) -> None:
        """Give cached memory back."""

    def bus_id(self) -> str | None:
        """The PCI address, by which NVML knows a GPU; None where torch does not say."""
        return None


class CudaDevice(Device):
    """A GPU of torch.cuda: NVIDIA, or AMD in a ROCm build."""

    kind = "cuda"

    @property
    def model(self) -> str:
        return str(torch.cuda.get_device_name(self.index))

    def precisions(self) -> list[tuple[Precision, str]]:
        capability = torch.cuda.get_device_capability(self.index)
        return gpu_precisions(capability, rocm=torch.version.hip is not None)

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
        return int(torch.cuda.max_memory_reserved(self.index))

    def peak_tensor_bytes(self) -> int | None:
        return int(torch.cuda.max_memory_allocated(self.index))

    def set_precision(self, precision: Precision) -> None:
        torch.backends.cuda.matmul.allow_tf32 = precision.tf32
        torch.backends.cudnn.allow_tf32 = precision.tf32
        torch.backends.cudnn.benchmark = True

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


class MpsDevice(Device):
    """Apple's GPU."""

    kind = "mps"

    @property
    def model(self) -> str:
        return "Apple GPU"

    def precisions(self) -> list[tuple[Precision, str]]:
        return [(FP32, ""), (FP16._replace(scaled=False), "")]

    def synchronize(self) -> None:
        torch.mps.synchronize()

    def reset_peak(self) -> None:
        return

    def peak_bytes(self) -> int | None:
        return int(torch.mps.driver_allocated_memory())

    def free_bytes(self) -> int | None:
        return None

    def tidy(self) -> None:
        torch.mps.empty_cache()


def all_devices() -> list[Device]:
    """The CPU, then every GPU that torch can use, in its order."""
    found = [Device("cpu")]
    if torch.cuda.is_available():
        found += [CudaDevice(f"cuda:{i}", i) for i in range(torch.cuda.device_count())]
    mps = getattr(torch.backends, "mps", None)
    if mps is not None and mps.is_available():
        found.append(MpsDevice("mps"))
    return found


def gpu_precisions(capability: tuple[int, int], *, rocm: bool) -> list[tuple[Precision, str]]:
    """What a GPU of that compute capability is measured in.

    Tensor cores came with 7.0, those for TF32 and bfloat16 with 8.0 (CUDA C++ Programming Guide,
    "Compute Capabilities"). In a ROCm build capabilities are AMD's and do not compare: TF32 is
    NVIDIA's own, and the 16-bit types are tried.
    """
    if rocm:
        return [(FP32, ""), (TF32, "TF32 is NVIDIA's own"), (BF16, ""), (FP16, "")]
    spoken = "{}.{}".format(*capability)
    ampere = "" if capability >= (8, 0) else f"needs compute capability 8.0, this GPU has {spoken}"
    volta = "" if capability >= (7, 0) else f"no tensor cores before 7.0, this GPU has {spoken}"
    return [(FP32, ""), (TF32, ampere), (BF16, ampere), (FP16, volta)]


def bf16_on_cpu(flags: frozenset[str]) -> str:
    """Why bfloat16 is not measured on a CPU with these flags; empty where it is."""
    if flags & {"avx512_bf16", "amx_bf16", "bf16"}:
        return ""
    return "the CPU has no bfloat16 instructions (avx512_bf16, amx_bf16); it would be emulated"


def cpu_flags() -> frozenset[str]:
    """The features of the CPU as Linux names them; empty where they cannot be read."""
    return frozenset((_cpuinfo("flags") or _cpuinfo("Features") or "").split())


def cpu_name() -> str:
    """The CPU's name as Linux gives it, else its architecture."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _cpuinfo(key: str) -> str | None:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                name, _, value = line.partition(":")
                if name.strip() == key:
                    return value.strip()
    except OSError:
        return None
    return None


def status_bytes(key: str) -> int | None:
    """A size from /proc/self/status, in bytes; None where there is none."""
    return _kibibytes("/proc/self/status", key)


def memory_available() -> int | None:
    """Bytes that could be had without swapping; None where Linux does not say."""
    return _kibibytes("/proc/meminfo", "MemAvailable")


def _kibibytes(path: str, key: str) -> int | None:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            for line in file:
                name, _, value = line.partition(":")
                if name == key:
                    return int(value.split()[0]) * 1024
    except (OSError, ValueError, IndexError):
        return None
    return None


def physical_cpus(affinity: set[int]) -> int:
    """How many different cores those CPUs are; their number where Linux does not say.

    Two threads of one core share its vector units, so that a thread a core is the most that
    helps dense arithmetic.
    """
    cores = set()
    for cpu in affinity:
        path = f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"
        try:
            with open(path, encoding="ascii") as file:
                cores.add(file.read().strip())
        except OSError:
            cores.add(str(cpu))
    return len(cores)


def threads_for(usable_cpus: float | None) -> int:
    """The threads to compute with: a physical core each, within what the process may use."""
    affinity = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    cores = physical_cpus(affinity) if affinity else os.cpu_count() or 1
    return max(1, min(cores, int(usable_cpus or cores)))
