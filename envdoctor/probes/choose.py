"""Which interpreter is the patient: the candidates, and the first of them that has a torch."""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from envdoctor.facts import Fact, Known, Observed, Reason, Unknown
from envdoctor.facts.python import Candidate, Interpreter, Target
from envdoctor.plugins import StageResult
from envdoctor.probes.run import Children
from envdoctor.probes.staging import run_stages

OLDEST_PYTHON = (3, 8)
"""The oldest Python that the probe's stages run on."""

_LIMIT_S = 20.0


@dataclass(frozen=True, kw_only=True)
class Examined:
    """A candidate after it was asked who it is."""

    path: str
    origin: str
    interpreter: Interpreter | None
    torch_on_disk: bool
    problem: str | None = None
    detail: str = ""
    version: str | None = None
    seconds: float = 0.0

    def as_candidate(self) -> Candidate:
        """What the report says of a candidate that was passed over."""
        return Candidate(
            path=self.path,
            origin=self.origin,
            torch_on_disk=self.torch_on_disk,
            problem=self.problem,
        )


def default_candidates(env: Mapping[str, str], cwd: str, doctor: str) -> Iterator[tuple[str, str]]:
    """Paths and their origins, in the order in which they are considered, each path once.

    `env` is the user's environment, `cwd` the folder `./.venv` is looked for in, `doctor` the
    doctor's own interpreter.
    """
    seen: set[str] = set()
    for path, origin in _all_candidates(env, cwd, doctor):
        if path and path not in seen:
            seen.add(path)
            yield path, origin


def _all_candidates(
    env: Mapping[str, str], cwd: str, doctor: str
) -> Iterator[tuple[str | None, str]]:
    yield env.get("ENVDOCTOR_PYTHON"), "ENVDOCTOR_PYTHON"
    yield _inside(env.get("VIRTUAL_ENV")), "VIRTUAL_ENV"
    yield _inside(env.get("CONDA_PREFIX")), "CONDA_PREFIX"
    local = os.path.join(cwd, ".venv")
    yield _inside(local) if os.path.isdir(local) else None, "./.venv"
    yield doctor, "the doctor's own interpreter"
    for name in ("python3", "python"):
        yield shutil.which(name, path=env.get("PATH")), f"`{name}` on PATH"


def _inside(folder: str | None) -> str | None:
    """The interpreter of a venv or prefix; its usual path even where it is missing."""
    if not folder:
        return None
    names = [os.path.join(folder, "bin", name) for name in ("python", "python3")]
    return next((path for path in names if os.path.exists(path)), names[0])


def choose_target(
    requested: str | None,
    *,
    children: Children,
    env: Mapping[str, str],
    cwd: str,
    doctor: str,
    static: bool = False,
) -> dict[type[Fact], Known]:
    """The facts Target and Interpreter for `--python`, or for the first candidate with a torch."""
    if requested is not None:
        path = _named_by_the_user(requested, env)
        examined = examine(path, "--python", children=children, static=static)
        return _facts(examined, "it was asked for with --python", ())
    passed: list[Examined] = []
    for path, origin in default_candidates(env, cwd, doctor):
        examined = examine(path, origin, children=children, static=static)
        if examined.torch_on_disk:
            return _facts(examined, f"{origin}: the first with a torch on disk", passed)
        passed.append(examined)
    if not passed:
        return _facts(_no_python(), "no interpreter was found", ())
    first = next((one for one in passed if one.problem is None), passed[0])
    others = [one for one in passed if one is not first]
    return _facts(first, f"{first.origin}: no interpreter found has a torch on disk", others)


def _named_by_the_user(requested: str, env: Mapping[str, str]) -> str:
    """The absolute path of an interpreter given as a path, a folder, or a command's name."""
    if os.sep not in requested and not os.path.exists(requested):
        return shutil.which(requested, path=env.get("PATH")) or requested
    path = os.path.abspath(os.path.expanduser(requested))
    return (_inside(path) or path) if os.path.isdir(path) else path


def _no_python() -> Examined:
    return Examined(
        path="python3",
        origin="PATH",
        interpreter=None,
        torch_on_disk=False,
        problem="not-found",
        detail="neither a virtual environment nor a python on PATH",
    )


