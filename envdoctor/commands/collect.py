"""`envdoctor collect`: record the facts of a machine, to be diagnosed anywhere."""

from typing import Any

import click

from envdoctor.commands.errors import BadInput
from envdoctor.commands.measure import measure
from envdoctor.commands.options import options_for, target_options
from envdoctor.facts.calibration import Calibration
from envdoctor.facts.documents import facts_document
from envdoctor.render.json import render_json
from envdoctor.session import Session, emit, user_redactor


@click.command()
@target_options
@click.option("--calibrate", is_flag=True, help="Measure a training step as well.")
@click.option("-o", "--output", metavar="FILE", help="Write the facts to a file.")
def command(**options: Any) -> None:
    """Record the facts of this machine; `envdoctor check --facts FILE` diagnoses them anywhere.

    \b
    envdoctor collect -o facts.json
    envdoctor collect --calibrate -o facts.json
    """
    if len(options["pythons"]) > 1:
        raise BadInput("a facts file holds one target; give --python once")
    session = Session()
    python = next(iter(options["pythons"]), None)
    snapshot = session.observe(options_for(python, options))
    if options["calibrate"]:
        measured = measure(snapshot, static=options["static"], budget_s=None)
        snapshot = snapshot.with_facts({Calibration: measured})
    text = render_json(facts_document(snapshot), user_redactor())
    emit(text, options["output"], "facts recorded")
