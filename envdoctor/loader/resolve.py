"""The fact: every library that torch will load, the file that wins, why, and what is wrong."""

import os
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from envdoctor.facts.libraries import LibraryResolution, Offer, Owner, Problem, ResolvedLibrary
from envdoctor.facts.python import Distribution
from envdoctor.knowledge import LibraryCatalogue
from envdoctor.loader.extensions import extension_problems
from envdoctor.loader.owners import Owners, wheel_files
from envdoctor.loader.process import MappedObject, SymbolReader
from envdoctor.loader.search import Files, System, offers
from envdoctor.loader.simulate import (
    Entry,
    Program,
    Simulation,
    extension_module,
    simulate,
)
from envdoctor.loader.symbols import with_culprits
from envdoctor.record import Record
from envdoctor.regular_files import only_regular

_PAGES = 64 * 1024
_OWN_MODULES = ("_ctypes.",)


class Surroundings(Record):
    """What is installed around the program: distributions, and the conda prefix if there is one."""

    distributions: tuple[Distribution, ...] = ()
    conda_prefix: str | None = None


def resolve(
    program: Program, system: System, around: Surroundings, libraries: LibraryCatalogue
) -> LibraryResolution:
    """Work out the whole resolution. Reads files only."""
    files, symbols = Files(), SymbolReader()
    run = simulate(program, system, files, symbols, libraries)
    clean = None
    if system.library_path or system.preload:
        plain = msgspec.structs.replace(system, library_path=(), preload=())
        clean = simulate(program, plain, files, symbols, libraries)
    wheels = wheel_files(around.distributions)
    extensions = extension_problems(program, run, wheels)
    problems = with_culprits(run.problems, run.process, libraries)
    records = _Records(run, clean, system, files, wheels).all(problems)
    owned = _with_owners(records, Owners(wheels=wheels, conda_prefix=around.conda_prefix))
    return LibraryResolution(
        root=extension_module(program) or os.path.join(program.torch_path, "_C"),
        libraries=tuple(owned),
        library_path=system.library_path,
        import_error=run.import_error,
        clean_import_error=(clean or run).import_error,
        preload_problems=tuple(run.preload_problems),
        extensions=extensions,
        notes=(system.cache_problem,) if system.cache_problem else (),
    )


class _Records:
    """Builds the records of one run beside those of the run without LD_LIBRARY_PATH."""

    def __init__(
        self,
        run: Simulation,
        clean: Simulation | None,
        system: System,
        files: Files,
        wheels: Mapping[str, object],
    ) -> None:
        self.run = run
        self.clean = clean
        self.system = system
        self.files = files
        self.wheels = wheels
        self.mapped = set(map(id, self.run.mapped))
        self.clean_paths: dict[str, str] = {}
        for entry in self.clean.entries if self.clean else ():
            if entry.loaded is not None:
                real = os.path.realpath(entry.loaded.path)
                self.clean_paths.setdefault(_soname(entry), real)
        self.by_name: dict[str, list[str]] = {}
        for path in self.wheels:
            self.by_name.setdefault(os.path.basename(path), []).append(path)

    def all(self, problems: Iterable[Problem]) -> list[ResolvedLibrary]:
        """One record a library, in the order of loading; those that are missing come last."""
        problems = list(problems)
        found: dict[tuple[str, str | None], ResolvedLibrary] = {}
        for entry in self.run.entries:
            if entry.loaded is self.run.process.main or _is_own(entry.asked):
                continue
            name = _soname(entry)
            record = self._record(entry, name, problems)
            if record.path is None and any(name == other for other, _ in found):
                continue
            found.pop((name, None), None)
            found.setdefault((name, record.path), record)
        for problem in problems:
            name = os.path.basename(problem.library)
            if not any(name == other for other, _ in found):
                found[name, None] = self._absent(name, problem, problems)
        return list(found.values())

    def _record(self, entry: Entry, name: str, problems: list[Problem]) -> ResolvedLibrary:
        loaded = entry.loaded
        if loaded is None:
            return ResolvedLibrary(
                soname=name,
                path=None,
                needed_by=(entry.caller,),
                how=entry.how,
                when=entry.when,
                optional=self.run.libraries.is_of_driver(name),
                clean_path=self.clean_paths.get(name),
                alternatives=tuple(self._of_wheels(name)),
                problems=tuple(p for p in problems if _concerns(p, name, entry)),
            )
        path = os.path.realpath(loaded.path)
        clean = self.clean_paths.get(name)
        by = [entry.caller, *loaded.needed_by] if entry.caller else loaded.needed_by
        return ResolvedLibrary(
            soname=name,
            path=path,
            named=loaded.path,
            rule=loaded.place.rule,
            directory=loaded.place.directory or loaded.origin,
            rule_of=loaded.place.of,
            needed_by=tuple(dict.fromkeys(by)),
            how=entry.how,
            when=entry.when,
            mapped=id(loaded) in self.mapped,
            clean_path=None if clean == path else clean,
            alternatives=tuple(self._alternatives(name, loaded)),
            problems=tuple(p for p in problems if _concerns(p, name, entry)),
        )

    def _of_wheels(self, name: str) -> Iterator[Offer]:
        """The files of that name that wheels brought, wherever they lie."""
        for path in self.by_name.get(name, ()):
            if os.path.exists(path):
                yield Offer(path=path, rule="installed wheel")

    def _absent(self, name: str, problem: Problem, problems: list[Problem]) -> ResolvedLibrary:
        return ResolvedLibrary(
            soname=name,
            path=None,
            named=problem.path,
            needed_by=tuple(
                dict.fromkeys(p.needed_by for p in problems if p.library == problem.library)
            ),
            when="use" if self.run.import_error is None else "import",
            clean_path=self.clean_paths.get(name),
            alternatives=tuple(self._of_wheels(name)),
            problems=tuple(p for p in problems if p.library == problem.library),
        )

    def _alternatives(self, name: str, loaded: MappedObject) -> Iterator[Offer]:
        """The other files of that name that a search from the same place, or a wheel, offers."""
        seen: set[tuple[int, int]] = set()
        requester = loaded.loader or self.run.process.main
        met = offers(name, requester, self.run.process.main, self.system, self.files)
        candidates = [(path, place.rule) for path, place in met]
        candidates += [(path, "installed wheel") for path in self.by_name.get(name, ())]
        for path, rule in candidates:
            try:
                status = os.stat(path)
            except OSError:
                continue
            identity = (status.st_dev, status.st_ino)
            if identity in seen or (identity == loaded.elf.identity and _is_same(path, loaded)):
                continue
            seen.add(identity)
            yield Offer(path=os.path.realpath(path), rule=rule)


