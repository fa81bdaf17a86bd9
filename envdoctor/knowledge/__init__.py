"""What vendors publish about torch, CUDA, drivers and GPUs, with sources and dates."""

from envdoctor.knowledge.base import Knowledge, load
from envdoctor.knowledge.chips import PciChip
from envdoctor.knowledge.libraries import Library, LibraryCatalogue
from envdoctor.knowledge.records import (
    Companions,
    CpuReference,
    DriverBranch,
    DriverFloor,
    DriverLimit,
    ExtensionRelease,
    GpuModel,
    MlperfReference,
    ResnetModel,
    ResnetReference,
    TorchRelease,
    Variant,
)

__all__ = [
    "Companions",
    "CpuReference",
    "DriverBranch",
    "DriverFloor",
    "DriverLimit",
    "ExtensionRelease",
    "GpuModel",
    "Knowledge",
    "Library",
    "LibraryCatalogue",
    "MlperfReference",
    "PciChip",
    "ResnetModel",
    "ResnetReference",
    "TorchRelease",
    "Variant",
    "load",
]
