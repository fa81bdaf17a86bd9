"""Finds the target and begins to run its torch, before the plugins and the knowledge are loaded.

Imports next to nothing: what it starts takes longer than all that the doctor does meanwhile.
"""

import os
import sys
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from envdoctor.events import OnEvent, ProbeEvent
from envdoctor.options import Options, Scope
from envdoctor.probes.built_in_stages import INTERPRETER, built_in_stages
from envdoctor.probes.candidates import default_candidates
from envdoctor.probes.choose import Choice, choose_target, no_target
from envdoctor.probes.context import Context, context_of
from envdoctor.probes.run import Children
from envdoctor.probes.stage import Stage
from envdoctor.probes.staging import NO_LIMIT

if TYPE_CHECKING:
    from envdoctor.probes.file_check import FileCheck

_START_S = 0.1
"""How long the start of a first child is waited for."""

_STATES_OF_STAGES = {"begin": "started", "end": "finished"}


def find_target(
    options: Options,
    context: Context,
    on_event: OnEvent = lambda event: None,
    stages: Sequence[Stage] | None = None,
    deadline: float = NO_LIMIT,
) -> Choice:
    """Choose the target, and begin with these stages in it, by default with the doctor's own.

    The time of the options runs from now, and no longer than to the deadline (a moment of the
    monotonic clock).

    Raises UnusableTarget for one that the user named and that is no Python.
    """

    def on_stage(stage: Stage, event: str, detail: str) -> None:
        if stage is INTERPRETER:
            return
        state = _STATES_OF_STAGES.get(event, "unknown")
        on_event(
            ProbeEvent(
                probe=stage.name, state=state, detail=detail, slow_because=stage.slow_because
            )
        )

    until = min(deadline, time.monotonic() + options.timeout_s)
    if options.scope == "node":
        return no_target(until)
    on_event(ProbeEvent(probe="target", state="started"))
    choice = choose_target(
        options.python,
        context=context,
        doctor=sys.executable,
        static=options.static,
        stages=built_in_stages(options) if stages is None else stages,
        deadline=until,
        on_stage=on_stage,
    )
    on_event(ProbeEvent(probe="target", state="finished"))
    return replace(choice, files=_file_check(choice, options, context))


def _file_check(choice: Choice, options: Options, context: Context) -> "FileCheck | None":
    """Begin to compare the target's files: it takes as long as all that is imported meanwhile."""
    from envdoctor.facts import Observed
    from envdoctor.facts.python import Interpreter, Target
    from envdoctor.probes.file_check import FileCheck
    from envdoctor.probes.module_path import folders_of

    target, interpreter = choice.facts[Target], choice.facts[Interpreter]
    if not isinstance(target, Observed):
        return None
    known = interpreter.value if isinstance(interpreter, Observed) else None
    folders = folders_of(target.value, known, context)
    return FileCheck(folders, context, deep=options.deep, gives_way=not options.static)


def choose(python: str | None, context: Context, deadline: float) -> Choice:
    """The target without its torch begun. Raises UnusableTarget."""
    return choose_target(python, context=context, doctor=sys.executable, deadline=deadline)


def context_for(root: str | None, children: Children) -> Context:
    """Where an examination looks: here, or below another root, whose variables nobody knows."""
    if root is None:
        return context_of(children)
    from pathlib import Path

    return context_of(children, root=Path(root), env={"PATH": _PATH_OF_AN_IMAGE}, cwd="/")


_PATH_OF_AN_IMAGE = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""What container runtimes set where an image sets nothing, and login(1) for root."""


_OF_A_RUNNING_KERNEL = ("/proc/modules", "/proc/driver", "/sys/bus/pci")


def scope_below(root: str, python: str | None) -> Scope | None:
    """What there is to judge below another root: an image has no kernel beside it, and the disk of
    a node perhaps no Python."""
    context = context_for(root, Children())
    if not any(os.path.exists(context.path(name)) for name in _OF_A_RUNNING_KERNEL):
        return "user"
    found = python or next(default_candidates(context, sys.executable), None)
    return None if found else "node"


class TargetSearch:
    """The target being found and its torch begun, in a thread, while the doctor loads the rest.

    `children` are what it starts; whoever makes a search ends them.
    """

    def __init__(
        self,
        options: Options,
        children: Children | None = None,
        *,
        deadline: float = NO_LIMIT,
    ) -> None:
        self.children = children or Children()
        self.context = context_for(options.root, self.children)
        self._options = options
        self._deadline = deadline
        self._choice: Choice | None = None
        self._error: BaseException | None = None
        self._unread: list[ProbeEvent] = []
        self._listener: OnEvent | None = None
        self._listening = threading.Lock()
        self._thread = threading.Thread(target=self._find, name="find target", daemon=True)
        self._thread.start()
        # What is imported next would hold the interpreter's lock that the start needs.
        self.children.has_started.wait(_START_S)

    def listen(self, on_event: OnEvent) -> None:
        """Tell what has happened so far, and what happens from now on."""
        with self._listening:
            self._listener = on_event
            for event in self._unread:
                on_event(event)

    def choice(self) -> Choice:
        """The target, once it is found. Raises what the search raised."""
        self._thread.join()
        if self._choice is None:
            raise self._error or RuntimeError("the search for the target was ended")
        return self._choice

    def _find(self) -> None:
        try:
            self._choice = find_target(
                self._options, self.context, self._receive, deadline=self._deadline
            )
        except BaseException as error:
            self._error = error
        finally:
            self.children.has_started.set()

    def _receive(self, event: ProbeEvent) -> None:
        with self._listening:
            if self._listener is None:
                self._unread.append(event)
            else:
                self._listener(event)
