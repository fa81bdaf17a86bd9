"""What NVML says of the driver and the GPUs, asked through pynvml.

Executed by nvml_child.py and imported by the child that samples a calibration.
"""

import ctypes
from collections.abc import Callable, Iterator
from typing import Any

import pynvml

Tell = Callable[[str], object]


def answer_of_nvml(doctor: int, tell: Tell = lambda place: None) -> dict[str, Any]:
    """The status, and what NVML says where it is `ok`; `doctor` is the process that asks. What is
    asked next is told before, in case that it gives no answer."""
    answer: dict[str, Any] = {"message": "", "driver_release": None, "driver_cuda": None}
    answer.update(device_count=None, unanswered=[], gpus=[])
    tell("nvmlInit")
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return {**answer, "status": error_name(error), "message": str(error)}
    return {**answer, "status": "ok", **versions(), **devices(doctor, tell, with_states=True)}


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


def devices(
    doctor: int, tell: Tell = lambda place: None, *, with_states: bool = False
) -> dict[str, Any]:
    """How many GPUs NVML counts, those that it shows, and of the others its error.

    States change so seldom that those who ask often leave them out.
    """
    try:
        count = pynvml.nvmlDeviceGetCount()
    except pynvml.NVMLError as error:
        return {"message": f"nvmlDeviceGetCount: {error_name(error)}", "gpus": []}
    gpus: list[dict[str, Any]] = []
    unanswered: list[dict[str, Any]] = []
    handles: dict[int, Any] = {}
    for index in range(count):
        tell(f"GPU {index}")
        try:
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            raise_if_lost(handle)
        except pynvml.NVMLError as error:
            unanswered.append({"index": index, "error": error_name(error)})
        else:
            more = states(handle) if with_states else {}
            gpus.append({**describe(index, handle, doctor), **more})
            handles[index] = handle
    tell("the links between GPUs")
    if with_states and len(handles) > 1:
        for gpu in gpus:
            gpu.update(peers_of(gpu["index"], handles))
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
    memory = memory_of(handle)
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


def peers_of(index: int, handles: dict[int, Any]) -> dict[str, Any]:
    """Whose memory a GPU may read by itself, and whose over NVLink (the driver's own view, that of
    `nvidia-smi topo -p2p r` and `n`)."""

    def reached(by: int) -> list[int] | None:
        answers = {
            other: attempt(pynvml.nvmlDeviceGetP2PStatus, handles[index], handle, by)
            for other, handle in handles.items()
            if other != index
        }
        if None in answers.values():
            return None
        return [other for other, status in answers.items() if status == pynvml.NVML_P2P_STATUS_OK]

    return {"peers": reached(_P2P_READ), "nvlink_peers": reached(_P2P_NVLINK)}


_P2P_READ, _P2P_NVLINK = 0, 2
"""nvmlGpuP2PCapsIndex_t of nvml.h; pynvml's own constant of the first is a tuple by mistake."""


def memory_of(handle: Any) -> Any:
    """The memory of a GPU. What the driver keeps for itself counts as used in the first version
    alone, which drivers before 510 offer; nvidia-smi shows the second."""
    found = attempt(pynvml.nvmlDeviceGetMemoryInfo, handle, pynvml.nvmlMemory_v2)
    return found or attempt(pynvml.nvmlDeviceGetMemoryInfo, handle)


def states(handle: Any) -> dict[str, Any]:
    """What state a GPU is in, and of the questions that NVML refuses its error."""
    found: dict[str, Any] = {}
    refused: dict[str, str] = {}
    for fields, ask in _STATES:
        try:
            found.update(zip(fields, ask(handle), strict=True))
        except pynvml.NVMLError as error:
            if error.value not in _NOT_HERE:
                refused.update(dict.fromkeys(fields, error_name(error)))
        except (pynvml.NVMLLibraryMismatchError, AttributeError):
            continue
    return {**found, "refused": refused}


_NOT_HERE = (pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)
"""The GPU has no such state, or the driver cannot tell it."""

_COMPUTE_MODES = ("default", "exclusive-thread", "prohibited", "exclusive-process")
_VIRTUALIZATIONS = ("none", "passthrough", "vgpu", "host-vgpu", "host-vsga")
_FABRIC_STATES = (None, "not-started", "in-progress", "completed")
"""By the values of nvml.h."""


def word(words: tuple[str | None, ...], value: int) -> str | None:
    """The name of a value; None for one that newer drivers know."""
    return words[value] if 0 <= value < len(words) else None


def uncorrected(handle: Any) -> int:
    """Errors that ECC could not correct since the driver was loaded."""
    count: int = pynvml.nvmlDeviceGetTotalEccErrors(
        handle, pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, pynvml.NVML_VOLATILE_ECC
    )
    return count


def remapped_rows(handle: Any) -> tuple[bool, bool]:
    """Whether a remapping waits for a reset, and whether one has failed."""
    _, _, pending, failed = pynvml.nvmlDeviceGetRemappedRows(handle)
    return bool(pending), bool(failed)


def licensed(handle: Any) -> bool | None:
    """Whether a virtual GPU has its licence; None where it needs none."""
    answer = pynvml.nvmlDeviceGetGridLicensableFeatures(handle)
    features = answer.gridLicensableFeatures[: answer.licensableFeaturesCount]
    if not answer.isGridLicenseSupported or not features:
        return None
    return any(bool(feature.featureState) for feature in features)


def fabric(handle: Any) -> tuple[str | None, str | None]:
    """The state of the NVSwitch fabric, and NVML's error where its start has ended with one."""
    info = pynvml.c_nvmlGpuFabricInfo_t()
    pynvml.nvmlDeviceGetGpuFabricInfo(handle, ctypes.byref(info))
    state = word(_FABRIC_STATES, info.state)
    ended_ill = state == "completed" and info.status != pynvml.NVML_SUCCESS
    return state, error_name(pynvml.NVMLError(info.status)) if ended_ill else None


_STATES: tuple[tuple[tuple[str, ...], Callable[[Any], tuple[Any, ...]]], ...] = (
    (
        ("compute_mode",),
        lambda handle: (word(_COMPUTE_MODES, pynvml.nvmlDeviceGetComputeMode(handle)),),
    ),
    (
        ("persistence_mode",),
        lambda handle: (bool(pynvml.nvmlDeviceGetPersistenceMode(handle)),),
    ),
    (("ecc_uncorrected",), lambda handle: (uncorrected(handle),)),
    (
        ("pages_pending",),
        lambda handle: (bool(pynvml.nvmlDeviceGetRetiredPagesPendingStatus(handle)),),
    ),
    (("rows_pending", "rows_failed"), remapped_rows),
    (("mig_pending",), lambda handle: (bool(pynvml.nvmlDeviceGetMigMode(handle)[1]),)),
    (
        ("virtualization",),
        lambda handle: (word(_VIRTUALIZATIONS, pynvml.nvmlDeviceGetVirtualizationMode(handle)),),
    ),
    (("licensed",), lambda handle: (licensed(handle),)),
    (("fabric_state", "fabric_error"), fabric),
    (
        ("bar1_bytes",),
        lambda handle: (pynvml.nvmlDeviceGetBAR1MemoryInfo(handle).bar1Total,),
    ),
)
"""The fields of facts.machine.Gpu that each question fills."""


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
