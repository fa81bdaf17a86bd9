"""A stage: code that runs in the interpreter of the target, and what became of it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from envdoctor.record import Record

if TYPE_CHECKING:
    from envdoctor.facts.python import Interpreter

StageState = Literal[
    "ok", "exception", "signal", "exit", "hang", "unable", "skipped", "timed-out", "not-reached"
]

EXIT = "exit"
"""What the end of the interpreter is called among the results, once all stages were run."""


class StageResult(Record):
    """What a stage gave; `data` is what it wrote.

    `state`: ok; exception; signal, exit or hang for a child that died or did not answer in it;
    unable where the stage's own code is at fault, not the target; skipped where a stage that it
    needs did not succeed; timed-out where the time of the whole examination ran out first;
    not-reached where no child came so far. `isolated` is the result of a second run with `-I`,
    where the stage asked for one. `log` is what NVIDIA's driver wrote of errors in it, null where
    that was not taken.
    """

    stage: str
    state: StageState
    data: Mapping[str, Any] = msgspec.field(default_factory=dict)
    seconds: float = 0.0
    detail: str = ""
    exit_code: int | None = None
    signal: str | None = None
    output_tail: str = ""
    log: str | None = None
    isolated: "StageResult | None" = None


def _never(result: StageResult, interpreter: "Interpreter") -> bool:
    return False


class Stage(Record):
    """Code that the interpreter of the target executes in a child.

    `source` is a file for Python 3.8 and later that imports nothing but the standard library and
    the target's own packages. Its `function` takes the Child of probes/target/run_stages.py, and
    the `arguments`, and returns a dict of JSON values. What it only says of a target
    that it has used goes through the Child's `look`, so that a defect there is none of the target.

    `name` is what a user reads while waiting. `needs` are the names of the stages without whose
    success this one means nothing: `import torch` for what uses it. `isolate` says of a result
    whether a second run with `-I` (no current folder, no PYTHONPATH, no user site) can tell more.
    """

    name: str
    source: Path
    function: str
    arguments: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    timeout_s: float = 90.0
    slow_because: str = ""
    isolate: Callable[[StageResult, "Interpreter"], bool] = _never
