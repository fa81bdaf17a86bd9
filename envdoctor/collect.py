"""Schedules the probes, tells their progress, and builds the snapshot."""

import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from envdoctor.facts import Fact, Known, Observed, Reason, Snapshot, Unknown
from envdoctor.facts.machine import Expectation
from envdoctor.facts.python import Interpreter
from envdoctor.options import Options
from envdoctor.plugins import Loaded, Probe, StageResult, Where
from envdoctor.probes.choose import choose_target
from envdoctor.probes.run import Children
from envdoctor.probes.staging import run_stages
from envdoctor.probes.torch_stages import ISOLATED_IMPORT
from envdoctor.signature import Missing, arguments_for


@dataclass(frozen=True, kw_only=True)
class ProbeEvent:
    """Progress of one probe. `state`: started, finished, unknown."""

    probe: str
    state: str
    seconds: float = 0.0
    detail: str = ""
    slow_because: str = ""


OnEvent = Callable[[ProbeEvent], None]
OnSnapshot = Callable[[Snapshot], None]
Facts = Mapping[type[Fact], Known]

_ISOLATED_LIMIT_S = 30.0
_MARGIN_S = 1.0
_IMPORT_SHARE = 0.7
"""Of the time that is left, so that a hanging import leaves some for a second look."""
_STATES_OF_STAGES = {"begin": "started", "end": "finished"}


def find_target(
    options: Options, children: Children, on_event: OnEvent = lambda event: None
) -> Facts:
    """Which interpreter is examined; no plugin is needed to say, so it can be asked meanwhile."""
    on_event(ProbeEvent(probe="target", state="started"))
    facts = choose_target(
        options.python,
        children=children,
        env=options.env,
        cwd=os.getcwd(),
        doctor=sys.executable,
        static=options.static,
    )
    on_event(ProbeEvent(probe="target", state="finished"))
    return facts


def collect(
    options: Options,
    loaded: Loaded,
    *,
    children: Children,
    services: Mapping[type, object],
    on_event: OnEvent = lambda event: None,
    on_snapshot: OnSnapshot = lambda snapshot: None,
    target: Facts | None = None,
) -> Snapshot:
    """Examine the machine and the target. Every fact is observed, or Unknown with its reason.

    `on_snapshot` is called with what is known so far whenever a probe has ended; `target` are the
    facts of `find_target`, where they are known already.

    On KeyboardInterrupt the caller ends the children; the same on every other exception.
    """
    deadline = time.monotonic() + options.timeout_s
    facts = find_target(options, children, on_event) if target is None else target
    snapshot = Snapshot(facts).with_facts({Expectation: _expectation(options)})
    run = _Run(
        options=options,
        probes=loaded.probes,
        children=children,
        services={**services, Children: children, Options: options},
        on_event=on_event,
        on_snapshot=on_snapshot,
        snapshot=snapshot,
        deadline=deadline,
    )
    return run.to_the_end()


def _expectation(options: Options) -> Observed[Expectation]:
    evidence = "--expect" if options.expect else ""
    return Observed(value=Expectation(device=options.expect, evidence=evidence), source="the user")


