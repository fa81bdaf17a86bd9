"""Builds of one package under several names: each brings the same files, and the last one wins."""

from collections.abc import Iterator

from packaging.utils import canonicalize_name

from envdoctor.api import (
    Code,
    DamagedDistribution,
    Distribution,
    Distributions,
    Findings,
    InstalledFiles,
    Layer,
    Severity,
    Site,
    TorchBuild,
    check,
    packages,
)
from envdoctor_checks.against_torch import installed

SAME_FILES = Code(
    id="ED108",
    name="two-owners-of-files",
    family="two-owners-of-files",
    severity=Severity.WARNING,
    topic="python",
    layer=Layer.FILES,
    message="two distributions own the same files",
    detailed="{names} own the same files, `{folder}/`: the one that was installed last is in use",
)

_BUILDS = {
    "onnxruntime": (
        "onnxruntime",
        "onnxruntime-gpu",
        "onnxruntime-openvino",
        "onnxruntime-training",
        "onnxruntime-rocm",
        "onnxruntime-qnn",
    ),
    "cupy": ("cupy", "cupy-cuda11x", "cupy-cuda12x", "cupy-cuda13x"),
    "tensorflow": ("tensorflow", "tensorflow-cpu"),
    "faiss": ("faiss-cpu", "faiss-gpu", "faiss-gpu-cu11", "faiss-gpu-cu12"),
    "triton": ("triton", "pytorch-triton", "pytorch-triton-rocm", "pytorch-triton-xpu"),
}
"""By the folder that all of them bring: the builds of one package on PyPI or PyTorch's index (the
packages' own installation pages, which say that only one of them may be installed)."""


@check(SAME_FILES)
def same_files(distributions: Distributions, build: TorchBuild | None, site: Site) -> Findings:
    """Two builds of one package lie in one folder: removing either takes files of the other."""
    for folder, names in _BUILDS.items():
        found = [one for name in names for one in distributions.named(name)]
        found = [one for one in found if one.location == found[0].location]
        if len({one.name for one in found}) < 2:
            continue
        kept = _wanted(found, build)
        yield SAME_FILES.finding(
            subjects=tuple(one.name for one in found),
            breaks=(f"import:{folder}",),
            names=" and ".join(f"{one.name} {one.version}" for one in found),
            folder=folder,
            evidence=tuple(map(installed, found)),
            fixes=(
                packages.keep_one_set(
                    site,
                    gone=[one for one in found if one is not kept],
                    kept=[kept],
                    summary=f"keep one of them, {kept.name}: uninstall the rest, and install it "
                    "again, as its files go with them",
                ),
            ),
        )


@check(SAME_FILES)
def overwritten_files(files: InstalledFiles, distributions: Distributions, site: Site) -> Findings:
    """A distribution has put its own files in the place of those that another one lists, as
    functorch does with the folder that torch has brought since 1.13."""
    owners = {one.metadata_path: one for one in distributions.items}
    for item in files.damaged:
        owner = owners.get(item.metadata_path)
        if owner is None:
            continue
        for folder, other in overwritten(item, owner, distributions).items():
            yield SAME_FILES.finding(
                subjects=(other.name, owner.name),
                breaks=(f"import:{other.name}",),
                names=f"{other.name} {other.version} and {owner.name} {owner.version}",
                folder=folder,
                evidence=(installed(other), installed(owner)),
                fixes=(
                    packages.keep_one_set(
                        site,
                        gone=[other],
                        kept=[owner],
                        summary=f"uninstall {other.name}, whose folder {owner.name} brings, and "
                        f"then restore {owner.name}, as files of it go with that",
                    ),
                ),
            )


def overwritten(
    item: DamagedDistribution, owner: Distribution | None, distributions: Distributions
) -> dict[str, Distribution]:
    """By the folders of a damaged distribution in which a file is there and is another: the
    distribution in the same place that is called like that folder."""
    if owner is None:
        return {}
    folders = {file.path.partition("/")[0] for file in item.files if file.kind in ("size", "hash")}
    found = {folder: distributions.named(canonicalize_name(folder)) for folder in folders}
    return {
        folder: one
        for folder, named in sorted(found.items())
        for one in named
        if one.location == owner.location and one.name != owner.name
    }


def _wanted(found: list[Distribution], build: TorchBuild | None) -> Distribution:
    """The one that serves the device of the installed torch."""
    cuda = build.cuda if build else None
    return min(found, key=lambda one: tuple(_unfit(one.name, cuda)))


def _unfit(name: str, cuda: str | None) -> Iterator[bool]:
    major = cuda.partition(".")[0] if cuda else ""
    of_gpu = "gpu" in name or "cuda" in name
    yield of_gpu is not bool(cuda)
    yield bool(major) and major not in name
