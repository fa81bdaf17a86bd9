"""`envdoctor completion`: the script that lets a shell complete commands, options and names."""

import click
from click.shell_completion import get_completion_class

from envdoctor.commands.options import pass_output
from envdoctor.formats import Text
from envdoctor.output import Destination, Output

SHELLS = ("bash", "zsh", "fish")
_EVERY_COMMA, _FIRST_COMMA = 'string split ","', 'string split --max 1 ","'
"""How click's script for fish takes an answer (`plain,ED100,ED201`) apart, and how it must, so that
lists of codes are completed too."""


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
@pass_output
def command(output: Output, ctx: click.Context, /, shell: str) -> None:
    """Print a script that completes commands, options, paths, codes and GPUs in that shell.

    \b
    eval "$(envdoctor completion bash)"           in ~/.bashrc (bash 4.4 or later)
    eval "$(envdoctor completion zsh)"                in ~/.zshrc, after compinit
    envdoctor completion fish > ~/.config/fish/completions/envdoctor.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None
    root = ctx.find_root().command
    script = kind(root, {}, "envdoctor", "_ENVDOCTOR_COMPLETE")
    body = script.source_template % script.source_vars()
    output.publish(Text(body=body.replace(_EVERY_COMMA, _FIRST_COMMA)), Destination())
