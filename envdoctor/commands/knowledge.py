"""`envdoctor knowledge`: what the doctor knows, and how old that is."""

import datetime

import click

from envdoctor.commands.options import output_options
from envdoctor.knowledge import load
from envdoctor.knowledge.coverage import State, state_of
from envdoctor.output import Destination, Output


@click.command()
@output_options(State.formats)
def command(output: Output, to: Destination) -> None:
    """Show how old the built-in knowledge is, what it covers, and what it does not know.

    \b
    envdoctor knowledge
    """
    output.publish(state_of(load(), datetime.date.today()), to)
