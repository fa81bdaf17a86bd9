"""One healthy machine of each kind that people have, with all that is usual there.

What its owner would call noise is a fault of the doctor: none of them gets an error or a warning.
The facts are made by hand from vendors' documentation and public outputs.
"""

from typing import Any

from msgspec.structs import replace

from envdoctor.api import (
    CdiSpec,
    CdiSpecs,
    CudaInit,
    FabricPort,
    Gpu,
    Gpus,
    HugePagePool,
    KernelLog,
    KernelModules,
    Network,
    NetworkInterface,
    Nvml,
    PciDevice,
    PciGpus,
    Reason,
    Snapshot,
    Thunderbolt,
    ThunderboltDevice,
    Unknown,
)
from tests.support.cases import CPU_USE, NO_CUDA, NO_GPUS, NO_LIBRARY
from tests.support.gpu_states import (
    A100,
    CONTAINER,
    NO_DEVICE,
    NO_PCI,
    POD,
    WSL,
    WSL_DRIVER,
    WSL_KERNEL,
    WSL_NVML,
    in_torch,
    unseen_by_torch,
    use,
)
from tests.support.machines import machine
from tests.support.place_states import CPU_BUILD, MISSING, NO_DRIVER

CLOSED_LOG = (KernelLog, Unknown(reason=Reason.NOT_OBSERVED, detail="/dev/kmsg: not permitted"))
SECURE = KernelModules(
    kernel="6.8.0-60-generic", secure_boot=True, lockdown="integrity", signatures_enforced=False
)
AT_HOME = Network(
    interfaces=(
        NetworkInterface(name="lo", state="unknown", has_address=True),
        NetworkInterface(name="enp5s0", state="down", has_address=False),
        NetworkInterface(name="wlp4s0", state="up", has_address=True),
        NetworkInterface(name="docker0", state="down", has_address=True),
    ),
    own_name="loopback",
)
IN_A_RACK = Network(
    interfaces=(
        NetworkInterface(name="lo", state="unknown", has_address=True),
        NetworkInterface(name="eno1", state="up", has_address=True),
    ),
    ports=tuple(
        FabricPort(device=f"mlx5_{index}", port=1, state="ACTIVE", link_layer="InfiniBand")
        for index in range(8)
    ),
    own_name="address",
)
CU130 = {
    "version": "2.9.1+cu130",
    "cuda": "13.0",
    "variant": "cu130",
    "arch_flags": (),
    "fatbin_arch_flags": (),
}
ON_13 = {"cuda": "13.0", "version": "2.9.1+cu130"}
NEW_DRIVER = {"release": "580.95.05", "flavor": "open"}


def gpu(index: int = 0, name: str = A100, capability: str = "8.0", **fields: Any) -> Gpu:
    """A GPU whose driver says all that it can."""
    usual: dict[str, Any] = {
        "uuid": f"GPU-00000000-0000-0000-0000-00000000000{index}",
        "memory_bytes": 80 << 30,
        "memory_used_bytes": 4 << 20,
        "pci_address": f"00000000:{index + 7:02X}:00.0",
        "compute_mode": "default",
        "persistence_mode": True,
        "ecc_mode": True,
        "ecc_uncorrected": 0,
        "rows_pending": False,
        "rows_failed": False,
        "virtualization": "none",
        "pcie_width": 16,
        "pcie_max_width": 16,
        "pcie_generation": 4,
        "pcie_max_generation": 4,
        "power_limit_w": 400.0,
        "power_default_limit_w": 400.0,
        "bar1_bytes": 128 << 30,
    }
    return Gpu(index=index, name=name, compute_capability=capability, **{**usual, **fields})


def on_bus(*ids: str, driver: str | None = "nvidia", **fields: Any) -> PciGpus:
    return PciGpus(
        devices=tuple(
            PciDevice(
                address=f"0000:{place + 7:02x}:00.0",
                vendor_id="10de",
                device_id=one,
                driver=driver,
                **fields,
            )
            for place, one in enumerate(ids)
        )
    )


def integrated(bus: PciGpus, vendor_id: str = "8086", device_id: str = "a788") -> PciGpus:
    """The same beside a GPU of the CPU's maker, which has the screen."""
    screen = PciDevice(
        address="0000:00:02.0", vendor_id=vendor_id, device_id=device_id, driver="i915"
    )
    return PciGpus(devices=(screen, *bus.devices))


