"""States of systems that are changed in a way of their own: by distribution, kernel and service.

As in gpu_states.py; made by hand from public reports, each named beside its state.
"""

from typing import Any

from msgspec.structs import replace

from envdoctor.api import (
    CudaInit,
    DkmsModule,
    Nvml,
    PciDevice,
    PciGpus,
    Reason,
    Snapshot,
    TorchDevice,
    Unknown,
)
from tests.support.cases import CPU_USE, NO_CUDA, NO_GPUS, NO_LIBRARY, Case
from tests.support.given_states import ALL_NODES, ROOM
from tests.support.gpu_states import (
    A100_ID,
    CONTAINER,
    NO_DEVICE,
    NO_PCI,
    WSL,
    WSL_DRIVER,
    bus,
    fails_with,
    gpus,
    unseen_by_torch,
    use,
)
from tests.support.host_states import SECURE, in_state, modules, not_loaded, xid
from tests.support.machines import machine
from tests.support.place_states import (
    CPU_BUILD,
    EXPECTED,
    MISSING,
    NO_DRIVER,
    NO_HIP,
    radeon_in_torch,
    rocm,
)


def without_module(
    kernel: str, os_id: str, *, others: tuple[str, ...] = (), **found: Any
) -> Snapshot:
    """A driver that has a module for other kernels than the one that runs."""
    facts = {"kernel": kernel, "files": (), "headers": False, "other_kernels": others, **found}
    return not_loaded(modules(**facts), Host={"kernel": kernel, "os_id": os_id})


def refused(os_id: str, **host: Any) -> Snapshot:
    """A module that Secure Boot keeps from loading."""
    return not_loaded(modules(**SECURE, signed=False), Host={"os_id": os_id, **host})


def without_driver(os_id: str, *, driver: str | None = None, **host: Any) -> Snapshot:
    """An NVIDIA GPU on the bus, and nothing of its driver."""
    return unseen_by_torch(
        bus("2684", driver=driver),
        NO_LIBRARY,
        NO_GPUS,
        MISSING,
        NO_DRIVER,
        Host={"os_id": os_id, **host},
    )


def hosted(service: str, kind: str = "docker", **fields: Any) -> Snapshot:
    """What a service started without the GPU that its user expects."""
    return unseen_by_torch(
        NO_PCI,
        NO_LIBRARY,
        NO_GPUS,
        MISSING,
        NO_DRIVER,
        Container={"kind": kind, "service": service},
        Expectation=EXPECTED,
        Limits=ROOM,
        **fields,
    )


def radeon(name: str, device_id: str, capability: str, *architectures: str) -> Snapshot:
    """An AMD GPU for which the build in use has no code."""
    device = TorchDevice(index=0, name=name, compute_capability=capability, memory_bytes=8 << 30)
    card = PciDevice(address="0000:03:00.0", vendor_id="1002", device_id=device_id, driver="amdgpu")
    return rocm(
        PciGpus(devices=(card,)),
        use("RuntimeError: HIP error: invalid device function"),
        TorchRuntime={
            **NO_HIP,
            "arch_list": architectures,
            "cuda_available": True,
            "cuda_error": None,
            "device_count": 1,
            "devices": (device,),
        },
    )


def of_vgpu_manager(**fields: Any) -> Snapshot:
    """The host of virtual machines that share its GPU."""
    return unseen_by_torch(
        in_state(virtualization="host-vgpu"), MISSING, Driver={"libcuda_files": ()}, **fields
    )


WITHOUT_CUDA = {
    **NO_CUDA,
    "version": "2.8.0+cpu",
    "cuda": None,
    "cuda_error": None,
    "arch_list": (),
}
DKMS = (DkmsModule(release="580.95.05", kernels=("6.14.11-4-pve",)),)
OLD_NVML = Nvml(
    status="NVML_ERROR_LIB_RM_VERSION_MISMATCH",
    library="/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.530.41.03",
)
WITHOUT_ITS_LIBRARY = {**WSL_DRIVER, "device_nodes": ("/dev/dxg",)}

