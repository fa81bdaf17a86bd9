"""Whether this build of torch is one for the GPUs of this machine."""

from collections.abc import Iterator

from envdoctor.api import (
    HIDES_EVERY_GPU,
    Code,
    Distributions,
    Environment,
    Evidence,
    Findings,
    Fix,
    GpuTrace,
    Layer,
    Nvml,
    PciGpus,
    Place,
    Prescription,
    Safety,
    Severity,
    Site,
    TorchBuild,
    TorchFirstUse,
    TorchRuntime,
    TracedGpu,
    Wanted,
    check,
    command,
    covers,
    packages,
    prescribed,
    pytorch_source,
    system,
)
from envdoctor_checks.amd import AMD, ROCM_BUILD

CPU_ONLY_TORCH = Code(
    id="ED405",
    name="cpu-only-torch",
    family="cpu-only-torch",
    severity=Severity.ERROR,
    topic="torch",
    layer=Layer.BUILD,
    breaks="compute:gpu",
    message="torch is a build without CUDA, and a GPU is wanted",
    detailed="torch {version} is a build without CUDA, and {gpu}",
)
GPU_ARCH_TOO_NEW = Code(
    id="ED406",
    name="gpu-arch-too-new",
    family="gpu-arch-too-new",
    severity=Severity.ERROR,
    topic="torch",
    layer=Layer.BUILD,
    breaks="compute:gpu",
    message="the GPU is newer than all that torch is compiled for",
    detailed="{gpu} ({subjects}) has compute capability {capability}, newer than all that torch "
    "{version} is compiled for ({flags})",
    explains=("ED201", "ED228", "ED376"),
)
GPU_ARCH_TOO_OLD = Code(
    id="ED407",
    name="gpu-arch-too-old",
    family="gpu-arch-too-old",
    severity=Severity.ERROR,
    topic="torch",
    layer=Layer.BUILD,
    breaks="compute:gpu",
    message="torch is not compiled for this GPU",
    detailed="{gpu} ({subjects}) has compute capability {capability}, for which torch {version} "
    "has no kernels ({flags})",
    explains=("ED201", "ED228", "ED376"),
)
ARCH_FLAGS_DISAGREE = Code(
    id="ED408",
    name="arch-flags-disagree",
    family="damaged-install",
    severity=Severity.INFO,
    topic="torch",
    layer=Layer.BUILD,
    message="the targets that torch states are not those that its library holds",
    detailed="torch says that it is compiled for {said}, its library holds kernels for {held}",
)
NO_NVIDIA_GPU = Code(
    id="ED412",
    name="no-nvidia-gpu",
    family="no-nvidia-gpu",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.BUS,
    breaks="compute:gpu",
    message="no NVIDIA GPU is visible",
    detailed="{subject_text}, and {none}",
)
ROCM_CUDA_MIX = Code(
    id="ED414",
    name="rocm-cuda-mix",
    family="rocm-cuda-mix",
    severity=Severity.ERROR,
    topic="torch",
    layer=Layer.BUILD,
    breaks="compute:gpu",
    message="torch is built for the GPUs of another vendor",
    detailed="torch {version} is built for {built}, and this machine has {gpu}",
)
XPU_CUDA_MIX = Code(
    id="ED415",
    name="xpu-cuda-mix",
    family="xpu-cuda-mix",
    severity=Severity.ERROR,
    topic="torch",
    layer=Layer.BUILD,
    breaks="compute:gpu",
    message="torch is built for Intel's GPUs (XPU), and this machine has one of NVIDIA",
    detailed="torch {version} is built for Intel's GPUs (XPU), and this machine has {gpu}",
)

_INTEL = "8086"


@check(CPU_ONLY_TORCH)
def cpu_only_torch(
    build: TorchBuild,
    wanted: Wanted,
    trace: GpuTrace,
    prescription: Prescription | None,
    site: Site,
    pci: PciGpus | None,
) -> Findings:
    """A build for the CPU on a machine with an NVIDIA GPU, or where one is expected."""
    if build.variant != "cpu" or build.cuda or wanted.gpu != "yes" or site.os_family == "macos":
        return
    found = next(iter(trace.visible), None)
    gpu = f"this machine has {_named(found)}" if found else "a GPU is expected"
    amd = pci is not None and any(one.vendor_id == AMD for one in pci.devices)
    other = "install a CUDA build that this driver runs"
    yield CPU_ONLY_TORCH.finding(
        version=build.version,
        gpu=gpu,
        evidence=(
            Evidence(label="torch.version.cuda", value="None", source=build.version_source),
            _seen(found)
            if found
            else Evidence(label="expected", value="gpu", source=wanted.because),
        ),
        fixes=(_rocm_build(site) if amd and not found else _cuda_build(prescription, site, other),),
    )


