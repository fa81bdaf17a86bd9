"""`envdoctor` without a command: diagnose, then measure."""

import os
import sys
from typing import Any

import click

from envdoctor.calibration.results import Calibration, Settings
from envdoctor.calibration.runner import calibrate
from envdoctor.commands.reports import options_for, publish, report_on
from envdoctor.commands.session import Session
from envdoctor.core_facts import Interpreter, Limits, TorchImport, TorchRuntime
from envdoctor.facts import Known, Reason, Snapshot, Unknown
from envdoctor.findings import EXIT_INTERRUPTED
from envdoctor.probes.run import Children
from envdoctor.progress import MeasurementProgress
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
            snapshot = snapshot.with_facts({Calibration: _measure(snapshot, options)})
        reports.append(report_on(snapshot, session, options))
        measured = snapshot.value(Calibration)
        interrupted = measured is not None and measured.interrupted
        if interrupted:
            break
    code = publish(tuple(reports), options)
    return EXIT_INTERRUPTED if interrupted else code


def _fits_the_screen(options: dict[str, Any]) -> bool:
    """Whether one target is to be shown on a terminal that can show the full-screen view."""
    wants_text = options["plain"] or options["as_json"] or options["output"]
    return not wants_text and len(options["pythons"]) <= 1 and can_show(os.environ)


def _measure(snapshot: Snapshot, options: dict[str, Any]) -> Known:
    interpreter, imported = snapshot.value(Interpreter), snapshot.value(TorchImport)
    if options["static"]:
        return Unknown(reason=Reason.NOT_RUN, detail="left out by --static")
    if interpreter is None or imported is None or snapshot.value(TorchRuntime) is None:
        return Unknown(reason=Reason.NOT_APPLICABLE, detail="torch does not work in the target")
    limits = snapshot.value(Limits)
    settings = Settings(
        budget_s=options["budget_s"],
        usable_cpus=limits.usable_cpus if limits else None,
        memory_limit_bytes=limits.cgroup_memory_bytes if limits else None,
    )
    children = Children()
    try:
        with MeasurementProgress(sys.stderr) as progress:
            return calibrate(
                interpreter.executable, settings, children=children, on_progress=progress.event
            )
    finally:
        children.kill_all()
