"""GPUs that are there and not on the bus, and what containers are given; as in gpu_states.py."""

from typing import Any

from msgspec.structs import replace

from envdoctor.api import (
    CdiSpec,
    CdiSpecs,
    KernelModules,
    RenderNodes,
    Snapshot,
    Thunderbolt,
    ThunderboltDevice,
)
from tests.support.cases import NO_GPUS, NO_LIBRARY, Case
from tests.support.gpu_states import NO_PCI, unseen_by_torch
from tests.support.healthy_machines import NOTHING_OF_CUDA, SECURE
from tests.support.machines import machine
from tests.support.place_states import (
    ARC,
    CPU_BUILD,
    EXPECTED,
    MISSING,
    NO_DRIVER,
    of_another_vendor,
    on_bus,
    rocm,
)

REMOVED = "/etc/udev/rules.d/50-remove-nvidia.rules"
BOX = ThunderboltDevice(name="Razer Core X", authorized=False)


def without_a_gpu(*changes: Any, **fields: Any) -> Snapshot:
    """A laptop with a build for CUDA, on whose bus there is no NVIDIA GPU."""
    return unseen_by_torch(NO_PCI, NO_DRIVER, NO_LIBRARY, NO_GPUS, MISSING, *changes, **fields)


def removed(**fields: Any) -> KernelModules:
    return replace(
        SECURE, **{"removed_by": REMOVED, "blocked_by": "/etc/modprobe.d/b.conf", **fields}
    )


OPEN_NODES = RenderNodes(nodes=("/dev/kfd", "/dev/dri/renderD128"))
CLOSED_NODES = replace(OPEN_NODES, unusable=OPEN_NODES.nodes)


def arc(*changes: Any, count: int, **fields: Any) -> Snapshot:
    """A build for Intel's GPUs, one of which is on the bus, that counts so many."""
    own: dict[str, Any] = {
        "TorchBuild": {**CPU_BUILD, "version": "2.9.1+xpu", "variant": "xpu"},
        "TorchRuntime": {**NOTHING_OF_CUDA, "version": "2.9.1+xpu", "xpu_count": count},
    }
    return of_another_vendor(ARC, *changes, **{**own, **fields})


def specified(version: str, *, podman: str) -> Snapshot:
    """A host with a specification of CDI and that Podman."""
    spec = CdiSpec(path="/etc/cdi/nvidia.yaml", version=version, release="535.183.01")
    return machine(CdiSpecs(items=(spec,), podman=podman))


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
    "arc-whose-node-is-closed": (
        Case(arc(CLOSED_NODES, count=0), "xpu-finds-no-gpu", 1),
        "usermod -aG render",
    ),
    "arc-without-a-runtime-that-is-expected": (
        Case(arc(OPEN_NODES, count=0, Expectation=EXPECTED), "xpu-finds-no-gpu", 1),
        "libze-intel-gpu1",
    ),
    "arc-under-a-kernel-from-before-it": (
        Case(
            arc(RenderNodes(), on_bus("8086", "e20b", None), count=0, Expectation=EXPECTED),
            "xpu-finds-no-gpu",
            1,
        ),
        "6.12",
    ),
    "arc-that-a-container-was-not-given": (
        Case(
            arc(
                RenderNodes(),
                count=0,
                Expectation=EXPECTED,
                Container={"kind": "docker"},
                Limits={"shm_bytes": 16 << 30},
            ),
            "xpu-finds-no-gpu",
            1,
        ),
        "--device=/dev/dri",
    ),
    "radeon-whose-nodes-are-closed": (
        Case(rocm(CLOSED_NODES), "rocm-finds-no-gpu", 1),
        "usermod -aG render",
    ),
    "specification-newer-than-podman": (
        Case(specified("0.7.0", podman="4.9.3"), "cdi-spec-too-new", 0),
        "before 1.19",
    ),
    "podman-from-before-cdi": (
        Case(specified("0.5.0", podman="3.4.4"), "cdi-spec-too-new", 0),
        "Podman to 5",
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
