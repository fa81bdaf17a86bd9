"""Which interpreter is the patient: the one that the user named, or the first that has a torch.

The child that is asked who it is goes on with the torch of the target, so that it begins before
anything else of the doctor is loaded: the facts are imported while it runs.
"""

import errno
import os
import re
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from envdoctor.errors import BadInput
from envdoctor.probes.boundary import Undecodable, typed
from envdoctor.probes.built_in_stages import INTERPRETER, PYTHON_PATH, STATIC_INTERPRETER
from envdoctor.probes.candidates import (
    default_candidates,
    has_torch,
    named_by_the_user,
    problem_on_disk,
    site_packages_beside,
)
from envdoctor.probes.context import Context
from envdoctor.probes.stage import Stage, StageResult
from envdoctor.probes.staging import NO_LIMIT, OnStage, StageRun, run_stages
from envdoctor.record import Record

if TYPE_CHECKING:
    from envdoctor.facts import Fact, Known
    from envdoctor.facts.python import Candidate, TargetProblem
    from envdoctor.probes.file_check import FileCheck

OLDEST_PYTHON = (3, 8)
"""The oldest Python that the stages run on."""


_LONGEST_VERSION = 20


class UnusableTarget(BadInput):
    """An interpreter that the user named does not exist, or is no Python."""


class Choice(Record):
    """The facts Target and Interpreter, and the child of the target that goes on with stages.

    `stages` is None where the target is not run: it cannot be, or is not to be. `files` is the
    comparison of its files, where it was begun. `deadline` is the moment of the monotonic clock at
    which the time of the examination runs out.
    """

    facts: "Mapping[type[Fact], Known]"
    stages: StageRun | None = None
    files: "FileCheck | None" = None
    deadline: float = NO_LIMIT


class _Asking(Record):
    """How candidates are asked who they are."""

    context: Context
    static: bool
    stages: Sequence[Stage]
    deadline: float
    on_stage: OnStage


class _Self(Record):
    """What is used of an interpreter's answer before the facts are imported."""

    version: str
    cwd: str
    sys_path: tuple[str, ...]
    site_packages: tuple[str, ...]


class _Examined(Record):
    """A candidate after it was asked who it is. `answer` is what it said of itself; `left_alone`
    says that nobody wanted to ask it."""

    path: str
    origin: str
    torch_on_disk: bool
    site_packages: tuple[str, ...]
    answer: StageResult | None = None
    problem: "TargetProblem | None" = None
    detail: str = ""
    version: str | None = None
    left_alone: bool = False
    run: StageRun | None = None


def choose_target(
    requested: str | None,
    *,
    context: Context,
    doctor: str,
    static: bool = False,
    stages: Sequence[Stage] = (),
    deadline: float = NO_LIMIT,
    on_stage: OnStage = lambda stage, event, detail: None,
) -> Choice:
    """Choose the target, and begin to run `stages` in it.

    It is the interpreter `requested`, else that of ENVDOCTOR_PYTHON, else the first with a torch
    among the defaults. Raises UnusableTarget for one that the user named and that is no Python.
    """
    asking = _Asking(
        context=context, static=static, stages=stages, deadline=deadline, on_stage=on_stage
    )
    named = named_by_the_user(requested, context)
    chosen = _first_with_torch(asking, doctor) if named is None else _named(*named, asking)
    return msgspec.structs.replace(chosen, deadline=deadline)


def no_target(deadline: float) -> Choice:
    """The choice of an examination of the machine alone."""
    from envdoctor.facts.python import Interpreter, Target
    from envdoctor.scope import left_out

    return Choice(facts=dict.fromkeys((Target, Interpreter), left_out("node")), deadline=deadline)


def _named(path: str, origin: str, asking: _Asking) -> Choice:
    examined = _examine(path, origin, asking, chosen=True)
    if examined.problem in ("not-found", "not-python"):
        named = "" if origin == "--python" else f"{origin}: "
        raise UnusableTarget(f"{named}`{path}` cannot be used: {examined.detail}")
    return _choice(examined, f"named with {origin}", ())


