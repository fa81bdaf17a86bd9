"""The documents: the report of a diagnosis, that of a calibration, and a prediction."""

import re
from typing import Any, ClassVar, Literal

from msgspec.structs import replace

from envdoctor.exit_codes import EXIT_FINDINGS, EXIT_INCOMPLETE, EXIT_OK
from envdoctor.facts import SCHEMA_VERSION, Reason, Snapshot, Tool
from envdoctor.facts.assessment import Assessment, ExpectedRate
from envdoctor.facts.calibration import Calibration
from envdoctor.facts.collective import Collective
from envdoctor.facts.derived import DriverRelease
from envdoctor.facts.machine import CudaInit, Gpus, Host, HostIdentity, Nvml
from envdoctor.facts.python import Candidate, Installer, Interpreter, Target
from envdoctor.facts.torch import CudaComponents, TorchBuild, TorchImport, TorchRuntime
from envdoctor.findings import Finding, Severity, SharedFault, Topic, Verdict
from envdoctor.formats import DIAGNOSIS, WITH_FACTS, Document
from envdoctor.options import Scope
from envdoctor.outcomes import Outcome
from envdoctor.record import Record
from envdoctor.versions import decode_cuda, decode_cudnn


class StackGpu(Record):
    """A GPU of the machine in short; memory in bytes. `index` is NVML's number, torch's where NVML
    lists none; null in older reports."""

    name: str
    compute_capability: str | None = None
    memory_bytes: int | None = None
    index: int | None = None


class Stack(Record):
    """The short truth, from the GPU up to Python. Null is unknown or not there.

    `driver_cuda` is the newest CUDA that the driver offers, `torch_cuda` what torch was built with,
    `cudart` the runtime library that is loaded; a toolkit is none of these.
    """

    gpus: tuple[StackGpu, ...] = ()
    driver_release: str | None = None
    driver_cuda: str | None = None
    torch_version: str | None = None
    torch_cuda: str | None = None
    cudart: str | None = None
    cudnn: str | None = None
    nccl: str | None = None
    python: str | None = None
    os: str | None = None
    glibc: str | None = None
    installer: str | None = None

    @property
    def numbered(self) -> tuple[tuple[int, StackGpu], ...]:
        """The GPUs with their numbers: where one is lost, those after it keep theirs."""
        return tuple(
            (place if gpu.index is None else gpu.index, gpu) for place, gpu in enumerate(self.gpus)
        )

    @property
    def versions(self) -> dict[str, str | None]:
        """All but the GPUs, by name."""
        return {name: getattr(self, name) for name in self.__struct_fields__ if name != "gpus"}


_UNKNOWN = re.compile(r"(\w+) is unknown \(([\w-]+)\): (.*)", re.DOTALL)
"""What the engine says of a check that was skipped."""

_FACTS = {"Nvml": "NVML", "Gpus": "GPUs", "CudaInit": "cuInit", "Numa": "NUMA"}
"""Facts whose names are not words with capitals."""


class CheckRecord(Record):
    """What became of one check; `reason` says why it did not run, `unknown` what kept the fact that
    it needs from being known."""

    name: str
    topic: Topic
    status: Literal["ran", "skipped", "crashed"]
    codes: tuple[str, ...]
    reason: str = ""
    unknown: Reason | None = None
    seconds: float = 0.0

    @property
    def why(self) -> str:
        """The reason with the fact in words: `GPUs unknown: no answer within 20 s`."""
        found = _UNKNOWN.fullmatch(self.reason)
        if found is None:
            return self.reason
        kind, reason, detail = found.groups()
        if (kind, reason) == ("Calibration", "not-observed"):
            return "speed not measured (`envdoctor calibrate` does)"
        words = _FACTS.get(kind) or re.sub("(?<=[a-z])(?=[A-Z])", " ", kind).lower()
        # Some details name it themselves.
        named = detail.removeprefix(f"{words}: ")
        return f"{words} unknown: {named or reason}"

    @property
    def could_not_look(self) -> bool:
        """Whether it was skipped because a look failed, and not because nothing was to be seen."""
        return self.unknown is not None and self.unknown.is_failure


