"""The target's Python environment: the interpreter, installed files, duplicates, shadowing."""

import os
from collections.abc import Iterator

from envdoctor.api import (
    Code,
    Confidence,
    DamagedDistribution,
    DamagedFile,
    Distributions,
    Environment,
    Evidence,
    Finding,
    Findings,
    Fix,
    InstalledFiles,
    Installer,
    Interpreter,
    Layer,
    Safety,
    Severity,
    Target,
    TorchBuild,
    TorchImport,
    check,
)
from envdoctor.repair import restore

DAMAGED_INSTALL = Code(
    id="ED100",
    name="damaged-install",
    family="damaged-install",
    severity=Severity.ERROR,
    topic="python",
    layer=Layer.FILES,
    breaks="import:torch",
    message="installed files differ from those that their distribution brought",
    detailed="{count} of the files of {distribution} {version} differ from those it installed: "
    "`{file}` {what}",
    explains=("ED349",),
)
DUPLICATE_DISTRIBUTION = Code(
    id="ED101",
    name="duplicate-distribution",
    family="duplicate-distribution",
    severity=Severity.WARNING,
    topic="python",
    layer=Layer.FILES,
    message="a distribution is installed more than once",
    detailed="{distribution} is installed {count} times: {versions}",
)
PYTHON_TOO_OLD = Code(
    id="ED102",
    name="python-too-old",
    family="python-too-old",
    severity=Severity.ERROR,
    topic="python",
    layer=Layer.INTERPRETER,
    breaks="import:torch",
    message="the target is a Python from before 3.8",
    detailed="the target is Python {version}, and envdoctor examines Python 3.8 and later",
)
TARGET_UNUSABLE = Code(
    id="ED103",
    name="target-unusable",
    family="target-unusable",
    severity=Severity.ERROR,
    topic="python",
    layer=Layer.INTERPRETER,
    breaks="import:torch",
    message="the target cannot be used as a Python",
    detailed="`{path}` cannot be used as a Python: {detail}",
)
MODULE_SHADOWING = Code(
    id="ED105",
    name="module-shadowing",
    family="module-shadowing",
    severity=Severity.ERROR,
    topic="python",
    layer=Layer.FILES,
    breaks="import:torch",
    message="a module is imported from another place than where it is installed",
    detailed="`{module}` is imported from `{file}`, not from {instead}",
    explains=("ED349",),
)

_NOT_CODE = (".h", ".hpp", ".cuh", ".cmake", ".pyi", ".txt", ".md", ".rst", ".typed", ".json")
_KINDS = {
    "missing": "is missing",
    "size": "has {actual} bytes, not {expected}",
    "hash": "was changed",
}


@check(TARGET_UNUSABLE)
def target_unusable(target: Target) -> Findings:
    """The path that was given, or the only one that was found, is no working Python."""
    if target.problem is None or target.problem == "too-old":
        return
    yield TARGET_UNUSABLE.finding(
        path=target.path,
        detail=target.detail,
        evidence=(Evidence(label="problem", value=target.problem, source=target.path),),
        fixes=(_other_target(target),),
    )


def _other_target(target: Target) -> Fix:
    if target.problem == "base-missing":
        folder = os.path.dirname(os.path.dirname(target.path))
        return Fix(
            summary="make the virtual environment anew with a Python that exists",
            commands=(f"python3 -m venv --clear {folder}",),
            safety=Safety.CHANGES_ENV,
        )
    return Fix(
        summary="name the interpreter, venv folder or conda prefix in which torch is used",
        commands=("envdoctor check --python PATH",),
        safety=Safety.SAFE,
    )


@check(PYTHON_TOO_OLD)
def python_too_old(target: Target) -> Findings:
    """The target is a Python from before 3.8."""
    if target.problem != "too-old":
        return
    yield PYTHON_TOO_OLD.finding(
        version=target.version,
        evidence=(
            Evidence(label="sys.version_info", value=target.version or "", source=target.path),
        ),
        fixes=(
            Fix(
                summary="make an environment with a Python that current torch releases support",
                commands=("python3 -m venv .venv",),
                safety=Safety.CHANGES_ENV,
            ),
        ),
        notes=("the last torch for Python 3.7 is 1.13.1 (python tags of its wheels on PyPI)",),
    )


