"""Where a repair is done: the target, its installer, the operating system, the container."""

from typing import Literal

from envdoctor.facts.base import Fact
from envdoctor.facts.machine import Container, Host
from envdoctor.facts.python import Installer, Target
from envdoctor.plugins import derive

OsFamily = Literal[
    "debian", "ubuntu", "fedora", "rhel", "suse", "arch", "nixos", "alpine", "macos", "other"
]

_FAMILIES: dict[str, OsFamily] = {
    "debian": "debian",
    "raspbian": "debian",
    "kali": "debian",
    "ubuntu": "ubuntu",
    "pop": "ubuntu",
    "linuxmint": "ubuntu",
    "elementary": "ubuntu",
    "zorin": "ubuntu",
    "neon": "ubuntu",
    "fedora": "fedora",
    "nobara": "fedora",
    "bazzite": "fedora",
    "rhel": "rhel",
    "centos": "rhel",
    "rocky": "rhel",
    "almalinux": "rhel",
    "ol": "rhel",
    "amzn": "rhel",
    "opensuse-leap": "suse",
    "opensuse-tumbleweed": "suse",
    "sles": "suse",
    "arch": "arch",
    "manjaro": "arch",
    "endeavouros": "arch",
    "cachyos": "arch",
    "nixos": "nixos",
    "alpine": "alpine",
    "darwin": "macos",
}
"""The family by the ID of os-release, or of ID_LIKE where the distribution states one."""


class Site(Fact):
    """Where a repair is done.

    `target` is the interpreter, `installer` what manages its packages. `container` is its kind,
    `none` outside of one; `wsl` says that the driver is that of Windows. `jetson` is a Tegra board,
    whose driver and torch come with JetPack.
    """

    target: str = "python3"
    installer: Installer | None = None
    os_family: OsFamily = "other"
    kernel: str | None = None
    machine: str | None = None
    container: str = "none"
    wsl: bool = False

    @property
    def contained(self) -> bool:
        """Whether what belongs to the host (driver, kernel, device nodes) is out of reach."""
        return self.container != "none"

    @property
    def jetson(self) -> bool:
        """Whether the kernel is one of NVIDIA's Tegra boards."""
        return (self.kernel or "").endswith("tegra")


@derive(Site)
def site_of(
    target: Target | None,
    installer: Installer | None,
    host: Host | None,
    container: Container | None,
) -> Site:
    """The place of a repair, as far as it is known."""
    return Site(
        target=target.path if target else "python3",
        installer=installer,
        os_family=_FAMILIES.get(host.os_id, "other") if host else "other",
        kernel=host.kernel if host else None,
        machine=host.machine if host else None,
        container=container.kind if container else "none",
        wsl=container is not None and container.wsl is not None,
    )
