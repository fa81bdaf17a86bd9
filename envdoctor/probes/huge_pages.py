"""The memory that Linux keeps as huge pages (Documentation/admin-guide/mm: hugetlbpage.rst and
transhuge.rst)."""

import re
from collections.abc import Iterator
from pathlib import Path

from envdoctor.facts.machine import HugePagePool
from envdoctor.probes.context import Context
from envdoctor.probes.files import matching, read_text

_OF_MEMINFO = re.compile(r"^(HugePages_\w+|Hugepagesize|Hugetlb):\s+(\d{1,15})(?: kB)?$", re.M)
_FOLDER = re.compile(r"hugepages-(\d{1,12})kB", re.ASCII)
_PAGES = re.compile(r"\s*(\d{1,15})\s*", re.ASCII)
_CHOSEN = re.compile(r"\[([\w+]{1,40})\]", re.ASCII)
"""Of the words that a setting may have, the one in brackets is in force."""


def huge_page_pools(context: Context, meminfo: str) -> tuple[HugePagePool, ...]:
    """The pools that hold pages. /proc/meminfo tells of pages of the default size alone, and from
    Linux 4.19 on how much memory those of all sizes take: sysfs is read where there are any."""
    told = {match[1]: int(match[2]) for match in _OF_MEMINFO.finditer(meminfo)}
    if "HugePages_Total" not in told or told.get("Hugetlb") == 0:
        return ()
    folders = matching(context.path("/sys/kernel/mm/hugepages"), "hugepages-*kB")
    pools = tuple(filter(None, map(_pool_of, sorted(folders)))) or tuple(_of_meminfo(told))
    return tuple(pool for pool in pools if pool.total)


def _of_meminfo(told: dict[str, int]) -> Iterator[HugePagePool]:
    names = ("HugePages_Total", "HugePages_Free", "HugePages_Rsvd")
    if {*names, "Hugepagesize"} <= told.keys():
        total, free, reserved = (told[name] for name in names)
        yield HugePagePool(
            page_bytes=told["Hugepagesize"] * 1024, total=total, free=free, reserved=reserved
        )


def _pool_of(folder: Path) -> HugePagePool | None:
    size = _FOLDER.fullmatch(folder.name)
    names = ("nr_hugepages", "free_hugepages", "resv_hugepages")
    numbers = [_PAGES.fullmatch(read_text(folder / name, 64) or "") for name in names]
    if size is None or None in numbers:
        return None
    total, free, reserved = (int(one[1]) for one in numbers if one is not None)
    return HugePagePool(page_bytes=int(size[1]) * 1024, total=total, free=free, reserved=reserved)


def transparent_huge_pages(context: Context, setting: str) -> str | None:
    """What is chosen for transparent huge pages; null where Linux does not tell."""
    text = read_text(context.path(f"/sys/kernel/mm/transparent_hugepage/{setting}"), 256) or ""
    chosen = _CHOSEN.search(text)
    return chosen[1] if chosen else None
