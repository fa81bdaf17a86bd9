"""The machines beside their GPUs: system, CPU, limits, container, compilers, network."""

from collections.abc import Iterator
from typing import Any

from packaging.version import Version

from envdoctor.compare.pair import Examined, Found, Pair, Swap, swap_fields
from envdoctor.compare.records import Difference, Part, Weight
from envdoctor.facts import Fact
from envdoctor.facts.machine import Container, Host, HostCompiler, Limits, Toolkits
from envdoctor.facts.network import Network
from envdoctor.findings import Layer
from envdoctor.record import Record
from envdoctor.versions import parse_version


class _Field(Record):
    """A field of a fact that is compared, in words, and what it can break."""

    kind: type[Fact]
    field: str
    words: str
    weight: Weight
    part: Part = "system"
    layer: Layer = Layer.FIRST_USE
    can_break: tuple[str, ...] = ()


_ALL = ("import:torch", "compute")
_CONTAINER = ("compute:gpu",)

_FIELDS = (
    _Field(kind=Host, field="machine", words="the machine is", weight="stops", can_break=_ALL),
    _Field(
        kind=Host,
        field="glibc",
        words="glibc",
        weight="matters",
        layer=Layer.LIBRARIES,
        can_break=("import:torch",),
    ),
    _Field(kind=Host, field="os", words="the system is", weight="little", layer=Layer.LIBRARIES),
    _Field(kind=Host, field="kernel", words="the kernel is", weight="little", layer=Layer.BUS),
    _Field(
        kind=Host,
        field="cpu_flags",
        words="the CPU has",
        weight="matters",
        layer=Layer.SPEED,
        can_break=("speed",),
    ),
    _Field(
        kind=Host,
        field="cpu_name",
        words="the CPU is",
        weight="little",
        layer=Layer.SPEED,
        can_break=("speed",),
    ),
    _Field(
        kind=Limits,
        field="usable_cpus",
        words="CPUs that this process may use:",
        weight="matters",
        layer=Layer.SPEED,
        can_break=("speed",),
    ),
    _Field(
        kind=Limits,
        field="cgroup_memory_bytes",
        words="the memory of the cgroup is limited to",
        weight="matters",
        layer=Layer.FIRST_USE,
        can_break=("compute:cpu",),
    ),
    _Field(
        kind=Limits,
        field="shm_bytes",
        words="/dev/shm holds",
        weight="matters",
        layer=Layer.FIRST_USE,
        can_break=("distributed", "speed"),
    ),
    _Field(
        kind=Host,
        field="transparent_huge_pages",
        words="transparent huge pages:",
        weight="little",
        layer=Layer.SPEED,
    ),
    _Field(kind=Limits, field="open_files", words="files that may be open:", weight="little"),
    _Field(
        kind=Container,
        field="kind",
        words="the container:",
        weight="matters",
        part="container",
        layer=Layer.DEVICE_NODES,
        can_break=_CONTAINER,
    ),
    _Field(
        kind=Container,
        field="nvidia_runtime",
        words="the NVIDIA runtime of the container:",
        weight="matters",
        part="container",
        layer=Layer.DEVICE_NODES,
        can_break=_CONTAINER,
    ),
    _Field(
        kind=Container,
        field="wsl",
        words="WSL:",
        weight="matters",
        part="container",
        layer=Layer.DEVICE_NODES,
        can_break=_CONTAINER,
    ),
    _Field(
        kind=Toolkits,
        field="items",
        words="the CUDA toolkit is",
        weight="matters",
        part="toolkit",
        layer=Layer.BUILD,
        can_break=("extend",),
    ),
    _Field(
        kind=HostCompiler,
        field="version",
        words="gcc",
        weight="matters",
        part="toolkit",
        layer=Layer.BUILD,
        can_break=("extend",),
    ),
    _Field(
        kind=Network,
        field="active_ports",
        words="InfiniBand and RoCE ports that carry data:",
        weight="matters",
        part="network",
        can_break=("distributed",),
    ),
    _Field(
        kind=Network,
        field="own_name",
        words="in /etc/hosts the machine's own name is",
        weight="matters",
        part="network",
        can_break=("distributed",),
    ),
    _Field(
        kind=Network,
        field="master",
        words="MASTER_ADDR is this machine's",
        weight="matters",
        part="network",
        can_break=("distributed",),
    ),
    _Field(
        kind=Network,
        field="peer_memory",
        words="nvidia_peermem is loaded:",
        weight="matters",
        part="network",
        can_break=("distributed", "speed"),
    ),
)

