"""PyTorch itself: whether it is there, imports, fits the GPU, and computes."""

from typing import Any

from envdoctor.api import (
    Code,
    Confidence,
    Distributions,
    Evidence,
    Expectation,
    Findings,
    Fix,
    Gpus,
    Installer,
    Nvml,
    PciGpus,
    Safety,
    Severity,
    Target,
    TorchAbsent,
    TorchBuild,
    TorchFirstUse,
    TorchImport,
    TorchRuntime,
    check,
)
from envdoctor.knowledge import Knowledge
from envdoctor.knowledge.arch import covers
from envdoctor.prescribe import Prescription
from envdoctor.repair import install_command, prescribed

TORCH_NOT_INSTALLED = Code(
    id="ED400",
    name="torch-not-installed",
    family="torch-not-installed",
    severity=Severity.ERROR,
    message="no torch lies on the path of `{python}`",
)
TORCH_IMPORT_FAILED = Code(
    id="ED401",
    name="torch-import-failed",
    family="torch-import-failed",
    severity=Severity.ERROR,
    message="`import torch` raises {exception}: {text}",
)
TORCH_IMPORT_CRASHED = Code(
    id="ED402",
    name="torch-import-crashed",
    family="torch-import-crashed",
    severity=Severity.ERROR,
    message="`import torch` ends the interpreter by {signal}",
)
TORCH_IMPORT_HANGS = Code(
    id="ED403",
    name="torch-import-hangs",
    family="torch-import-hangs",
    severity=Severity.ERROR,
    message="`import torch` gave no answer within {seconds} s",
)
TORCH_IMPORT_EXITS = Code(
    id="ED404",
    name="torch-import-exits",
    family="torch-import-crashed",
    severity=Severity.ERROR,
    message="`import torch` exits the interpreter with code {exit_code}",
)
CPU_ONLY_TORCH = Code(
    id="ED405",
    name="cpu-only-torch",
    family="cpu-only-torch",
    severity=Severity.ERROR,
    message="torch {version} is a build without CUDA, and {gpu}",
)
GPU_ARCH_TOO_NEW = Code(
    id="ED406",
    name="gpu-arch-too-new",
    family="gpu-arch-too-new",
    severity=Severity.ERROR,
    message="{gpu} has compute capability {capability}, newer than all that torch {version} is "
    "compiled for ({flags})",
    explains=("ED410", "ED411"),
)
GPU_ARCH_TOO_OLD = Code(
    id="ED407",
    name="gpu-arch-too-old",
    family="gpu-arch-too-old",
    severity=Severity.ERROR,
    message="{gpu} has compute capability {capability}, which torch {version} is no longer "
    "compiled for ({flags})",
    explains=("ED410", "ED411"),
)
ARCH_FLAGS_DISAGREE = Code(
    id="ED408",
    name="arch-flags-disagree",
    family="damaged-install",
    severity=Severity.INFO,
    message="torch says that it is compiled for {said}, its library holds kernels for {held}",
)
FIRST_USE_FAILED = Code(
    id="ED410",
    name="first-use-failed",
    family="torch-import-failed",
    severity=Severity.ERROR,
    message="the first {operation} on {device} fails: {text}",
)
CUDA_UNAVAILABLE = Code(
    id="ED411",
    name="cuda-unavailable",
    family="cuda-unavailable",
    severity=Severity.ERROR,
    message="torch {version} cannot use the GPU: {text}",
    explains=("ED410",),
)
NO_NVIDIA_GPU = Code(
    id="ED412",
    name="no-nvidia-gpu",
    family="no-nvidia-gpu",
    severity=Severity.INFO,
    message="{subject_text}, and no NVIDIA GPU is visible",
    explains=("ED405", "ED411"),
)
NUMPY_ABI_MISMATCH = Code(
    id="ED413",
    name="numpy-abi-mismatch",
    family="numpy-abi-mismatch",
    severity=Severity.ERROR,
    message="torch {version} cannot exchange arrays with numpy {numpy}: {text}",
)

_SOURCE_IMPORT = "import torch"
_OUTCOMES = {
    "exception": TORCH_IMPORT_FAILED,
    "signal": TORCH_IMPORT_CRASHED,
    "hang": TORCH_IMPORT_HANGS,
    "exit": TORCH_IMPORT_EXITS,
}


@check(TORCH_NOT_INSTALLED)
def torch_not_installed(
    absent: TorchAbsent,
    target: Target,
    imported: TorchImport | None,
    prescription: Prescription | None,
) -> Findings:
    """Neither torch's package nor its metadata is on the path."""
    if not absent.absent or target.problem is not None:
        return
    if imported is not None and imported.outcome == "ok":
        return
    yield TORCH_NOT_INSTALLED.finding(
        python=target.path,
        evidence=tuple(
            Evidence(label="no torch in", value=folder, source="sys.path")
            for folder in absent.searched
            if folder.endswith("-packages")
        ),
        fixes=(prescribed(prescription, "install the build that fits this machine"),),
    )


