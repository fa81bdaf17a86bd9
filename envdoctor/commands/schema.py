"""`envdoctor schema`: the JSON Schema of the report."""

import click

from envdoctor.schema import shipped_schema


@click.command()
def command() -> None:
    """Print the JSON Schema that every report of this version is valid against."""
    click.echo(shipped_schema(), nl=False)
