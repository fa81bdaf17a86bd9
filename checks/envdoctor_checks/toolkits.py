"""The CUDA toolkit beside torch, cuDNN and the GPU, and what is newer than the knowledge."""

import re

from envdoctor.api import (
    Code,
    Distributions,
    Driver,
    Evidence,
    ExtendAttempts,
    Finding,
    Findings,
    Fix,
    Gpus,
    HostCompiler,
    Knowledge,
    Layer,
    Severity,
    Site,
    Toolkits,
    TorchBuild,
    TorchRuntime,
    check,
    cudnn_serves,
    decode_cudnn,
    doctor,
    parse_number,
    surroundings,
)
from envdoctor_checks.against_torch import major_of, of_torch

NVCC_TORCH_MISMATCH = Code(
    id="ED375",
    name="nvcc-torch-mismatch",
    family="nvcc-torch-mismatch",
    severity=Severity.INFO,
    topic="toolkit",
    layer=Layer.BUILD,
    breaks="extend",
    message="the CUDA toolkit that builds extensions is of another CUDA than torch",
    detailed="the CUDA toolkit that builds extensions is {toolkit}, but torch is built for {cuda}",
)
CUDNN_DROPPED_GPU = Code(
    id="ED376",
    name="cudnn-dropped-gpu",
    family="gpu-arch-too-old",
    severity=Severity.ERROR,
    topic="libraries",
    layer=Layer.BUILD,
    breaks="compute:gpu",
    message="cuDNN no longer has code for this GPU",
    detailed="cuDNN {version} no longer has code for {gpu} (compute capability {capability})",
)
GCC_UNSUPPORTED = Code(
    id="ED377",
    name="gcc-unsupported",
    family="gcc-unsupported",
    severity=Severity.INFO,
    topic="toolkit",
    layer=Layer.BUILD,
    breaks="extend",
    message="nvcc does not support this gcc",
    detailed="nvcc {toolkit} supports gcc {oldest} to {newest}, and gcc is {version}",
)
KNOWLEDGE_OUTDATED = Code(
    id="ED379",
    name="knowledge-outdated",
    family="knowledge-outdated",
    severity=Severity.INFO,
    topic="doctor",
    layer=Layer.DOCTOR,
    message="something here is newer than the doctor's data",
    detailed="{what} {version} is unknown: envdoctor's data ends at {newest} ({as_of})",
)


@check(NVCC_TORCH_MISMATCH)
def nvcc_of_another_cuda(
    build: TorchBuild, toolkits: Toolkits, tried: ExtendAttempts | None
) -> Findings:
    """Nvcc is of another CUDA major than torch; it matters only to those who build extensions."""
    first = next(iter(toolkits.items), None)
    if first is None or first.version is None or build.cuda is None:
        return
    if toolkits.nvcc is None and not _is_refused(tried, _ANOTHER_CUDA):
        # Builds look at /usr/local/cuda as well, if any are made.
        return
    if toolkits.cuda_home and first.source not in ("CUDA_HOME", "CUDA_PATH"):
        # What the variable names is no toolkit, and builds use no other.
        return
    if major_of(first.version) == major_of(build.cuda):
        return
    yield NVCC_TORCH_MISMATCH.finding(
        severity=_severity(toolkits, tried, _ANOTHER_CUDA),
        toolkit=first.version,
        cuda=build.cuda,
        evidence=(
            Evidence(label="nvcc", value=first.version, source=first.source),
            of_torch(build),
        ),
        fixes=(_toolkit_for(build.cuda, toolkits),),
        notes=(
            "torch brings its own CUDA and does not use this toolkit; only torch.utils."
            "cpp_extension compares them, and refuses another major",
        ),
    )


_ANOTHER_CUDA = r"detected CUDA version \([\d.]+\) mismatches the version"
_ANOTHER_GCC = (
    r"unsupported GNU version|(?:less|greater) than the (?:minimum|maximum) required version"
)
"""What torch.utils.cpp_extension and nvcc's headers say where they refuse."""


def _severity(toolkits: Toolkits, tried: ExtendAttempts | None, refusal: str) -> Severity:
    """An error where an extension was tried and just that was said; a hint where nobody builds."""
    if _is_refused(tried, refusal):
        return Severity.ERROR
    return Severity.WARNING if toolkits.cuda_home else Severity.INFO


def _is_refused(tried: ExtendAttempts | None, refusal: str) -> bool:
    return any(re.search(refusal, one.text) for one in (tried.items if tried else ()))


