"""`envdoctor schema`: the JSON Schema of the report."""

import click

from envdoctor.commands.options import pass_output
from envdoctor.derived import fact_types_of
from envdoctor.formats import Text
from envdoctor.output import Destination, Output
from envdoctor.plugin_loading import load_plugins
from envdoctor.schema import schema_text


@click.command()
@pass_output
def command(output: Output, /) -> None:
    """Print the JSON Schema that every report of this version is valid against.

    It holds the facts of the plugins that are installed.
    """
    schema = schema_text(fact_types_of(load_plugins()))
    output.publish(Text(body=schema), Destination())
