"""cuDNN, NCCL and the other pinned wheels: the versions that torch itself asks for."""

import os
import re
from collections.abc import Iterator

from packaging.utils import canonicalize_name

from envdoctor.api import (
    Confidence,
    Distribution,
    Distributions,
    Evidence,
    Findings,
    Fix,
    ImportTrials,
    Knowledge,
    LibraryCatalogue,
    LibraryResolution,
    ResolvedLibrary,
    Severity,
    Site,
    TorchFirstUse,
    check,
    major_of,
    packages,
    stem_of,
)
from envdoctor_checks.against_torch import installed
from envdoctor_checks.loader_codes import CUDNN_VERSION_MISMATCH, MIXED_CUDA_WHEELS
from envdoctor_checks.loader_fixes import without_path

_OF_CUDA_MAJOR = re.compile(r"nvidia-(?P<part>.+)-cu(?P<major>\d\d)$")


@check(CUDNN_VERSION_MISMATCH)
def cudnn_version_mismatch(
    resolution: LibraryResolution,
    used: TorchFirstUse | None,
    trials: ImportTrials | None,
    known: Knowledge,
) -> Findings:
    """cuDNN's libraries are taken from two installations whose versions differ.

    Where libcudnn opens its own parts from its own folder (by its RPATH, as in torch 2.15) and only
    what those open in turn would be another's, this is a warning: no GPU has settled it.
    """
    cudnn = (one for one in resolution.libraries if known.libraries.is_of("cudnn", one.soname))
    parts = [one for one in cudnn if one.path is not None]
    main = next((one for one in parts if stem_of(one.soname) == "libcudnn"), None)
    if main is None:
        return
    strangers = [one for one in parts if _folder(one) != _folder(main) and _differs(main, one)]
    if not strangers:
        return
    other = strangers[0]
    direct = any(main.path in one.needed_by for one in strangers)
    sure = direct and main.version is not None and other.version is not None
    yield CUDNN_VERSION_MISMATCH.finding(
        severity=Severity.ERROR if direct and not _convolves(used) else Severity.WARNING,
        confidence=Confidence.CERTAIN if sure else Confidence.LIKELY,
        count=len({_folder(one) for one in parts}),
        one=main.soname,
        one_place=_place(main),
        other=other.soname,
        other_place=_place(other),
        evidence=(
            Evidence(label=main.soname, value=main.path or "", source=main.rule or ""),
            Evidence(label=other.soname, value=other.path or "", source=other.rule or ""),
            *_others(strangers[1:]),
        ),
        fixes=(without_path(resolution, "LD_LIBRARY_PATH", trials=trials),),
        notes=(
            "cuDNN refuses to work with parts of another version "
            "(CUDNN_STATUS_SUBLIBRARY_VERSION_MISMATCH); importing torch does not show it",
        ),
    )


def _convolves(used: TorchFirstUse | None) -> bool:
    """Whether a convolution on a GPU gave the right result."""
    return any(
        one.operation == "convolution" and one.device.startswith("cuda") and one.error is None
        for one in (used.operations if used else ())
    )


def _others(strangers: list[ResolvedLibrary]) -> Iterator[Evidence]:
    if strangers:
        names = ", ".join(one.soname for one in strangers)
        yield Evidence(label="and also", value=names, source=strangers[0].rule or "")


def _folder(library: ResolvedLibrary) -> str:
    return os.path.dirname(library.path or "")


def _differs(one: ResolvedLibrary, other: ResolvedLibrary) -> bool:
    """Whether two parts are not known to be of one version."""
    return one.version is None or other.version is None or one.version != other.version


def _place(library: ResolvedLibrary) -> str:
    return f"{_folder(library)} ({library.version or 'version unknown'})"


@check(MIXED_CUDA_WHEELS)
def mixed_cuda_wheels(
    distributions: Distributions,
    resolution: LibraryResolution | None,
    site: Site,
    known: Knowledge,
) -> Findings:
    """One NVIDIA component is installed for two CUDA majors, or two majors share a process."""
    majors: dict[str, dict[str, Distribution]] = {}
    for item in distributions.items:
        match = _OF_CUDA_MAJOR.match(item.name)
        if match:
            majors.setdefault(match["part"], {})[match["major"]] = item
    doubled = [d for found in majors.values() if len(found) > 1 for d in found.values()]
    if doubled:
        yield MIXED_CUDA_WHEELS.finding(
            subjects=("wheels",),
            what="wheels",
            items=", ".join(f"{item.name} {item.version}" for item in doubled),
            evidence=tuple(installed(item) for item in doubled),
            fixes=(_only_what_torch_requires(doubled, distributions, site),),
            notes=(
                "both install into nvidia/<part>/lib; where a file has the same name, the last one "
                "installed stays, and removing one removes it for both",
            ),
        )
    runtimes = _runtimes(resolution, known.libraries)
    if len({major for major, _ in runtimes}) > 1:
        yield MIXED_CUDA_WHEELS.finding(
            subjects=("process",),
            what="CUDA runtimes",
            items=", ".join(path for _, path in runtimes),
            evidence=tuple(
                Evidence(label="libcudart", value=path, source="predicted") for _, path in runtimes
            ),
            fixes=(Fix(summary="install extensions that are built for the CUDA of this torch"),),
        )


def _only_what_torch_requires(
    doubled: list[Distribution], distributions: Distributions, site: Site
) -> Fix:
    torch = distributions.first("torch")
    required = {
        canonicalize_name(re.split(r"[\s;=<>~!\[(]", text, maxsplit=1)[0])
        for text in (torch.requires if torch else ())
    }
    return packages.keep_one_set(
        site,
        gone=[item for item in doubled if item.name not in required],
        kept=[item for item in doubled if item.name in required],
        summary="remove the set that torch does not require, then restore the other, whose files "
        "go with it",
    )


def _runtimes(
    resolution: LibraryResolution | None, libraries: LibraryCatalogue
) -> list[tuple[int | None, str]]:
    return [
        (major_of(one.soname), one.path)
        for one in (resolution.libraries if resolution else ())
        if libraries.is_of("cudart", one.soname) and one.path
    ]