def _named(gpu: TracedGpu) -> str:
    if gpu.name is None and gpu.device_id is None:
        return "an NVIDIA GPU"
    return gpu.name or f"an NVIDIA device 10de:{gpu.device_id}"


def _seen(gpu: TracedGpu) -> Evidence:
    if gpu.nvml_index is not None:
        return Evidence(label="GPU", value=gpu.described, source="NVML")
    source = f"/sys/bus/pci/devices/{gpu.pci_address}" if gpu.pci_address else "the driver"
    return Evidence(label="PCI device", value=_named(gpu), source=source)


def _cuda_build(prescription: Prescription | None, site: Site, summary: str) -> Fix:
    return system.torch_of_jetpack(site) if site.jetson else prescribed(prescription, summary)


@check(ROCM_CUDA_MIX, XPU_CUDA_MIX)
def build_for_another_vendor(
    build: TorchBuild,
    wanted: Wanted,
    trace: GpuTrace,
    pci: PciGpus | None,
    distributions: Distributions | None,
    prescription: Prescription | None,
    site: Site,
) -> Findings:
    """A ROCm or XPU build beside an NVIDIA GPU, or a CUDA build where the only GPU is AMD's."""
    if wanted.gpu != "yes":
        return
    of_another = build.cuda is None and build.variant.startswith(("rocm", "xpu"))
    if of_another and any(gpu.torch_index is not None for gpu in trace.gpus):
        return
    # Torch itself calls the GPUs of AMD `cuda:0` as well.
    of_nvidia = (gpu for gpu in trace.visible if gpu.nvml_index is not None or gpu.device_id)
    nvidia = next(of_nvidia, None)
    amd = next((one for one in (pci.devices if pci else ()) if one.vendor_id == AMD), None)
    version = Evidence(label="torch", value=build.version or "", source=build.version_source)
    if nvidia is not None and of_another:
        xpu = build.variant.startswith("xpu")
        fixes = (
            _cuda_build(prescription, site, "install a CUDA build in its place"),
            *_without_foreign_triton(distributions, site),
        )
        yield (XPU_CUDA_MIX if xpu else ROCM_CUDA_MIX).finding(
            version=build.version,
            built="AMD's GPUs (ROCm)",
            gpu=_named(nvidia),
            evidence=(version, _seen(nvidia)),
            fixes=fixes,
        )
    elif nvidia is None and amd is not None and build.cuda is not None:
        yield ROCM_CUDA_MIX.finding(
            version=build.version,
            built="NVIDIA's GPUs (CUDA)",
            gpu=f"one of AMD (1002:{amd.device_id})",
            evidence=(
                version,
                Evidence(
                    label="PCI device",
                    value=f"1002:{amd.device_id}, kernel driver {amd.driver or 'none'}",
                    source=f"/sys/bus/pci/devices/{amd.address}",
                ),
            ),
            fixes=(_rocm_build(site),),
        )


def _rocm_build(site: Site) -> Fix:
    return packages.install(
        site,
        "torch",
        summary="install a ROCm build of torch; which GPUs it serves is listed in AMD's ROCm "
        "documentation",
        source=pytorch_source(*ROCM_BUILD),
        again=True,
    )


def _without_foreign_triton(distributions: Distributions | None, site: Site) -> Iterator[Fix]:
    names = ("pytorch-triton-rocm", "pytorch-triton-xpu", "triton-rocm", "triton-xpu")
    found = [name for name in names if distributions and distributions.first(name)]
    if found:
        summary = f"and remove {' and '.join(found)}, which belongs to the old build"
        yield packages.uninstall(site, *found, summary=summary)


