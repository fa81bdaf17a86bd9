"""States of branches, boards, vendors and places, and machines that only look so.

What has to be found first, and a word of its first fix, are written before asking, as in
tests/support/gpu_states.py. The facts are made by hand from vendors' documentation.
"""

from typing import Any

from msgspec.structs import replace

from envdoctor.api import (
    CudaInit,
    Driver,
    FirstUse,
    Gpu,
    Gpus,
    Nvml,
    PciDevice,
    PciGpus,
    Reason,
    Snapshot,
    TorchDevice,
    TorchFirstUse,
    TorchImport,
    TorchRuntime,
    Unknown,
)
from tests.support.cases import CPU_USE, NO_CUDA, NO_GPUS, NO_LIBRARY, Case
from tests.support.gpu_states import (
    A100,
    A100_ID,
    CONTAINER,
    NO_DEVICE,
    NO_PCI,
    POD,
    WSL,
    WSL_DRIVER,
    bus,
    fails_with,
    gpus,
    in_torch,
    unseen_by_torch,
    use,
)
from tests.support.machines import GPU, machine

MISSING = CudaInit(status="libcuda-missing", message="libcuda.so.1: cannot open: No such file")
NO_DRIVER = Driver(loaded=False, release=None)
EXPECTED = {"device": "gpu", "evidence": "--expect"}
IN_A_JOB = {"variables": {"SLURM_JOB_ID": "77"}}
CLOSED = {
    "device_nodes": ("/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia-uvm"),
    "unusable_nodes": ("/dev/nvidia0",),
}


# --- AMD and Intel ---

ROCM = {"version": "2.10.0+rocm7.1", "cuda": None, "hip": "7.1.25424", "variant": "rocm7.1"}
NO_HIP = {**NO_CUDA, "version": "2.10.0+rocm7.1", "cuda": None, "hip": "7.1.25424"}
BUILT_FOR_ROCM = {**ROCM, "arch_flags": (), "fatbin_arch_flags": ()}


def on_bus(vendor_id: str, device_id: str, driver: str | None) -> PciGpus:
    device = PciDevice(
        address="0000:03:00.0", vendor_id=vendor_id, device_id=device_id, driver=driver
    )
    return PciGpus(devices=(device,))


RADEON = on_bus("1002", "744c", "amdgpu")
ARC = on_bus("8086", "56a0", "xe")


def of_another_vendor(*changes: Any, **fields: Any) -> Snapshot:
    """A machine without anything of NVIDIA."""
    return unseen_by_torch(RADEON, NO_DRIVER, NO_LIBRARY, NO_GPUS, MISSING, *changes, **fields)


def rocm(*changes: Any, **fields: Any) -> Snapshot:
    """A ROCm build on that machine, which counts no GPU."""
    own = {"TorchBuild": BUILT_FOR_ROCM, "TorchRuntime": {**NO_HIP, "arch_list": ()}}
    return of_another_vendor(*changes, **{**own, **fields})


def radeon_in_torch(error: str | None) -> Snapshot:
    """The same, where torch lists the GPU and its first operation ends so."""
    device = TorchDevice(
        index=0, name="AMD Radeon RX 6600", compute_capability="10.3", memory_bytes=2**33
    )
    listed = {**NO_HIP, "arch_list": (), "cuda_available": True, "cuda_error": None}
    return rocm(use(error), TorchRuntime={**listed, "device_count": 1, "devices": (device,)})


# --- Jetson and WSL ---

OLD_JETSON = {
    "Host": {"kernel": "5.10.120-tegra", "machine": "aarch64"},
    "CudaInit": {
        "driver_cuda": "11.4",
        "library": "/usr/lib/aarch64-linux-gnu/tegra/libcuda.so.1.1",
    },
    "Driver": {
        "loaded": False,
        "release": None,
        "modules": (),
        "device_nodes": (),
        "libcuda_files": ("/usr/lib/aarch64-linux-gnu/tegra/libcuda.so.1",),
    },
}
CPU_BUILD = {
    "version": "2.8.0+cpu",
    "cuda": None,
    "variant": "cpu",
    "arch_flags": (),
    "fatbin_arch_flags": (),
}


