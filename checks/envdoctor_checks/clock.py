"""The clock: behind what is past, set while it was looked at, or slow to read."""

from envdoctor.api import (
    Clock,
    Code,
    Confidence,
    Environment,
    Evidence,
    Findings,
    GpuTrace,
    Host,
    Layer,
    Network,
    Severity,
    Site,
    Wanted,
    check,
    system,
)
from envdoctor_checks.job import job_of

CLOCK_BEHIND = Code(
    id="ED334",
    name="clock-behind",
    family="clock-behind",
    severity=Severity.WARNING,
    topic="python",
    layer=Layer.INTERPRETER,
    fault="machine",
    message="the clock of this machine lies in the past",
    detailed="the clock of this machine lies {span} {than}",
)
CLOCK_STEPPED = Code(
    id="ED337",
    name="clock-stepped",
    family="clock-stepped",
    severity=Severity.WARNING,
    topic="python",
    layer=Layer.INTERPRETER,
    fault="machine",
    message="the clock of this machine was set while it was examined",
    detailed="the clock of this machine was set {span} {way} while it was examined",
)
SLOW_CLOCK_SOURCE = Code(
    id="ED338",
    name="slow-clock-source",
    family="slow-clock-source",
    severity=Severity.INFO,
    topic="python",
    layer=Layer.INTERPRETER,
    fault="machine",
    message="the kernel reads the time from a slow counter, by a system call each time",
    detailed="the kernel reads the time from `{source}`, by a system call each time, and not from "
    "the CPU's own counter (TSC)",
)

_LAG_S = 60.0
"""Less is what a request to Windows for the time may be late by; tokens of clouds and of Kerberos
bear some minutes."""


@check(CLOCK_BEHIND)
def clock_is_behind(host: Host, site: Site, clock: Clock | None) -> Findings:
    """Certificates and tokens are not yet valid then, and no package can be downloaded."""
    lag = (clock.rtc_ahead_s or 0.0) if clock is not None else 0.0
    if host.clock_behind_s is None and lag < _LAG_S:
        return
    of_windows = lag >= _LAG_S
    behind = lag if of_windows else host.clock_behind_s or 0.0
    source = "/sys/class/rtc/rtc0" if of_windows else "the clock, uname -v, /etc/ld.so.cache, dpkg"
    yield CLOCK_BEHIND.finding(
        confidence=Confidence.LIKELY,
        span=_span(behind),
        than="behind that of Windows" if of_windows else "before what was built or written already",
        evidence=(Evidence(label="behind", value=f"{behind:.0f} s", source=source),),
        fixes=(system.set_clock(site),),
        notes=(
            "WSL's clock stands still while Windows sleeps (microsoft/WSL issues 5324 and 8204); "
            "tokens and downloads then fail"
            if of_windows
            else "pip and downloads of models then end by `certificate is not yet valid`; a board "
            "without a battery starts in the past each time",
        ),
    )


def _span(seconds: float) -> str:
    """A length of time, as one says it."""
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


_STEP_S = 1.0


@check(CLOCK_STEPPED)
def clock_was_set(
    clock: Clock, environment: Environment, site: Site, network: Network | None
) -> Findings:
    """Once is what a time service does after a start; a job of several machines feels each."""
    stepped = clock.stepped_s or 0.0
    if abs(stepped) < _STEP_S:
        return
    nodes = job_of(environment.variables, network).nodes
    yield CLOCK_STEPPED.finding(
        severity=Severity.WARNING if nodes else Severity.INFO,
        span=_span(abs(stepped)),
        way="forward" if stepped > 0 else "back",
        evidence=(
            Evidence(
                label="set by",
                value=f"{stepped:+.1f} s",
                source="CLOCK_REALTIME against CLOCK_BOOTTIME, at the start and the end",
            ),
        ),
        fixes=(system.one_time_service(site),),
        notes=(
            "torchrun compares the clocks of its nodes: after 15 s without a heartbeat it takes a "
            "node for dead (torch/distributed/elastic/rendezvous/dynamic_rendezvous.py)",
        ),
    )


_SLOW = ("hpet", "acpi_pm", "xen")
"""Counters of x86 for which Linux has no way round the system call (arch/x86/include/asm/vdso/
clocksource.h: TSC, that of KVM and that of Hyper-V)."""


@check(SLOW_CLOCK_SOURCE)
def clock_is_slow_to_read(clock: Clock, wanted: Wanted, trace: GpuTrace, site: Site) -> Findings:
    """Profilers, and programs that wait for a GPU by the clock, read it all the time."""
    if clock.source not in _SLOW or wanted.gpu != "yes" or not trace.visible:
        return
    other = "tsc" in clock.sources
    yield SLOW_CLOCK_SOURCE.finding(
        source=clock.source,
        evidence=(
            Evidence(
                label="clock source",
                value=f"{clock.source}; it may be {', '.join(clock.sources) or 'no other'}",
                source="/sys/devices/system/clocksource/clocksource0",
            ),
        ),
        fixes=(system.read_time_from_tsc(site, offered=other),),
        notes=(
            "ten million readings of the TSC take 0.6 s (RHEL 9 for Real Time, `Comparing the cost "
            "of reading hardware clock sources`), of a counter outside the CPU many times that",
        ),
    )
