"""A real browser: Chromium without a window, driven by its own protocol (Chrome DevTools)."""

import asyncio
import base64
import json
import shutil
import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pyte

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--remote-debugging-port=0",
)
_KEYS = {"Enter": 13, "Escape": 27, "ArrowDown": 40}
"""Those that write no letter, by the browser's name and number."""


class Page:
    """One page: what it loads, what its terminal shows, and keys for it."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._number = 0
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.asked: list[str] = []
        """Every address that it asked for."""
        self._terminal = pyte.Screen(200, 100)
        self._stream = pyte.ByteStream(self._terminal)

    async def listen(self) -> None:
        """Take what the browser tells, for ever."""
        async for message in self._socket:
            told = json.loads(message.data)
            if "id" in told:
                self._answers.pop(told["id"]).set_result(told)
            elif told["method"] == "Network.requestWillBeSent":
                self.asked.append(told["params"]["request"]["url"])
            elif told["method"] == "Network.webSocketCreated":
                self.asked.append(told["params"]["url"])
            elif told["method"] == "Network.webSocketFrameReceived":
                frame = told["params"]["response"]
                if frame["opcode"] == 2:
                    self._stream.feed(base64.b64decode(frame["payloadData"]))

    async def do(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command of the protocol; returns its result."""
        self._number += 1
        answer = asyncio.get_running_loop().create_future()
        self._answers[self._number] = answer
        await self._socket.send_json({"id": self._number, "method": method, "params": parameters})
        told = await asyncio.wait_for(answer, 30)
        assert "error" not in told, told["error"]
        return dict(told["result"])

    async def value(self, expression: str) -> Any:
        """What an expression of JavaScript gives, awaited."""
        result = await self.do(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def press(self, key: str) -> None:
        """A letter, or a key by its name."""
        described: dict[str, Any] = {"key": key}
        if key in _KEYS:
            described["windowsVirtualKeyCode"] = _KEYS[key]
        else:
            described["text"] = key
        await self.do("Input.dispatchKeyEvent", type="keyDown", **described)
        await self.do("Input.dispatchKeyEvent", type="keyUp", key=key)

    @property
    def text(self) -> str:
        """What the terminal in the page shows."""
        return "\n".join(self._terminal.display)

    async def wait_for(self, text: str, limit_s: float = 60.0) -> None:
        """Until the terminal shows a text."""
        deadline = time.monotonic() + limit_s
        while text not in self.text:
            assert time.monotonic() < deadline, f"`{text}` does not appear:\n{self.text}"
            await asyncio.sleep(0.05)

    async def wait_until(self, expression: str, limit_s: float = 30.0) -> None:
        """Until an expression of JavaScript is true."""
        deadline = time.monotonic() + limit_s
        while not await self.value(expression):
            assert time.monotonic() < deadline, f"`{expression}` does not become true"
            await asyncio.sleep(0.05)

    async def picture(self) -> bytes:
        """The page as PNG."""
        return base64.b64decode((await self.do("Page.captureScreenshot"))["data"])


def browse(
    address: str, folder: Path, steps: Callable[[Page], Awaitable[None]], size: str = "1200,800"
) -> None:
    """Open an address in a browser of its own, and do something there."""
    chromium = shutil.which("chromium")
    assert chromium is not None, "this lane needs Chromium"
    profile = folder / "profile"
    browser = subprocess.Popen(
        [chromium, *_FLAGS, f"--user-data-dir={profile}", f"--window-size={size}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        asyncio.run(_browse(address, profile, steps))
    finally:
        browser.terminate()
        browser.wait(timeout=30)


async def _browse(address: str, profile: Path, steps: Callable[[Page], Awaitable[None]]) -> None:
    async with aiohttp.ClientSession() as session:
        port = await _port_of(profile)
        async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
            pages = [one for one in await answer.json() if one["type"] == "page"]
        where = pages[0]["webSocketDebuggerUrl"]
        async with session.ws_connect(where, max_msg_size=0) as socket:
            page = Page(socket)
            listening = asyncio.create_task(page.listen())
            await page.do("Network.enable")
            await page.do("Page.enable")
            await page.do("Page.navigate", url=address)
            await steps(page)
            listening.cancel()


async def _port_of(profile: Path) -> int:
    file = profile / "DevToolsActivePort"
    deadline = time.monotonic() + 60
    while not (file.exists() and file.read_text().strip()):
        assert time.monotonic() < deadline, "Chromium does not start"
        await asyncio.sleep(0.05)
    return int(file.read_text().split()[0])
