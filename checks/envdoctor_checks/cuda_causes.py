"""Why cuInit returns its error, by the code together with the machine around it."""

import re
from collections.abc import Callable

from envdoctor.api import (
    Code,
    CudaInit,
    Driver,
    DriverRelease,
    Environment,
    Fix,
    Gpu,
    GpuTrace,
    Limits,
    Place,
    Record,
    Safety,
    Site,
    is_vgpu,
    system,
)
from envdoctor_checks.cuda_codes import (
    CONFIDENTIAL_COMPUTING,
    CUDA_INIT_FAILED,
    DRIVER_LIB_MISMATCH,
    FABRIC_MANAGER,
    FORWARD_COMPAT,
    UVM_HMM,
)
from envdoctor_checks.driver_library import take_out


class FailedInit(Record):
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


Cause = tuple[Code, tuple[Fix, ...]]
"""A disease, and what repairs it in this place."""


def _mismatch(case: FailedInit) -> Cause:
    path = case.init.library or ""
    libcuda = path.rpartition(".so.")[2]
    # Where NVML answers, its library is of the module's release.
    differs = "." in libcuda and libcuda != case.release.release
    stray = path if case.nvml_fits and (differs or case.site.contained) else None
    return DRIVER_LIB_MISMATCH, system.libraries_of_release(
        case.site, case.release.release, libcuda, stray=stray
    )


def cause_of(case: FailedInit) -> Cause:
    """By the code alone, or by the code and the machine."""
    if case.site.gvisor:
        return CUDA_INIT_FAILED, (system.let_through_gvisor(case.release.release),)
    return _BY_ERROR.get(case.init.code or 0, _unexplained)(case)


def _compat(case: FailedInit) -> Cause:
    out = take_out(case.init.library or "", "compat", case.environment, case.site)
    newer = system.on_host(
        case.site, "or update the driver, so that it runs this CUDA without cuda-compat"
    )
    return FORWARD_COMPAT, (out, newer)


def _not_ready(case: FailedInit) -> Cause:
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


def _set_ready(case: FailedInit, condition: str = "") -> Fix:
    return system.on_host(
        case.site,
        f"{condition}set the GPU ready, after its attestation where that is wanted",
        "sudo nvidia-smi conf-compute -srs 1",
        "nvidia-smi conf-compute -grs",
    )


_OF_A_RACK = re.compile(r"\bGB[23]00\b")
"""GPUs whose NVLink fabric is that of a whole rack (NVIDIA GB200 NVL72)."""


def _is_confidential(case: FailedInit) -> bool:
    """A guest kernel of AMD SEV-SNP or Intel TDX, or PCIe cards alone, which have no NVSwitch."""
    if "host" not in case.kernel and any(word in case.kernel for word in ("snp", "sev", "tdx")):
        return True
    names = [gpu.name or "" for gpu in case.trace.visible]
    return bool(names) and all(any(one in name for one in ("PCIe", "NVL")) for name in names)


def _hmm_or_not(case: FailedInit) -> Cause:
    if case.driver.flavor != "open" or "nvidia_uvm" not in case.driver.modules:
        return _unexplained(case)
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


def _no_memory(case: FailedInit) -> Cause:
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


def _unexplained(case: FailedInit) -> Cause:
    return CUDA_INIT_FAILED, (
        *((system.license_vgpu(case.site),) if case.is_vgpu else ()),
        Fix(
            summary="look what the driver says of the GPUs and their processes",
            commands=("nvidia-smi",),
            safety=Safety.SAFE,
        ),
        system.look_at_kernel_log(case.site),
    )


def _busy(case: FailedInit) -> Cause:
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


def _system_call(case: FailedInit) -> Cause:
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


def _of_memory(case: FailedInit) -> Cause:
    resets = (system.reset_gpu(case.site, gpu.index) for gpu in case.gpus[:1])
    return CUDA_INIT_FAILED, (
        *(resets if case.gpus else (system.restart(case.site, "that resets its GPUs"),)),
        system.look_at_kernel_log(case.site),
        system.replace_gpu(),
    )


def _part_of_driver(case: FailedInit) -> Cause:
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


def _mps(case: FailedInit) -> Cause:
    if case.site.contained:
        variables = case.environment.variables if case.environment else {}
        pipe = variables.get("CUDA_MPS_PIPE_DIRECTORY") or _MPS_PIPE
        return CUDA_INIT_FAILED, (system.share_mps(case.site, pipe), _stop_mps(case))
    return CUDA_INIT_FAILED, (_stop_mps(case),)


_MPS_PIPE = "/tmp/nvidia-mps"
"""Where the daemon listens by default (MPS documentation, CUDA_MPS_PIPE_DIRECTORY)."""


def _not_permitted(case: FailedInit) -> Cause:
    """Error 800 under MPS is the server's: it serves one user, and one for all users works from
    Volta on alone (MPS documentation; kubernetes-sigs/dra-driver-nvidia-gpu 1153)."""
    code, fixes = _busy(case)
    variables = case.environment.variables if case.environment else {}
    if "CUDA_MPS_PIPE_DIRECTORY" not in variables:
        return code, fixes
    user = Fix(
        summary="the MPS server refuses this client: run it as the user whose server it is, or "
        "share the GPU without MPS, as before Volta no server takes clients of several users",
        commands=("unset CUDA_MPS_PIPE_DIRECTORY",),
        safety=Safety.SAFE,
    )
    return code, (user, *fixes)


def _stop_mps(case: FailedInit) -> Fix:
    return system.on_host(
        case.site,
        "stop the MPS control daemon, or start it as the user of this process",
        "echo quit | sudo nvidia-cuda-mps-control",
    )


_BY_ERROR: dict[int, Callable[[FailedInit], Cause]] = {
    2: _no_memory,
    3: _hmm_or_not,
    46: _busy,
    214: _of_memory,
    303: _part_of_driver,
    304: _system_call,
    500: _part_of_driver,
    800: _not_permitted,
    802: _not_ready,
    803: _mismatch,
    804: _compat,
    805: _mps,
    806: _mps,
    807: _mps,
    808: _mps,
    809: _mps,
}
