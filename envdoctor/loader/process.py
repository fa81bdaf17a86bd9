"""A process as the loader builds it: what it maps, in its order, without mapping anything.

Follows glibc's elf/rtld.c, dl-open.c, dl-deps.c, dl-load.c and dl-version.c. `dlopen` is all or
nothing: where one object cannot be had, all that the call brought in is unmapped again.
"""

import os
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from envdoctor.facts.libraries import Problem, SearchRule
from envdoctor.loader.elf import CUT_SHORT, Elf, Symbols, Unreadable, read_symbols
from envdoctor.loader.search import BY_PATH, Files, Place, System, expand, offers
from envdoctor.record import Mutable

MISSING: Final = "missing"
UNREADABLE: Final = "unreadable"
VERSION: Final = "version"
SYMBOL: Final = "symbol"
"""The kinds of Problem: no file, a refused file, an absent version node, an absent symbol."""


class MappedObject(Mutable):
    """One mapped object. `names` are all by which it was asked for; `origin` replaces $ORIGIN."""

    elf: Elf
    path: str
    origin: str
    place: Place
    asked: str
    loader: "MappedObject | None" = None
    names: set[str] = msgspec.field(default_factory=set)
    needed_by: list[str] = msgspec.field(default_factory=list)
    dependencies: list["MappedObject"] = msgspec.field(default_factory=list)
    complete: bool = True


class Opening(Mutable):
    """What one dlopen, or the program's start, came to. `fatal` is the loader's own first words."""

    asked: str
    root: MappedObject | None = None
    added: list[MappedObject] = msgspec.field(default_factory=list)
    problems: list[Problem] = msgspec.field(default_factory=list)
    fatal: str = ""

    @property
    def ok(self) -> bool:
        """Whether the call would succeed."""
        return not self.fatal

    def fail(self, problem: Problem, words: str) -> None:
        """Note a problem; the first one decides what the loader says."""
        self.problems.append(problem)
        self.fatal = self.fatal or words


