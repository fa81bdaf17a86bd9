"""Memory that is set aside as huge pages: what is a disease of it, and what only looks so."""

from typing import Any

import pytest

from envdoctor.api import Evidence, Host, HugePagePool, Snapshot, TorchImport
from envdoctor.findings import Finding
from envdoctor.probes.context import context_of
from envdoctor.probes.host import read_host
from envdoctor.probes.run import Children
from tests.probes.test_machine import Tree
from tests.support.diagnosis import report_on
from tests.support.machines import machine

GIB = 2**30
MIB = 2**20
PAGES_OF_A_GIB = 512


def pool(gib: int, *, idle: int, promised: int = 0, page_bytes: int = 2 * MIB) -> HugePagePool:
    """So many GiB, of which so many lie idle and others are free but promised."""
    pages = GIB // page_bytes if page_bytes < GIB else 1
    return HugePagePool(
        page_bytes=page_bytes,
        total=gib * pages,
        free=(idle + promised) * pages,
        reserved=promised * pages,
    )


def host(*pools: HugePagePool, memory: int = 64, left: float = 4, **fields: Any) -> Snapshot:
    """A machine with so many GiB of memory, of which so many are left for programs."""
    of_memory = {"memory_bytes": memory * GIB, "memory_available_bytes": int(left * GIB)}
    return machine(Host={**of_memory, "huge_pages": pools}, **fields)


def found(snapshot: Snapshot) -> list[tuple[str, str]]:
    return [(one.name, one.severity.value) for one in report_on(snapshot).findings]


IDLE = ("huge-pages-idle", "warning")


@pytest.mark.parametrize(
    "snapshot",
    [
        host(pool(48, idle=48)),
        # Of a database that has gone, beside another one.
        host(pool(40, idle=20), left=6),
        # Of the size that is not the default one.
        host(pool(48, idle=48, page_bytes=GIB)),
        host(pool(12, idle=12, page_bytes=GIB), pool(12, idle=12)),
        host(pool(12, idle=12), memory=16, left=2),
        # A control group that may have more than the host has left.
        host(pool(48, idle=48), Limits={"cgroup_memory_bytes": 32 * GIB}),
    ],
)
def test_huge_pages_that_nobody_uses(snapshot: Snapshot) -> None:
    """While little else is left."""
    assert found(snapshot) == [IDLE]


POD = {"kind": "kubernetes", "nvidia_runtime": None}
HEALTHY = {
    "no pool at all": host(),
    # Naive: most of the memory is in the pool, and little is left.
    "host of virtual machines that run": host(pool(56, idle=0), left=4),
    "database that has all its pages": host(pool(48, idle=1), left=6),
    "database that has just started: promised and not yet touched": host(
        pool(48, idle=0, promised=48), left=6
    ),
    # Naive: pages are free.
    "small pool for DPDK": host(pool(2, idle=2), left=6),
    "desktop with a pool for a virtual machine that is off": host(
        pool(8, idle=8), memory=32, left=12
    ),
    "large host whose virtual machines are off": host(pool(768, idle=768), memory=1024, left=200),
    "busy machine that has more to give than lies idle": host(pool(2, idle=2), memory=8, left=3),
    # Naive: the host is short, and the container is held by its own limit.
    "container with less than its host has left": host(
        pool(48, idle=48),
        left=6,
        Container=POD,
        Limits={"cgroup_memory_bytes": 4 * GIB, "shm_bytes": GIB},
    ),
    # Naive: LXCFS shows the container's memory beside the huge pages of its host.
    "system container that sees pages of its host": host(
        pool(96, idle=96), memory=8, left=6, Container={"kind": "lxc", "nvidia_runtime": None}
    ),
    "recording that tells nothing of memory": machine(
        Host={
            "memory_bytes": None,
            "memory_available_bytes": None,
            "huge_pages": (pool(48, idle=48),),
        }
    ),
    **{
        f"transparent huge pages: {enabled}, {defrag}": machine(
            Host={"transparent_huge_pages": enabled, "transparent_huge_page_defrag": defrag}
        )
        for enabled in ("never", "madvise", "always")
        for defrag in ("never", "madvise", "defer+madvise", "always")
    },
}


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_machine_has_no_finding(name: str) -> None:
    assert found(HEALTHY[name]) == []


def of_pages(snapshot: Snapshot) -> Finding:
    return next(one for one in report_on(snapshot).findings if one.name == "huge-pages-idle")


def test_only_what_lies_idle_is_given_back() -> None:
    """Each size by its own file; the rest is in use or promised."""
    one = of_pages(
        host(
            pool(24, idle=16, promised=3),
            pool(4, idle=4, page_bytes=GIB),
            pool(1, idle=0, page_bytes=64 * MIB),
        )
    )
    *commands, look = one.fixes[0].commands
    assert commands == [
        f"echo {8 * PAGES_OF_A_GIB} | sudo tee "
        "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages",
        "echo 0 | sudo tee /sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages",
    ]
    assert "/etc/sysctl.d" in look
    assert "vm.nr_hugepages" in one.fixes[0].summary
    assert "21.5 of 68.7 GB" in one.message
    assert one.evidence[0] == Evidence(
        label="pages of 2048 kB",
        value="12288, of which 9728 are free and 1536 of these promised",
        source="/proc/meminfo, /sys/kernel/mm/hugepages",
    )


