"""Packages of another Python, or of another machine, than the one that is to import them."""

import re

from msgspec.structs import replace

from envdoctor.api import (
    Code,
    CompanionImports,
    Distribution,
    Distributions,
    Evidence,
    Findings,
    Interpreter,
    Layer,
    Prescription,
    Severity,
    Site,
    TorchAbsent,
    TorchImport,
    check,
    interpreters,
    packages,
)
from envdoctor_checks.import_failures import failures_of

WHEELS_OF_ANOTHER_PYTHON = Code(
    id="ED107",
    name="wheels-of-another-python",
    family="wheels-of-another-python",
    severity=Severity.ERROR,
    topic="python",
    layer=Layer.INTERPRETER,
    breaks="import:torch",
    message="torch was compiled for another Python than the one that imports it",
    detailed="{name} {version} was compiled for {theirs}, and this is {ours}",
)
PACKAGES_OF_ANOTHER_PYTHON = Code(
    id="ED112",
    name="packages-of-another-python",
    family="packages-of-another-python",
    severity=Severity.ERROR,
    topic="python",
    layer=Layer.INTERPRETER,
    breaks="import:torch",
    message="torch lies with the packages of another Python, which this one does not read",
    detailed="torch lies in `{folder}`, with the packages of Python {theirs}, and this is Python "
    "{ours}, which does not read them",
)

_SHOWN = 8


@check(WHEELS_OF_ANOTHER_PYTHON)
def wheels_of_another_python(
    interpreter: Interpreter, distributions: Distributions, imported: TorchImport | None
) -> Findings:
    """Torch lies in the packages of this Python, and its wheel is one for another.

    So it is where site-packages was copied or an operating system took its Python away. What
    a path brings from elsewhere is told of that path.
    """
    torch = distributions.first("torch")
    if torch is None or torch.location not in interpreter.site_packages:
        return
    if interpreter.implementation != "CPython" or (imported and imported.outcome == "ok"):
        return
    theirs = _meant_for(torch, interpreter)
    if theirs is None:
        return
    others = [
        one
        for one in distributions.items
        if one.location == torch.location and one is not torch and _meant_for(one, interpreter)
    ]
    ours = _own(interpreter)
    here = ours if theirs.startswith("Python") else _place_of(interpreter, theirs)
    again = f"make a new environment {_with(here)} and install everything into it again"
    rest = len(others) - _SHOWN
    yield WHEELS_OF_ANOTHER_PYTHON.finding(
        name="torch",
        version=torch.version,
        theirs=theirs,
        ours=here,
        evidence=tuple(
            Evidence(label=one.name, value=" ".join(one.tags[:2]), source=one.metadata_path)
            for one in (torch, *others[:_SHOWN])
        ),
        fixes=(
            interpreters.new_environment(
                f"{again}, or use {theirs}" if theirs.startswith("Python") else again
            ),
        ),
        notes=(
            *((f"{len(others)} more compiled packages are for {theirs}",) if others else ()),
            *((f"and {rest} more are not shown",) if rest > 0 else ()),
        ),
    )


@check(WHEELS_OF_ANOTHER_PYTHON)
def package_of_another_python(
    interpreter: Interpreter,
    distributions: Distributions,
    imported: TorchImport | None,
    companions: CompanionImports | None,
    site: Site,
) -> Findings:
    """An import lacks a module of a package whose wheel is for another Python, and torch's is for
    this one: somebody copied that package alone."""
    torch = distributions.first("torch")
    if torch is not None and _meant_for(torch, interpreter):
        return
    broken: dict[str, list[str]] = {}
    for failure in failures_of(imported, companions):
        for module in failure.missing_modules:
            broken.setdefault(module.partition(".")[0], []).append(failure.outcome)
    for one in distributions.items:
        theirs = _meant_for(one, interpreter)
        failed = [outcome for module in broken if _is_of(module, one) for outcome in broken[module]]
        if theirs is None or not failed or one.location not in interpreter.site_packages:
            continue
        yield WHEELS_OF_ANOTHER_PYTHON.finding(
            subjects=(one.name,),
            breaks=tuple(dict.fromkeys(failed)),
            name=one.name,
            version=one.version,
            theirs=theirs,
            ours=_own(interpreter),
            evidence=(
                Evidence(label=one.name, value=" ".join(one.tags[:2]), source=one.metadata_path),
            ),
            fixes=(
                packages.install(
                    site, one.name, summary=f"install a {one.name} for this Python", again=True
                ),
            ),
        )


