"""Whether CUDA starts on this driver: cuInit without torch, and libcuda."""

import re
from collections.abc import Callable

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
    Gpus,
    GpuTrace,
    Host,
    Layer,
    Nvml,
    Place,
    Record,
    Safety,
    Severity,
    Site,
    TorchBuild,
    check,
    is_vgpu,
    system,
)
from envdoctor_checks.driver_library import take_out

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
    init: CudaInit,
    driver: Driver,
    release: DriverRelease,
    site: Site,
    trace: GpuTrace,
    host: Host | None,
    gpus: Gpus | None,
    nvml: Nvml | None,
    environment: Environment | None,
) -> Findings:
    """cuInit, tried without torch, returns an error."""
    if init.code in (None, 0, 100, 999):
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
    )
    code, fixes = _BY_ERROR.get(init.code or 0, _not_told)(case)
    guessed = code in _BY_MORE_SIGNS and not (code is FABRIC_MANAGER and fabric)
    yield code.finding(
        confidence=Confidence.LIKELY if guessed else Confidence.CERTAIN,
        status=init.status,
        code=init.code,
        text=_MEANINGS.get(init.code or 0, init.message),
        evidence=(
            Evidence(label="cuInit", value=f"{init.status} ({init.code})", source="libcuda.so.1"),
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


def _unready_fabric(gpus: Gpus | None) -> str:
    """What NVML says of a fabric that is not ready; empty where it is, or there is none."""
    for gpu in gpus.devices if gpus else ():
        if gpu.fabric_state in ("not-started", "in-progress"):
            return f"GPU {gpu.index}: {gpu.fabric_state}"
        if gpu.fabric_error:
            return f"GPU {gpu.index}: {gpu.fabric_error}"
    return ""


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
    304: "a call of the operating system failed, most often on a device node",
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
    libcuda = (case.init.library or "").rpartition(".so.")[2]
    return DRIVER_LIB_MISMATCH, system.libraries_of_release(
        case.site, case.release.release, libcuda, of_image=case.nvml_fits
    )


def _compat(case: Case) -> Told:
    out = take_out(case.init.library or "", "/compat", case.environment, case.site)
    newer = system.on_host(
        case.site, "or update the driver, so that it runs this CUDA without cuda-compat"
    )
    return FORWARD_COMPAT, (out, newer)


def _not_ready(case: Case) -> Told:
    """Error 802 has two causes: NVSwitch without its fabric manager, or confidential computing."""
    if not case.fabric and _is_confidential(case):
        ready = system.on_host(
            case.site,
            "set the GPU ready, after its attestation where that is wanted",
            "sudo nvidia-smi conf-compute -srs 1",
            "nvidia-smi conf-compute -grs",
        )
        return CONFIDENTIAL_COMPUTING, (ready,)
    if any(_OF_A_RACK.search(gpu.name or "") for gpu in case.trace.gpus):
        return FABRIC_MANAGER, (system.fabric_of_rack(),)
    capabilities = [gpu.compute_capability or "" for gpu in case.trace.gpus]
    fabric = system.fabric_manager(
        case.site,
        case.release.release,
        fifth_nvlink=any(one.startswith("10.") for one in capabilities),
    )
    if len(case.trace.gpus) > 1 or case.site.contained:
        return FABRIC_MANAGER, (fabric,)
    # A machine with NVSwitch has several GPUs; one alone was passed through to this one.
    return FABRIC_MANAGER, (fabric, system.fabric_manager_of_hypervisor())


_OF_A_RACK = re.compile(r"\bGB[23]00\b")
"""GPUs whose NVLink fabric is that of a whole rack (NVIDIA GB200 NVL72)."""


def _is_confidential(case: Case) -> bool:
    """A guest kernel of AMD SEV-SNP or Intel TDX, or one PCIe card, which has no NVSwitch."""
    if any(word in case.kernel for word in ("snp", "sev", "tdx")):
        return True
    gpus = case.trace.visible
    return len(gpus) == 1 and any(word in (gpus[0].name or "") for word in ("PCIe", "NVL"))


def _hmm_or_not(case: Case) -> Told:
    if case.driver.flavor != "open" or "nvidia_uvm" not in case.driver.modules:
        return _not_told(case)
    off = system.on_host(
        case.site,
        "switch HMM of nvidia_uvm off, and reload the module",
        "echo 'options nvidia_uvm uvm_disable_hmm=1' | sudo tee /etc/modprobe.d/nvidia-uvm.conf",
        "sudo rmmod nvidia_uvm && sudo modprobe nvidia_uvm",
    )
    newer = Fix(
        summary="or update driver or kernel: releases differ in which kernels their HMM works on",
        where=Place.HOST if case.site.contained else Place.HERE,
    )
    return UVM_HMM, (off, newer)


def _no_memory(case: Case) -> Told:
    memory = Fix(
        summary="look at the main memory of the host and at `ulimit -l`; the GPU's own memory has "
        "nothing to do with it",
        commands=("free -m", "ulimit -l", "sudo dmesg | grep -iE 'nvrm|BAR' | tail"),
        safety=Safety.NEEDS_ROOT,
    )
    mapped = Fix(
        summary="in a virtual machine give the GPU more MMIO space; on Hyper-V:",
        commands=(
            "Set-VM -Name VM -HighMemoryMappedIoSpace 512GB -GuestControlledCacheTypes $true",
        ),
        where=Place.HOST,
    )
    return CUDA_INIT_FAILED, (mapped, memory)


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
    return CUDA_INIT_FAILED, (
        Fix(
            summary="look which processes have the GPU, and at its compute mode",
            commands=("nvidia-smi", "nvidia-smi -q -d COMPUTE"),
            safety=Safety.SAFE,
        ),
        system.on_host(
            case.site, "let several processes use the GPU", "sudo nvidia-smi -c DEFAULT"
        ),
    )


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
    anew = (system.give_gpus(case.site),) if case.site.contained else ()
    return CUDA_INIT_FAILED, (*anew, look, system.look_at_kernel_log(case.site))


def _mps(case: Case) -> Told:
    return CUDA_INIT_FAILED, (
        system.on_host(
            case.site,
            "stop the MPS control daemon, or start it as the user of this process",
            "echo quit | sudo nvidia-cuda-mps-control",
        ),
    )


_BY_ERROR: dict[int, Callable[[Case], Told]] = {
    2: _no_memory,
    3: _hmm_or_not,
    46: _busy,
    304: _system_call,
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


@check(CUDA_UNKNOWN_UVM)
def cuda_unknown(init: CudaInit, driver: Driver, site: Site) -> Findings:
    """Error 999, most often because the module nvidia_uvm is gone after a suspend."""
    if init.code != 999:
        return
    has_uvm = "nvidia_uvm" in driver.modules and "/dev/nvidia-uvm" in driver.device_nodes
    yield CUDA_UNKNOWN_UVM.finding(
        uvm="" if has_uvm else ", and nvidia_uvm or its device node is missing",
        evidence=(
            Evidence(label="cuInit", value=f"{init.status} (999)", source="libcuda.so.1"),
            Evidence(label="modules", value=" ".join(driver.modules), source="/proc/modules"),
            Evidence(label="device nodes", value=" ".join(driver.device_nodes), source="/dev"),
        ),
        fixes=(
            system.on_host(
                site,
                "reload nvidia_uvm and make its device node",
                "sudo rmmod nvidia_uvm; sudo modprobe nvidia_uvm",
                "sudo nvidia-modprobe -u -c=0",
            ),
            *((system.start_anew(site),) if site.contained else ()),
        ),
    )


@check(DRIVER_WITHOUT_LIBCUDA)
def driver_without_libcuda(
    init: CudaInit, driver: Driver, release: DriverRelease, build: TorchBuild | None, site: Site
) -> Findings:
    """The kernel driver without its user-space library; a container has a finding of its own."""
    if init.status != "libcuda-missing" or not driver.loaded:
        return
    # Of a machine alone no torch is known, and its driver is to start CUDA all the same.
    if site.contained or site.wsl or (build is not None and build.cuda is None):
        return
    files, not_found = driver.libcuda_files, "No such file" in init.message
    yield DRIVER_WITHOUT_LIBCUDA.finding(
        release=f" {release.release}" if release.release else "",
        evidence=(
            Evidence(label="dlopen", value=init.message, source="libcuda.so.1"),
            Evidence(
                label="libcuda files", value=" ".join(driver.libcuda_files) or "none", source="/usr"
            ),
        ),
        fixes=(system.show_libcuda(site, release.release, files if not_found else ()),),
    )