@check(GPU_ARCH_TOO_NEW, GPU_ARCH_TOO_OLD)
def gpu_arch_not_compiled(
    build: TorchBuild,
    trace: GpuTrace,
    runtime: TorchRuntime | None,
    used: TorchFirstUse | None,
    prescription: Prescription | None,
    site: Site,
) -> Findings:
    """A GPU that no kernel of this build runs on."""
    flags = (runtime.arch_list if runtime else ()) or build.arch_flags or build.fatbin_arch_flags
    if not flags or build.cuda is None:
        return
    working = _working(trace, used)
    for gpu in trace.visible:
        capability = gpu.compute_capability
        if not capability:
            continue
        newer = _is_newer(capability, flags)
        runs = covers(flags, capability, torch=build.version, cuda=build.cuda)
        # What the rules promise to a newer GPU, by PTX, its own error takes back.
        if runs and not (newer and _lacks_kernels(gpu, used)):
            continue
        code = GPU_ARCH_TOO_NEW if newer else GPU_ARCH_TOO_OLD
        yield code.finding(
            subjects=(gpu.subject,),
            gpu=gpu.described,
            capability=capability,
            version=build.version,
            flags=", ".join(flags),
            evidence=(
                Evidence(label="compute capability", value=capability, source=_source(gpu)),
                Evidence(
                    label="compiled for",
                    value=" ".join(flags),
                    source=build.arch_source or "torch._C._cuda_getArchFlags()",
                ),
            ),
            fixes=(
                *_leave_out(working),
                _cuda_build(prescription, site, "install a build that has kernels for this GPU"),
            ),
            notes=(
                "a kernel for X.Y runs on compute capability X.Z with Z >= Y, and on no other X",
            ),
        )


def _lacks_kernels(gpu: TracedGpu, used: TorchFirstUse | None) -> bool:
    errors = (
        one.error or ""
        for one in (used.operations if used else ())
        if one.device == f"cuda:{gpu.torch_index}"
    )
    return any("no kernel image" in error for error in errors)


def _source(gpu: TracedGpu) -> str:
    if gpu.torch_index is not None:
        return "torch"
    return "NVML" if gpu.nvml_index is not None else "the PCI device id"


def _working(trace: GpuTrace, used: TorchFirstUse | None) -> list[TracedGpu]:
    """The GPUs on which every first operation gave the right result."""
    tried = used.operations if used else ()
    failed = {one.device for one in tried if one.error}
    seen = {one.device for one in tried}
    return [
        gpu
        for gpu in trace.visible
        if f"cuda:{gpu.torch_index}" in seen and f"cuda:{gpu.torch_index}" not in failed
    ]


def _leave_out(working: list[TracedGpu]) -> Iterator[Fix]:
    """Beside GPUs that compute, the simplest is to show torch only these."""
    names = [gpu.uuid or str(gpu.nvml_index) for gpu in working if gpu.nvml_index is not None]
    if not names:
        return
    yield Fix(
        summary="show torch only the GPUs that it serves",
        commands=(
            "export CUDA_DEVICE_ORDER=PCI_BUS_ID",
            command("export", f"CUDA_VISIBLE_DEVICES={','.join(names)}"),
        ),
        safety=Safety.SAFE,
    )


def _is_newer(capability: str, flags: tuple[str, ...]) -> bool:
    """By number; 11.0 (Thor) came with CUDA 13, after 12.0 (NVIDIA CUDA release notes), and a build
    that has code for neither is older than both."""
    major, minor = capability.split(".")
    numbers = [int("".join(filter(str.isdigit, flag.partition("_")[2]))) for flag in flags]
    return capability == _AFTER_HIGHER_NUMBERS or int(major) * 10 + int(minor) > max(numbers)


_AFTER_HIGHER_NUMBERS = "11.0"


@check(ARCH_FLAGS_DISAGREE)
def arch_flags_disagree(build: TorchBuild, runtime: TorchRuntime | None) -> Findings:
    """The list of compiled targets and the kernels in the library are not the same."""
    said = (runtime.arch_list if runtime else ()) or build.arch_flags
    held = build.fatbin_arch_flags
    if not said or not held or set(said) == set(held):
        return
    yield ARCH_FLAGS_DISAGREE.finding(
        said=" ".join(said),
        held=" ".join(held),
        evidence=(
            Evidence(label="stated", value=" ".join(said), source=build.arch_source or "torch"),
            Evidence(label="held", value=" ".join(held), source="lib/libtorch_cuda.so, .nv_fatbin"),
        ),
        fixes=(Fix(summary="judge by what the library holds; the build may have been changed"),),
    )


