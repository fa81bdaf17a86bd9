"""`envdoctor mcp`: the doctor as a server for agents."""

import importlib.util
import sys

import click

from envdoctor.commands.options import pass_output
from envdoctor.errors import BadInput
from envdoctor.output import Output
from envdoctor.shell import command as command_line

SDK = "mcp>=2.3,<3"
"""What the extra `envdoctor[mcp]` of pyproject.toml brings."""


@click.command(epilog="Exit codes: 0 the client has ended it, 2 the extra is not installed.")
@pass_output
def command(output: Output, /) -> None:
    """Serve agents by the Model Context Protocol, on standard input and output.

    The tools are check, prescribe, fits, libs, diff and rule. They only look: nothing is measured,
    installed or written, and no network is used. An answer has at most 16,000 characters. Needs the
    extra `envdoctor[mcp]`.

    \b
    {"mcpServers": {"envdoctor": {"command": "envdoctor", "args": ["mcp"]}}}
    """
    if importlib.util.find_spec("mcp") is None:
        install = command_line(sys.executable, "-m", "pip", "install", SDK)
        raise BadInput(f"`envdoctor mcp` needs the extra envdoctor[mcp]: `{install}`")
    from envdoctor.agents.server import serve

    if sys.stdin.isatty():
        output.say("waiting for a client's messages on standard input; Ctrl-D ends this")
    serve(output.protocol(), output.safe_line)
