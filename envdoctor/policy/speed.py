"""Whether what was measured is as fast as a policy asks for. Pure."""

from collections.abc import Iterable, Iterator

import msgspec

from envdoctor.facts import Reason, Snapshot, Unknown
from envdoctor.facts.calibration import PRECISIONS, Calibration, CalibrationRun
from envdoctor.policy.codes import POLICY_SPEED
from envdoctor.policy.judged import Judged, Unseen, rounded_down, violation
from envdoctor.policy.records import PolicyFile


def judge_speed(held: PolicyFile, snapshot: Snapshot) -> Iterator[Judged]:
    """Rates that were measured, and what GPUs bring over the CPU."""
    fact = snapshot.get(Calibration)
    for field in msgspec.structs.fields(held.policy.speed):
        wanted = getattr(held.policy.speed, field.name)
        if wanted is None:
            continue
        if isinstance(fact, Unknown):
            yield Unseen(what=_named(field.name), why=_not_measured(fact))
        elif field.name == "speedup":
            yield from _speedups(held, fact.value, wanted)
        else:
            yield from _rates(held, fact.value, field.name, wanted)


def _named(key: str, device: str | None = None) -> str:
    """What a key of the table asks for, of one GPU or of any."""
    if key == "cpu":
        return "images/s of the CPU"
    if key == "speedup":
        return f"the speedup of {device or 'a GPU'} over the CPU"
    return f"images/s of {device or 'a GPU'} in {key}"


def _not_measured(fact: Unknown) -> Unknown:
    if fact.reason is not Reason.NOT_OBSERVED:
        return fact
    return Unknown(reason=Reason.SWITCHED_OFF, detail="`envdoctor --policy` measures, not `check`")


def best_rates(runs: Iterable[CalibrationRun]) -> dict[str, dict[str, float]]:
    """The best images/s of each device, by the keys that a policy has for them; of tokens it asks
    nothing."""
    rates: dict[str, dict[str, float]] = {}
    for run in runs:
        if run.images_per_s is None:
            continue
        of_key = rates.setdefault("cpu" if run.device == "cpu" else run.precision, {})
        of_key[run.device] = max(of_key.get(run.device, 0.0), run.images_per_s.median)
    return rates


def _rates(held: PolicyFile, measured: Calibration, key: str, wanted: float) -> Iterator[Judged]:
    figures = best_rates(measured.figures).get(key, {})
    bounds = best_rates(measured.bounds).get(key, {})
    for device in ("cpu",) if key == "cpu" else _gpus(measured):
        rate = figures.get(device) if device else None
        bound = bounds.get(device) if device else None
        if max(rate or 0.0, bound or 0.0) >= wanted:
            continue
        if rate is None:
            why = _ONLY_A_BOUND if bound else _why_not(measured, device, key)
            yield Unseen(what=_named(key, device), why=why)
            continue
        found, asked = f"{rounded_down(rate, 10):g} images/s", f"at least {wanted:g} images/s"
        what = f"training on {'the CPU' if device == 'cpu' else f'{device} in {key}'}"
        yield violation(held, POLICY_SPEED, f"speed.{key}", what, found, asked)


def _speedups(held: PolicyFile, measured: Calibration, wanted: float) -> Iterator[Judged]:
    """How many times as fast each GPU trains as the CPU beside it, both in the precision that is
    fastest there and in one run, as a calibration says it. A bound can still decide: it is the
    least that a device does."""
    from envdoctor.calibration.runs import fastest_of_devices

    figures = fastest_of_devices(_of_images(measured.figures))
    known = {**fastest_of_devices(_of_images(measured.bounds)), **figures}
    for device in _gpus(measured):
        what = _named("speedup", device)
        missing = [one for one in (device, "cpu") if one not in known]
        if device is None or missing:
            yield Unseen(what=what, why=_why_not(measured, missing[0]))
            continue
        ratio = known[device].rate.median / known["cpu"].rate.median
        if "cpu" in figures and ratio >= wanted:
            continue
        if device not in figures or ("cpu" not in figures and ratio >= wanted):
            yield Unseen(what=what, why=_ONLY_A_BOUND)
            continue
        found = f"{'' if 'cpu' in figures else 'at most '}{rounded_down(ratio, 10):g}x"
        yield violation(held, POLICY_SPEED, "speed.speedup", what, found, f"at least {wanted:g}x")


def _of_images(runs: Iterable[CalibrationRun]) -> tuple[CalibrationRun, ...]:
    """Without those of tokens, whose sequences are shorter on a CPU."""
    return tuple(run for run in runs if run.images_per_s is not None)


_ONLY_A_BOUND = Unknown(
    reason=Reason.NOT_OBSERVED,
    detail="other programs had the CPUs, or the time was short: no more than a bound is known",
)


_OF_ALL = ("device", "all precisions")
_OF_TRAINING = (*_OF_ALL, *PRECISIONS)
"""What a calibration calls that which it could not do on a device."""


def _gpus(measured: Calibration) -> tuple[str | None, ...]:
    """The GPUs that were measured, or should have been; null stands for one where none was."""
    left_out = (one.device for one in measured.left_out if one.what in _OF_TRAINING)
    devices = dict.fromkeys((*(run.device for run in measured.runs), *left_out))
    return tuple(one for one in devices if one != "cpu") or (None,)


def _why_not(measured: Calibration, device: str | None, key: str | None = None) -> Unknown:
    """Why a device has no figure, in a precision or in any."""
    left_out = [one for one in measured.left_out if one.device == device]
    of_key = next((one for one in left_out if one.what == key), None)
    of_all = next((one for one in left_out if one.what in _OF_ALL), None)
    why = of_key or of_all
    if why is not None:
        return Unknown(reason=Reason.NOT_OBSERVED, detail=why.reason)
    name = "the CPU" if device == "cpu" else device
    missing = f"{name} was not measured" if name else "no GPU was measured"
    return Unknown(reason=Reason.NOT_OBSERVED, detail=missing)
