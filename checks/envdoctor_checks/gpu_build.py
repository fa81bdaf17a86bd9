"""Whether this build of torch is one for the GPU of this machine, and gets together with it."""

from envdoctor.api import (
    Code,
    Confidence,
    Evidence,
    Expectation,
    Findings,
    Fix,
    Gpus,
    Layer,
    Nvml,
    PciGpus,
    Severity,
    TorchBuild,
    TorchRuntime,
    check,
)
from envdoctor.knowledge.arch import covers
from envdoctor.prescribe import Prescription
from envdoctor.repair import prescribed

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
    detailed="{gpu} has compute capability {capability}, newer than all that torch {version} is "
    "compiled for ({flags})",
    explains=("ED201",),
)
GPU_ARCH_TOO_OLD = Code(
    id="ED407",
    name="gpu-arch-too-old",
    family="gpu-arch-too-old",
    severity=Severity.ERROR,
    topic="torch",
    layer=Layer.BUILD,
    breaks="compute:gpu",
    message="torch is no longer compiled for this GPU",
    detailed="{gpu} has compute capability {capability}, which torch {version} is no longer "
    "compiled for ({flags})",
    explains=("ED201",),
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
    severity=Severity.INFO,
    topic="driver",
    layer=Layer.BUS,
    breaks="compute:gpu",
    message="no NVIDIA GPU is visible",
    detailed="{subject_text}, and no NVIDIA GPU is visible",
)


@check(CPU_ONLY_TORCH)
def cpu_only_torch(
    build: TorchBuild,
    pci: PciGpus | None,
    gpus: Gpus | None,
    expectation: Expectation | None,
    prescription: Prescription | None,
) -> Findings:
    """A build for the CPU on a machine with an NVIDIA GPU, or where one is expected."""
    expected = expectation.device if expectation else None
    found = _visible_gpu(pci, gpus)
    if build.variant != "cpu" or build.cuda or expected == "cpu":
        return
    if found is None and expected != "gpu":
        return
    gpu = f"this machine has {found.value}" if found else "a GPU is expected"
    expectations = (
        (Evidence(label="expected", value="gpu", source=expectation.evidence),)
        if expectation and expected == "gpu"
        else ()
    )
    yield CPU_ONLY_TORCH.finding(
        version=build.version,
        gpu=gpu,
        evidence=(
            Evidence(label="torch.version.cuda", value="None", source=build.version_source),
            *((found,) if found else ()),
            *expectations,
        ),
        fixes=(prescribed(prescription, "install a CUDA build that this driver runs"),),
    )


def _visible_gpu(pci: PciGpus | None, gpus: Gpus | None) -> Evidence | None:
    if gpus and gpus.devices:
        return Evidence(label="GPU", value=gpus.devices[0].name, source="NVML")
    if pci and pci.nvidia:
        device = pci.nvidia[0]
        return Evidence(
            label="PCI device",
            value=f"an NVIDIA device {device.vendor_id}:{device.device_id}",
            source=f"/sys/bus/pci/devices/{device.address}",
        )
    return None


@check(GPU_ARCH_TOO_NEW, GPU_ARCH_TOO_OLD)
def gpu_arch_not_compiled(
    build: TorchBuild,
    gpus: Gpus,
    runtime: TorchRuntime | None,
    prescription: Prescription | None,
) -> Findings:
    """A GPU that no kernel of this build runs on."""
    flags = (runtime.arch_list if runtime else ()) or build.arch_flags or build.fatbin_arch_flags
    if not flags or build.cuda is None:
        return
    for gpu in gpus.devices:
        capability = gpu.compute_capability
        if not capability or covers(flags, capability, torch=build.version, cuda=build.cuda):
            continue
        code = GPU_ARCH_TOO_NEW if _is_newer(capability, flags) else GPU_ARCH_TOO_OLD
        yield code.finding(
            subjects=(f"gpu:{gpu.index}",),
            gpu=gpu.name,
            capability=capability,
            version=build.version,
            flags=", ".join(flags),
            evidence=(
                Evidence(label="compute capability", value=capability, source="NVML"),
                Evidence(
                    label="compiled for",
                    value=" ".join(flags),
                    source=build.arch_source or "torch._C._cuda_getArchFlags()",
                ),
            ),
            fixes=(prescribed(prescription, "install a build that has kernels for this GPU"),),
            notes=(
                "a kernel for X.Y runs on compute capability X.Z with Z >= Y, and on no other X",
            ),
        )


def _is_newer(capability: str, flags: tuple[str, ...]) -> bool:
    major, minor = capability.split(".")
    numbers = [int("".join(filter(str.isdigit, flag.partition("_")[2]))) for flag in flags]
    return int(major) * 10 + int(minor) > max(numbers)


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
    build: TorchBuild,
    runtime: TorchRuntime | None,
    pci: PciGpus | None,
    gpus: Gpus | None,
    nvml: Nvml | None,
    expectation: Expectation | None,
) -> Findings:
    """A CUDA build where no GPU is, which is an error only where one is expected."""
    expected = expectation is not None and expectation.device == "gpu"
    works = runtime is not None and runtime.cuda_available
    if works or _visible_gpu(pci, gpus) is not None or (build.cuda is None and not expected):
        return
    where = "sysfs and NVML" if pci is not None else "NVML"
    yield NO_NVIDIA_GPU.finding(
        severity=Severity.ERROR if expected else Severity.INFO,
        confidence=Confidence.CERTAIN if pci is not None or nvml is not None else Confidence.LIKELY,
        subject_text=f"torch {build.version} is built for CUDA {build.cuda}"
        if build.cuda
        else "a GPU is expected",
        evidence=(
            Evidence(label="NVIDIA devices", value="none", source=where),
            *((Evidence(label="NVML", value=nvml.status, source="NVML"),) if nvml else ()),
        ),
        fixes=(
            Fix(summary="nothing, if this machine is to train on its CPU")
            if not expected
            else Fix(
                summary="give this machine or container its GPU, and look again",
                commands=("nvidia-smi", "docker run --rm --gpus all IMAGE envdoctor check"),
            ),
        ),
    )
