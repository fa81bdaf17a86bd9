"""GPUs that are there and refused: by a variable, a node, a filter or a mode; as in gpu_states.py.

Each stands for a public report, named beside it.
"""

from typing import Any

from msgspec.structs import replace

from envdoctor.api import CudaInit, Nvml, PciDevice, PciGpus, RenderNodes, Snapshot
from tests.support.attached_states import OPEN_NODES
from tests.support.cases import NO_GPUS, Case
from tests.support.given_states import ALL_NODES, IN_MIG_MODE, ROOM
from tests.support.gpu_states import (
    CONTAINER,
    NO_DEVICE,
    NO_PCI,
    POD,
    WSL,
    WSL_DRIVER,
    WSL_KERNEL,
    WSL_LIBCUDA,
    gpus,
    unseen_by_torch,
    use,
)
from tests.support.machines import machine
from tests.support.place_states import EXPECTED, not_imported, rocm

IN_SLURM = {"SLURM_JOB_ID": "61", "SLURM_JOB_GPUS": "0"}
EIGHT = PciGpus(
    devices=tuple(
        PciDevice(
            address=f"0000:{bus:02x}:00.0", vendor_id="1002", device_id="74a1", driver="amdgpu"
        )
        for bus in range(0x11, 0x19)
    )
)
ONE_NODE_CLOSED = RenderNodes(nodes=OPEN_NODES.nodes, unusable=("/dev/dri/renderD128",))
UNDER_MPS = {"CUDA_MPS_PIPE_DIRECTORY": "/mps/nvidia.com/gpu/pipe"}
NOT_PERMITTED = CudaInit(status="CUDA_ERROR_NOT_PERMITTED", code=800)
BLOCKED = Nvml(status="NVML_ERROR_OPERATING_SYSTEM", library="/usr/lib/wsl/lib/libnvidia-ml.so.1")


def chosen(**variables: str) -> Snapshot:
    """Eight GPUs of AMD, and variables that choose among them."""
    return rocm(EIGHT, OPEN_NODES, Environment={"variables": variables}, Expectation=EXPECTED)


def in_wsl(**fields: Any) -> Snapshot:
    """WSL with the libraries of Windows' driver, which are let at no GPU."""
    return unseen_by_torch(
        NO_PCI,
        BLOCKED,
        NO_GPUS,
        replace(NO_DEVICE, library=WSL_LIBCUDA),
        Container=WSL,
        Driver=WSL_DRIVER,
        Host=WSL_KERNEL,
        Expectation=EXPECTED,
        **fields,
    )


def without_library(soname: str) -> Snapshot:
    message = f"{soname}: cannot open shared object file: No such file or directory"
    return not_imported(outcome="exception", exception="ImportError", message=message)


REFUSED_DISEASES: dict[str, tuple[Case, str]] = {
    # Parsl/parsl 3858, mcmonkeyprojects/SwarmUI 566
    "index-of-hip-beyond-what-rocr-leaves": (
        Case(chosen(ROCR_VISIBLE_DEVICES="4,5", HIP_VISIBLE_DEVICES="4,5"), "rocm-finds-no-gpu", 1),
        "unset HIP_VISIBLE_DEVICES",
    ),
    "index-of-cuda-beyond-what-rocr-leaves": (
        Case(chosen(ROCR_VISIBLE_DEVICES="1", CUDA_VISIBLE_DEVICES="1"), "rocm-finds-no-gpu", 1),
        "unset CUDA_VISIBLE_DEVICES",
    ),
    # ROCm/legacy-rocm-build 1214
    "radeon-with-open-nodes": (
        Case(rocm(OPEN_NODES, Expectation=EXPECTED), "rocm-finds-no-gpu", 1),
        "'amdgpu|kfd'",
    ),
    # ROCm/pytorch 2730
    "radeon-with-open-nodes-in-docker": (
        Case(rocm(OPEN_NODES, Container=CONTAINER, Limits=ROOM), "rocm-finds-no-gpu", 1),
        "on the host",
    ),
    # Hal0ai/hal0 2213
    "radeon-in-lxc-with-the-group-of-the-host": (
        Case(rocm(ONE_NODE_CLOSED, Container={"kind": "lxc"}, Limits=ROOM), "rocm-finds-no-gpu", 1),
        "gid=GID",
    ),
    # microsoft/WSL 11865, 12835, 14339
    "wsl-with-a-card-in-tcc-mode": (Case(in_wsl(), "wsl-without-gpu", 1), "nvidia-smi -g 0 -dm 0"),
    # awslabs/amazon-eks-ami 2428
    "pod-whose-cgroup-was-rewritten": (
        Case(
            unseen_by_torch(
                Nvml(status="NVML_ERROR_UNKNOWN"),
                NO_GPUS,
                NO_DEVICE,
                Container=POD,
                Limits=ROOM,
                Driver={"device_nodes": ALL_NODES, "unusable_nodes": ALL_NODES},
            ),
            "container-lost-gpu",
            1,
        ),
        "pod",
    ),
    # pytorch/pytorch 190132
    "filter-that-lets-all-nodes-open-but-the-gpus": (
        Case(
            unseen_by_torch(
                gpus(),
                NO_DEVICE,
                Driver={"device_nodes": ALL_NODES, "unusable_nodes": ("/dev/nvidia0",)},
            ),
            "device-permission",
            1,
        ),
        "DeviceAllow",
    ),
    # MFlowCode/MFC 1748
    "memory-error-in-a-job": (
        Case(
            machine(
                use("RuntimeError: CUDA error: uncorrectable ECC error encountered"),
                Environment={"variables": IN_SLURM},
            ),
            "ecc-error",
            1,
        ),
        "sbatch --exclude",
    ),
    # kubernetes-sigs/dra-driver-nvidia-gpu 1153
    "server-of-mps-that-refuses-the-user": (
        Case(
            unseen_by_torch(NOT_PERMITTED, Environment={"variables": UNDER_MPS}),
            "cuda-init-failed",
            1,
        ),
        "MPS",
    ),
    # pollen-robotics/microduck_rl 38
    "torch-of-jetson-without-nvpl": (
        Case(without_library("libnvpl_lapack_lp64_gomp.so.0"), "missing-library", 1),
        "install nvpl-lapack",
    ),
    "torch-of-jetson-without-cudss": (
        Case(without_library("libcudss.so.0"), "missing-library", 1),
        "nvidia-cudss-cu13",
    ),
}
"""The state, what is found first, the exit code, and a word of its first fix."""

REFUSED_LOOKALIKES: dict[str, Snapshot] = {
    # nanoporetech/dorado 1586
    "numbers-of-slices-by-slurm": machine(
        IN_MIG_MODE, Environment={"variables": {**IN_SLURM, "CUDA_VISIBLE_DEVICES": "0,1,2,3"}}
    ),
    "server-of-mps-that-serves": machine(Environment={"variables": UNDER_MPS}),
}
"""Machines that work as their owners want, on which a careless check would cry."""
