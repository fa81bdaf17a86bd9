"""The stack as a chain from the GPU to PyTorch: each link's version, state and worst finding.

A finding belongs to the link of its layer; how a link is, its findings and its outcomes tell.
"""

import enum
from collections.abc import Iterator
from itertools import groupby

from msgspec.structs import replace

from envdoctor.facts import Reason
from envdoctor.findings import Finding, Layer, Severity, Verdict
from envdoctor.outcomes import Outcome
from envdoctor.record import Record
from envdoctor.report import Report, Stack
from envdoctor.tui.gpu_links import MOST_ROWS, GpuRow, gpu_rows


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
    rows = gpu_rows(report)
    links = tuple(
        Link(
            name=name,
            value=value if final or present is LinkState.OK else "",
            state=_state(name, present, report, worst.get(name)),
            finding=worst.get(name),
        )
        for name, value, present in _values(report)
        if name != GPU or not rows
    )
    links = (*_together(tuple(_gpu_link(row, report, len(rows)) for row in rows)), *links)
    return _proven(links, report) if final else tuple(map(_waiting, links))


def _gpu_link(row: GpuRow, report: Report, of: int) -> Link:
    finding = _worst_of_gpu(row, report)
    state = _state(GPU, LinkState.OK, report, finding, subject=row.subject)
    if row.slow and state is LinkState.OK:
        state = LinkState.WARNING
    value = ", ".join(filter(None, (row.value, row.slow)))
    name = GPU if of == 1 else f"{GPU} {row.number}"
    return Link(name=name, value=value, state=state, finding=finding)


def _worst_of_gpu(row: GpuRow, report: Report) -> Finding | None:
    """What was found at this GPU, its speed included, or at all of them."""
    worst: Finding | None = None
    for finding in report.findings:
        named = [one for one in finding.subjects if one.startswith("gpu:")]
        at_gpu = link_of(finding) == GPU if not named else row.subject in named
        elsewhere = link_of(finding) not in (GPU, None)
        if at_gpu and not elsewhere and _outranks(finding, worst):
            worst = finding
    return worst


def _together(links: tuple[Link, ...]) -> tuple[Link, ...]:
    """Where there are many GPUs, neighbours that are the same share a row: `GPU 0-6`."""
    if len(links) <= MOST_ROWS:
        return links
    groups = [
        list(group) for _, group in groupby(links, lambda one: (one.value, one.state, one.finding))
    ]
    return tuple(
        replace(group[0], name=f"{group[0].name}-{group[-1].name.removeprefix(f'{GPU} ')}")
        if len(group) > 1
        else group[0]
        for group in groups
    )


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


def _state(
    name: str, present: LinkState, report: Report, finding: Finding | None, *, subject: str = ""
) -> LinkState:
    if finding is not None and finding.severity is Severity.ERROR:
        return LinkState.BROKEN if finding.because is None else LinkState.AFFECTED
    by_outcomes = _state_by_outcomes(name, report, subject)
    if by_outcomes in (LinkState.AFFECTED, LinkState.UNKNOWN):
        return by_outcomes
    if finding is not None and finding.severity is Severity.WARNING:
        return LinkState.WARNING
    return by_outcomes or present


def _state_by_outcomes(name: str, report: Report, subject: str) -> LinkState | None:
    """What the outcomes say of a link, or of one GPU; None where they say nothing against it."""
    outcomes = [
        one
        for one in report.outcomes
        if _rests_on(one, name) and (not subject or one.subject in (subject, "gpu", ""))
    ]
    wanted = [one for one in outcomes if one.wanted in _WANTED]
    if any(one.state == "fails" for one in wanted):
        return LinkState.AFFECTED
    if any(one.state == "unseen" for one in wanted):
        return LinkState.UNKNOWN
    if any(one.state == "fails" for one in outcomes):
        return LinkState.WARNING
    if name == GPU and not wanted and subject:
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
    yield (GPU, *_seen(None, report, "Gpus", "no NVIDIA GPU is visible"))
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
