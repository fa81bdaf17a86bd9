"""The measurement of a target that was examined before."""

import sys

from envdoctor.calibration.runner import calibrate
from envdoctor.facts import Known, Reason, Snapshot, Unknown
from envdoctor.facts.calibration import Settings
from envdoctor.facts.machine import Limits
from envdoctor.facts.python import Interpreter
from envdoctor.facts.torch import TorchImport, TorchRuntime
from envdoctor.probes.run import Children
from envdoctor.progress import MeasurementProgress


def measure(snapshot: Snapshot, *, static: bool, budget_s: float | None) -> Known:
    """The calibration of the snapshot's target, or why there is none."""
    interpreter, imported = snapshot.value(Interpreter), snapshot.value(TorchImport)
    if static:
        return Unknown(reason=Reason.SWITCHED_OFF, detail="left out by --static")
    if interpreter is None or imported is None or snapshot.value(TorchRuntime) is None:
        return Unknown(reason=Reason.NOT_APPLICABLE, detail="torch does not work in the target")
    limits = snapshot.value(Limits)
    settings = Settings(
        budget_s=budget_s,
        usable_cpus=limits.usable_cpus if limits else None,
        memory_limit_bytes=limits.cgroup_memory_bytes if limits else None,
    )
    children = Children()
    try:
        with MeasurementProgress(sys.stderr) as progress:
            return calibrate(
                interpreter.executable,
                settings,
                children=children,
                on_progress=progress.event,
            )
    finally:
        children.kill_all()
