"""GPUs held by another driver, by heat or lack of power, by others; as in gpu_states.py."""

from typing import Any

from msgspec.structs import replace

from envdoctor.api import (
    FirstUse,
    Gpus,
    PciDevice,
    PciGpus,
    Snapshot,
    TorchDevice,
    TorchFirstUse,
)
from tests.support.cases import NO_GPUS, NO_LIBRARY, Case
from tests.support.gpu_states import NO_PCI, bus, gpus, in_torch, unseen_by_torch, use
from tests.support.healthy_machines import CARD, DESKTOP, MOBILE, gpu, on_bus
from tests.support.host_states import in_state, modules, not_loaded
from tests.support.machines import machine
from tests.support.place_states import EXPECTED, MISSING, NO_DRIVER, NO_HIP, RADEON, rocm

BRAKE = ("HwSlowdown", "HwPowerBrakeSlowdown")
THOR = ("NVIDIA Thor", "11.0")
ON_CHIP = PciDevice(address="0000:0d:00.0", vendor_id="1002", device_id="164e", driver="amdgpu")


def two_of_amd(error: str | None) -> Snapshot:
    """A Radeon that computes, and a GPU of the CPU whose first operation ends so."""
    names = (("AMD Radeon RX 7900 XTX", "11.0"), ("AMD Radeon Graphics", "10.3"))
    devices = tuple(
        TorchDevice(index=index, name=name, compute_capability=capability, memory_bytes=2**33)
        for index, (name, capability) in enumerate(names)
    )
    uses = (
        FirstUse(device="cpu", operation="matmul"),
        FirstUse(device="cuda:0", operation="matmul"),
        FirstUse(device="cuda:1", operation="matmul", error=error),
    )
    runtime: dict[str, Any] = {
        **NO_HIP,
        "arch_list": ("gfx1030", "gfx1100"),
        "cuda_available": True,
        "cuda_error": None,
        "device_count": 2,
        "devices": devices,
    }
    return rocm(
        PciGpus(devices=(*RADEON.devices, ON_CHIP)),
        TorchFirstUse(operations=uses),
        TorchRuntime=runtime,
    )


HELD_DISEASES: dict[str, tuple[Case, str]] = {
    "nova-core-has-it": (
        Case(not_loaded(modules(), driver="NovaCore"), "driver-not-loaded", 1),
        "blacklist nova_core",
    ),
    "held-for-a-virtual-machine-and-expected": (
        Case(
            unseen_by_torch(
                bus("2684", driver="vfio-pci"),
                NO_DRIVER,
                NO_LIBRARY,
                NO_GPUS,
                MISSING,
                Expectation=EXPECTED,
            ),
            "no-nvidia-gpu",
            1,
        ),
        "vfio-pci.ids=",
    ),
    "power-brake": (
        Case(machine(in_state(throttle_reasons=BRAKE, sm_clock_mhz=210)), "gpu-slowed-now", 0),
        "cables",
    ),
    "branch-of-2022": (
        Case(machine(Driver={"release": "525.147.05"}), "driver-branch-ended", 0),
        "580",
    ),
    "too-hot": (
        Case(
            machine(
                in_state(throttle_reasons=("HwSlowdown", "HwThermalSlowdown"), temperature_c=97)
            ),
            "gpu-slowed-now",
            0,
        ),
        "fans",
    ),
    "gpu-of-the-cpu-beside-a-radeon": (
        Case(
            two_of_amd("RuntimeError: HIP error: invalid device function"),
            "rocm-arch-unsupported",
            0,
        ),
        "HIP_VISIBLE_DEVICES=0",
    ),
    "thor-under-a-build-from-before-it": (
        Case(
            machine(
                NO_PCI,
                gpus(THOR),
                use("RuntimeError: CUDA error: no kernel image is available for execution"),
                Host={"kernel": "6.8.12-tegra", "machine": "aarch64"},
                Driver={"release": "580.00", "device_nodes": ("/dev/nvidia0", "/dev/nvidiactl")},
                TorchRuntime={**in_torch(THOR), "arch_list": ("sm_80", "sm_90", "sm_120")},
            ),
            "gpu-arch-too-new",
            1,
        ),
        "cu130",
    ),
}
"""The state, what is found first, the exit code, and a word of its first fix."""

FULL = {
    "process_pids": (4711,),
    "memory_used_bytes": 79 << 30,
    "throttle_reasons": ("SwThermalSlowdown",),
    "pcie_width": 4,
    "power_limit_w": 200.0,
}

HELD_LOOKALIKES: dict[str, Snapshot] = {
    "branch-that-ended-this-year": machine(Driver={"release": "570.195.03"}),
    "old-branch-in-a-container": machine(
        Driver={"release": "525.147.05"}, Container={"kind": "docker", "evidence": "/.dockerenv"}
    ),
    "laptop-on-its-battery": machine(
        on_bus("28e0"),
        Gpus(devices=(gpu(0, *MOBILE, **{**DESKTOP, "throttle_reasons": BRAKE}),)),
        TorchRuntime=in_torch(MOBILE),
    ),
    "gpu-at-its-power-limit": machine(in_state(throttle_reasons=("SwPowerCap", "GpuIdle"))),
    "gpu-of-another-that-is-full-and-hot": machine(
        on_bus("20b2", "20b2"),
        Gpus(devices=(gpu(0), gpu(1, **FULL))),
        CudaInit={"device_count": 1},
        Environment={"variables": {"CUDA_VISIBLE_DEVICES": "0"}},
    ),
    "two-of-amd-that-compute": two_of_amd(None),
    "desktop-whose-clocks-rest": machine(
        on_bus("2684"),
        Gpus(
            devices=(
                replace(gpu(0, *CARD, **DESKTOP), throttle_reasons=("GpuIdle",), sm_clock_mhz=210),
            )
        ),
        TorchRuntime=in_torch(CARD),
    ),
}
"""Machines that work as their owners want, on which a careless check would cry."""
