"""What NVML said while each device was measured: the samples that checks look at."""

from collections.abc import Callable, Iterator

from envdoctor.api import (
    Calibration,
    CalibrationRun,
    Evidence,
    Telemetry,
)

Observed = Iterator[tuple[CalibrationRun, Telemetry]]

_FEWEST_SAMPLES = 3


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
