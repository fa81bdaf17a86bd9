"""One call of a tool: a run of the program in a child, and its answer or the one line of its error.

Standard input and output are the protocol's; the child gets neither.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import anyio
import anyio.abc
import msgspec

from envdoctor.agents.bound import MOST_CHARACTERS, in_bounds
from envdoctor.agents.tools import Tool

_MOST_BYTES = 64 << 20
"""Of what a child writes; a report with its facts has some hundred kilobytes."""

_PATIENCE_S = 2.0
"""For a child to end by itself and take its own children with it; half a second is promised."""

_ERROR_PREFIX = "envdoctor: "


class CallFailed(Exception):
    """A tool has no answer; the message is one line that says why."""


async def answer_of(tool: Tool, given: Mapping[str, Any]) -> dict[str, Any] | str:
    """What a tool answers: a small JSON object, or a text. Raises CallFailed."""
    try:
        arguments = msgspec.convert(dict(given), tool.arguments)
    except msgspec.ValidationError as error:
        raise CallFailed(f"{tool.name}: {_in_words(error)}") from error
    code, stdout, stderr = await _run(tool.command(arguments))
    if tool.digest is None:
        if code != 0:
            raise CallFailed(_reason(code, stderr))
        return stdout[:MOST_CHARACTERS]
    document = _document(stdout)
    if document is None or document.get("type") == "error":
        message = None if document is None else document.get("message")
        raise CallFailed(str(message or _reason(code, stderr)))
    return in_bounds(tool.digest(document))


def _in_words(error: msgspec.ValidationError) -> str:
    text = " ".join(str(error).split())
    return text[:1].lower() + text[1:]


def _document(stdout: str) -> dict[str, Any] | None:
    try:
        value = json.loads(stdout)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _reason(code: int, stderr: str) -> str:
    """Why there is no document: the program's own line, or how it ended."""
    lines = [one for one in stderr.splitlines() if one.startswith(_ERROR_PREFIX)]
    if lines:
        return lines[-1].removeprefix(_ERROR_PREFIX)
    if code < 0:
        return f"the doctor was ended by {signal.Signals(-code).name}"
    return f"the doctor ended with exit code {code} and said nothing"


def program() -> list[str]:
    """How this program was started, without its arguments: as it was found once, it is again."""
    flags = sys.orig_argv[1 : len(sys.orig_argv) - len(sys.argv) + 1]
    return [sys.executable, *flags]


async def _run(words: list[str]) -> tuple[int, str, str]:
    """Exit code and outputs of a run. One that is cancelled is ended with all of its children."""
    process = await _started([*program(), *words])
    texts: dict[str, str] = {}
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(_read, process.stdout, "stdout", texts)
            group.start_soon(_read, process.stderr, "stderr", texts)
        code = await process.wait()
    except BaseException:
        with anyio.CancelScope(shield=True):
            await _end(process)
        raise
    finally:
        with anyio.CancelScope(shield=True):
            await process.aclose()
    return code, texts["stdout"], texts["stderr"]


async def _started(words: list[str]) -> anyio.abc.Process:
    try:
        return await anyio.open_process(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    except (OSError, ValueError) as error:  # ulimit -u, an argument of megabytes or with a NUL
        raise CallFailed(f"the doctor cannot be started: {error}") from error


async def _read(
    stream: anyio.abc.ByteReceiveStream | None, name: str, texts: dict[str, str]
) -> None:
    data = bytearray()
    assert stream is not None
    async for part in stream:
        data += part[: _MOST_BYTES - len(data)]
    texts[name] = data.decode("utf-8", "replace")


async def _end(process: anyio.abc.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    with anyio.move_on_after(_PATIENCE_S):
        await process.wait()
    if process.returncode is None:
        process.kill()
