"""What NVML says of the GPUs, at rest and while each device was measured."""

from collections.abc import Callable, Iterator

from envdoctor.api import (
    Calibration,
    CalibrationRun,
    Evidence,
    Gpu,
    Gpus,
    GpuTrace,
    Telemetry,
)

Observed = Iterator[tuple[CalibrationRun, Telemetry]]

_FEWEST_SAMPLES = 3


def visible(gpus: Gpus, trace: GpuTrace) -> Iterator[Gpu]:
    """The GPUs of NVML that this process may use."""
    shown = {gpu.nvml_index for gpu in trace.visible}
    return (gpu for gpu in gpus.devices if gpu.index in shown)


def observed(calibration: Calibration) -> Observed:
    """Every run of which there are enough samples."""
    for run in calibration.runs:
        if run.telemetry is not None and run.telemetry.samples >= _FEWEST_SAMPLES:
            yield run, run.telemetry


def first_of_each_device(calibration: Calibration) -> Observed:
    """The first run of each device."""
    yield from worst_of_each_device(calibration, lambda telemetry: 0.0)


def worst_of_each_device(
    calibration: Calibration, badness: Callable[[Telemetry], float]
) -> Observed:
    """For each device the run that is worst, the first of equal ones."""
    worst: dict[str, tuple[CalibrationRun, Telemetry]] = {}
    for run, telemetry in observed(calibration):
        if run.device not in worst or badness(telemetry) > badness(worst[run.device][1]):
            worst[run.device] = run, telemetry
    yield from worst.values()


def nvml(name: str, value: str) -> Evidence:
    """What NVML said, as evidence."""
    return Evidence(label=name, value=value, source="NVML")
