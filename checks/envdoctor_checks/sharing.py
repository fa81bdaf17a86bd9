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
    detailed="other processes are on {subjects}, and {what}",
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
    """GPUs that this process may use, with others on them and at least half of their memory taken:
    where a whole machine is at work, one finding."""
    crowded = [gpu for gpu in visible(gpus, trace) if gpu.process_pids and _used(gpu) >= _CROWDED]
    if not crowded:
        return
    pids = dict.fromkeys(pid for gpu in crowded for pid in gpu.process_pids)
    yield OTHER_PROCESS.finding(
        subjects=tuple(f"gpu:{gpu.index}" for gpu in crowded),
        what=f"{_memory_of(crowded[0])} are in use"
        if len(crowded) == 1
        else "at least half of the memory of each is in use",
        evidence=tuple(
            nvml(
                f"GPU {gpu.index}",
                f"{_memory_of(gpu)}, pid {', '.join(map(str, gpu.process_pids))}",
            )
            for gpu in crowded
        ),
        fixes=(
            Fix(
                summary="see whose they are, and end them if they are left-overs",
                commands=(f"ps -o pid,user,etime,cmd -p {','.join(map(str, pids))}",),
                safety=Safety.SAFE,
            ),
            *_use_another(gpus, crowded),
        ),
    )


def _used(gpu: Gpu) -> float:
    """The part of the memory that is in use; 0 where it is not known."""
    used, total = gpu.memory_used_bytes, gpu.memory_bytes
    return used / total if used and total else 0.0


def _memory_of(gpu: Gpu) -> str:
    return f"{(gpu.memory_used_bytes or 0) / 1e9:.1f} of {(gpu.memory_bytes or 0) / 1e9:.1f} GB"


def _use_another(gpus: Gpus, crowded: list[Gpu]) -> Iterator[Fix]:
    """The GPU with the most free memory, by its UUID where it has one: torch may number the GPUs
    in another order than NVML."""
    others = [gpu for gpu in gpus.devices if gpu not in crowded and _free_bytes(gpu)]
    best = max(others, key=_free_bytes, default=None)
    if best is not None and _free_bytes(best) > max(map(_free_bytes, crowded)):
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
