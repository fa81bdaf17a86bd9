"""The published combinations that are most like a claimed one."""

from collections.abc import Iterable, Sequence

from packaging.version import Version

from envdoctor.fits.claims import Claim
from envdoctor.fits.judge import judge
from envdoctor.fits.verdict import Data, possible
from envdoctor.fits.words import Build
from envdoctor.record import Record
from envdoctor.versions import parse_number

_KEEP_ONE_OF = ("torch", "cuda", "cudnn")
_GIVEN = ("arch", "platform", "python", "glibc", "os", "gpu", "driver")


class Combination(Record):
    """A combination that was published, and the claimed parts that it keeps."""

    torch: str
    variant: str
    cuda: str | None
    cudnn: str | None
    nccl: str | None
    keeps: tuple[str, ...]
    source: str


def nearest(claims: Iterable[Claim], data: Data) -> tuple[Combination, ...]:
    """Builds that work with what cannot be chosen (GPU, driver, Python, system) and keep most of
    the rest: the one that keeps torch, the one that keeps CUDA, the one that keeps cuDNN.

    Where none of these can be kept, the build whose torch is nearest.
    """
    claimed = tuple(claims)
    if data.rocm:
        return ()
    scored = [_scored(claimed, one, data) for one in possible(data) if one[1].cuda is not None]
    given = {claim.name for claim in claimed} & set(_GIVEN)
    usable = [one for one in scored if given <= set(one.kept)]
    if not usable:
        return ()
    best: list[_Scored] = []
    for name in _KEEP_ONE_OF:
        keeping = [one for one in usable if name in one.kept]
        if keeping:
            best.append(max(keeping, key=_likeness))
    best = best or [max(usable, key=_likeness)]
    found = {(one.build[0].version, one.build[1].tag): _combination(one) for one in best}
    return tuple(found.values())


class _Scored(Record):
    """A build, the claimed parts that it has, and how far its torch and CUDA are from the claim."""

    build: Build
    kept: tuple[str, ...]
    torch_away: float
    cuda_away: float


def _scored(claims: tuple[Claim, ...], build: Build, data: Data) -> _Scored:
    values = {claim.name: claim.value for claim in claims}
    release, variant = build
    parts = judge(claims, data, [build])
    return _Scored(
        build=build,
        kept=tuple(part.name for part in parts if part.ok),
        torch_away=_distance(values.get("torch"), release.version),
        cuda_away=_distance(values.get("cuda"), variant.cuda or ""),
    )


def _likeness(one: _Scored) -> tuple[int, float, float, bool, Version]:
    release, variant = one.build
    is_default = variant.tag == release.pypi_variant
    return len(one.kept), -one.torch_away, -one.cuda_away, is_default, Version(release.version)


def _distance(claimed: str | None, actual: str) -> float:
    """How far two versions are apart, a major counting 1000 minors and a minor 1000 patches."""
    if claimed is None:
        return 0.0
    pairs = zip(_numbers(claimed), _numbers(actual), (1e6, 1e3, 1.0), strict=False)
    return abs(sum((one - other) * weight for one, other, weight in pairs))


def _numbers(version: str) -> Sequence[int]:
    parts = version.partition("+")[0].split(".")
    return [parse_number(part) or 0 for part in parts]


def _combination(one: _Scored) -> Combination:
    release, variant = one.build
    return Combination(
        torch=release.version,
        variant=variant.tag,
        cuda=variant.cuda,
        cudnn=variant.cudnn,
        nccl=variant.nccl,
        keeps=one.kept,
        source=variant.source,
    )
