"""`envdoctor rules`: the table of all diseases."""

import click

from envdoctor.commands.options import output_options
from envdoctor.output import Destination, Output
from envdoctor.plugin_loading import load_plugins
from envdoctor.rules import Rules, rules_of


@click.command()
@output_options(Rules.formats)
def command(output: Output, to: Destination) -> None:
    """List every disease that envdoctor knows: code, name and severity."""
    output.publish(rules_of(load_plugins()), to)
