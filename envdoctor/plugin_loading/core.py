"""What the core itself observes. Checks come from plugins; the facts that they judge do not."""

from envdoctor import __version__
from envdoctor.facts.calibration import Calibration, CalibrationBaseline
from envdoctor.facts.collective import Collective
from envdoctor.facts.machine import Expectation
from envdoctor.facts.python import Interpreter, Target
from envdoctor.plugins import Plugin
from envdoctor.probes.disk import DISK_PROBES
from envdoctor.probes.loader import LOADER_PROBES
from envdoctor.probes.machine import MACHINE_PROBES
from envdoctor.probes.torch_stages import TARGET_PROBES
from envdoctor.probes.trials import TRIAL_PROBES

CORE = Plugin(
    name="core",
    version=__version__,
    probes=(*TARGET_PROBES, *DISK_PROBES, *MACHINE_PROBES, *LOADER_PROBES, *TRIAL_PROBES),
    facts=(Target, Interpreter, Expectation, Calibration, CalibrationBaseline, Collective),
)
