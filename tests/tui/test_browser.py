"""`envdoctor tui --serve`: who may see the page, what it loads, and what is left at the end."""

import asyncio
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from envdoctor.tui.browser.command import words_for_a_page
from tests.tui import machines
from tests.tui.browser import Page, browse
from tests.tui.tmux import marked

DOCTOR = [sys.executable, "-c", "from envdoctor.cli import main; main()"]
FILE = str(machines.file_of("broken_driver"))
CLIPBOARD = ["clipboardReadWrite", "clipboardSanitizedWrite"]
"""What a person grants by clicking and pressing keys."""

MARK = "TEST_MARK=a-page-of-"


class Served:
    """A server, and its address."""

    def __init__(self, *words: str, mark: str = "") -> None:
        env = f"{MARK}{mark}"
        self.mark = env
        self.process = subprocess.Popen(
            ["env", env, *DOCTOR, "tui", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()

    def end(self, number: int = signal.SIGINT) -> tuple[int, float, str]:
        """Its exit code, how long that took, and what it said."""
        began = time.monotonic()
        self.process.send_signal(number)
        _, said = self.process.communicate(timeout=20)
        return self.process.returncode, time.monotonic() - began, said


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """One that shows a recorded machine."""
    one = Served(FILE, "--serve", mark="all")
    yield one
    one.process.kill()
    one.process.communicate()


def answer(address: str, **headers: str) -> tuple[int, str]:
    """Status and text."""
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers)) as got:
            return got.status, got.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_the_address_is_this_machine_s_own_and_has_a_token(served: Served) -> None:
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{32}/", served.address)


def test_the_page_loads_nothing_from_elsewhere(served: Served) -> None:
    status, page = answer(served.address)
    assert status == 200
    own = urlsplit(served.address).netloc
    assert set(re.findall(r"(?:https?:|wss?:|//)/*([\w.:-]+)", page)) == {own}
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(loaded) > 3
    for name in loaded:
        assert answer(served.address + name)[0] == 200, name
    with urllib.request.urlopen(served.address) as got:
        assert "default-src 'none'" in got.headers["Content-Security-Policy"]
        assert got.headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize("path", ["/", "/ws", "/static/js/textual.js", "/wrong/", "/{half}/"])
def test_without_the_token_there_is_nothing(served: Served, path: str) -> None:
    root, token = served.address.rstrip("/").rsplit("/", 1)
    status, said = answer(root + path.format(half=token[:16]))
    assert status == 403
    assert "token" in said
    assert token not in said


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://elsewhere.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Host": "elsewhere.example"},
    ],
)
@pytest.mark.parametrize("path", ["", "ws"])
def test_no_page_of_another_site_gets_anything(
    served: Served, path: str, headers: dict[str, str]
) -> None:
    assert answer(served.address + path, **headers)[0] == 403


def test_behind_a_tunnel_the_page_talks_to_the_port_that_it_came_by(served: Served) -> None:
    status, page = answer(served.address, Host="localhost:9000", Origin="http://localhost:9000")
    assert status == 200
    assert 'url="ws://localhost:9000/' in page


async def shown(address: str, text: str) -> None:
    """Open a page's websocket, wait until a text is drawn, and leave it open."""
    session = aiohttp.ClientSession()
    url = address.replace("http:", "ws:") + "ws?width=120&height=40"
    socket_ = await session.ws_connect(url, origin=address.rsplit("/", 2)[0])
    drawn = b""
    while text.encode() not in drawn:
        message = await socket_.receive(timeout=60)
        assert message.type is aiohttp.WSMsgType.BINARY, message
        drawn += message.data


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.heavy)]
)
def test_however_it_ends_no_page_s_program_is_left(number: int) -> None:
    """The signal is for the server alone, as `kill` sends it. Half a second is promised; a busy
    machine may take longer."""
    one = Served(FILE, "--serve", mark=str(number))

    async def steps() -> None:
        await shown(one.address, "BROKEN")
        assert len(marked(one.mark)) == 2
        code, seconds, said = one.end(number)
        assert code == (128 + number if number != signal.SIGKILL else -number)
        assert seconds < 3, said

    asyncio.run(steps())
    deadline = time.monotonic() + 5
    while marked(one.mark):
        assert time.monotonic() < deadline, marked(one.mark)
        time.sleep(0.05)


def test_a_port_that_is_taken_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [*DOCTOR, "tui", FILE, "--serve", port], capture_output=True, text=True, check=False
        )
    assert done.returncode == 2
    assert done.stdout == ""
    assert re.fullmatch(rf"envdoctor: port {port} cannot be used \(.+\); .+\n", done.stderr)


def test_without_the_extra_the_line_names_the_command_that_installs_it() -> None:
    without = "import sys; sys.modules['textual_serve'] = None; "
    done = subprocess.run(
        [sys.executable, "-c", without + DOCTOR[-1], "tui", "--serve"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert re.fullmatch(
        r"envdoctor: .+ extra envdoctor\[serve\]: `\S+ -m pip install 'textual-serve.+'`\n",
        done.stderr,
    )


@pytest.mark.parametrize(
    "words",
    [
        ("tui", "--serve", FILE),
        ("tui", "--serve", "--json"),
    ],
)
def test_what_cannot_be_served_is_refused_before_there_is_an_address(
    words: tuple[str, ...],
) -> None:
    done = subprocess.run([*DOCTOR, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "http:" not in done.stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["tui", "--serve"], ["tui"]),
        (["tui", "--serve", "8000"], ["tui"]),
        (["tui", "--serve=8000", "--static"], ["tui", "--static"]),
        (["tui", "a.json", "--serve", "--only", "ED1"], ["tui", "a.json", "--only", "ED1"]),
        (["tui", "--python", "x", "--serve", "0"], ["tui", "--python", "x"]),
    ],
)
def test_a_page_s_program_has_the_same_options(words: list[str], expected: list[str]) -> None:
    assert words_for_a_page(words) == (*expected, "--in-browser")


@pytest.mark.heavy
def test_in_a_real_browser(served: Served, tmp_path: Path) -> None:
    """Keys work without a click, copying reaches the clipboard, and after `q` Enter starts
    again."""

    async def steps(page: Page) -> None:
        await page.do("Browser.grantPermissions", permissions=CLIPBOARD)
        await page.wait_for("BROKEN")
        await page.wait_until("document.activeElement.className == 'xterm-helper-textarea'")
        await page.press("2")
        await page.wait_for("all severities")
        await page.press("1")
        await page.wait_for("fix 1: ")
        command = next(line for line in page.text.splitlines() if "$ " in line)
        await page.press("c")
        await page.wait_for("copy which fix?")
        await page.press("1")
        await page.wait_for("sent to the terminal's clipboard")
        await page.wait_until("navigator.clipboard.readText()")
        assert await page.value("navigator.clipboard.readText()") in command
        assert await page.value("document.fonts.check('16px \"Roboto Mono\"')")
        assert len(await page.picture()) > 10_000
        await page.press("q")
        await page.wait_until("document.body.classList.contains('-closed')")
        await page.press("Enter")
        await page.wait_until("document.body?.className == '-loaded -first-byte'")
        own = urlsplit(served.address).netloc
        assert {urlsplit(one).netloc for one in page.asked} == {own}, page.asked
        assert sum(one.startswith("ws:") for one in page.asked) == 2

    browse(served.address, tmp_path, steps)
