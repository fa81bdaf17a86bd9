"""Runs the calibration worker in the target interpreter, and makes a fact of what it says."""

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from envdoctor.calibration.competing_programs import busiest, cpu_seconds
from envdoctor.calibration.progress import CalibrationProgress, OnProgress, Sample
from envdoctor.calibration.telemetry import Sampler, summarise
from envdoctor.clock import now_utc
from envdoctor.facts import Observed, Reason, Unknown
from envdoctor.facts.calibration import (
    NAMES,
    TIME_RAN_OUT,
    BatchAdvice,
    BusyProcess,
    Calibration,
    CalibrationRun,
    Ceiling,
    Conditions,
    InputPipeline,
    LeftOut,
    Settings,
)
from envdoctor.probes.boundary import Undecodable, json_object, typed
from envdoctor.probes.channel import Incoming
from envdoctor.probes.context import context_of
from envdoctor.probes.limits import read_limits
from envdoctor.probes.run import Children, ChildResult, Stopping, run_child
from envdoctor.record import Mutable, Record
from envdoctor.watchdog import NEVER

WORKER = Path(__file__).with_name("worker.py")
SILENCE_LIMIT_S = 300.0
"""A worker that says nothing for so long is ended: longer than a cold import or a slow first step
takes."""

SEARCHING_LIMIT_S = 1200.0
"""The same where torch.compile was asked for, or where MIOpen (of a ROCm build) tries its kernels:
both say nothing until they are done."""

TOTAL_LIMIT_S = 3600.0

FIRST_STEPS_S = 30.0
"""Beyond the plan, for the first two steps on a machine that others use."""

_OUTPUT_TAIL = 2000


def calibrate(
    python: str,
    settings: Settings,
    *,
    children: Children,
    on_progress: OnProgress = lambda progress: None,
    silence_limit_s: float | None = None,
    until: float = NEVER,
) -> Observed[Calibration] | Unknown:
    """Measure a training step with the torch of the interpreter `python`.

    Ctrl-C (KeyboardInterrupt) ends the worker and gives what was measured, marked as
    interrupted. A worker that is silent for `silence_limit_s` (null: as long as what is asked may
    need) is ended, and any at the moment `until` of the monotonic clock. Unknown if nothing could
    be measured: no torch, or one that does not start.
    """
    started = time.monotonic()
    settings = _within_limits(settings, children)
    before = cpu_seconds()
    sampler = Sampler(children)
    heard = _Heard(
        on_progress=lambda progress: on_progress(
            msgspec.structs.replace(progress, gpus=sampler.newest)
        ),
        silence_limit_s=silence_limit_s,
        compiling=settings.compile,
    )
    with Incoming(heard.take_line) as channel:
        with sampler:
            ended = _run(python, settings, heard, channel, children, until)
        channel.drain()
    reason = heard.fatal or ended.reason
    if not heard.runs and not ended.interrupted and reason:
        return Unknown(reason=ended.kind, detail=reason)
    seconds = time.monotonic() - started
    busy = busiest(before, cpu_seconds(), seconds)
    calibration = heard.calibration(settings, ended, seconds, sampler.samples, busy)
    return Observed(
        value=calibration,
        source=f"{NAMES[settings.model]} steps run by `{python}`",
        seconds=seconds,
    )


def _within_limits(settings: Settings, children: Children) -> Settings:
    """The settings with what this process may use; the worker inherits affinity and cgroup. Only
    images have to be decoded."""
    limits = read_limits(context_of(children))
    return msgspec.structs.replace(
        settings,
        pipeline=settings.pipeline and settings.model == "resnet50",
        usable_cpus=settings.usable_cpus or limits.usable_cpus,
        memory_limit_bytes=settings.memory_limit_bytes or limits.cgroup_memory_bytes,
        shm_free_bytes=limits.shm_free_bytes
        if settings.shm_free_bytes is None
        else settings.shm_free_bytes,
    )


class _Ended(Record):
    """How the worker ended. `reason` is empty if it did all that was asked."""

    reason: str = ""
    kind: Reason = Reason.CRASHED
    interrupted: bool = False


