"""`envdoctor check`: diagnose this machine, or recorded facts."""

from typing import Any

import click

from envdoctor.commands.errors import BadInput
from envdoctor.commands.options import report_options, target_options
from envdoctor.commands.reports import options_for, publish, report_on, with_expectation
from envdoctor.facts import Snapshot
from envdoctor.session import Session


@click.command(epilog="Exit codes: 0 fine, 1 a finding at --fail-on, 2 bad input, 3 incomplete.")
@target_options
@click.option("--facts", metavar="FILE", help="Diagnose recorded facts or a report (- is stdin).")
@report_options
@click.pass_context
def command(ctx: click.Context, /, **options: Any) -> None:
    """Diagnose: is this PyTorch/CUDA environment healthy, and if not, why and what repairs it.

    \b
    envdoctor check
    envdoctor check --python ~/venvs/train --json
    envdoctor check --expect gpu --fail-on warning    the gate of a CI runner
    envdoctor check --facts facts.json                a machine recorded elsewhere
    """
    session = Session()
    session.selection(options["only"], options["skip"])
    reports = tuple(
        report_on(snapshot, session, options) for snapshot in _snapshots(session, options)
    )
    ctx.exit(publish(reports, options))


def _snapshots(session: Session, options: dict[str, Any]) -> list[Snapshot]:
    if options["facts"] and options["pythons"]:
        raise BadInput("--facts diagnoses recorded facts and --python a live target; give one")
    if options["facts"]:
        return [with_expectation(session.read(options["facts"]), options["expect"])]
    pythons = options["pythons"] or (None,)
    return [session.observe(options_for(python, options)) for python in pythons]