SMALL = ("Tesla T4", "7.5")
CARD = ("NVIDIA GeForce RTX 4090", "8.9")
DESKTOP = {
    "ecc_mode": False,
    "ecc_uncorrected": None,
    "rows_pending": None,
    "rows_failed": None,
    "persistence_mode": False,
    "memory_bytes": 24 << 30,
    "memory_used_bytes": 2 << 30,
    "bar1_bytes": 32 << 30,
    "pcie_generation": 1,
    "power_limit_w": 450.0,
    "power_default_limit_w": 450.0,
}
MOBILE = ("NVIDIA GeForce RTX 4060 Laptop GPU", "8.9")
LAPTOP = {
    **DESKTOP,
    "memory_bytes": 8 << 30,
    "memory_used_bytes": 11 << 20,
    "pcie_width": 8,
    "pcie_max_width": 8,
    "power_limit_w": 55.0,
    "power_default_limit_w": None,
    "bar1_bytes": 8 << 30,
}
MODULE, MODULE_ID = ("NVIDIA H100 80GB HBM3", "9.0"), "2330"
EIGHT = tuple(
    gpu(
        index,
        *MODULE,
        fabric_state="completed",
        mig_mode=False,
        mig_pending=False,
        peers=tuple(one for one in range(8) if one != index),
        nvlink_peers=tuple(one for one in range(8) if one != index),
    )
    for index in range(8)
)
SLICE = f"{A100} MIG 3g.40gb"
SLURM = {
    "SLURM_JOB_ID": "4711",
    "SLURM_JOB_GPUS": "2",
    "SLURM_STEP_GPUS": "2",
    "SLURM_JOB_NUM_NODES": "1",
    "SLURM_NNODES": "1",
    "SLURM_NODEID": "0",
    "SLURM_GPUS_ON_NODE": "1",
    "CUDA_VISIBLE_DEVICES": "0",
    "OMP_NUM_THREADS": "16",
}
CLOUD = {"hypervisor": True, "cpu_name": "Intel(R) Xeon(R) Platinum 8488C"}
NOTHING_OF_CUDA = {**NO_CUDA, "cuda": None, "cuda_error": None, "arch_list": ()}
TEN_THREADS = {"usable_cpus": 8.0, "affinity_cpus": 8, "cgroup_cpu_quota": None}