class ExaminedTarget(Record):
    """The interpreter that was examined, why that one, and those passed over."""

    path: str
    chosen_because: str
    problem: str | None = None
    passed_over: tuple[Candidate, ...] = ()


class ReportHost(Record):
    """The machine that was examined. `id` is the same for all reports of it, and tells nothing
    else (see HostIdentity); null where it was not recorded."""

    id: str | None = None
    os: str | None = None
    kernel: str | None = None
    machine: str | None = None


class Selection(Record):
    """What the user asked this diagnosis for: `only` these checks, or all but those to `skip`;
    nothing executed (`static`); the device that torch is expected to use; the machine alone or the
    target alone (`scope`); the file system below `root`; what the machine is held to, by the file
    of the `policy`; and the least severity that makes the exit code 1."""

    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    static: bool = False
    expect: str | None = None
    scope: Scope | None = None
    root: str | None = None
    policy: str | None = None
    fail_on: Severity = Severity.ERROR


AS_USUAL = Selection()
"""What is asked for where nothing is said."""


class Report(Record, tag="report"):
    """One diagnosis. `outcomes` are what is wanted of torch and whether it works, `findings` what
    explains that: `findings[0]` is the root cause. `calibration` and `assessment` are views of
    those facts: what was measured, and what follows from it.

    `exit_code` follows from the findings, the verdict and `selection.fail_on`. `fault` says where
    the cause lies: in the machine or in the environment; null where there is none.
    """

    formats: ClassVar[tuple[str, ...]] = DIAGNOSIS

    schema_version: int = SCHEMA_VERSION
    tool: Tool = Tool()
    created_at: str
    host: ReportHost | None = None
    selection: Selection = AS_USUAL
    target: ExaminedTarget | None
    stack: Stack
    verdict: Verdict
    fault: SharedFault | None = None
    exit_code: int
    outcomes: tuple[Outcome, ...]
    findings: tuple[Finding, ...]
    checks: tuple[CheckRecord, ...]
    calibration: Calibration | None = None
    assessment: Assessment | None = None
    facts: dict[str, Any]


class ReportSet(Record, tag="reports"):
    """The reports of several targets; the exit code is that of the worst."""

    formats: ClassVar[tuple[str, ...]] = DIAGNOSIS

    schema_version: int = SCHEMA_VERSION
    exit_code: int
    reports: tuple[Report, ...]


def shown_in(document: Document, name: str) -> Document:
    """What a format shows of a document. Facts are most of a report, and few formats show them."""
    if name not in WITH_FACTS and isinstance(document, Report):
        return replace(document, facts={})
    if name not in WITH_FACTS and isinstance(document, ReportSet):
        bare = (replace(one, facts={}) for one in document.reports)
        return replace(document, reports=tuple(bare))
    return document


class CalibrationReport(Record, tag="calibration-report"):
    """One calibration. `calibration` is null if nothing could be measured, then `problem` says
    why; `assessment` is what follows from it; `findings` are those of the performance checks."""

    formats: ClassVar[tuple[str, ...]] = ("text", "json")

    schema_version: int = SCHEMA_VERSION
    tool: Tool = Tool()
    created_at: str
    target: ExaminedTarget | None
    exit_code: int
    calibration: Calibration | None
    assessment: Assessment | None = None
    problem: str = ""
    findings: tuple[Finding, ...] = ()


class CollectiveReport(Record, tag="collective-report"):
    """One collective. `outcome` says whether the ranks reach each other; `collective` is null where
    none could be started, then `problem` says why; `findings` are those of the network."""

    formats: ClassVar[tuple[str, ...]] = ("text", "json")

    schema_version: int = SCHEMA_VERSION
    tool: Tool = Tool()
    created_at: str
    target: ExaminedTarget | None
    verdict: Verdict
    exit_code: int
    outcome: Outcome
    collective: Collective | None
    problem: str = ""
    findings: tuple[Finding, ...] = ()


