"""The CUDA toolkit beside torch, and what is newer than the knowledge."""

from envdoctor.api import (
    Code,
    Driver,
    Evidence,
    Finding,
    Findings,
    Fix,
    Safety,
    Severity,
    Toolkits,
    TorchBuild,
    check,
)
from envdoctor.knowledge import Knowledge
from envdoctor_checks.against_torch import major_of, of_torch

NVCC_TORCH_MISMATCH = Code(
    id="ED375",
    name="nvcc-torch-mismatch",
    family="nvcc-torch-mismatch",
    severity=Severity.INFO,
    message="the CUDA toolkit that builds extensions is {toolkit}, but torch is built for {cuda}",
)
KNOWLEDGE_OUTDATED = Code(
    id="ED379",
    name="knowledge-outdated",
    family="knowledge-outdated",
    severity=Severity.INFO,
    message="{subject} {version} is newer than my data ({as_of}), which ends with {newest}",
)


@check(NVCC_TORCH_MISMATCH)
def nvcc_of_another_cuda(build: TorchBuild, toolkits: Toolkits) -> Findings:
    """Nvcc is of another CUDA major than torch; it matters only to those who build extensions."""
    first = next(iter(toolkits.items), None)
    if first is None or first.version is None or build.cuda is None or toolkits.nvcc is None:
        return
    if major_of(first.version) == major_of(build.cuda):
        return
    yield NVCC_TORCH_MISMATCH.finding(
        severity=Severity.WARNING if toolkits.cuda_home else Severity.INFO,
        toolkit=first.version,
        cuda=build.cuda,
        evidence=(
            Evidence(label="nvcc", value=first.version, source=first.source),
            of_torch(build),
        ),
        fixes=(
            Fix(
                summary=f"to build extensions, point CUDA_HOME at a toolkit of CUDA {build.cuda}",
                commands=(f"export CUDA_HOME=/usr/local/cuda-{build.cuda}",),
            ),
        ),
        notes=(
            "torch brings its own CUDA and does not use this toolkit; only torch.utils."
            "cpp_extension compares them, and refuses another major",
        ),
    )


@check(KNOWLEDGE_OUTDATED)
def newer_than_the_data(
    known: Knowledge, build: TorchBuild | None, driver: Driver | None
) -> Findings:
    """Torch or the driver came out after the knowledge was gathered."""
    if build and build.version and known.is_newer_than_data(build.version):
        yield _outdated("torch", build.version, known.newest_torch, build.version_source, known)
    newest = max(int(branch.branch) for branch in known.drivers.branches)
    branch = (driver.release or "").partition(".")[0] if driver else ""
    if driver and branch.isdigit() and int(branch) > newest:
        yield _outdated(
            "driver", driver.release or "", f"branch {newest}", driver.release_source, known
        )


def _outdated(subject: str, version: str, newest: str, source: str, known: Knowledge) -> Finding:
    return KNOWLEDGE_OUTDATED.finding(
        subject=subject,
        version=version,
        as_of=known.as_of,
        newest=newest,
        evidence=(Evidence(label=f"{subject} version", value=version, source=source),),
        fixes=(
            Fix(
                summary="update envdoctor in its own environment",
                commands=("pip install --upgrade envdoctor",),
                safety=Safety.CHANGES_ENV,
            ),
        ),
        notes=("nothing is guessed about it: only rules that hold for every version were applied",),
    )
