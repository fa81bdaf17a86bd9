"""Which library is opened for which: a resolution as trees. Pure."""

from collections.abc import Iterable, Mapping

from envdoctor.facts.libraries import ResolvedLibrary
from envdoctor.record import Record

Library = ResolvedLibrary


class Branch(Record):
    """A library with those that were first opened for it. `again` are those that it needs too and
    that stand elsewhere in the tree."""

    library: Library
    below: tuple["Branch", ...] = ()
    again: tuple[Library, ...] = ()


def branches(libraries: Iterable[Library]) -> tuple[Branch, ...]:
    """Each library once, below the first one that needs it; at the top where none of them does."""
    known = tuple(libraries)
    needers = {id(one): _needers(one, _by_name(known)) for one in known}
    seen: set[int] = set()

    def branch(library: Library) -> Branch:
        seen.add(id(library))
        needed = [one for one in known if any(other is library for other in needers[id(one)])]
        first = [one for one in needed if needers[id(one)][0] is library and id(one) not in seen]
        below = tuple(branch(one) for one in first if id(one) not in seen)
        again = tuple(one for one in needed if not any(one is other for other in first))
        return Branch(library=library, below=below, again=again)

    roots = [branch(one) for one in known if not needers[id(one)]]
    # Libraries that need each other in a circle hang below no root.
    roots += [branch(one) for one in known if id(one) not in seen]
    return tuple(roots)


def _needers(library: Library, by_name: Mapping[str, Library]) -> tuple[Library, ...]:
    found = (by_name.get(path) or by_name.get(_short(path)) for path in library.needed_by)
    return tuple(one for one in found if one is not None and one is not library)


def _by_name(libraries: Iterable[Library]) -> dict[str, Library]:
    """By the path as the loader names it, by the resolved one, and by the bare name."""
    found: dict[str, Library] = {}
    for library in libraries:
        for name in (library.named, library.path, library.soname):
            if name is not None:
                found.setdefault(name, library)
    return found


def _short(path: str) -> str:
    return path.rpartition("/")[2]
