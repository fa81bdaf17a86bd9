"""Whether CUDA starts on this driver: cuInit without torch, and libcuda."""

import re
from collections.abc import Callable, Iterator

from msgspec.structs import replace

from envdoctor.api import (
    Code,
    Confidence,
    CudaInit,
    Driver,
    DriverRelease,
    Environment,
    Evidence,
    Findings,
    Fix,
    Gpu,
    Gpus,
    GpuTrace,
    Host,
    Layer,
    Limits,
    Nvml,
    Place,
    Record,
    Safety,
    Severity,
    Site,
    TorchBuild,
    TorchFirstUse,
    TorchRuntime,
    check,
    is_vgpu,
    surroundings,
    system,
)
from envdoctor_checks.driver_library import take_out
from envdoctor_checks.telemetry import visible

DRIVER_LIB_MISMATCH = Code(
    id="ED203",
    name="driver-lib-mismatch",
    family="driver-lib-mismatch-803",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.CUDA_INIT,
    breaks="compute:gpu",
    message="libcuda and the NVIDIA module in the kernel are of different releases "
    "(CUDA error 803)",
)
FORWARD_COMPAT = Code(
    id="ED204",
    name="forward-compat",
    family="forward-compat-804",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.CUDA_INIT,
    breaks="compute:gpu",
    message="a forward-compatibility libcuda is loaded, and this GPU does not support it "
    "(CUDA error 804)",
)
FABRIC_MANAGER = Code(
    id="ED205",
    name="fabric-manager",
    family="fabric-manager-802",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.CUDA_INIT,
    breaks="compute:gpu",
    message="the NVSwitch fabric is not ready (CUDA error 802): the fabric manager is not running",
)
CUDA_UNKNOWN_UVM = Code(
    id="ED206",
    name="cuda-unknown-uvm",
    family="cuda-unknown-uvm",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.CUDA_INIT,
    breaks="compute:gpu",
    message="CUDA does not start (error 999, unknown error)",
    detailed="CUDA does not start (error 999, unknown error){uvm}",
)
DRIVER_WITHOUT_LIBCUDA = Code(
    id="ED211",
    name="driver-without-libcuda",
    family="libcuda-missing",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.CUDA_INIT,
    breaks="compute:gpu",
    message="the kernel driver is loaded, but libcuda.so.1 cannot be found",
    detailed="the kernel driver{release} is loaded, but libcuda.so.1 cannot be found",
    explains=("ED302",),
)
CUDA_INIT_FAILED = Code(
    id="ED212",
    name="cuda-init-failed",
    family="cuda-init-failed",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.CUDA_INIT,
    breaks="compute:gpu",
    message="CUDA does not start",
    detailed="CUDA does not start: {status} ({code}), {text}",
)
UVM_HMM = Code(
    id="ED217",
    name="uvm-hmm",
    family="uvm-hmm",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.CUDA_INIT,
    breaks="compute:gpu",
    message="CUDA does not start (error 3): heterogeneous memory management (HMM) of the module "
    "nvidia_uvm fails on this kernel",
)
CONFIDENTIAL_COMPUTING = Code(
    id="ED218",
    name="confidential-computing",
    family="confidential-computing",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.CUDA_INIT,
    breaks="compute:gpu",
    message="the GPU of this confidential virtual machine is not set ready (CUDA error 802)",
)


# --- cuInit returns an error ---


