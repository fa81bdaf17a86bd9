"""What a measured GPU says of the prediction of others. Pure.

That a GPU does 0.9 of its reference has a cause: its own (a power cap, heat, somebody else on it),
which no other GPU has, or the host's and the software's, which every GPU here has. Where a cause of
its own was seen, nothing is corrected, and the cause is named; else the prediction is multiplied.
The range then holds both, the corrected and the published: which of the two it is was not seen.
"""

from collections.abc import Iterable

import msgspec

from envdoctor.calibration.reference import SERIES_OF_PRECISION
from envdoctor.facts.assessment import ExpectedRate
from envdoctor.facts.calibration import CalibrationRun, Spread, Telemetry
from envdoctor.record import Record

_NEARLY_DEFAULT = 0.98
_OFTEN = 0.1
"""Of the samples."""

_BUSY_PCT = 10
_LOW_CLOCK = 0.7
_NO_DIFFERENCE = 0.02
"""A share of the reference this near to 1 corrects nothing."""

_OWN_SLOWDOWNS = {
    "HwSlowdown": "a hardware slowdown",
    "HwThermalSlowdown": "heat",
    "SwThermalSlowdown": "heat",
    "HwPowerBrakeSlowdown": "the power brake of the system",
    "ApplicationsClocksSetting": "clocks that were set for applications",
}


class Yardstick(Record):
    """A GPU that was measured here, and which share of its own reference it does. `own_cause` says
    what holds it back that is its own; empty where nothing was seen."""

    device: str
    precision: str
    share: float
    own_cause: str = ""

    def corrected(self, rate: ExpectedRate) -> ExpectedRate:
        """The prediction of another GPU in the light of this one."""
        does = f"{self.device} here does {self.share:.2f} of its reference in {self.precision}"
        if self.own_cause:
            basis = f"{rate.basis}; not corrected by what {does}, which has its own cause: "
            return msgspec.structs.replace(rate, basis=basis + self.own_cause)
        spread, share = rate.images_per_s, self.share
        return msgspec.structs.replace(
            rate,
            images_per_s=Spread(
                median=spread.median * share,
                low=spread.low * min(1.0, share),
                high=spread.high * max(1.0, share),
            ),
            correction=share,
            basis=f"{rate.basis}; times {share:.2f}, as {does}",
        )


def yardsticks(
    runs: Iterable[CalibrationRun], expected: Iterable[ExpectedRate]
) -> dict[str, Yardstick]:
    """For each series of published rates the GPU that came nearest to its reference: what holds
    back others alone does not hold back it. Only rates that may be judged count."""
    by_run = {(run.device, run.precision): run for run in runs}
    best: dict[str, Yardstick] = {}
    for rate in expected:
        run = by_run.get((rate.device, rate.precision))
        share = rate.measured_over_expected
        if run is None or share is None or rate.device == "cpu" or rate.verdict == "unknown":
            continue
        series = SERIES_OF_PRECISION[rate.precision]
        one = Yardstick(
            device=rate.device,
            precision=rate.precision,
            share=share,
            own_cause=own_cause(run.telemetry) if share < 1 else "",
        )
        if series not in best or share > best[series].share:
            best[series] = one
    return {name: one for name, one in best.items() if abs(one.share - 1) >= _NO_DIFFERENCE}


def own_cause(telemetry: Telemetry | None) -> str:
    """What holds a GPU back that is no other one's, as NVML saw it; empty where it saw nothing."""
    if telemetry is None:
        return ""
    limit, default = telemetry.power_limit_w, telemetry.power_default_limit_w
    if limit and default and limit < _NEARLY_DEFAULT * default:
        return f"its power limit of {limit:.0f} W, {default:.0f} W by default"
    for name, words in _OWN_SLOWDOWNS.items():
        if telemetry.throttle_shares.get(name, 0.0) >= _OFTEN:
            return words
    if telemetry.other_processes and (telemetry.busy_before_pct or 0) >= _BUSY_PCT:
        return "other programs on it"
    clock, most = telemetry.sm_clock_mhz, telemetry.max_sm_clock_mhz
    capped = telemetry.throttle_shares.get("SwPowerCap", 0.0) >= _OFTEN
    if clock and most and not capped and clock.median < _LOW_CLOCK * most:
        return f"its clock of {clock.median:,.0f} of {most:,} MHz"
    return ""