def old_jetson(**fields: Any) -> Snapshot:
    """A board with JetPack 5: neither NVML nor a module `nvidia`, and a libcuda that starts."""
    return unseen_by_torch(NO_PCI, NO_LIBRARY, NO_GPUS, **{**OLD_JETSON, **fields})


def in_wsl(version: int, *, nodes: tuple[str, ...]) -> Snapshot:
    return unseen_by_torch(
        NO_PCI,
        NO_LIBRARY,
        NO_GPUS,
        MISSING,
        Container={**WSL, "wsl": version},
        Driver={**WSL_DRIVER, "device_nodes": nodes, "libcuda_files": ()},
        Expectation=EXPECTED,
    )


# --- the import ---


def not_imported(host: tuple[str, tuple[str, ...]] | None = None, **imported: Any) -> Snapshot:
    """A machine whose import of torch ends so; `host` is its CPU and what that can do."""
    nobody = Unknown(reason=Reason.NOT_APPLICABLE, detail="torch was not imported")
    cpu = {"cpu_name": host[0], "cpu_flags": host[1]} if host else {}
    return machine(
        TorchImport(seconds=0.2, **imported),
        (TorchRuntime, nobody),
        (TorchFirstUse, nobody),
        Host=cpu,
    )


# --- MIG and virtual GPUs ---


def in_mig_mode(*modes: bool) -> Gpus:
    return Gpus(
        devices=tuple(
            Gpu(index=index, name=A100, compute_capability="8.0", mig_mode=mode)
            for index, mode in enumerate(modes)
        )
    )


TWO = bus(A100_ID, A100_ID)
VGPU = Gpus(devices=(Gpu(index=0, name="NVIDIA A40-48Q", compute_capability="8.6"),))

