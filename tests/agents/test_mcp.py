"""The server for agents, with the client of the official SDK, over real pipes."""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import anyio
import jsonschema
import pytest
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.types import CallToolResult

from envdoctor.agents.bound import MOST_CHARACTERS
from envdoctor.commands.mcp import SDK
from tests.conftest import require
from tests.support.doctor import envdoctor
from tests.support.patients import Patient, empty_patient, fake_torch, has_torch

ROOT = Path(__file__).parents[2]
CAPTURED = ROOT / "tests" / "captured"
HEALTHY, BROKEN = CAPTURED / "healthy-cpu.json", CAPTURED / "library-removed.json"
TOOLS = ["check", "prescribe", "fits", "libs", "diff", "rule"]
TOKEN = "ghp_" + "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1dF3hJ5"

NOISY = f"""
import os
print('torch says hello')
os.write(1, b'and so does its C library\\n')
os.system('echo and a program of it')
raise ImportError('cannot fetch https://me:{TOKEN}@example.org/torch.whl')
"""


@contextlib.asynccontextmanager
async def session(folder: Path, **variables: str) -> AsyncIterator[ClientSession]:
    """A client that is connected to a server of its own, which runs in a folder."""
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "envdoctor", "mcp"],
        cwd=folder,
        env={"HOME": str(folder), **variables},
    )
    async with (
        stdio_client(server, errlog=sys.__stderr__ or sys.stderr) as (incoming, outgoing),
        ClientSession(incoming, outgoing) as client,
    ):
        await client.initialize()
        yield client


def talk(folder: Path, said: Callable[[ClientSession], Awaitable[None]], **variables: str) -> None:
    async def whole() -> None:
        async with session(folder, **variables) as client:
            await said(client)

    anyio.run(whole)


def text_of(result: CallToolResult) -> str:
    (part,) = result.content
    assert part.type == "text"
    assert len(part.text) <= MOST_CHARACTERS
    return part.text


def answer_of(result: CallToolResult) -> Any:
    """The answer, which is the same for a model and for a program."""
    assert not result.is_error, text_of(result)
    answer = json.loads(text_of(result))
    assert result.structured_content == answer
    return answer


def error_of(result: CallToolResult) -> str:
    assert result.is_error
    assert len(text_of(result).splitlines()) == 1
    return text_of(result)


@pytest.fixture
def noisy(tmp_path: Path) -> Patient:
    patient = empty_patient(tmp_path / "patient")
    fake_torch(patient, NOISY)
    return patient


def test_the_tools_are_listed_with_their_schemas(tmp_path: Path) -> None:
    async def said(client: ClientSession) -> None:
        tools = (await client.list_tools()).tools
        assert [tool.name for tool in tools] == TOOLS
        for tool in tools:
            jsonschema.Draft202012Validator.check_schema(tool.input_schema)
            assert tool.input_schema["type"] == "object"
            assert tool.annotations is not None
            assert tool.annotations.read_only_hint is True
        assert len(json.dumps([tool.model_dump() for tool in tools])) < 12_000

    talk(tmp_path, said)


