"""Collect, diagnose, calibrate: what the command line, the full-screen view and a program share.

Prints nothing: progress is told to a listener, and what cannot be used is raised as BadInput.
"""

import os
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from envdoctor.collect import OnSnapshot, collect
from envdoctor.derived import observed_types_of
from envdoctor.diagnose import diagnose, measured_whole
from envdoctor.errors import BadInput, nearest
from envdoctor.events import ProbeEvent
from envdoctor.facts import Fact, Known, Observed, Reason, Snapshot, Unknown
from envdoctor.facts.calibration import Calibration, Settings
from envdoctor.facts.collective import Collective, CollectiveSettings
from envdoctor.facts.documents import facts_from_builtins, read_snapshot
from envdoctor.facts.libraries import LibraryResolution
from envdoctor.facts.machine import Expectation, Limits
from envdoctor.facts.python import Interpreter, Target
from envdoctor.facts.torch import TorchRuntime
from envdoctor.find_target import TargetSearch, choose
from envdoctor.findings import Severity
from envdoctor.knowledge import Knowledge, load
from envdoctor.options import Options
from envdoctor.pages import codes_of
from envdoctor.plugin_loading import load_plugins
from envdoctor.plugins import Check, Loaded
from envdoctor.probes.context import Context, context_of
from envdoctor.probes.machine import observe_before_measuring, observe_for_a_job
from envdoctor.probes.run import Children
from envdoctor.probes.staging import NO_ANSWER
from envdoctor.record import Record
from envdoctor.report import Report, Selection
from envdoctor.scope import within
from envdoctor.watchdog import NEVER

if TYPE_CHECKING:
    from envdoctor.calibration.progress import CalibrationProgress
    from envdoctor.policy.records import Policy, PolicyFile


_DIAGNOSING_S = 0.4
"""After the deadline, which ends what is looked at. It takes a quarter of that; what is left of the
second that a run may take too long is for writing."""

_WITH_THE_TARGET_S = 0.5
"""Before the deadline: who waits for a target until then has waited with all of the time."""

_LAST_S = 0.5
"""Before the deadline: what a collective is ended with, so that it can still be judged."""


def _unheard(_: Any) -> None:
    """Where nobody listens."""


class Listener(Record):
    """Is told how the work goes on, from any thread. `diagnosed` gets what is known before the
    measurement begins."""

    probe: Callable[[ProbeEvent], None] = _unheard
    diagnosed: Callable[[Report], None] = _unheard
    measurement: "Callable[[CalibrationProgress], None]" = _unheard


SILENT = Listener()