def _is_of(module: str, one: Distribution) -> bool:
    """Whether a module is called as a distribution, or is one that lies beside its package, as
    `flash_attn_2_cuda` of flash-attn does."""
    name = one.name.replace("-", "_")
    return module.lower() == name or module.startswith(f"{name}_")


@check(PACKAGES_OF_ANOTHER_PYTHON)
def packages_of_another_python(
    absent: TorchAbsent,
    interpreter: Interpreter,
    prescription: Prescription | None,
    site: Site,
) -> Findings:
    """This Python has no torch, and the folder of another beside its own has one.

    So it is where the system went on to a newer Python, below a virtual environment or below the
    user's own packages.
    """
    own = f"/python{_minor(interpreter)}/"
    found = next((one for one in absent.elsewhere if own not in one), "")
    theirs = _OF_MINOR.search(found)
    if not absent.absent or theirs is None:
        return
    python = f"python{theirs[1]}"
    if found.startswith(f"{interpreter.prefix}/") and interpreter.prefix != interpreter.base_prefix:
        fixes = interpreters.with_base_again(replace(site, python=theirs[1]))
    elif site.installer is not None and site.installer.in_conda:
        again = f"or install torch, and what else pip had brought, for Python {_minor(interpreter)}"
        fixes = (
            packages.python_of_conda(site, theirs[1]),
            packages.prescribed(prescription, again),
        )
    else:
        fixes = (
            interpreters.try_in_target(
                python, "import torch", summary=f"use Python {theirs[1]}, if it is still there"
            ),
            interpreters.new_environment(
                f"or make an environment for Python {_minor(interpreter)} and install everything "
                "into it again"
            ),
        )
    yield PACKAGES_OF_ANOTHER_PYTHON.finding(
        folder=found,
        theirs=theirs[1],
        ours=_minor(interpreter),
        evidence=(
            Evidence(label="torch", value=found, source="the folders beside this Python's own"),
        ),
        fixes=fixes,
    )


_OF_MINOR = re.compile(r"/python(3\.\d+)/")


def _minor(interpreter: Interpreter) -> str:
    return "{}.{}".format(*interpreter.version_info[:2])


def _meant_for(item: Distribution, interpreter: Interpreter) -> str | None:
    """The Python, `Python 3.11`, the machine or the libc that a wheel is compiled for, where it is
    not this one."""
    python = _python_of(item, interpreter)
    if python:
        return f"Python {python}"
    if _is_threaded_otherwise(item, interpreter):
        return _in_words(not _is_free_threaded(interpreter), _minor(interpreter))
    others = (_system_of, _machine_of, _libc_of)
    return next(filter(None, (of(item, interpreter) for of in others)), None)


_SYSTEMS = {"macosx": "macOS", "win": "Windows", "manylinux": "Linux", "linux": "Linux"}
"""How the tags of platforms begin (PEP 425, PEP 600)."""


def _system_of(item: Distribution, interpreter: Interpreter) -> str | None:
    """`macOS` of a wheel that was installed there and copied here; null where it is of this one."""
    platforms = [tag.split("-", 2)[-1] for tag in item.tags]
    systems = {
        next((name for start, name in _SYSTEMS.items() if one.startswith(start)), "any")
        for one in platforms
    }
    ours = _own_system(interpreter)
    if not interpreter.soabi:
        return None
    return next(iter(systems)) if len(systems) == 1 and not systems & {ours, "any"} else None


