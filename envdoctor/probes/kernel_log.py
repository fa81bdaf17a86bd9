"""What the kernel's log says of NVIDIA's driver: Xids, and why a GPU was not started.

The log is read as far as it goes and never waited for. Sources of the lines: NVIDIA's open kernel
modules (kernel-open/nvidia, src/nvidia/arch/nvalloc/unix), kernel/module of Linux, NVIDIA's Xid
catalogue.
"""

import errno
import os
import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from envdoctor.facts import Fact, Known, Observed, Reason, Unknown
from envdoctor.facts.kernel import DriverMessage, KernelLog, MessageKind, XidEvent
from envdoctor.facts.machine import PciGpus
from envdoctor.probes.context import Context
from envdoctor.record import Record

_LOG = "/dev/kmsg"
_MOST_BYTES = 16 << 20
"""More than the largest usual buffer of a kernel (log_buf_len)."""
_LONGEST_S = 2.0
_LONGEST_LINE = 1024
_RECORD_BYTES = 8192
"""No record of /dev/kmsg is longer (PRINTK_MESSAGE_MAX is 2048)."""

# Patterns are texts here: most machines have no line to try them on, and compiling costs.

_RECORD = r"\d+,\d+,(\d+),[^;]*;(.*)"
"""Documentation/ABI/testing/dev-kmsg: level, sequence, microseconds since boot, flags; text."""

_ADDRESS = r"([0-9a-fA-F]{4,8}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2})"
_XID = rf"NVRM: Xid \((?:PCI:)?{_ADDRESS}[^)]*\): (\d{{1,3}})(?!\d),? ?(.*)"
_PROCESS = r"pid=('<unknown>'|\S*?), (name=\S*?, )?"
"""Whose process it was is nobody else's business."""
_OF_GPU = rf"NVRM: GPU {_ADDRESS}"
_LOADED = "NVRM: loading NVIDIA UNIX"
_SETTLED = r"recovery action changed from .* to 0x0 \(None\)"
"""Of Xid 154 (NVIDIA's Xid catalogue)."""

_KINDS: tuple[tuple[MessageKind, str], ...] = (
    ("init-failed", r"NVRM: .*(RmInitAdapter|rm_init_adapter) failed"),
    (
        "bar-unassigned",
        r"NVRM: .*(BAR\d is 0M|PCI I/O region assigned to your NVIDIA device is inv)",
    ),
    (
        "firmware-missing",
        r"Direct firmware load for nvidia/\S+ failed|NVRM: .*No firmware image found",
    ),
    ("power-cable", r"NVRM: .*does not have the necessary power cables"),
    ("api-mismatch", r"NVRM: API mismatch"),
    (
        "module-refused",
        r"Loading of (unsigned )?module( with unavailable key)? is rejected"
        r"|Loading of unsigned module is rejected|unsigned module loading is restricted",
    ),
    (
        "built-for-another-kernel",
        r"nvidia[\w-]*: (version magic|disagrees about version of symbol)",
    ),
)
_MOST_TEXT = 240
_MOST_EVENTS = 100


class _Line(Record):
    """One record: when it was logged, in seconds since boot, and its text."""

    at_s: float
    text: str


def read_kernel_log(path: Path) -> KernelLog:
    """What matters of the log. Raises OSError where it cannot be opened or read."""
    return what_matters(_of_the_driver(_records(path)))


def _records(path: Path) -> Iterator[bytes]:
    """The log as far as it goes, in pieces of whole records."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        left, until = _MOST_BYTES, time.monotonic() + _LONGEST_S
        while left > 0 and time.monotonic() < until:
            try:
                piece = os.read(descriptor, _RECORD_BYTES)
            except OSError as error:
                if error.errno == errno.EPIPE:  # Records were overwritten; the next read goes on.
                    continue
                if error.errno == errno.EAGAIN:
                    return
                raise
            if not piece:
                return
            left -= len(piece)
            yield piece
    finally:
        os.close(descriptor)


def _of_the_driver(pieces: Iterable[bytes]) -> Iterator[_Line]:
    text = b"".join(pieces)
    for line in text.split(b"\n"):
        if b"NVRM" not in line and b"nvidia" not in line and b"module" not in line:
            continue
        match = re.match(_RECORD, line[:_LONGEST_LINE].decode("utf-8", "replace"))
        if match:
            # A text of several lines is one record, its ends escaped.
            yield _Line(at_s=int(match[1][:18]) / 1e6, text=match[2].replace("\\x0a", " "))


def what_matters(lines: Iterable[_Line]) -> KernelLog:
    """The events since the driver was last loaded."""
    xids: dict[tuple[str, int], XidEvent] = {}
    messages: dict[tuple[MessageKind, str | None], DriverMessage] = {}
    for line in lines:
        if _LOADED in line.text:
            xids.clear()
            messages.clear()
        elif match := re.search(_XID, line.text):
            _note(xids, match, line)
        elif (message := _message(line.text)) is not None:
            messages[message.kind, message.pci_address] = message
    return KernelLog(
        xids=tuple(xids.values())[:_MOST_EVENTS],
        messages=tuple(messages.values())[:_MOST_EVENTS],
    )


def _note(xids: dict[tuple[str, int], XidEvent], match: re.Match[str], line: _Line) -> None:
    address, code = _sysfs_address(match[1]), int(match[2])
    if code == 154 and re.search(_SETTLED, match[3]):
        for key in [key for key in xids if key[0] == address]:
            del xids[key]
        return
    before = xids.pop((address, code), None)
    xids[address, code] = XidEvent(
        pci_address=address,
        code=code,
        count=before.count + 1 if before else 1,
        last_s=line.at_s,
        text=re.sub(_PROCESS, "", match[3])[:_MOST_TEXT],
    )


def _message(text: str) -> DriverMessage | None:
    kind = next((kind for kind, pattern in _KINDS if re.search(pattern, text)), None)
    if kind is None:
        return None
    gpu = re.search(_OF_GPU, text)
    address = _sysfs_address(gpu[1]) if gpu else None
    return DriverMessage(kind=kind, text=text[:_MOST_TEXT], pci_address=address)


def _sysfs_address(address: str) -> str:
    """The log names domain, bus and device; a GPU is function 0 of its device."""
    return f"{address.lower()[-len('0000:00:00') :]}.0"


def observe_kernel_log(context: Context, pci: PciGpus | None) -> dict[type[Fact], Known]:
    """The kernel's log, where there is an NVIDIA GPU that it could speak of."""
    if pci is not None and not pci.nvidia:
        absent = Unknown(reason=Reason.NOT_APPLICABLE, detail="there is no NVIDIA GPU on the bus")
        return {KernelLog: absent}
    try:
        return {KernelLog: Observed(value=read_kernel_log(context.path(_LOG)), source=_LOG)}
    except OSError as error:
        closed = Unknown(reason=Reason.NOT_OBSERVED, detail=f"{_LOG}: {error.strerror}")
        return {KernelLog: closed}