PLACE_DISEASES: dict[str, tuple[Case, str]] = {
    "blackwell-on-550": (
        Case(
            unseen_by_torch(bus("2f04"), gpus(), NO_DEVICE, Driver={"release": "550.163.01"}),
            "gpu-newer-than-driver",
            1,
        ),
        "-open",
    ),
    "ada-on-515": (
        Case(
            unseen_by_torch(
                bus("2684"),
                gpus(),
                NO_DEVICE,
                Driver={"release": "515.105.01"},
                TorchBuild={"version": "2.0.1+cu117", "cuda": "11.7", "variant": "cu117"},
            ),
            "gpu-newer-than-driver",
            1,
        ),
        "520 or later",
    ),
    "volta-under-the-open-module-of-590": (
        Case(
            unseen_by_torch(
                bus("1db5"), gpus(), NO_DEVICE, Driver={"release": "590.44.01", "flavor": "open"}
            ),
            "driver-dropped-gpu",
            1,
        ),
        "580",
    ),
    "volta-beside-ampere-on-590": (
        Case(
            machine(bus(A100_ID, "1db5"), Driver={"release": "590.44.01"}), "driver-dropped-gpu", 0
        ),
        "580",
    ),
    "no-node-since-the-start": (
        Case(
            unseen_by_torch(
                NO_DEVICE,
                NO_GPUS,
                Nvml(status="NVML_ERROR_DRIVER_NOT_LOADED"),
                Driver={"device_nodes": ()},
            ),
            "device-nodes-missing",
            1,
        ),
        "nvidia-modprobe",
    ),
    "nixos": (
        Case(
            unseen_by_torch(
                MISSING,
                Host={"os_id": "nixos"},
                Driver={"libcuda_files": ("/run/opengl-driver/lib/libcuda.so.1",)},
            ),
            "driver-without-libcuda",
            1,
        ),
        "/run/opengl-driver/lib",
    ),
    "libcuda-in-a-folder-of-its-own": (
        Case(
            unseen_by_torch(MISSING, Driver={"libcuda_files": ("/opt/nvidia/lib64/libcuda.so.1",)}),
            "driver-without-libcuda",
            1,
        ),
        "echo /opt/nvidia/lib64",
    ),
    "libraries-that-the-host-updated": (
        Case(
            unseen_by_torch(
                Nvml(
                    status="NVML_ERROR_LIB_RM_VERSION_MISMATCH",
                    library="/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.535.216.01",
                ),
                NO_GPUS,
                NO_DEVICE,
                Container=CONTAINER,
            ),
            "nvml-driver-mismatch",
            1,
        ),
        "restart the host",
    ),
    "libcuda-of-the-image": (
        Case(
            unseen_by_torch(
                CudaInit(
                    status="CUDA_ERROR_SYSTEM_DRIVER_MISMATCH",
                    code=803,
                    library="/usr/lib/x86_64-linux-gnu/libcuda.so.470.82.01",
                ),
                Container=CONTAINER,
            ),
            "driver-lib-mismatch",
            1,
        ),
        "out of the image",
    ),
    "empty-libcuda-of-the-image": (
        Case(
            unseen_by_torch(
                CudaInit(status="libcuda-missing", message="libcuda.so.1: file too short"),
                Container=CONTAINER,
            ),
            "container-no-gpu-runtime",
            1,
        ),
        "-size 0",
    ),
    "one-gpu-of-a-fabric-in-a-virtual-machine": (
        Case(
            unseen_by_torch(
                CudaInit(status="CUDA_ERROR_SYSTEM_NOT_READY", code=802),
                gpus(("NVIDIA H100 80GB HBM3", "9.0")),
                bus("2330"),
            ),
            "fabric-manager",
            1,
        ),
        "fabric manager",
    ),
    "the-same-gpu-twice": (
        Case(
            unseen_by_torch(
                TWO,
                gpus((A100, "8.0"), (A100, "8.0")),
                NO_DEVICE,
                Environment={"variables": {"CUDA_VISIBLE_DEVICES": "0,0"}},
            ),
            "cuda-visible-devices",
            1,
        ),
        "unset CUDA_VISIBLE_DEVICES",
    ),
    "hidden-and-expected": (
        Case(
            unseen_by_torch(
                NO_DEVICE,
                Environment={"variables": {"CUDA_VISIBLE_DEVICES": ""}},
                Expectation=EXPECTED,
            ),
            "cuda-visible-devices",
            1,
        ),
        "unset CUDA_VISIBLE_DEVICES",
    ),
    "instance-of-yesterday-in-mig-mode": (
        Case(
            unseen_by_torch(
                in_mig_mode(True),
                NO_DEVICE,
                Environment={"variables": {"CUDA_VISIBLE_DEVICES": "MIG-6cd3d1c9-0000"}},
            ),
            "mig-uuid-stale",
            1,
        ),
        "nvidia-smi -L",
    ),
    "mig-mode-on-one-of-two": (
        Case(machine(TWO, in_mig_mode(True, False)), "mig-no-instances", 0),
        "-i 0 -cgi",
    ),
    "vgpu-that-cuda-is-refused-on": (
        Case(
            unseen_by_torch(VGPU, CudaInit(status="CUDA_ERROR_NOT_SUPPORTED", code=801)),
            "cuda-init-failed",
            1,
        ),
        "licence",
    ),
    "vgpu-without-unified-memory": (
        Case(
            machine(
                VGPU,
                use("RuntimeError: CUDA error: operation not supported"),
                TorchRuntime=in_torch(("NVIDIA A40-48Q", "8.6")),
            ),
            "unsupported-by-driver",
            1,
        ),
        "licence",
    ),
    "handle-that-finds-no-memory": (
        Case(
            machine(
                Gpus(devices=(replace(GPU, memory_used_bytes=85 * 10**9, process_pids=(4711,)),)),
                use("RuntimeError: CUDA error: CUBLAS_STATUS_NOT_INITIALIZED"),
            ),
            "gpu-memory-taken",
            1,
        ),
        "processes hold its memory",
    ),
    "link-between-gpus-that-fails": (
        Case(
            fails_with("CUDA error: uncorrectable NVLink error detected during the execution"),
            "gpu-fault-at-first-use",
            1,
        ),
        "xid",
    ),
    "call-that-a-newer-driver-has": (
        Case(
            fails_with("CUDA error: API call is not supported in the installed CUDA driver"),
            "unsupported-by-driver",
            1,
        ),
        "update the driver",
    ),
    "compat-of-an-image-on-geforce": (
        Case(
            unseen_by_torch(
                CudaInit(
                    status="CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE",
                    code=804,
                    library="/usr/local/cuda/compat/libcuda.so.575.57.08",
                ),
                Container=CONTAINER,
                Environment={"variables": {"LD_LIBRARY_PATH": "/usr/local/cuda/compat:/opt/lib"}},
            ),
            "forward-compat",
            1,
        ),
        "export LD_LIBRARY_PATH=/opt/lib",
    ),
    "linux-libcuda-of-an-image-under-wsl": (
        Case(
            unseen_by_torch(
                NO_PCI,
                NO_GPUS,
                NO_DEVICE,
                Nvml(status="NVML_ERROR_DRIVER_NOT_LOADED"),
                Container={**CONTAINER, "wsl": 2},
                Driver={**WSL_DRIVER, "libcuda_files": ()},
            ),
            "wsl-linux-driver",
            1,
        ),
        "out of the image",
    ),
    "enroot-in-a-job-without-a-gpu": (
        Case(
            unseen_by_torch(
                NO_LIBRARY,
                NO_GPUS,
                MISSING,
                Container={"kind": "enroot"},
                Driver={"device_nodes": ()},
                Environment=IN_A_JOB,
                Expectation=EXPECTED,
            ),
            "container-no-gpu-runtime",
            1,
        ),
        "--gres",
    ),
    "virtual-cpu-without-avx": (
        Case(
            not_imported(
                outcome="signal",
                signal="SIGILL",
                host=("QEMU Virtual CPU version 2.5+", ()),
            ),
            "cpu-lacks-instructions",
            1,
        ),
        "virtual machine",
    ),
    "glibc-that-the-error-names": (
        Case(
            not_imported(
                outcome="exception",
                exception="ImportError",
                message="/lib64/libc.so.6: version `GLIBC_2.28' not found (required by libc10.so)",
            ),
            "glibc-too-old",
            1,
        ),
        "newer operating system",
    ),
    "cudnn-that-the-error-names": (
        Case(
            not_imported(
                outcome="exception",
                exception="ImportError",
                message="libcudnn.so.9: cannot open shared object file: No such file or directory",
            ),
            "cudnn-missing",
            1,
        ),
        "nvidia-cudnn-cu12",
    ),
    "fabric-of-b200": (
        Case(
            unseen_by_torch(
                CudaInit(status="CUDA_ERROR_SYSTEM_NOT_READY", code=802),
                gpus(*[("NVIDIA B200", "10.0")] * 8),
                bus(*["2901"] * 8),
                Driver={"release": "570.195.03", "flavor": "open"},
            ),
            "fabric-manager",
            1,
        ),
        "nvlsm",
    ),
    "fabric-of-a-rack": (
        Case(
            unseen_by_torch(
                CudaInit(status="CUDA_ERROR_SYSTEM_NOT_READY", code=802),
                gpus(*[("NVIDIA GB200", "10.0")] * 4),
                bus(*["2941"] * 4),
                Driver={"release": "580.95.05", "flavor": "open"},
            ),
            "fabric-manager",
            1,
        ),
        "switch trays",
    ),
    "ampere-on-390": (
        Case(
            unseen_by_torch(bus("2507"), gpus(), NO_DEVICE, Driver={"release": "390.157"}),
            "gpu-newer-than-driver",
            1,
        ),
        "525.60.13 or later",
    ),
    "container-user-outside-of-the-group": (
        Case(
            unseen_by_torch(
                Nvml(status="NVML_ERROR_NO_PERMISSION"),
                NO_GPUS,
                NO_DEVICE,
                Container=CONTAINER,
                Driver=CLOSED,
            ),
            "device-permission",
            1,
        ),
        "--group-add",
    ),
    "pod-user-outside-of-the-group": (
        Case(
            unseen_by_torch(
                Nvml(status="NVML_ERROR_NO_PERMISSION"),
                NO_GPUS,
                NO_DEVICE,
                Container=POD,
                Driver=CLOSED,
            ),
            "device-permission",
            1,
        ),
        "supplementalGroups",
    ),
    "ptx-that-does-not-hold": (
        Case(
            machine(
                gpus(("NVIDIA H100 PCIe", "9.0")),
                use("RuntimeError: CUDA error: no kernel image is available for execution"),
                TorchBuild={"arch_flags": ("sm_37", "sm_86", "compute_37")},
                TorchRuntime={
                    **in_torch(("NVIDIA H100 PCIe", "9.0")),
                    "arch_list": ("sm_37", "sm_86", "compute_37"),
                },
            ),
            "gpu-arch-too-new",
            1,
        ),
        "has kernels for this GPU",
    ),
    "radeon-that-is-closed": (Case(rocm(), "rocm-finds-no-gpu", 1), "render,video"),
    "radeon-without-its-driver": (
        Case(rocm(on_bus("1002", "744c", None)), "rocm-finds-no-gpu", 1),
        "modprobe amdgpu",
    ),
    "radeon-that-a-variable-hides": (
        Case(
            rocm(
                Environment={"variables": {"HIP_VISIBLE_DEVICES": "-1"}},
                Expectation={"device": "gpu", "evidence": "--expect gpu"},
            ),
            "rocm-finds-no-gpu",
            1,
        ),
        "unset HIP_VISIBLE_DEVICES",
    ),
    "radeon-of-a-number-that-is-not-there": (
        Case(
            rocm(Environment={"variables": {"ROCR_VISIBLE_DEVICES": "3,0"}}),
            "rocm-finds-no-gpu",
            1,
        ),
        "unset ROCR_VISIBLE_DEVICES",
    ),
    "radeon-that-the-container-lacks": (
        Case(rocm(Container=CONTAINER), "rocm-finds-no-gpu", 1),
        "--device=/dev/kfd",
    ),
    "radeon-that-the-pod-lacks": (
        Case(rocm(Container=POD), "rocm-finds-no-gpu", 1),
        "amd.com/gpu",
    ),
    "radeon-without-kernels": (
        Case(
            radeon_in_torch("RuntimeError: HIP error: invalid device function"),
            "rocm-arch-unsupported",
            1,
        ),
        "HSA_OVERRIDE_GFX_VERSION=10.3.0",
    ),
    "cpu-torch-where-a-radeon-is-expected": (
        Case(
            of_another_vendor(
                TorchBuild=CPU_BUILD,
                TorchRuntime={**NO_CUDA, "cuda": None, "cuda_error": None, "arch_list": ()},
                Expectation=EXPECTED,
            ),
            "cpu-only-torch",
            1,
        ),
        "rocm",
    ),
    "cpu-torch-on-jetpack-5": (
        Case(
            old_jetson(
                TorchBuild=CPU_BUILD,
                TorchRuntime={**NO_CUDA, "cuda": None, "cuda_error": None, "arch_list": ()},
            ),
            "cpu-only-torch",
            1,
        ),
        "redist/jp/v512",
    ),
    "cuda-12-on-jetpack-5": (
        Case(old_jetson(), "driver-too-old", 1),
        "JetPack 5",
    ),
    "jetson-container-without-its-runtime": (
        Case(
            unseen_by_torch(
                NO_PCI,
                NO_DRIVER,
                NO_LIBRARY,
                NO_GPUS,
                MISSING,
                Container=CONTAINER,
                Host={"kernel": "5.15.148-tegra", "machine": "aarch64"},
                Expectation=EXPECTED,
            ),
            "no-nvidia-gpu",
            1,
        ),
        "--runtime nvidia",
    ),
    "wsl-1": (Case(in_wsl(1, nodes=()), "wsl-without-gpu", 1), "--set-version"),
    "wsl-that-windows-shows-nothing": (
        Case(in_wsl(2, nodes=()), "wsl-without-gpu", 1),
        "wsl.exe --update",
    ),
    "lxc-whose-configuration-refuses": (
        Case(
            unseen_by_torch(
                Nvml(status="NVML_ERROR_UNKNOWN"),
                NO_GPUS,
                NO_DEVICE,
                Container={"kind": "lxc"},
                Driver=CLOSED,
            ),
            "device-permission",
            1,
        ),
        "lxc.cgroup2.devices.allow",
    ),
    "lxc-without-libraries": (
        Case(unseen_by_torch(MISSING, Container={"kind": "lxc"}), "container-no-gpu-runtime", 1),
        "--no-kernel-modules",
    ),
    "job-without-a-gpu-that-is-expected": (
        Case(
            unseen_by_torch(
                gpus(), NO_DEVICE, Environment=IN_A_JOB, Driver=CLOSED, Expectation=EXPECTED
            ),
            "device-permission",
            1,
        ),
        "--gres",
    ),
    "silverblue-without-a-driver": (
        Case(
            unseen_by_torch(
                bus("28e0", driver=None),
                NO_DRIVER,
                NO_LIBRARY,
                NO_GPUS,
                MISSING,
                Host={"os": "Fedora Linux 41 (Silverblue)", "os_id": "fedora"},
            ),
            "driver-not-loaded",
            1,
        ),
        "rpm-ostree install",
    ),
}
"""The state, what is found first, the exit code, and a word of its first fix."""