class Case(Record):
    """What is known when cuInit fails."""

    init: CudaInit
    driver: Driver
    release: DriverRelease
    site: Site
    trace: GpuTrace
    kernel: str
    fabric: str
    nvml_fits: bool = False
    environment: Environment | None = None
    gpus: tuple[Gpu, ...] = ()
    limits: Limits | None = None
    virtual: bool | None = None

    @property
    def is_vgpu(self) -> bool:
        """Whether the GPU is a slice that a hypervisor gives."""
        return any(is_vgpu(gpu.name or "") for gpu in self.trace.visible)


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
) -> Findings:
    """cuInit, tried without torch, returns an error; or torch names one of its errors."""
    began, init = init, _as_torch_says(init, used, runtime)
    place = ("cuInit", "libcuda.so.1") if init is began else ("CUDA", "torch")
    if init is None or init.code in (None, 0) or (init.code in _MORE_IS_TOLD and not site.gvisor):
        return
    kernel = (host.kernel if host else None) or ""
    fabric = _unready_fabric(gpus)
    case = Case(
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
    code, fixes = _told(case)
    guessed = code in _BY_MORE_SIGNS and not (code is FABRIC_MANAGER and fabric)
    yield code.finding(
        confidence=Confidence.LIKELY if guessed else Confidence.CERTAIN,
        status=init.status,
        code=init.code,
        text=_MEANINGS.get(init.code or 0, init.message),
        evidence=(
            Evidence(label=place[0], value=f"{init.status} ({init.code})", source=place[1]),
            Evidence(label="libcuda", value=init.library or "unknown", source="/proc/self/maps"),
            Evidence(
                label="kernel driver",
                value=" ".join(filter(None, (release.release, driver.flavor))) or "unknown",
                source=release.source or "/proc/driver/nvidia/version",
            ),
            *((Evidence(label="fabric", value=fabric, source="NVML"),) if fabric else ()),
        ),
        fixes=fixes,
    )


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

Told = tuple[Code, tuple[Fix, ...]]
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


def _mismatch(case: Case) -> Told:
    path = case.init.library or ""
    libcuda = path.rpartition(".so.")[2]
    # Where NVML answers, its library is of the module's release.
    differs = "." in libcuda and libcuda != case.release.release
    stray = path if case.nvml_fits and (differs or case.site.contained) else None
    return DRIVER_LIB_MISMATCH, system.libraries_of_release(
        case.site, case.release.release, libcuda, stray=stray
    )


def _told(case: Case) -> Told:
    if case.site.gvisor:
        return CUDA_INIT_FAILED, (system.let_through_gvisor(case.release.release),)
    return _BY_ERROR.get(case.init.code or 0, _not_told)(case)


def _compat(case: Case) -> Told:
    out = take_out(case.init.library or "", "compat", case.environment, case.site)
    newer = system.on_host(
        case.site, "or update the driver, so that it runs this CUDA without cuda-compat"
    )
    return FORWARD_COMPAT, (out, newer)


def _not_ready(case: Case) -> Told:
    """Error 802 has two causes: NVSwitch without its fabric manager, or confidential computing."""
    if not case.fabric and _is_confidential(case):
        return CONFIDENTIAL_COMPUTING, (_set_ready(case),)
    if any(_OF_A_RACK.search(gpu.name or "") for gpu in case.trace.gpus):
        return FABRIC_MANAGER, (system.fabric_of_rack(),)
    capabilities = [gpu.compute_capability or "" for gpu in case.trace.gpus]
    fabric = system.fabric_manager(
        case.site,
        case.release.release,
        fifth_nvlink=any(one.startswith("10.") for one in capabilities),
    )
    if len(case.trace.gpus) != 1 or case.site.contained:
        return FABRIC_MANAGER, (fabric,)
    # A machine with NVSwitch has several GPUs; one alone was passed through to this one, and then
    # it may be a confidential one as well, which the name of a cloud's kernel does not tell.
    may_be = case.virtual is not False and capabilities[0].startswith(_CONFIDENTIAL)
    or_ready = (_set_ready(case, "if this is a confidential virtual machine: "),) if may_be else ()
    return FABRIC_MANAGER, (fabric, system.fabric_manager_of_hypervisor(), *or_ready)


_CONFIDENTIAL = ("9.", "10.", "12.")
"""Compute capabilities with confidential computing: Hopper and Blackwell (NVIDIA Secure AI)."""


def _set_ready(case: Case, condition: str = "") -> Fix:
    return system.on_host(
        case.site,
        f"{condition}set the GPU ready, after its attestation where that is wanted",
        "sudo nvidia-smi conf-compute -srs 1",
        "nvidia-smi conf-compute -grs",
    )


_OF_A_RACK = re.compile(r"\bGB[23]00\b")
"""GPUs whose NVLink fabric is that of a whole rack (NVIDIA GB200 NVL72)."""


def _is_confidential(case: Case) -> bool:
    """A guest kernel of AMD SEV-SNP or Intel TDX, or PCIe cards alone, which have no NVSwitch."""
    if "host" not in case.kernel and any(word in case.kernel for word in ("snp", "sev", "tdx")):
        return True
    names = [gpu.name or "" for gpu in case.trace.visible]
    return bool(names) and all(any(one in name for one in ("PCIe", "NVL")) for name in names)


def _hmm_or_not(case: Case) -> Told:
    if case.driver.flavor != "open" or "nvidia_uvm" not in case.driver.modules:
        return _not_told(case)
    newer = Fix(
        summary="or update driver or kernel: releases differ in which kernels their HMM works on",
        where=Place.HOST if case.site.contained else Place.HERE,
    )
    return UVM_HMM, (_without_hmm(case.site), newer)


def _without_hmm(site: Site) -> Fix:
    if site.os_family == "nixos" and not site.contained:
        option = 'boot.extraModprobeConfig = "options nvidia_uvm uvm_disable_hmm=1";'
        return Fix(
            summary=f"switch HMM of nvidia_uvm off: {option} in configuration.nix, then "
            "`sudo nixos-rebuild switch`, and restart"
        )
    return system.on_host(
        site,
        "switch HMM of nvidia_uvm off, and reload the module",
        "echo 'options nvidia_uvm uvm_disable_hmm=1' | sudo tee /etc/modprobe.d/nvidia-uvm.conf",
        "sudo rmmod nvidia_uvm && sudo modprobe nvidia_uvm",
    )


def _no_memory(case: Case) -> Told:
    memory = Fix(
        summary="look at the main memory of the host and at `ulimit -l`; the GPU's own memory has "
        "nothing to do with it",
        commands=("free -m", "ulimit -l", "sudo dmesg | grep -iE 'nvrm|BAR' | tail"),
        safety=Safety.NEEDS_ROOT,
    )
    limit = case.limits.address_space_bytes if case.limits else None
    if limit is not None:
        return CUDA_INIT_FAILED, (_raise_address_space(limit), memory)
    mapped = Fix(
        summary="in a virtual machine give the GPU more MMIO space; on Hyper-V:",
        commands=(
            "Set-VM -Name VM -HighMemoryMappedIoSpace 512GB -GuestControlledCacheTypes $true",
        ),
        where=Place.HOST,
    )
    return CUDA_INIT_FAILED, (mapped, memory)


def _raise_address_space(limit: int) -> Fix:
    """CUDA reserves addresses for all memory of the host and of the GPUs (CUDA C++ Programming
    Guide, Unified Virtual Address Space)."""
    return Fix(
        summary=f"lift the limit of the address space, which is {limit / 1e9:.0f} GB (`ulimit -v`; "
        "h_vmem of Grid Engine, pvmem of PBS): CUDA reserves addresses for all memory of the host "
        "and of the GPUs",
        commands=("ulimit -v unlimited",),
        safety=Safety.SAFE,
    )


def _not_told(case: Case) -> Told:
    return CUDA_INIT_FAILED, (
        *((system.license_vgpu(case.site),) if case.is_vgpu else ()),
        Fix(
            summary="look what the driver says of the GPUs and their processes",
            commands=("nvidia-smi",),
            safety=Safety.SAFE,
        ),
        system.look_at_kernel_log(case.site),
    )


def _busy(case: Case) -> Told:
    look = Fix(
        summary="look which processes have the GPU, and at its compute mode",
        commands=("nvidia-smi", "nvidia-smi -q -d COMPUTE"),
        safety=Safety.SAFE,
    )
    share = system.on_host(
        case.site, "let several processes use the GPU", "sudo nvidia-smi -c DEFAULT"
    )
    # A GPU that anybody may use and nobody does is in an error state.
    idle = case.gpus and all(
        gpu.compute_mode == "default" and not gpu.process_pids for gpu in case.gpus
    )
    log = system.look_at_kernel_log(case.site)
    if not idle:
        return CUDA_INIT_FAILED, (look, share, log)
    return CUDA_INIT_FAILED, (log, system.reset_gpu(case.site, case.gpus[0].index), look)


def _system_call(case: Case) -> Told:
    look = Fix(
        summary="look whether this process may open the nodes, and what else is refused to it",
        commands=(
            "ls -l /dev/nvidia*",
            "strace -f -e trace=openat,ioctl -o trace.txt python -c "
            "'import torch; torch.cuda.init()'; grep -n ' = -1 ' trace.txt | tail",
        ),
        safety=Safety.SAFE,
    )
    log = system.look_at_kernel_log(case.site)
    if not case.site.contained:
        return CUDA_INIT_FAILED, (look, log)
    anew = system.give_gpus(case.site)
    if case.site.container not in ("docker", "podman") or case.driver.unusable_nodes:
        return CUDA_INIT_FAILED, (anew, look, log)
    # The nodes are open, so that a system call is refused.
    return CUDA_INIT_FAILED, (system.allow_new_system_calls(case.site), anew, look, log)


def _of_memory(case: Case) -> Told:
    resets = (system.reset_gpu(case.site, gpu.index) for gpu in case.gpus[:1])
    return CUDA_INIT_FAILED, (
        *(resets if case.gpus else (system.restart(case.site, "that resets its GPUs"),)),
        system.look_at_kernel_log(case.site),
        system.replace_gpu(),
    )


def _part_of_driver(case: Case) -> Told:
    """Error 303 or 500: libcuda is there, what it loads is not."""
    if case.site.wsl and case.site.contained:
        return CUDA_INIT_FAILED, (system.update_toolkit_of_wsl(),)
    if case.site.contained:
        whole = Fix(
            summary="let the container runtime bring in the driver's libraries, all of one "
            "release, and take copies of single ones out of the image (libcuda loads "
            "libnvidia-ptxjitcompiler and others)",
            commands=("ldconfig -p | grep -E 'libcuda|libnvidia'",),
            where=Place.IMAGE,
        )
        return CUDA_INIT_FAILED, (whole, system.give_gpus(case.site))
    return CUDA_INIT_FAILED, (
        Fix(
            summary="see whether the driver's libraries are there and of one release (libcuda "
            "loads libnvidia-ptxjitcompiler and others), and install the driver's package again",
            commands=("ldconfig -p | grep -E 'libcuda|libnvidia'",),
            safety=Safety.SAFE,
        ),
        system.look_at_kernel_log(case.site),
    )


def _mps(case: Case) -> Told:
    if case.site.contained:
        variables = case.environment.variables if case.environment else {}
        pipe = variables.get("CUDA_MPS_PIPE_DIRECTORY") or _MPS_PIPE
        return CUDA_INIT_FAILED, (system.share_mps(case.site, pipe), _stop_mps(case))
    return CUDA_INIT_FAILED, (_stop_mps(case),)


_MPS_PIPE = "/tmp/nvidia-mps"
"""Where the daemon listens by default (MPS documentation, CUDA_MPS_PIPE_DIRECTORY)."""


def _stop_mps(case: Case) -> Fix:
    return system.on_host(
        case.site,
        "stop the MPS control daemon, or start it as the user of this process",
        "echo quit | sudo nvidia-cuda-mps-control",
    )


_BY_ERROR: dict[int, Callable[[Case], Told]] = {
    2: _no_memory,
    3: _hmm_or_not,
    46: _busy,
    214: _of_memory,
    303: _part_of_driver,
    304: _system_call,
    500: _part_of_driver,
    800: _busy,
    802: _not_ready,
    803: _mismatch,
    804: _compat,
    805: _mps,
    806: _mps,
    807: _mps,
    808: _mps,
    809: _mps,
}


_LOAD_UVM = "load nvidia_uvm and make its device node", "sudo modprobe nvidia_uvm"
_RELOAD_UVM = (
    "reload nvidia_uvm and make its device node; end first what uses it, or restart the machine",
    "sudo rmmod nvidia_uvm; sudo modprobe nvidia_uvm",
)


@check(CUDA_UNKNOWN_UVM)
def cuda_unknown(init: CudaInit, driver: Driver, site: Site) -> Findings:
    """Error 999, most often because the module nvidia_uvm is gone after a suspend."""
    if init.code != 999 or site.gvisor:
        return
    is_loaded = "nvidia_uvm" in driver.modules or not driver.modules
    missing = [] if is_loaded else ["the module nvidia_uvm is not loaded"]
    if "/dev/nvidia-uvm" not in driver.device_nodes:
        missing.append("the device node /dev/nvidia-uvm is missing")
    how, load = _RELOAD_UVM if is_loaded else _LOAD_UVM
    yield CUDA_UNKNOWN_UVM.finding(
        uvm="".join(f", and {one}" for one in missing),
        evidence=(
            Evidence(label="cuInit", value=f"{init.status} (999)", source="libcuda.so.1"),
            Evidence(label="modules", value=" ".join(driver.modules), source="/proc/modules"),
            Evidence(label="device nodes", value=" ".join(driver.device_nodes), source="/dev"),
        ),
        fixes=(
            system.on_host(
                site,
                how,
                load,
                "sudo nvidia-modprobe -u -c=0",
            ),
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