class Process:
    """The objects that are mapped, and the calls that map more."""

    def __init__(self, system: System, files: Files, symbols: "SymbolReader | None" = None) -> None:
        self.system = system
        self.files = files
        self.symbols = symbols
        self.mapped: list[MappedObject] = []
        self.unmapped: list[MappedObject] = []
        self.global_scope: list[MappedObject] = []

    def start(self, executable: Elf) -> Opening:
        """Map the program, what is preloaded, and all that they need."""
        path = os.path.realpath(executable.path)
        main = MappedObject(
            elf=executable,
            path=path,
            origin=os.path.dirname(path),
            place=Place(rule=BY_PATH),
            asked=executable.path,
        )
        self.mapped.append(main)
        opening = Opening(asked=executable.path, root=main, added=[main])
        roots = [main]
        for name, rule in self.system.preload:
            preloaded = self._preload(name, rule, main, opening)
            if preloaded is not None:
                roots.append(preloaded)
        order = self._closure(roots, opening)
        self.global_scope = order
        self._verify(opening, order)
        return opening

    @property
    def main(self) -> MappedObject:
        """The program itself."""
        return self.mapped[0]

    def find(self, name: str) -> MappedObject | None:
        """The mapped object that answers to that name."""
        for loaded in self.mapped:
            if name in loaded.names or name == loaded.elf.soname:
                return loaded
        return None

    def dlopen(
        self,
        name: str,
        caller: MappedObject,
        *,
        everywhere: bool = False,
        rule: SearchRule | None = None,
    ) -> Opening:
        """What dlopen(name, RTLD_NOW) from `caller` does; `everywhere` is RTLD_GLOBAL.

        `rule` replaces the rule by which the object is found, for calls that name a path.
        """
        opening = Opening(asked=name)
        root = self._map(name, caller, opening, rule=rule)
        opening.root = root
        order = self._closure([root], opening) if root else []
        self._verify(opening, order)
        if not opening.ok:
            added = set(map(id, opening.added))
            self.mapped = [loaded for loaded in self.mapped if id(loaded) not in added]
            self.unmapped += opening.added
        elif everywhere:
            self.global_scope += [one for one in order if one not in self.global_scope]
        return opening

    def _preload(
        self, name: str, rule: SearchRule, main: MappedObject, opening: Opening
    ) -> MappedObject | None:
        """A preloaded library; the loader only grumbles about one that it cannot have."""
        attempt = Opening(asked=name)
        loaded = self._map(name, main, attempt, rule=rule)
        opening.problems += attempt.problems
        opening.added += attempt.added
        return loaded

    def _closure(self, roots: Iterable[MappedObject], opening: Opening) -> list[MappedObject]:
        """The roots and all that they need, breadth first, mapping what is not mapped yet."""
        order = list(roots)
        waiting = deque(order)
        while waiting:
            current = waiting.popleft()
            for name in [] if current.dependencies else current.elf.needed:
                wanted = expand(name, current.origin, self.system)
                found = self._map(wanted, current, opening)
                if found is not None:
                    current.dependencies.append(found)
                    found.needed_by.append(current.path)
            for found in current.dependencies:
                if found not in order:
                    order.append(found)
                    waiting.append(found)
        return order

    def _map(
        self,
        name: str,
        requester: MappedObject,
        opening: Opening,
        *,
        rule: SearchRule | None = None,
    ) -> MappedObject | None:
        mapped = self.find(name)
        if mapped is not None:
            return mapped
        if "/" in name:
            candidates: Iterable[tuple[str, Place]] = [
                (expand(name, requester.origin, self.system), Place(rule=rule or BY_PATH))
            ]
        else:
            candidates = offers(name, requester, self.main, self.system, self.files)
        for path, place in candidates:
            read = self.files.read(path)
            if isinstance(read, Unreadable):
                self._refuse(name, path, str(read), requester, opening)
                return None
            if isinstance(read, Elf) and read.machine == self.system.machine:
                chosen = place if rule is None else Place(rule=rule, directory=place.directory)
                return self._take(name, path, read, chosen, requester, opening)
        problem = Problem(kind=MISSING, library=name, needed_by=requester.path)
        opening.fail(
            problem,
            f"{name}: cannot open shared object file: No such file or directory",
        )
        return None

    def _refuse(
        self, name: str, path: str, why: str, requester: MappedObject, opening: Opening
    ) -> None:
        problem = Problem(
            kind=UNREADABLE,
            library=name,
            needed_by=requester.path,
            path=os.path.realpath(path),
            detail=why,
        )
        opening.fail(problem, f"{path}: {why}")

    def _take(
        self,
        name: str,
        path: str,
        elf: Elf,
        place: Place,
        requester: MappedObject,
        opening: Opening,
    ) -> MappedObject:
        same = next((one for one in self.mapped if one.elf.identity == elf.identity), None)
        if same is not None:
            same.names.add(name)
            return same
        full = os.path.abspath(path)
        loaded = MappedObject(
            elf=elf,
            path=full,
            origin=os.path.dirname(full),
            place=place,
            asked=name,
            loader=requester,
            names={name, path},
        )
        self.mapped.append(loaded)
        opening.added.append(loaded)
        if elf.cut_bytes:
            self._refuse(name, path, CUT_SHORT, requester, opening)
        return loaded

    def _verify(self, opening: Opening, scope: list[MappedObject]) -> None:
        """Check the version nodes, then the symbols, of every object that was added."""
        for loaded in opening.added:
            for problem in self._version_problems(loaded):
                opening.fail(
                    problem,
                    f"{problem.path}: version `{problem.names[0]}' not found "
                    f"(required by {loaded.path})",
                )
        if self.symbols is None or (opening.problems and not opening.ok):
            return
        everything = [*self.global_scope, *(one for one in scope if one not in self.global_scope)]
        for loaded in opening.added:
            missing = self.symbols.missing(loaded, everything)
            if missing:
                names = tuple(name.decode("utf-8", "surrogateescape") for name in sorted(missing))
                problem = Problem(
                    kind=SYMBOL, library=loaded.asked, needed_by=loaded.path, names=names
                )
                opening.fail(problem, f"{loaded.path}: undefined symbol: {names[0]}")

    def _version_problems(self, loaded: MappedObject) -> Iterable[Problem]:
        for need in loaded.elf.version_needs:
            offered = self.find(need.library)
            if offered is None or not offered.elf.version_nodes:
                continue
            absent = tuple(v for v in need.versions if v not in offered.elf.version_nodes)
            if absent:
                yield Problem(
                    kind=VERSION,
                    library=need.library,
                    needed_by=loaded.path,
                    path=offered.path,
                    names=absent,
                )


class SymbolReader:
    """Reads symbol names, each object once, and compares what is required with what is offered."""

    def __init__(self) -> None:
        self._symbols: dict[tuple[tuple[int, int], bool], Symbols] = {}

    def of(self, elf: Elf, *, roughly: bool = False) -> Symbols:
        """The symbols of an object; none where they cannot be read."""
        key = (elf.identity, roughly)
        if key not in self._symbols:
            try:
                self._symbols[key] = read_symbols(elf, roughly=roughly)
            except (OSError, Unreadable, ValueError):
                self._symbols[key] = Symbols(required=frozenset(), offered=frozenset())
        return self._symbols[key]

    def missing(self, loaded: MappedObject, scope: Sequence[MappedObject]) -> frozenset[bytes]:
        """The required names of an object that nothing in its scope offers.

        Only what seems to be missing is looked for exactly.
        """
        missing = self.of(loaded.elf, roughly=True).required
        for roughly in (True, False):
            for provider in scope:
                if not missing:
                    return missing
                missing = missing - self.of(provider.elf, roughly=roughly).offered
        return missing
