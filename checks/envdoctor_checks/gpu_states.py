"""States of a GPU that NVML tells: memory that waits for repair, compute mode, licence, BAR1."""

from envdoctor.api import (
    Code,
    Findings,
    Fix,
    Gpu,
    Gpus,
    GpuTrace,
    Knowledge,
    Layer,
    Safety,
    Severity,
    Site,
    TorchFirstUse,
    check,
    command,
    system,
)
from envdoctor_checks.telemetry import nvml, visible

MEMORY_REPAIR_PENDING = Code(
    id="ED246",
    name="memory-repair-pending",
    family="gpu-hw-fault",
    severity=Severity.WARNING,
    topic="driver",
    layer=Layer.NVML,
    message="the memory of a GPU has had errors that a reset repairs",
    detailed="the memory of {subjects} ({model}) has had errors that a reset repairs: {what}",
)
ROW_REMAP_FAILED = Code(
    id="ED247",
    name="row-remap-failed",
    family="gpu-hw-fault",
    severity=Severity.WARNING,
    topic="driver",
    layer=Layer.NVML,
    message="a GPU could not replace a bad row of its memory: it has to be exchanged",
    detailed="a bad row in the memory of {subjects} ({model}) could not be replaced: the card has "
    "to be exchanged",
)
COMPUTE_PROHIBITED = Code(
    id="ED248",
    name="compute-prohibited",
    family="compute-prohibited",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.NVML,
    breaks="compute:gpu",
    message="the compute mode of a GPU is prohibited: no program may compute on it",
    detailed="the compute mode of {subjects} ({model}) is prohibited: no program may compute there",
)
VGPU_UNLICENSED = Code(
    id="ED249",
    name="vgpu-unlicensed",
    family="vgpu-unlicensed",
    severity=Severity.WARNING,
    topic="driver",
    layer=Layer.NVML,
    message="a virtual GPU has no licence, and becomes slow some minutes after the start",
    detailed="there is no licence for the virtual {subjects} ({model}), which becomes slow some "
    "minutes after the start",
)
EXCLUSIVE_AND_TAKEN = Code(
    id="ED250",
    name="exclusive-and-taken",
    family="oom-other-process",
    severity=Severity.WARNING,
    topic="driver",
    layer=Layer.NVML,
    message="a GPU serves one process at a time, and one has it",
    detailed="{gpu} serves one process at a time (compute mode exclusive-process), and pid {pids} "
    "has it",
)
MIG_PENDING = Code(
    id="ED251",
    name="mig-mode-pending",
    family="mig-uuid-config",
    severity=Severity.INFO,
    topic="driver",
    layer=Layer.NVML,
    message="the MIG mode of a GPU changes at its next reset",
    detailed="the MIG mode of {subjects} ({model}) is {now}, and {then} after the next reset",
)
SMALL_BAR1 = Code(
    id="ED252",
    name="small-bar1",
    family="small-bar1",
    severity=Severity.INFO,
    topic="driver",
    layer=Layer.NVML,
    message="the bus reaches a part of the GPU's memory only: Resizable BAR is off",
    detailed="the bus reaches {megabytes} MiB of the memory of {subjects} ({model}) only: "
    "Resizable BAR is off",
)

PERSISTENCE_MODE_OFF = Code(
    id="ED253",
    name="persistence-mode-off",
    family="persistence-mode-off",
    severity=Severity.INFO,
    topic="driver",
    layer=Layer.NVML,
    message="persistence mode is off: the first program on an idle GPU waits for the driver",
    detailed="persistence mode is off for {subjects} ({model}): the first program on an idle one "
    "waits for the driver",
)

_NO_RESIZABLE_BAR = 256 * 2**20
"""BAR1 of GPUs without Resizable BAR (NVIDIA, "GeForce RTX 30 Series Performance Accelerates With
Resizable BAR Support")."""

_RESIZABLE_FROM = (8, 0)
"""Compute capability: Resizable BAR begins with Ampere (the same)."""


