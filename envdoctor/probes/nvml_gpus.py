"""What NVML says of the driver and the GPUs, asked through pynvml.

Executed by nvml_child.py and imported by the child that samples a calibration.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pynvml


def answer_of_nvml(doctor: int) -> dict[str, Any]:
    """The status, and what NVML says where it is `ok`; `doctor` is the process that asks."""
    answer: dict[str, Any] = {"message": "", "driver_release": None, "driver_cuda": None}
    answer.update(device_count=None, unanswered=[], gpus=[])
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return {**answer, "status": error_name(error), "message": str(error)}
    return {**answer, "status": "ok", **versions(), **devices(doctor)}


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


def devices(doctor: int) -> dict[str, Any]:
    """How many GPUs NVML counts, those that it shows, and of the others its error."""
    try:
        count = pynvml.nvmlDeviceGetCount()
    except pynvml.NVMLError as error:
        return {"message": f"nvmlDeviceGetCount: {error_name(error)}", "gpus": []}
    gpus, unanswered = [], []
    for index in range(count):
        try:
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            raise_if_lost(handle)
        except pynvml.NVMLError as error:
            unanswered.append({"index": index, "error": error_name(error)})
        else:
            gpus.append(describe(index, handle, doctor))
    return {"device_count": count, "gpus": gpus, "unanswered": unanswered}


def raise_if_lost(handle: Any) -> None:
    """A GPU that fell off the bus after its handle was made says so at the first question."""
    try:
        pynvml.nvmlDeviceGetName(handle)
    except pynvml.NVMLError as error:
        if error.value == pynvml.NVML_ERROR_GPU_IS_LOST:
            raise


def describe(index: int, handle: Any, doctor: int) -> dict[str, Any]:
    """One GPU, its fields as in facts.machine.Gpu."""
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
        "process_pids": [pid for pid in compute_pids(handle) if not is_child_of(doctor, pid)],
    }


def compute_pids(handle: Any) -> list[int]:
    """The processes that compute on a GPU; older drivers offer only the second version."""
    functions = ("nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetComputeRunningProcesses_v2")
    answers = (attempt(getattr(pynvml, name), handle) for name in functions)
    found = next((answer for answer in answers if answer is not None), ())
    return [process.pid for process in found]


def is_child_of(doctor: int, pid: int) -> bool:
    """Whether a process is the doctor or was started by it, directly or not."""
    return doctor in ancestors(pid)


def ancestors(pid: int) -> Iterator[int]:
    """A process and its ancestors, as far as /proc shows them."""
    while pid > 0:
        yield pid
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
                # The name of the program, in brackets, may hold anything; see proc_pid_stat(5).
                pid = int(stat.read().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            return


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
