"""Runs the stages of the target's probe in as few children as the patient allows.

One child runs them in order. If it dies or hangs, its last line names the stage that did it, and
a fresh child resumes after that stage.
"""

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from envdoctor.plugins import StageResult
from envdoctor.probes.channel import anonymous_file
from envdoctor.probes.run import Children, ChildResult, run_child

TARGET_SCRIPT = Path(__file__).with_name("target.py")
OnStage = Callable[[str, str, str], None]
"""Takes the name of a stage, what became of it (begin, end, exception, or the state of a killed
one: hang, signal, exit), and a detail for a human."""

_OUTPUT_TAIL = 4000
_NEEDS_IMPORT = frozenset({"runtime", "first_use", "maps"})
"""Stages that mean nothing once the import has failed."""


@dataclass(kw_only=True)
class _Protocol:
    """The lines that a child has written so far, read from the descriptor it writes to."""

    fd: int
    offset: int = 0
    rest: bytes = b""
    current: str | None = None
    began_at: float = 0.0
    ended: dict[str, dict[str, Any]] = field(default_factory=dict)

    def read(self, on_stage: OnStage) -> None:
        """Take in what is new. A line that is none of the probe's records is left out."""
        while chunk := os.pread(self.fd, 65536, self.offset):
            self.offset += len(chunk)
            self.rest += chunk
        *lines, self.rest = self.rest.split(b"\n")
        for line in lines:
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict) and {"stage", "event"} <= record.keys():
                self._take(record, on_stage)

    def _take(self, record: dict[str, Any], on_stage: OnStage) -> None:
        stage = record["stage"]
        on_stage(stage, record["event"], _exception_in(record))
        if record["event"] == "begin":
            self.current, self.began_at = stage, time.monotonic()
            return
        self.ended[stage] = record
        self.current = None


def run_stages(
    python: str,
    stages: Sequence[str],
    *,
    children: Children,
    timeout_s: Mapping[str, float],
    flags: Sequence[str] = (),
    script: Path = TARGET_SCRIPT,
    on_stage: OnStage = lambda stage, event, detail: None,
) -> dict[str, StageResult]:
    """Run stages of the probe in the interpreter `python`, each within its limit in seconds.

    The result holds every stage that was asked for, and `version` if the child said its version.
    Raises OSError if the interpreter cannot be started.
    """
    results: dict[str, StageResult] = {}
    remaining = list(stages)
    while remaining:
        protocol, child = _run_child(
            [python, "-B", *flags, str(script)], remaining, children, timeout_s, on_stage
        )
        for stage, record in protocol.ended.items():
            results[stage] = _finished(stage, record, child)
        killer = protocol.current or next((s for s in remaining if s not in results), None)
        if killer is not None and not _told_to_stop(results, remaining):
            at_start = "" if protocol.current else ", before its first stage began"
            results[killer] = _killed(killer, child, at_start)
            on_stage(killer, results[killer].state, results[killer].detail)
        remaining = _left(stages, results)
        if protocol.current is None and not protocol.ended.keys() - {"version"}:
            break
    for stage in stages:
        results.setdefault(stage, StageResult(stage=stage, state="not-reached"))
    return results


def _told_to_stop(results: Mapping[str, StageResult], remaining: Sequence[str]) -> bool:
    imported = results.get("import")
    return "import" in remaining and imported is not None and imported.state != "ok"


def _left(stages: Sequence[str], results: Mapping[str, StageResult]) -> list[str]:
    imported = results.get("import")
    dead = imported is not None and imported.state != "ok"
    return [
        stage for stage in stages if stage not in results and not (dead and stage in _NEEDS_IMPORT)
    ]


def _run_child(
    command: list[str],
    stages: Sequence[str],
    children: Children,
    timeout_s: Mapping[str, float],
    on_stage: OnStage,
) -> tuple[_Protocol, ChildResult]:
    with anonymous_file() as fd:
        protocol = _Protocol(fd=fd, began_at=time.monotonic())

        def still_allowed() -> bool:
            protocol.read(on_stage)
            limit = timeout_s.get(protocol.current or stages[0], 20.0)
            return time.monotonic() - protocol.began_at <= limit

        child = run_child(
            [*command, str(fd), *stages],
            children=children,
            timeout_s=sum(timeout_s.get(stage, 20.0) for stage in stages) + 20.0,
            pass_fds=(fd,),
            still_allowed=still_allowed,
        )
        protocol.read(on_stage)
    return protocol, child


def _finished(stage: str, record: Mapping[str, Any], child: ChildResult) -> StageResult:
    data = record.get("data", {})
    if record["event"] == "end":
        return StageResult(stage=stage, state="ok", data=data, seconds=record.get("seconds", 0.0))
    return StageResult(
        stage=stage,
        state="exit" if data.get("exits") else "exception",
        data=data,
        seconds=record.get("seconds", 0.0),
        detail=_exception_in(record),
        exit_code=data.get("exit_code"),
        output_tail=_tail(child),
    )


def _exception_in(record: Mapping[str, Any]) -> str:
    """`ImportError: no such file`; empty where the record tells of none."""
    data = record.get("data", {})
    return f"{data['exception']}: {data.get('message', '')}" if data.get("exception") else ""


def _killed(stage: str, child: ChildResult, at_start: str) -> StageResult:
    state, detail = "exit", f"the interpreter exited with code {child.exit_code}"
    if child.timed_out:
        state, detail = "hang", "no answer within the time limit"
    elif child.signal is not None:
        state, detail = "signal", f"the interpreter was ended by {child.signal}"
    return StageResult(
        stage=stage,
        state=state,
        detail=detail + at_start,
        seconds=child.seconds,
        exit_code=child.exit_code,
        signal=child.signal,
        output_tail=_tail(child),
    )


def _tail(child: ChildResult) -> str:
    return (child.stdout + child.stderr)[-_OUTPUT_TAIL:].strip()