class Session:
    """The plugins and the knowledge of one run of the program, loaded when they are needed.

    `deadline` is the moment of the monotonic clock at which the run is to end.
    """

    def __init__(self, deadline: float = NEVER) -> None:
        self._deadline = deadline
        self._policies: dict[str, PolicyFile] = {}

    @cached_property
    def loaded(self) -> Loaded:
        """The plugins of this installation."""
        return load_plugins(until=self._deadline)

    @cached_property
    def knowledge(self) -> Knowledge:
        """What vendors publish."""
        return load()

    @property
    def services(self) -> dict[type, object]:
        """What checks and probes may ask for beside facts."""
        return {Knowledge: self.knowledge}

    def examine(
        self,
        options: Options,
        listener: Listener = SILENT,
        *,
        search: TargetSearch | None = None,
    ) -> Report:
        """Look at this machine and judge it; with `options.calibrate` measure it as well.

        `search` is that for the target, where it was begun before. Raises BadInput for checks that
        do not exist and for a target that is no Python.
        """
        self.selected(options)
        self.policy(options)
        # Without an import to wait for there is no time to be used.
        rehearse = _unheard if options.static else self._rehearsal(options)
        snapshot = self.observe(options, listener=listener, search=search, on_snapshot=rehearse)
        if not options.calibrate:
            return self.diagnose(snapshot, options)
        listener.diagnosed(self.diagnose(snapshot, options))
        measured = self.measure(snapshot, options, listener=listener)
        return self.diagnose(snapshot.with_facts({Calibration: measured}), options)

    def _rehearsal(self, options: Options) -> OnSnapshot:
        """Judges once, when the libraries are read: what judging needs (knowledge, patterns, what
        is asked again) is then there before torch is imported, and the end is not waited for.
        What others' plugins bring runs once, at the end."""
        due = [True]

        def rehearse(snapshot: Snapshot) -> None:
            if due and snapshot.value(LibraryResolution) is not None:
                due.clear()
                self.diagnose(snapshot, options, self.loaded.ours)

        return rehearse

    def examine_recorded(self, path: str, options: Options) -> Report:
        """Judge the machine of a facts file or report (`-` is standard input). Raises BadInput."""
        self.selected(options)
        return self.diagnose(self.read(path), options)

    def observe(
        self,
        options: Options,
        *,
        listener: Listener = SILENT,
        search: TargetSearch | None = None,
        on_snapshot: OnSnapshot = _unheard,
        loaded: Loaded | None = None,
    ) -> Snapshot:
        """Examine the machine, and leave no child behind.

        `search` is that for the target, where it was begun before; `loaded` are the plugins to be
        used instead of all. Raises BadInput for a target that the user named and that is no Python.
        """
        # The target's child starts before plugins and knowledge are imported.
        search = search or TargetSearch(options, deadline=self._deadline)
        search.listen(listener.probe)
        try:
            return collect(
                options,
                loaded or self.loaded,
                children=search.children,
                context=search.context,
                services=self.services,
                on_event=listener.probe,
                on_snapshot=on_snapshot,
                target=search.choice(),
            )
        finally:
            search.children.kill_all()

    def read(self, path: str) -> Snapshot:
        """The snapshot in a facts file or report. Raises BadInput."""
        return read_snapshot(path, observed_types_of(self.loaded))

    def diagnose(
        self, snapshot: Snapshot, options: Options, loaded: Loaded | None = None
    ) -> Report:
        """The diagnosis of one snapshot, with the checks that the user wants. Raises BadInput.

        `loaded` are the plugins to be used instead of all. What is expected now counts, not what
        was when the facts were recorded.
        """
        policy = self.policy(options)
        expectation = _expectation(options, policy)
        if expectation is not None:
            snapshot = snapshot.with_facts(
                {Expectation: Observed(value=expectation, source="the user")}
            )
        snapshot = within(snapshot, options.scope, self.loaded.probes)
        expected = snapshot.value(Expectation)
        selection = Selection(
            only=options.only,
            skip=options.skip,
            static=options.static,
            expect=expected.device if expected else None,
            scope=options.scope,
            root=options.root,
            policy=policy.path if policy else None,
            fail_on=Severity(options.fail_on),
        )
        return diagnose(
            snapshot,
            loaded or self.loaded,
            self.services,
            selection=selection,
            wanted=self.selected(options),
            until=self._deadline + _DIAGNOSING_S,
            policy=policy,
        )

    def policy(self, options: Options) -> "PolicyFile | None":
        """What the machine is held to, read once. Raises BadInput."""
        path = options.policy
        if path is None:
            return None
        if path not in self._policies:
            from envdoctor.policy.read import read_policy

            codes = codes_of(self.loaded)
            rules = {word: code.id for code in codes for word in (code.id, code.name)}
            self._policies[path] = read_policy(path, rules)
        return self._policies[path]

    def lock(self, report: Report) -> "Policy":
        """The policy that the machine of a report keeps."""
        from envdoctor.policy.lock import lock_of

        snapshot = facts_from_builtins(report.facts, self.loaded.fact_types)
        return lock_of(snapshot, report.stack.versions, report.outcomes)

    def selected(self, options: Options) -> Callable[[Check], bool]:
        """Which checks are wanted, by code, name or topic. Raises BadInput for an unknown one."""
        only, skip = options.only, options.skip
        if not only and not skip:
            return lambda check: True
        known = {label for check in self.loaded.checks for label in labels_of(check)}
        for label in (*only, *skip):
            if label not in known:
                offer = nearest(label, known) or "`envdoctor rules` lists them"
                raise BadInput(f"`{label}` is no code, name or topic of a check; {offer}")
        return lambda check: (
            (not only or not labels_of(check).isdisjoint(only))
            and labels_of(check).isdisjoint(skip)
        )

    def measure(
        self,
        snapshot: Snapshot,
        options: Options,
        *,
        listener: Listener = SILENT,
        children: Children | None = None,
    ) -> Known:
        """The calibration of a target that was examined, or why there is none."""
        if options.static:
            return Unknown(reason=Reason.SWITCHED_OFF, detail="left out by --static")
        interpreter = snapshot.value(Interpreter)
        if interpreter is None or not can_be_measured(snapshot):
            return Unknown(reason=Reason.NOT_APPLICABLE, detail="torch does not work in the target")
        limits = snapshot.value(Limits)
        settings = Settings(
            model=options.model,
            budget_s=options.budget_s,
            usable_cpus=limits.usable_cpus if limits else None,
            memory_limit_bytes=limits.cgroup_memory_bytes if limits else None,
        )
        own = Children()
        try:
            return self._calibrated(interpreter.executable, settings, listener, children or own)
        finally:
            own.kill_all()

    def ran_out(self, snapshot: Snapshot) -> bool:
        """Whether the time of this run ended before all was looked at, or measured."""
        if time.monotonic() < self._deadline - _WITH_THE_TARGET_S:
            return False
        target = snapshot.value(Target)
        if target is not None and target.problem and target.detail.startswith(NO_ANSWER):
            return True
        if time.monotonic() < self._deadline:
            return False
        late = (
            isinstance(one, Unknown) and one.reason is Reason.TIMED_OUT
            for _, one in snapshot.items()
        )
        return any(late) or not measured_whole(snapshot)

    def measure_target(
        self, python: str | None, settings: Settings, *, listener: Listener = SILENT
    ) -> Snapshot:
        """Choose the target as `observe` does and measure it; with the facts that explain its
        speed. Raises BadInput for a target that the user named and that cannot be used."""
        children = Children()
        try:
            context = context_of(children)
            facts = self._usable_target(python, context)
            target = facts[Target]
            assert isinstance(target, Observed)
            # Before anything of ours is on the GPUs.
            machine = observe_before_measuring(context)
            measured = self._calibrated(target.value.path, settings, listener, children)
        finally:
            children.kill_all()
        known: dict[type[Fact], Known] = {**facts, **machine, Calibration: measured}
        return Snapshot(known)

    def try_collective(
        self,
        python: str | None,
        settings: CollectiveSettings,
        *,
        on_step: Callable[[str], None] = _unheard,
    ) -> Snapshot:
        """Choose the target as `observe` does, and try a collective with it; with the facts that
        explain what becomes of it. Raises BadInput for a target that the user named and that cannot
        be used."""
        from envdoctor.collective.runner import try_collective
        from envdoctor.collective.trials import with_trials

        children = Children()
        try:
            facts = self._usable_target(python, context_of(children))
            target = facts[Target]
            assert isinstance(target, Observed)
            machine = observe_for_a_job(context_of(children, env=variables_of(settings)))
            shared: dict[str, Any] = {
                "children": children,
                "until": self._deadline - _LAST_S,
                "variables": os.environ,
                "on_step": on_step,
            }
            first = try_collective(target.value.path, settings, **shared)
            tried = with_trials(first, target.value.path, **shared)
        finally:
            children.kill_all()
        known: dict[type[Fact], Known] = {**facts, **machine, Collective: tried}
        return Snapshot(known)

    def _usable_target(self, python: str | None, context: Context) -> Mapping[type[Fact], Known]:
        """What is known of the target that is measured or tried. Raises BadInput."""
        facts = choose(python, context, self._deadline).facts
        target = facts[Target]
        assert isinstance(target, Observed)
        in_time = time.monotonic() < self._deadline
        if target.value.problem is not None and python is not None and in_time:
            raise BadInput(f"`{python}` cannot be used: {target.value.detail}")
        return facts

    def _calibrated(
        self, python: str, settings: Settings, listener: Listener, children: Children
    ) -> Known:
        from envdoctor.calibration.runner import calibrate

        return calibrate(
            python,
            settings,
            children=children,
            on_progress=listener.measurement,
            until=self._deadline,
        )


