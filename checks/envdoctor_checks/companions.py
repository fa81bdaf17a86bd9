"""Torchvision, torchaudio and torchtext: whether each was made for the installed torch."""

import re
from collections.abc import Iterator

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from envdoctor.api import (
    Code,
    CompanionImport,
    CompanionImports,
    Companions,
    Distribution,
    Distributions,
    Evidence,
    Findings,
    Fix,
    Knowledge,
    Layer,
    Severity,
    Site,
    TorchBuild,
    check,
    doctor,
    is_default,
    packages,
    paired_version,
    parse_version,
    pytorch_source,
)
from envdoctor_checks.against_torch import (
    BUILT_FOR,
    base_of,
    has_its_own_torch,
    installed,
    is_of_another_release,
    of_torch,
    stated_requirement,
)

TORCHVISION_MISMATCH = Code(
    id="ED370",
    name="torchvision-mismatch",
    family="torchvision-mismatch",
    severity=Severity.ERROR,
    topic="companions",
    layer=Layer.FILES,
    breaks="import:torchvision",
    message="torchvision was made for another torch",
    detailed=BUILT_FOR,
)
TORCHAUDIO_MISMATCH = Code(
    id="ED371",
    name="torchaudio-mismatch",
    family="torchaudio-mismatch",
    severity=Severity.ERROR,
    topic="companions",
    layer=Layer.FILES,
    breaks="import:torchaudio",
    message="torchaudio was made for another torch",
    detailed=BUILT_FOR,
)
TORCHTEXT_MISMATCH = Code(
    id="ED372",
    name="torchtext-mismatch",
    family="extension-abi-mismatch",
    severity=Severity.ERROR,
    topic="companions",
    layer=Layer.FILES,
    breaks="import:torchtext",
    message="torchtext was made for another torch",
    detailed=BUILT_FOR,
)
PAIRED = {
    "torchvision": TORCHVISION_MISMATCH,
    "torchaudio": TORCHAUDIO_MISMATCH,
    "torchtext": TORCHTEXT_MISMATCH,
}
"""What is released together with torch, one release of each for one of torch."""
_BOUND_BELOW = ("torchtext",)
"""What requires a torch that is not older (`torch>=2.3.0`), and was compiled for that minor release
alone: its last release does not load with any later one."""


@check(TORCHVISION_MISMATCH, TORCHAUDIO_MISMATCH, TORCHTEXT_MISMATCH)
def companion_of_another_torch(
    build: TorchBuild,
    distributions: Distributions,
    companions: CompanionImports | None,
    known: Knowledge,
    site: Site,
) -> Findings:
    """Torchvision, torchaudio or torchtext is of another release than torch, or another build."""
    torch = parse_version(build.version)
    if torch is None:
        return
    for name, code in PAIRED.items():
        item = distributions.first(name)
        seen = companions.named(name) if companions else None
        wanted = _unmet(item, torch, build, known) if item else None
        if item is not None and wanted is None and seen is not None:
            wanted = _refused_for_its_cuda(item, seen, build)
        if item is None or wanted is None or has_its_own_torch(item, distributions):
            continue
        if _fits_what_is_listed(item, build, distributions):
            continue
        yield code.finding(
            package=name,
            version=item.version,
            wanted=wanted[0],
            torch=build.version,
            evidence=(installed(item), of_torch(build), wanted[1]),
            fixes=tuple(pairing(name, item, build, known, site)),
            notes=(
                "its compiled code calls that of one torch release: operators are missing, or "
                "the import fails with an undefined symbol",
            ),
        )


def _fits_what_is_listed(
    item: Distribution, build: TorchBuild, distributions: Distributions
) -> bool:
    """Whether it was made for the torch that the metadata lists, and the files are those of another
    release: then these are in the wrong place."""
    listed, stated = distributions.first("torch"), stated_requirement(item)
    if listed is None or stated is None or not is_of_another_release(listed.version, build):
        return False
    return stated.contains(base_of(listed.version), prereleases=True)


