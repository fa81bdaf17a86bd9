"""The server, by the official SDK: lists the tools and answers calls. Loaded by `envdoctor mcp`.

Standard output is the protocol's alone; it comes from envdoctor.output, which holds it.
"""

import logging
from collections.abc import Callable
from typing import Any, TextIO

import anyio
import mcp.types as protocol
from mcp.server import Server
from mcp.server.context import ServerRequestContext
from mcp.server.stdio import stdio_server

from envdoctor import __version__
from envdoctor.agents.bound import compact
from envdoctor.agents.calls import CallFailed, answer_of
from envdoctor.agents.tools import TOOLS, Tool

_Context = ServerRequestContext[Any]

INSTRUCTIONS = (
    "envdoctor diagnoses PyTorch/CUDA environments. Start with `check` and the `python` of the "
    "environment in question. findings[0] is the root cause, its fixes are commands that nobody "
    "has run. A verdict other than `healthy` or `degraded` is no success: `incomplete` means that "
    "something could not be looked at. All tools only look; nothing is installed or changed, and "
    "no network is used. `left_out` counts what was cut to keep an answer short."
)


def serve(stdout: TextIO, safe: Callable[[str], str]) -> None:
    """Serve until standard input ends. `safe` makes a text fit to be written."""
    # The SDK's own lines would go past the filter; what matters is in the answers.
    logging.disable(logging.CRITICAL)
    anyio.run(_serve, stdout, safe)


async def _serve(stdout: TextIO, safe: Callable[[str], str]) -> None:
    server = server_of(safe)
    async with stdio_server(stdout=anyio.wrap_file(stdout)) as (incoming, outgoing):
        await server.run(incoming, outgoing, server.create_initialization_options())


def server_of(safe: Callable[[str], str]) -> Server[Any]:
    """The server with all tools."""

    async def list_tools(
        _: _Context, __: protocol.PaginatedRequestParams | None
    ) -> protocol.ListToolsResult:
        return protocol.ListToolsResult(tools=[_described(tool) for tool in TOOLS.values()])

    async def call_tool(
        _: _Context, call: protocol.CallToolRequestParams
    ) -> protocol.CallToolResult:
        tool = TOOLS.get(call.name)
        try:
            if tool is None:
                raise CallFailed(f"no tool `{call.name}`; there are {', '.join(TOOLS)}")
            return _result(await answer_of(tool, call.arguments or {}))
        except CallFailed as failure:
            return protocol.CallToolResult(content=[_text(safe(str(failure)))], is_error=True)

    return Server(
        "envdoctor",
        version=__version__,
        title="envdoctor",
        instructions=INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


def _described(tool: Tool) -> protocol.Tool:
    return protocol.Tool(
        name=tool.name,
        title=tool.title,
        description=tool.about,
        input_schema=tool.schema,
        annotations=protocol.ToolAnnotations(
            read_only_hint=True,
            destructive_hint=False,
            idempotent_hint=True,
            open_world_hint=False,
        ),
    )


def _result(answer: dict[str, Any] | str) -> protocol.CallToolResult:
    """The answer for models as a text, and where it is an object for programs as that too."""
    if isinstance(answer, str):
        return protocol.CallToolResult(content=[_text(answer)])
    return protocol.CallToolResult(content=[_text(compact(answer))], structured_content=answer)


def _text(text: str) -> protocol.TextContent:
    return protocol.TextContent(type="text", text=text)
