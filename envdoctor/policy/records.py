"""What a policy can ask for. Names are those of the TOML, with hyphens; unknown ones are refused.

A null asks for nothing. Ranges of versions are `packaging` specifiers (`>=2.6,<2.8`); 1 GiB is
2**30 bytes.
"""

import datetime
from collections.abc import Mapping
from typing import ClassVar, Literal

import msgspec

from envdoctor.record import Record

WantedOutcome = Literal["gpu", "distributed", "compile", "extend"]
GivenSeverity = Literal["error", "warning", "info"]


class Versions(Record, rename="kebab", forbid_unknown_fields=True):
    """Ranges of versions. `cuda` is the CUDA that torch is built with, `driver` the release of the
    NVIDIA driver, `driver_cuda` the newest CUDA that it offers."""

    torch: str | None = None
    cuda: str | None = None
    cudnn: str | None = None
    nccl: str | None = None
    python: str | None = None
    glibc: str | None = None
    driver: str | None = None
    driver_cuda: str | None = None


class Packages(Record, rename="kebab", forbid_unknown_fields=True):
    """Requirements as pip knows them (`numpy>=2`): such as must be, or must not be, installed."""

    required: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()


class GpuRules(Record, rename="kebab", forbid_unknown_fields=True):
    """What is asked of the GPUs: how many; and of each that its name holds one of the `models`, its
    memory, and a range of compute capabilities."""

    min_count: int | None = None
    models: tuple[str, ...] = ()
    min_memory_gib: float | None = None
    compute_capability: str | None = None


class Room(Record, rename="kebab", forbid_unknown_fields=True):
    """What is asked of memory and disk: the machine's memory and what of it is free, the disk of
    the current folder, and /dev/shm."""

    min_memory_gib: float | None = None
    min_free_memory_gib: float | None = None
    min_free_disk_gib: float | None = None
    min_shm_gib: float | None = None


class Speed(Record, rename="kebab", forbid_unknown_fields=True):
    """The least images/s of ResNet-50 training: of the CPU, and of each GPU in a precision.
    `speedup` is how many times as fast as the CPU each GPU has to be, each in the precision that is
    fastest there, both measured on the machine in one run."""

    cpu: float | None = None
    fp32: float | None = None
    tf32: float | None = None
    bf16: float | None = None
    fp16: float | None = None
    speedup: float | None = None


class Ignored(Record, rename="kebab", forbid_unknown_fields=True):
    """A rule that is not to count, by its code or name; why, and until which day."""

    rule: str
    reason: str
    expires: datetime.date


class Policy(Record, tag="policy", rename="kebab", forbid_unknown_fields=True):
    """All that a machine is held to. `severity` gives rules another severity, by code or name."""

    formats: ClassVar[tuple[str, ...]] = ("toml", "json")

    versions: Versions = Versions()
    packages: Packages = Packages()
    gpus: GpuRules = GpuRules()
    machine: Room = Room()
    speed: Speed = Speed()
    outcomes: tuple[WantedOutcome, ...] = ()
    severity: dict[str, GivenSeverity] = msgspec.field(default_factory=dict)
    ignore: tuple[Ignored, ...] = ()


class PolicyFile(Record):
    """A policy as it was read; `lines` says where each of its keys stands, by `versions.torch`."""

    path: str
    policy: Policy
    lines: Mapping[str, int]

    def line_of(self, key: str) -> int:
        """The line of a key, else that of the table which it is in; from 1."""
        while key and key not in self.lines:
            key = key.rpartition(".")[0]
        return self.lines.get(key, 1)
