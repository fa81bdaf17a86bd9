"""Whether CUDA starts on this driver: cuInit without torch, and libcuda."""

import re
from collections.abc import Iterator

from msgspec.structs import replace

from envdoctor.api import (
    Confidence,
    CudaInit,
    CudaLog,
    Driver,
    DriverRelease,
    Environment,
    Evidence,
    Findings,
    Fix,
    Gpus,
    GpuTrace,
    Host,
    Limits,
    Nvml,
    Site,
    TorchBuild,
    TorchFirstUse,
    TorchRuntime,
    check,
    entries_that_name,
    from_driver,
    surroundings,
    system,
)
from envdoctor_checks.cuda_causes import FailedInit, cause_of
from envdoctor_checks.cuda_codes import (
    CONFIDENTIAL_COMPUTING,
    CUDA_INIT_FAILED,
    CUDA_UNKNOWN_UVM,
    DRIVER_LIB_MISMATCH,
    DRIVER_WITHOUT_LIBCUDA,
    FABRIC_MANAGER,
    FORWARD_COMPAT,
    UVM_HMM,
)
from envdoctor_checks.telemetry import visible


@check(
    DRIVER_LIB_MISMATCH,
    FORWARD_COMPAT,
    FABRIC_MANAGER,
    CONFIDENTIAL_COMPUTING,
    UVM_HMM,
    CUDA_INIT_FAILED,
)
def cuda_does_not_start(
    init: CudaInit | None,
    driver: Driver,
    release: DriverRelease,
    site: Site,
    trace: GpuTrace,
    host: Host | None,
    gpus: Gpus | None,
    nvml: Nvml | None,
    environment: Environment | None,
    limits: Limits | None,
    used: TorchFirstUse | None,
    runtime: TorchRuntime | None,
    log: CudaLog | None,
) -> Findings:
    """cuInit, tried without torch, returns an error; or torch names one of its errors."""
    began, init = init, _as_torch_says(init, used, runtime)
    place = ("cuInit", "libcuda.so.1") if init is began else ("CUDA", "torch")
    if init is None or init.code in (None, 0) or (init.code in _MORE_IS_TOLD and not site.gvisor):
        return
    if init.code == _INVALID_DEVICE and _names_no_gpu(environment, trace):
        return
    kernel = (host.kernel if host else None) or ""
    fabric = _unready_fabric(gpus)
    case = FailedInit(
        init=init,
        driver=driver,
        release=release,
        site=site,
        trace=trace,
        kernel=kernel,
        fabric=fabric,
        nvml_fits=nvml is not None and nvml.status == "ok",
        environment=environment,
        gpus=tuple(visible(gpus, trace)) if gpus else (),
        limits=limits,
        virtual=host.hypervisor if host else None,
    )
    code, fixes = cause_of(case)
    guessed = code in _BY_MORE_SIGNS and not (code is FABRIC_MANAGER and fabric)
    yield code.finding(
        confidence=Confidence.LIKELY if guessed else Confidence.CERTAIN,
        status=init.status,
        code=init.code,
        text=_meaning(init, environment),
        evidence=(
            Evidence(label=place[0], value=f"{init.status} ({init.code})", source=place[1]),
            Evidence(label="libcuda", value=init.library or "unknown", source="/proc/self/maps"),
            Evidence(
                label="kernel driver",
                value=" ".join(filter(None, (release.release, driver.flavor))) or "unknown",
                source=release.source or "/proc/driver/nvidia/version",
            ),
            *from_driver(began.log if init is began else _log_of_torch(log)),
            *((Evidence(label="fabric", value=fabric, source="NVML"),) if fabric else ()),
        ),
        fixes=fixes,
    )


def _log_of_torch(log: CudaLog | None) -> str:
    """What the driver wrote as torch used it, and cuInit by itself did not fail."""
    return (log.of("first use") or log.of("torch runtime")) if log else ""