def test_each_tool_on_a_healthy_and_on_a_broken_machine(tmp_path: Path) -> None:
    async def said(client: ClientSession) -> None:
        async def call(name: str, **arguments: object) -> Any:
            return answer_of(await client.call_tool(name, arguments))

        healthy = await call("check", facts=str(HEALTHY))
        assert (healthy["verdict"], "findings" in healthy) == ("healthy", False)
        broken = await call("check", facts=str(BROKEN))
        assert (broken["verdict"], broken["fault"]) == ("broken", "environment")
        (root,) = broken["findings"]
        assert root["id"] == "ED100:torch"
        assert "ED401" in [one["id"] for one in root["causes"]]
        assert "pip install --force-reinstall" in root["fixes"][0]["commands"][0]

        assert "import_error" not in await call("libs", facts=str(HEALTHY))
        libraries = await call("libs", facts=str(BROKEN))
        assert libraries["libraries"][0]["problems"]
        one = await call("libs", facts=str(HEALTHY), library="libc10.so")
        assert [library["soname"] for library in one["libraries"]] == ["libc10.so"]

        assert (await call("prescribe", facts=str(HEALTHY)))["builds"]
        old = await call("prescribe", gpu=["V100"], driver="535", python_version="3.12")
        assert old["builds"][0]["commands"]
        assert (await call("fits", claim="torch==2.6.0 cuda==12.4"))["fits"] is True
        assert (await call("fits", claim="torch==2.6.0 cuda==12.1"))["fits"] is False

        same = await call("diff", one=str(HEALTHY), other=str(HEALTHY))
        assert same["exit_code"] == 0
        different = await call("diff", one=str(HEALTHY), other=str(BROKEN))
        assert different["differences"][0]["name"] == "files of torch"

        page = text_of(await client.call_tool("rule", {"disease": "driver-too-old"}))
        assert page.startswith("# ED201 driver-too-old\n")

    talk(tmp_path, said)


def test_a_live_environment_whose_torch_works(tmp_path: Path) -> None:
    require(has_torch(), "a torch in the environment of the tests")

    async def said(client: ClientSession) -> None:
        answer = answer_of(await client.call_tool("check", {"python": sys.executable}))
        assert "import:torch" in answer["works"]

    talk(tmp_path, said)


MISTAKES: tuple[tuple[str, dict[str, object], str], ...] = (
    ("check", {"python": "/nowhere"}, "`/nowhere` cannot be used: there is no such file"),
    ("check", {"only": ["nope"]}, "`nope` is no code, name or topic of a check"),
    ("check", {"python": 3}, "check: expected `str | null`, got `int` - at `$.python`"),
    ("check", {"output": "x"}, "check: object contains unknown field `output`"),
    ("check", {"policy": "a\0b"}, "the doctor cannot be started: embedded null byte"),
    ("libs", {"facts": "-o/tmp/x"}, "-o/tmp/x"),
    ("rule", {"disease": "driver-too-odl"}, "did you mean `driver-too-old`"),
    ("rule", {"disease": "--help"}, "unknown code `--help`"),
    ("fits", {}, "fits: object missing required field `claim`"),
    ("fits", {"claim": "--help"}, "no part is recognised in `--help`"),
    ("calibrate", {}, "no tool `calibrate`; there are check, prescribe"),
)


def test_what_cannot_be_done_is_one_line_for_the_model(tmp_path: Path) -> None:
    async def said(client: ClientSession) -> None:
        for name, arguments, reason in MISTAKES:
            assert reason in error_of(await client.call_tool(name, arguments))

    talk(tmp_path, said)


