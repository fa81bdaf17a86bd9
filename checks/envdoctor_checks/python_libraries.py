"""What the loader refuses to an interpreter whose torch is whole: room for late libraries, what
Python itself is linked with, and the compiled module that a stray file hides."""

import os
import re
from collections.abc import Iterator

from envdoctor.api import (
    Code,
    CompanionImports,
    Findings,
    Fix,
    Layer,
    Place,
    Safety,
    Severity,
    Site,
    TorchBuild,
    TorchImport,
    check,
    command,
    interpreters,
    packages,
    surroundings,
)
from envdoctor_checks.error_readings import Case, Reading, first_that_says
from envdoctor_checks.import_failures import NOT_FOUND

PYTHON_LACKS_LIBRARY = Code(
    id="ED117",
    name="python-lacks-library",
    family="python-lacks-library",
    severity=Severity.ERROR,
    topic="python",
    layer=Layer.INTERPRETER,
    breaks="import:torch",
    message="a library that this Python was built with is gone from the system",
    detailed="`{thing}`, which this Python was built with, is gone from the system",
)
COMPILED_MODULE_HIDDEN = Code(
    id="ED118",
    name="compiled-module-hidden",
    family="damaged-install",
    severity=Severity.ERROR,
    topic="python",
    layer=Layer.FILES,
    breaks="import:torch",
    message="a file that torch does not bring makes a package of the folder `torch/_C`",
    detailed="`{thing}`, which torch does not bring, makes a package of its folder, and that hides "
    "the compiled module of the same name",
)
STATIC_TLS_EXHAUSTED = Code(
    id="ED339",
    name="static-tls-exhausted",
    family="static-tls-exhausted",
    severity=Severity.ERROR,
    topic="libraries",
    layer=Layer.LIBRARIES,
    breaks="import:torch",
    message="a library comes too late for the room that static TLS has",
    detailed="`{thing}` comes too late: no room is left for it in the static TLS block",
)

_PACKAGES = {
    "libffi": ("libffi", "libffi"),
    "liblzma": ("liblzma", "xz"),
    "libbz2": ("libbz2-1.0", "bzip2"),
    "libsqlite3": ("libsqlite3-0", "sqlite"),
}
"""What brings a library that modules of the standard library are linked with, and hardly anything
else in Python: Debian's package, without the number of its interface, and conda's."""


def _of_python(case: Case) -> Iterator[Fix]:
    name, _, number = case.thing.partition(".so.")
    of_debian, of_conda = _PACKAGES[name]
    if case.site.installer is not None and case.site.installer.in_conda:
        yield packages.library_of_python(case.site, of_conda)
        return
    yield Fix(
        summary=f"build or install this Python again, so that it takes the {name} that is here, or "
        f"bring `{case.thing}` back (Debian called it {of_debian}{number})",
        where=Place.IMAGE if case.site.contained else Place.HERE,
    )
    yield interpreters.try_in_target(
        case.site.target, "import _ctypes, _lzma, _bz2, _sqlite3", summary="see what else it lacks"
    )


def _of_hidden_module(case: Case) -> Iterator[Fix]:
    aside = f"{case.thing}.aside"
    yield Fix(
        summary=f"move `{case.thing}` away: nothing in torch needs it, and installing torch again "
        "leaves it where it is",
        commands=(command("mv", "-n", "--", case.thing, aside),),
        safety=Safety.CHANGES_ENV,
    )


_MANY_BYTES = 65536


def _of_static_tls(case: Case) -> Iterator[Fix]:
    if os.path.isabs(case.thing):
        yield surroundings.set_variable(
            "LD_PRELOAD",
            case.thing,
            summary="load it as the program starts, while there is room",
        )
    yield surroundings.set_variable(
        "GLIBC_TUNABLES",
        f"glibc.rtld.optional_static_tls={_MANY_BYTES}",
        summary="keep more room for late libraries (glibc 2.32 and later)",
    )
    yield Fix(summary="or import torch before what has taken the room (scikit-learn, OpenCV)")


READINGS = (
    Reading(
        text=re.compile(r"(?<![^\s:])([^\s:]+): cannot allocate memory in static TLS block"),
        code=STATIC_TLS_EXHAUSTED,
        fixes=_of_static_tls,
        note="thread-local variables of the kind `initial-exec` lie in a block that is laid out as "
        "the program starts; for libraries that come later a small reserve is kept",
    ),
    Reading(
        text=re.compile(rf"(?<![^\s:])((?:{'|'.join(_PACKAGES)})\.so\.[\d.]+)" + NOT_FOUND),
        code=PYTHON_LACKS_LIBRARY,
        fixes=_of_python,
        note="as where a system went on to the next release and took the older library away",
    ),
    Reading(
        text=re.compile(r"from 'torch\._C' \((/[^()\n]+/torch/_C/__init__\.pyc?)\)"),
        code=COMPILED_MODULE_HIDDEN,
        fixes=_of_hidden_module,
        note="torch/_C/ holds stubs for type checkers alone; a package comes before a module of "
        "that name",
    ),
)


@check(*(reading.code for reading in READINGS))
def refused_to_the_interpreter(
    imported: TorchImport,
    companions: CompanionImports | None,
    build: TorchBuild | None,
    site: Site,
) -> Findings:
    """The exception of an import names a library of Python's own, the block of static TLS, or a
    file in torch/_C."""
    yield from first_that_says(READINGS, imported, companions, build, site)
