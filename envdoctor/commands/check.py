"""`envdoctor check`: diagnose this machine, or recorded facts.

Imports next to nothing by itself: the target's child is started first, see find_target.
"""

from typing import TYPE_CHECKING, Any

import click

from envdoctor.commands.errors import BadInput
from envdoctor.commands.options import options_for, report_options, target_options

if TYPE_CHECKING:
    from envdoctor.facts import Snapshot
    from envdoctor.find_target import TargetSearch
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
    if options["facts"] and options["pythons"]:
        raise BadInput("--facts diagnoses recorded facts and --python a live target; give one")
    search = _begin(options)
    try:
        from envdoctor.commands.reports import publish, report_on
        from envdoctor.session import Session

        session = Session()
        session.selection(options["only"], options["skip"])
        snapshots = _snapshots(session, options, search)
        reports = tuple(report_on(snapshot, session, options) for snapshot in snapshots)
    finally:
        if search is not None:
            search.children.kill_all()
    ctx.exit(publish(reports, options))


def _begin(options: dict[str, Any]) -> "TargetSearch | None":
    """Start the child of the first target, before what judges it is imported."""
    if options["facts"] or options["only"] or options["skip"]:
        return None
    from envdoctor.find_target import TargetSearch

    return TargetSearch(options_for(next(iter(options["pythons"]), None), options))


def _snapshots(
    session: "Session", options: dict[str, Any], search: "TargetSearch | None"
) -> "list[Snapshot]":
    from envdoctor.commands.reports import with_expectation

    if options["facts"]:
        return [with_expectation(session.read(options["facts"]), options["expect"])]
    first, *others = options["pythons"] or (None,)
    return [
        session.observe(options_for(first, options), search),
        *(session.observe(options_for(python, options)) for python in others),
    ]
