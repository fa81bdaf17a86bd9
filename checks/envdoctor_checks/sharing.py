"""Whether a GPU is all ours: other processes, a slice of it."""

from collections.abc import Iterator

from envdoctor.api import (
    Calibration,
    Code,
    Evidence,
    Findings,
    Fix,
    Gpu,
    Gpus,
    Layer,
    Safety,
    Severity,
    check,
)
from envdoctor_checks.telemetry import first_of_each_device, nvml

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
def oom_other_process(gpus: Gpus) -> Findings:
    """A GPU with processes on it whose memory is at least half full."""
    for gpu in gpus.devices:
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