def _run(
    python: str,
    settings: Settings,
    heard: "_Heard",
    channel: Incoming,
    children: Children,
    until: float,
) -> _Ended:
    request = msgspec.json.encode(settings).decode()
    try:
        child = run_child(
            [python, "-B", str(WORKER), str(channel.for_child), request],
            children=children,
            timeout_s=min(TOTAL_LIMIT_S, until - time.monotonic()),
            pass_fds=(channel.for_child,),
            ports=(channel,),
            still_allowed=lambda: (
                not channel.flooded and heard.still_talks() and not heard.plan_is_over()
            ),
        )
    except KeyboardInterrupt:
        return _Ended(reason="interrupted by the user", interrupted=True)
    except OSError as error:
        return _Ended(reason=f"`{python}` cannot be started: {error}")
    except Stopping:
        return _Ended(reason="stopped before the worker began")
    channel.drain()
    if channel.flooded:
        return _Ended(reason="it wrote without end into the descriptor of the doctor")
    if child.timed_out and time.monotonic() >= until:
        return _Ended(reason=TIME_RAN_OUT, kind=Reason.TIMED_OUT)
    return _how_it_ended(child, heard)


def _how_it_ended(child: ChildResult, heard: "_Heard") -> _Ended:
    if child.timed_out and heard.finished:
        # All was measured; to end takes torch some time too.
        return _Ended()
    where = f" during {heard.last.message or heard.last.phase}" if heard.last else ""
    if child.timed_out and heard.plan_is_over():
        reason = f"the time that was planned is over{heard.others()}"
        if not heard.take_first_bounds():
            return _Ended(reason=reason + where, kind=Reason.TIMED_OUT)
        heard.leave_out_the_rest(reason)
        return _Ended()
    if child.timed_out:
        reason = f"no sign of life within {heard.patience_s:.0f} s{where}"
        return _Ended(reason=reason, kind=Reason.TIMED_OUT)
    if child.signal == "SIGKILL":
        return _Ended(reason=f"killed by the system{where}, which it does when memory runs out")
    if child.signal is not None:
        return _Ended(reason=f"the worker was ended by {child.signal}{where}")
    if heard.finished:
        return _Ended()
    tail = (child.stdout + child.stderr)[-_OUTPUT_TAIL:].strip()
    last_line = tail.splitlines()[-1] if tail else "it said nothing"
    return _Ended(reason=f"the worker exited with code {child.exit_code}{where}: {last_line}")


