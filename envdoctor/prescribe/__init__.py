"""The torch builds that would work on a machine, and the commands that install them."""

from envdoctor.prescribe.choose import UnknownTorch, positions_of, prescribe
from envdoctor.prescribe.elsewhere import PLATFORMS, BadMachine, machine_elsewhere
from envdoctor.prescribe.machine import machine_in, machine_of
from envdoctor.prescribe.records import Build, Machine, Prescription, SeenGpu

__all__ = [
    "PLATFORMS",
    "BadMachine",
    "Build",
    "Machine",
    "Prescription",
    "SeenGpu",
    "UnknownTorch",
    "machine_elsewhere",
    "machine_in",
    "machine_of",
    "positions_of",
    "prescribe",
]
