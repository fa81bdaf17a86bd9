"""What the user could change without changing anything that is installed, tried in children.

Where `import torch` fails, it is tried again without the variables that change what is loaded, with
none of the user's own site-packages, and from another folder. The first that works ends the trials.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Literal

from envdoctor.facts import Fact, Known, Observed, Reason, Unknown
from envdoctor.facts.python import Interpreter
from envdoctor.facts.torch import ImportTrial, ImportTrials, TorchImport
from envdoctor.plugins import Cost, Probe, Where
from envdoctor.probes.context import Context
from envdoctor.probes.run import ChildResult
from envdoctor.record import Record

VARIABLES = ("PYTHONHOME", "LD_PRELOAD", "LD_LIBRARY_PATH", "PYTHONPATH")
"""They put other files in place of those that torch would load."""

_SETTINGS = ("TORCH", "PYTORCH")
"""How the names of what torch reads as it is imported begin; it raises at a value that it does not
know, as that of TORCH_LOGS."""

_OF_PYTHON = "PYTHON"
_NO_SETTINGS = ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "PYTHONUSERBASE", "PYTHONHASHSEED")
_MOST_SETTINGS = 5

_TRIAL_LIMIT_S = 30.0
_ALL_LIMIT_S = 90.0
_ELSEWHERE = "/"
_NO_BACKENDS = "TORCH_DEVICE_BACKEND_AUTOLOAD"
"""At 0 torch does not load the packages that name themselves as its backends: one of them may end
the process, which no exception tells."""
_NO_USER_SITE = "PYTHONNOUSERSITE"
_IMPORTED = "torch is imported"
"""The last words of a child that came behind the import: one that torch ends may end with 0."""


class Try(Record):
    """One thing that is done otherwise."""

    change: Literal["unset", "set", "folder"]
    variable: str = ""
    value: str = ""

    def environment(self, env: Mapping[str, str]) -> dict[str, str]:
        """The variables of the child."""
        changed = {key: value for key, value in env.items() if key != self.variable}
        return {**changed, self.variable: self.value} if self.change == "set" else changed

    @property
    def code(self) -> str:
        """What the child executes. The empty entry of the module path means the current folder."""
        leave = f"import os; os.chdir({_ELSEWHERE!r}); " if self.change == "folder" else ""
        return f"{leave}import torch; print({_IMPORTED!r})"


Attempt = Callable[[Try], ChildResult]
"""Imports torch in a child, as it would be after the change."""


def trials(imported: TorchImport, interpreter: Interpreter, env: Mapping[str, str]) -> list[Try]:
    """What can be tried for a failed import: what works with `-I` is not the loader's fault."""
    set_here = [name for name in VARIABLES if env.get(name)]
    set_here += _settings(env, _OF_PYTHON if imported.works_isolated else _SETTINGS)
    found = [Try(change="unset", variable=name) for name in set_here]
    if imported.outcome in ("exit", "signal") and _NO_BACKENDS not in env:
        found.append(Try(change="set", variable=_NO_BACKENDS, value="0"))
    if not imported.works_isolated:
        return found
    user_site = interpreter.user_site or ""
    if interpreter.user_site_enabled and os.path.isdir(user_site):
        found.append(Try(change="set", variable=_NO_USER_SITE, value="1"))
    return [*found, Try(change="folder")]


def _settings(env: Mapping[str, str], start: str | tuple[str, ...]) -> list[str]:
    """The settings that might break the import: `-I` ignores those of Python."""
    names = sorted(name for name in env if name.startswith(start) and env[name])
    return [name for name in names if name not in (*VARIABLES, *_NO_SETTINGS)][:_MOST_SETTINGS]


def run_trials(todo: list[Try], attempt: Attempt, deadline: float) -> Iterator[ImportTrial]:
    """The results, up to the first import that works; `deadline` is of the monotonic clock."""
    for one in todo:
        if time.monotonic() >= deadline:
            return
        result = attempt(one)
        trial = _result_of(one, result)
        yield trial
        if trial.outcome == "ok":
            return


def _result_of(one: Try, child: ChildResult) -> ImportTrial:
    said = (child.stderr.strip() or child.stdout.strip()).splitlines()
    outcome = _outcome(child, _IMPORTED)
    return ImportTrial(
        change=one.change,
        variable=one.variable,
        value=one.value,
        outcome=outcome,
        message="" if outcome == "ok" or not said else said[-1],
        seconds=round(child.seconds, 3),
    )


def _outcome(
    child: ChildResult, last_words: str
) -> Literal["ok", "exception", "signal", "exit", "hang"]:
    if child.timed_out:
        return "hang"
    if child.signal is not None:
        return "signal"
    if child.exit_code == 0:
        return "ok" if last_words in child.stdout else "exit"
    return "exception" if child.exit_code == 1 and "Traceback" in child.stderr else "exit"


_COMPUTES = "torch computes on"
_USED = f"""import torch
there = torch.cuda.is_available()
one = torch.ones(2, 2, device="cuda" if there else "cpu")
(one @ one).sum().item()
print("{_COMPUTES}", f"{{torch.cuda.device_count()}} GPUs" if there else "the CPU alone")
"""
"""What a child does to show whether torch works, and on what; the last line is the answer."""


class Effect(Record):
    """What torch does in a child: how that ended, and the last line that it wrote."""

    outcome: Literal["ok", "exception", "signal", "exit", "hang"]
    message: str


def effect(one: Try | None, executable: str, context: Context, deadline: float) -> Effect | None:
    """Use torch in a child, with one thing done otherwise or with none; null where there is no
    time left. `deadline` is of the monotonic clock."""
    left = deadline - time.monotonic()
    if left <= 0:
        return None
    child = context.run(
        [executable, "-B", "-c", _USED],
        timeout_s=min(_TRIAL_LIMIT_S, left),
        env=one.environment(context.env) if one else dict(context.env),
    )
    said = child.stdout if child.ok else child.stderr.strip() or child.stdout
    last = (said.strip().splitlines() or [""])[-1]
    return Effect(outcome=_outcome(child, _COMPUTES), message=last)


def observe_trials(
    imported: TorchImport, interpreter: Interpreter, context: Context
) -> dict[type[Fact], Known]:
    """The trials of this machine; none where the import works."""
    if imported.outcome == "ok":
        why = Unknown(reason=Reason.NOT_APPLICABLE, detail="`import torch` works")
        return {ImportTrials: why}

    def attempt(one: Try) -> ChildResult:
        return context.run(
            [interpreter.executable, "-B", "-c", one.code],
            timeout_s=_TRIAL_LIMIT_S,
            env=one.environment(context.env),
        )

    deadline = time.monotonic() + _ALL_LIMIT_S - _TRIAL_LIMIT_S
    todo = trials(imported, interpreter, context.env)
    items = tuple(run_trials(todo, attempt, deadline))
    return {ImportTrials: Observed(value=ImportTrials(items=items), source="import torch")}


TRIAL_PROBES = (
    Probe(
        name="import trials",
        where=Where.HOST,
        provides=(ImportTrials,),
        observe=observe_trials,
        timeout_s=_ALL_LIMIT_S,
        cost=Cost.SLOW,
        slow_because="`import torch` failed, and is tried again in other surroundings",
    ),
)