@check(DAMAGED_INSTALL)
def damaged_install(
    installed: InstalledFiles,
    distributions: Distributions,
    imported: TorchImport | None,
    target: Target | None,
    installer: Installer | None,
) -> Findings:
    """Files of a distribution are missing, truncated or changed."""
    needed = _needed_by_torch(distributions)
    fails = imported is not None and imported.outcome != "ok"
    for item in installed.damaged:
        severity, worst = _worst(item, item.name in needed, fails)
        if severity is Severity.INFO and item.name not in needed:
            continue
        shown = sorted(item.files, key=lambda file: file is not worst)[:5]
        yield DAMAGED_INSTALL.finding(
            subjects=(item.name,),
            severity=severity,
            breaks=_broken_by(item.name),
            distribution=item.name,
            version=item.version,
            count=item.damaged_count,
            file=worst.path,
            what=_what(worst),
            evidence=tuple(
                Evidence(label=file.path, value=_what(file), source=f"{item.metadata_path}/RECORD")
                for file in shown
            ),
            fixes=(restore(item.name, item.version, target=target, installer=installer),),
        )


_OWN_OUTCOME = {
    "triton": ("compile",),
    "pytorch-triton": ("compile",),
    **{name: (f"import:{name}",) for name in ("numpy", "torchvision", "torchaudio", "torchtext")},
}


def _broken_by(distribution: str) -> tuple[str, ...]:
    """What damage to a distribution breaks: its own import, or torch and all that rests on it."""
    return _OWN_OUTCOME.get(distribution, ("import:torch", "compute:gpu"))


def _needed_by_torch(distributions: Distributions) -> frozenset[str]:
    """Torch, what it requires, and what has to fit it: damage there can break training."""
    torch = distributions.first("torch")
    required = (
        {_name_of(line) for line in torch.requires if "extra ==" not in line} if torch else set()
    )
    companions = {"torch", "torchvision", "torchaudio", "triton", "numpy"}
    nvidia = {item.name for item in distributions.items if item.name.startswith("nvidia-")}
    return frozenset(required | companions | nvidia)


def _name_of(requirement: str) -> str:
    for index, letter in enumerate(requirement):
        if not (letter.isalnum() or letter in "-_."):
            return requirement[:index].lower().replace("_", "-")
    return requirement.lower().replace("_", "-")


def _worst(item: DamagedDistribution, needed: bool, fails: bool) -> tuple[Severity, DamagedFile]:
    rated = [(_severity(file.path, needed, fails), file) for file in item.files]
    severity = max((severity for severity, _ in rated), key=lambda one: one.rank)
    return severity, next(file for rating, file in rated if rating is severity)


def _severity(path: str, needed: bool, fails: bool) -> Severity:
    """A library that torch needs is an error at once; its Python files if the import fails."""
    name = path.rpartition("/")[2]
    if ".so" in name:
        return Severity.ERROR if needed else Severity.WARNING
    if name.endswith(_NOT_CODE) or "/test" in path:
        return Severity.INFO
    if name.endswith(".py"):
        return Severity.ERROR if needed and fails else Severity.WARNING
    return Severity.INFO


def _what(file: DamagedFile) -> str:
    return _KINDS[file.kind].format(actual=file.actual, expected=file.expected)


@check(DUPLICATE_DISTRIBUTION)
def duplicate_distribution(
    distributions: Distributions, target: Target | None, installer: Installer | None
) -> Findings:
    """Two versions of one distribution are visible; an import takes the first."""
    for name in dict.fromkeys(item.name for item in distributions.items):
        found = distributions.named(name)
        versions = {(item.version, item.location) for item in found}
        if len(found) < 2 or len({item.version for item in found}) < 2 or len(versions) < 2:
            continue
        relevant = name in _needed_by_torch(distributions)
        yield DUPLICATE_DISTRIBUTION.finding(
            subjects=(name,),
            severity=Severity.WARNING if relevant else Severity.INFO,
            distribution=name,
            count=len(found),
            versions=", ".join(f"{item.version} in `{item.location}`" for item in found),
            evidence=tuple(
                Evidence(label=name, value=item.version, source=item.metadata_path)
                for item in found
            ),
            fixes=(
                Fix(
                    summary=f"remove every {name} that is found, then install the wanted one",
                    commands=(
                        f"{target.path if target else 'python3'} -m pip uninstall -y {name}",
                    ),
                    safety=Safety.CHANGES_ENV,
                ),
            ),
        )


