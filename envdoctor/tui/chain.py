"""The stack as a chain from the GPU to PyTorch: each link's version, state and worst finding.

A finding belongs to the link of its layer; how a link is, its findings and its outcomes tell.
"""

import enum
from collections.abc import Iterator

import msgspec
from msgspec.structs import replace

from envdoctor.facts import Reason
from envdoctor.facts.derived import GpuTrace
from envdoctor.findings import Finding, Layer, Severity, Verdict
from envdoctor.outcomes import Outcome
from envdoctor.record import Record
from envdoctor.report import Report, Stack, StackGpu


class LinkState(enum.Enum):
    """How a link is, with the word that the user reads."""

    OK = "ok"
    BROKEN = "BROKEN"
    AFFECTED = "affected"
    WARNING = "warning"
    ABSENT = "none"
    UNUSED = "not used"
    UNKNOWN = "unknown"
    WAITING = "waiting"


class Link(Record):
    """One link of the chain. `finding` is the worst that was found there."""

    name: str
    value: str
    state: LinkState
    finding: Finding | None = None


GPU, DRIVER, CUDA, CUDNN, NCCL, PYTORCH = "GPU", "driver", "CUDA", "cuDNN", "NCCL", "PyTorch"

_BY_LAYER = {
    Layer.BUS: GPU,
    Layer.KERNEL_MODULE: DRIVER,
    Layer.DEVICE_NODES: DRIVER,
    Layer.NVML: DRIVER,
    Layer.CUDA_INIT: CUDA,
    Layer.INTERPRETER: PYTORCH,
    Layer.FILES: PYTORCH,
    Layer.LIBRARIES: CUDA,
    Layer.BUILD: PYTORCH,
    Layer.IMPORT: PYTORCH,
    Layer.FIRST_USE: PYTORCH,
}
"""The link of a layer. What sits in no layer below torch (speed, the doctor) has none."""

_OF_LIBRARY = {
    "cudnn": CUDNN,
    "nccl": NCCL,
    "libtorch": PYTORCH,
    "libc10": PYTORCH,
    "libshm": PYTORCH,
}
"""The link of a library, by a part of its name, whatever the layer."""

_WITH_LIBRARIES = (Layer.FILES, Layer.LIBRARIES, Layer.BUILD)
_BESIDE_TORCH = ("toolkit", "network", "speed", "doctor")
"""Topics of what torch itself does not rest on."""

_OF_CUDA = (CUDA, CUDNN, NCCL)
"""Links that a CPU build of torch does not have; what is wrong there is wrong with torch."""

_WANTED = ("yes", "unknown")


def chain_of(report: Report, *, final: bool = True) -> tuple[Link, ...]:
    """The links in the order GPU, driver, CUDA, cuDNN, NCCL, PyTorch.

    While facts are missing (`final` is false), what has no value yet is waiting, not absent.
    """
    worst = _worst_by_link(report)
    links = tuple(
        Link(
            name=name,
            value=value if final or present is LinkState.OK else "",
            state=_state(name, present, report, worst.get(name)),
            finding=worst.get(name),
        )
        for name, value, present in _values(report)
    )
    return _proven(links, report) if final else tuple(map(_waiting, links))


def _worst_by_link(report: Report) -> dict[str, Finding]:
    worst: dict[str, Finding] = {}
    for finding in report.findings:
        name = link_of(finding)
        if name in _OF_CUDA and report.stack.torch_version and not report.stack.torch_cuda:
            name = PYTORCH
        if name is not None and _outranks(finding, worst.get(name)):
            worst[name] = finding
    return worst


def link_of(finding: Finding) -> str | None:
    """The name of the link where a finding belongs; None for one about the machine around it."""
    if finding.topic in _BESIDE_TORCH:
        return None
    if finding.layer in _WITH_LIBRARIES:
        words = " ".join((finding.name, *finding.subjects))
        library = next((link for part, link in _OF_LIBRARY.items() if part in words), None)
        if library is not None:
            return library
    about_one = any(subject.startswith("gpu:") for subject in finding.subjects)
    if finding.layer is Layer.NVML and about_one:
        return GPU
    return _BY_LAYER.get(finding.layer)


