"""Where the libraries that torch loads come from on two sides, and what is wrong with them."""

import os
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from envdoctor.compare.pair import Found, Pair, Swap, known
from envdoctor.compare.records import Difference
from envdoctor.facts import Observed, Snapshot
from envdoctor.facts.libraries import LibraryResolution, Owner, Problem, ResolvedLibrary
from envdoctor.facts.torch import TorchImport
from envdoctor.findings import Layer
from envdoctor.loader.tree import describe

_SYSTEM = ("/lib/", "/lib64/", "/usr/lib/", "/usr/lib64/", "/lib32/")
_KINDS = {"wheel": "the wheel", "conda": "the conda package", "dpkg": "the system's package"}


def differences(pair: Pair) -> Iterator[Found]:
    """Libraries of another origin, those that are not found, and modules that do not load."""
    both = pair.both(LibraryResolution)
    if both is None:
        return
    groups = _origins(pair, *both)
    cause = next(iter(groups.values()))[0] if len(groups) == 1 else ""
    lacking = _lacking(pair, *both) if cause else []
    for (name, at_first, at_second), sonames in groups.items():
        yield _another_origin(pair, name, sonames, (at_first, at_second), lacking)
    yield from _problems(pair, *both, dict.fromkeys(lacking, cause))
    yield from _extensions(pair, *both)
    yield from _predicted(pair, *both)


Both = tuple[ResolvedLibrary, ResolvedLibrary]


def _found_on_both(first: LibraryResolution, second: LibraryResolution) -> Iterator[Both]:
    """The libraries of one soname that either side finds."""
    others = {one.soname: one for one in second.libraries}
    for one in first.libraries:
        other = others.get(one.soname)
        if other is not None and one.path is not None and other.path is not None:
            yield one, other


