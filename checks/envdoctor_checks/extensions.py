"""Compiled modules of other distributions that cannot be loaded with the installed torch."""

import os
import re
from collections.abc import Iterable, Iterator

from envdoctor.api import (
    CompanionImport,
    CompanionImports,
    Confidence,
    Distribution,
    Distributions,
    Evidence,
    Extension,
    Findings,
    Fix,
    Interpreter,
    Knowledge,
    LibraryResolution,
    Place,
    Problem,
    Site,
    TorchBuild,
    check,
    describe,
    library_of,
    packages,
)
from envdoctor_checks.against_torch import has_its_own_torch
from envdoctor_checks.companions import PAIRED, pairing
from envdoctor_checks.loader_codes import (
    EXTENSION_LIBRARY_MISMATCH,
    TORCHAUDIO_LIBRARY_MISMATCH,
    TORCHVISION_LIBRARY_MISMATCH,
)
from envdoctor_checks.matching_release import matching_release

_MAX_PROBLEMS = 3
_UNDEFINED = re.compile(r"(?<![^\s'(:])(/[^\n:]{1,512}): undefined symbol: (\w+)")
"""How the loader names what it does not find, and the file that needs it."""

_OF_TORCH = re.compile(r"_ZNK?(?:3c10|2at|5torch|5caffe2)|^aoti_torch_|torch")
"""Mangled names of torch's namespaces (Itanium C++ ABI, 5.1), and those of its C functions."""

_OF_GLIBC = re.compile(r"GLIBC_2\.\d+")
"""A version of the C library's interface, which grows with its releases."""

_NEW_STRING, _OLD_STRING = re.compile(r"7__cxx11"), re.compile(r"RK?Ss|NSs|SsE|SsS")
"""How std::string stands in a mangled name: with the tag of libstdc++'s new ABI (GCC, "Dual ABI"),
or by its old abbreviation (Itanium C++ ABI, 5.1.8)."""

_PAIRED_CODES = {
    "torchvision": TORCHVISION_LIBRARY_MISMATCH,
    "torchaudio": TORCHAUDIO_LIBRARY_MISMATCH,
}


@check(EXTENSION_LIBRARY_MISMATCH, TORCHVISION_LIBRARY_MISMATCH, TORCHAUDIO_LIBRARY_MISMATCH)
def extension_mismatch(
    resolution: LibraryResolution | None,
    distributions: Distributions | None,
    companions: CompanionImports | None,
    build: TorchBuild | None,
    interpreter: Interpreter | None,
    known: Knowledge,
    site: Site,
) -> Findings:
    """A compiled module of another distribution cannot be loaded with the installed torch.

    What was imported is not broken: it may load first what is missing here. What lies beside a
    torch of its own is judged by the finding that this torch is hidden. What the files do not tell,
    the loader may say itself.
    """
    tried = companions.items if companions else ()
    works = {one.name for one in tried if one.outcome == "ok"}
    seen: set[str] = set()
    predicted = resolution.extensions if resolution else ()
    for extension in (*predicted, *_said_by_the_loader(tried, distributions)):
        name, library = extension.distribution, library_of(extension.distribution)
        if library in seen or library in works or _lacks_the_driver_alone(extension):
            continue
        seen.add(library)
        found = distributions.first(name) if distributions else None
        if found and distributions and has_its_own_torch(found, distributions):
            continue
        yield _PAIRED_CODES.get(name, EXTENSION_LIBRARY_MISMATCH).finding(
            subjects=(name,),
            breaks=(f"import:{library}",),
            confidence=Confidence.LIKELY,
            file=os.path.basename(extension.path),
            distribution=f"{name} {found.version if found else ''}".strip(),
            what=_what(extension, build, known),
            evidence=tuple(_of_extension(extension)),
            fixes=tuple(_fixes(extension, found, build, interpreter, known, site)),
            notes=("torch itself imports; this module does not",),
        )


_OF_THE_DRIVER = ("libcuda.so.1", "libnvidia-ml.so.1")


def _lacks_the_driver_alone(extension: Extension) -> bool:
    """Whether all that is missing comes with the driver: that is none of this torch."""
    return all(
        one.kind == "missing" and os.path.basename(one.library) in _OF_THE_DRIVER
        for one in extension.problems
    )


def _said_by_the_loader(
    tried: Iterable[CompanionImport], distributions: Distributions | None
) -> Iterator[Extension]:
    for one in tried:
        said = _UNDEFINED.search(one.message) if one.outcome == "exception" else None
        if said is None or _OF_TORCH.search(said[2]) is None:
            continue
        names = (item.name for item in distributions.items) if distributions else ()
        owner = next((name for name in names if library_of(name) == one.name), one.name)
        problem = Problem(kind="symbol", library="libtorch", needed_by=said[1], names=(said[2],))
        yield Extension(distribution=owner, path=said[1], problems=(problem,))


def _what(extension: Extension, build: TorchBuild | None, known: Knowledge) -> str:
    first = extension.problems[0]
    for_cpu = build is not None and build.cuda is None and build.hip is None
    if for_cpu and known.libraries.uses_cuda(first.library):
        library = os.path.basename(first.library)
        return f"it is built for CUDA (it needs `{library}`), and torch for the CPU"
    return _of_another_abi(first.names, build) or describe(first)


def _of_another_abi(symbols: tuple[str, ...], build: TorchBuild | None) -> str:
    """That it was compiled with the other ABI of C++ than torch; empty where nothing tells so."""
    ours = build.cxx11_abi if build else None
    if ours is False and any(_NEW_STRING.search(one) for one in symbols):
        return "it is compiled with the new ABI of C++ (cxx11), and this torch with the old one"
    if ours is True and any(_OLD_STRING.search(one) for one in symbols):
        return "it is compiled with the old ABI of C++, and this torch with the new one (cxx11)"
    return ""


def _fixes(
    extension: Extension,
    found: Distribution | None,
    build: TorchBuild | None,
    interpreter: Interpreter | None,
    known: Knowledge,
    site: Site,
) -> Iterator[Fix]:
    name = extension.distribution
    if found is not None and _is_damage(extension):
        yield packages.restore(site, found)
        return
    if _OF_GLIBC.match(next(iter(extension.problems[0].names), "")):
        yield Fix(
            summary=f"compile {name} on this system, or take an older wheel of it: this one was "
            "made on a system with a newer glibc; or use a newer system",
            where=Place.IMAGE if site.contained else Place.HERE,
        )
        return
    if found is None or build is None:
        yield Fix(summary=f"install the {name} made for this torch")
        return
    paired = list(pairing(name, found, build, known, site)) if name in PAIRED else []
    yield from paired or [matching_release(found, build, interpreter, known, site)]


def _is_damage(extension: Extension) -> bool:
    return all(problem.kind == "unreadable" for problem in extension.problems)


def _of_extension(extension: Extension) -> Iterator[Evidence]:
    yield Evidence(label="module", value=extension.path, source="RECORD")
    for problem in extension.problems[:_MAX_PROBLEMS]:
        yield Evidence(label=problem.library, value=describe(problem), source=problem.needed_by)
