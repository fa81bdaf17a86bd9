"""GPUs that are there and not on the bus, and what containers are given; as in gpu_states.py."""

from typing import Any

from msgspec.structs import replace

from envdoctor.api import CdiSpec, CdiSpecs, KernelModules, Snapshot, Thunderbolt, ThunderboltDevice
from tests.support.cases import NO_GPUS, NO_LIBRARY, Case
from tests.support.gpu_states import NO_PCI, unseen_by_torch
from tests.support.healthy_machines import SECURE
from tests.support.machines import machine
from tests.support.place_states import EXPECTED, MISSING, NO_DRIVER

REMOVED = "/etc/udev/rules.d/50-remove-nvidia.rules"
BOX = ThunderboltDevice(name="Razer Core X", authorized=False)


def without_a_gpu(*changes: Any, **fields: Any) -> Snapshot:
    """A laptop with a build for CUDA, on whose bus there is no NVIDIA GPU."""
    return unseen_by_torch(NO_PCI, NO_DRIVER, NO_LIBRARY, NO_GPUS, MISSING, *changes, **fields)


def removed(**fields: Any) -> KernelModules:
    return replace(
        SECURE, **{"removed_by": REMOVED, "blocked_by": "/etc/modprobe.d/b.conf", **fields}
    )


ATTACHED_DISEASES: dict[str, tuple[Case, str]] = {
    "laptop-set-to-its-other-gpu": (
        Case(without_a_gpu(removed(), Expectation=EXPECTED), "gpu-switched-off", 1),
        "envycontrol -s hybrid",
    ),
    "laptop-set-to-its-other-gpu-and-nobody-asks": (
        Case(without_a_gpu(removed()), "gpu-switched-off", 0),
        "envycontrol -s hybrid",
    ),
    "laptop-of-system76": (
        Case(
            without_a_gpu(
                removed(removed_by="/usr/lib/udev/rules.d/50-system76-nvidia.rules"),
                Expectation=EXPECTED,
            ),
            "gpu-switched-off",
            1,
        ),
        "system76-power",
    ),
    "box-that-is-not-let-in": (
        Case(
            without_a_gpu(
                Thunderbolt(devices=(replace(BOX, name="a dock", authorized=True), BOX)),
                Expectation=EXPECTED,
            ),
            "thunderbolt-not-authorized",
            1,
        ),
        "boltctl",
    ),
    "containers-that-get-the-driver-of-before": (
        Case(
            machine(
                CdiSpecs(
                    items=(
                        CdiSpec(path="/etc/cdi/nvidia.yaml", version="0.5.0", release="535.54.03"),
                    )
                )
            ),
            "cdi-spec-stale",
            0,
        ),
        "cdi generate --output=/etc/cdi/nvidia.yaml",
    ),
}
"""The state, what is found first, the exit code, and a word of its first fix."""
