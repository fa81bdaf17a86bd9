"""An older calibration, read from whatever file holds it."""

from collections.abc import Iterable

import msgspec

from envdoctor.facts import Fact, Observed
from envdoctor.facts.calibration import Calibration, CalibrationBaseline
from envdoctor.facts.documents import BadFacts, read_json, read_snapshot


def read_baseline(path: str, kinds: Iterable[type[Fact]]) -> Observed[CalibrationBaseline]:
    """The calibration in a result of `envdoctor calibrate --json`, a report, or a facts file.

    Raises BadFacts, whose message names the file and the remedy.
    """
    data = read_json(path)
    calibration: Calibration | None
    if isinstance(data, dict) and data.get("type") == "calibration-report":
        try:
            calibration = msgspec.convert(data.get("calibration"), Calibration | None)
        except msgspec.ValidationError as error:
            raise BadFacts(f"`{path}`: calibration: {error}") from error
    else:
        calibration = read_snapshot(path, kinds).value(Calibration)
    if calibration is None:
        raise BadFacts(
            f"`{path}` holds no calibration; make one with `envdoctor calibrate -o {path}`"
        )
    baseline = CalibrationBaseline(path=path, calibration=calibration)
    return Observed(value=baseline, source=path)