_OF_THE_START = (
    ("system not yet initialized", 802, "CUDA_ERROR_SYSTEM_NOT_READY"),
    ("system has unsupported display driver", 803, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"),
    ("forward compatibility was attempted", 804, "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE"),
    ("MPS client failed to connect", 805, "CUDA_ERROR_MPS_CONNECTION_FAILED"),
    ("MPS server is not ready", 807, "CUDA_ERROR_MPS_SERVER_NOT_READY"),
)
"""What CUDA says of errors of its start (CUDA Driver API, cuGetErrorString), its code and name."""


_BY_NUMBER = re.compile(r"\bError (\d{1,3}): (.{1,200})")
"""Of cudaGetDeviceCount, as c10/cuda/CUDAFunctions.cpp of torch tells it."""


def _names_no_gpu(environment: Environment | None, trace: GpuTrace) -> bool:
    """Whether CUDA_VISIBLE_DEVICES hides every GPU, which has a check of its own."""
    value = environment.variables.get("CUDA_VISIBLE_DEVICES") if environment else None
    if value is None or not trace.gpus:
        return False
    return not entries_that_name(value, trace.gpus)[0]


def _as_torch_says(
    init: CudaInit | None, used: TorchFirstUse | None, runtime: TorchRuntime | None
) -> CudaInit | None:
    """What cuInit says; where nobody knows, or some seconds later, what torch says in its place."""
    if init is None:
        said = _BY_NUMBER.search((runtime.cuda_error or "") if runtime else "")
        if said is None:
            return None
        return CudaInit(status="an error of cuInit", code=int(said[1]), message=said[2])
    if init.code != 0 or used is None:
        return init
    errors = [one.error for one in used.operations if one.error and one.device != "cpu"]
    for text, code, status in _OF_THE_START:
        if any(text in error for error in errors):
            return replace(init, code=code, status=status, message=text)
    return init


def _unready_fabric(gpus: Gpus | None) -> str:
    """What NVML says of a fabric that is not ready; empty where it is, or there is none."""
    for gpu in gpus.devices if gpus else ():
        if gpu.fabric_state in ("not-started", "in-progress"):
            return f"GPU {gpu.index}: {gpu.fabric_state}"
        if gpu.fabric_error:
            return f"GPU {gpu.index}: {gpu.fabric_error}"
    return ""


_MORE_IS_TOLD = (100, 999)
"""No device, and unknown: what they come from has checks of its own."""

_INVALID_DEVICE = 101
"""What cuInit returns where CUDA_VISIBLE_DEVICES names a GPU twice (driver 580, H100)."""

_BY_MORE_SIGNS = (UVM_HMM, CONFIDENTIAL_COMPUTING, FABRIC_MANAGER)
"""Told from the code together with the machine around it."""

_MEANINGS = {
    2: "out of memory, which is not the GPU's: the host's memory, or the address space of a "
    "virtual machine",
    3: "the driver could not be initialised",
    34: "libcuda is the toolkit's stub",
    46: "the GPU is busy or not available: another process has it exclusively, or it is in an "
    "error state",
    101: "the GPU that was asked for is not valid",
    214: "the memory of a GPU has an error that ECC cannot correct",
    303: "a library that libcuda loads cannot be loaded, or is of another release",
    304: "a call of the operating system failed, most often on a device node",
    500: "libcuda does not find what it looks for in another library of the driver",
    800: "the operation is not permitted: the GPU is in the compute mode `prohibited`, or it is "
    "exclusive and taken",
    801: "the operation is not supported on this system",
    805: "the MPS server of this machine cannot be connected to",
    806: "the MPS server gave no answer",
    807: "the MPS server is not ready: another user's clients may have to end first",
    808: "the MPS server has as many clients as it can",
    809: "the MPS server has as many connections as it can",
}
"""What an error of cuInit means (CUDA Driver API, CUresult; MPS documentation)."""


def _meaning(init: CudaInit, environment: Environment | None) -> str:
    under_mps = environment is not None and "CUDA_MPS_PIPE_DIRECTORY" in environment.variables
    if init.code == _NOT_PERMITTED and under_mps:
        return (
            "the operation is not permitted: the MPS server refuses this user, or the GPU is taken"
        )
    return _MEANINGS.get(init.code or 0, init.message)


_NOT_PERMITTED = 800

_MAKE_NODE = "sudo nvidia-modprobe -u -c=0"
_LOAD_UVM = "load nvidia_uvm and make its device node", "sudo modprobe nvidia_uvm", _MAKE_NODE
_RELOAD_UVM = (
    "reload nvidia_uvm and make its device node; end first what uses it, or restart the machine",
    "sudo rmmod nvidia_uvm; sudo modprobe nvidia_uvm",
    _MAKE_NODE,
)
_MAKE_UVM_NODE = "make the device node of nvidia_uvm", _MAKE_NODE


@check(CUDA_UNKNOWN_UVM)
def cuda_unknown(init: CudaInit, driver: Driver, site: Site) -> Findings:
    """Error 999, most often because the module nvidia_uvm is gone after a suspend."""
    if init.code != 999 or site.gvisor:
        return
    is_loaded = "nvidia_uvm" in driver.modules or not driver.modules
    missing = [] if is_loaded else ["the module nvidia_uvm is not loaded"]
    has_node = "/dev/nvidia-uvm" in driver.device_nodes
    if not has_node:
        missing.append("the device node /dev/nvidia-uvm is missing")
    way = _LOAD_UVM if not is_loaded else _RELOAD_UVM if has_node else _MAKE_UVM_NODE
    yield CUDA_UNKNOWN_UVM.finding(
        uvm="".join(f", and {one}" for one in missing),
        evidence=(
            Evidence(label="cuInit", value=f"{init.status} (999)", source="libcuda.so.1"),
            Evidence(label="modules", value=" ".join(driver.modules), source="/proc/modules"),
            Evidence(label="device nodes", value=" ".join(driver.device_nodes), source="/dev"),
            *from_driver(init.log),
        ),
        fixes=(
            system.on_host(site, *way),
            *((system.start_anew(site),) if site.contained else ()),
        ),
    )


@check(DRIVER_WITHOUT_LIBCUDA)
def driver_without_libcuda(
    init: CudaInit,
    driver: Driver,
    release: DriverRelease,
    build: TorchBuild | None,
    site: Site,
    environment: Environment | None,
    gpus: Gpus | None,
) -> Findings:
    """The kernel driver without its user-space library; a container has a finding of its own."""
    if init.status != "libcuda-missing" or not driver.loaded:
        return
    # Of a machine alone no torch is known, and its driver is to start CUDA all the same.
    if site.contained or site.wsl or (build is not None and build.cuda is None):
        return
    if build is None and driver.of_containers:
        return
    of_hypervisor = gpus is not None and any(
        one.virtualization in ("host-vgpu", "host-vsga") for one in gpus.devices
    )
    yield DRIVER_WITHOUT_LIBCUDA.finding(
        release=f" {release.release}" if release.release else "",
        evidence=(
            Evidence(label="dlopen", value=init.message, source="libcuda.so.1"),
            Evidence(
                label="libcuda files", value=" ".join(driver.libcuda_files) or "none", source="/usr"
            ),
        ),
        fixes=(system.compute_in_a_guest(site),)
        if of_hypervisor
        else tuple(_ways_to_libcuda(init, driver, release, site, environment)),
    )


def _ways_to_libcuda(
    init: CudaInit,
    driver: Driver,
    release: DriverRelease,
    site: Site,
    environment: Environment | None,
) -> Iterator[Fix]:
    said, files = init.message, driver.libcuda_files
    if "Permission denied" in said and files:
        yield system.open_libcuda(site, files[0])
        return
    value = environment.variables.get("LD_LIBRARY_PATH", "") if environment else ""
    entries = value.split(":")
    of_32_bits = [one for one in entries if "i386" in one or "lib32" in one or one == "/usr/lib"]
    if "ELFCLASS32" in said and of_32_bits:
        yield surroundings.without_entry("LD_LIBRARY_PATH", entries, of_32_bits)
    yield system.show_libcuda(site, release.release, files if "No such file" in said else ())