@check(MODULE_SHADOWING)
def module_shadowing(
    imported: TorchImport,
    interpreter: Interpreter,
    build: TorchBuild | None,
    distributions: Distributions | None,
    environment: Environment | None,
) -> Findings:
    """A file in the current directory, on PYTHONPATH or in the user site hides a module."""
    cured = imported.outcome != "ok" and imported.isolated_outcome == "ok"
    for module, file in _hidden(imported):
        severity = Severity.ERROR if imported.outcome != "ok" else Severity.WARNING
        yield _shadowed(module, file, "the standard library", severity, cured, environment)
    torch = distributions.first("torch") if distributions else None
    if _is_elsewhere(imported, interpreter, build) and not (torch and torch.editable):
        severity = Severity.WARNING if imported.version else Severity.ERROR
        where = f"`{build.path}`" if build else "site-packages"
        yield _shadowed("torch", imported.file or "", where, severity, cured, environment)
    elif cured and not imported.shadowed:
        culprit = _foreign_file(imported, interpreter) or "sys.path"
        where = "where it is with python -I"
        yield _shadowed(_module_of(culprit), culprit, where, Severity.ERROR, cured, environment)


def _hidden(imported: TorchImport) -> Iterator[tuple[str, str]]:
    for entry in imported.shadowed:
        module, _, file = entry.partition(" (")
        yield module, file.rstrip(")")


def _foreign_file(imported: TorchImport, interpreter: Interpreter) -> str | None:
    """The last file of the traceback that belongs neither to Python nor to site-packages."""
    own = (interpreter.stdlib, *interpreter.site_packages)
    foreign = [frame.file for frame in imported.frames if not frame.file.startswith(own)]
    return foreign[-1] if foreign else None


def _module_of(file: str) -> str:
    folder, name = os.path.split(file)
    return os.path.basename(folder) if name == "__init__.py" else name.partition(".")[0]


def _is_elsewhere(
    imported: TorchImport, interpreter: Interpreter, build: TorchBuild | None
) -> bool:
    """Whether the torch that was imported is none of those that are installed."""
    if imported.outcome != "ok" or not imported.file:
        return False
    installed = (*interpreter.site_packages, *((build.path,) if build else ()))
    return not any(imported.file.startswith(folder.rstrip("/") + "/") for folder in installed)


def _shadowed(
    module: str,
    file: str,
    instead: str,
    severity: Severity,
    cured: bool,
    environment: Environment | None,
) -> Finding:
    python_path = environment.variables.get("PYTHONPATH") if environment else None
    evidence = [Evidence(label=f"{module}.__file__", value=file, source="sys.modules")]
    if cured:
        evidence.append(
            Evidence(label="python -I -c 'import torch'", value="works", source="a second import")
        )
    if python_path:
        evidence.append(Evidence(label="PYTHONPATH", value=python_path, source="environment"))
    return MODULE_SHADOWING.finding(
        subjects=(module,),
        severity=severity,
        confidence=Confidence.CERTAIN if cured or module != "torch" else Confidence.LIKELY,
        module=module,
        file=file,
        instead=instead,
        evidence=tuple(evidence),
        fixes=(
            Fix(summary=f"rename `{file}`, or run from another folder", safety=Safety.MANUAL),
            *(
                (
                    Fix(
                        summary="or clear PYTHONPATH",
                        commands=("unset PYTHONPATH",),
                        safety=Safety.SAFE,
                    ),
                )
                if python_path
                else ()
            ),
        ),
    )