def _facts(
    examined: Examined, because: str, passed_over: Sequence[Examined]
) -> dict[type[Fact], Known]:
    target = Target(
        path=examined.path,
        chosen_because=because,
        passed_over=tuple(one.as_candidate() for one in passed_over),
        problem=examined.problem,
        detail=examined.detail,
        version=examined.version,
        site_packages=_site_packages(examined),
    )
    interpreter: Known = Unknown(reason=Reason.NOT_APPLICABLE, detail=examined.detail)
    if examined.interpreter is not None:
        interpreter = Observed(
            value=examined.interpreter, source=examined.path, seconds=examined.seconds
        )
    return {
        Target: Observed(value=target, source=examined.origin),
        Interpreter: interpreter,
    }


def _site_packages(examined: Examined) -> tuple[str, ...]:
    if examined.interpreter is not None:
        return examined.interpreter.site_packages
    lib = Path(examined.path).parent.parent / "lib"
    return tuple(sorted(str(path) for path in lib.glob("python*/site-packages")))


def examine(path: str, origin: str, *, children: Children, static: bool = False) -> Examined:
    """Ask an interpreter who it is, and look whether a torch lies on its path."""
    problem = _problem_on_disk(path)
    if problem is not None:
        return _unusable(path, origin, *problem)
    results = _ask(path, children, static)
    if isinstance(results, str):
        return _unusable(path, origin, "not-executable", results)
    version = results["version"].data.get("version") if "version" in results else None
    answer = results["interpreter"]
    if answer.state == "ok":
        interpreter = _decode(answer)
        return Examined(
            path=path,
            origin=origin,
            interpreter=interpreter,
            torch_on_disk=has_torch(interpreter.sys_path, interpreter.cwd),
            version=interpreter.version,
            seconds=answer.seconds,
        )
    if version is None:
        return _unusable(path, origin, "not-python", f"it is not a Python: {answer.detail}")
    if tuple(map(int, version.split("."))) < OLDEST_PYTHON:
        return _unusable(path, origin, "too-old", f"it is Python {version}", version)
    return _unusable(path, origin, "failed", answer.detail, version)


def _ask(path: str, children: Children, static: bool) -> dict[str, StageResult] | str:
    """The stage `interpreter`; without its sites' code if that is asked for, or if that fails."""
    try:
        if not static:
            results = run_stages(
                path, ["interpreter"], children=children, timeout_s={"interpreter": _LIMIT_S}
            )
            if results["interpreter"].state == "ok" or "version" not in results:
                return results
        results = run_stages(
            path,
            ["static_interpreter"],
            children=children,
            timeout_s={"static_interpreter": _LIMIT_S},
            flags=("-S",),
        )
    except OSError as error:
        return str(error)
    results["interpreter"] = results.pop("static_interpreter")
    return results


def _problem_on_disk(path: str) -> tuple[str, str] | None:
    if os.path.isfile(path):
        return None if os.access(path, os.X_OK) else ("not-executable", "it is not executable")
    if os.path.isdir(path):
        return "not-found", "the folder holds no bin/python"
    if os.path.islink(path):
        base = os.path.realpath(path)
        return "base-missing", f"it is a link to `{base}`, which is gone"
    folder = os.path.dirname(os.path.dirname(path))
    if os.path.isdir(folder) and os.path.basename(os.path.dirname(path)) == "bin":
        return "not-found", f"`{folder}` holds no bin/python"
    return "not-found", "there is no such file"


def _unusable(
    path: str, origin: str, problem: str, detail: str, version: str | None = None
) -> Examined:
    lib = Path(path).parent.parent / "lib"
    folders = [str(folder) for folder in lib.glob("python*/site-packages")]
    return Examined(
        path=path,
        origin=origin,
        interpreter=None,
        torch_on_disk=has_torch(folders, ""),
        problem=problem,
        detail=detail,
        version=version,
    )


def _decode(answer: StageResult) -> Interpreter:
    import msgspec

    return msgspec.convert({**answer.data, "type": "Interpreter"}, Interpreter)


def has_torch(folders: Sequence[str], cwd: str) -> bool:
    """Whether a torch, whole or damaged, lies in one of the folders of a module path."""
    return any(_holds_torch(Path(folder or cwd)) for folder in folders)


def _holds_torch(folder: Path) -> bool:
    package = folder / "torch"
    if (package / "__init__.py").exists() or (package / "lib").is_dir():
        return True
    return next(folder.glob("torch-*.dist-info"), None) is not None