def _expectation(options: Options, policy: "PolicyFile | None") -> Expectation | None:
    """Which device torch is expected to use, where this run says so."""
    if options.expect is not None:
        return Expectation(device=options.expect, evidence="--expect")
    if policy is not None and "gpu" in policy.policy.outcomes:
        return Expectation(device="gpu", evidence=policy.path)
    return None


def variables_of(settings: CollectiveSettings) -> dict[str, str]:
    """The variables of this process as the ranks of a job will see them."""
    job = {
        "MASTER_ADDR": settings.master_addr,
        "GROUP_RANK": str(settings.node_rank),
        "GROUP_WORLD_SIZE": str(settings.nnodes),
    }
    # All ranks of one machine are here, whatever else an allocation holds.
    here = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"} if settings.nnodes == 1 else {}
    of_another = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_PORT")
    own = {name: value for name, value in os.environ.items() if name not in of_another}
    return {**own, **job, **here}


def can_be_measured(snapshot: Snapshot) -> bool:
    """Whether torch works in the target that was examined."""
    return all(snapshot.value(kind) is not None for kind in (Interpreter, TorchRuntime))


def labels_of(check: Check) -> frozenset[str]:
    """All that a check can be called by: its name, its topic, its codes and their names."""
    codes = {label for code in check.codes for label in (code.id, code.name)}
    return frozenset({check.name, check.topic, *codes})
