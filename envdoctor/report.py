"""The report: the verdict, the stack in short, findings with root causes first, and the facts."""

from typing import Any

from envdoctor.facts import SCHEMA_VERSION, Snapshot, Tool
from envdoctor.facts.calibration import Calibration
from envdoctor.facts.machine import CudaInit, Driver, Gpus, Host, Nvml
from envdoctor.facts.python import Candidate, Installer, Interpreter, Target
from envdoctor.facts.torch import CudaComponents, TorchBuild, TorchImport, TorchRuntime
from envdoctor.findings import Finding, Verdict
from envdoctor.record import Record
from envdoctor.versions import decode_cuda, decode_cudnn


class StackGpu(Record):
    """A GPU of the machine in short; memory in bytes."""

    name: str
    compute_capability: str | None = None
    memory_bytes: int | None = None


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


class CheckRecord(Record):
    """What became of one check. `status`: ran, skipped, crashed.

    `blind` marks one that can yield an error and could not look: it makes a report incomplete.
    """

    name: str
    topic: str
    status: str
    codes: tuple[str, ...]
    reason: str = ""
    seconds: float = 0.0
    blind: bool = False


class ExaminedTarget(Record):
    """The interpreter that was examined, why that one, and those passed over."""

    path: str
    chosen_because: str
    problem: str | None = None
    passed_over: tuple[Candidate, ...] = ()


class Report(Record, tag="report"):
    """One diagnosis. `findings[0]` is the root cause; `calibration` is a view of that fact."""

    schema_version: int = SCHEMA_VERSION
    tool: Tool = Tool()
    created_at: str
    target: ExaminedTarget | None
    stack: Stack
    verdict: Verdict
    exit_code: int
    findings: tuple[Finding, ...]
    checks: tuple[CheckRecord, ...]
    calibration: Calibration | None = None
    facts: dict[str, Any]


class ReportSet(Record, tag="reports"):
    """The reports of several targets; the exit code is that of the worst."""

    schema_version: int = SCHEMA_VERSION
    exit_code: int
    reports: tuple[Report, ...]


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
        )
        for device in devices
    )


def _driver_release(snapshot: Snapshot) -> str | None:
    driver, nvml = snapshot.value(Driver), snapshot.value(Nvml)
    if driver is not None and driver.release:
        return driver.release
    return nvml.driver_release if nvml else None


def _driver_cuda(snapshot: Snapshot) -> str | None:
    init, nvml = snapshot.value(CudaInit), snapshot.value(Nvml)
    if nvml is not None and nvml.driver_cuda:
        return nvml.driver_cuda
    return init.driver_cuda if init else None
