"""Facts about the network that the processes of one job reach each other by."""

from typing import Literal

from envdoctor.facts.base import Fact
from envdoctor.record import Record

__all__ = ["FabricPort", "Network", "NetworkInterface"]


class NetworkInterface(Record):
    """A network interface. `state` is the kernel's own word (operstate of sysfs-class-net: up,
    down, unknown ...); `has_address` is null where only a running system could tell. Addresses
    themselves are not kept."""

    name: str
    state: str
    has_address: bool | None = None

    @property
    def is_loopback(self) -> bool:
        """Whether it leads nowhere else."""
        return self.name == "lo"

    @property
    def is_down(self) -> bool:
        """Whether the kernel says that nothing gets through. `unknown` is what it says of
        interfaces whose driver does not tell, as of `lo` and of tunnels."""
        return self.state in ("down", "lowerlayerdown", "notpresent", "dormant")


class FabricPort(Record):
    """A port of an InfiniBand or RoCE device. `state` is ACTIVE, INIT, ARMED or DOWN, `link_layer`
    InfiniBand or Ethernet (sysfs-class-infiniband)."""

    device: str
    port: int
    state: str
    link_layer: str


class Network(Fact):
    """The interfaces of this network namespace, and what names mean in it; nothing is sent, and no
    server is asked.

    `peer_memory` says whether the module nvidia_peermem is loaded. `own_name` is what /etc/hosts
    makes of the host's own name, `master` what MASTER_ADDR is (`own`: this machine, by another
    address than the loopback's or by its name), null where it is not set.
    """

    interfaces: tuple[NetworkInterface, ...] = ()
    ports: tuple[FabricPort, ...] = ()
    peer_memory: bool = False
    own_name: Literal["loopback", "address", "unlisted"] = "unlisted"
    master: Literal["loopback", "own", "other"] | None = None

    @property
    def active_ports(self) -> tuple[FabricPort, ...]:
        """The ports that carry data."""
        return tuple(port for port in self.ports if port.state == "ACTIVE")
