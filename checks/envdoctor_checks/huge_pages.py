"""Memory that is set aside as huge pages, and that nobody uses."""

from envdoctor.api import (
    Code,
    Confidence,
    Evidence,
    Findings,
    Host,
    HugePagePool,
    Layer,
    Limits,
    Severity,
    Site,
    TorchImport,
    check,
    system,
)
from envdoctor_checks.exhausted import LITTLE_BYTES

HUGE_PAGES_IDLE = Code(
    id="ED430",
    name="huge-pages-idle",
    family="huge-pages-idle",
    severity=Severity.WARNING,
    topic="container",
    layer=Layer.INTERPRETER,
    breaks="import:torch",
    message="memory lies idle as huge pages, which torch cannot use, and little else is left",
    detailed="{idle:.1f} of {total:.1f} GB of memory lie idle as huge pages, which torch cannot "
    "use, and {left:.1f} GB are left",
    explains=("ED329",),
)

_SHARE = 4
"""A quarter of the memory: what databases and virtual machines are told to reserve is most of it, a
pool of some pages for DPDK or a test is a few hundredths."""

_LEFT_BYTES = 4 * LITTLE_BYTES
"""8 GiB: torch alone takes up to 1 GB in each process (see ED329), and a training process has some
workers. Where more is left the idle pages keep no usual job from running."""


@check(HUGE_PAGES_IDLE)
def huge_pages_idle(
    host: Host, site: Site, limits: Limits | None, imported: TorchImport | None
) -> Findings:
    """Huge pages that nobody has and nobody was promised, a good part of the memory, where less is
    left than lies idle. Pages in use are what they are for."""
    total, left = host.memory_bytes, host.memory_available_bytes
    idle = sum(pool.idle_bytes for pool in host.huge_pages)
    if not total or left is None or idle < total / _SHARE or idle < left or left >= _LEFT_BYTES:
        return
    if _is_of_another_machine(host.huge_pages, total) or _is_held_by_its_group(limits, left):
        return
    killed = imported is not None and imported.signal == "SIGKILL" and left < LITTLE_BYTES
    yield HUGE_PAGES_IDLE.finding(
        severity=Severity.ERROR if killed else None,
        breaks=("import:torch",) if killed else (),
        confidence=Confidence.LIKELY,
        idle=idle / 1e9,
        total=total / 1e9,
        left=left / 1e9,
        evidence=(
            *(
                Evidence(
                    label=f"pages of {pool.page_bytes >> 10} kB",
                    value=f"{pool.total}, of which {pool.free} are free and {pool.reserved} of "
                    "these promised",
                    source="/proc/meminfo, /sys/kernel/mm/hugepages",
                )
                for pool in host.huge_pages
            ),
            Evidence(label="MemAvailable", value=f"{left} bytes", source="/proc/meminfo"),
        ),
        fixes=(system.release_huge_pages(site, host.huge_pages),),
        notes=(
            "Linux gives huge pages of a pool only to programs that ask for them by name "
            "(hugetlbfs, MAP_HUGETLB), and counts the whole pool as used",
        ),
    )


def _is_of_another_machine(pools: tuple[HugePagePool, ...], total: int) -> bool:
    """Whether there is more in the pools than memory: LXCFS shows a container its own memory, and
    the huge pages of its host."""
    return sum(pool.total * pool.page_bytes for pool in pools) > total


def _is_held_by_its_group(limits: Limits | None, left: int) -> bool:
    """Whether the control group gives no more than what is left: then that is what is short."""
    limit = limits.cgroup_memory_bytes if limits else None
    return limit is not None and limit <= left
