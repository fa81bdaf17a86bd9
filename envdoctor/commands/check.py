"""`envdoctor check`: diagnose this machine, or recorded facts.

Imports next to nothing by itself: the target's child is started first, see find_target.
"""

from typing import TYPE_CHECKING, Any

import click

from envdoctor.commands.kinds import PathName
from envdoctor.commands.options import (
    options_for,
    output_options,
    selection_options,
    target_options,
    try_option,
)
from envdoctor.errors import BadInput
from envdoctor.formats import DIAGNOSIS
from envdoctor.output import Destination, Output

if TYPE_CHECKING:
    from envdoctor.find_target import TargetSearch
    from envdoctor.options import Options
    from envdoctor.report import Report


@click.command(epilog="Exit codes: 0 fine, 1 a finding at --fail-on, 2 bad input, 3 incomplete.")
@target_options
@click.option(
    "--facts",
    type=PathName(),
    metavar="FILE",
    help="Diagnose recorded facts or a report (- is stdin).",
)
@try_option
@selection_options
@output_options(DIAGNOSIS)
@click.pass_context
def command(ctx: click.Context, /, output: Output, to: Destination, **given: Any) -> None:
    """Diagnose: is this PyTorch/CUDA environment healthy, and if not, why and what repairs it.

    \b
    envdoctor check
    envdoctor check --python ~/venvs/train --json
    envdoctor check --try compile                     try torch.compile, too
    envdoctor check --expect gpu --fail-on warning    the gate of a CI runner
    envdoctor check --facts facts.json                a machine recorded elsewhere
    envdoctor check --root /mnt/image                 an unpacked image
    """
    facts, pythons, deadline = given["facts"], given["pythons"], given["deadline"]
    if facts is not None and pythons:
        raise BadInput("--facts diagnoses recorded facts and --python a live target; give one")
    if facts is not None and given["root"] is not None:
        raise BadInput("--facts diagnoses recorded facts and --root a file system; give one")
    options = [options_for(python, given) for python in pythons or (None,)]
    search = None if facts is not None else _begin(options[0], deadline)
    try:
        from envdoctor.commands.reports import publish

        ctx.exit(publish(output, _reports(output, options, facts, search, deadline), to))
    finally:
        if search is not None:
            search.children.kill_all()


def _begin(options: "Options", deadline: float) -> "TargetSearch | None":
    """Start the child of the first target, before what judges it is imported; not where the names
    of checks may be refused first."""
    if options.only or options.skip:
        return None
    from envdoctor.find_target import TargetSearch

    return TargetSearch(options, deadline=deadline)


def _reports(
    output: Output,
    options: "list[Options]",
    facts: str | None,
    search: "TargetSearch | None",
    deadline: float,
) -> "tuple[Report, ...]":
    """All targets share the time that ends at the deadline."""
    from envdoctor.commands.progress import Progress
    from envdoctor.session import Session

    session = Session(deadline)
    first, *others = options
    if facts is not None:
        return (session.examine_recorded(facts, first),)
    reports = []
    with Progress(output) as progress:
        reports.append(session.examine(first, progress.listener, search=search))
    for other in others:
        with Progress(output) as progress:
            reports.append(session.examine(other, progress.listener))
    return tuple(reports)
