"""The verdict on one claimed part, and what all rules decide from."""

import re
from collections.abc import Callable, Iterable

from packaging.specifiers import SpecifierSet

from envdoctor.fits.claims import Claim
from envdoctor.fits.words import Build
from envdoctor.knowledge import Knowledge
from envdoctor.record import Record
from envdoctor.versions import parse_version

_ARM_HOSTS = re.compile(r"\b(GH200|GB10|GB200|GB300|Jetson|Orin|Thor|Xavier|DGX Spark)\b", re.I)
"""GPUs that are built into Arm machines alone (NVIDIA's own pages of these products)."""


class Part(Record):
    """The verdict on one claimed part; `ok` is null where the data cannot tell."""

    name: str
    claimed: str
    ok: bool | None
    reason: str
    source: str


class Data(Record):
    """What the rules decide from.

    `capability` and `vendor` are those of the claimed GPU, `machine` and `platform` the host that
    is claimed or that the GPU is built into, `torch` what is claimed, `rocm` whether that is.
    `driver_os` is the system by which drivers are numbered: under WSL it is Windows.
    """

    knowledge: Knowledge
    capability: str | None = None
    vendor: str | None = None
    machine: str | None = None
    platform: str = "linux"
    driver_os: str = "linux"
    torch: str | None = None
    rocm: bool = False


def published(knowledge: Knowledge) -> list[Build]:
    """All builds that a source confirms."""
    return [
        (release, variant)
        for release in knowledge.releases
        for variant in (*release.variants, *release.aarch64)
        if variant.status != "unverified"
    ]


def data_for(claims: Iterable[Claim], knowledge: Knowledge) -> Data:
    """What the rules need beside the claims."""
    values = {claim.name: claim.value for claim in claims}
    gpu = values.get("gpu")
    named = knowledge.named(gpu) if gpu else None
    platform = values.get("platform", "linux")
    arm = "aarch64" if gpu and _ARM_HOSTS.search(gpu) else None
    return Data(
        knowledge=knowledge,
        capability=named.capability if named else None,
        vendor=named.vendor if named else None,
        machine=values.get("arch") or arm,
        platform="linux" if platform == "wsl" else platform,
        driver_os="windows" if platform in ("windows", "wsl") else "linux",
        torch=values.get("torch"),
        rocm="rocm" in values,
    )


def possible(data: Data) -> list[Build]:
    """The builds that are for the claimed host."""
    builds = published(data.knowledge)
    if data.machine is None:
        return builds
    return [one for one in builds if one[1].machine == data.machine]


def states(claimed: str, actual: str | None) -> bool:
    """Whether a version has the claimed one as its beginning (8.9 states 8.9.2.26), or is in the
    claimed range (>=2.4,<2.6)."""
    if actual is None:
        return False
    if claimed[0] in "<>~!":
        version = parse_version(actual)
        return version is not None and version in SpecifierSet(claimed)
    wanted = claimed.partition("+")[0].removesuffix(".*").split(".")
    return actual.split(".")[: len(wanted)] == wanted


Ruled = tuple[Part, list[Build]]
Rule = Callable[[Claim, list[Build], Data], Ruled]


def ruled(
    claim: Claim, builds: list[Build], kept: list[Build], good: str, bad: str, source: str
) -> Ruled:
    """Right if some builds are left; else the builds before it stay, to judge the rest by."""
    ok = bool(kept)
    part = Part(
        name=claim.name,
        claimed=claim.value,
        ok=ok,
        reason=good if ok else bad,
        source=source,
    )
    return part, kept if ok else builds


def unknown(claim: Claim, reason: str) -> Part:
    """The verdict where the data cannot tell: nothing is cited."""
    return Part(name=claim.name, claimed=claim.value, ok=None, reason=reason, source="")