SYSTEM_DISEASES: dict[str, tuple[Case, str]] = {
    # the Proxmox VE wiki
    "proxmox-without-headers": (
        Case(
            without_module("6.17.2-2-pve", "debian", others=("6.14.11-4-pve",), dkms=DKMS),
            "module-not-built",
            1,
        ),
        "proxmox-headers-$(uname -r)",
    ),
    "old-proxmox-without-headers": (
        Case(without_module("5.15.108-1-pve", "debian", dkms=DKMS), "module-not-built", 1),
        "pve-headers-$(uname -r)",
    ),
    "kernel-of-oracle-without-headers": (
        Case(
            without_module("6.12.0-101.33.4.3.el9uek.x86_64", "ol", dkms=DKMS),
            "module-not-built",
            1,
        ),
        "kernel-uek-devel-$(uname -r)",
    ),
    "kernel-of-64k-pages-without-headers": (
        Case(
            without_module("5.14.0-570.12.1.el9_6.aarch64+64k", "rhel", dkms=DKMS),
            "module-not-built",
            1,
        ),
        "kernel-64k-devel-",
    ),
    "kernel-of-suse-for-azure-without-headers": (
        Case(
            without_module("6.4.0-150600.8.5-azure", "opensuse-leap", dkms=DKMS),
            "module-not-built",
            1,
        ),
        "kernel-azure-devel",
    ),
    "kernel-of-manjaro-without-headers": (
        Case(without_module("6.12.48-1-MANJARO", "manjaro", dkms=DKMS), "module-not-built", 1),
        "linux612-headers",
    ),
    "lts-kernel-with-the-module-of-the-usual-one": (
        Case(
            without_module("6.12.58-1-lts", "arch", others=("6.17.8-arch1-1",)),
            "module-not-built",
            1,
        ),
        "nvidia-open-dkms linux-lts-headers",
    ),
    "gentoo-after-a-new-kernel": (
        Case(without_module("6.12.57-gentoo-dist", "gentoo", headers=True), "module-not-built", 1),
        "@module-rebuild",
    ),
    # Ubuntu, NVIDIA drivers installation; forums.almalinux.org/t/7216
    "packaged-module-that-did-not-follow-the-kernel": (
        Case(
            without_module("6.8.0-1041-azure", "ubuntu", others=("6.8.0-1034-azure",)),
            "module-not-built",
            1,
        ),
        "-azure",
    ),
    "kmod-that-is-not-there-yet": (
        Case(
            without_module(
                "5.14.0-611.49.1.el9_7.x86_64",
                "almalinux",
                others=("5.14.0-611.41.1.el9_7.x86_64",),
            ),
            "module-not-built",
            1,
        ),
        "kmod-nvidia",
    ),
    # ublue-os/bazzite 312 and 688
    "key-of-universal-blue": (
        Case(refused("bazzite"), "module-refused", 1),
        "ujust enroll-secure-boot-key",
    ),
    "secure-boot-of-a-cloud-machine": (
        Case(refused("ubuntu", hypervisor=True), "module-refused", 1),
        "settings of this virtual machine",
    ),
    # flatcar/Flatcar 1283
    "flatcar-whose-service-failed": (
        Case(without_driver("flatcar"), "driver-not-loaded", 1),
        "nvidia.service",
    ),
    "guix-with-nouveau": (
        Case(without_driver("guix", driver="nouveau"), "driver-not-loaded", 1),
        "guix system reconfigure",
    ),
    "unraid-without-its-plugin": (
        Case(
            without_driver("slackware", kernel="6.12.24-Unraid"),
            "driver-not-loaded",
            1,
        ),
        "Nvidia-Driver",
    ),
    "universal-blue-without-the-driver": (
        Case(without_driver("bazzite"), "driver-not-loaded", 1),
        "-nvidia",
    ),
    "manjaro-with-nouveau": (
        Case(
            without_driver("manjaro", driver="nouveau", kernel="6.12.48-1-MANJARO"),
            "driver-not-loaded",
            1,
        ),
        "mhwd",
    ),
    "void-without-a-driver": (
        Case(without_driver("void"), "driver-not-loaded", 1),
        "xbps-install",
    ),
    "read-only-suse-without-a-driver": (
        Case(without_driver("opensuse-microos"), "driver-not-loaded", 1),
        "transactional-update",
    ),
    "openeuler-without-headers": (
        Case(
            without_module("6.6.0-72.0.0.76.oe2403sp1.x86_64", "openEuler", dkms=DKMS),
            "module-not-built",
            1,
        ),
        "kernel-devel-$(uname -r)",
    ),
    "hmm-on-nixos": (
        Case(
            unseen_by_torch(
                replace(NO_DEVICE, code=3, status="CUDA_ERROR_NOT_INITIALIZED"),
                Driver={"release": "575.57.08", "flavor": "open"},
                Host={"os_id": "nixos"},
            ),
            "uvm-hmm",
            1,
        ),
        "boot.extraModprobeConfig",
    ),
    # NVIDIA Virtual GPU Software User Guide
    "torch-on-the-host-of-virtual-gpus": (
        Case(of_vgpu_manager(), "driver-without-libcuda", 1),
        "Virtual GPU Manager",
    ),
    "b300-under-a-driver-from-before-it": (
        Case(
            unseen_by_torch(
                bus("3182"), gpus(), NO_DEVICE, Driver={"release": "570.195.03", "flavor": "open"}
            ),
            "gpu-newer-than-driver",
            1,
        ),
        "580",
    ),
    "old-nvml-in-front-of-a-driver-that-computes": (
        Case(machine(OLD_NVML, NO_GPUS), "nvml-driver-mismatch", 0),
        "libnvidia-ml.so.530.41.03",
    ),
    # open-gpu-kernel-modules 1355
    "nvlink-5-that-failed": (
        Case(machine(xid(145, "RLW_REMAP Fatal XC0 i0 Link 07")), "xid-error", 0),
        "gpu-reset",
    ),
    "driver-that-asks-for-a-restart": (
        Case(
            machine(xid(154, "changed from 0x0 (None) to 0x2 (Node Reboot Required)")),
            "xid-error",
            0,
        ),
        "restart the machine",
    ),
    # CUDA, Ampere Compatibility Guide
    "kernels-that-a-variable-passes-over": (
        Case(
            machine(
                use("RuntimeError: CUDA error: no kernel image is available for execution"),
                Environment={"variables": {"CUDA_FORCE_PTX_JIT": "1"}},
            ),
            "kernels-missing",
            1,
        ),
        "unset CUDA_FORCE_PTX_JIT",
    ),
    "colab-without-a-gpu": (Case(hosted("colab"), "no-nvidia-gpu", 1), "Change runtime type"),
    "colab-by-its-path": (
        Case(
            hosted("", Environment={"variables": {"LD_LIBRARY_PATH": "/usr/lib64-nvidia"}}),
            "no-nvidia-gpu",
            1,
        ),
        "Change runtime type",
    ),
    "kaggle-by-its-folder": (
        Case(hosted("", Interpreter={"cwd": "/kaggle/working"}), "no-nvidia-gpu", 1),
        "Accelerator",
    ),
    "kaggle-without-a-gpu": (Case(hosted("kaggle"), "no-nvidia-gpu", 1), "Accelerator"),
    "sagemaker-without-a-gpu": (Case(hosted("sagemaker"), "no-nvidia-gpu", 1), "instance_type"),
    "jupyterhub-without-a-gpu": (
        Case(hosted("jupyterhub", "kubernetes"), "no-nvidia-gpu", 1),
        "control panel",
    ),
    "runpod-without-a-gpu": (Case(hosted("runpod"), "no-nvidia-gpu", 1), "another pod"),
    "databricks-without-a-gpu": (
        Case(hosted("databricks", "lxc"), "no-nvidia-gpu", 1),
        "Databricks",
    ),
    # nixpkgs 230214
    "nixos-in-wsl": (
        Case(
            unseen_by_torch(
                NO_PCI,
                NO_LIBRARY,
                NO_GPUS,
                MISSING,
                Container=WSL,
                Driver=WITHOUT_ITS_LIBRARY,
                Host={"os_id": "nixos", "kernel": "6.6.87.2-microsoft-standard-WSL2"},
            ),
            "wsl-libcuda",
            1,
        ),
        "export LD_LIBRARY_PATH=/usr/lib/wsl/lib",
    ),
    # snapd 5696
    "snap-without-its-interface": (
        Case(
            unseen_by_torch(
                NO_DEVICE,
                NO_GPUS,
                Nvml(status="NVML_ERROR_DRIVER_NOT_LOADED"),
                Container={"kind": "snap", "evidence": "SNAP"},
                Limits=ROOM,
                Driver={"unusable_nodes": ("/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia-uvm")},
            ),
            "device-permission",
            1,
        ),
        "snap connect NAME:opengl",
    ),
    # pytorch 79419
    "power-with-a-build-for-the-cpu": (
        Case(
            unseen_by_torch(
                TorchBuild=CPU_BUILD,
                TorchRuntime=WITHOUT_CUDA,
                Host={"machine": "ppc64le"},
                Interpreter={"machine": "ppc64le", "soabi": "cpython-311-powerpc64le-linux-gnu"},
            ),
            "cpu-only-torch",
            1,
        ),
        "Open-CE",
    ),
    "job-with-a-gpu-and-a-build-for-the-cpu": (
        Case(
            machine(
                CPU_USE,
                bus(A100_ID, A100_ID),
                Environment={"variables": {"SLURM_JOB_ID": "5", "SLURM_JOB_GPUS": "0"}},
                Driver={
                    "device_nodes": (*ALL_NODES, "/dev/nvidia1"),
                    "unusable_nodes": ("/dev/nvidia1",),
                },
                TorchBuild=CPU_BUILD,
                TorchRuntime=WITHOUT_CUDA,
            ),
            "cpu-only-torch",
            1,
        ),
        "CUDA build",
    ),
    "fabric-that-ends-after-the-start": (
        Case(fails_with("CUDA error: system not yet initialized"), "fabric-manager", 1),
        "fabricmanager",
    ),
    "error-803-that-torch-alone-has-told": (
        Case(
            unseen_by_torch(
                (CudaInit, Unknown(reason=Reason.TIMED_OUT, detail="no answer within 20 s")),
                TorchRuntime={
                    **NO_CUDA,
                    "cuda_error": "RuntimeError: Unexpected error from cudaGetDeviceCount(). Error "
                    "803: system has unsupported display driver / cuda driver combination",
                },
            ),
            "driver-lib-mismatch",
            1,
        ),
        "restart the machine",
    ),
    "radeon-whose-memory-is-taken": (
        Case(radeon_in_torch("OutOfMemoryError: HIP out of memory."), "gpu-memory-taken", 1),
        "rocm-smi",
    ),
    "radeon-with-a-fault": (
        Case(
            radeon_in_torch("RuntimeError: HIP error: unspecified launch failure"),
            "gpu-fault-at-first-use",
            1,
        ),
        "amdgpu",
    ),
    # pytorch 113896
    "polaris-which-no-build-serves": (
        Case(
            radeon("AMD Radeon RX 580 Series", "67df", "8.0", "gfx900", "gfx1030", "gfx1100"),
            "rocm-arch-unsupported",
            1,
        ),
        "no published torch",
    ),
    "rdna-4-on-an-older-rocm": (
        Case(
            radeon("AMD Radeon RX 9070 XT", "7550", "12.0", "gfx900", "gfx1030", "gfx1100"),
            "rocm-arch-unsupported",
            1,
        ),
        "rocm6.4",
    ),
}
"""The state, what is found first, the exit code, and a word of its first fix."""

SYSTEM_LOOKALIKES: dict[str, Snapshot] = {
    "proxmox-that-works": machine(Host={"kernel": "6.17.2-2-pve", "os_id": "debian"}),
    "cpu-build-on-the-host-of-virtual-gpus": of_vgpu_manager(
        TorchBuild=CPU_BUILD,
        TorchRuntime=WITHOUT_CUDA,
        Expectation={"device": "cpu", "evidence": "--expect"},
    ),
    "nvlink-5-that-went-on": machine(xid(144, "SAW_MVB Nonfatal XC0 i0 Link 0")),
    "driver-that-asks-for-nothing-more": machine(
        xid(154, "changed from 0x1 (GPU Reset Required) to 0x0 (None)")
    ),
    "variable-for-ptx-and-a-gpu-that-computes": machine(
        Environment={"variables": {"CUDA_FORCE_PTX_JIT": "0"}}
    ),
    "pod-of-runpod": machine(Container={**CONTAINER, "service": "runpod"}, Limits=ROOM),
    "snap-with-its-interface": machine(Container={"kind": "snap", "evidence": "SNAP"}, Limits=ROOM),
}
"""Machines that work as their owners want, on which a careless check would cry."""
