"""Whether a device is all ours: other processes, a slice of a GPU."""

from collections.abc import Iterator

from envdoctor.api import (
    Calibration,
    Code,
    Evidence,
    Findings,
    Fix,
    Gpu,
    Gpus,
    GpuTrace,
    Layer,
    Safety,
    Severity,
    check,
)
from envdoctor_checks.telemetry import first_of_each_device, nvml, visible

OTHER_PROCESS = Code(
    id="ED606",
    name="oom-other-process",
    family="oom-other-process",
    severity=Severity.WARNING,
    topic="speed",
    layer=Layer.SPEED,
    message="other processes hold memory of a GPU",
    detailed="{count} other process{plural} on GPU {index}, and {used:.1f} of its {total:.1f} GB "
    "are in use",
    explains=("ED600",),
)
BUSY_GPU = Code(
    id="ED615",
    name="busy-gpu",
    family="oom-other-process",
    severity=Severity.WARNING,
    topic="speed",
    layer=Layer.SPEED,
    message="other processes kept a GPU busy before it was measured",
    detailed="{count} other process{plural} kept {device} busy for {percent} % of the time before "
    "it was measured",
    explains=("ED600",),
)
BUSY_CPUS = Code(
    id="ED620",
    name="busy-cpus",
    family="oom-other-process",
    severity=Severity.WARNING,
    topic="speed",
    layer=Layer.SPEED,
    message="other programs used the CPUs while they were measured",
    detailed="other programs used {used} CPUs while training on the CPU was measured{most}",
    explains=("ED604", "ED611", "ED612"),
)
MIG_SLICE = Code(
    id="ED613",
    name="mig-slice",
    family="mig-slice",
    severity=Severity.INFO,
    topic="speed",
    layer=Layer.SPEED,
    message="a device is a MIG slice; rates of the whole GPU do not apply",
    detailed="{device} is a MIG slice, a part of a GPU; rates of the whole GPU do not apply",
)

_CROWDED = 0.5
_BUSY_PCT = 10


@check(OTHER_PROCESS)
def oom_other_process(gpus: Gpus, trace: GpuTrace) -> Findings:
    """A GPU that this process may use, with others on it and at least half of its memory taken."""
    for gpu in visible(gpus, trace):
        used, total = gpu.memory_used_bytes, gpu.memory_bytes
        if not gpu.process_pids or not used or not total or used < _CROWDED * total:
            continue
        pids = ", ".join(map(str, gpu.process_pids))
        yield OTHER_PROCESS.finding(
            subjects=(f"gpu:{gpu.index}",),
            count=len(gpu.process_pids),
            plural="es" if len(gpu.process_pids) != 1 else "",
            index=gpu.index,
            used=used / 1e9,
            total=total / 1e9,
            evidence=(nvml("compute processes", f"pid {pids}"),),
            fixes=(
                Fix(
                    summary="see whose they are, and end them if they are left-overs",
                    commands=(f"ps -o pid,user,etime,cmd -p {pids.replace(' ', '')}",),
                    safety=Safety.SAFE,
                ),
                *_use_another(gpus, gpu),
            ),
        )


def _use_another(gpus: Gpus, crowded: Gpu) -> Iterator[Fix]:
    """The GPU with the most free memory, by its UUID where it has one: torch may number the GPUs
    in another order than NVML."""
    others = [gpu for gpu in gpus.devices if gpu is not crowded and _free_bytes(gpu)]
    best = max(others, key=_free_bytes, default=None)
    if best is not None and _free_bytes(best) > _free_bytes(crowded):
        yield Fix(
            summary=f"or use GPU {best.index}",
            commands=(f"export CUDA_VISIBLE_DEVICES={best.uuid or best.index}",),
            safety=Safety.SAFE,
        )


def _free_bytes(gpu: Gpu) -> int:
    """Zero where it is not known."""
    used, total = gpu.memory_used_bytes, gpu.memory_bytes
    return 0 if used is None or total is None else max(0, total - used)


@check(BUSY_GPU)
def busy_gpu(calibration: Calibration) -> Findings:
    """A GPU that other processes kept busy before it was measured."""
    for run, telemetry in first_of_each_device(calibration):
        others, busy = telemetry.other_processes, telemetry.busy_before_pct
        if not others or busy is None or busy < _BUSY_PCT:
            continue
        yield BUSY_GPU.finding(
            subjects=(run.device,),
            count=others,
            plural="es" if others != 1 else "",
            device=run.device,
            percent=busy,
            evidence=(nvml("utilization before the measurement", f"{busy} %"),),
            fixes=(
                Fix(
                    summary="see what they do, and measure again without them",
                    commands=("nvidia-smi",),
                    safety=Safety.SAFE,
                ),
            ),
        )


@check(MIG_SLICE)
def mig_slice(calibration: Calibration) -> Findings:
    """A measured device that is a slice of a GPU."""
    for run in {run.device: run for run in calibration.runs}.values():
        if " MIG " in f" {run.device_name} ":
            yield MIG_SLICE.finding(
                subjects=(run.device,),
                device=run.device,
                evidence=(Evidence(label="device", value=run.device_name, source="torch"),),
                fixes=(
                    Fix(
                        summary="see how the GPU is partitioned; use a larger slice or all of it",
                        commands=("nvidia-smi mig -lgi",),
                        safety=Safety.SAFE,
                    ),
                ),
            )


@check(BUSY_CPUS)
def busy_cpus(calibration: Calibration) -> Findings:
    """Others that had the CPUs nearly all the while. That they run where CPUs are left is no
    finding: what counts is how long the threads of the measurement waited for one."""
    used = calibration.cpus_of_others
    if not used:
        return
    busy = calibration.conditions.busy
    waited = (
        Evidence(
            label=f"cpu {run.precision}",
            value=f"its threads waited {100 * run.waited_share:.0f} % of the time for a CPU",
            source="/proc/self/task/*/schedstat",
        )
        for run in calibration.bounds
        if run.waited_share is not None
    )
    yield BUSY_CPUS.finding(
        subjects=("cpu",),
        used=f"{used:.1f}",
        most=f", {busy[0].name} (process {busy[0].pid}) most of all" if busy else "",
        evidence=(
            *(
                Evidence(
                    label=f"{one.name}, process {one.pid}",
                    value=f"{one.cpus:.1f} CPUs",
                    source="CPU time of processes (psutil)",
                )
                for one in busy
            ),
            *waited,
        ),
        fixes=(
            Fix(
                summary="see what runs, wait until it has ended, and measure again",
                commands=("ps -eo pid,pcpu,etime,args --sort=-pcpu | head", "envdoctor calibrate"),
                safety=Safety.SAFE,
            ),
        ),
        notes=(
            "the rates are the least that this machine does, and nothing is compared with them",
        ),
    )
