"""Packages with compiled code for torch: xformers, vllm, flash-attn, bitsandbytes ..."""

import re

from packaging.version import Version

from envdoctor.api import (
    PYTORCHS_OWN,
    Code,
    Confidence,
    Distribution,
    Distributions,
    Evidence,
    Findings,
    Interpreter,
    Knowledge,
    Layer,
    Severity,
    Site,
    TorchBuild,
    Wanted,
    check,
    doctor,
    library_of,
    parse_version,
)
from envdoctor_checks.against_torch import (
    BUILT_FOR,
    installed,
    of_torch,
    stated_requirement,
)
from envdoctor_checks.matching_release import made_for, matching_release

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
    interpreter: Interpreter | None,
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
            severity=Severity.ERROR if item.name in PYTORCHS_OWN else Severity.WARNING,
            breaks=(f"import:{library_of(item.name)}",),
            confidence=Confidence.LIKELY,
            package=item.name,
            version=item.version,
            wanted=wanted,
            torch=build.version,
            evidence=(installed(item), of_torch(build), said),
            fixes=(matching_release(item, build, interpreter, known, site),),
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
        stated, source = made_for(release), release.source
    if stated is None or stated.contains(torch.public, prereleases=True):
        return None
    said = Evidence(label="requires", value=f"torch{stated}", source=source)
    return str(stated).removeprefix("=="), said


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
