"""Facts about the Linux kernel and NVIDIA's modules in it: what may load, and what it logged."""

from typing import Literal

from envdoctor.facts.base import Fact
from envdoctor.record import Record

__all__ = [
    "DkmsModule",
    "DriverMessage",
    "KernelLog",
    "KernelModules",
    "MessageKind",
    "XidEvent",
]


class DkmsModule(Record):
    """A release of the driver whose source DKMS has, and the kernels that it built it for."""

    release: str
    kernels: tuple[str, ...] = ()


class KernelModules(Fact):
    """Whether NVIDIA's module can be loaded into the running kernel, from files alone.

    `secure_boot` is null where the firmware's variable cannot be read; without EFI it is off.
    `lockdown` is the mode of the kernel's lockdown, null where it has none; `signatures_enforced`
    says whether it refuses unsigned modules by an option of its own (module.sig_enforce).

    The others are looked for only where the module is not loaded. `files` are NVIDIA's modules for
    this `kernel`, null where its folder is not there; `signed` says whether the first of them ends
    with a signature, null where it is compressed; `other_kernels` are those that have one.
    `headers` says whether this kernel's headers are installed; `build_log` is the log of a build
    that failed; `blocked_by` the file of modprobe that forbids the module,
    `removed_by` the rule of udev that takes NVIDIA's GPU off the bus.
    """

    kernel: str | None
    secure_boot: bool | None = None
    lockdown: Literal["none", "integrity", "confidentiality"] | None = None
    signatures_enforced: bool | None = None
    files: tuple[str, ...] | None = None
    signed: bool | None = None
    other_kernels: tuple[str, ...] = ()
    headers: bool | None = None
    dkms: tuple[DkmsModule, ...] = ()
    build_log: str | None = None
    blocked_by: str | None = None
    removed_by: str | None = None


class XidEvent(Record):
    """An Xid of one GPU: how often it was logged, when last (seconds since boot), and its text."""

    pci_address: str
    code: int
    count: int
    last_s: float
    text: str = ""


MessageKind = Literal[
    "init-failed",
    "bar-unassigned",
    "firmware-missing",
    "power-cable",
    "api-mismatch",
    "module-refused",
    "built-for-another-kernel",
]


class DriverMessage(Record):
    """A line about the driver that says why it does not work; `pci_address` where it names one."""

    kind: MessageKind
    text: str
    pci_address: str | None = None


class KernelLog(Fact):
    """What the kernel's log says of NVIDIA's driver since it was last loaded.

    An Xid that the driver declared settled (Xid 154, recovery action `None`) is left out.
    """

    xids: tuple[XidEvent, ...] = ()
    messages: tuple[DriverMessage, ...] = ()