_NAMED = ("glibc", "shm_bytes")
"""What findings call by the first word of its sentence."""

_SAME_WITHIN = 0.1
"""Sizes that differ by less than a tenth are those of the same machine type."""


def differences(pair: Pair) -> Iterator[Found]:
    """Each field in which the machines differ."""
    for one in _FIELDS:
        both = pair.both(one.kind)
        if both is None:
            continue
        first, second = (getattr(fact, one.field) for fact in both)
        values = _shown(one, first), _shown(one, second)
        if values[0] == values[1] or "" in values or _is_about(first, second):
            continue
        yield Found(
            difference=Difference(
                part=one.part,
                name=one.field,
                sentence=_sentence(pair, one, first, second, values),
                first=values[0],
                second=values[1],
                weight="little" if _is_alike(pair, one, values) else one.weight,
                layer=one.layer,
                can_break=one.can_break,
            ),
            swap=_swap(one),
            words=(one.words.partition(" ")[0],) if one.field in _NAMED else (),
        )


def _is_alike(pair: Pair, one: _Field, values: tuple[str, str]) -> bool:
    """Whether it is another version that does the same: CUDA and the ABI of C++ ask for a major
    version of gcc, and both builds of torch run with either glibc."""
    if one.kind is HostCompiler:
        return len({value.partition(".")[0] for value in values}) == 1
    floors = [_glibc_of_torch(pair, side) for side in (pair.first, pair.second)]
    if one.field != "glibc" or None in floors:
        return False
    least = max(Version(floor) for floor in floors if floor)
    return all(found is not None and found >= least for found in map(parse_version, values))


def _glibc_of_torch(pair: Pair, side: Examined) -> str | None:
    """The least glibc that the torch of that side runs with; None where it is not published."""
    version, host = side.report.stack.torch_version, side.value(Host)
    local = version.partition("+")[2] if version else ""
    if not version or not local or host is None or host.machine is None:
        return None
    variant = pair.knowledge.variant(version, local, host.machine)
    return variant.glibc if variant else None


def _swap(one: _Field) -> Swap:
    """A property goes with the whole fact."""
    names = () if one.field == "active_ports" else (one.field,)
    extra = ("shm_free_bytes",) if one.field == "shm_bytes" else ()
    return swap_fields(one.kind, *names, *extra)


def _sentence(pair: Pair, one: _Field, first: Any, second: Any, values: tuple[str, str]) -> str:
    if one.field == "cpu_flags":
        lacks = [", ".join(sorted(set(a) - set(b))) for a, b in ((first, second), (second, first))]
        told = [
            f"{has} only {at}"
            for has, at in zip(lacks, (pair.names.at_first, pair.names.at_second), strict=True)
            if has
        ]
        return f"{one.words} {', '.join(told)}"
    return f"{one.words} {pair.each(*values)}"


def _is_about(first: Any, second: Any) -> bool:
    """Whether two sizes are equal but for what a system keeps for itself."""
    sizes = (first, second)
    if not all(isinstance(one, int) and not isinstance(one, bool) and one > 2**20 for one in sizes):
        return False
    return bool(abs(first - second) <= _SAME_WITHIN * max(sizes))


_UNLIMITED = {"cgroup_memory_bytes": "no limit", "wsl": "no", "items": "none", "master": "not set"}
"""What null or nothing means, where it does not mean that nobody knows."""


def _shown(one: _Field, value: Any) -> str:
    if value is None or value == "unknown":
        return _UNLIMITED.get(one.field, "")
    if one.field == "items":
        return next((tool.version or "of unknown version" for tool in value), "none")
    if one.field == "active_ports":
        return str(len(value))
    if one.field.endswith("_bytes"):
        return f"{value / 2**30:.1f} GiB" if value >= 2**29 else f"{value / 2**20:.0f} MiB"
    if isinstance(value, tuple):
        return ", ".join(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