@contextlib.contextmanager
def speaking(folder: Path, call: Mapping[str, object]) -> Iterator[subprocess.Popen[str]]:
    """A server to which a client has said hello and sent one call."""
    client = {"name": "test", "version": "1"}
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client}
    messages = [
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": call},
    ]
    with subprocess.Popen(
        [sys.executable, "-m", "envdoctor", "mcp"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
    ) as server:
        assert server.stdin is not None
        for message in messages:
            server.stdin.write(json.dumps(message) + "\n")
        server.stdin.flush()
        try:
            yield server
        finally:
            server.kill()


def test_what_the_target_prints_is_not_in_the_protocol_and_secrets_are_not_in_the_answer(
    tmp_path: Path, noisy: Patient
) -> None:
    """Spoken by hand: the client would pass over lines that are none of the protocol."""
    with speaking(tmp_path, {"name": "check", "arguments": {"python": str(noisy.root)}}) as server:
        assert server.stdout is not None
        answers = [json.loads(server.stdout.readline()) for _ in range(2)]
        rest, errors = server.communicate(timeout=60)
    assert [one["id"] for one in answers] == [1, 2]
    assert rest == ""
    assert server.returncode == 0
    assert "Traceback" not in errors
    result = answers[1]["result"]
    assert result["structuredContent"]["verdict"] == "broken"
    assert "cannot fetch" in result["content"][0]["text"]
    assert TOKEN not in json.dumps(answers) + errors


def test_nothing_is_written(tmp_path: Path, noisy: Patient) -> None:
    before = files_below(tmp_path)

    async def said(client: ClientSession) -> None:
        answer_of(await client.call_tool("libs", {"python": str(noisy.root)}))
        answer_of(await client.call_tool("diff", {"one": str(BROKEN), "python": str(noisy.root)}))

    talk(tmp_path, said)
    assert files_below(tmp_path) == before


def files_below(folder: Path) -> dict[str, int]:
    return {str(path): path.lstat().st_mtime_ns for path in folder.rglob("*")}


@pytest.fixture
def hanging(tmp_path: Path) -> Patient:
    """A torch that writes a file and hangs."""
    patient = empty_patient(tmp_path / "hangs")
    started = str(patient.root / "started")
    fake_torch(patient, f"open({started!r}, 'w').close()\nimport time\ntime.sleep(600)")
    return patient


def test_a_call_that_is_cancelled_leaves_nothing_behind(tmp_path: Path, hanging: Patient) -> None:
    async def said(client: ClientSession) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(client.call_tool, "check", {"python": str(hanging.root)})
            while not (hanging.root / "started").exists():
                await anyio.sleep(0.05)
            group.cancel_scope.cancel()
        assert until(lambda: not processes_of(hanging))
        # The server goes on.
        assert answer_of(await client.call_tool("fits", {"claim": "torch 2.6.0"}))["fits"]

    talk(tmp_path, said)


@pytest.mark.parametrize("how", ["closed", "terminated"])
def test_a_client_that_goes_away_leaves_nothing_behind(
    tmp_path: Path, hanging: Patient, how: str
) -> None:
    call = {"name": "check", "arguments": {"python": str(hanging.root)}}
    with speaking(tmp_path, call) as server:
        assert server.stdin is not None
        assert until((hanging.root / "started").exists)
        assert processes_of(hanging)
        if how == "closed":
            server.stdin.close()
        else:
            server.terminate()
        assert until(lambda: server.poll() is not None)
        assert server.returncode == (0 if how == "closed" else 143)
        assert until(lambda: not processes_of(hanging))


def until(holds: Callable[[], bool], limit_s: float = 60.0) -> bool:
    """Whether something becomes so in time."""
    end = time.monotonic() + limit_s
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def processes_of(patient: Patient) -> list[str]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if str(patient.root).encode() in (folder / "cmdline").read_bytes():
                found.append(folder.name)
    return found


def test_a_folder_of_the_clients_project_does_not_stand_in_for_the_doctor(tmp_path: Path) -> None:
    for name in ("msgspec", "click", "anyio"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('not the real one')")

    async def said(client: ClientSession) -> None:
        assert answer_of(await client.call_tool("fits", {"claim": "torch 2.6.0"}))["fits"]

    talk(tmp_path, said, PYTHONPATH=str(tmp_path))


def test_without_the_extra_it_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "sys.modules['mcp'] = None\n"
        "sys.argv = ['envdoctor', 'mcp']\n"
        "from envdoctor.__main__ import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "envdoctor[mcp]" in line
    assert "-m pip install 'mcp>=" in line
    assert f'"{SDK}"' in (ROOT / "pyproject.toml").read_text()


def test_the_help_needs_no_sdk_and_no_other_command_loads_it() -> None:
    assert "Model Context Protocol" in envdoctor("mcp", "--help").stdout
    code = (
        "import contextlib, io, sys, envdoctor.cli\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        "    envdoctor.cli.cli.main(['check', '--static', '--json'], standalone_mode=False)\n"
        "print({'mcp', 'pydantic', 'anyio', 'envdoctor.agents'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"
