"""`envdoctor tui --serve`: a page of this machine's browser shows the full-screen view.

Everything that a page needs is served from here; nothing is loaded from the network.
"""

import asyncio
import contextlib
import io
import logging
import os
import secrets
import socket
from collections.abc import Callable, Iterator
from importlib import resources
from typing import NoReturn

from aiohttp import web
from textual_serve.server import Server

from envdoctor.errors import BadInput, described
from envdoctor.tui.browser.guard import guarding, protect

HOST = "127.0.0.1"
_TOKEN_BYTES = 24

Tell = Callable[[str], None]


def listening(port: int) -> socket.socket:
    """A socket of this machine's own at a port; 0: any that is free. Raises BadInput."""
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        raise BadInput(
            f"port {port} cannot be used ({os.strerror(error.errno or 0)}); give another one, or "
            "none to take any that is free"
        ) from error


def serve(line: str, bound: socket.socket, *, announce: Tell, say: Tell) -> NoReturn:
    """Serve until a signal ends it: for each page the program of this command line.

    `announce` gets the address with its token, once it answers; `say` what goes wrong.
    """
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    server = PageServer(line, bound, token)
    loop = asyncio.new_event_loop()
    with contextlib.redirect_stdout(_Lines(say)), _heard(say):
        try:
            loop.run_until_complete(server.start())
            announce(server.address)
            loop.run_forever()
        finally:
            # Nobody waits for what is left: this process ends, and all below it.
            loop.set_exception_handler(lambda _, context: None)
    raise AssertionError("a loop that runs for ever has ended")


class PageServer(Server):
    """textual-serve, with a page of ours and a token in its address."""

    def __init__(self, line: str, bound: socket.socket, token: str) -> None:
        super().__init__(line, host=HOST, port=bound.getsockname()[1], title="envdoctor")
        self._bound, self._token = bound, token
        self._page, self._script = map(_text_of, ("page.html", "page.js"))

    @property
    def address(self) -> str:
        """Where the page is."""
        return f"{self.public_url}/{self._token}/"

    async def start(self) -> None:
        """Answer from now on."""
        app = web.Application(middlewares=[guarding(self._token)])
        app.on_response_prepare.append(protect)
        app.add_routes(
            [
                web.get(f"/{self._token}/", self.page),
                web.get(f"/{self._token}/page.js", self.script),
                web.get(f"/{self._token}/ws", self.handle_websocket),
                web.static(f"/{self._token}/static", self.statics_path),
            ]
        )
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.SockSite(runner, self._bound).start()

    async def page(self, request: web.Request) -> web.Response:
        """The page. It is asked for under the name that the browser has for this machine, which
        is another one behind a tunnel."""
        websocket = f"ws://{request.host}/{self._token}/ws"
        text = self._page.replace("{websocket}", websocket)
        return web.Response(text=text, content_type="text/html")

    async def script(self, request: web.Request) -> web.Response:
        """What the page does beside the terminal."""
        return web.Response(text=self._script, content_type="text/javascript")


def _text_of(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text("utf-8")


class _Lines(io.TextIOBase):
    """What textual-serve prints: what a page's program wrote to standard error."""

    def __init__(self, say: Tell) -> None:
        self._say = say

    def write(self, text: str) -> int:
        for line in filter(str.strip, text.splitlines()):
            self._say(line.removeprefix("envdoctor: "))
        return len(text)


class _Heard(logging.Handler):
    """What textual-serve and aiohttp log, on a line each and without a traceback."""

    def __init__(self, say: Tell) -> None:
        super().__init__(logging.WARNING)
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        self._say(described(error) if error else record.getMessage())


@contextlib.contextmanager
def _heard(say: Tell) -> Iterator[None]:
    handler = _Heard(say)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
