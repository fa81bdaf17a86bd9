"""`envdoctor` without a command: diagnose, then measure."""

import os
from typing import Any

import click

from envdoctor.commands.measure import measure
from envdoctor.commands.options import options_for
from envdoctor.commands.reports import publish, report_on
from envdoctor.facts.calibration import Calibration
from envdoctor.findings import EXIT_INTERRUPTED
from envdoctor.session import Session
from envdoctor.tui.terminal import can_show


def everything(**options: Any) -> int:
    """Diagnose every target, measure where torch works, and report; returns the exit code."""
    if _fits_the_screen(options):
        from envdoctor.tui import run

        return run(options)
    session = Session()
    session.selection(options["only"], options["skip"])
    reports = []
    interrupted = False
    for python in options["pythons"] or (None,):
        snapshot = session.observe(options_for(python, options))
        if not options["no_calibrate"]:
            verdict = report_on(snapshot, session, options).verdict.value
            click.echo(f"envdoctor: {verdict} so far; measuring a training step", err=True)
            measured = measure(snapshot, static=options["static"], budget_s=options["budget_s"])
            snapshot = snapshot.with_facts({Calibration: measured})
        reports.append(report_on(snapshot, session, options))
        calibration = snapshot.value(Calibration)
        interrupted = calibration is not None and calibration.interrupted
        if interrupted:
            break
    code = publish(tuple(reports), options)
    return EXIT_INTERRUPTED if interrupted else code


def _fits_the_screen(options: dict[str, Any]) -> bool:
    """Whether one target is to be shown on a terminal that can show the full-screen view."""
    wants_text = options["plain"] or options["as_json"] or options["output"]
    return not wants_text and len(options["pythons"]) <= 1 and can_show(os.environ)