HEALTHY_MACHINES: dict[str, Snapshot] = {
    "desktop": machine(
        integrated(on_bus("2684", iommu="DMA-FQ", bridges=("0000:00:01.0",))),
        Gpus(devices=(gpu(0, *CARD, **DESKTOP),)),
        SECURE,
        CLOSED_LOG,
        AT_HOME,
        TorchRuntime=in_torch(CARD),
        Host={"hypervisor": False, "transparent_huge_pages": "always"},
        Limits={"open_files": 1024, "open_files_hard": 524288},
    ),
    "laptop-with-two-gpus": machine(
        integrated(on_bus("28e0", iommu="DMA-FQ", bridges=("0000:00:06.0",))),
        Gpus(devices=(gpu(0, *MOBILE, **LAPTOP),)),
        replace(SECURE, secure_boot=False, lockdown="none"),
        CLOSED_LOG,
        AT_HOME,
        Thunderbolt(devices=(ThunderboltDevice(name="Dell WD19TB", authorized=False),)),
        TorchRuntime=in_torch(MOBILE),
        Host={"hypervisor": False},
    ),
    "server-with-eight-gpus-and-nvswitch": machine(
        on_bus(*[MODULE_ID] * 8, iommu="identity", bridges=("0000:00:01.0", "0000:01:00.0")),
        Gpus(devices=EIGHT),
        Nvml(status="ok", driver_release="535.183.01", driver_cuda="12.2", device_count=8),
        KernelLog(),
        IN_A_RACK,
        CdiSpecs(items=(CdiSpec(path="/etc/cdi/nvidia.yaml", release="535.183.01"),)),
        use(*[None] * 8),
        CudaInit={"device_count": 8},
        TorchRuntime=in_torch(*[MODULE] * 8),
        Host={"hypervisor": False},
    ),
    "mig-slice": machine(
        on_bus("20b2"),
        Gpus(devices=(gpu(mig_mode=True, mig_pending=True),)),
        CLOSED_LOG,
        Environment={
            "variables": {"CUDA_VISIBLE_DEVICES": "MIG-6cd3d1c9-1111-2222-3333-444455556666"}
        },
        TorchRuntime=in_torch((SLICE, "8.0")),
    ),
    "vgpu": machine(
        on_bus("2235"),
        Gpus(
            devices=(
                gpu(
                    0,
                    "NVIDIA A40-48Q",
                    "8.6",
                    virtualization="vgpu",
                    licensed=True,
                    persistence_mode=True,
                    memory_bytes=48 << 30,
                    rows_pending=None,
                    rows_failed=None,
                    bar1_bytes=None,
                ),
            )
        ),
        CLOSED_LOG,
        Host=CLOUD,
        TorchRuntime=in_torch(("NVIDIA A40-48Q", "8.6")),
    ),
    "docker": machine(
        on_bus(*["20b2"] * 8),
        Gpus(devices=(gpu(3),)),
        CLOSED_LOG,
        Container={
            **CONTAINER,
            "nvidia_runtime": True,
            "nvidia_visible_devices": "3",
        },
        Environment={
            "variables": {
                "NVIDIA_VISIBLE_DEVICES": "3",
                "NVIDIA_DRIVER_CAPABILITIES": "compute,utility",
                "NVIDIA_REQUIRE_CUDA": "cuda>=12.4",
            }
        },
        Limits={"shm_bytes": 8 << 30, "shm_free_bytes": 8 << 30},
    ),
    "kubernetes-with-a-gpu": machine(
        on_bus(*["20b2"] * 8),
        Gpus(devices=(gpu(),)),
        CLOSED_LOG,
        Container={**POD, "nvidia_visible_devices": "GPU-00000000-0000-0000-0000-000000000000"},
        Environment={
            "variables": {"NVIDIA_VISIBLE_DEVICES": "GPU-00000000-0000-0000-0000-000000000000"}
        },
        Limits={"cgroup_cpu_quota": 12.0, "usable_cpus": 12.0, "shm_bytes": 32 << 30},
    ),
    "kubernetes-without-a-gpu": unseen_by_torch(
        on_bus(*["20b2"] * 8),
        NO_LIBRARY,
        NO_GPUS,
        MISSING,
        CLOSED_LOG,
        Container={**POD, "nvidia_visible_devices": "void"},
        Driver={"device_nodes": (), "libcuda_files": ()},
        Environment={"variables": {"NVIDIA_VISIBLE_DEVICES": "void"}},
        TorchBuild=CPU_BUILD,
        TorchRuntime=NOTHING_OF_CUDA,
    ),
    "slurm-job": machine(
        on_bus(*["20b2"] * 4, iommu="identity"),
        Gpus(devices=(gpu(2),)),
        CLOSED_LOG,
        IN_A_RACK,
        Environment={"variables": SLURM},
        Driver={
            "device_nodes": (
                *("/dev/nvidia0", "/dev/nvidia1", "/dev/nvidia2", "/dev/nvidia3"),
                *("/dev/nvidiactl", "/dev/nvidia-uvm"),
            ),
            "unusable_nodes": ("/dev/nvidia0", "/dev/nvidia1", "/dev/nvidia3"),
        },
        Limits={"usable_cpus": 16.0, "affinity_cpus": 16},
    ),
    "apptainer": machine(
        on_bus("20b2"),
        Gpus(devices=(gpu(),)),
        CLOSED_LOG,
        Container={"kind": "apptainer", "evidence": "APPTAINER_CONTAINER"},
        Environment={"variables": {"LD_LIBRARY_PATH": "/.singularity.d/libs"}},
        CudaInit={"library": "/.singularity.d/libs/libcuda.so.1"},
        Driver={"libcuda_files": ("/.singularity.d/libs/libcuda.so.1",)},
    ),
    "wsl": machine(
        NO_PCI,
        WSL_NVML,
        Gpus(
            devices=(
                gpu(
                    0,
                    *CARD,
                    **{**DESKTOP, "bar1_bytes": None, "virtualization": None},
                ),
            )
        ),
        CLOSED_LOG,
        KernelModules(kernel=WSL_KERNEL["kernel"], secure_boot=False),
        Container=WSL,
        Driver=WSL_DRIVER,
        Host={**WSL_KERNEL, "hypervisor": True},
        CudaInit={"library": "/usr/lib/wsl/drivers/nv_dispi.inf_amd64/libcuda.so.1.1"},
        TorchRuntime=in_torch(CARD),
    ),
    "jetson": machine(
        NO_PCI,
        Gpus(devices=(Gpu(index=0, name="Orin (nvgpu)"),)),
        Nvml(status="ok", driver_release="540.4.0", driver_cuda="12.6"),
        KernelModules(kernel="5.15.148-tegra", secure_boot=False),
        CudaInit(status="ok", code=0, driver_cuda="12.6", device_count=1),
        Host={"kernel": "5.15.148-tegra", "machine": "aarch64", "os_id": "ubuntu"},
        Driver={
            "release": "540.4.0",
            "flavor": "open",
            "modules": ("nvidia", "nvidia_modeset"),
            "device_nodes": ("/dev/nvidia-modeset", "/dev/nvidia0", "/dev/nvidiactl"),
            "libcuda_files": ("/usr/lib/aarch64-linux-gnu/tegra/libcuda.so.1",),
        },
        TorchBuild={
            "version": "2.5.0a0+872d972e41.nv24.08",
            "cuda": "12.6",
            "variant": "",
            "arch_flags": (),
            "fatbin_arch_flags": (),
        },
        TorchRuntime={**in_torch(("Orin", "8.7")), "cuda": "12.6", "arch_list": ("sm_87",)},
    ),
    "gb10": machine(
        on_bus("2e12", iommu="DMA-FQ"),
        Gpus(devices=(gpu(0, "NVIDIA GB10", "12.1", **{**DESKTOP, "memory_bytes": None}),)),
        Nvml(status="ok", driver_release="580.95.05", driver_cuda="13.0"),
        CLOSED_LOG,
        AT_HOME,
        CudaInit={"driver_cuda": "13.0"},
        Host={"kernel": "6.11.0-1016-nvidia", "machine": "aarch64", "hypervisor": None},
        Driver=NEW_DRIVER,
        TorchBuild=CU130,
        TorchRuntime={
            **ON_13,
            **in_torch(("NVIDIA GB10", "12.1")),
            "arch_list": ("sm_80", "sm_90", "sm_110", "sm_120"),
        },
    ),
    "gh200": machine(
        on_bus("2342", iommu="DMA-FQ"),
        Gpus(devices=(gpu(0, "NVIDIA GH200 480GB", "9.0", fabric_state=None),)),
        Nvml(status="ok", driver_release="580.95.05", driver_cuda="13.0"),
        KernelLog(),
        IN_A_RACK,
        CudaInit={"driver_cuda": "13.0"},
        Host={"kernel": "6.8.0-1021-nvidia-64k", "machine": "aarch64", "hypervisor": None},
        Driver=NEW_DRIVER,
        TorchBuild=CU130,
        TorchRuntime={
            **ON_13,
            **in_torch(("NVIDIA GH200 480GB", "9.0")),
            "arch_list": ("sm_80", "sm_90", "sm_110", "sm_120"),
        },
    ),
    "cpu-only-virtual-machine": machine(
        CPU_USE,
        PciGpus(
            devices=(
                PciDevice(address="0000:00:03.0", vendor_id="1d0f", device_id="1111", driver=None),
            )
        ),
        NO_DRIVER,
        NO_LIBRARY,
        NO_GPUS,
        MISSING,
        CLOSED_LOG,
        replace(SECURE, files=(), headers=False),
        Host=CLOUD,
        TorchBuild=CPU_BUILD,
        TorchRuntime=NOTHING_OF_CUDA,
    ),
    "gvisor": machine(
        NO_PCI,
        Gpus(devices=(gpu(virtualization=None, persistence_mode=None),)),
        (KernelModules, Unknown(reason=Reason.NOT_APPLICABLE, detail="no /lib/modules")),
        (KernelLog, Unknown(reason=Reason.NOT_OBSERVED, detail="/dev/kmsg: No such file")),
        Host={"kernel": "4.4.0"},
        Container=CONTAINER,
        Driver={"loaded": False, "release": None, "modules": ()},
        Limits={"shm_bytes": 64 << 30},
    ),
    "virtualisation-host": unseen_by_torch(
        on_bus("2684", "2684", driver="vfio-pci", iommu="DMA"),
        NO_DRIVER,
        NO_LIBRARY,
        NO_GPUS,
        MISSING,
        CLOSED_LOG,
        KernelModules(kernel="6.8.12-4-pve", secure_boot=False, files=(), headers=False),
        Host={
            "hypervisor": False,
            "os_id": "debian",
            "memory_bytes": 64 << 30,
            "memory_available_bytes": 5 << 30,
            # Its guests run on nearly all of them.
            "huge_pages": (HugePagePool(page_bytes=1 << 30, total=56, free=1, reserved=0),),
            "transparent_huge_pages": "never",
        },
        TorchBuild=CPU_BUILD,
        TorchRuntime=NOTHING_OF_CUDA,
    ),
    "cloud-virtual-machine-with-a-t4": machine(
        on_bus("1eb8", link_width=8, max_link_width=16),
        Gpus(
            devices=(
                gpu(
                    0,
                    *SMALL,
                    **{
                        **DESKTOP,
                        "bar1_bytes": 256 << 20,
                        "memory_bytes": 15360 << 20,
                        "ecc_mode": True,
                        "pages_pending": False,
                        "virtualization": "passthrough",
                        "pcie_width": 8,
                    },
                ),
            )
        ),
        CLOSED_LOG,
        Host=CLOUD,
        TorchRuntime=in_torch(SMALL),
    ),
    "virtualisation-host-that-keeps-one-gpu": machine(
        PciGpus(
            devices=(
                *on_bus("20b2", iommu="DMA").devices,
                replace(
                    on_bus("2684", driver="vfio-pci", iommu="DMA").devices[0],
                    address="0000:41:00.0",
                ),
            )
        ),
        Gpus(devices=(gpu(),)),
        CLOSED_LOG,
        Host={"hypervisor": False},
    ),
}
"""By the kind of the machine."""

