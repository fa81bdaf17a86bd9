"""Schedules the probes, tells their progress, and builds the snapshot."""

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from envdoctor.clock import offset_s
from envdoctor.engine import failure_of
from envdoctor.errors import described
from envdoctor.events import OnEvent, ProbeEvent
from envdoctor.facts import Fact, Known, Observed, Reason, Snapshot, Unknown
from envdoctor.facts.machine import Clock, Expectation
from envdoctor.facts.python import Interpreter
from envdoctor.find_target import find_target
from envdoctor.options import Options
from envdoctor.plugins import Loaded, Probe, Provided, Where
from envdoctor.plugins.bounded import LIMIT_S, Failed, run_in_turn
from envdoctor.plugins.signature import Missing, arguments_for
from envdoctor.plugins.type_check import require_type
from envdoctor.probes.built_in_stages import as_wanted
from envdoctor.probes.choose import Choice
from envdoctor.probes.context import Context, context_of
from envdoctor.probes.file_check import FileCheck
from envdoctor.probes.run import Children
from envdoctor.probes.stage import StageResult
from envdoctor.probes.staging import StageRun, run_stages
from envdoctor.record import Mutable
from envdoctor.scope import left_out, out_of_scope

OnSnapshot = Callable[[Snapshot], None]

_ISOLATED_LIMIT_S = 30.0
_LEAST_S = 1.0
"""A second import with less time than this would tell nothing."""

_DECODING_S = 0.2
"""After the deadline, for what the target has said by then; of a torch it takes a hundredth."""

_TO_END_IT_S = 2.0

_TARGET = "torch"
"""What the run of the target's stages is called among the probes."""


def collect(
    options: Options,
    loaded: Loaded,
    *,
    children: Children,
    services: Mapping[type, object],
    context: Context | None = None,
    on_event: OnEvent = lambda event: None,
    on_snapshot: OnSnapshot = lambda snapshot: None,
    target: Choice | None = None,
) -> Snapshot:
    """Examine the machine and the target. Every fact is observed, or Unknown with its reason.

    `on_snapshot` is called with what is known so far whenever a probe has ended; `target` is what
    `find_target` gave, where the target's child was started before. Raises UnusableTarget.

    On KeyboardInterrupt the caller ends the children; the same on every other exception.
    """
    began = offset_s()
    context = context or context_of(children)
    stages = [
        stage
        for probe in loaded.probes
        for every in probe.stages
        if (stage := as_wanted(every, options)) is not None
    ]
    target = target or find_target(options, context, on_event, stages)
    if target.stages is not None:
        target.stages.ask(stages)
        target.stages.complete()
    run = _Run(
        options=options,
        loaded=loaded,
        children=children,
        context=context,
        services={**services, Context: context, Options: options, FileCheck: target.files},
        on_event=on_event,
        on_snapshot=on_snapshot,
        snapshot=Snapshot(target.facts).with_facts({Expectation: _expectation(options)}),
        stages=target.stages,
        deadline=target.deadline,
    )
    return _with_step(run.to_the_end(), offset_s() - began)


_STEP_S = 0.5
"""More than what slewing a clock can come to meanwhile: 0.05 % (ntp_adjtime, MAXFREQ)."""


def _with_step(snapshot: Snapshot, stepped_s: float) -> Snapshot:
    """The snapshot with how far the clock was set during the examination, if it was."""
    seen = snapshot.get(Clock)
    if abs(stepped_s) < _STEP_S or not isinstance(seen, Observed):
        return snapshot
    clock = msgspec.structs.replace(seen.value, stepped_s=round(stepped_s, 1))
    return snapshot.with_facts({Clock: msgspec.structs.replace(seen, value=clock)})


def _expectation(options: Options) -> Observed[Expectation]:
    evidence = "--expect" if options.expect else ""
    return Observed(value=Expectation(device=options.expect, evidence=evidence), source="the user")


def _seen_nothing(facts: Provided) -> Unknown | None:
    """Why a probe has not seen what it is for; null where no more is unknown than what nobody asked
    it to try."""
    unknown = [fact for fact in facts.values() if isinstance(fact, Unknown)]
    asked = [one for one in unknown if one.reason is not Reason.SWITCHED_OFF]
    return next(iter(asked or (unknown if len(unknown) == len(facts) else ())), None)


class _Running(Mutable):
    """A probe at work, or the run of the target's stages: what it gives, and until when."""

    name: str
    provides: Sequence[type[Fact]]
    limit: float
    decode_so_far: Callable[[], Provided] | None = None