class Prediction(Record, tag="prediction"):
    """Expected ResNet-50 training rates of one GPU model; nothing was measured."""

    formats: ClassVar[tuple[str, ...]] = ("text", "json")

    schema_version: int = SCHEMA_VERSION
    tool: Tool = Tool()
    gpu: str
    expected: tuple[ExpectedRate, ...]


_WORST_FIRST = (EXIT_FINDINGS, EXIT_INCOMPLETE, EXIT_OK)


def as_one(reports: tuple[Report, ...]) -> Report | ReportSet:
    """One document of one or several reports; a finding counts more than an incomplete look."""
    if len(reports) == 1:
        return reports[0]
    codes = {report.exit_code for report in reports}
    worst = next(code for code in _WORST_FIRST if code in codes)
    return ReportSet(exit_code=worst, reports=reports)


def reports_in(document: Report | ReportSet) -> tuple[Report, ...]:
    """All reports of a document."""
    return document.reports if isinstance(document, ReportSet) else (document,)


def host_of(snapshot: Snapshot) -> ReportHost | None:
    """The machine that the facts are about; null where they do not tell."""
    host, identity = snapshot.value(Host), snapshot.value(HostIdentity)
    if host is None and identity is None:
        return None
    return ReportHost(
        id=identity.id if identity else None,
        os=host.os if host else None,
        kernel=host.kernel if host else None,
        machine=host.machine if host else None,
    )


def stack_of(snapshot: Snapshot) -> Stack:
    """The short truth about a machine. What runs is believed before what lies on disk."""
    runtime = snapshot.value(TorchRuntime)
    build = snapshot.value(TorchBuild)
    components = snapshot.value(CudaComponents)
    interpreter = snapshot.value(Interpreter)
    target = snapshot.value(Target)
    host = snapshot.value(Host)
    installer = snapshot.value(Installer)
    on_disk = components.version if components and (build is None or build.cuda) else _no_version
    return Stack(
        gpus=_gpus(snapshot),
        driver_release=_driver_release(snapshot),
        driver_cuda=_driver_cuda(snapshot),
        torch_version=_torch_version(snapshot),
        torch_cuda=runtime.cuda if runtime else build.cuda if build else None,
        cudart=decode_cuda(runtime.cudart_version if runtime else None) or on_disk("cudart"),
        cudnn=decode_cudnn(runtime.cudnn_version if runtime else None) or on_disk("cudnn"),
        nccl=(runtime.nccl_version if runtime else None) or on_disk("nccl"),
        python=interpreter.version if interpreter else target.version if target else None,
        os=_os(host),
        glibc=host.glibc if host else None,
        installer=installer.name if installer else None,
    )


def _os(host: Host | None) -> str | None:
    if host is None:
        return None
    return f"{host.os} ({host.machine})" if host.machine else host.os


def _no_version(_: str) -> None:
    return None


def _torch_version(snapshot: Snapshot) -> str | None:
    runtime, imported = snapshot.value(TorchRuntime), snapshot.value(TorchImport)
    build = snapshot.value(TorchBuild)
    if runtime is not None:
        return runtime.version
    if imported is not None and imported.version:
        return imported.version
    return build.version if build else None


def _gpus(snapshot: Snapshot) -> tuple[StackGpu, ...]:
    gpus, runtime = snapshot.value(Gpus), snapshot.value(TorchRuntime)
    devices = gpus.devices if gpus and gpus.devices else runtime.devices if runtime else ()
    return tuple(
        StackGpu(
            name=device.name,
            compute_capability=device.compute_capability,
            memory_bytes=device.memory_bytes,
            index=device.index,
        )
        for device in devices
    )


def _driver_release(snapshot: Snapshot) -> str | None:
    driver = snapshot.value(DriverRelease)
    return driver.release if driver else None


def _driver_cuda(snapshot: Snapshot) -> str | None:
    init, nvml = snapshot.value(CudaInit), snapshot.value(Nvml)
    if nvml is not None and nvml.driver_cuda:
        return nvml.driver_cuda
    return init.driver_cuda if init else None
