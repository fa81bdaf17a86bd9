"""Compiled packages of another Python than the one whose environment they lie in."""

from envdoctor.api import (
    Code,
    Distribution,
    Distributions,
    Evidence,
    Findings,
    Interpreter,
    Layer,
    Severity,
    TorchImport,
    check,
    interpreters,
)

WHEELS_OF_ANOTHER_PYTHON = Code(
    id="ED107",
    name="wheels-of-another-python",
    family="wheels-of-another-python",
    severity=Severity.ERROR,
    topic="python",
    layer=Layer.INTERPRETER,
    breaks="import:torch",
    message="torch was compiled for another Python than the one that imports it",
    detailed="torch {version} was compiled for Python {theirs}, and this is Python {ours}",
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
    theirs = _python_of(torch, interpreter)
    if theirs is None:
        return
    others = [
        one
        for one in distributions.items
        if one.location == torch.location and one is not torch and _python_of(one, interpreter)
    ]
    ours = "{}.{}".format(*interpreter.version_info[:2])
    rest = len(others) - _SHOWN
    yield WHEELS_OF_ANOTHER_PYTHON.finding(
        version=torch.version,
        theirs=theirs,
        ours=ours,
        evidence=tuple(
            Evidence(label=one.name, value=" ".join(one.tags[:2]), source=one.metadata_path)
            for one in (torch, *others[:_SHOWN])
        ),
        fixes=(
            interpreters.new_environment(
                f"make a new environment for Python {ours} and install everything into it again, "
                f"or use Python {theirs}"
            ),
        ),
        notes=(
            *((f"{len(others)} more compiled packages are for another Python",) if others else ()),
            *((f"and {rest} more are not shown",) if rest > 0 else ()),
        ),
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
