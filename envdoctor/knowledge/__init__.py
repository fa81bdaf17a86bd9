"""What vendors publish about torch, CUDA, drivers and GPUs, with sources and dates."""

from envdoctor.knowledge.base import Knowledge, load
from envdoctor.knowledge.chips import PciChip
from envdoctor.knowledge.libraries import Library, LibraryCatalogue
from envdoctor.knowledge.names import Named
from envdoctor.knowledge.records import (
    Companions,
    CpuReference,
    DriverBranch,
    DriverFloor,
    DriverLimit,
    DriverStart,
    ExtensionRelease,
    GpuModel,
    MlperfReference,
    ResnetModel,
    ResnetReference,
    TorchRelease,
    Variant,
)
from envdoctor.knowledge.wheels import WheelTable, WheelTarget

__all__ = [
    "Companions",
    "CpuReference",
    "DriverBranch",
    "DriverFloor",
    "DriverLimit",
    "DriverStart",
    "ExtensionRelease",
    "GpuModel",
    "Knowledge",
    "Library",
    "LibraryCatalogue",
    "MlperfReference",
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
