"""Which runs of a calibration stand for a device, and how one is called. Pure."""

from collections.abc import Iterable

from envdoctor.facts.calibration import CalibrationRun


def main_runs(runs: Iterable[CalibrationRun]) -> tuple[CalibrationRun, ...]:
    """The run that stands for each device and precision: not compiled, of the largest batch, and
    of those the fastest memory format, since one that is slower is nobody's yardstick."""
    best: dict[tuple[str, str], CalibrationRun] = {}
    for run in (one for one in runs if not one.compiled):
        key = run.device, run.precision
        if key not in best or _rank(run) > _rank(best[key]):
            best[key] = run
    return tuple(best.values())


def _rank(run: CalibrationRun) -> tuple[int, float]:
    return run.batch_size, run.rate.median


def fastest_of_devices(runs: Iterable[CalibrationRun]) -> dict[str, CalibrationRun]:
    """By device, the main run of the precision that is fastest there."""
    fastest: dict[str, CalibrationRun] = {}
    for run in main_runs(runs):
        other = fastest.setdefault(run.device, run)
        if run.rate.median > other.rate.median:
            fastest[run.device] = run
    return fastest


def label(run: CalibrationRun) -> str:
    """The run in words: device and precision."""
    return f"{run.device} {run.precision}"


def extra(run: CalibrationRun, runs: Iterable[CalibrationRun] = ()) -> str:
    """What is said behind the label: that a run was compiled or of the other memory format, and its
    batch where a run of these that was not compiled has a larger one."""
    kind = " compiled" if run.compiled else " NCHW" if run.memory_format == "contiguous" else ""
    plain = (one for one in runs if label(one) == label(run) and not one.compiled)
    largest = max((one.batch_size for one in plain), default=0)
    return f"{kind} batch {run.batch_size}" if run.batch_size < largest else kind