def _first_with_torch(asking: _Asking, doctor: str) -> Choice:
    passed: list[_Examined] = []
    for path, origin in default_candidates(asking.context, doctor):
        examined = _examine(path, origin, asking)
        if examined.torch_on_disk:
            _stop(passed)
            return _choice(examined, f"{origin}: the first with a torch on disk", passed)
        passed.append(examined)
    if not passed:
        return _choice(_no_python(), "no interpreter was found", ())
    first = next((one for one in passed if one.problem is None), passed[0])
    others = [one for one in passed if one is not first]
    _stop(others)
    if first.run is not None:
        first.run.ask(asking.stages)
    return _choice(first, f"{first.origin}: no interpreter found has a torch on disk", others)


def _stop(candidates: Sequence[_Examined]) -> None:
    for one in candidates:
        if one.run is not None:
            one.run.stop()


def _no_python() -> _Examined:
    return _Examined(
        path="python3",
        origin="PATH",
        torch_on_disk=False,
        site_packages=(),
        problem="not-found",
        detail="neither a virtual environment nor a python on PATH",
    )


def _choice(examined: _Examined, because: str, passed_over: Sequence[_Examined]) -> Choice:
    from envdoctor.facts import Known, Observed, Reason, Unknown
    from envdoctor.facts.python import Interpreter, Target

    target = Target(
        path=examined.path,
        chosen_because=because,
        passed_over=tuple(_as_candidate(one) for one in passed_over),
        problem=examined.problem,
        detail=examined.detail,
        version=examined.version,
        site_packages=examined.site_packages,
    )
    unasked = Reason.SWITCHED_OFF if examined.left_alone else Reason.NOT_OBSERVED
    why = Reason.NOT_APPLICABLE if examined.problem else unasked
    interpreter: Known = Unknown(reason=why, detail=examined.detail)
    answer = examined.answer
    if answer is not None:
        try:
            value = typed(dict(answer.data), Interpreter)
            interpreter = Observed(value=value, source=examined.path, seconds=answer.seconds)
        except Undecodable as error:
            interpreter = Unknown(reason=Reason.UNDECODABLE, detail=f"{examined.path}: {error}")
    facts: dict[type[Fact], Known] = {
        Target: Observed(value=target, source=examined.origin),
        Interpreter: interpreter,
    }
    return Choice(facts=facts, stages=examined.run)


def _as_candidate(examined: _Examined) -> "Candidate":
    """What the report says of a candidate that was passed over."""
    from envdoctor.facts.python import Candidate

    return Candidate(
        path=examined.path,
        origin=examined.origin,
        torch_on_disk=examined.torch_on_disk,
        problem=examined.problem,
    )


def _examine(path: str, origin: str, asking: _Asking, *, chosen: bool = False) -> _Examined:
    """Ask an interpreter who it is, and look whether a torch lies on its path.

    One that is chosen, or that has a torch, goes on with the stages.
    """
    problem = problem_on_disk(path, asking.context)
    if problem is not None:
        return _unusable(path, origin, asking.context, *problem)
    if not asking.context.is_live:
        below = f"below `{asking.context.root}` nothing can be run"
        return _on_disk(path, origin, asking.context, below)
    try:
        version, answer, run = _ask(path, asking, asking.stages if chosen else ())
    except OSError as error:
        if error.errno in _OWN_LIMITS or error.filename == os.devnull:
            return _on_disk(path, origin, asking.context, f"it could not be asked: {error}")
        return _unusable(path, origin, asking.context, "not-executable", str(error))
    context = asking.context
    if answer.state == "ok":
        try:
            said = typed(dict(answer.data), _Self)
        except Undecodable as error:
            detail = f"what it says of itself cannot be used: {error}"
            return _unusable(path, origin, context, "failed", detail, version)
        torch = has_torch(said.sys_path, said.cwd, context)
        if run is not None and torch and not chosen:
            run.ask(asking.stages)
        return _Examined(
            path=path,
            origin=origin,
            torch_on_disk=torch,
            site_packages=said.site_packages,
            answer=answer,
            version=said.version,
            run=run,
        )
    if version is None:
        return _unusable(path, origin, context, *_silence(answer, asking.context.env))
    if tuple(map(int, version.split("."))) < OLDEST_PYTHON:
        return _unusable(path, origin, context, "too-old", f"it is Python {version}", version)
    return _unusable(path, origin, context, "failed", answer.detail, version)


_OWN_LIMITS = (errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM)
"""Why no child at all can be started: too many open files or processes, no memory (fork(2)).
Neither can one where /dev/null is missing."""

_LACKS_A_LIBRARY = "error while loading shared libraries"
"""As glibc says it (elf/rtld.c) of a program that it cannot start."""


