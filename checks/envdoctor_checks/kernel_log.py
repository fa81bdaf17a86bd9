"""What the kernel's log says of GPUs: Xids, and GPUs that the driver could not start."""

import re
from collections.abc import Iterator

from msgspec.structs import replace

from envdoctor.api import (
    Code,
    CudaInit,
    DriverMessage,
    Evidence,
    Finding,
    Findings,
    Fix,
    Gpu,
    Gpus,
    GpuTrace,
    Host,
    KernelLog,
    Knowledge,
    Layer,
    MessageKind,
    Record,
    Safety,
    Severity,
    Site,
    TracedGpu,
    Xid,
    XidAction,
    XidEvent,
    check,
    system,
)

XID_ERROR = Code(
    id="ED243",
    name="xid-error",
    family="gpu-hw-fault",
    severity=Severity.WARNING,
    topic="driver",
    layer=Layer.BUS,
    breaks="compute:gpu",
    message="the driver has logged an error of a GPU that asks for a reset or a restart",
    detailed="{gpu} has logged Xid {code} since the driver was loaded: {meaning}",
)
XID_NOTED = Code(
    id="ED244",
    name="xid-noted",
    family="xid-noted",
    severity=Severity.INFO,
    topic="driver",
    layer=Layer.BUS,
    message="the driver has logged errors of programs on a GPU, or repairs of its memory",
    detailed="{gpu} has logged Xid {codes} since the driver was loaded; the GPU itself goes on",
)
GPU_INIT_FAILED = Code(
    id="ED245",
    name="gpu-init-failed",
    family="gpu-init-failed",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.KERNEL_MODULE,
    breaks="compute:gpu",
    message="the driver could not start a GPU",
    detailed="the driver could not start {gpu}: {why}",
)

_LOUD = ("check-cables", "reset-gpu", "restart-machine")
"""Actions after which the GPU is itself again, the weakest first."""


_LOOK = Fix(
    summary="where a program of yours was ended: let NVIDIA's tool name the line that is at fault",
    commands=("compute-sanitizer python train.py",),
    safety=Safety.SAFE,
)


class Noted(Record):
    """An Xid that was logged, and what it means."""

    event: XidEvent
    xid: Xid

    @property
    def evidence(self) -> Evidence:
        """The event as it was logged, how often and when last."""
        often = f" ({self.event.count} times)" if self.event.count > 1 else ""
        return Evidence(
            label=f"Xid {self.event.code} of PCI {self.event.pci_address}{often}",
            value=self.event.text or self.xid.meaning,
            source=f"/dev/kmsg, {self.event.last_s:.0f} s after the start",
        )


@check(XID_ERROR, XID_NOTED)
def xids(
    log: KernelLog,
    trace: GpuTrace,
    known: Knowledge,
    site: Site,
    gpus: Gpus | None,
    init: CudaInit | None,
) -> Findings:
    """Xids of GPUs that this process may use; those that are not in the data are left out."""
    repaired = {gpu.index for gpu in gpus.devices if _is_repaired(gpu)} if gpus else set()
    for gpu in trace.visible:
        noted = tuple(_noted(log, gpu, known))
        loud = [one for one in noted if one.xid.action in _LOUD]
        if gpu.nvml_index in repaired and gpu.nvml_index is not None:
            loud = [one for one in loud if one.xid.concerns != "memory"]
        if loud:
            yield _error(max(loud, key=_weight), noted, gpu, trace, site, init)
        elif noted:
            yield XID_NOTED.finding(
                subjects=(gpu.subject,),
                gpu=gpu.described,
                codes=" and ".join(str(one.event.code) for one in noted),
                evidence=tuple(one.evidence for one in noted),
                fixes=(_LOOK,),
                notes=tuple(f"Xid {one.xid.code}: {one.xid.meaning}" for one in noted),
            )


def _is_repaired(gpu: Gpu) -> bool:
    """A reset since the error has set the count of errors back, and remapped what was waiting."""
    waits = gpu.rows_pending or gpu.pages_pending or gpu.rows_failed
    return gpu.ecc_uncorrected == 0 and not waits


def _noted(log: KernelLog, gpu: TracedGpu, known: Knowledge) -> Iterator[Noted]:
    for event in log.xids:
        xid = _as_logged(event, known)
        if xid is not None and event.pci_address == gpu.pci_address:
            yield Noted(event=event, xid=xid)


_ASKS_FOR = re.compile(r"\bto 0x([0-9a-f])\b")
_RECOVERY: dict[str, tuple[XidAction, str]] = {
    "1": ("reset-gpu", "the driver asks for a reset of the GPU"),
    "2": ("restart-machine", "the driver asks for a restart of the machine"),
    "3": ("reset-gpu", "the driver asks for an end of all work on the GPU and its peers"),
    "4": ("reset-gpu", "the driver asks for an end of all work on the GPU, and its reset"),
}
"""What the number at the end of an Xid 154 stands for (nvmlDeviceGpuRecoveryAction_t)."""


