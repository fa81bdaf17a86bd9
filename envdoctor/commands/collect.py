"""`envdoctor collect`: record the facts of a machine, to be diagnosed anywhere."""

from typing import Any

import click

from envdoctor.commands.options import (
    model_option,
    options_for,
    output_options,
    target_options,
    try_option,
)
from envdoctor.commands.progress import Progress
from envdoctor.errors import BadInput
from envdoctor.exit_codes import EXIT_INCOMPLETE
from envdoctor.facts.calibration import Calibration
from envdoctor.facts.documents import FactsDocument, facts_document
from envdoctor.output import Destination, Output
from envdoctor.session import Session


@click.command(
    epilog="Exit codes: 0 recorded, 2 bad input, 3 time ran out before all was looked at (what was "
    "seen until then is recorded), 130 interrupted."
)
@target_options
@try_option
@click.option("--calibrate", is_flag=True, help="Measure a training step as well.")
@model_option
@output_options(FactsDocument.formats)
@click.pass_context
def command(ctx: click.Context, /, output: Output, to: Destination, **given: Any) -> None:
    """Record the facts of this machine; `envdoctor check --facts FILE` diagnoses them anywhere.

    \b
    envdoctor collect -o facts.json
    envdoctor collect --calibrate -o facts.json
    """
    if len(given["pythons"]) > 1:
        raise BadInput("a facts file holds one target; give --python once")
    session = Session(given["deadline"])
    options = options_for(next(iter(given["pythons"]), None), given)
    with Progress(output) as progress:
        snapshot = session.observe(options, listener=progress.listener)
        if given["calibrate"]:
            measured = session.measure(snapshot, options, listener=progress.listener)
            snapshot = snapshot.with_facts({Calibration: measured})
    ran_out = session.ran_out(snapshot)
    output.publish(facts_document(snapshot), to, "facts recorded")
    if ran_out:
        output.say("time ran out before all was looked at; give `--timeout` more seconds")
        ctx.exit(EXIT_INCOMPLETE)
