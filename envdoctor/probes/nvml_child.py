"""Asks NVML for the driver and the GPUs; run as `python -I nvml_child.py FD`, so that a library
that crashes or hangs takes only this process with it."""

import json
import os
import sys
from collections.abc import Callable
from typing import Any

import pynvml


def main(fd: int) -> None:
    """Write one JSON object: `status`, and what NVML says where it is `ok`."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        answer: dict[str, Any] = {"status": error_name(error), "message": str(error), "gpus": []}
    else:
        answer = {"status": "ok", **versions()}
        answer["gpus"] = [gpu for gpu in map(describe, range(count())) if gpu]
    answer["library"] = mapped_library()
    os.write(fd, json.dumps(answer).encode())


def error_name(error: Any) -> str:
    """The constant behind an error, NVML_ERROR_... as in nvml.h."""
    names = [name for name in dir(pynvml) if name.startswith("NVML_ERROR_")]
    return next((name for name in names if getattr(pynvml, name) == error.value), str(error.value))


def attempt(function: Callable[..., Any], *arguments: Any) -> Any:
    """The answer of a query; None where the driver or the GPU does not support it."""
    try:
        answer = function(*arguments)
    except (pynvml.NVMLError, pynvml.NVMLLibraryMismatchError, AttributeError, UnicodeDecodeError):
        return None
    return answer.decode("utf-8", "replace") if isinstance(answer, bytes) else answer


def versions() -> dict[str, Any]:
    """The driver release and the newest CUDA that it offers (1000 * major + 10 * minor)."""
    cuda = attempt(pynvml.nvmlSystemGetCudaDriverVersion_v2)
    return {
        "driver_release": attempt(pynvml.nvmlSystemGetDriverVersion),
        "driver_cuda": f"{cuda // 1000}.{cuda % 1000 // 10}" if cuda else None,
    }


def count() -> int:
    """How many GPUs NVML shows."""
    return attempt(pynvml.nvmlDeviceGetCount) or 0


def describe(index: int) -> dict[str, Any] | None:
    """One GPU, its fields as in facts.machine.Gpu."""
    handle = attempt(pynvml.nvmlDeviceGetHandleByIndex, index)
    if handle is None:
        return None
    memory = attempt(pynvml.nvmlDeviceGetMemoryInfo, handle)
    capability = attempt(pynvml.nvmlDeviceGetCudaComputeCapability, handle)
    pci = attempt(pynvml.nvmlDeviceGetPciInfo, handle)
    utilization = attempt(pynvml.nvmlDeviceGetUtilizationRates, handle)
    return {
        "index": index,
        "name": attempt(pynvml.nvmlDeviceGetName, handle) or "unknown",
        "uuid": attempt(pynvml.nvmlDeviceGetUUID, handle),
        "compute_capability": "{}.{}".format(*capability) if capability else None,
        "memory_bytes": memory.total if memory else None,
        "memory_used_bytes": memory.used if memory else None,
        "pci_address": text_of(pci.busId) if pci else None,
        "mig_mode": first_flag(attempt(pynvml.nvmlDeviceGetMigMode, handle)),
        "ecc_mode": first_flag(attempt(pynvml.nvmlDeviceGetEccMode, handle)),
        "power_w": watts(attempt(pynvml.nvmlDeviceGetPowerUsage, handle)),
        "power_limit_w": watts(attempt(pynvml.nvmlDeviceGetEnforcedPowerLimit, handle)),
        "power_default_limit_w": watts(
            attempt(pynvml.nvmlDeviceGetPowerManagementDefaultLimit, handle)
        ),
        "temperature_c": attempt(
            pynvml.nvmlDeviceGetTemperature, handle, pynvml.NVML_TEMPERATURE_GPU
        ),
        "sm_clock_mhz": attempt(pynvml.nvmlDeviceGetClockInfo, handle, pynvml.NVML_CLOCK_SM),
        "max_sm_clock_mhz": attempt(pynvml.nvmlDeviceGetMaxClockInfo, handle, pynvml.NVML_CLOCK_SM),
        "throttle_reasons": throttle_reasons(handle),
        "pcie_generation": attempt(pynvml.nvmlDeviceGetCurrPcieLinkGeneration, handle),
        "pcie_max_generation": attempt(pynvml.nvmlDeviceGetMaxPcieLinkGeneration, handle),
        "pcie_width": attempt(pynvml.nvmlDeviceGetCurrPcieLinkWidth, handle),
        "pcie_max_width": attempt(pynvml.nvmlDeviceGetMaxPcieLinkWidth, handle),
        "utilization_pct": utilization.gpu if utilization else None,
        "process_pids": [process.pid for process in compute_processes(handle)],
    }


def compute_processes(handle: Any) -> Any:
    """The processes that compute on a GPU; older drivers offer only the second version."""
    functions = ("nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetComputeRunningProcesses_v2")
    answers = (attempt(getattr(pynvml, name), handle) for name in functions)
    return next((answer for answer in answers if answer is not None), ())


def text_of(value: Any) -> str:
    """A C string field as text."""
    return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)


def first_flag(modes: Any) -> bool | None:
    """The current one of the pair (current, pending)."""
    return None if modes is None else bool(modes[0])


def watts(milliwatts: int | None) -> float | None:
    """NVML gives milliwatts."""
    return None if milliwatts is None else milliwatts / 1000


_REASONS = (
    "GpuIdle",
    "ApplicationsClocksSetting",
    "SwPowerCap",
    "HwSlowdown",
    "SyncBoost",
    "SwThermalSlowdown",
    "HwThermalSlowdown",
    "HwPowerBrakeSlowdown",
    "DisplayClockSetting",
)


def throttle_reasons(handle: Any) -> list[str]:
    """The names of the bits that are set in nvmlDeviceGetCurrentClocksThrottleReasons (nvml.h)."""
    bits = attempt(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons, handle) or 0
    values = {name: getattr(pynvml, f"nvmlClocksThrottleReason{name}", 0) for name in _REASONS}
    return [name for name, value in values.items() if bits & value]


def mapped_library() -> str | None:
    """The file of libnvidia-ml that is loaded into this process."""
    with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
        paths = (line.split(None, 5)[-1].strip() for line in maps if "libnvidia-ml" in line)
        return next(paths, None)


if __name__ == "__main__":
    main(int(sys.argv[1]))
