"""Network interfaces, InfiniBand and RoCE ports, and what names mean here; nothing is sent."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from envdoctor.facts import Fact, Known, Observed, Reason, Unknown
from envdoctor.facts.network import FabricPort, Network, NetworkInterface
from envdoctor.probes.context import Context
from envdoctor.probes.files import read_text

_MOST_INTERFACES = 256
"""A host of many containers has one for each; those that NCCL uses are no such ones."""

_SIOCGIFADDR = 0x8915
"""Gets the IPv4 address of an interface (netdevice(7), linux/sockios.h)."""

_NAME_BYTES = 40
"""Of `struct ifreq` on 64-bit Linux (netdevice(7))."""

_V4_OF_THE_HOST = re.compile(r"\|-- (\d{1,3}(?:\.\d{1,3}){3})\n\s+/32 host LOCAL")
"""An address of this namespace, in /proc/net/fib_trie."""

_IPV4 = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}")


def read_network(context: Context) -> Network | None:
    """The network of this namespace; None where sysfs shows none."""
    try:
        names = sorted(os.listdir(context.path("/sys/class/net")))[:_MOST_INTERFACES]
    except OSError:
        return None
    with_v6 = _interfaces_with_v6(context)
    return Network(
        interfaces=tuple(
            one for name in names if (one := _interface(name, context, with_v6)) is not None
        ),
        ports=tuple(_ports(context.path("/sys/class/infiniband"))),
        peer_memory=os.path.exists(context.path("/sys/module/nvidia_peermem")),
        own_name=_own_name(context),
        master=_master(context),
    )


def _interface(name: str, context: Context, with_v6: frozenset[str]) -> NetworkInterface | None:
    """An interface; None for what lies beside them, as `bonding_masters`."""
    state = read_text(context.path(f"/sys/class/net/{name}/operstate"), 64)
    if state is None:
        return None
    has_address = None
    if context.is_live:
        has_address = name in with_v6 or _v4_address(name) is not None
    return NetworkInterface(name=name, state=state.strip() or "unknown", has_address=has_address)


def _interfaces_with_v6(context: Context) -> frozenset[str]:
    lines = (read_text(context.path("/proc/net/if_inet6")) or "").splitlines()
    return frozenset(words[-1] for line in lines if (words := line.split()))


def _v4_address(name: str) -> str | None:
    import fcntl
    import socket

    request = os.fsencode(name)[:15].ljust(_NAME_BYTES, b"\0")
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            answer = fcntl.ioctl(asking, _SIOCGIFADDR, request)
    except OSError:
        return None
    # A sockaddr_in follows the name: family and port before the address.
    return ".".join(str(byte) for byte in answer[20:24])


def _ports(folder: Path) -> Iterator[FabricPort]:
    """Every port below /sys/class/infiniband; its `state` is like `4: ACTIVE`."""
    for device in _children(folder):
        for port in _children(device / "ports"):
            state = (read_text(port / "state", 64) or "").rpartition(":")[2].strip()
            layer = (read_text(port / "link_layer", 64) or "").strip()
            if port.name.isdecimal() and state:
                yield FabricPort(
                    device=device.name, port=int(port.name[:4]), state=state, link_layer=layer
                )


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


# --- names ---


def _own_name(context: Context) -> Literal["loopback", "address", "unlisted"]:
    """What /etc/hosts makes of the host's own name, by its first line that has it (hosts(5))."""
    found = _addresses_of(_host_name(context), context)
    if not found:
        return "unlisted"
    return "loopback" if _is_loopback(found[0]) else "address"


def _host_name(context: Context) -> str:
    for file in ("/proc/sys/kernel/hostname", "/etc/hostname"):
        name = (read_text(context.path(file), 256) or "").strip().lower()
        if name:
            return name
    return ""


def _addresses_of(name: str, context: Context) -> list[str]:
    """The addresses of a name in /etc/hosts, in their order."""
    text = read_text(context.path("/etc/hosts")) or ""
    lines = (line.partition("#")[0].lower().split() for line in text.splitlines())
    return [words[0] for words in lines if name and name in words[1:]]


def _is_loopback(address: str) -> bool:
    return address == "::1" or address.startswith("127.")


def _master(context: Context) -> Literal["loopback", "own", "other"] | None:
    """What MASTER_ADDR is on this machine. A name that /etc/hosts does not have is that of another
    one, unless it is this host's own, with its domain or without."""
    value = context.env.get("MASTER_ADDR", "").strip().lower()
    if not value:
        return None
    if value == "localhost" or (_is_address(value) and _is_loopback(value)):
        return "loopback"
    host = _host_name(context)
    if host and value.partition(".")[0] == host.partition(".")[0] and not _is_address(value):
        return "own"
    addresses = [value] if _is_address(value) else _addresses_of(value, context)
    if any(_is_loopback(one) for one in addresses):
        return "loopback"
    own = _own_addresses(context)
    return "own" if any(_packed(one) in own for one in addresses) else "other"


def _is_address(text: str) -> bool:
    return ":" in text or _IPV4.fullmatch(text) is not None


def _own_addresses(context: Context) -> set[bytes | None]:
    """The addresses of this namespace, from the kernel's tables."""
    table = read_text(context.path("/proc/net/fib_trie")) or ""
    v6 = (read_text(context.path("/proc/net/if_inet6")) or "").splitlines()
    addresses: set[bytes | None] = {_packed(one) for one in _V4_OF_THE_HOST.findall(table)}
    addresses.update(bytes.fromhex(line[:32]) for line in v6 if re.match(r"[0-9a-f]{32}\b", line))
    return addresses - {None}


def _packed(address: str) -> bytes | None:
    """The bytes of an address, by which its different spellings are one."""
    import socket

    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return socket.inet_pton(family, address.partition("%")[0])
    except (OSError, ValueError):
        return None


def observe_network(context: Context) -> dict[type[Fact], Known]:
    """The network of this namespace."""
    found = read_network(context)
    if found is None:
        absent = "/sys/class/net is not there"
        return {Network: Unknown(reason=Reason.NOT_APPLICABLE, detail=absent)}
    source = "/sys/class/net, /sys/class/infiniband, /proc/net, /etc/hosts"
    return {Network: Observed(value=found, source=source)}