@check(MEMORY_REPAIR_PENDING, ROW_REMAP_FAILED)
def memory_of_gpus(gpus: Gpus, trace: GpuTrace, site: Site) -> Findings:
    """Memory that NVML says is worn; errors that ECC corrected are none."""
    for gpu in visible(gpus, trace):
        if gpu.rows_failed:
            yield ROW_REMAP_FAILED.finding(
                subjects=(f"gpu:{gpu.index}",),
                model=gpu.name,
                evidence=(nvml("row remapping", "failed"),),
                fixes=(
                    Fix(
                        summary="have the card tested and exchanged (RMA): its memory has no spare "
                        "rows left there",
                        commands=(
                            command(
                                "nvidia-smi", "-i", str(gpu.index), "-q", "-d", "ROW_REMAPPER,ECC"
                            ),
                        ),
                        safety=Safety.SAFE,
                    ),
                ),
                notes=("NVIDIA GPU Memory Error Management, RMA policy thresholds",),
            )
        elif what := _pending(gpu):
            yield MEMORY_REPAIR_PENDING.finding(
                subjects=(f"gpu:{gpu.index}",),
                model=gpu.name,
                what=what,
                evidence=(
                    nvml("row remapping pending", _YES_OR_NO[gpu.rows_pending]),
                    nvml("page retirement pending", _YES_OR_NO[gpu.pages_pending]),
                    nvml("uncorrected errors", _count(gpu.ecc_uncorrected)),
                ),
                fixes=(system.reset_gpu(site, gpu.index),),
                notes=(
                    "programs that the bad rows did not touch go on unharmed until then (NVIDIA "
                    "GPU Memory Error Management)",
                ),
            )


_YES_OR_NO = {True: "yes", False: "no", None: "unknown"}


def _count(errors: int | None) -> str:
    return "unknown" if errors is None else str(errors)


def _pending(gpu: Gpu) -> str:
    if gpu.rows_pending:
        return "rows wait to be remapped"
    if gpu.pages_pending:
        return "pages wait to be retired"
    return f"{gpu.ecc_uncorrected} that ECC could not correct" if gpu.ecc_uncorrected else ""


@check(COMPUTE_PROHIBITED, EXCLUSIVE_AND_TAKEN)
def compute_mode(gpus: Gpus, trace: GpuTrace, site: Site, used: TorchFirstUse | None) -> Findings:
    """A mode that keeps this process from the GPU; an exclusive GPU that is free is none."""
    for gpu in visible(gpus, trace):
        subjects = (f"gpu:{gpu.index}",)
        if gpu.compute_mode == "prohibited":
            yield COMPUTE_PROHIBITED.finding(
                subjects=subjects,
                breaks=(f"compute:gpu:{gpu.index}",),
                model=gpu.name,
                evidence=(nvml("compute mode", "prohibited"),),
                fixes=(system.share_gpu(site, gpu.index),),
            )
        elif gpu.compute_mode == "exclusive-process" and gpu.process_pids and used is None:
            # Where a first use was tried, its own error says what happened.
            pids = ", ".join(map(str, gpu.process_pids))
            yield EXCLUSIVE_AND_TAKEN.finding(
                subjects=subjects,
                gpu=f"GPU {gpu.index} ({gpu.name})",
                pids=pids,
                evidence=(nvml("compute mode", "exclusive-process"), nvml("processes", pids)),
                fixes=(
                    Fix(
                        summary="wait for that process, or use another GPU",
                        commands=(
                            command("ps", "-o", "pid,user,etime,cmd", "-p", pids.replace(" ", "")),
                        ),
                        safety=Safety.SAFE,
                    ),
                    system.share_gpu(site, gpu.index),
                ),
            )