_SHOWS_ITS_HOME = "PYTHONHOME = '"
"""What a Python prints of that variable where it finds no standard library (initconfig.c)."""
_NAMES_A_VARIABLE = re.compile(r"Fatal Python error: [^\n]*\b(PYTHON[A-Z0-9]+)\b")
_NO_CODEC = "codec name of the stdio encoding"
"""How it ends at the value of a variable: at that of PYTHONIOENCODING without its name
(initconfig.c, preconfig.c)."""


def _silence(answer: StageResult, env: Mapping[str, str]) -> "tuple[TargetProblem, str]":
    """Why a program did not say that it is a Python: it is none, or it did not come so far."""
    if _SHOWS_ITS_HOME in answer.output_tail:
        return "failed", f"it does not start with PYTHONHOME={env.get('PYTHONHOME', '')}"
    named = _NAMES_A_VARIABLE.search(answer.output_tail)
    variable = named[1] if named else "PYTHONIOENCODING" if _NO_CODEC in answer.output_tail else ""
    if env.get(variable):
        return "failed", f"it does not start with the value that {variable} has"
    words = (line for line in answer.output_tail.splitlines() if _LACKS_A_LIBRARY in line)
    refusal = next(words, "")
    if answer.state != "exit" or refusal:
        return "failed", refusal or answer.detail
    return "not-python", f"it is not a Python: {answer.detail}"


def _ask(
    path: str, asking: _Asking, stages: Sequence[Stage]
) -> tuple[str | None, StageResult, StageRun | None]:
    """The version, what the interpreter says of itself, and its child, which waits for stages.

    Without the code of its sites if that is asked for, or if it does not come so far with it.
    Raises OSError.
    """
    if not asking.static:
        staged = _begun(path, asking, [INTERPRETER, *stages])
        answer = staged.wait_for(INTERPRETER.name)
        if answer.state == "ok":
            return _version_in(staged.so_far()), answer, staged
        staged.stop()
        if time.monotonic() >= asking.deadline:
            return _version_in(staged.so_far()), answer, None
    results = run_stages(
        path,
        [STATIC_INTERPRETER],
        run=partial(asking.context.run, env=_without_python_path(asking.context.env)),
        flags=("-S",),
        deadline=asking.deadline,
    )
    answer, version = results[STATIC_INTERPRETER.name], _version_in(results)
    if asking.static or answer.state != "ok":
        return version, answer, None
    # What its sites do to it is seen again where torch is imported as the user would.
    return version, answer, _begun(path, asking, stages)


def _without_python_path(env: Mapping[str, str]) -> dict[str, str]:
    """The variables of a child that executes nothing but the standard library: a folder of
    PYTHONPATH, which may be the current one, comes before that. The child adds it to the path."""
    others = {name: value for name, value in env.items() if name != "PYTHONPATH"}
    return {**others, PYTHON_PATH: env.get("PYTHONPATH", "")}


def _begun(path: str, asking: _Asking, stages: Sequence[Stage]) -> StageRun:
    """A child that runs these stages, and then waits for others if there may be any."""
    run = StageRun(
        path,
        stages,
        run=asking.context.run,
        deadline=asking.deadline,
        on_stage=asking.on_stage,
    ).start()
    if not asking.stages:
        run.complete()
    return run


def _version_in(results: Mapping[str, StageResult]) -> str | None:
    said = results.get("version")
    version = said.data.get("version") if said else None
    if not isinstance(version, str) or len(version) > _LONGEST_VERSION:
        return None
    # Three numbers, as start.py writes them; whatever else a program writes tells nothing.
    return version if all(part.isdecimal() for part in version.split(".")) else None


def _unusable(
    path: str,
    origin: str,
    context: Context,
    problem: "TargetProblem",
    detail: str,
    version: str | None = None,
) -> _Examined:
    folders = site_packages_beside(path, context)
    return _Examined(
        path=path,
        origin=origin,
        torch_on_disk=has_torch(folders, "", context),
        site_packages=folders,
        problem=problem,
        detail=detail,
        version=version,
    )


def _on_disk(path: str, origin: str, context: Context, because: str) -> _Examined:
    """An interpreter that cannot be run, for no fault of its own."""
    folders = site_packages_beside(path, context)
    return _Examined(
        path=path,
        origin=origin,
        torch_on_disk=has_torch(folders, "", context),
        site_packages=folders,
        detail=because,
        left_alone=not context.is_live,
    )