def _toolkit_for(cuda: str, toolkits: Toolkits) -> Fix:
    """Point builds at a toolkit of torch's CUDA, if there is one here."""
    fitting = [
        one for one in toolkits.items if one.version and major_of(one.version) == major_of(cuda)
    ]
    summary = f"to build extensions, point CUDA_HOME at a toolkit of CUDA {cuda}"
    if not fitting:
        return Fix(summary=f"{summary}, which has to be installed first")
    best = next((one for one in fitting if one.version == cuda), fitting[0])
    return surroundings.set_variable("CUDA_HOME", best.path, summary=summary)


@check(GCC_UNSUPPORTED)
def gcc_that_nvcc_refuses(
    compiler: HostCompiler, toolkits: Toolkits, known: Knowledge, tried: ExtendAttempts | None
) -> Findings:
    """The gcc on PATH is too new or too old for nvcc; it matters only to those who build."""
    toolkit = next((one.version for one in toolkits.items if one.version), None)
    accepted = known.host_compilers(toolkit) if toolkit else None
    major = parse_number(compiler.version.partition(".")[0])
    if accepted is None or major is None:
        return
    if accepted.gcc_min <= major <= accepted.gcc_max:
        return
    yield GCC_UNSUPPORTED.finding(
        severity=_severity(toolkits, tried, _ANOTHER_GCC),
        version=compiler.version,
        toolkit=toolkit,
        oldest=accepted.gcc_min,
        newest=accepted.gcc_max,
        evidence=(
            Evidence(label="gcc", value=compiler.version, source=compiler.path),
            Evidence(label="nvcc", value=toolkit or "", source=toolkits.items[0].source),
        ),
        fixes=(
            surroundings.set_variable(
                "NVCC_PREPEND_FLAGS",
                f"-ccbin gcc-{accepted.gcc_max}",
                summary=f"to build extensions, give nvcc a gcc that it accepts; if there is no "
                f"gcc-{accepted.gcc_max} here, install it first",
            ),
        ),
        notes=(
            "torch itself needs no compiler",
            f"source: {accepted.source}, retrieved {accepted.retrieved}",
        ),
    )


@check(CUDNN_DROPPED_GPU)
def cudnn_without_this_gpu(
    gpus: Gpus,
    known: Knowledge,
    distributions: Distributions,
    runtime: TorchRuntime | None,
    site: Site,
) -> Findings:
    """A cuDNN that was put in place of the pinned one, and that ended with newer GPUs."""
    found = _cudnn(distributions, runtime)
    if found is None:
        return
    version, source = found
    for gpu in gpus.devices:
        capability = gpu.compute_capability
        if capability is None or cudnn_serves(version, capability, known) is not False:
            continue
        limit = known.drivers.cudnn_limits[0]
        yield CUDNN_DROPPED_GPU.finding(
            subjects=(f"gpu:{gpu.index}",),
            version=version,
            gpu=gpu.name,
            capability=capability,
            evidence=(
                Evidence(label="cuDNN", value=version, source=source),
                Evidence(label="compute capability", value=capability, source="NVML"),
            ),
            fixes=(
                doctor.other_builds(
                    site, "install the cuDNN that torch pins, or a build for this GPU"
                ),
            ),
            notes=(
                f"cuDNN after {limit.last_version} needs compute capability "
                f"{limit.min_compute_capability_after} ({limit.source}, retrieved "
                f"{limit.retrieved})",
            ),
        )


def _cudnn(distributions: Distributions, runtime: TorchRuntime | None) -> tuple[str, str] | None:
    """The cuDNN that torch loaded, or the one that is installed for it."""
    loaded = decode_cudnn(runtime.cudnn_version) if runtime else None
    if loaded:
        return loaded, "torch.backends.cudnn.version()"
    for item in distributions.items:
        if item.name.startswith("nvidia-cudnn-cu"):
            return item.version, item.metadata_path
    return None


@check(KNOWLEDGE_OUTDATED)
def newer_than_the_data(
    known: Knowledge, build: TorchBuild | None, driver: Driver | None
) -> Findings:
    """Torch or the driver came out after the knowledge was gathered."""
    if build and build.version and known.is_newer_than_data(build.version):
        yield _outdated("torch", build.version, known.newest_torch, build.version_source, known)
    newest = max(int(branch.branch) for branch in known.drivers.branches)
    branch = parse_number((driver.release or "").partition(".")[0]) if driver else None
    if driver and branch is not None and branch > newest:
        yield _outdated(
            "driver", driver.release or "", f"branch {newest}", driver.release_source, known
        )


def _outdated(subject: str, version: str, newest: str, source: str, known: Knowledge) -> Finding:
    return KNOWLEDGE_OUTDATED.finding(
        subjects=(subject,),
        what=subject,
        version=version,
        as_of=known.as_of,
        newest=newest,
        evidence=(Evidence(label=f"{subject} version", value=version, source=source),),
        fixes=(doctor.update(),),
        notes=("nothing is guessed about it: only rules that hold for every version were applied",),
    )
