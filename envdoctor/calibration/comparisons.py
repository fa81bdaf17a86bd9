"""How much faster one run is than another, measured here or predicted of other GPUs. Pure."""

from collections.abc import Iterable, Iterator

import msgspec

from envdoctor.calibration.expectation import CHANNELS_LAST, CONTIGUOUS
from envdoctor.calibration.runs import fastest_of_devices, label, main_runs
from envdoctor.calibration.speedup import speedup
from envdoctor.facts.assessment import ExpectedRate, Speedup
from envdoctor.facts.calibration import CalibrationRun, Precision, Spread


def measured_speedups(runs: tuple[CalibrationRun, ...]) -> Iterator[Speedup]:
    """Each GPU against the CPU, and on each device its precisions, compilation, memory formats and
    batches against each other."""
    fastest = fastest_of_devices(runs)
    cpu = fastest.get("cpu")
    for device in dict.fromkeys(run.device for run in runs):
        yield from _within_device([run for run in runs if run.device == device])
        gpu = fastest.get(device)
        if gpu is not None and cpu is not None and gpu is not cpu:
            yield _compare(gpu, cpu, label(gpu), label(cpu))


def _within_device(runs: list[CalibrationRun]) -> Iterator[Speedup]:
    plain = {run.precision: run for run in main_runs(runs)}
    for precision in ("tf32", "bf16", "fp16"):
        if precision in plain and "fp32" in plain:
            yield _compare(
                plain[precision], plain["fp32"], label(plain[precision]), label(plain["fp32"])
            )
    for run in runs:
        base = _counterpart(run, runs, plain)
        if base is None:
            continue
        name = label(base)
        if run.compiled:
            yield _compare(run, base, f"{name} compiled", f"{name} eager")
        elif run.memory_format != base.memory_format:
            yield _compare(base, run, f"{name} {base.memory_format}", f"{name} {run.memory_format}")
        else:
            of, against = f"{name} batch {base.batch_size}", f"{name} batch {run.batch_size}"
            yield _compare(base, run, of, against)


def _counterpart(
    run: CalibrationRun, runs: list[CalibrationRun], plain: dict[Precision, CalibrationRun]
) -> CalibrationRun | None:
    """The run that differs from this one in one respect alone: compilation, memory format (the
    one in channels_last), or a larger batch. None where there is none."""
    if run.compiled:
        return _alike(runs, run, compiled=False)
    if run.memory_format == CONTIGUOUS:
        return _alike(runs, run, memory_format=CHANNELS_LAST)
    main = plain.get(run.precision)
    if main is None or main.batch_size <= run.batch_size:
        return None
    return _alike(runs, run, batch_size=main.batch_size)


def _alike(
    runs: Iterable[CalibrationRun], run: CalibrationRun, **difference: object
) -> CalibrationRun | None:
    wanted = _kind(msgspec.structs.replace(run, **difference))
    return next((one for one in runs if _kind(one) == wanted), None)


def _kind(run: CalibrationRun) -> tuple[str, str | None, bool, int]:
    return run.precision, run.memory_format, run.compiled, run.batch_size


def _compare(fast: CalibrationRun, slow: CalibrationRun, of: str, against: str) -> Speedup:
    return speedup(of=of, against=against, kind="measured", fast=fast.rate, slow=slow.rate)


def predicted_speedups(
    runs: Iterable[CalibrationRun], expected: Iterable[ExpectedRate], fed: float | None
) -> Iterator[Speedup]:
    """What other GPUs would bring here, alone and behind this machine's input pipeline."""
    plain = main_runs(runs)
    here = _fastest(run for run in plain if run.device != "cpu") or _fastest(plain)
    if here is not None:
        for rate in (one for one in expected if one.verdict == "not-measured"):
            of = f"{rate.device} {rate.precision}"
            yield speedup(
                of=of,
                against=label(here),
                kind="predicted",
                fast=rate.images_per_s,
                slow=here.rate,
            )
            if fed is not None and fed < rate.images_per_s.median:
                yield speedup(
                    of=f"{of}, fed by this input pipeline",
                    against=label(here),
                    kind="predicted",
                    fast=_capped(rate.images_per_s, fed),
                    slow=_capped(here.rate, fed),
                )
    for run in (one for one in plain if fed is not None and fed < one.rate.median):
        assert fed is not None
        yield speedup(
            of=f"{label(run)}, fed by this input pipeline",
            against=f"{label(run)}, data on the device",
            kind="predicted",
            fast=_capped(run.rate, fed),
            slow=run.rate,
        )


def _capped(rate: Spread, limit: float) -> Spread:
    return Spread(
        median=min(rate.median, limit), low=min(rate.low, limit), high=min(rate.high, limit)
    )


def _fastest(runs: Iterable[CalibrationRun]) -> CalibrationRun | None:
    return max(runs, key=lambda run: run.rate.median, default=None)
