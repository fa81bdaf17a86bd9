"""How the machine keeps the time: what nobody has to wait for, and everybody may read.

Left out on purpose: `btime` of /proc/stat, which the kernel reckons back from the clock as it is
now (fs/proc/stat.c, getboottime64) and which follows each step; STA_UNSYNC of adjtimex(2), which
chrony without `rtcsync`, most virtual machines and CI machines leave set; and the hardware clock
outside of WSL, which drifts, may keep local time, and in a guest is as wrong as its host.
"""

import datetime
import os
import time

from envdoctor.facts import Fact, Known, Observed, Reason, Unknown
from envdoctor.facts.machine import Clock
from envdoctor.probes.container import wsl_version
from envdoctor.probes.context import Context
from envdoctor.probes.files import read_text
from envdoctor.versions import parse_number

_SOURCES = "/sys/devices/system/clocksource/clocksource0"
_RTC = "/sys/class/rtc/rtc0/since_epoch"


def read_clock(context: Context) -> Clock:
    """What counts the time, and in WSL how far the clock lies behind that of Windows."""
    return Clock(
        source=_word(context, "current_clocksource") or None,
        sources=tuple(_word(context, "available_clocksource").split()),
        rtc_ahead_s=_rtc_ahead_s(context) if wsl_version(context.root) == 2 else None,
    )


def _word(context: Context, name: str) -> str:
    return (read_text(context.path(f"{_SOURCES}/{name}")) or "").strip()


def _rtc_ahead_s(context: Context) -> float | None:
    now = parse_number((read_text(context.path(_RTC)) or "").strip())
    return None if now is None else round(now - time.time())


# --- what is certain to be past ---

_WRITTEN_BY_THE_SYSTEM = ("/etc/ld.so.cache", "/var/lib/dpkg/status", "/var/lib/rpm")
"""What the system itself writes when packages are installed, with the time of that moment."""

_CERTAIN_S = 86_400.0
"""A clock that another system set to local time is wrong by hours."""


def clock_behind_s(context: Context) -> float | None:
    """How far the clock lies before what is past already, the build of the kernel and what the
    system has written; None if by no day."""
    newest = built_at(os.uname().version) if context.is_live else 0.0
    for name in _WRITTEN_BY_THE_SYSTEM:
        try:
            newest = max(newest, os.stat(context.path(name)).st_mtime)
        except OSError:
            continue
    behind = newest - time.time()
    return round(behind) if behind > _CERTAIN_S else None


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def built_at(version: str) -> float:
    """When the kernel of that version (uname -v) was built, by the day; 0 where it does not say.

    `#86-Ubuntu SMP PREEMPT_DYNAMIC Fri Oct  3 12:22:31 UTC 2025` (scripts/mkcompile_h of Linux);
    Debian has the day of its package in place of that, `Debian 6.1.147-1 (2025-08-02)`.
    """
    words = version.split()
    try:
        if words[-1].startswith("("):
            day = datetime.date.fromisoformat(words[-1].strip("()"))
        else:
            place = next(place for place, word in enumerate(words) if word in _MONTHS)
            month = _MONTHS.index(words[place]) + 1
            day = datetime.date(int(words[-1]), month, int(words[place + 1]))
    except (IndexError, ValueError, StopIteration):
        return 0.0
    return (day - datetime.date(1970, 1, 1)).days * 86_400.0


def observe_clock(context: Context) -> dict[type[Fact], Known]:
    """The clock of a running system."""
    if not context.is_live:
        why = Unknown(reason=Reason.NOT_APPLICABLE, detail="it is asked of a running system")
        return {Clock: why}
    return {Clock: Observed(value=read_clock(context), source=f"{_SOURCES}, {_RTC}")}
