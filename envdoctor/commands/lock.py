"""`envdoctor lock`: record a machine that is known to be good, as a policy for others."""

from typing import Any

import click

from envdoctor.commands.kinds import PathName
from envdoctor.commands.options import options_for, output_options, target_options
from envdoctor.commands.progress import Progress
from envdoctor.errors import BadInput, Unseen
from envdoctor.findings import Verdict
from envdoctor.output import Destination, Output
from envdoctor.policy.records import Policy
from envdoctor.report import Report
from envdoctor.session import Session


@click.command(
    epilog="Exit codes: 0 recorded, 1 the machine is broken, 2 bad input, 3 not all could be "
    "looked at, 130 interrupted."
)
@target_options
@click.option(
    "--facts",
    type=PathName(),
    metavar="FILE",
    help="Lock a recorded machine: facts, or a report (- is stdin).",
)
@click.option("--calibrate", is_flag=True, help="Measure, and ask for nine tenths of the rates.")
@output_options(Policy.formats)
@click.pass_context
def command(ctx: click.Context, /, output: Output, to: Destination, **given: Any) -> None:
    """Record this machine as a policy; `envdoctor check --policy FILE` holds others to it.

    \b
    envdoctor lock -o envdoctor.lock
    envdoctor lock --calibrate -o envdoctor.lock
    envdoctor lock --facts report.json -o envdoctor.lock
    envdoctor check --policy envdoctor.lock
    """
    session = Session(given["deadline"])
    report = _report(session, output, given)
    if report.verdict is Verdict.BROKEN:
        cause = report.findings[0]
        message = f"this machine is broken ({cause.code} {cause.name}); lock one that works"
        ctx.exit(output.fail(message, 1))
    if report.verdict is Verdict.INCOMPLETE:
        raise Unseen("not all of this machine could be looked at; `envdoctor check` says what")
    output.publish(session.lock(report), to, "policy of this machine")


def _report(session: Session, output: Output, given: dict[str, Any]) -> Report:
    facts, pythons = given["facts"], given["pythons"]
    if len(pythons) > 1:
        raise BadInput("a lock is of one target; give --python once")
    if facts is not None and (pythons or given["calibrate"]):
        raise BadInput("--facts is a recorded machine: give neither --python nor --calibrate")
    options = options_for(next(iter(pythons), None), given, calibrate=given["calibrate"])
    if facts is not None:
        return session.examine_recorded(facts, options)
    with Progress(output) as progress:
        return session.examine(options, progress.listener)