def _as_logged(event: XidEvent, known: Knowledge) -> Xid | None:
    """What an Xid means whose text says more than its number."""
    if event.code == _RECOVERY_CHANGED:
        asked = _ASKS_FOR.search(event.text)
        if asked is None or asked[1] not in _RECOVERY:
            return None
        action, meaning = _RECOVERY[asked[1]]
        return Xid(
            code=event.code,
            meaning=meaning,
            concerns="hardware",
            action=action,
            source="NVIDIA Xid catalogue, Xid 154; NVML, GPU recovery actions",
            retrieved="2026-11-26",
        )
    xid = known.xid(event.code)
    if xid is not None and xid.concerns == "link" and "Nonfatal" in event.text:
        return replace(xid, action="none")
    return xid


_RECOVERY_CHANGED = 154


def _weight(noted: Noted) -> tuple[int, float]:
    return _LOUD.index(noted.xid.action), noted.event.last_s


def _error(
    worst: Noted,
    noted: tuple[Noted, ...],
    gpu: TracedGpu,
    trace: GpuTrace,
    site: Site,
    init: CudaInit | None,
) -> Finding:
    lost = trace.nvml is not None and gpu.nvml_index is None and gpu.torch_index is None
    # A lost GPU can keep cuInit from starting at all, and then takes the others with it.
    starts = init is None or init.code in (None, 0)
    breaks = (f"compute:{gpu.subject}" if starts else "compute:gpu",) if lost else ()
    return XID_ERROR.finding(
        subjects=(gpu.subject,),
        severity=Severity.ERROR if lost else Severity.WARNING,
        breaks=breaks,
        gpu=gpu.described,
        code=worst.event.code,
        meaning=worst.xid.meaning,
        evidence=tuple(one.evidence for one in noted),
        fixes=tuple(_ways_out(worst.xid, gpu, site)),
        notes=(f"source: {worst.xid.source}, retrieved {worst.xid.retrieved}",),
    )


def _ways_out(xid: Xid, gpu: TracedGpu, site: Site) -> Iterator[Fix]:
    if xid.action == "reset-gpu" and gpu.nvml_index is not None:
        yield system.reset_gpu(site, gpu.nvml_index)
    elif xid.action == "check-cables":
        yield system.connect_power()
    else:
        yield system.restart(site, "only that brings the GPU back")
    if xid.concerns == "firmware":
        yield system.on_host(site, "if it comes back: install another release of the driver")
    else:
        yield system.replace_gpu()


# --- a GPU that does not start ---

_WHY: tuple[tuple[MessageKind, str], ...] = (
    ("power-cable", "its power cables are not connected"),
    ("bar-unassigned", "the firmware gave its memory no address space (BAR)"),
    ("firmware-missing", "the firmware of its system processor (GSP) is not installed"),
    ("init-failed", "its initialisation failed"),
)
"""The causes before the consequence."""


@check(GPU_INIT_FAILED)
def gpu_init_failed(log: KernelLog, trace: GpuTrace, site: Site, host: Host | None) -> Findings:
    """A GPU that the driver holds and does not list, and lines of the log that say why."""
    if trace.nvml is None:
        return
    for gpu in trace.visible:
        if gpu.nvml_index is not None or gpu.torch_index is not None or not gpu.pci_address:
            continue
        lines = [one for one in log.messages if one.pci_address in (None, gpu.pci_address)]
        told = next(((kind, why) for kind, why in _WHY if _of(kind, lines)), None)
        if told is None:
            continue
        kind, why = told
        yield GPU_INIT_FAILED.finding(
            subjects=(gpu.subject,),
            gpu=gpu.described,
            why=why,
            evidence=tuple(
                Evidence(label=one.kind, value=one.text, source="/dev/kmsg")
                for one in lines
                if one.kind in dict(_WHY)
            ),
            fixes=(
                *_ways_to_start(kind, site, virtual=host is not None and host.hypervisor is True),
                system.look_at_kernel_log(site),
            ),
        )


def _of(kind: MessageKind, lines: list[DriverMessage]) -> bool:
    return any(one.kind == kind for one in lines)


def _ways_to_start(kind: MessageKind, site: Site, *, virtual: bool) -> Iterator[Fix]:
    if kind == "power-cable":
        yield system.connect_power()
    elif kind == "bar-unassigned":
        yield system.more_address_space()
    elif kind == "firmware-missing":
        yield system.install_gsp_firmware(site)
    elif virtual:
        yield system.reset_by_hypervisor()
    else:
        yield system.restart(
            site,
            "a GPU that does not start after it is at fault: reseat it, try it in another machine",
        )
    if virtual:
        yield system.guest_driver(site)