PLACE_LOOKALIKES: dict[str, Snapshot] = {
    "radeon-that-computes": radeon_in_torch(None),
    "radeon-beside-a-cuda-build-for-elsewhere": of_another_vendor(),
    "arc-and-a-build-for-intel": of_another_vendor(
        ARC,
        TorchBuild={
            "version": "2.9.1+xpu",
            "cuda": None,
            "variant": "xpu",
            "arch_flags": (),
            "fatbin_arch_flags": (),
        },
        TorchRuntime={
            **NO_CUDA,
            "version": "2.9.1+xpu",
            "cuda": None,
            "cuda_error": None,
            "arch_list": (),
        },
    ),
    "mig-mode-on-both-and-one-instance-shown": machine(
        TWO, in_mig_mode(True, True), TorchRuntime=in_torch((f"{A100} MIG 3g.40gb", "8.0"))
    ),
    "job-that-asked-for-no-gpu": unseen_by_torch(
        gpus(), NO_DEVICE, Environment=IN_A_JOB, Driver=CLOSED
    ),
    "spaces-between-the-entries": machine(
        TWO,
        gpus((A100, "8.0"), (A100, "8.0")),
        use(None, None),
        Environment={"variables": {"CUDA_VISIBLE_DEVICES": "0, 1"}},
        CudaInit={"device_count": 2},
        TorchRuntime=in_torch((A100, "8.0"), (A100, "8.0")),
    ),
    "vgpu-with-its-licence": machine(VGPU, TorchRuntime=in_torch(("NVIDIA A40-48Q", "8.6"))),
    "thor-with-a-build-of-pytorch": machine(
        NO_PCI,
        gpus(("NVIDIA Thor", "11.0")),
        Host={"kernel": "6.8.12-tegra", "machine": "aarch64"},
        CudaInit={"driver_cuda": "13.0"},
        Driver={"release": "580.00", "device_nodes": ("/dev/nvidia0", "/dev/nvidiactl")},
        TorchRuntime={**in_torch(("NVIDIA Thor", "11.0")), "arch_list": ("sm_80", "sm_110")},
    ),
    "cpu-machine-with-a-radeon": machine(
        CPU_USE,
        RADEON,
        NO_DRIVER,
        NO_LIBRARY,
        NO_GPUS,
        MISSING,
        TorchBuild=CPU_BUILD,
        TorchRuntime={**NO_CUDA, "cuda": None, "cuda_error": None, "arch_list": ()},
    ),
    "gvisor": machine(
        NO_PCI,
        Host={"kernel": "4.4.0"},
        Container=CONTAINER,
        Driver={"loaded": False, "release": None, "modules": ()},
    ),
    "old-gpu-for-the-screen": machine(
        bus(A100_ID, "128b"),
        TorchFirstUse(
            operations=(
                FirstUse(device="cpu", operation="matmul"),
                FirstUse(device="cuda:0", operation="matmul"),
            )
        ),
    ),
}
"""Machines that work as their owners want, on which a careless check would cry."""