def _outranks(finding: Finding, other: Finding | None) -> bool:
    if other is None:
        return True
    return (finding.severity.rank, finding.because is None) > (
        other.severity.rank,
        other.because is None,
    )


def _waiting(link: Link) -> Link:
    is_open = link.state in (LinkState.ABSENT, LinkState.UNKNOWN)
    return replace(link, state=LinkState.WAITING) if is_open else link


def _proven(links: tuple[Link, ...], report: Report) -> tuple[Link, ...]:
    """Where the verdict is open, at least the last link is not called ok."""
    is_open = report.verdict in (Verdict.UNPROVEN, Verdict.INCOMPLETE)
    if not is_open or any(link.state is LinkState.UNKNOWN for link in links):
        return links
    *others, last = links
    is_ok = last.state is LinkState.OK
    return (*others, replace(last, state=LinkState.UNKNOWN) if is_ok else last)


# --- the state of a link ---


def _state(name: str, present: LinkState, report: Report, finding: Finding | None) -> LinkState:
    if finding is not None and finding.severity is Severity.ERROR:
        return LinkState.BROKEN if finding.because is None else LinkState.AFFECTED
    by_outcomes = _state_by_outcomes(name, report)
    if by_outcomes in (LinkState.AFFECTED, LinkState.UNKNOWN):
        return by_outcomes
    if finding is not None and finding.severity is Severity.WARNING:
        return LinkState.WARNING
    return by_outcomes or present


def _state_by_outcomes(name: str, report: Report) -> LinkState | None:
    """What the outcomes say of a link; None where they say nothing against it."""
    outcomes = [one for one in report.outcomes if _rests_on(one, name)]
    wanted = [one for one in outcomes if one.wanted in _WANTED]
    if any(one.state == "fails" for one in wanted):
        return LinkState.AFFECTED
    if any(one.state == "unseen" for one in wanted):
        return LinkState.UNKNOWN
    if any(one.state == "fails" for one in outcomes):
        return LinkState.WARNING
    if name == GPU and not wanted and (report.stack.gpus or _traced(report)):
        return LinkState.UNUSED
    return None


def _rests_on(outcome: Outcome, link: str) -> bool:
    """Whether the outcome is what the link is there for."""
    on_gpu = outcome.action in ("compute", "start") and outcome.subject != "cpu"
    if link == GPU:
        return on_gpu
    return link == PYTORCH and not on_gpu and outcome.action in ("import", "compute")


# --- the versions ---


def _values(report: Report) -> Iterator[tuple[str, str, LinkState]]:
    stack = report.stack
    gpus = _gpus(stack.gpus) or _traced(report)
    yield (GPU, *_seen(gpus, report, "Gpus", "no NVIDIA GPU is visible"))
    yield (DRIVER, *_seen(_driver(stack), report, "Driver", "no NVIDIA driver"))
    in_build = stack.torch_cuda is not None
    why_not = "not in a CPU build of torch" if stack.torch_version else "not known"
    yield (CUDA, *_either(_cuda(stack), why_not))
    for name, version in ((CUDNN, stack.cudnn), (NCCL, stack.nccl)):
        if version is None and in_build:
            yield name, "version not known", LinkState.UNKNOWN
        else:
            yield (name, *_either(version, why_not))
    yield (PYTORCH, *_either(stack.torch_version, "not found"))


def _seen(value: str | None, report: Report, fact: str, absent: str) -> tuple[str, LinkState]:
    """What was not found is absent only where somebody looked, and the look did not fail."""
    known = report.facts.get(fact, {"type": "Unknown"})
    reason = Reason(known.get("reason", Reason.NOT_OBSERVED))
    if value is None and known.get("type") == "Unknown" and reason is not Reason.NOT_APPLICABLE:
        return f"not known: {known.get('detail') or 'nobody looked'}", LinkState.UNKNOWN
    return _either(value, absent)


def _traced(report: Report) -> str | None:
    """The GPUs that the bus shows and NVML does not."""
    fact = report.facts.get("GpuTrace", {})
    if fact.get("type") != "Observed":
        return None
    trace = msgspec.convert(fact["value"], GpuTrace)
    return "; ".join(gpu.described for gpu in trace.gpus) or None


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