class _Run(Mutable):
    """One examination: probes run in daemon threads as soon as the facts they need are settled."""

    options: Options
    loaded: Loaded
    children: Children
    context: Context
    services: Mapping[type, object]
    on_event: OnEvent
    on_snapshot: OnSnapshot
    snapshot: Snapshot
    stages: StageRun | None
    deadline: float
    done: "queue.Queue[tuple[_Running, Provided, float]]" = msgspec.field(
        default_factory=queue.Queue
    )
    running: set[_Running] = msgspec.field(default_factory=set)
    waiting: list[Probe] = msgspec.field(default_factory=list)
    target_probes: list[Probe] = msgspec.field(default_factory=list)
    owners: dict[type[Fact], Probe] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        probes = self.loaded.probes
        self.waiting = [probe for probe in probes if probe.where is Where.HOST]
        self.target_probes = [probe for probe in probes if probe.where is Where.TARGET]
        for probe in probes:
            for kind in probe.provides:
                self.owners.setdefault(kind, probe)

    def to_the_end(self) -> Snapshot:
        self._start_target()
        self._start_ready()
        while self.running:
            try:
                one, facts, seconds = self.done.get(timeout=self._patience())
            except queue.Empty:
                self._give_up_on_late_ones()
            else:
                self._settle(one, facts, seconds)
            self._start_ready()
        self._settle_waiting(Reason.NOT_OBSERVED, "its needs wait for each other")
        return self.snapshot

    def _patience(self) -> float:
        earliest = min(one.limit for one in self.running)
        return max(0.0, min(earliest, self.deadline) - time.monotonic())

    # --- results ---

    def _settle(self, one: _Running, facts: Provided, seconds: float = 0.0) -> None:
        if one not in self.running:
            return
        self.running.discard(one)
        self._tell(one.name, facts, seconds)

    def _tell(self, name: str, facts: Provided, seconds: float = 0.0) -> None:
        self.snapshot = self.snapshot.with_facts(facts)
        unknown = _seen_nothing(facts)
        state, detail = ("unknown", unknown.detail) if unknown else ("finished", "")
        self.on_event(ProbeEvent(probe=name, state=state, seconds=seconds, detail=detail))
        self.on_snapshot(self.snapshot)

    def _give_up_on_late_ones(self) -> None:
        now = time.monotonic()
        for one in [one for one in self.running if now >= min(one.limit, self.deadline)]:
            late = Unknown(reason=Reason.TIMED_OUT, detail=f"{one.name}: no answer in time")
            facts: Provided = dict.fromkeys(one.provides, late)
            self._settle(one, one.decode_so_far() if one.decode_so_far else facts)
        if now >= self.deadline:
            self.children.kill_all()
            self._settle_waiting(Reason.TIMED_OUT, "time ran out before it was looked at")

    def _settle_waiting(self, reason: Reason, detail: str) -> None:
        for probe in self.waiting:
            self._tell(probe.name, self._all_unknown(probe, Unknown(reason=reason, detail=detail)))
        self.waiting = []

    def _own_kinds(self, probe: Probe) -> list[type[Fact]]:
        """What a probe provides and no probe before it does."""
        return [kind for kind in probe.provides if self.owners[kind] is probe]

    def _all_unknown(self, probe: Probe, unknown: Unknown) -> Provided:
        return dict.fromkeys(self._own_kinds(probe), unknown)

    def _given(
        self, probe: Probe, give: Callable[[], Provided], limit_s: float = LIMIT_S
    ) -> Provided:
        """What a probe gives of its own facts. If it raises, these are unknown and no others."""
        try:
            if self.loaded.is_ours(probe):
                return self._own_facts(probe, give)
            return self._given_apart(probe, give, limit_s)
        except BaseException as error:
            return self._gave_nothing(probe, Failed(error=described(error)))

    def _gave_nothing(self, probe: Probe, failed: Failed) -> Provided:
        return self._all_unknown(probe, failure_of(probe.name, failed))

    def _own_facts(self, probe: Probe, give: Callable[[], Provided]) -> Provided:
        facts = give()
        left_out = Unknown(reason=Reason.NOT_OBSERVED, detail=f"{probe.name} did not give it")
        return {kind: facts.get(kind, left_out) for kind in self._own_kinds(probe)}

    def _given_apart(self, probe: Probe, give: Callable[[], Provided], limit_s: float) -> Provided:
        """The same of somebody else's probe, which may end its process."""
        from envdoctor.plugins.processes import in_process

        def plain() -> dict[str, Any]:
            self.children.begin_anew()
            own = self._own_facts(probe, give)
            for kind, fact in own.items():
                require_type(fact, Observed[kind] | Unknown)  # type: ignore[valid-type]
            return {kind.__name__: msgspec.to_builtins(fact) for kind, fact in own.items()}

        given = in_process(plain, limit_s, until=self.deadline)
        if isinstance(given, Failed):
            return self._gave_nothing(probe, given)
        return {
            kind: msgspec.convert(given[kind.__name__], Observed[kind] | Unknown)  # type: ignore[valid-type]
            for kind in self._own_kinds(probe)
        }

    # --- the machine ---

    def _start_ready(self) -> None:
        while (probe := self._next_ready()) is not None:
            self.waiting.remove(probe)
            settled = self._start_host(probe)
            if settled is not None:
                self.snapshot = self.snapshot.with_facts(self._all_unknown(probe, settled))

    def _next_ready(self) -> Probe | None:
        """A probe whose needs are settled: none of those that run or wait will give them."""
        running = {kind for one in self.running for kind in one.provides}
        for probe in self.waiting:
            others = {kind for one in self.waiting if one is not probe for kind in one.provides}
            if not any(need.kind in running | others for need in probe.needs):
                return probe
        return None

    def _start_host(self, probe: Probe) -> Unknown | None:
        """Start a probe, or say why it cannot be."""
        if self.options.static and not probe.static:
            return Unknown(reason=Reason.SWITCHED_OFF, detail="left out by --static")
        if self.options.scope is not None and out_of_scope(probe, self.options.scope):
            return left_out(self.options.scope)
        try:
            arguments = arguments_for(probe.needs, self.snapshot, self.services)
        except LookupError as error:
            detail = f"{probe.name} asks for {error}, which no probe is given"
            return Unknown(reason=Reason.CRASHED, detail=detail)
        if isinstance(arguments, Missing):
            return arguments.unknown
        observe = probe.observe
        assert observe is not None
        # Somebody else's is ended when its time is over, which is then its failure.
        more = 0.0 if self.loaded.is_ours(probe) else _TO_END_IT_S
        running = _Running(
            name=probe.name,
            provides=self._own_kinds(probe),
            limit=time.monotonic() + probe.timeout_s + more,
        )
        self._spawn(
            running,
            lambda: self._given(probe, lambda: observe(**arguments), probe.timeout_s),
            slow_because=probe.slow_because,
        )
        return None

    def _spawn(
        self, running: _Running, work: Callable[[], Provided], *, slow_because: str = ""
    ) -> None:
        self.running.add(running)
        self.on_event(ProbeEvent(probe=running.name, state="started", slow_because=slow_because))

        def body() -> None:
            started = time.monotonic()
            try:
                facts = work()
            except BaseException as error:
                detail = f"{running.name}: {described(error)}"
                crashed = Unknown(reason=Reason.CRASHED, detail=detail)
                facts = dict.fromkeys(running.provides, crashed)
            self.done.put((running, facts, time.monotonic() - started))

        threading.Thread(target=body, name=f"probe {running.name}", daemon=True).start()

    # --- the target ---

    def _start_target(self) -> None:
        interpreter = self.snapshot.get(Interpreter)
        if isinstance(interpreter, Unknown) or self.stages is None:
            why = Unknown(reason=Reason.SWITCHED_OFF, detail="left out by --static")
            why = interpreter if isinstance(interpreter, Unknown) else why
            for probe in self.target_probes:
                self.snapshot = self.snapshot.with_facts(self._all_unknown(probe, why))
            return
        if not self.target_probes:
            return
        stages, value = self.stages, interpreter.value
        running = _Running(
            name=_TARGET,
            provides=[kind for probe in self.target_probes for kind in self._own_kinds(probe)],
            limit=self.deadline,
            decode_so_far=lambda: self._decoded_so_far(stages),
        )
        self._spawn(running, lambda: self._examine_target(stages, value))

    def _examine_target(self, stages: StageRun, interpreter: Interpreter) -> Provided:
        results = stages.results()
        owned = [
            (probe, stage)
            for probe in self.target_probes
            for stage in probe.stages
            if stage.name in results
        ]
        asked = [
            self._asking(probe, partial(stage.isolate, results[stage.name], interpreter))
            for probe, stage in owned
        ]
        for (_, stage), isolate in zip(owned, run_in_turn(asked, until=self.deadline), strict=True):
            result = results[stage.name]
            deadline = min(self.deadline, time.monotonic() + _ISOLATED_LIMIT_S)
            if isolate is True and deadline - time.monotonic() > _LEAST_S:
                again = run_stages(
                    stages.python,
                    [msgspec.structs.replace(stage, needs=())],
                    run=self.context.run,
                    flags=("-I",),
                    deadline=deadline,
                )
                results[stage.name] = msgspec.structs.replace(result, isolated=again[stage.name])
        return self._decoded(results)

    def _asking(self, probe: Probe, ask: Callable[[], bool]) -> Callable[[], bool | Failed]:
        if self.loaded.is_ours(probe):
            return ask
        from envdoctor.plugins.processes import in_process

        return partial(in_process, ask)

    def _decoded_so_far(self, stages: StageRun) -> Provided:
        stages.stop()
        return self._decoded(stages.so_far())

    def _decoded(self, results: Mapping[str, StageResult]) -> Provided:
        works = [
            partial(self._given, probe, self._decoding(probe, results))
            for probe in self.target_probes
        ]
        facts: dict[type[Fact], Known] = {}
        until = self.deadline + _DECODING_S
        for probe, given in zip(self.target_probes, run_in_turn(works, until=until), strict=True):
            facts.update(self._gave_nothing(probe, given) if isinstance(given, Failed) else given)
        return facts

    def _decoding(self, probe: Probe, results: Mapping[str, StageResult]) -> Callable[[], Provided]:
        assert probe.decode is not None
        return partial(probe.decode, results)
