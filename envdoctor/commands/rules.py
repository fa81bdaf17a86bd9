"""`envdoctor rules`: the table of all diseases."""

import click
import msgspec

from envdoctor.pages import codes_of
from envdoctor.plugins import load_plugins
from envdoctor.render.json import render_json


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the table as JSON.")
def command(as_json: bool) -> None:
    """List every disease that envdoctor knows: code, name and severity."""
    codes = codes_of(load_plugins())
    if as_json:
        click.echo(render_json([msgspec.to_builtins(code) for code in codes]), nl=False)
        return
    width = max(len(code.name) for code in codes)
    for code in codes:
        click.echo(f"{code.id}  {code.name.ljust(width)}  {code.severity.value}")
