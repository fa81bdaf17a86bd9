"""Who may see a page: whoever knows the token in its address, and no page of another site."""

import hmac
import re
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

_OF_THIS_MACHINE = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d+)?")
"""What a browser may call the machine that it runs on. A page of another site whose name was turned
to this address (DNS rebinding) sends that name."""


def guarding(token: str) -> Middleware:
    """The middleware that lets nothing through, page or websocket, without the token as the first
    part of its path."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        why = _why_not(request, token)
        if why:
            raise web.HTTPForbidden(text=why)
        return await handler(request)

    return guard


def _why_not(request: web.Request, token: str) -> str:
    given = request.path.split("/")[1]
    if not hmac.compare_digest(given.encode(), token.encode()):
        return "the address has no valid token; open the whole address that envdoctor has printed"
    if not _OF_THIS_MACHINE.fullmatch(request.host):
        return "this is served to browsers on the same machine alone"
    origin = request.headers.get("Origin")
    # A browser names the page that asks. Programs send none, and need the token as well.
    if origin is not None and urlsplit(origin).netloc != request.host:
        return "a page of another site has asked for this"
    return ""


async def protect(request: web.Request, response: web.StreamResponse) -> None:
    """Let the browser load nothing from elsewhere, and tell nobody the address.

    xterm.js, the terminal in the page, writes its style sheets itself.
    """
    response.headers["Content-Security-Policy"] = (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
        f"font-src 'self'; connect-src 'self' ws://{request.host}; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cache-Control"] = "no-store"