def _own_system(interpreter: Interpreter) -> str:
    """By the tag of compiled modules: `cpython-311-darwin`, `cp311-win_amd64`."""
    soabi = interpreter.soabi or ""
    return "macOS" if "darwin" in soabi else "Windows" if "win" in soabi else "Linux"


def _own(interpreter: Interpreter) -> str:
    return _in_words(_is_free_threaded(interpreter), _minor(interpreter))


def _in_words(free_threaded: bool, minor: str) -> str:
    return f"Python {minor}t, the free-threaded one" if free_threaded else f"Python {minor}"


def _is_free_threaded(interpreter: Interpreter) -> bool:
    """By the tag of compiled modules, `cpython-313t-...` (PEP 703)."""
    return re.match(r"cpython-\d+t", interpreter.soabi or "") is not None


def _is_threaded_otherwise(item: Distribution, interpreter: Interpreter) -> bool:
    """Whether a wheel is for this release of Python, and for the build with or without its lock."""
    if not interpreter.soabi:
        return False
    own = "cp{}{}".format(*interpreter.version_info[:2])
    wanted = f"{own}t" if _is_free_threaded(interpreter) else own
    abis = {abi for one in item.tags for _, abi, *_ in [one.split("-")] if abi.startswith("cp")}
    return bool(abis) and wanted not in abis and abis <= {own, f"{own}t"}


def _libc_of(item: Distribution, interpreter: Interpreter) -> str | None:
    """`glibc` of a wheel for a Python of musl, and the reverse (PEP 600, PEP 656)."""
    wrong, theirs = ("manylinux", "glibc") if interpreter.of_musl else ("musllinux", "musl")
    platforms = [tag.split("-", 2)[-1] for tag in item.tags]
    return theirs if platforms and all(one.startswith(wrong) for one in platforms) else None


def _with(here: str) -> str:
    """The Python that a new environment has to have: torch is published for glibc and 64 bits."""
    if here == "musl":
        return "with a Python of glibc, as images of Debian and Ubuntu have,"
    return "with a Python of 64 bits" if here in ("i686", "armv7l") else f"for {here}"


def _place_of(interpreter: Interpreter, theirs: str) -> str:
    """What a Python is of, in the words in which a wheel is of another."""
    if theirs in _SYSTEMS.values():
        return _own_system(interpreter)
    if theirs in ("glibc", "musl"):
        return "musl" if interpreter.of_musl else "glibc"
    return interpreter.arch


def _machine_of(item: Distribution, interpreter: Interpreter) -> str | None:
    """The machine of a Linux wheel, `aarch64` (PEP 600); null where it is this one, or not told."""
    platforms = [tag.split("-", 2)[-1] for tag in item.tags]
    machines = [match[1] for one in platforms if (match := _LINUX.fullmatch(one))]
    if len(machines) < len(platforms) or interpreter.arch in machines:
        return None
    return next(iter(machines), None)


_LINUX = re.compile(
    r"(?:many|musl)?linux(?:\d+|_\d+_\d+)?_(x86_64|i686|aarch64|armv7l|ppc64le|s390x|riscv64)"
)


def _python_of(item: Distribution, interpreter: Interpreter) -> str | None:
    """The Python that a wheel is compiled for, `3.11`, where it is not this one (PEP 425)."""
    own = "cp{}{}".format(*interpreter.version_info[:2])
    parts = [tag.split("-") for tag in item.tags]
    if not parts or any(len(one) < 3 for one in parts):
        return None
    if any(python == own or not abi.startswith("cp") for python, abi, *_ in parts):
        return None
    python = parts[0][0]
    return f"{python[2]}.{python[3:]}" if python.startswith("cp") and len(python) > 3 else None
