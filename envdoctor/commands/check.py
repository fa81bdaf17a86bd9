"""`envdoctor check`: diagnose this machine, or recorded facts."""

from typing import Any

import click

from envdoctor.commands.options import output_options, selection_options, target_options
from envdoctor.commands.progress import Progress
from envdoctor.commands.reports import options_for, publish
from envdoctor.errors import BadInput
from envdoctor.output import Destination, Output
from envdoctor.report import Report
from envdoctor.session import Session


@click.command(epilog="Exit codes: 0 fine, 1 a finding at --fail-on, 2 bad input, 3 incomplete.")
@target_options
@click.option("--facts", metavar="FILE", help="Diagnose recorded facts or a report (- is stdin).")
@selection_options
@output_options(Report.formats)
@click.pass_context
def command(ctx: click.Context, /, output: Output, to: Destination, **options: Any) -> None:
    """Diagnose: is this PyTorch/CUDA environment healthy, and if not, why and what repairs it.

    \b
    envdoctor check
    envdoctor check --python ~/venvs/train --json
    envdoctor check --expect gpu --fail-on warning    the gate of a CI runner
    envdoctor check --facts facts.json                a machine recorded elsewhere
    """
    ctx.exit(publish(output, _reports(output, options), to))


def _reports(output: Output, options: dict[str, Any]) -> tuple[Report, ...]:
    facts, pythons = options["facts"], options["pythons"]
    session = Session()
    if facts is not None and pythons:
        raise BadInput("--facts diagnoses recorded facts and --python a live target; give one")
    if facts is not None:
        return (session.examine_recorded(facts, options_for(None, options)),)
    reports = []
    for python in pythons or (None,):
        with Progress(output) as progress:
            reports.append(session.examine(options_for(python, options), progress.listener))
    return tuple(reports)
