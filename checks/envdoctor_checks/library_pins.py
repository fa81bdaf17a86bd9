"""cuDNN, NCCL and the other pinned wheels: the versions that torch itself asks for."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from packaging.markers import UndefinedEnvironmentName, default_environment
from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import InvalidVersion

from envdoctor.api import (
    Confidence,
    Distribution,
    Distributions,
    Evidence,
    Findings,
    Fix,
    Installer,
    Interpreter,
    Safety,
    Severity,
    Target,
    TorchFirstUse,
    TorchImport,
    check,
    normalized,
)
from envdoctor.facts.libraries import LibraryResolution, ResolvedLibrary
from envdoctor.loader.dlopen import major_of, stem_of
from envdoctor.repair import install_command
from envdoctor_checks.loader_codes import (
    CUDNN_VERSION_MISMATCH,
    DEPENDENCY_MISSING,
    DEPENDENCY_PIN_VIOLATED,
    MIXED_CUDA_WHEELS,
)
from envdoctor_checks.loader_fixes import without_path

_PINNED = re.compile(r"nvidia-|cuda-|triton$|pytorch-triton")
_OF_CUDA_MAJOR = re.compile(r"nvidia-(?P<part>.+)-cu(?P<major>\d\d)$")
_MAX_DEPTH = 3


@check(CUDNN_VERSION_MISMATCH)
def cudnn_version_mismatch(resolution: LibraryResolution, used: TorchFirstUse | None) -> Findings:
    """cuDNN's libraries are taken from two installations whose versions differ.

    Where libcudnn opens its own parts from its own folder (by its RPATH, as in torch 2.15) and only
    what those open in turn would be another's, this is a warning: no GPU has settled it.
    """
    parts = [one for one in resolution.libraries if _is_cudnn(one)]
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
        fixes=(without_path(resolution, "LD_LIBRARY_PATH"),),
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


def _is_cudnn(library: ResolvedLibrary) -> bool:
    return stem_of(library.soname).startswith("libcudnn") and library.path is not None


def _folder(library: ResolvedLibrary) -> str:
    return os.path.dirname(library.path or "")


def _differs(one: ResolvedLibrary, other: ResolvedLibrary) -> bool:
    """Whether two parts are not known to be of one version."""
    return one.version is None or other.version is None or one.version != other.version


def _place(library: ResolvedLibrary) -> str:
    return f"{_folder(library)} ({library.version or 'version unknown'})"


@check(MIXED_CUDA_WHEELS)
def mixed_cuda_wheels(
    distributions: Distributions, resolution: LibraryResolution | None, target: Target | None
) -> Findings:
    """One NVIDIA component is installed for two CUDA majors, or two majors share a process."""
    majors: dict[str, dict[str, Distribution]] = {}
    for item in distributions.items:
        match = _OF_CUDA_MAJOR.match(item.name)
        if match:
            majors.setdefault(match["part"], {})[match["major"]] = item
    doubled = [d for found in majors.values() if len(found) > 1 for d in found.values()]
    if doubled:
        python = target.path if target else "python3"
        yield MIXED_CUDA_WHEELS.finding(
            subject="wheels",
            what="wheels",
            items=", ".join(f"{item.name} {item.version}" for item in doubled),
            evidence=tuple(_installed(item) for item in doubled),
            fixes=(
                Fix(
                    summary="remove the set that torch does not require, then restore the other",
                    commands=(
                        f"{python} -m pip uninstall {' '.join(_unwanted(doubled, distributions))}",
                    ),
                    safety=Safety.CHANGES_ENV,
                ),
            ),
            notes=(
                "both install into nvidia/<part>/lib; where a file has the same name, the last one "
                "installed stays, and removing one removes it for both",
            ),
        )
    runtimes = _runtimes(resolution)
    if len({major for major, _ in runtimes}) > 1:
        yield MIXED_CUDA_WHEELS.finding(
            subject="process",
            what="CUDA runtimes",
            items=", ".join(path for _, path in runtimes),
            evidence=tuple(
                Evidence(label="libcudart", value=path, source="predicted") for _, path in runtimes
            ),
            fixes=(Fix(summary="install extensions that are built for the CUDA of this torch"),),
        )


def _installed(item: Distribution) -> Evidence:
    return Evidence(label=item.name, value=item.version, source=item.metadata_path)


def _unwanted(doubled: Iterable[Distribution], distributions: Distributions) -> list[str]:
    torch = distributions.first("torch")
    wanted = {
        normalized(re.split(r"[\s;=<>~!\[(]", text, maxsplit=1)[0])
        for text in (torch.requires if torch else ())
    }
    return [item.name for item in doubled if item.name not in wanted]


def _runtimes(resolution: LibraryResolution | None) -> list[tuple[int | None, str]]:
    return [
        (major_of(one.soname), one.path)
        for one in (resolution.libraries if resolution else ())
        if stem_of(one.soname) == "libcudart" and one.path
    ]


@check(DEPENDENCY_PIN_VIOLATED, DEPENDENCY_MISSING)
def dependency_of_torch(
    distributions: Distributions,
    interpreter: Interpreter,
    resolution: LibraryResolution | None,
    imported: TorchImport | None,
    target: Target | None,
    installer: Installer | None,
) -> Findings:
    """What the installed torch itself requires is another version, or not installed."""
    torch = distributions.first("torch")
    if torch is None:
        return
    fails = bool(resolution and resolution.import_error)
    fails = fails or (imported is not None and imported.outcome != "ok")
    for asker, wanted in _requirements(torch, distributions, _markers(interpreter)):
        found = distributions.first(normalized(wanted.name))
        if found is not None and (not _PINNED.match(found.name) or _satisfies(found, wanted)):
            continue
        words = (f"{wanted.name}{wanted.specifier}",)
        command = install_command(words, target=target, installer=installer)
        fix = Fix(
            summary=f"install the {wanted.name} that {asker.name} asks for",
            commands=(command,),
            safety=Safety.CHANGES_ENV,
        )
        said: dict[str, Any] = {
            "subject": wanted.name,
            "name": wanted.name,
            "by": asker.name,
            "by_version": asker.version,
            "wanted": str(wanted.specifier) or "any version",
            "fixes": (fix,),
        }
        source = Evidence(
            label=f"{asker.name} {asker.version}", value=str(wanted), source=asker.metadata_path
        )
        if found is None:
            severity = Severity.ERROR if fails else Severity.WARNING
            yield DEPENDENCY_MISSING.finding(evidence=(source,), severity=severity, **said)
        else:
            yield DEPENDENCY_PIN_VIOLATED.finding(
                installed=found.version, evidence=(source, _installed(found)), **said
            )


def _markers(interpreter: Interpreter) -> dict[str, str]:
    """The marker environment of the target, which need not be the doctor's."""
    major, minor, _ = interpreter.version_info
    return {
        **{key: str(value) for key, value in default_environment().items()},
        "python_version": f"{major}.{minor}",
        "python_full_version": interpreter.version,
        "implementation_name": interpreter.implementation.lower(),
        "platform_python_implementation": interpreter.implementation,
        "platform_machine": interpreter.machine,
        "extra": "",
    }


def _requirements(
    asker: Distribution,
    distributions: Distributions,
    markers: Mapping[str, str],
    extras: Iterable[str] = ("",),
    depth: int = 0,
) -> Iterator[tuple[Distribution, Requirement]]:
    """What a distribution requires in this environment, and what its extras bring."""
    for text in asker.requires:
        try:
            wanted = Requirement(text)
            applies = wanted.marker is None or any(
                wanted.marker.evaluate({**markers, "extra": extra}) for extra in extras
            )
        except (InvalidRequirement, UndefinedEnvironmentName):
            continue
        if not applies or (depth and wanted.marker is None):
            continue
        yield asker, wanted
        nested = distributions.first(normalized(wanted.name))
        if wanted.extras and nested is not None and depth < _MAX_DEPTH:
            yield from _requirements(nested, distributions, markers, wanted.extras, depth + 1)


def _satisfies(found: Distribution, wanted: Requirement) -> bool:
    try:
        return wanted.specifier.contains(found.version, prereleases=True)
    except InvalidVersion:
        return True
