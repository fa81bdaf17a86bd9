"""Facts about the target's Python: the interpreter and what is installed for it."""

import re
from typing import Literal

from envdoctor.facts.base import Fact
from envdoctor.record import Record

__all__ = [
    "Candidate",
    "DamagedDistribution",
    "DamagedFile",
    "Distribution",
    "Distributions",
    "InstalledFiles",
    "Installer",
    "Interpreter",
    "PathLine",
    "Target",
]


TargetProblem = Literal[
    "not-found", "not-executable", "not-python", "base-missing", "too-old", "failed"
]
"""Why an interpreter cannot be examined. `base-missing`: a link whose end is gone, as in a venv
whose Python was removed. `failed`: a Python that does not answer."""


class Candidate(Record):
    """An interpreter that was considered as the target."""

    path: str
    origin: str
    torch_on_disk: bool | None
    problem: TargetProblem | None = None


class Target(Fact):
    """Which interpreter is examined, and why that one; `problem` is null for a usable one."""

    path: str
    chosen_because: str
    passed_over: tuple[Candidate, ...] = ()
    problem: TargetProblem | None = None
    detail: str = ""
    version: str | None = None
    site_packages: tuple[str, ...] = ()


class PathLine(Record):
    """A line of a .pth file: a folder that is added to the path, or code that starts by `import`.
    `number` is that of the line in its file, from 1."""

    file: str
    number: int
    text: str


class Interpreter(Fact):
    """The target interpreter as it describes itself. Paths are as the interpreter gives them.

    `read_only` says that its site-packages lie on a file system that is mounted read-only,
    `has_pip` that a folder of the module path has pip, `has_ensurepip` that the standard library
    can bring it, which Debian keeps in packages of its own; where nobody looked, both are assumed.
    `damaged_pip` is a folder of its packages whose pip lacks parts.
    `closed` are folders of the module path, and of torch in it, that this user may not look into,
    `aliases` those that are one of `site_packages` by another name, as `lib64` is of `lib`.
    """

    executable: str
    version: str
    version_info: tuple[int, int, int]
    implementation: str
    soabi: str | None
    machine: str
    prefix: str
    base_prefix: str
    sys_path: tuple[str, ...]
    site_packages: tuple[str, ...]
    user_site: str | None
    user_site_enabled: bool
    safe_path: bool
    stdlib: str
    cwd: str
    conda_prefix: str | None = None
    externally_managed: bool = False
    glibc: str | None = None
    path_lines: tuple[PathLine, ...] = ()
    read_only: bool = False
    has_pip: bool = True
    has_ensurepip: bool = True
    damaged_pip: str | None = None
    closed: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()

    @property
    def of_musl(self) -> bool:
        """Whether it was compiled for musl, the libc of Alpine Linux."""
        return "-linux-musl" in (self.soabi or "")

    @property
    def arch(self) -> str:
        """The processor that it was compiled for, as `uname -m` would call it.

        A 64-bit kernel names its own machine to a Python of 32 bits too; that one's tag of compiled
        modules names the other (PEP 3149; Debian's multiarch tuples).
        """
        stated = _OF_LINUX.search(self.soabi or "")
        return _OF_32_BITS.get(stated[1], self.machine) if stated else self.machine


_OF_LINUX = re.compile(r"-(\w+)-linux-")
_OF_32_BITS = {"i386": "i686", "i686": "i686", "arm": "armv7l"}


class Distribution(Record):
    """An installed distribution, read from its metadata folder."""

    name: str
    version: str
    location: str
    metadata_path: str
    installer: str | None = None
    tags: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    requires_python: str | None = None
    editable: bool = False
    has_record: bool = True


class Distributions(Fact):
    """All distributions on the target's path, in path order; `name` is normalised (PEP 503)."""

    items: tuple[Distribution, ...]
    unreadable: tuple[str, ...] = ()

    def named(self, name: str) -> tuple[Distribution, ...]:
        """The distributions of that normalised name, in path order."""
        return tuple(item for item in self.items if item.name == name)

    def first(self, name: str) -> Distribution | None:
        """The distribution of that name that an import would see."""
        return next(iter(self.named(name)), None)


class DamagedFile(Record):
    """A file that differs from the RECORD of its distribution, or that is closed to this user.

    `actual` of a missing file is empty, or the link that is in place of its package's folder:
    `nvidia -> /mnt/other`.
    """

    path: str
    kind: Literal["missing", "size", "hash", "closed"]
    expected: str = ""
    actual: str = ""


class DamagedDistribution(Record):
    """A distribution with files that differ from its RECORD. At most 50 files are named."""

    name: str
    version: str
    metadata_path: str
    files: tuple[DamagedFile, ...]
    damaged_count: int


class InstalledFiles(Fact):
    """Whether the files of the installed distributions are those that their RECORD lists.

    At most 200 distributions are named, those beside torch first; `more_damaged` is how many others
    differ.
    """

    damaged: tuple[DamagedDistribution, ...]
    checked_files: int
    hashed: bool = False
    more_damaged: int = 0


PipOption = Literal[
    "constraint",
    "dry-run",
    "extra-index-url",
    "ignore-installed",
    "index-url",
    "no-deps",
    "no-index",
    "prefix",
    "python",
    "require-hashes",
    "require-virtualenv",
    "root",
    "target",
    "user",
]


class PipSetting(Record):
    """An option that pip is given for every command; `source` is the variable or the file."""

    option: PipOption
    source: str


class Installer(Fact):
    """What manages the target environment: pip, uv, conda, pixi, poetry, pipenv, pdm ...

    `pip_settings` are those by which a command of pip fails or installs elsewhere; their values are
    not kept, since an index may name a password. Of the indexes those of PyTorch alone count.
    `hides_from_pip` is a file that `python -m pip` imports, as it is started here, in place of a
    module of the standard library.
    """

    name: str
    evidence: str
    in_conda: bool = False
    pip_settings: tuple[PipSetting, ...] = ()
    hides_from_pip: str | None = None
