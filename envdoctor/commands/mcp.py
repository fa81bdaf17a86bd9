"""`envdoctor mcp`: the doctor as a server for agents."""

import importlib.util

import click

from envdoctor.commands.options import pass_output
from envdoctor.errors import BadInput
from envdoctor.output import Output

INSTALL = "python -m pip install 'envdoctor[mcp]'"
"""What brings the SDK; where envdoctor is installed from is the user's affair."""


@click.command(epilog="Exit codes: 0 the client has ended it, 2 the extra is not installed.")
@pass_output
def command(output: Output, /) -> None:
    """Serve agents by the Model Context Protocol, on standard input and output.

    The tools are check, prescribe, fits, libs, diff and rule. They only look: nothing is measured,
    installed or written, and no network is used. An answer has at most 16,000 characters. Needs the
    extra `envdoctor[mcp]`.

    \b
    claude mcp add envdoctor -- envdoctor mcp
    {"mcpServers": {"envdoctor": {"command": "envdoctor", "args": ["mcp"]}}}
    """
    if importlib.util.find_spec("mcp") is None:
        raise BadInput(f"`envdoctor mcp` needs the MCP SDK; install it with `{INSTALL}`")
    from envdoctor.agents.server import serve

    serve(output.protocol(), output.safe_line)
