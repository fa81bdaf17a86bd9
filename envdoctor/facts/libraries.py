"""What the loader will do in the target, as facts."""

from typing import Literal

from envdoctor.facts.base import Fact
from envdoctor.record import Record

OwnerKind = Literal["wheel", "conda", "dpkg"]
ProblemKind = Literal["missing", "unreadable", "version", "symbol"]
OpenedBy = Literal["needed", "dlopen", "preload"]
OpenedAt = Literal["start", "import", "query", "use"]
SearchRule = Literal[
    "LD_PRELOAD",
    "ld.so.preload",
    "RPATH",
    "LD_LIBRARY_PATH",
    "RUNPATH",
    "ld.so.cache",
    "default directory",
    "path",
    "preloaded by torch",
    "installed wheel",
]
"""What leads to a file: the loader's own rules, in its order; a path that is named, by torch itself
too; or, where the loader finds none, the wheel that has such a file."""


class Owner(Record):
    """Who installed a file. `intact` is false where the file's size is not the recorded one, null
    where no size was recorded."""

    kind: OwnerKind
    name: str
    version: str
    intact: bool | None = None


class Problem(Record):
    """Why an object cannot be had or used.

    `kind`: missing (no file of that name), unreadable (a file that the loader refuses or that is
    truncated), version (version nodes `names` that the file at `path` lacks), symbol (undefined
    symbols `names` in `needed_by`; `path` is the library that should have offered them).
    """

    kind: ProblemKind
    library: str
    needed_by: str
    path: str | None = None
    detail: str = ""
    names: tuple[str, ...] = ()


class Offer(Record):
    """Another file that has the wanted name."""

    path: str
    rule: SearchRule
    owner: Owner | None = None
    version: str | None = None


class ResolvedLibrary(Record):
    """One library and the file that wins.

    `path` is resolved (no symbolic links), null where there is none; `named` is the path by which
    the loader opens it. `rule` and `directory` say why that file. `how`: needed, dlopen, preload.
    `when`: start, import, query (torch says its versions), use (a first operation on a GPU).
    `mapped` says whether it is predicted to be mapped after import and query. `clean_path` is the
    file that would win without LD_LIBRARY_PATH and LD_PRELOAD, where that is another one.
    """

    soname: str
    path: str | None
    named: str | None = None
    rule: SearchRule | None = None
    directory: str = ""
    rule_of: str | None = None
    needed_by: tuple[str, ...] = ()
    how: OpenedBy = "needed"
    when: OpenedAt = "import"
    optional: bool = False
    mapped: bool = False
    owner: Owner | None = None
    version: str | None = None
    clean_path: str | None = None
    alternatives: tuple[Offer, ...] = ()
    problems: tuple[Problem, ...] = ()


class Extension(Record):
    """A compiled module of another distribution, and what keeps it from loading with this torch."""

    distribution: str
    path: str
    problems: tuple[Problem, ...] = ()


class LibraryResolution(Fact):
    """Which libraries torch will load, from where and why; worked out before anything is loaded.

    `import_error` is what the import is predicted to fail with, in the loader's words; null if it
    works. `clean_import_error` is the same without LD_LIBRARY_PATH and LD_PRELOAD.
    """

    root: str
    libraries: tuple[ResolvedLibrary, ...]
    library_path: tuple[str, ...] = ()
    import_error: str | None = None
    clean_import_error: str | None = None
    preload_problems: tuple[Problem, ...] = ()
    extensions: tuple[Extension, ...] = ()
    notes: tuple[str, ...] = ()

    def named(self, stem: str) -> ResolvedLibrary | None:
        """The first library whose soname is `stem` or begins with `stem.so`."""
        for library in self.libraries:
            if library.soname == stem or library.soname.startswith(f"{stem}.so"):
                return library
        return None
