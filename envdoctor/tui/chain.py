"""The stack as a chain from the GPU to PyTorch: each link's version, state and worst finding."""

import enum
from collections.abc import Iterator
from dataclasses import dataclass

from envdoctor.facts import Reason
from envdoctor.findings import Finding, Severity
from envdoctor.report import Report, Stack, StackGpu


class LinkState(enum.Enum):
    """How a link is, with the word that the user reads."""

    OK = "ok"
    BROKEN = "BROKEN"
    AFFECTED = "affected"
    WARNING = "warning"
    ABSENT = "none"
    UNKNOWN = "unknown"
    WAITING = "waiting"


@dataclass(frozen=True, kw_only=True)
class Link:
    """One link of the chain. `finding` is the worst that was found there."""

    name: str
    value: str
    state: LinkState
    finding: Finding | None = None


_BY_NAME = (
    ("GPU", ("gpu-hw-fault", "cuda-visible-devices", "no-nvidia-gpu", "mig-", "ecc-")),
    ("driver", ("container-", "wsl-", "cuda-compat", "driver-stub")),
    ("cuDNN", ("cudnn",)),
    ("NCCL", ("nccl",)),
    ("PyTorch", ("torchvision", "torchaudio", "extension", "glibc", "openmp")),
    ("PyTorch", ("libtorch", "libc10", "libshm")),
)
"""Parts of diseases' names and subjects, and the link where these sit; the first fit wins."""

_OF_CUDA = ("CUDA", "cuDNN", "NCCL")
"""Links that a CPU build of torch does not have; what is wrong there is wrong with torch."""

_BY_TOPIC = {
    "driver": "driver",
    "cuda": "CUDA",
    "loader": "CUDA",
    "libraries": "CUDA",
    "cudnn": "cuDNN",
    "nccl": "NCCL",
    "pytorch": "PyTorch",
    "python_env": "PyTorch",
}
"""The link of every other disease, by the topic of its check."""


def chain_of(report: Report, *, final: bool = True) -> tuple[Link, ...]:
    """The links in the order GPU, driver, CUDA, cuDNN, NCCL, PyTorch.

    While facts are missing (`final` is false), what has no value yet is waiting, not absent.
    """
    topics = {code: check.topic for check in report.checks for code in check.codes}
    worst: dict[str, Finding] = {}
    for finding in report.findings:
        name = link_of(finding, topics.get(finding.code, ""))
        if name in _OF_CUDA and report.stack.torch_version and not report.stack.torch_cuda:
            name = "PyTorch"
        if name is not None and _outranks(finding, worst.get(name)):
            worst[name] = finding
    return tuple(
        _link(name, value, _state(present, worst.get(name), final=final), worst.get(name))
        for name, value, present in _values(report)
    )


def _link(name: str, value: str, state: LinkState, finding: Finding | None) -> Link:
    shown = "" if state is LinkState.WAITING else value
    return Link(name=name, value=shown, state=state, finding=finding)


def link_of(finding: Finding, topic: str = "") -> str | None:
    """The name of the link where a finding belongs; None for one about the machine around it."""
    for name, parts in _BY_NAME:
        if any(part in f"{finding.name} {' '.join(finding.subjects)}" for part in parts):
            return name
    return _BY_TOPIC.get(topic)


def _outranks(finding: Finding, other: Finding | None) -> bool:
    if other is None:
        return True
    return (finding.severity.rank, finding.because is None) > (
        other.severity.rank,
        other.because is None,
    )


def _state(present: LinkState, finding: Finding | None, *, final: bool) -> LinkState:
    if finding is not None and finding.severity is Severity.ERROR:
        return LinkState.BROKEN if finding.because is None else LinkState.AFFECTED
    if finding is not None and finding.severity is Severity.WARNING:
        return LinkState.WARNING
    if present in (LinkState.ABSENT, LinkState.UNKNOWN) and not final:
        return LinkState.WAITING
    return present


def _values(report: Report) -> Iterator[tuple[str, str, LinkState]]:
    stack = report.stack
    yield ("GPU", *_seen(_gpus(stack.gpus), report, "Gpus", "no NVIDIA GPU is visible"))
    yield ("driver", *_seen(_driver(stack), report, "Driver", "no NVIDIA driver"))
    in_build = stack.torch_cuda is not None
    why_not = "not in a CPU build of torch" if stack.torch_version else "not known"
    yield ("CUDA", *_either(_cuda(stack), why_not))
    for name, version in (("cuDNN", stack.cudnn), ("NCCL", stack.nccl)):
        if version is None and in_build:
            yield name, "version not known", LinkState.UNKNOWN
        else:
            yield (name, *_either(version, why_not))
    yield ("PyTorch", *_either(stack.torch_version, "not found"))


def _seen(value: str | None, report: Report, fact: str, absent: str) -> tuple[str, LinkState]:
    """What was not found is absent only where the look did not fail."""
    unknown = report.facts.get(fact, {})
    if value is None and Reason(unknown.get("reason", Reason.NOT_OBSERVED)).is_failure:
        return f"not known: {unknown.get('detail', '')}", LinkState.UNKNOWN
    return _either(value, absent)


def _either(value: str | None, otherwise: str) -> tuple[str, LinkState]:
    return (value, LinkState.OK) if value else (otherwise, LinkState.ABSENT)


def _driver(stack: Stack) -> str | None:
    if stack.driver_release is None:
        return None
    cuda = f", for CUDA up to {stack.driver_cuda}" if stack.driver_cuda else ""
    return f"{stack.driver_release}{cuda}"


def _cuda(stack: Stack) -> str | None:
    if stack.torch_cuda is None:
        return None
    runtime = f", cudart {stack.cudart}" if stack.cudart else ""
    return f"{stack.torch_cuda} in torch's build{runtime}"


def _gpus(gpus: tuple[StackGpu, ...]) -> str | None:
    described = [_gpu(gpu) for gpu in gpus]
    counted = dict.fromkeys(described, 0)
    for text in described:
        counted[text] += 1
    parts = [text if number == 1 else f"{number} × {text}" for text, number in counted.items()]
    return "; ".join(parts) or None


def _gpu(gpu: StackGpu) -> str:
    capability = f", sm_{gpu.compute_capability.replace('.', '')}" if gpu.compute_capability else ""
    memory = f", {gpu.memory_bytes / 2**30:.0f} GiB" if gpu.memory_bytes else ""
    return f"{gpu.name}{capability}{memory}"
