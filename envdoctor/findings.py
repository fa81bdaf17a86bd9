"""What a diagnosis is made of: codes, evidence, fixes, findings, the verdict and the exit code."""

import enum
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from envdoctor.exit_codes import EXIT_FINDINGS, EXIT_INCOMPLETE, EXIT_OK
from envdoctor.record import Record


class Severity(enum.Enum):
    """How much a finding matters.

    ERROR: an outcome that the user wants fails, or is certain to. WARNING: it works, but slower or
    at risk. INFO: worth knowing, nothing to repair.
    """

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"

    @property
    def rank(self) -> int:
        """Position in the order info < warning < error, from 0."""
        return list(Severity).index(self)


class Layer(enum.Enum):
    """Where a disease sits, from the bottom of the stack to its top.

    Of the findings that break one outcome, that of the lowest layer is the cause of the others.
    """

    BUS = "bus"
    KERNEL_MODULE = "kernel-module"
    DEVICE_NODES = "device-nodes"
    NVML = "nvml"
    CUDA_INIT = "cuda-init"
    INTERPRETER = "interpreter"
    FILES = "files"
    LIBRARIES = "libraries"
    BUILD = "build"
    IMPORT = "import"
    FIRST_USE = "first-use"
    SPEED = "speed"
    POLICY = "policy"
    DOCTOR = "doctor"

    @property
    def height(self) -> int:
        """Position from the bottom, from 0."""
        return list(Layer).index(self)


Topic = Literal[
    "driver",
    "container",
    "python",
    "libraries",
    "torch",
    "companions",
    "toolkit",
    "network",
    "speed",
    "policy",
    "doctor",
]
"""What findings are grouped and selected by."""

TOPICS: Mapping[Topic, str] = {
    "driver": "NVIDIA driver and GPUs",
    "container": "containers, WSL and limits",
    "python": "Python environment",
    "libraries": "shared libraries",
    "torch": "PyTorch",
    "companions": "companion packages",
    "toolkit": "CUDA toolkit and compilers",
    "network": "network between processes",
    "speed": "training speed",
    "policy": "what the policy asks for",
    "doctor": "envdoctor itself",
}
"""The topics in words."""


Fault = Literal["machine", "environment", "doctor"]
"""Whose a disease is. MACHINE: the driver, devices, the container, the network, the disk, limits of
the host. ENVIRONMENT: packages, variables, files of the project. DOCTOR: this program's own."""

SharedFault = Literal["machine", "environment", "both"]
"""Where the cause of a verdict lies."""

_FAULT_OF: Mapping[Topic, Fault] = {
    "driver": "machine",
    "container": "machine",
    "network": "machine",
    "speed": "machine",
    "python": "environment",
    "libraries": "environment",
    "torch": "environment",
    "companions": "environment",
    "toolkit": "environment",
    "policy": "environment",
    "doctor": "doctor",
}
"""Whose the diseases of a topic are, unless their code says something else."""


class Confidence(enum.Enum):
    """How sure the doctor is that the finding is true."""

    CERTAIN = "certain"
    LIKELY = "likely"
    POSSIBLE = "possible"


class Safety(enum.Enum):
    """What running the commands of a fix would touch. No fix is ever executed by the doctor."""

    SAFE = "safe"
    CHANGES_ENV = "changes-env"
    NEEDS_ROOT = "needs-root"
    MANUAL = "manual"


MOST_MEMBERS = 100
"""Subjects of a finding, and pieces of its evidence: more than GPUs of a machine, fewer than a
damaged environment can have."""


class Evidence(Record):
    """One observation behind a finding; `source` is the file, symbol, command or variable read."""

    label: str
    value: str
    source: str


def from_driver(log: str) -> tuple[Evidence, ...]:
    """What NVIDIA's driver itself wrote of an error; none where it wrote nothing."""
    return (Evidence(label="driver log", value=log, source="CUDA_LOG_FILE"),) if log else ()


class Place(enum.Enum):
    """Where a fix is done. NONE: nothing can be done, and the summary says so."""

    HERE = "here"
    HOST = "host"
    IMAGE = "image"
    SCHEDULER = "scheduler"
    FIRMWARE = "firmware"
    NONE = "none"


class Fix(Record):
    """One way to repair: a sentence, and commands that can be pasted into a shell.

    `where` says on which side of a container, scheduler or firmware the commands are run. `proof`
    is what was tried without changing anything and worked; empty where nothing was tried.
    """

    summary: str
    commands: tuple[str, ...] = ()
    safety: Safety = Safety.MANUAL
    where: Place = Place.HERE
    proof: str = ""


class Finding(Record):
    """A disease that was found on the machine.

    `id` is the code, followed by `:subject,...` where there are any; `subjects` are what it is
    about (`gpu:0`, a distribution, a library), `breaks` the outcomes that it keeps from working
    (`import:torch`, `compute:gpu:0`; `compute:gpu` is every GPU). `because` is the id of the
    finding that is its root cause; `data` holds the arguments of the message; `fault` says whose it
    is: the machine's or the environment's.
    """

    id: str
    code: str
    name: str
    family: str
    severity: Severity
    confidence: Confidence
    message: str
    topic: Topic = "doctor"
    layer: Layer = Layer.DOCTOR
    fault: Fault = "doctor"
    subjects: tuple[str, ...] = ()
    breaks: tuple[str, ...] = ()
    because: str | None = None
    data: dict[str, Any] = msgspec.field(default_factory=dict)
    evidence: tuple[Evidence, ...] = ()
    fixes: tuple[Fix, ...] = ()
    notes: tuple[str, ...] = ()
    page: str = ""


