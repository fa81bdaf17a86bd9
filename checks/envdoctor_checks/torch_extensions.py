"""Packages with compiled code for torch: xformers, vllm, flash-attn, bitsandbytes ..."""

import re

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from envdoctor.api import (
    Code,
    Confidence,
    Distribution,
    Distributions,
    Evidence,
    ExtensionRelease,
    Findings,
    Fix,
    Knowledge,
    Layer,
    Severity,
    Site,
    TorchBuild,
    Wanted,
    check,
    doctor,
    packages,
    parse_version,
)
from envdoctor_checks.against_torch import (
    BUILT_FOR,
    installed,
    of_torch,
    stated_requirement,
)

EXTENSION_MISMATCH = Code(
    id="ED373",
    name="extension-mismatch",
    family="extension-abi-mismatch",
    severity=Severity.WARNING,
    topic="companions",
    layer=Layer.FILES,
    breaks="import",
    message="an extension was made for another torch",
    detailed=BUILT_FOR,
)
BITSANDBYTES_NO_CUDA_BINARY = Code(
    id="ED374",
    name="bitsandbytes-no-cuda-binary",
    family="bitsandbytes-no-cuda-binary",
    severity=Severity.WARNING,
    topic="companions",
    layer=Layer.FILES,
    breaks="import:bitsandbytes",
    message="bitsandbytes has no code for the CUDA of this torch",
    detailed="bitsandbytes {version} has no code for CUDA {cuda}, which torch {torch} is built "
    "with",
)
_NOT_EXTENSIONS = ("torch", "torchvision", "torchaudio", "torchtext")
_IMPORTED = ("torchcodec",)
"""What the doctor imports: that it was seen to work outweighs what it was made for."""
_LOCAL_TORCH = (
    re.compile(r"torch(?P<major>\d+)\.(?P<minor>\d+)"),
    re.compile(r"pt(?P<major>\d)(?P<minor>\d+)(?:cu|cpu)"),
)
"""How wheels name the torch they were compiled for in their local version: flash-attn's
`2.8.3+cu12torch2.8cxx11abiTRUE`, PyTorch Geometric's `2.1.2+pt25cu121`."""


@check(EXTENSION_MISMATCH)
def extension_of_another_torch(
    build: TorchBuild,
    distributions: Distributions,
    known: Knowledge,
    site: Site,
) -> Findings:
    """An extension (xformers, vllm, flash-attn ...) was compiled for another torch."""
    torch = parse_version(build.version)
    if torch is None:
        return
    seen: set[str] = set()
    for item in distributions.items:
        if item.name in seen or item.name in _NOT_EXTENSIONS:
            continue
        seen.add(item.name)
        found = _local_mismatch(item, torch) or _known_mismatch(item, torch, known)
        if found is None:
            continue
        wanted, said = found
        yield EXTENSION_MISMATCH.finding(
            subjects=(item.name,),
            severity=Severity.ERROR if item.name in _IMPORTED else Severity.WARNING,
            breaks=(f"import:{item.name}",),
            confidence=Confidence.LIKELY,
            package=item.name,
            version=item.version,
            wanted=wanted,
            torch=build.version,
            evidence=(installed(item), of_torch(build), said),
            fixes=(_other_release(item, torch, known, site),),
        )


def _local_mismatch(item: Distribution, torch: Version) -> tuple[str, Evidence] | None:
    local = item.version.partition("+")[2]
    for pattern in _LOCAL_TORCH:
        match = pattern.search(local)
        if match and (int(match["major"]), int(match["minor"])) != torch.release[:2]:
            said = Evidence(label="local version", value=local, source=item.metadata_path)
            return f"{match['major']}.{match['minor']}", said
    return None


def _known_mismatch(
    item: Distribution, torch: Version, known: Knowledge
) -> tuple[str, Evidence] | None:
    """Only for packages that the data knows as extensions: others may pin torch for no reason."""
    if not known.extensions(item.name):
        return None
    stated = stated_requirement(item)
    release = known.extension(item.name, item.version)
    source = item.metadata_path
    if stated is None and release:
        stated, source = _made_for(release), release.source
    if stated is None or stated.contains(torch.public, prereleases=True):
        return None
    said = Evidence(label="requires", value=f"torch{stated}", source=source)
    return str(stated).removeprefix("=="), said


def _made_for(release: ExtensionRelease) -> SpecifierSet | None:
    """The torch that a release requires, is paired with by its makers, or was compiled for.

    Compiled code serves the patch releases of one minor release. Of a release with builds for
    several (torchao 0.12: `2.5.0, 2.6.0, 2.7.1`) only the oldest is a bound; where each torch has a
    wheel of its own (flash-attn: `2.2.2..2.6.0`) the version does not tell which was taken.
    """
    stated = release.requires_torch or release.pairs_with_torch
    if stated:
        return SpecifierSet(stated)
    built = [one.strip() for one in (release.built_for_torch or "").split(";")[0].split(",")]
    if not built[0] or ".." in built[0]:
        return None
    if built[0].startswith(">="):
        return SpecifierSet(built[0])
    if len(built) > 1:
        return SpecifierSet(f">={built[0]}")
    major, minor = Version(built[0]).release[:2]
    return SpecifierSet(f"=={major}.{minor}.*")


def _other_release(item: Distribution, torch: Version, known: Knowledge, site: Site) -> Fix:
    fitting = [
        one.version
        for one in known.extensions(item.name)
        if (wanted := _made_for(one)) is not None and torch.public in wanted
    ]
    if not fitting:
        return Fix(
            summary=f"install a build of {item.name} for torch {torch.public}, or compile it here"
        )
    summary = f"install {item.name} {fitting[-1]}, which admits torch {torch.public}"
    return packages.install(site, f"{item.name}=={fitting[-1]}", summary=summary, beside=item)


@check(BITSANDBYTES_NO_CUDA_BINARY)
def bitsandbytes_without_binary(
    build: TorchBuild,
    distributions: Distributions,
    known: Knowledge,
    wanted: Wanted | None,
    site: Site,
) -> Findings:
    """The installed bitsandbytes ships no code for torch's CUDA.

    It imports all the same, and works on the CPU: it matters where a GPU is to be used.
    """
    item = distributions.first("bitsandbytes")
    binaries = known.binaries("bitsandbytes", item.version) if item else None
    if item is None or binaries is None or build.cuda is None or build.cuda in binaries.cuda:
        return
    used = wanted is None or wanted.gpu in ("yes", "unknown")
    yield BITSANDBYTES_NO_CUDA_BINARY.finding(
        severity=Severity.WARNING if used else Severity.INFO,
        version=item.version,
        cuda=build.cuda,
        torch=build.version,
        evidence=(
            installed(item),
            of_torch(build),
            Evidence(label="has code for", value=" ".join(binaries.cuda), source=binaries.source),
        ),
        fixes=(
            doctor.other_builds(
                site,
                f"use a torch built for CUDA {', '.join(binaries.cuda[-3:])}, or another release "
                "of bitsandbytes",
            ),
        ),
    )
