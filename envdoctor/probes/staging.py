"""Runs the stages of the target in as few children as the patient allows.

One child runs them in order. If it dies or hangs, its last line names the stage that did it, and
a fresh child resumes after that stage.
"""

import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from envdoctor.probes.context import Run
from envdoctor.probes.run import ChildResult, Stopping
from envdoctor.probes.stage import EXIT, Stage, StageResult, StageState
from envdoctor.probes.stage_child import StageChild

START = Path(__file__).parent / "target" / "start.py"
OnStage = Callable[[Stage, str, str], None]
"""Takes a stage, what became of it (begin, end, raised, unable, or the state of a killed one: hang,
signal, exit), and a detail for a human."""

_OUTPUT_TAIL = 4000
_FLOODED = "it wrote without end into the descriptor of the doctor"
NO_LIMIT = float("inf")


NO_ANSWER = "no answer within the time limit"
"""How the end of a stage that hung is told."""


class StageRun:
    """The stages of one interpreter, run in a thread of its own; more can be asked for meanwhile.

    `deadline` is the moment of the monotonic clock at which the time of the examination runs out.
    """

    def __init__(
        self,
        python: str,
        stages: Iterable[Stage],
        *,
        run: Run,
        flags: Sequence[str] = (),
        deadline: float = NO_LIMIT,
        on_stage: OnStage = lambda stage, event, detail: None,
    ) -> None:
        self.python = python
        self._run = run
        self._flags = flags
        self._deadline = deadline
        self._on_stage = on_stage
        self._stages = {stage.name: stage for stage in stages}
        self._results: dict[str, StageResult] = {}
        self._changed = threading.Condition()
        self._child: StageChild | None = None
        self._complete = self._stopped = self._ended = False
        self._error: BaseException | None = None

    def start(self) -> "StageRun":
        """Begin; returns itself."""
        threading.Thread(target=self._body, name="target", daemon=True).start()
        return self

    def ask(self, stages: Iterable[Stage]) -> None:
        """Run these as well, after those before them."""
        with self._changed:
            added = {stage.name: stage for stage in stages if stage.name not in self._stages}
            self._stages.update(added)
            if self._child is not None and added:
                self._child.ask(added.values())
            self._changed.notify_all()

    def complete(self) -> None:
        """There are no more stages: the interpreter exits after the last one."""
        with self._changed:
            self._complete = True
            if self._child is not None:
                self._child.complete()
            self._changed.notify_all()

    def stop(self) -> None:
        """End the child; what has not ended by then is timed-out."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def wait_for(self, stage: str) -> StageResult:
        """The result of a stage as soon as it is there; not-reached at an end without one.

        Raises OSError if the interpreter cannot be started.
        """
        with self._changed:
            self._changed.wait_for(lambda: stage in self._results or self._ended)
            if self._error is not None:
                raise self._error
            return self.so_far()[stage]

    def results(self) -> dict[str, StageResult]:
        """The results once all stages were run: of every stage that was asked for, of `version`
        if the child said it, and of `exit` if it came so far.

        Raises OSError if the interpreter cannot be started.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._ended)
            if self._error is not None:
                raise self._error
            return self.so_far()

    def so_far(self) -> dict[str, StageResult]:
        """The results of now; what has not ended is timed-out."""
        with self._changed:
            in_time = self._ended and not self._stopped
            missing = (_without(stage, need, in_time=in_time) for stage, need in self._left())
            return {**self._results, **{result.stage: result for result in missing}}

    # --- in the thread ---

    def _body(self) -> None:
        try:
            while self._has_more() and self._in_a_child():
                pass
        except Stopping:
            self._stopped = True
        except BaseException as error:
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _has_more(self) -> bool:
        """Whether there is a stage to run, once that is known."""
        with self._changed:
            self._changed.wait_for(lambda: self._to_run() or self._complete or self._stopped)
            return bool(self._to_run()) and not self._stopped

    def _to_run(self) -> list[Stage]:
        return [stage for stage, failed_need in self._left() if not failed_need]

    def _left(self) -> Iterator[tuple[Stage, str]]:
        """The stages without a result, with the one that they need and that did not succeed."""
        failed = {name for name, result in self._results.items() if result.state != "ok"}
        for name, stage in self._stages.items():
            if name in self._results:
                continue
            need = next((need for need in stage.needs if need in failed), "")
            if need:
                failed.add(name)
            yield stage, need

    def _in_a_child(self) -> bool:
        """Run what there is in one child; False if another one would come no farther."""
        with StageChild(self._take_record, self._deadline) as child:
            self._begin(child)
            try:
                ended = self._run(
                    [self.python, "-B", *self._flags, str(START), *child.arguments],
                    timeout_s=NO_LIMIT,
                    pass_fds=child.descriptors,
                    ports=child.ports,
                    still_allowed=lambda: child.in_time() and not self._stopped,
                    last_words=signal.SIGUSR2,
                )
            finally:
                with self._changed:
                    self._child = None
            child.drain()
            self._take_end(child, ended)
            return child.began_a_stage

    def _begin(self, child: StageChild) -> None:
        with self._changed:
            child.ask(self._to_run())
            if self._complete:
                child.complete()
            self._child = child

    def _take(self, result: StageResult) -> None:
        with self._changed:
            self._results[result.stage] = result
            self._changed.notify_all()

    def _take_record(
        self, name: str, event: str, data: dict[str, Any], seconds: float, log: str | None
    ) -> None:
        failure = _failure_in(data)
        if event == "end":
            self._take(StageResult(stage=name, state="ok", data=data, seconds=seconds, log=log))
        elif event != "begin":
            code = data.get("exit_code")
            self._take(
                StageResult(
                    stage=name,
                    state=_state_of(event, data),
                    data=data,
                    seconds=seconds,
                    detail=failure,
                    exit_code=code if isinstance(code, int) else None,
                    log=log,
                )
            )
        stage = self._stages.get(name)
        if stage is not None:
            self._on_stage(stage, event, failure)

    def _take_end(self, child: StageChild, ended: ChildResult) -> None:
        """What the end of a child says of the stage that it died in, or of its exit."""
        tail = (ended.stdout + ended.stderr)[-_OUTPUT_TAIL:].strip()
        for result in self.so_far().values():
            if child.has_run(result.stage) and result.state != "ok":
                self._take(replace(result, output_tail=tail))
        if self._stopped:
            return
        end = replace(_end_of(ended, child.seconds, tail), log=child.log())
        if child.flooded:
            end = replace(end, detail=_FLOODED)
        if child.current == EXIT:
            self._take(replace(end, stage=EXIT))
            return
        killer = self._stages.get(child.current or "") or next(iter(self._to_run()), None)
        if killer is None:
            return
        before = "" if child.current else ", before it began"
        result = replace(
            end,
            stage=killer.name,
            state="exit" if end.state == "ok" else end.state,
            detail=(end.detail or "the interpreter exited with code 0") + before + _last_words(end),
        )
        self._take(result)
        self._on_stage(killer, result.state, result.detail)