@check(TORCH_IMPORT_FAILED, TORCH_IMPORT_CRASHED, TORCH_IMPORT_HANGS, TORCH_IMPORT_EXITS)
def torch_does_not_import(imported: TorchImport, absent: TorchAbsent | None) -> Findings:
    """What `import torch` does instead of importing."""
    if imported.outcome == "ok" or (absent is not None and absent.absent):
        return
    yield _OUTCOMES[imported.outcome].finding(
        **_import_data(imported),
        evidence=tuple(_import_evidence(imported)),
        fixes=(
            Fix(
                summary="see the whole output of the import",
                commands=("python -X faulthandler -c 'import torch'",),
                safety=Safety.SAFE,
            ),
        ),
    )


def _import_data(imported: TorchImport) -> dict[str, Any]:
    """The arguments of the message for this outcome."""
    if imported.outcome == "signal":
        return {"signal": imported.signal}
    if imported.outcome == "hang":
        return {"seconds": round(imported.seconds)}
    if imported.outcome == "exit":
        return {"exit_code": imported.exit_code}
    text = (imported.message.strip().splitlines() or [""])[0]
    return {"exception": imported.exception or "an exception", "text": text}


def _import_evidence(imported: TorchImport) -> list[Evidence]:
    found = [
        Evidence(label="raised at", value=f"{frame.file}:{frame.line}", source="traceback")
        for frame in imported.frames[-1:]
    ]
    if imported.cause:
        found.append(Evidence(label="caused by", value=imported.cause, source="traceback"))
    if imported.outcome in ("signal", "exit", "hang") and imported.output_tail:
        last = "\n".join(imported.output_tail.splitlines()[:6])
        found.append(Evidence(label="it printed", value=last, source=_SOURCE_IMPORT))
    if imported.isolated_outcome:
        found.append(
            Evidence(
                label="with python -I",
                value=imported.isolated_outcome,
                source="a second import, without cwd, PYTHONPATH and user site",
            )
        )
    return found


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
            subject=f"gpu:{gpu.index}",
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


@check(FIRST_USE_FAILED)
def first_use_failed(first_use: TorchFirstUse) -> Findings:
    """Torch imports, and its first operation on a device does not work."""
    devices: set[str] = set()
    for use in first_use.operations:
        if use.error is None or use.device in devices:
            continue
        devices.add(use.device)
        yield FIRST_USE_FAILED.finding(
            subject=use.device,
            operation=use.operation,
            device=use.device,
            text=use.error.splitlines()[0],
            evidence=(Evidence(label=use.operation, value=use.error, source=use.device),),
            fixes=(
                Fix(
                    summary="see the whole message with synchronous kernels",
                    commands=(
                        'CUDA_LAUNCH_BLOCKING=1 python -c "import torch; '
                        f"print(torch.ones(2, 2, device='{use.device}') @ torch.ones(2, 2, "
                        f"device='{use.device}'))\"",
                    ),
                    safety=Safety.SAFE,
                ),
            ),
        )


@check(CUDA_UNAVAILABLE)
def cuda_unavailable(runtime: TorchRuntime, pci: PciGpus | None, gpus: Gpus | None) -> Findings:
    """A CUDA build, a GPU, and torch does not get them together."""
    found = _visible_gpu(pci, gpus)
    if runtime.cuda is None or runtime.cuda_available or found is None:
        return
    error = runtime.cuda_error or "torch.cuda.is_available() is False"
    yield CUDA_UNAVAILABLE.finding(
        version=runtime.version,
        text=error.splitlines()[0],
        evidence=(found, Evidence(label="torch.cuda.init()", value=error, source="torch")),
        fixes=(
            Fix(
                summary="look whether the driver itself answers",
                commands=("nvidia-smi",),
                safety=Safety.SAFE,
            ),
        ),
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


@check(NUMPY_ABI_MISMATCH)
def numpy_abi_mismatch(
    build: TorchBuild,
    distributions: Distributions,
    known: Knowledge,
    runtime: TorchRuntime | None,
    target: Target | None,
    installer: Installer | None,
) -> Findings:
    """A torch that was compiled against the C API of numpy 1 beside numpy 2."""
    numpy = distributions.first("numpy")
    if numpy is None:
        return
    if runtime is not None:
        text = runtime.numpy_error
    else:
        text = _without_running(build, numpy.version, known)
    if text is None:
        return
    yield NUMPY_ABI_MISMATCH.finding(
        confidence=Confidence.CERTAIN if runtime else Confidence.LIKELY,
        version=build.version,
        numpy=numpy.version,
        text=text.splitlines()[0],
        evidence=(
            Evidence(label="numpy", value=numpy.version, source=numpy.metadata_path),
            Evidence(label="torch.zeros(1).numpy()", value=text, source="torch"),
        ),
        fixes=(
            Fix(
                summary="install a numpy that this torch was built for",
                commands=(install_command(("numpy<2",), target=target, installer=installer),),
                safety=Safety.CHANGES_ENV,
            ),
        ),
        notes=("torch up to 2.2 is built against numpy 1 (pytorch issue 131668)",),
    )


def _without_running(build: TorchBuild, numpy: str, known: Knowledge) -> str | None:
    if numpy.startswith(("0.", "1.")) or build.version is None:
        return None
    fits = known.fits_numpy_2(build.version)
    return "it was built for numpy 1" if fits is False else None
