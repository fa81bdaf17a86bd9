"""Installed files that are not those that their distribution brought."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from envdoctor.api import (
    Code,
    CompanionImports,
    DamagedDistribution,
    DamagedFile,
    Distribution,
    Distributions,
    Evidence,
    Finding,
    Findings,
    Fix,
    InstalledFiles,
    Layer,
    LibraryResolution,
    LoadedLibraries,
    Record,
    Severity,
    Site,
    TorchBuild,
    TorchImport,
    check,
    library_of,
    packages,
    parse_number,
)
from envdoctor_checks.against_torch import is_of_another_release
from envdoctor_checks.import_failures import ImportFailure, failures_of
from envdoctor_checks.loader_codes import outcomes_of
from envdoctor_checks.requirements import BUILD_TOOLS, needed_by_torch
from envdoctor_checks.same_files import overwritten

DAMAGED_INSTALL = Code(
    id="ED100",
    name="damaged-install",
    family="damaged-install",
    severity=Severity.ERROR,
    topic="python",
    layer=Layer.FILES,
    breaks="import:torch",
    message="installed files differ from those that their distribution brought",
    detailed="{distribution} {version} is damaged in {files}: `{file}` {what}",
    explains=("ED349",),
)

_KINDS = {
    "missing": "is missing",
    "size": "has {actual} bytes, not {expected}",
    "hash": "was changed",
}
_NOT_CODE = (".h", ".hpp", ".cuh", ".cmake", ".pyi", ".txt", ".md", ".rst", ".typed", ".json")
_NOT_RUN = re.compile(r"(^|/)(tests?|examples?|include|share|docs?)/")
"""Folders of a package that no program imports. `torch/testing` is none of them."""
_FOR_BUILDING = re.compile(r"^torch/(include|share)/")
_FIRST_USE = re.compile(r"libtorch_cuda_linalg|libcaffe2_nvrtc")
"""Libraries of torch that it opens when a GPU first needs them."""
_TRITON = ("triton", "pytorch-triton")
_COMPANIONS = ("torchvision", "torchaudio", "torchtext", "torchcodec", "numpy")
_LATE = ("torchvision", "torchaudio")
"""What opens libraries of its own late and does without them: to decode images and sounds."""
_SHOWN_FILES, _SHOWN_PACKAGES, _SHOWN_SUBJECTS = 5, 8, 100


class _Judged(Record):
    """A file, what it breaks, and how much that matters."""

    file: DamagedFile
    severity: Severity
    breaks: tuple[str, ...] = ()


class _Seen(Record):
    """What is known beside the list of files."""

    needed: frozenset[str]
    imported: TorchImport | None = None
    resolution: LibraryResolution | None = None
    mapped: tuple[str, ...] = ()
    failures: tuple[ImportFailure, ...] = ()

    def failed_for(self, file: DamagedFile, owner: str) -> tuple[str, ...]:
        """The imports that failed and name that file: by its path, the loader a library, Python a
        module. An import that was killed names nothing: there it is a cut library of its own."""
        name = file.path.rpartition("/")[2]
        own = f"import:{library_of(owner)}"
        cut = ".so" in name and file.kind == "size" and _is_shorter(file)
        return tuple(
            one.outcome
            for one in self.failures
            if file.path in one.text
            or (".so" in name and name in one.text)
            or (cut and one.killed and one.outcome == own)
            or (file.kind == "missing" and _is_of_any(file.path, one.missing_modules))
            or (file.kind == "size" and _came_through(file.path, one))
            or _is_file_of(file.path, one.incomplete_module)
        )

    @property
    def imports(self) -> bool:
        """Whether `import torch` was seen to work."""
        return self.imported is not None and not self.fails

    @property
    def fails(self) -> bool:
        """Whether it was seen to fail, or to give an empty module."""
        return self.imported is not None and self.imported.fails

    @property
    def was_killed(self) -> bool:
        """Whether a signal ended it."""
        return self.imported is not None and self.imported.signal is not None


@check(DAMAGED_INSTALL)
def damaged_install(
    installed: InstalledFiles,
    distributions: Distributions,
    imported: TorchImport | None,
    resolution: LibraryResolution | None,
    loaded: LoadedLibraries | None,
    companions: CompanionImports | None,
    build: TorchBuild | None,
    site: Site,
) -> Findings:
    """Files of a distribution are missing, truncated or changed.

    What was loaded all the same, and what torch does not need, is worth a word and no more.
    """
    seen = _Seen(
        needed=needed_by_torch(distributions),
        imported=imported,
        resolution=resolution,
        mapped=loaded.paths if loaded else (),
        failures=tuple(failures_of(imported, companions)),
    )
    owners = {one.metadata_path: one for one in distributions.items}
    lists = Counter((one.name, one.location) for one in distributions.items)
    harmless: list[DamagedDistribution] = []
    damaged: list[tuple[DamagedDistribution, list[_Judged]]] = []
    for item in installed.damaged:
        owner = owners.get(item.metadata_path)
        if owner is not None and lists[owner.name, owner.location] > 1:
            # Another version in the same folder lists the same files: one list is outdated.
            continue
        differing = _unaccounted(item, owner, distributions)
        judged = [_judged(file, item, seen) for file in differing]
        if judged and item.name == "torch" and is_of_another_release(item.version, build):
            judged = [_replaced(judged[0].file, seen), *judged[1:]]
        if any(one.severity is not Severity.INFO for one in judged):
            damaged.append((item, judged))
        elif judged:
            harmless.append(item)
    yield from _damaged(damaged, distributions, site)
    if harmless:
        yield _harmless(harmless, installed.more_damaged)


def _replaced(file: DamagedFile, seen: _Seen) -> _Judged:
    """One file for all, where the files are those of another release of torch: what was made for
    the one that is listed fails with them."""
    breaks = tuple(one.outcome for one in seen.failures) or ("import:torch",)
    severity = Severity.ERROR if seen.failures else Severity.WARNING
    return _Judged(file=file, severity=severity, breaks=breaks)


def _unaccounted(
    item: DamagedDistribution, owner: Distribution | None, distributions: Distributions
) -> Iterator[DamagedFile]:
    """The files whose difference has no innocent reason: Debian strips what its wheels list, and
    what another distribution has put there is told of both. What is closed to this user is whole.
    """
    stripped = owner is not None and (
        owner.installer == "debian" or "/dist-packages" in owner.location
    )
    others = overwritten(item, owner, distributions)
    differing = [
        file
        for file in item.files
        if file.kind != "closed" and file.path.partition("/")[0] not in others
    ]
    yield from (file for file in differing if not (stripped and file.kind != "missing"))


# --- one file ---


def _is_of_module(path: str, module: str) -> bool:
    """Whether a file is that module, or lies in that package."""
    start = module.replace(".", "/")
    return bool(module) and path.startswith((f"{start}/", f"{start}."))


def _is_of_any(path: str, modules: Iterable[str]) -> bool:
    return any(_is_of_module(path, module) for module in modules)


def _came_through(path: str, failure: ImportFailure) -> bool:
    """Whether an error of names, as between files of two releases, came up below that file."""
    of_names = failure.exception in ("AttributeError", "ImportError", "NameError", "TypeError")
    return of_names and any(one.endswith(f"/{path}") for one in failure.files)


def _is_file_of(path: str, module: str) -> bool:
    """Whether that is the file of the module itself."""
    start = module.replace(".", "/")
    return bool(module) and path in (f"{start}/__init__.py", f"{start}.py")


def _judged(file: DamagedFile, item: DamagedDistribution, seen: _Seen) -> _Judged:
    name = file.path.rpartition("/")[2]
    if failed := seen.failed_for(file, item.name):
        return _Judged(file=file, severity=Severity.ERROR, breaks=failed)
    if _FOR_BUILDING.match(file.path) or item.name in BUILD_TOOLS:
        return _Judged(file=file, severity=Severity.INFO, breaks=("compile", "extend"))
    if item.name not in seen.needed or _NOT_RUN.search(file.path) or name.endswith(_NOT_CODE):
        return _Judged(file=file, severity=Severity.INFO)
    if ".so" in name:
        return _judged_library(file, item.name, seen)
    if not name.endswith(".py") or (file.kind == "missing" and file.expected == "0"):
        # Without its empty __init__.py a package is a namespace, and works.
        return _Judged(file=file, severity=Severity.INFO)
    return _judged_module(file, item.name, seen)


def _judged_library(file: DamagedFile, distribution: str, seen: _Seen) -> _Judged:
    broken = f"import:{distribution}" in {one.outcome for one in seen.failures}
    if file.kind == "missing" and seen.imports and distribution in _LATE and not broken:
        # It imports without, and says at its start at most that a part of it does not load.
        return _Judged(file=file, severity=Severity.WARNING)
    breaks = _broken_by_library(file, distribution, seen)
    if not breaks or (file.kind == "size" and _is_whole(file, seen)):
        return _Judged(file=file, severity=Severity.INFO)
    certain = any(one != "compile" for one in breaks) and not _was_mapped(file, seen)
    severity = Severity.ERROR if certain else Severity.WARNING
    return _Judged(file=file, severity=severity, breaks=breaks)


def _was_mapped(file: DamagedFile, seen: _Seen) -> bool:
    return any(path.endswith(f"/{file.path}") for path in seen.mapped)


def _is_whole(file: DamagedFile, seen: _Seen) -> bool:
    """Whether a file of another size is a library all the same, as one is that was stripped."""
    if _was_mapped(file, seen):
        return True
    libraries = seen.resolution.libraries if seen.resolution else ()
    same = [one for one in libraries if one.path and one.path.endswith(f"/{file.path}")]
    sound = bool(same) and not any(one.problems for one in same)
    return sound and (seen.imports or seen.resolution is None or not _fails(seen.resolution))


def _fails(resolution: LibraryResolution) -> bool:
    return resolution.import_error is not None


def _broken_by_library(file: DamagedFile, distribution: str, seen: _Seen) -> tuple[str, ...]:
    """The outcomes that a library is needed for, by when torch opens it."""
    if distribution in _TRITON:
        return ("compile",)
    if distribution in _COMPANIONS:
        return (f"import:{distribution}",)
    name = file.path.rpartition("/")[2]
    libraries = seen.resolution.libraries if seen.resolution else ()
    same = [
        one for one in libraries if one.soname == name or (one.path or "").endswith(f"/{file.path}")
    ]
    if same:
        return outcomes_of({one.when for one in same if not one.optional})
    if _FIRST_USE.search(name):
        return ("compute:gpu",)
    if seen.resolution is not None and not _fails(seen.resolution):
        return ()
    return (
        ("import:torch", "compute:gpu") if distribution.startswith("nvidia-") else ("import:torch",)
    )


def _judged_module(file: DamagedFile, distribution: str, seen: _Seen) -> _Judged:
    if file.kind == "size" and not _is_shorter(file) and not seen.fails:
        # It was edited, or has other ends of lines: neither breaks anything by itself.
        return _Judged(file=file, severity=Severity.INFO)
    breaks = _broken_by_module(distribution)
    of_torch = breaks == ("import:torch",)
    # Of another package Python would have named what is missing, and hardly anything of it kills.
    of_another = file.kind != "missing" and not seen.was_killed
    blamed = seen.fails and (distribution == "torch" or of_another)
    if of_torch and (blamed or (not seen.fails and not seen.imports and _is_first(file))):
        return _Judged(file=file, severity=Severity.ERROR, breaks=breaks)
    cut = file.kind == "missing" or (file.kind == "size" and _is_shorter(file))
    severity = Severity.WARNING if breaks and (cut or not seen.imports) else Severity.INFO
    return _Judged(file=file, severity=severity, breaks=breaks)


def _broken_by_module(distribution: str) -> tuple[str, ...]:
    if distribution in _TRITON:
        return ("compile",)
    if distribution.startswith("nvidia-"):
        return ()
    return (f"import:{distribution if distribution in _COMPANIONS else 'torch'}",)


def _is_first(file: DamagedFile) -> bool:
    """Whether it is the file that an import of the package begins with."""
    return re.fullmatch(r"[^/]+/__init__\.py|[^/]+\.py", file.path) is not None


def _is_shorter(file: DamagedFile) -> bool:
    actual, expected = parse_number(file.actual), parse_number(file.expected)
    return actual is not None and expected is not None and actual < expected


# --- findings ---


def _damaged(
    damaged: list[tuple[DamagedDistribution, list[_Judged]]],
    distributions: Distributions,
    site: Site,
) -> Iterator[Finding]:
    """One finding a distribution; what one rule left out of several is one together, as are the
    nvidia wheels, which share a folder."""
    left_out = _left_out(damaged)
    if left_out:
        yield _of_rule(left_out, damaged, distributions, site)
        return
    gone = [pair for pair in damaged if _is_gone(*pair)]
    together = gone if len(gone) > 1 else []
    for item, judged in (pair for pair in damaged if pair not in together):
        yield _of_distribution(item, judged, distributions, site)
    if together:
        yield _of_folder(together, distributions, site)


def _left_out(damaged: list[tuple[DamagedDistribution, list[_Judged]]]) -> str:
    """The folder, `lib/`, or the ending, `*.so`, of all that is missing of several distributions.

    So it is where files went through git or into an image by a rule that leaves these out.
    """
    if len(damaged) < 2 or all(item.name.startswith("nvidia-") for item, _ in damaged):
        return ""
    common: set[str] | None = None
    for _, judged in damaged:
        for file in (one.file for one in judged if one.severity is not Severity.INFO):
            if file.kind != "missing" or file.actual:
                return ""
            *folders, name = file.path.split("/")
            names = {f"{folder}/" for folder in folders} | ({"*.so"} if ".so" in name else set())
            common = names if common is None else common & names
    return min(common or (), default="")


def _of_rule(
    rule: str,
    damaged: list[tuple[DamagedDistribution, list[_Judged]]],
    distributions: Distributions,
    site: Site,
) -> Finding:
    paths = {item.metadata_path for item, _ in damaged}
    found = [one for one in distributions.items if one.metadata_path in paths]
    others = f", like {len(damaged) - 1} more,"
    item, judged = damaged[0]
    return DAMAGED_INSTALL.finding(
        **{**_said(item, judged[0].file), "version": f"{item.version}{others}"},
        subjects=tuple(one.name for one, _ in damaged),
        severity=max((it.severity for _, each in damaged for it in each), key=lambda it: it.rank),
        breaks=_all_broken(one for _, each in damaged for one in each),
        evidence=_evidence_of(damaged),
        fixes=(packages.restore_all(site, *found),) if found else (),
        notes=(
            f"all that is missing is `{rule}`, as where a rule of .gitignore or .dockerignore "
            "leaves that out: it would do so again",
        ),
    )


def _evidence_of(
    damaged: list[tuple[DamagedDistribution, list[_Judged]]],
) -> tuple[Evidence, ...]:
    return tuple(
        Evidence(
            label=item.name,
            value=f"{_files(item)}, `{judged[0].file.path}` {_what(judged[0].file)}",
            source=f"{item.metadata_path}/RECORD",
        )
        for item, judged in damaged[:_SHOWN_PACKAGES]
    )


def _is_gone(item: DamagedDistribution, judged: list[_Judged]) -> bool:
    """Whether the libraries of an nvidia wheel are missing."""
    errors = [one for one in judged if one.severity is Severity.ERROR]
    return item.name.startswith("nvidia-") and any(one.file.kind == "missing" for one in errors)


def _of_distribution(
    item: DamagedDistribution, judged: list[_Judged], distributions: Distributions, site: Site
) -> Finding:
    severity = max((one.severity for one in judged), key=lambda one: one.rank)
    worst = [one for one in judged if one.severity is severity]
    first = worst[0].file
    shown = sorted((one.file for one in judged), key=lambda file: file is not first)
    return DAMAGED_INSTALL.finding(
        subjects=(item.name,),
        breaks=_all_broken(worst),
        severity=severity,
        **_said(item, first),
        evidence=tuple(
            Evidence(label=file.path, value=_what(file), source=f"{item.metadata_path}/RECORD")
            for file in shown[:_SHOWN_FILES]
        ),
        fixes=_restoring([item], distributions, site),
    )


def _of_folder(
    together: list[tuple[DamagedDistribution, list[_Judged]]],
    distributions: Distributions,
    site: Site,
) -> Finding:
    items = [item for item, _ in together]
    linked = next(filter(_is_linked, items), None)
    said = linked or items[0]
    others = "" if linked else f", like {len(items) - 1} more of NVIDIA's wheels,"
    return DAMAGED_INSTALL.finding(
        **{**_said(said, said.files[0]), "version": f"{said.version}{others}"},
        subjects=tuple(item.name for item in items),
        breaks=_all_broken(one for _, judged in together for one in judged),
        evidence=_evidence_of(together),
        fixes=_restoring(items, distributions, site),
        notes=(f"libraries of {len(items)} wheels are missing, which share the folder nvidia/",),
    )


def _said(item: DamagedDistribution, file: DamagedFile) -> dict[str, Any]:
    return {
        "distribution": item.name,
        "version": item.version,
        "files": _files(item),
        "file": file.path,
        "what": _what(file),
    }


def _all_broken(judged: Iterable[_Judged]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one for each in judged for one in each.breaks))


def _restoring(
    items: list[DamagedDistribution], distributions: Distributions, site: Site
) -> tuple[Fix, ...]:
    damaged = {item.metadata_path for item in items}
    found = [one for one in distributions.items if one.metadata_path in damaged]
    if found:
        fix = packages.restore(site, *found, torch=distributions.first("torch"))
        link = items[0].files[0].actual.partition(" -> ")[0] if _is_linked(items[0]) else ""
        return (packages.without_link(f"{found[0].location}/{link}", fix) if link else fix,)
    first = items[0]
    return (
        packages.install(
            site,
            f"{first.name}=={first.version}",
            summary=f"install {first.name} {first.version} again: all of its files are replaced",
            again=True,
        ),
    )


def _is_linked(item: DamagedDistribution) -> bool:
    """Whether a link is in place of the folder that the files were in."""
    return item.files[0].kind == "missing" and bool(item.files[0].actual)


def _harmless(items: list[DamagedDistribution], more: int) -> Finding:
    """All that is different and does not matter, in one finding; `more` are not named."""
    rest = len(items) - _SHOWN_PACKAGES + more
    return DAMAGED_INSTALL.finding(
        subjects=tuple(item.name for item in items[:_SHOWN_SUBJECTS]),
        severity=Severity.INFO,
        breaks=(),
        evidence=tuple(
            Evidence(
                label=item.name,
                value=f"{_files(item)}, `{item.files[0].path}` {_what(item.files[0])}",
                source=f"{item.metadata_path}/RECORD",
            )
            for item in items[:_SHOWN_PACKAGES]
        ),
        notes=(
            "nothing that torch was asked for here needs them",
            *((f"and of {rest} more",) if rest > 0 else ()),
        ),
    )


def _files(item: DamagedDistribution) -> str:
    return "1 file" if item.damaged_count == 1 else f"{item.damaged_count} files"


def _what(file: DamagedFile) -> str:
    if file.kind == "missing" and file.actual:
        folder, _, place = file.actual.partition(" -> ")
        return f"is missing, as `{folder}` is a link that leads to `{place}`"
    return _KINDS[file.kind].format(
        actual=_in_groups(file.actual), expected=_in_groups(file.expected)
    )


def _in_groups(size: str) -> str:
    return f"{int(size):,}" if size.isdecimal() else size