def run_stages(
    python: str,
    stages: Sequence[Stage],
    *,
    run: Run,
    flags: Sequence[str] = (),
    deadline: float = NO_LIMIT,
    on_stage: OnStage = lambda stage, event, detail: None,
) -> dict[str, StageResult]:
    """Run stages in the interpreter `python` and wait; see StageRun."""
    staged = StageRun(
        python, stages, run=run, flags=flags, deadline=deadline, on_stage=on_stage
    ).start()
    staged.complete()
    return staged.results()


def _state_of(event: str, data: Mapping[str, Any]) -> StageState:
    """What became of a stage that did not end."""
    if event == "unable":
        return "unable"
    return "exit" if data.get("exits") else "exception"


def _failure_in(data: Mapping[str, Any]) -> str:
    """`ImportError: no such file`; empty where the data tell of none."""
    return f"{data['exception']}: {data.get('message', '')}" if data.get("exception") else ""


def _without(stage: Stage, failed_need: str, *, in_time: bool) -> StageResult:
    """The result of a stage that has none of its own."""
    if failed_need:
        detail = f"`{failed_need}` did not succeed"
        return StageResult(stage=stage.name, state="skipped", detail=detail)
    if not in_time:
        return StageResult(
            stage=stage.name, state="timed-out", detail="time ran out before it ended"
        )
    return StageResult(stage=stage.name, state="not-reached", detail="it was not reached")


def _end_of(child: ChildResult, seconds: float, tail: str) -> StageResult:
    """How a child ended, as the result of a stage; ok if it simply exited."""
    state, detail = _named_end(child)
    return StageResult(
        stage="",
        state=state,
        detail=detail,
        seconds=seconds,
        exit_code=child.exit_code,
        signal=child.signal,
        output_tail=tail,
    )


_LONGEST_WORDS = 200


def _last_words(end: StageResult) -> str:
    """What a library wrote last that then left the interpreter by exit(3): it says why."""
    words = end.output_tail.splitlines()[-1:] if end.state == "exit" else []
    return f": {words[0].strip()[:_LONGEST_WORDS]}" if words else ""


def _named_end(child: ChildResult) -> tuple[StageState, str]:
    if child.timed_out:
        return "hang", NO_ANSWER
    if child.signal is not None:
        return "signal", f"the interpreter was ended by {child.signal}"
    if child.exit_code:
        return "exit", f"the interpreter exited with code {child.exit_code}"
    return "ok", ""
