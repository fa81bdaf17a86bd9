"""The network interfaces of this namespace, and the address that a backend uses by itself.

Sources: netdevice(7); PyTorch, torch/csrc/distributed/c10d/ProcessGroupGloo.cpp
(createDefaultDevice); NCCL, src/misc/socket.cc (ncclFindInterfaces).
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from typing import Any, NamedTuple

_SIOCGIFADDR, _SIOCGIFFLAGS = 0x8915, 0x8913
_IFREQ = "16s24x"
_UP, _LOOPBACK = 0x1, 0x8


class Interface(NamedTuple):
    """An interface with its addresses, IPv4 first."""

    name: str
    is_up: bool
    is_loopback: bool
    addresses: list[str]


class Used(NamedTuple):
    """The address that a backend uses, its interface, and what chose it. Null: there is none."""

    interface: str | None
    address: str | None
    chosen_by: str


def interfaces() -> list[Interface]:
    """Every interface, in the order of the kernel."""
    by_name = _v6_addresses()
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for _, name in socket.if_nameindex():
            flags = _flags(asking, name)
            first = _v4_address(asking, name)
            addresses = ([first] if first else []) + by_name.get(name, [])
            found.append(
                Interface(name, bool(flags & _UP), bool(flags & _LOOPBACK), addresses),
            )
    return found


def _request(name: str) -> bytes:
    return struct.pack(_IFREQ, os.fsencode(name)[:15])


def _flags(asking: socket.socket, name: str) -> int:
    try:
        answer = fcntl.ioctl(asking, _SIOCGIFFLAGS, _request(name))
    except OSError:
        return 0
    return int(struct.unpack_from("H", answer, 16)[0])


def _v4_address(asking: socket.socket, name: str) -> str | None:
    try:
        # A sockaddr_in follows the name: family and port before the address.
        return socket.inet_ntoa(fcntl.ioctl(asking, _SIOCGIFADDR, _request(name))[20:24])
    except OSError:
        return None


def _v6_addresses() -> dict[str, list[str]]:
    """By the names of interfaces; those of a link alone (fe80) come last."""
    found: dict[str, list[str]] = {}
    try:
        with open("/proc/net/if_inet6", encoding="ascii") as file:
            lines = [line.split() for line in file]
    except OSError:
        return {}
    for words in sorted(lines, key=lambda words: words[0].startswith("fe80")):
        address = socket.inet_ntop(socket.AF_INET6, bytes.fromhex(words[0]))
        found.setdefault(words[-1], []).append(address)
    return found


def used_by(backend: str) -> Used:
    """What that backend uses here."""
    return _used_by_nccl() if backend == "nccl" else _used_by_gloo()


def _used_by_gloo() -> Used:
    """The first interface that the variable names; else the first address of the host's own name
    that can be bound; else the loopback."""
    names = os.environ.get("GLOO_SOCKET_IFNAME", "")
    if names:
        name = names.split(",")[0]
        addresses = next((one.addresses for one in interfaces() if one.name == name), [])
        return Used(name, addresses[0] if addresses else None, "GLOO_SOCKET_IFNAME")
    for address in own_name():
        if can_be_bound(address):
            return Used(_interface_of(address), address, "host name")
    return Used("lo", "127.0.0.1", "fallback")


def own_name() -> list[str]:
    """The addresses of the host's own name, as the system resolves it."""
    try:
        found = socket.getaddrinfo(socket.gethostname(), None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        # The latter for a name that is longer than a label of DNS may be.
        return []
    return list(dict.fromkeys(str(one[4][0]) for one in found))


def can_be_bound(address: str) -> bool:
    """Whether it is one of this machine."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as trying:
            trying.bind((address, 0))
    except OSError:
        return False
    return True


def _interface_of(address: str) -> str | None:
    """The loopback has all of 127.0.0.0/8."""
    if address.startswith("127."):
        return next((one.name for one in interfaces() if one.is_loopback), None)
    return next((one.name for one in interfaces() if address in one.addresses), None)


def _used_by_nccl() -> Used:
    """The first of those that the variable chooses; else InfiniBand's, any other, Docker's, the
    loopback."""
    there = [one for one in interfaces() if one.is_up and one.addresses]
    value = os.environ.get("NCCL_SOCKET_IFNAME", "").strip()
    by = "NCCL_SOCKET_IFNAME" if value else "interface order"
    for choice in [value] if value else ["ib", "^docker,lo,virbr", "docker", "lo", "virbr"]:
        for one in there:
            if is_chosen(one.name, choice):
                return Used(one.name, one.addresses[0], by)
    return Used(value or None, None, by)


def is_chosen(name: str, choice: str) -> bool:
    """A list of prefixes; `^` before it excludes, `=` before it wants whole names."""
    excludes = choice.startswith("^")
    words = choice[1:] if excludes else choice
    whole = words.startswith("=")
    wanted = [word.split(":")[0] for word in (words[1:] if whole else words).split(",") if word]
    named = any(name == one if whole else name.startswith(one) for one in wanted)
    return named is not excludes


def connected_interfaces(*, without_port: int) -> list[str]:
    """The interfaces that sockets of this process are connected over: what a backend really uses.
    Those to that port, of the store, are not meant."""
    found = set()
    for word in os.listdir("/proc/self/fd"):
        local, port = _connection(int(word))
        name = _interface_of(local) if local and port != without_port else None
        if name:
            found.add(name)
    return sorted(found)


def _connection(descriptor: int) -> tuple[str, int]:
    """The own address and the other's port of a connected socket of the internet."""
    try:
        with socket.socket(fileno=os.dup(descriptor)) as one:
            if one.family not in (socket.AF_INET, socket.AF_INET6):
                return "", 0
            peer: Any = one.getpeername()
            name: Any = one.getsockname()
    except OSError:
        return "", 0
    return str(name[0]).replace("::ffff:", ""), int(peer[1])