class Code(Record):
    """A disease: its stable id and name, where it sits, and its message.

    `message` needs no argument; `detailed` is the same with the figures that a check knows.
    `breaks` is the outcome that the disease keeps from working, as in `Finding.breaks`; null for
    one that breaks none. `explains` are the ids of codes that are only a consequence of this one
    where outcome, subject and layer cannot say it. `fault` is given where it is not that of the
    topic: a variable that hides a GPU from the driver is the environment's.
    """

    id: str
    name: str
    family: str
    severity: Severity
    message: str
    topic: Topic = "doctor"
    layer: Layer = Layer.DOCTOR
    fault: Fault | None = None
    breaks: str | None = None
    detailed: str = ""
    explains: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.fault is None:
            msgspec.structs.force_setattr(self, "fault", _FAULT_OF.get(self.topic))

    def finding(
        self,
        *,
        subjects: tuple[str, ...] = (),
        breaks: tuple[str, ...] | None = None,
        severity: Severity | None = None,
        confidence: Confidence = Confidence.CERTAIN,
        evidence: tuple[Evidence, ...] = (),
        fixes: tuple[Fix, ...] = (),
        notes: tuple[str, ...] = (),
        **data: Any,
    ) -> Finding:
        """This disease, found. `data` fills the detailed message; without all of it, or where one
        is None, the plain message stands. Of very many subjects and pieces of evidence the first
        are kept, and how many more there are is a note."""
        left_out = (
            f"and {len(many) - MOST_MEMBERS} more {what}"
            for what, many in (("subjects", subjects), ("pieces of evidence", evidence))
            if len(many) > MOST_MEMBERS
        )
        notes = (*notes, *left_out)
        subjects, evidence = subjects[:MOST_MEMBERS], evidence[:MOST_MEMBERS]
        return Finding(
            id=":".join((self.id, *([",".join(subjects)] if subjects else []))),
            code=self.id,
            name=self.name,
            family=self.family,
            severity=severity or self.severity,
            confidence=confidence,
            message=self._message(subjects, data),
            topic=self.topic,
            layer=self.layer,
            fault=self.fault or "doctor",
            subjects=subjects,
            breaks=self._broken(subjects) if breaks is None else breaks,
            data=data,
            evidence=evidence,
            fixes=fixes,
            notes=notes,
            page=f"rule {self.id}",
        )

    def _message(self, subjects: tuple[str, ...], data: dict[str, Any]) -> str:
        known = {key: value for key, value in data.items() if value is not None}
        if subjects:
            known["subjects"] = in_words(subjects)
        try:
            return self.detailed.format(**known) or self.message
        except KeyError:
            # Not all of it is known: the message that needs no detail.
            return self.message

    def _broken(self, subjects: tuple[str, ...]) -> tuple[str, ...]:
        """The outcomes of these subjects: of the GPUs among them, else all that the code breaks."""
        if self.breaks is None:
            return ()
        gpus = tuple(one for one in subjects if one.startswith("gpu:"))
        if self.breaks == "compute:gpu" and gpus:
            return tuple(f"compute:{gpu}" for gpu in gpus)
        return (self.breaks,)


def in_words(subjects: tuple[str, ...]) -> str:
    """Subjects as a reader wants them: `GPU 0`, `GPUs 0, 1 and 2`, `8 GPUs`, `numpy and torch`."""
    gpus = [one.removeprefix("gpu:") for one in subjects if one.startswith("gpu:")]
    others = [_PLAIN.get(one, one) for one in subjects if not one.startswith("gpu:")]
    return _listed([*others, *([_gpus_in_words(gpus)] if gpus else [])])


def _gpus_in_words(gpus: list[str]) -> str:
    if len(gpus) == 1:
        return f"GPU {gpus[0]}"
    return f"GPUs {_listed(gpus)}" if len(gpus) <= _FEW else f"{len(gpus)} GPUs"


_PLAIN = {"cpu": "the CPU", "gpu": "a GPU"}
_FEW = 4
"""More GPUs than these are counted, not listed."""


def _listed(words: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


class Verdict(enum.Enum):
    """The answer in one word, in the order in which it is decided.

    BROKEN: a wanted outcome fails, or is certain to. INCOMPLETE: one could not be seen. DEGRADED:
    there is a warning. UNPROVEN: nothing wrong was found, and the user switched looks off that
    could have shown it. HEALTHY: all that is wanted was seen to work.
    """

    BROKEN = "broken"
    INCOMPLETE = "incomplete"
    DEGRADED = "degraded"
    UNPROVEN = "unproven"
    HEALTHY = "healthy"


def exit_code_of(
    findings: tuple[Finding, ...], verdict: Verdict, *, fail_on: Severity = Severity.ERROR
) -> int:
    """Exit code of `check`: 1 for a finding at or above `fail_on`, else 3 if incomplete, else 0."""
    if any(finding.severity.rank >= fail_on.rank for finding in findings):
        return EXIT_FINDINGS
    return EXIT_INCOMPLETE if verdict is Verdict.INCOMPLETE else EXIT_OK
