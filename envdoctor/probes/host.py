"""The machine itself: operating system, CPU and memory."""

import hashlib
import hmac
import os
import re
from pathlib import Path

from envdoctor.facts import Fact, Known, Observed, Reason, Unknown
from envdoctor.facts.machine import Host, HostIdentity
from envdoctor.probes.clock import clock_behind_s, observe_clock
from envdoctor.probes.context import Context
from envdoctor.probes.files import read_text
from envdoctor.probes.huge_pages import huge_page_pools, transparent_huge_pages

TRAINING_FLAGS = frozenset(
    [
        "avx2",
        "avx512f",
        "avx512_bf16",
        "avx512_vnni",
        "amx_bf16",
        "amx_int8",
        "amx_tile",
        "f16c",
        "fma",
        "asimd",
        "bf16",
        "sve",
    ]
)
"""CPU features that decide which kernels torch uses (as named in /proc/cpuinfo)."""

_MANY_CPUS_BYTES = 16 << 20
"""Of /proc/cpuinfo: some 2 KB a CPU."""


def read_host(context: Context) -> Host:
    """Operating system and hardware; what only a running system can tell is null without one."""
    system = os.uname() if context.is_live else None
    name = system.sysname if system else "Linux"
    release = os_release(context.root)
    processor, features, hypervisor = cpu(context.root)
    meminfo = read_text(context.path("/proc/meminfo")) or ""
    total, available = memory_bytes(context, meminfo)
    kernel = (read_text(context.path("/proc/sys/kernel/osrelease")) or "").strip()
    return Host(
        os=release.get("PRETTY_NAME", name),
        os_id=release.get("ID", name.lower()),
        os_version=release.get("VERSION_ID", ""),
        kernel=system.release if system else kernel or None,
        machine=system.machine if system else None,
        glibc=glibc_version() if context.is_live else None,
        cpu_name=processor,
        cpu_flags=features,
        logical_cpus=os.cpu_count() if context.is_live else logical_cpus(context.root),
        physical_cpus=physical_cpus(context),
        memory_bytes=total,
        memory_available_bytes=available,
        hypervisor=hypervisor,
        frequency_driver=_of_clock(context, "scaling_driver"),
        frequency_governor=_of_clock(context, "scaling_governor"),
        clock_behind_s=clock_behind_s(context) if context.is_live else None,
        huge_pages=huge_page_pools(context, meminfo),
        transparent_huge_pages=transparent_huge_pages(context, "enabled"),
        transparent_huge_page_defrag=transparent_huge_pages(context, "defrag"),
    )


def _of_clock(context: Context, name: str) -> str | None:
    """A setting of the first CPU's clock (Linux, CPU Performance Scaling)."""
    return (
        read_text(context.path(f"/sys/devices/system/cpu/cpu0/cpufreq/{name}")) or ""
    ).strip() or None


_MACHINE_ID = re.compile("[0-9a-f]{32}")
"""machine-id(5); an image may hold an empty one, or the word `uninitialized`."""

_MACHINE_IDS = ("/etc/machine-id", "/var/lib/dbus/machine-id")


def host_identity(context: Context, name: str | None = None) -> HostIdentity | None:
    """Which machine this is: machine-id(5) wants its value hashed, keyed, for each program.

    The host's name is in it too, since an image brings one id to all its containers.
    """
    texts = (read_text(context.path(path)) or "" for path in _MACHINE_IDS)
    own = next((text.strip() for text in texts if _MACHINE_ID.fullmatch(text.strip())), "")
    if name is None:
        name = os.uname().nodename if context.is_live else ""
    key = f"{own}\n{name}"
    if not key.strip():
        return None
    digest = hmac.new(key.encode("utf-8", "surrogateescape"), b"envdoctor", hashlib.sha256)
    return HostIdentity(id=digest.hexdigest()[:16])


def os_release(root: Path) -> dict[str, str]:
    """The fields of os-release (freedesktop.org, os-release(5)); empty where there is none."""
    text = read_text(root / "etc/os-release") or read_text(root / "usr/lib/os-release") or ""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {key.strip(): value.strip().strip("\"'") for key, _, value in pairs}


def cpu(root: Path) -> tuple[str, tuple[str, ...], bool | None]:
    """The name of the CPU, those of its features that matter for training, and whether it tells
    that it runs under a hypervisor (the flag of x86; null for other kinds)."""
    text = read_text(root / "proc/cpuinfo") or ""
    first = text.partition("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    fields = {key.strip(): value.strip() for key, _, value in pairs}
    name = fields.get("model name") or fields.get("Hardware")
    flags = set((fields.get("flags") or fields.get("Features") or "").split())
    hypervisor = "hypervisor" in flags if "flags" in fields else None
    return name or "unknown", tuple(sorted(flags & TRAINING_FLAGS)), hypervisor


def logical_cpus(root: Path) -> int | None:
    """How many CPUs the kernel lists; None where it lists none."""
    text = read_text(root / "proc/cpuinfo", _MANY_CPUS_BYTES) or ""
    return len(re.findall(r"^processor\s*:", text, re.MULTILINE)) or None


def physical_cpus(context: Context) -> int | None:
    """How many cores there are, whatever the threads of each; None where nothing tells.

    From the lists of CPUs that share a core (sysfs-devices-system-cpu): one list is one core.
    """
    cores = {
        siblings
        for name in ("core_cpus_list", "thread_siblings_list")
        for path in context.path("/sys/devices/system/cpu").glob(f"cpu[0-9]*/topology/{name}")
        if (siblings := (read_text(path) or "").strip())
    }
    if cores or not context.is_live:
        return len(cores) or None
    import psutil

    count: int | None = psutil.cpu_count(logical=False)
    return count


def memory_bytes(context: Context, meminfo: str) -> tuple[int | None, int | None]:
    """The memory of the machine, and how much of it a new program could have (proc_meminfo(5))."""
    kibibytes = {
        match[1]: int(match[2])
        for match in re.finditer(r"^(\w+):\s+(\d{1,16}) kB$", meminfo, re.MULTILINE)
    }
    total, available = kibibytes.get("MemTotal"), kibibytes.get("MemAvailable")
    if total is not None and available is not None:
        return total * 1024, available * 1024
    if not context.is_live:
        return None, None
    import psutil

    memory = psutil.virtual_memory()
    return memory.total, memory.available


def glibc_version() -> str | None:
    """The version of the C library that this process runs on; null where it is not glibc."""
    try:
        text = os.confstr("CS_GNU_LIBC_VERSION")
    except (ValueError, OSError):
        return None
    return text.rpartition(" ")[2] if text else None


def observe_host(context: Context) -> dict[type[Fact], Known]:
    """The machine."""
    source = "/etc/os-release, /proc/cpuinfo, /proc/meminfo, /sys/kernel/mm, uname"
    identity = host_identity(context)
    return {
        Host: Observed(value=read_host(context), source=source),
        HostIdentity: Observed(value=identity, source="/etc/machine-id, hostname, hashed")
        if identity
        else Unknown(reason=Reason.NOT_APPLICABLE, detail="the machine has neither id nor name"),
        **observe_clock(context),
    }
