"""`envdoctor rule`: the page of one disease."""

import click

from envdoctor.commands.kinds import CodeName
from envdoctor.commands.options import pass_output
from envdoctor.errors import BadInput, nearest
from envdoctor.formats import Page
from envdoctor.output import Destination, Output
from envdoctor.pages import codes_of, find_code, find_page, find_topic_page
from envdoctor.plugin_loading import load_plugins


@click.command()
@click.argument("disease", type=CodeName(), metavar="CODE|NAME|TOPIC")
@pass_output
def command(output: Output, /, disease: str) -> None:
    """Show the page of one disease: what it means, how it is recognised, how it is repaired.

    \b
    envdoctor rule ED201
    envdoctor rule driver-too-old
    envdoctor rule speed      why is my training slow?
    """
    loaded = load_plugins()
    topic_page = find_topic_page(disease.lower(), loaded)
    if topic_page is not None:
        output.publish(Page(body=topic_page), Destination())
        return
    code = find_code(disease, loaded)
    if code is None:
        names = [label for one in codes_of(loaded) for label in (one.id, one.name)]
        offer = nearest(disease, names) or "`envdoctor rules` lists them"
        raise BadInput(f"unknown code `{disease}`; {offer}")
    page = find_page(code, loaded)
    if page is None:
        raise BadInput(f"{code.id} {code.name} has no page; its plugin ships none")
    output.publish(Page(body=page), Destination())