def _is_same(path: str, loaded: MappedObject) -> bool:
    """Whether a path leads to the file that is loaded; a hard link elsewhere, as installers make of
    what they have in store, is another one."""
    return path == loaded.path or os.path.realpath(path) == os.path.realpath(loaded.path)


def _soname(entry: Entry) -> str:
    if entry.loaded is not None and "/" in entry.asked:
        return entry.loaded.elf.soname or os.path.basename(entry.asked)
    return os.path.basename(entry.asked)


def _is_own(asked: str) -> bool:
    return os.path.basename(asked).startswith(_OWN_MODULES)


def _concerns(problem: Problem, name: str, entry: Entry) -> bool:
    """Whether a problem is one of this library, and, where the problem has a file, of its file."""
    if os.path.basename(problem.library) not in (name, os.path.basename(entry.asked)):
        return False
    if problem.path is None or entry.loaded is None:
        return True
    return os.path.realpath(problem.path) == os.path.realpath(entry.loaded.path)


def _with_owners(libraries: Iterable[ResolvedLibrary], owners: Owners) -> Iterator[ResolvedLibrary]:
    libraries = list(libraries)
    paths = [library.named or library.path for library in libraries]
    paths += [offer.path for library in libraries for offer in library.alternatives]
    known = owners.of(path for path in paths if path)
    for library in libraries:
        owner = known.get(library.named or library.path or "")
        if library.path is None and owner is None:
            owner = owners.recorded(library.soname)
        yield msgspec.structs.replace(
            library,
            owner=owner,
            version=version_of(library.path, owner) or _version_of_twin(library, known),
            alternatives=tuple(
                msgspec.structs.replace(
                    offer,
                    owner=known.get(offer.path),
                    version=version_of(offer.path, known.get(offer.path)),
                )
                for offer in library.alternatives
            ),
        )


def _version_of_twin(library: ResolvedLibrary, known: Mapping[str, Owner]) -> str | None:
    """The version of a package's file that has the same size and beginning, if one is offered."""
    for offer in library.alternatives if library.path else ():
        version = version_of(offer.path, known.get(offer.path))
        if version is not None and _are_alike(library.path or "", offer.path):
            return version
    return None


def _are_alike(one: str, other: str) -> bool:
    """Same size and same first pages, where the build id is."""
    try:
        if os.path.getsize(one) != os.path.getsize(other):
            return False
        with (
            open(one, "rb", opener=only_regular) as first,
            open(other, "rb", opener=only_regular) as second,
        ):
            return first.read(_PAGES) == second.read(_PAGES)
    except OSError:
        return False


def version_of(path: str | None, owner: Owner | None) -> str | None:
    """A library's version: its package's while the file is the package's, else its file name's."""
    if path is None:
        return None
    if owner is not None and owner.intact is not False:
        return owner.version or None
    _, dot, version = os.path.basename(path).partition(".so.")
    return version if dot and "." in version else None