def _origins(
    pair: Pair, first: LibraryResolution, second: LibraryResolution
) -> dict[tuple[str, str, str], list[str]]:
    """The sonames of another origin, those of one component that differ alike together: by its
    name and the origins in words."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for both in _found_on_both(first, second):
        one, _ = both
        origins = [_origin(pair, side, library) for side, library in enumerate(both)]
        if origins[0][0] == origins[1][0]:
            continue
        component = pair.knowledge.libraries.of(one.soname)
        name = component.name if component else one.soname
        groups.setdefault((name, origins[0][1], origins[1][1]), []).append(one.soname)
    return groups


def _lacking(pair: Pair, first: LibraryResolution, second: LibraryResolution) -> list[str]:
    """The libraries that are the same on both sides and that lack symbols on one alone: what those
    come from has changed, not they."""
    return [
        one.soname
        for one, other in _found_on_both(first, second)
        if _origin(pair, 0, one) == _origin(pair, 1, other)
        and bool(one.problems) != bool(other.problems)
        and all(bad.kind in ("symbol", "version") for bad in (*one.problems, *other.problems))
    ]


def _origin(pair: Pair, side: int, library: ResolvedLibrary) -> tuple[str, str]:
    """What tells one origin from another, and the origin in words.

    A library of the system that is none of CUDA's is the same wherever a distribution keeps it.
    """
    owner, path = library.owner, library.path or ""
    own = pair.knowledge.libraries.of(library.soname)
    of_system = path.startswith(_SYSTEM) or (owner is not None and owner.kind == "dpkg")
    if own is None and of_system:
        return "the system", "the system"
    version = f" {library.version}" if library.version and owner is None else ""
    if owner is None:
        mapped = pair.places[side].entry(os.path.dirname(path))
        return f"{mapped}{version}", f"`{path}`{version}"
    if owner.kind == "dpkg":
        return f"the system {owner.version}", f"`{path}` ({_named(owner)})"
    # Another version of a package is told with the package.
    return f"{owner.kind} {owner.name}", _named(owner)


def _named(owner: Owner) -> str:
    return f"{_KINDS[owner.kind]} {owner.name} {owner.version}"


def _another_origin(
    pair: Pair, name: str, sonames: list[str], origins: tuple[str, str], lacking: Iterable[str]
) -> Found:
    """Libraries of another origin; `lacking` are those that lack something for it."""
    at_first, at_second = origins
    more = f" and {len(sonames) - 1} more of its parts" if len(sonames) > 1 else ""
    come = "come" if more else "comes"
    return Found(
        difference=Difference(
            part="libraries",
            name=sonames[0],
            sentence=f"{sonames[0]}{more} {come} from {pair.each(at_first, f'from {at_second}')}",
            first=at_first,
            second=at_second,
            weight="stops" if pair.knowledge.libraries.of(sonames[0]) else "matters",
            layer=Layer.LIBRARIES,
            can_break=("import:torch", "compute:gpu"),
        ),
        swap=_swap_libraries((*sonames, *lacking)),
        words=(*sonames, name),
    )


def _swap_libraries(sonames: Iterable[str]) -> Swap:
    """Takes these libraries from the other side, and what the loader says of them."""
    names = frozenset(sonames)

    def swap(patient: Snapshot, donor: Snapshot) -> Snapshot:
        own, other = patient.get(LibraryResolution), donor.value(LibraryResolution)
        if not isinstance(own, Observed) or other is None:
            return patient
        theirs = {one.soname: one for one in other.libraries if one.soname in names}
        libraries = [
            theirs.get(one.soname, one) if one.soname in names else one
            for one in own.value.libraries
        ]
        there = {one.soname for one in libraries}
        libraries += [one for name, one in theirs.items() if name not in there]
        error = own.value.import_error or ""
        value = msgspec.structs.replace(
            own.value,
            libraries=tuple(libraries),
            import_error=other.import_error
            if any(name in error for name in names) or not _has_problems(libraries)
            else own.value.import_error,
        )
        return patient.with_facts({LibraryResolution: msgspec.structs.replace(own, value=value)})

    return swap


def _has_problems(libraries: Iterable[ResolvedLibrary]) -> bool:
    return any(one.problems for one in libraries)


def _problems(
    pair: Pair, first: LibraryResolution, second: LibraryResolution, follows: Mapping[str, str]
) -> Iterator[Found]:
    """Libraries that cannot be had or used on one side; preloads too. `follows` says of some of
    them which library is the cause."""
    sides = [_troubled(one) for one in (first, second)]
    for soname in dict.fromkeys((*sides[0], *sides[1])):
        problems = [one.get(soname, ()) for one in sides]
        if bool(problems[0]) == bool(problems[1]):
            continue
        bad = problems[0] or problems[1]
        where, elsewhere = pair.names.at_first, pair.names.at_second
        if not problems[0]:
            where, elsewhere = elsewhere, where
        words = describe(bad[0]).removeprefix("cannot be loaded: ")
        yield Found(
            difference=Difference(
                part="libraries",
                name=soname,
                sentence=f"{soname} {_FAULTS[bad[0].kind]} {where}, unlike {elsewhere}: {words}",
                first=words if problems[0] else None,
                second=words if problems[1] else None,
                weight="stops",
                layer=Layer.LIBRARIES,
                can_break=("import:torch", "compute:gpu"),
                follows=follows.get(soname, ""),
            ),
            swap=None if soname in follows else _swap_libraries([soname]),
            words=() if soname in follows else (soname, *(n for one in bad for n in one.names)),
        )


_FAULTS = {
    "missing": "is not found",
    "unreadable": "cannot be loaded",
    "version": "lacks a version",
    "symbol": "lacks a symbol",
}


def _troubled(resolution: LibraryResolution) -> dict[str, tuple[Problem, ...]]:
    found = {
        one.soname: one.problems
        for one in resolution.libraries
        if one.problems and not one.optional
    }
    preloaded = {one.library: (one,) for one in resolution.preload_problems}
    return {**found, **preloaded}


def _extensions(pair: Pair, first: LibraryResolution, second: LibraryResolution) -> Iterator[Found]:
    """Compiled modules of other packages that do not load with the torch of one side."""
    sides = [
        {one.distribution: one for one in resolution.extensions if one.problems}
        for resolution in (first, second)
    ]
    for name in sorted({*sides[0]} ^ {*sides[1]}):
        bad = sides[0].get(name) or sides[1][name]
        yield Found(
            difference=Difference(
                part="libraries",
                name=f"compiled modules of {name}",
                sentence=f"a compiled module of {name} does not load with this torch, "
                f"{pair.names.at_first if name in sides[0] else pair.names.at_second} alone: "
                f"{describe(bad.problems[0])}",
                first=bad.path if name in sides[0] else None,
                second=bad.path if name in sides[1] else None,
                weight="stops",
                layer=Layer.LIBRARIES,
                can_break=(f"import:{name}",),
            ),
            swap=_swap_extensions,
            words=(name,),
        )


def _swap_extensions(patient: Snapshot, donor: Snapshot) -> Snapshot:
    own, other = patient.get(LibraryResolution), donor.value(LibraryResolution)
    if not isinstance(own, Observed) or other is None:
        return patient
    value = msgspec.structs.replace(own.value, extensions=other.extensions)
    return patient.with_facts({LibraryResolution: msgspec.structs.replace(own, value=value)})


def _predicted(pair: Pair, first: LibraryResolution, second: LibraryResolution) -> Iterator[Found]:
    """What the loader is predicted to refuse, where the import was not seen on both sides."""
    seen = all(known(side.snapshot, TorchImport) for side in (pair.first, pair.second))
    errors = first.import_error, second.import_error
    if seen or bool(errors[0]) == bool(errors[1]):
        return
    yield Found(
        difference=Difference(
            part="outcome",
            name="loader",
            sentence=f"the loader will refuse torch "
            f"{pair.names.at_first if errors[0] else pair.names.at_second} alone: "
            f"{errors[0] or errors[1]}",
            first=errors[0],
            second=errors[1],
            weight="stops",
            layer=Layer.LIBRARIES,
            can_break=("import:torch",),
        ),
    )