@check(VGPU_UNLICENSED)
def vgpu_unlicensed(gpus: Gpus, trace: GpuTrace, site: Site) -> Findings:
    """A slice of a GPU that the hypervisor gives; a whole one that is passed through needs none."""
    for gpu in visible(gpus, trace):
        if gpu.virtualization == "vgpu" and gpu.licensed is False:
            yield VGPU_UNLICENSED.finding(
                subjects=(f"gpu:{gpu.index}",),
                model=gpu.name,
                evidence=(nvml("virtualization", "vgpu"), nvml("licensed", "no")),
                fixes=(
                    system.on_host(
                        site,
                        "put the token of your licence server into /etc/nvidia/ClientConfigToken "
                        "of this virtual machine, and restart the service that asks for the "
                        "licence",
                        "sudo systemctl restart nvidia-gridd",
                        "nvidia-smi -q | grep -i -A2 license",
                    ),
                ),
                notes=("NVIDIA vGPU software, Client Licensing User Guide",),
            )


@check(MIG_PENDING)
def mig_mode_pending(gpus: Gpus, trace: GpuTrace, site: Site) -> Findings:
    """A switch of the MIG mode that waits for a reset."""
    for gpu in visible(gpus, trace):
        if None in (gpu.mig_mode, gpu.mig_pending) or gpu.mig_mode == gpu.mig_pending:
            continue
        now, then = ("on" if mode else "off" for mode in (gpu.mig_mode, gpu.mig_pending))
        yield MIG_PENDING.finding(
            subjects=(f"gpu:{gpu.index}",),
            model=gpu.name,
            now=now,
            then=then,
            evidence=(nvml("MIG mode", now), nvml("MIG mode pending", then)),
            fixes=(system.reset_for_mig(site, gpu.index),),
        )


@check(PERSISTENCE_MODE_OFF)
def persistence_mode_off(gpus: Gpus, trace: GpuTrace, known: Knowledge, site: Site) -> Findings:
    """A GPU of a server that the driver lets go whenever nothing runs on it; one with a screen is
    held by that, and in a container it is the host's to say."""
    if site.contained or site.wsl:
        return
    for gpu in visible(gpus, trace):
        model = known.gpu(gpu.name, gpu.memory_bytes)
        of_a_server = model is not None and model.kind == "datacenter"
        if gpu.persistence_mode is not False or not of_a_server or gpu.virtualization == "vgpu":
            continue
        yield PERSISTENCE_MODE_OFF.finding(
            subjects=(f"gpu:{gpu.index}",),
            model=gpu.name,
            evidence=(nvml("persistence mode", "off"),),
            fixes=(
                Fix(
                    summary="let the driver stay initialised",
                    commands=("sudo systemctl enable --now nvidia-persistenced",),
                    safety=Safety.NEEDS_ROOT,
                ),
            ),
            notes=("NVIDIA Driver Persistence (docs.nvidia.com/deploy/driver-persistence)",),
        )


@check(SMALL_BAR1)
def small_bar1(gpus: Gpus, trace: GpuTrace) -> Findings:
    """A GPU that could show all of its memory to the others, in a machine that does not let it."""
    shown = tuple(visible(gpus, trace))
    for gpu in shown if len(shown) > 1 else ():
        capability = _numbers(gpu.compute_capability)
        if gpu.bar1_bytes is None or gpu.memory_bytes is None or capability < _RESIZABLE_FROM:
            continue
        if gpu.bar1_bytes > _NO_RESIZABLE_BAR or gpu.memory_bytes <= 2 * gpu.bar1_bytes:
            continue
        yield SMALL_BAR1.finding(
            subjects=(f"gpu:{gpu.index}",),
            model=gpu.name,
            megabytes=gpu.bar1_bytes // 2**20,
            evidence=(nvml("BAR1", f"{gpu.bar1_bytes // 2**20} MiB"),),
            fixes=(system.more_address_space(),),
            notes=("it matters to transfers between GPUs; one alone trains as fast without it",),
        )


def _numbers(capability: str | None) -> tuple[int, ...]:
    return tuple(int(part) for part in (capability or "0.0").split(".") if part.isdecimal())
