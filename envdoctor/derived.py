"""The facts that follow from others, worked out by the core for every report."""

from envdoctor.gpus import driver_release, gpu_trace
from envdoctor.outcomes import wanted_gpu
from envdoctor.plugins import Derivation
from envdoctor.repair.site import site_of

CORE_DERIVATIONS: tuple[Derivation, ...] = (driver_release, gpu_trace, wanted_gpu, site_of)