LEFT_IN_PEACE: dict[str, Snapshot] = {
    "laptop-on-its-other-gpu-that-trains-nothing": machine(
        CPU_USE,
        integrated(PciGpus(devices=())),
        NO_DRIVER,
        NO_LIBRARY,
        NO_GPUS,
        MISSING,
        replace(
            SECURE,
            blocked_by="/etc/modprobe.d/blacklist-nvidia.conf",
            removed_by="/etc/udev/rules.d/50-remove-nvidia.rules",
        ),
        Thunderbolt(devices=(ThunderboltDevice(name="CalDigit TS4", authorized=False),)),
        TorchBuild=CPU_BUILD,
        TorchRuntime=NOTHING_OF_CUDA,
    ),
    "laptop-whose-bus-has-the-gpu-all-the-same": machine(
        integrated(on_bus("28e0")),
        Gpus(devices=(gpu(0, *MOBILE, **LAPTOP),)),
        replace(SECURE, removed_by="/etc/udev/rules.d/50-remove-nvidia.rules"),
        TorchRuntime=in_torch(MOBILE),
    ),
    "old-cdi-specification-behind-the-new-one": machine(
        CdiSpecs(
            items=(
                CdiSpec(path="/var/run/cdi/nvidia.yaml", version="0.5.0", release="535.183.01"),
                CdiSpec(path="/etc/cdi/nvidia.yaml", version="0.3.0", release="470.82.01"),
            )
        )
    ),
    "cdi-specification-that-names-no-release": machine(
        CdiSpecs(items=(CdiSpec(path="/etc/cdi/nvidia.yaml"),))
    ),
    "cdi-specification-inside-a-container": machine(
        CdiSpecs(items=(CdiSpec(path="/etc/cdi/nvidia.yaml", release="470.82.01"),)),
        Container=CONTAINER,
        Limits={"shm_bytes": 8 << 30},
    ),
    "hidden-gpu-and-a-dock-that-waits": unseen_by_torch(
        NO_DEVICE,
        Thunderbolt(devices=(ThunderboltDevice(name="CalDigit TS4", authorized=False),)),
        Environment={"variables": {"CUDA_VISIBLE_DEVICES": ""}},
    ),
}
"""Healthy machines that look like those of ATTACHED_DISEASES."""