@dataclass(kw_only=True)
class _Run:
    """One examination: probes run in daemon threads as soon as the facts they need are settled."""

    options: Options
    probes: Sequence[Probe]
    children: Children
    services: Mapping[type, object]
    on_event: OnEvent
    on_snapshot: OnSnapshot
    snapshot: Snapshot
    deadline: float
    done: "queue.Queue[tuple[str, Facts, float]]" = field(default_factory=queue.Queue)
    running: dict[str, tuple[Sequence[type[Fact]], float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.waiting = [probe for probe in self.probes if probe.where is Where.HOST]
        self.target_probes = [probe for probe in self.probes if probe.where is Where.TARGET]

    def to_the_end(self) -> Snapshot:
        self._start_target()
        self._start_ready()
        while self.running:
            try:
                name, facts, seconds = self.done.get(timeout=self._patience())
            except queue.Empty:
                self._give_up_on_late_ones()
            else:
                self._settle(name, facts, seconds)
            self._start_ready()
        return self.snapshot

    def _patience(self) -> float:
        earliest = min(limit for _, limit in self.running.values())
        return max(0.0, min(earliest, self.deadline) - time.monotonic())

    def _settle(self, name: str, facts: Facts, seconds: float) -> None:
        if self.running.pop(name, None) is None:
            return
        self.snapshot = self.snapshot.with_facts(facts)
        unknown = next((fact for fact in facts.values() if isinstance(fact, Unknown)), None)
        state, detail = ("unknown", unknown.detail) if unknown else ("finished", "")
        self.on_event(ProbeEvent(probe=name, state=state, seconds=seconds, detail=detail))
        self.on_snapshot(self.snapshot)

    def _give_up_on_late_ones(self) -> None:
        now = time.monotonic()
        for name, (provides, limit) in list(self.running.items()):
            if now < min(limit, self.deadline):
                continue
            late = Unknown(reason=Reason.TIMED_OUT, detail=f"{name}: no answer in time")
            self._settle(name, dict.fromkeys(provides, late), 0.0)
        if now >= self.deadline:
            self.children.kill_all()
            self.waiting = []

    def _start_ready(self) -> None:
        pending = {kind for provides, _ in self.running.values() for kind in provides}
        pending |= {kind for probe in self.waiting for kind in probe.provides}
        for probe in list(self.waiting):
            if any(need.kind in pending - set(probe.provides) for need in probe.needs):
                continue
            self.waiting.remove(probe)
            self._start_host(probe)

    def _start_host(self, probe: Probe) -> None:
        if self.options.static and not probe.static:
            off = Unknown(reason=Reason.SWITCHED_OFF, detail="left out by --static")
            self.snapshot = self.snapshot.with_facts(dict.fromkeys(probe.provides, off))
            return
        arguments = arguments_for(probe.needs, self.snapshot, self.services)
        if isinstance(arguments, Missing):
            unknown = Unknown(reason=arguments.unknown.reason, detail=arguments.unknown.detail)
            self.snapshot = self.snapshot.with_facts(dict.fromkeys(probe.provides, unknown))
            return
        limit = time.monotonic() + probe.timeout_s
        self._spawn(
            probe.name, probe.provides, limit, probe.slow_because, _reader(probe, arguments)
        )

    def _start_target(self) -> None:
        if not self.target_probes:
            return
        provides = [kind for probe in self.target_probes for kind in probe.provides]
        interpreter = self.snapshot.get(Interpreter)
        if self.options.static or isinstance(interpreter, Unknown):
            unknown = (
                interpreter
                if isinstance(interpreter, Unknown)
                else Unknown(reason=Reason.SWITCHED_OFF, detail="left out by --static")
            )
            self.snapshot = self.snapshot.with_facts(dict.fromkeys(provides, unknown))
            return
        limits = [probe.timeout_s for probe in self.target_probes]
        limit = time.monotonic() + sum(limits) + _ISOLATED_LIMIT_S + 20.0
        slow = next((probe.slow_because for probe in self.target_probes), "")
        self._spawn("torch", provides, limit, slow, self._examine_torch)

    def _spawn(
        self,
        name: str,
        provides: Sequence[type[Fact]],
        limit: float,
        slow_because: str,
        work: Callable[[], Facts],
    ) -> None:
        self.running[name] = (provides, limit)
        self.on_event(ProbeEvent(probe=name, state="started", slow_because=slow_because))

        def body() -> None:
            started = time.monotonic()
            try:
                facts = work()
            except Exception as error:
                text = f"{name}: {type(error).__name__}: {error}"
                facts = dict.fromkeys(provides, Unknown(reason=Reason.CRASHED, detail=text))
            self.done.put((name, facts, time.monotonic() - started))

        threading.Thread(target=body, name=f"probe {name}", daemon=True).start()

    def _examine_torch(self) -> Facts:
        interpreter = self.snapshot.value(Interpreter)
        assert interpreter is not None
        limits = self._stage_limits()

        def on_stage(stage: str, event: str, detail: str) -> None:
            probe = next((one for one in self.target_probes if stage in one.stages), None)
            if probe is not None:
                state = _STATES_OF_STAGES.get(event, "unknown")
                slow = probe.slow_because
                self.on_event(
                    ProbeEvent(probe=probe.name, state=state, detail=detail, slow_because=slow)
                )

        python = interpreter.executable
        results = run_stages(
            python, list(limits), children=self.children, timeout_s=limits, on_stage=on_stage
        )
        limit_s = min(_ISOLATED_LIMIT_S, self.deadline - _MARGIN_S - time.monotonic())
        if _is_surprising(results["import"], interpreter) and limit_s > 0:
            isolated = run_stages(
                python,
                ["import"],
                children=self.children,
                timeout_s={"import": limit_s},
                flags=("-I",),
            )
            results[ISOLATED_IMPORT] = isolated["import"]
        facts: dict[type[Fact], Known] = {}
        for probe in self.target_probes:
            facts.update(probe.decode(results))
        return facts

    def _stage_limits(self) -> dict[str, float]:
        """The limits of the target's stages, so that one that hangs is named before time is up."""
        share_s = _IMPORT_SHARE * (self.deadline - time.monotonic())
        return {
            stage: min(probe.timeout_s, max(share_s, _MARGIN_S))
            for probe in self.target_probes
            for stage in probe.stages
        }


def _reader(probe: Probe, arguments: Mapping[str, Any]) -> Callable[[], Facts]:
    return lambda: probe.decode(**arguments)


def _is_surprising(imported: StageResult, interpreter: Interpreter) -> bool:
    """Whether a second import, isolated from the user's surroundings, can tell more."""
    if imported.state != "ok" or imported.data.get("shadowed"):
        return True
    file = imported.data.get("file") or ""
    return not any(file.startswith(folder + os.sep) for folder in interpreter.site_packages)
