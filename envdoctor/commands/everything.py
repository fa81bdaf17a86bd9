"""`envdoctor` without a command: diagnose, then measure."""

from typing import Any

from envdoctor.commands.options import options_for
from envdoctor.commands.tui import fits_the_screen, full_screen
from envdoctor.exit_codes import EXIT_INTERRUPTED
from envdoctor.output import Destination, Output


def everything(output: Output, to: Destination, **given: Any) -> int:
    """Diagnose every target, measure where torch works, and report; returns the exit code."""
    pythons = given["pythons"] or (None,)
    options = [options_for(one, given, calibrate=not given["no_calibrate"]) for one in pythons]
    if fits_the_screen(output, to):
        return full_screen(output, options[0], options[1:])
    from envdoctor.commands.progress import Progress
    from envdoctor.commands.reports import publish
    from envdoctor.session import Session

    session = Session(given["deadline"])
    reports = []
    interrupted = False
    for one in options:
        with Progress(output) as progress:
            report = session.examine(one, progress.listener)
        reports.append(report)
        interrupted = report.calibration is not None and report.calibration.interrupted
        if interrupted:
            break
    code = publish(output, tuple(reports), to)
    return EXIT_INTERRUPTED if interrupted else code