def _unmet(
    item: Distribution, torch: Version, build: TorchBuild, known: Knowledge
) -> tuple[str, Evidence] | None:
    """The torch that it wants and does not have, with what says so."""
    stated = stated_requirement(item)
    if stated is not None:
        if not stated.contains(torch.public, prereleases=True):
            said = Evidence(label="requires", value=f"torch{stated}", source=item.metadata_path)
            return str(stated).removeprefix("=="), said
        if item.name not in _BOUND_BELOW:
            return _other_cuda(item, build)
    for pair in known.companions_file.pairs:
        if base_of(item.version) in getattr(pair, item.name):
            if _fits_pair(item, pair, torch, known):
                return _other_cuda(item, build)
            said = Evidence(label="published with", value=f"torch {pair.torch}", source=pair.source)
            return pair.torch, said
    return None


def _fits_pair(item: Distribution, pair: Companions, torch: Version, known: Knowledge) -> bool:
    """Whether that torch is the paired one, or the companion admits it.

    The data pairs a free release (torchaudio 2.11.0) with the torch that it came out for.
    """
    paired = Version(pair.torch)
    if paired == Version(torch.public):
        return True
    if item.name in _BOUND_BELOW and paired.release[:2] == torch.release[:2]:
        return True
    admitted = pair.admits.get(item.name)
    if admitted and torch.public in SpecifierSet(admitted):
        return True
    release = known.release(torch.public)
    return release is not None and paired_version(
        item.name, item.version, release, known
    ) == base_of(item.version)


def _other_cuda(item: Distribution, build: TorchBuild) -> tuple[str, Evidence] | None:
    """The local version names another CUDA major, or none, than torch's own build."""
    tag = item.version.partition("+")[2]
    ours = f"cu{(build.cuda or '').replace('.', '')}" if build.cuda else "cpu"
    if not re.fullmatch(r"cu\d+|cpu", tag) or tag[:-1] == ours[:-1]:
        return None
    said = Evidence(label="built for", value=tag, source=item.metadata_path)
    return f"built for {tag}", said


def _refused_for_its_cuda(
    item: Distribution, seen: CompanionImport, build: TorchBuild
) -> tuple[str, Evidence] | None:
    """The import says itself that it is for another CUDA: torchaudio up to 2.11 asks for the same
    minor release (pytorch/audio#4226)."""
    said = _OF_OTHER_CUDA.search(seen.message) if seen.outcome == "exception" else None
    if said is None or build.cuda is None or said[1] == build.cuda:
        return None
    evidence = Evidence(label=f"import {item.name}", value=said[0], source="the exception")
    return f"built for CUDA {said[1]}", evidence


_OF_OTHER_CUDA = re.compile(
    r"compiled with different CUDA (?:major )?versions\.(?s:.*?)"
    r"(?:TorchAudio|torchvision) has CUDA [vV]ersion[ =](\d+\.\d+)"
)


def pairing(
    name: str, item: Distribution, build: TorchBuild, known: Knowledge, site: Site
) -> Iterator[Fix]:
    """The release and the build of a companion that go with the installed torch."""
    release = known.release(build.version or "")
    if release is None:
        return
    paired = paired_version(name, None, release, known)
    if paired is None:
        summary = (
            f"no {name} was published for torch {release.version}: do without it, or list older "
            "builds that fit"
        )
        yield doctor.other_builds(site, summary)
        return
    variant = known.variant(release.version, build.variant)
    other_index = variant is not None and not is_default(release, variant)
    yield packages.install(
        site,
        f"{name}=={paired}",
        summary=f"install {name} {paired}, which was made for torch {release.version}",
        source=pytorch_source(build.variant, release.version, machine=site.machine)
        if other_index
        else None,
        again=base_of(item.version) == paired,
        beside=item,
    )
