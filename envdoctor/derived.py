"""The facts that the core derives: worked out anew at each reading, whatever a file holds."""

from envdoctor.calibration.assess import assess
from envdoctor.facts import Fact
from envdoctor.facts.assessment import Assessment
from envdoctor.gpus import driver_release, gpu_trace
from envdoctor.outcomes import wanted_gpu
from envdoctor.plugins import Derivation, Loaded, derive
from envdoctor.repair.site import site_of

CORE_DERIVATIONS: tuple[Derivation, ...] = (
    driver_release,
    gpu_trace,
    wanted_gpu,
    site_of,
    derive(Assessment)(assess),
)


def derivations_of(loaded: Loaded) -> tuple[Derivation, ...]:
    """The derivations of the core and of all plugins."""
    return (*CORE_DERIVATIONS, *loaded.derivations)


def fact_types_of(loaded: Loaded) -> tuple[type[Fact], ...]:
    """Every type of fact that a report may hold."""
    core = (step.provides for step in CORE_DERIVATIONS)
    return tuple(dict.fromkeys([*core, *loaded.fact_types]))


def observed_types_of(loaded: Loaded) -> tuple[type[Fact], ...]:
    """The types of fact that are read from a file: all but the derived ones, of which no older
    form has to be understood, since none is kept."""
    derived = {step.provides for step in derivations_of(loaded)}
    return tuple(kind for kind in loaded.fact_types if kind not in derived)
