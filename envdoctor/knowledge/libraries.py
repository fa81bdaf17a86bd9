"""The libraries of CUDA and torch: what each is called, who brings it, and what it opens.

One record a component serves the loader, the versions on disk, the checks and their repairs.
"""

import os
import re
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Literal

import msgspec

from envdoctor.record import Record

_SONAME = re.compile(r"(lib[\w+-]+?)(?:-[0-9a-f]{8})?\.so(?:\.(\d+))?")


class Dlopen(Record):
    """A library that another opens by name while torch runs; no NEEDED entry speaks of it.

    `caller` is the stem of the library that calls dlopen, by whose RPATH or RUNPATH the name is
    searched. In `name`, `{major}` stands for the number after `.so.` in the caller's soname,
    `{cuda}` for the major of torch's CUDA, and `{version}` for the version that follows the name in
    the caller's file. `when`: `query` (torch asks for a version) or `use` (the first work on a
    GPU). `majors` limits the call to those majors of the caller, `if_named` to callers in whose
    file the name's stem occurs: later releases open parts that earlier ones do not know.
    """

    caller: str
    name: str
    when: Literal["query", "use"] = "use"
    optional: bool = False
    majors: tuple[int, ...] = ()
    if_named: bool = False


class VersionStatements(Record):
    """Where the files of a component state its version, beside the metadata of its wheel: macros
    of a header, and a text in the library (a pattern whose group is the version)."""

    header: str = ""
    macros: tuple[str, ...] = ()
    text: str = ""


class Library(Record):
    """One component: the libraries that are released, installed and exchanged together.

    `origin` says with what it comes. `stems` are the sonames up to `.so`; `*` at the end stands for
    any further word. `uses_cuda` marks the libraries of CUDA and those that are compiled with it.
    `package` is the wheel's name without the CUDA major (`nvidia-nccl` for nvidia-nccl-cu12), None
    where no wheel of its own brings it. `symbols` are patterns of the symbols that each library
    offers, by stem; of all records, the first that fits decides. `versions` is None where nobody
    compares them. `torch_file` is the file in torch/lib that a build must hold, with `uses_cuda` a
    build with CUDA.
    """

    name: str
    origin: Literal["toolkit", "driver", "torch", "other"]
    stems: tuple[str, ...]
    source: str
    retrieved: str
    uses_cuda: bool = False
    package: str | None = None
    symbols: dict[str, str] = msgspec.field(default_factory=dict)
    versions: VersionStatements | None = None
    torch_file: str | None = None
    dlopens: tuple[Dlopen, ...] = ()

    def is_package(self, distribution: str) -> bool:
        """Whether a distribution, by its normal name, is the wheel of this component."""
        if self.package is None:
            return False
        return re.fullmatch(rf"{re.escape(self.package)}(-cu\d+)?", distribution) is not None


class LibrariesFile(Record):
    """libraries.json."""

    as_of: str
    libraries: tuple[Library, ...]


def stem_of(soname: str) -> str:
    """`libcudnn` for `libcudnn.so.9`; auditwheel's hash is no part of it."""
    match = _SONAME.match(soname)
    return match[1] if match else soname


def major_of(soname: str) -> int | None:
    """9 for `libcudnn.so.9`; None where the soname has no number."""
    match = _SONAME.match(soname)
    return int(match[2]) if match and match[2] else None


class LibraryCatalogue:
    """The catalogue, to be asked by file name, by symbol and by caller."""

    def __init__(self, records: tuple[Library, ...]) -> None:
        self.records = records
        stems = {stem: record for record in records for stem in record.stems}
        self._exact = {stem: one for stem, one in stems.items() if not stem.endswith("*")}
        self._prefixes = {stem[:-1]: one for stem, one in stems.items() if stem.endswith("*")}

    def of(self, file: str) -> Library | None:
        """The component of a library, by its soname or path; None for all others."""
        stem = stem_of(os.path.basename(file))
        exact = self._exact.get(stem)
        if exact is not None:
            return exact
        return next((one for start, one in self._prefixes.items() if stem.startswith(start)), None)

    def is_of(self, component: str, file: str) -> bool:
        """Whether a library, by its soname or path, is one of that component's."""
        found = self.of(file)
        return found is not None and found.name == component

    def uses_cuda(self, file: str) -> bool:
        """Whether a library is one of CUDA's, or of torch's own that use them."""
        found = self.of(file)
        return found is not None and found.uses_cuda

    def is_of_driver(self, file: str) -> bool:
        """Whether the NVIDIA driver installs it: that it is absent without one is no fault."""
        found = self.of(file)
        return found is not None and found.origin == "driver"

    @cached_property
    def _providers(self) -> tuple[tuple[re.Pattern[str], str], ...]:
        patterns = [item for record in self.records for item in record.symbols.items()]
        return tuple((re.compile(pattern), stem) for stem, pattern in patterns)

    def provider_of(self, symbol: str) -> str | None:
        """The stem of the library that offers a symbol; None where its name does not tell."""
        return next((stem for pattern, stem in self._providers if pattern.match(symbol)), None)

    def torch_files(self, *, cuda: bool) -> tuple[str, ...]:
        """The files in torch/lib that a build must hold."""
        return tuple(
            one.torch_file for one in self.records if one.torch_file and (cuda or not one.uses_cuda)
        )

    def opened_by(
        self, soname: str, cuda_major: str | None, version_in: Callable[[str], str | None]
    ) -> Iterator[tuple[Dlopen, str]]:
        """The calls of dlopen that a library makes, each with the name that it asks for.

        `version_in` gives the version digits that follow a text in the library's file, empty where
        none do, None where the text does not occur.
        """
        record, stem, major = self.of(soname), stem_of(soname), major_of(soname)
        for call in record.dlopens if record else ():
            if call.caller != stem or (call.majors and major not in call.majors):
                continue
            if "{cuda}" in call.name and cuda_major is None:
                continue
            if call.if_named and version_in(stem_of(call.name)) is None:
                continue
            prefix, placeholder, _ = call.name.partition("{version}")
            version = version_in(prefix) if placeholder else ""
            if version is not None:
                yield call, call.name.format(major=major, cuda=cuda_major, version=version)