@pytest.mark.parametrize("kind", ["docker", "kubernetes", "lxc", "apptainer"])
def test_a_container_cannot_change_the_pages_of_its_host(kind: str) -> None:
    snapshot = host(
        pool(48, idle=48),
        Container={"kind": kind, "nvidia_runtime": True},
        Limits={"shm_bytes": GIB},
    )
    (fix,) = of_pages(snapshot).fixes
    assert (fix.where.value, fix.safety.value) == ("host", "manual")
    assert fix.summary.startswith("on the host, not in this container: ")


def test_an_import_that_is_killed_for_want_of_memory() -> None:
    """That the memory is used up follows from it."""
    killed = TorchImport(outcome="signal", signal="SIGKILL", seconds=1.0)
    idle = {"memory_bytes": 64 * GIB, "memory_available_bytes": GIB}
    snapshot = machine(killed, Host={**idle, "huge_pages": (pool(48, idle=48),)})
    root, *rest = report_on(snapshot).findings
    assert (root.name, root.severity.value) == ("huge-pages-idle", "error")
    assert {one.because for one in rest} == {root.id}
    assert "memory-exhausted" in {one.name for one in rest}


# --- what the kernel shows ---


MEMINFO = """MemTotal:       65740544 kB
MemAvailable:    4128772 kB
AnonHugePages:   1204224 kB
HugePages_Total:   {total}
HugePages_Free:    {free}
HugePages_Rsvd:      16
HugePages_Surp:        0
Hugepagesize:       2048 kB
"""


@pytest.fixture
def tree(tmp_path: Any) -> Tree:
    return Tree(tmp_path)


def pages_of(tree: Tree) -> tuple[HugePagePool, ...]:
    return read_host(tree.context()).huge_pages


def in_sysfs(tree: Tree, kibibytes: int, total: int, free: int, reserved: int) -> None:
    folder = f"sys/kernel/mm/hugepages/hugepages-{kibibytes}kB"
    names = ("nr_hugepages", "free_hugepages", "resv_hugepages")
    for name, number in zip(names, (total, free, reserved), strict=True):
        tree.file(f"{folder}/{name}", f"{number}\n")


def test_the_pool_of_the_default_size(tree: Tree) -> None:
    """In a container or recording without sysfs, and by a kernel before 4.19."""
    tree.file("proc/meminfo", MEMINFO.format(total=1024, free=512))
    (only,) = pages_of(tree)
    assert only == HugePagePool(page_bytes=2 * MIB, total=1024, free=512, reserved=16)
    assert (only.idle, only.idle_bytes) == (496, 992 * MIB)


def test_pools_of_other_sizes(tree: Tree) -> None:
    """Of which /proc/meminfo tells the sum alone."""
    tree.file("proc/meminfo", f"{MEMINFO.format(total=0, free=0)}Hugetlb:  50331648 kB\n")
    in_sysfs(tree, 2048, 0, 0, 0)
    in_sysfs(tree, 1048576, 48, 40, 1)
    assert pages_of(tree) == (HugePagePool(page_bytes=GIB, total=48, free=40, reserved=1),)


def test_where_there_are_none_sysfs_is_not_read(tree: Tree) -> None:
    tree.file("proc/meminfo", f"{MEMINFO.format(total=0, free=0)}Hugetlb:         0 kB\n")
    in_sysfs(tree, 2048, 9, 9, 0)
    assert pages_of(tree) == ()


@pytest.mark.parametrize("text", ["", "MemTotal: 1 kB\n", "HugePages_Total: x\n"])
def test_a_kernel_without_huge_pages(tree: Tree, text: str) -> None:
    """As gVisor is one."""
    tree.file("proc/meminfo", text)
    assert pages_of(tree) == ()
    assert read_host(tree.context()).transparent_huge_pages is None


def test_transparent_huge_pages(tree: Tree) -> None:
    folder = "sys/kernel/mm/transparent_hugepage"
    tree.file(f"{folder}/enabled", "always [madvise] never\n")
    tree.file(f"{folder}/defrag", "always defer [defer+madvise] madvise never\n")
    read = read_host(tree.context())
    assert read.transparent_huge_pages == "madvise"
    assert read.transparent_huge_page_defrag == "defer+madvise"


def test_the_pools_of_this_machine(children: Children) -> None:
    """As /proc/meminfo sums them up."""
    with open("/proc/meminfo", encoding="ascii") as file:
        told = dict(line.split(":") for line in file)
    pools = read_host(context_of(children)).huge_pages
    kibibytes = sum(one.total * one.page_bytes for one in pools) // 1024
    assert kibibytes == int(told.get("Hugetlb", "0 kB").split()[0])


def test_an_older_document_has_none() -> None:
    fields = Host.__struct_fields__
    assert {"huge_pages", "transparent_huge_pages"} <= {*fields}
    assert read_older() == ((), None, None)


def read_older() -> tuple[Any, ...]:
    import msgspec

    plain = msgspec.to_builtins(machine().value(Host))
    for name in ("huge_pages", "transparent_huge_pages", "transparent_huge_page_defrag"):
        plain.pop(name)
    old = msgspec.convert(plain, Host)
    return old.huge_pages, old.transparent_huge_pages, old.transparent_huge_page_defrag