class _Heard(Mutable):
    """What the worker has written so far, one JSON object a line: an event and its data."""

    on_progress: OnProgress
    silence_limit_s: float | None = None
    compiling: bool = False
    started_at: str = msgspec.field(default_factory=now_utc)
    spoke_at: float = msgspec.field(default_factory=time.monotonic)
    plan: "_Plan | None" = None
    over_at: float = NEVER
    last: CalibrationProgress | None = None
    fatal: str = ""
    finished: bool = False
    conditions: dict[str, Any] = msgspec.field(default_factory=dict)
    runs: dict[tuple[object, ...], CalibrationRun] = msgspec.field(default_factory=dict)
    windows: dict[tuple[object, ...], "_Window"] = msgspec.field(default_factory=dict)
    first: dict[tuple[str, str], CalibrationRun] = msgspec.field(default_factory=dict)
    left_out: list[LeftOut] = msgspec.field(default_factory=list)
    batches: list[BatchAdvice] = msgspec.field(default_factory=list)
    ceilings: list[Ceiling] = msgspec.field(default_factory=list)
    pipeline: InputPipeline | None = None

    @property
    def patience_s(self) -> float:
        """How long the worker may be silent."""
        if self.silence_limit_s is not None:
            return self.silence_limit_s
        searching = self.compiling or self.conditions.get("hip")
        return SEARCHING_LIMIT_S if searching else SILENCE_LIMIT_S

    def still_talks(self) -> bool:
        """False if the worker has been silent for too long."""
        return time.monotonic() - self.spoke_at <= self.patience_s

    def plan_is_over(self) -> bool:
        """Whether all should have been measured by now; while not one step has ended the worker is
        left some more time, as a bound is worth more than none."""
        has_something = bool(self.runs or self.first)
        return time.monotonic() > self.over_at + (0.0 if has_something else FIRST_STEPS_S)

    def take_first_bounds(self) -> bool:
        """Take the bounds of first steps for what was not measured; whether anything was."""
        measured = {(run.device, run.precision) for run in self.runs.values()}
        for key, run in self.first.items():
            if key not in measured:
                self._add(run, _Window(window=(0.0, 0.0)))
        return bool(self.runs)

    def _add(self, run: CalibrationRun, window: "_Window") -> None:
        key = run.device, run.precision, run.memory_format, run.compiled, run.batch_size
        self.runs[key], self.windows[key] = run, window

    def leave_out_the_rest(self, reason: str) -> None:
        """Say that what was at work, and what would have followed, was not measured."""
        device = (self.last.device if self.last else "") or "cpu"
        what = self.last.message or self.last.phase if self.last else "everything"
        self.left_out.append(
            LeftOut(device=device, what=f"from {what} on", reason=reason, failed=False)
        )

    def others(self) -> str:
        """That others had the CPUs, for the end of a sentence; empty where that is not known."""
        cpus = self.conditions.get("others_cpus")
        return f", as other programs used {cpus:.1f} CPUs" if isinstance(cpus, float) else ""

    def take_line(self, line: bytes) -> None:
        """Take in a message; what is none of the worker's is not ours: a library of the target may
        write to any descriptor."""
        self.spoke_at = time.monotonic()
        with contextlib.suppress(Undecodable):
            message = json_object(line)
            if isinstance(message.get("data"), dict):
                self._take(message.get("event"), message["data"])

    def _take(self, event: object, data: dict[str, Any]) -> None:
        if event == "progress":
            self._tell(_convert(data, CalibrationProgress))
        elif event == "plan":
            self.plan = _convert(data, _Plan)
            if self.plan.limit_s is not None:
                self.over_at = time.monotonic() + self.plan.limit_s
            self._tell(self.plan.told())
        elif event == "run":
            self._add(_convert(data, CalibrationRun), _convert(data, _Window))
        elif event == "first":
            run = _convert(data, CalibrationRun)
            self.first[run.device, run.precision] = run
        elif event == "left_out":
            self.left_out.append(_convert(data, LeftOut))
        elif event == "batch":
            self.batches.append(_convert(data, BatchAdvice))
        elif event == "ceiling":
            self.ceilings.append(_convert(data, Ceiling))
        elif event == "pipeline":
            self.pipeline = _convert(data, InputPipeline)
        elif event == "conditions":
            self._conditions_with(data)
            self.conditions.update(data)
        elif event == "fatal":
            self.fatal = str(data.get("reason") or "it does not say why it ended")
        elif event == "end":
            self.finished = True

    def _tell(self, progress: CalibrationProgress) -> None:
        self.last = progress
        self.on_progress(progress)

    def calibration(
        self,
        settings: Settings,
        ended: _Ended,
        seconds: float,
        samples: Sequence[Sample],
        busy: Sequence[BusyProcess] = (),
    ) -> Calibration:
        """All that was heard, as the fact."""
        return Calibration(
            runs=tuple(self._with_telemetry(key, samples) for key in self.runs),
            settings=settings,
            conditions=self._conditions_with(
                {
                    "usable_cpus": settings.usable_cpus,
                    "seconds": round(seconds, 3),
                    "busy": msgspec.to_builtins(busy),
                }
            ),
            complete=not ended.reason and not self.fatal,
            incomplete_because=self.fatal or ended.reason,
            interrupted=ended.interrupted,
            left_out=tuple(self.left_out),
            batches=tuple(self.batches),
            ceilings=tuple(self.ceilings),
            pipeline=self.pipeline,
        )

    def _conditions_with(self, data: dict[str, Any]) -> Conditions:
        """What was heard of the conditions, and these; raises Undecodable."""
        blank = {"started_at": self.started_at, "usable_cpus": None, "seconds": 0.0}
        conditions: Conditions = _convert({**blank, **self.conditions, **data}, Conditions)
        return conditions

    def _with_telemetry(self, key: tuple[object, ...], samples: Sequence[Sample]) -> CalibrationRun:
        run, during = self.runs[key], self.windows[key]
        if run.device == "cpu":
            return run
        telemetry = summarise(samples, during.window, during.address(samples))
        return msgspec.structs.replace(run, telemetry=telemetry)


class _Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is measured and how long that takes; `limit_s` is when the worker is ended."""

    seconds: float
    limit_s: float | None = None
    message: str

    def told(self) -> CalibrationProgress:
        """The plan, as news."""
        return CalibrationProgress(
            phase="starting",
            message=f"plan: {self.message}",
            plan=self.message,
            planned_s=self.seconds,
        )


class _Window(msgspec.Struct, frozen=True, kw_only=True):
    """When a run was timed, and by which names NVML knows its GPU."""

    window: tuple[float, float]
    bus_id: str | None = None
    uuid: str | None = None

    def address(self, samples: Sequence[Sample]) -> str | None:
        """The PCI address; of the GPU with that UUID where torch did not say it."""
        if self.bus_id is not None or self.uuid is None:
            return self.bus_id
        addresses = (one.gpu.pci_address for one in samples if one.gpu.uuid == self.uuid)
        return next(addresses, None)


def _convert(data: dict[str, Any], kind: type[Any]) -> Any:
    return typed(data, kind)
