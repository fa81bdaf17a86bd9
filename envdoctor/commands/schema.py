"""`envdoctor schema`: the JSON Schema of the report."""

import click

from envdoctor.commands.options import pass_output
from envdoctor.formats import Text
from envdoctor.output import Destination, Output
from envdoctor.schema import shipped_schema


@click.command()
@pass_output
def command(output: Output, /) -> None:
    """Print the JSON Schema that every report of this version is valid against."""
    output.publish(Text(body=shipped_schema()), Destination())
