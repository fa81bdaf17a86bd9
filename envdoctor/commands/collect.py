"""`envdoctor collect`: record the facts of a machine, to be diagnosed anywhere."""

from typing import Any

import click

from envdoctor.commands.options import options_for, output_options, target_options
from envdoctor.commands.progress import Progress
from envdoctor.errors import BadInput
from envdoctor.facts.calibration import Calibration
from envdoctor.facts.documents import FactsDocument, facts_document
from envdoctor.output import Destination, Output
from envdoctor.session import Session


@click.command()
@target_options
@click.option("--calibrate", is_flag=True, help="Measure a training step as well.")
@output_options(FactsDocument.formats)
def command(output: Output, to: Destination, **given: Any) -> None:
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
    output.publish(facts_document(snapshot), to, "facts recorded")