@check(NO_NVIDIA_GPU)
def no_nvidia_gpu(
    wanted: Wanted,
    trace: GpuTrace,
    pci: PciGpus | None,
    nvml: Nvml | None,
    build: TorchBuild | None,
    site: Site,
    environment: Environment | None,
) -> Findings:
    """A GPU is wanted, here or elsewhere, and none is visible; nobody looked is no answer."""
    if trace.visible or wanted.gpu not in ("yes", "elsewhere"):
        return
    if pci is None and (nvml is None or nvml.status == "ok"):
        return
    expected = wanted.gpu == "yes"
    unusable = next((gpu.unwanted for gpu in trace.gpus), None)
    unserved = (unusable or "").startswith("no torch ")
    amd = pci is not None and any(one.vendor_id == AMD for one in pci.devices)
    # Of another vendor's GPU, of WSL and of a variable that hides all there are own findings.
    hidden = environment is not None and (
        environment.variables.get("CUDA_VISIBLE_DEVICES", "0").strip() in HIDES_EVERY_GPU
    )
    if expected and (amd or (site.wsl and not site.contained) or (trace.gpus and hidden)):
        return
    if _is_of_intel(build, pci):
        return
    if not expected and build is not None and build.cuda is None:
        # A build for AMD's or Intel's GPUs that is for elsewhere.
        return
    where = " and ".join(filter(None, ("sysfs" if pci else "", "NVML" if nvml else "")))
    cuda = build.cuda if build else None
    yield NO_NVIDIA_GPU.finding(
        severity=Severity.ERROR if expected else Severity.INFO,
        subject_text=f"torch {build.version} is built for CUDA {cuda}"
        if build and cuda
        else "a GPU is expected",
        none=f"no GPU here can be used: {unusable}" if unusable else "no NVIDIA GPU is visible",
        evidence=(
            Evidence(label="NVIDIA devices", value=str(len(trace.gpus) or "none"), source=where),
            *((Evidence(label="NVML", value=nvml.status, source="NVML"),) if nvml else ()),
            *(
                Evidence(label=gpu.described, value=gpu.unwanted, source="the GPUs of the machine")
                for gpu in trace.gpus
            ),
        ),
        fixes=(
            _take_back(trace, site) or (_another() if unserved else _give(site))
            if expected
            else _nothing(),
        ),
    )


def _is_of_intel(build: TorchBuild | None, pci: PciGpus | None) -> bool:
    """Whether a build for Intel's GPUs has one here: an NVIDIA GPU is not what it wants."""
    intel = pci is not None and any(one.vendor_id == _INTEL for one in pci.devices)
    return intel and build is not None and build.variant.startswith("xpu")


def _take_back(trace: GpuTrace, site: Site) -> Fix | None:
    """Where a GPU is held for a virtual machine."""
    held = next((gpu for gpu in trace.gpus if gpu.kernel_driver == "vfio-pci"), None)
    if held is None or site.contained:
        return None
    return system.take_from_vfio(site, held.pci_address, held.device_id)


def _give(site: Site) -> Fix:
    if site.contained:
        return system.give_gpus(site)
    if site.os_family == "windows":
        return Fix(
            summary="see in the Device Manager whether Windows has the GPU, and install NVIDIA's "
            "driver",
            commands=("nvidia-smi",),
            safety=Safety.SAFE,
        )
    return Fix(
        summary="give this machine its GPU (power, slot, passed through to the virtual machine), "
        "and look again",
        commands=("lspci -d 10de:", "envdoctor check --expect gpu"),
        safety=Safety.SAFE,
        where=Place.FIRMWARE,
    )


def _another() -> Fix:
    return Fix(
        summary="no build of torch computes on this card: let the machine train on its CPU, or "
        "give it another GPU (Turing and later are served by every build of today)",
        where=Place.NONE,
    )


def _nothing() -> Fix:
    return Fix(summary="nothing, if this machine is to train on its CPU", where=Place.NONE)
