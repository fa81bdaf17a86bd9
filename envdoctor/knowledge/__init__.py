"""What vendors publish about torch, CUDA, drivers and GPUs, with sources and dates."""

from envdoctor.knowledge.base import Knowledge, load
from envdoctor.knowledge.builds import Companions, ExtensionRelease, TorchRelease, Variant
from envdoctor.knowledge.chips import PciChip
from envdoctor.knowledge.hardware import (
    DriverBranch,
    DriverFloor,
    DriverLimit,
    DriverStart,
    GpuModel,
    LaptopGpu,
)
from envdoctor.knowledge.libraries import Library, LibraryCatalogue
from envdoctor.knowledge.names import Named
from envdoctor.knowledge.rates import ResnetModel, ResnetReference
from envdoctor.knowledge.wheels import WheelTable, WheelTarget

__all__ = [
    "Companions",
    "DriverBranch",
    "DriverFloor",
    "DriverLimit",
    "DriverStart",
    "ExtensionRelease",
    "GpuModel",
    "Knowledge",
    "LaptopGpu",
    "Library",
    "LibraryCatalogue",
    "Named",
    "PciChip",
    "ResnetModel",
    "ResnetReference",
    "TorchRelease",
    "Variant",
    "WheelTable",
    "WheelTarget",
    "load",
]
