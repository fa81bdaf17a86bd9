"""Finds the target and begins to run its torch, before the plugins and the knowledge are loaded.

Imports next to nothing: what it starts takes longer than all that the doctor does meanwhile.
"""

import sys
import time
from collections.abc import Sequence

from envdoctor.events import OnEvent, ProbeEvent
from envdoctor.options import Options
from envdoctor.probes.built_in_stages import BUILT_IN_STAGES, INTERPRETER
from envdoctor.probes.choose import Choice, choose_target
from envdoctor.probes.context import Context
from envdoctor.probes.stage import Stage

_STATES_OF_STAGES = {"begin": "started", "end": "finished"}


def find_target(
    options: Options,
    context: Context,
    on_event: OnEvent = lambda event: None,
    stages: Sequence[Stage] = BUILT_IN_STAGES,
) -> Choice:
    """Choose the target, and begin with these stages in it. The time of the options runs from now.

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

    on_event(ProbeEvent(probe="target", state="started"))
    choice = choose_target(
        options.python,
        context=context,
        doctor=sys.executable,
        static=options.static,
        stages=stages,
        deadline=time.monotonic() + options.timeout_s,
        on_stage=on_stage,
    )
    on_event(ProbeEvent(probe="target", state="finished"))
    return choice
