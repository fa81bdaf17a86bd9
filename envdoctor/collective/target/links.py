"""TCP connections between addresses, and in which way one fails."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import threading
import time
from typing import NamedTuple

PROBLEMS = {
    errno.ECONNREFUSED: "refused",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable",
    errno.EADDRNOTAVAIL: "unreachable",
    errno.ETIMEDOUT: "no-answer",
    errno.EINVAL: "unreachable",
}
"""What connect(2) says, in the words of the fact. A route that drops what is sent itself is
EINVAL."""


class Link(NamedTuple):
    """Whether a connection came about; `problem` is empty if it did."""

    problem: str = ""
    error: str = ""


def connect(address: str, port: int, timeout_s: float, expected: int | None = None) -> Link:
    """Try a connection; with `expected`, the one who answers must be that rank, and what it sends
    must arrive."""
    try:
        link = _connected(address, port, timeout_s)
    except OSError as error:
        return _failed(error)
    with link:
        return Link() if expected is None else _answer(link, expected, timeout_s)


def _answer(link: socket.socket, expected: int, timeout_s: float) -> Link:
    """Whether the answer of that rank arrives whole: large packets may be lost where small ones,
    of which the connection itself is made, are not."""
    got, until = b"", time.monotonic() + timeout_s
    wanted = _text_of(expected)
    try:
        while len(got) < len(wanted):
            link.settimeout(max(0.01, until - time.monotonic()))
            piece = link.recv(len(wanted))
            if not piece:
                break
            got += piece
    except TimeoutError:
        return Link("stalls", f"{len(got)} of {len(wanted)} bytes arrive")
    except OSError as error:
        return _failed(error)
    if got == wanted:
        return Link()
    return Link("somebody-else", f"port {link.getpeername()[1]} is answered by another process")


_ANSWER_BYTES = 65536
"""Many packets of full size, also of jumbo frames."""


def _text_of(rank: int) -> bytes:
    return struct.pack("!I", rank) * (_ANSWER_BYTES // 4)


def _connected(address: str, port: int, timeout_s: float) -> socket.socket:
    family, kind, protocol, _, target = socket.getaddrinfo(
        address, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
    )[0]
    link = socket.socket(family, kind, protocol)
    link.settimeout(timeout_s)
    try:
        link.connect(target)
    except BaseException:
        link.close()
        raise
    return link


def _failed(error: OSError) -> Link:
    if isinstance(error, socket.timeout):
        return Link("no-answer", "no answer")
    return Link(PROBLEMS.get(error.errno or 0, "error"), error.strerror or str(error))


_SENDING_S = 30.0


class Listener:
    """Answers every connection with the number of this rank, as long as the process lives."""

    def __init__(self, address: str, rank: int) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.bind((address, 0))
        self._socket.listen(64)
        self.port = int(self._socket.getsockname()[1])
        self._answer = _text_of(rank)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                link, _ = self._socket.accept()
            except OSError:
                time.sleep(0.01)
                continue
            # One whose packets are lost is waited for, and keeps no other from its answer.
            threading.Thread(target=self._send, args=(link,), daemon=True).start()

    def _send(self, link: socket.socket) -> None:
        with contextlib.suppress(OSError), link:
            link.settimeout(_SENDING_S)
            link.sendall(self._answer)


def resolve(name: str, timeout_s: float) -> tuple[list[str], str]:
    """The addresses of a name, and why there is none; a server that is asked may never answer."""
    answer: list[tuple[list[str], str]] = []

    def ask() -> None:
        try:
            found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
            answer.append((list(dict.fromkeys(str(one[4][0]) for one in found)), ""))
        except (OSError, UnicodeError) as error:
            answer.append(([], getattr(error, "strerror", None) or str(error)))

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(timeout_s)
    return answer[0] if answer else ([], "the resolver gives no answer")


def free_port() -> int:
    """A port of the loopback that nobody has now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def endpoint(address: str, port: int) -> str:
    """`10.0.0.1:29500`, `[fd00::1]:29500`."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def split_endpoint(text: str) -> tuple[str, int]:
    """The address and the port of such a text."""
    address, _, port = text.rpartition(":")
    return address.strip("[]"), int(port)


def leave() -> None:
    """End this process at once: what a backend left behind could be waited for without end."""
    os._exit(0)
