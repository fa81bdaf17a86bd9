"""The calibration as text of 80 columns."""

from envdoctor.calibration.results import Calibration


def render_calibration(calibration: Calibration) -> str:
    """The calibration as plain text, ending with a line break; pure."""
    lines = [
        f"{run.device} {run.precision}: {run.images_per_s.median:.1f} images/s"
        for run in calibration.runs
    ]
    return "\n".join(["calibration", *lines]) + "\n"
