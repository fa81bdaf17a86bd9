"""What containers, jobs and virtual machines were given of a GPU, and errors of CUDA that look
alike; as in gpu_states.py, made by hand from public reports."""

from typing import Any

from msgspec.structs import replace

from envdoctor.api import (
    Container,
    CudaInit,
    Driver,
    FirstUse,
    Gpus,
    KernelLog,
    Nvml,
    PciDevice,
    PciGpus,
    Reason,
    RenderNodes,
    Snapshot,
    TorchDevice,
    TorchFirstUse,
    TorchImport,
    Unknown,
)
from tests.support.attached_states import OPEN_NODES, arc, specified
from tests.support.cases import NO_GPUS, NO_LIBRARY, NOT_REACHED, Case
from tests.support.gpu_states import (
    A100,
    A100_ID,
    CONTAINER,
    NO_DEVICE,
    NO_PCI,
    POD,
    WSL,
    WSL_DRIVER,
    WSL_KERNEL,
    bus,
    gpus,
    in_torch,
    unseen_by_torch,
    use,
)
from tests.support.healthy_machines import MOBILE, NOTHING_OF_CUDA, gpu, on_bus
from tests.support.host_states import DriverMessage, modules, not_loaded
from tests.support.machines import machine
from tests.support.place_states import (
    CPU_BUILD,
    EXPECTED,
    IN_A_JOB,
    MISSING,
    NO_DRIVER,
    NO_HIP,
    rocm,
)

ROOM = {"shm_bytes": 16 << 30}
ALL_NODES = ("/dev/nvidia-uvm", "/dev/nvidia0", "/dev/nvidiactl")
H100 = ("NVIDIA H100 80GB HBM3", "9.0")
H100_NVL = ("NVIDIA H100 NVL", "9.0")


def fails_to_start(code: int, status: str = "CUDA_ERROR", **fields: Any) -> CudaInit:
    """cuInit with this error."""
    return replace(NO_DEVICE, code=code, status=status, message=status.lower(), **fields)


def not_ready(*names: tuple[str, str], **fields: Any) -> Snapshot:
    """GPUs that NVML lists, and error 802."""
    return unseen_by_torch(
        bus(*["2330"] * len(names)),
        gpus(*names),
        fails_to_start(802, "CUDA_ERROR_SYSTEM_NOT_READY"),
        **fields,
    )


def of_mounted_driver(file: str, *changes: Any, **fields: Any) -> Snapshot:
    """A libcuda that is on disk, where the loader does not look."""
    driver = {"device_nodes": ALL_NODES, "libcuda_files": (file,)}
    return unseen_by_torch(NO_LIBRARY, NO_GPUS, MISSING, *changes, Driver=driver, **fields)


def of_amd(name: str, device_id: str, override: str, use: Any, capability: str) -> Snapshot:
    """An AMD GPU in torch under an override."""
    device = TorchDevice(index=0, name=name, compute_capability=capability, memory_bytes=64 << 30)
    card = PciDevice(address="0000:03:00.0", vendor_id="1002", device_id=device_id, driver="amdgpu")
    return rocm(
        PciGpus(devices=(card,)),
        use,
        Environment={"variables": {"HSA_OVERRIDE_GFX_VERSION": override}},
        TorchRuntime={
            **NO_HIP,
            "arch_list": ("gfx90a", "gfx1030", "gfx1100"),
            "cuda_available": True,
            "cuda_error": None,
            "device_count": 1,
            "devices": (device,),
        },
    )


def ended_by_sigill(cpu: str, **fields: Any) -> Snapshot:
    """An import that ends at an instruction that the CPU does not have."""
    return unseen_by_torch(
        TorchImport(outcome="signal", signal="SIGILL", seconds=1.0),
        NO_PCI,
        NO_DRIVER,
        NO_LIBRARY,
        NO_GPUS,
        MISSING,
        (TorchFirstUse, NOT_REACHED),
        Host={"cpu_name": cpu, "cpu_flags": (), "hypervisor": True},
        **fields,
    )


def in_wsl(*changes: Any, **fields: Any) -> Snapshot:
    """WSL with the GPU that Windows shows."""
    return unseen_by_torch(
        NO_PCI, *changes, **{"Driver": WSL_DRIVER, "Host": WSL_KERNEL, "Limits": ROOM, **fields}
    )


def on_a_mac(processor: str, *, mps_available: bool) -> Snapshot:
    """A Mac on which a GPU is expected."""
    elsewhere = Unknown(reason=Reason.NOT_APPLICABLE, detail="it needs Linux")
    kinds = (Driver, PciGpus, Container, CudaInit, Nvml, Gpus)
    return unseen_by_torch(
        *((kind, elsewhere) for kind in kinds),
        Host={"os_id": "darwin", "os": "macOS 15.1", "machine": processor, "glibc": None},
        Expectation=EXPECTED,
        TorchBuild=CPU_BUILD,
        TorchRuntime={**NOTHING_OF_CUDA, "mps_available": mps_available},
    )


CRASHED = (
    TorchFirstUse,
    Unknown(reason=Reason.CRASHED, detail="SIGABRT: Memory access fault by GPU node-2"),
)
NO_KERNEL = TorchFirstUse(
    operations=(
        FirstUse(device="cpu", operation="matmul"),
        FirstUse(
            device="cuda:0",
            operation="matmul",
            error="RuntimeError: HIP error: invalid device function",
        ),
    )
)
GUEST_THAT_DOES_NOT_START = KernelLog(
    messages=(
        DriverMessage(
            kind="init-failed",
            text="NVRM: GPU 0000:07:00.0: RmInitAdapter failed! (0x25:0xffff:1573)",
            pci_address="0000:07:00.0",
        ),
    )
)
SILENT = Unknown(reason=Reason.TIMED_OUT, detail="no answer within 20 s", waited_s=20.0)
CUBLAS_REFUSES = TorchFirstUse(
    operations=(
        FirstUse(
            device="cuda:0",
            operation="matmul",
            error="RuntimeError: CUDA error: CUBLAS_STATUS_INVALID_VALUE when calling cublasSgemm",
        ),
    )
)
IN_MIG_MODE = Gpus(devices=(gpu(mig_mode=True),))

GIVEN_DISEASES: dict[str, tuple[Case, str]] = {
    "pod-whose-driver-is-mounted-off-the-path": (
        Case(
            of_mounted_driver("/usr/local/nvidia/lib64/libcuda.so.1", Container=POD, Limits=ROOM),
            "container-no-gpu-runtime",
            1,
        ),
        "LD_LIBRARY_PATH=/usr/local/nvidia/lib64",
    ),
    "node-whose-driver-is-a-container": (
        Case(
            of_mounted_driver("/run/nvidia/driver/usr/lib64/libcuda.so.1"),
            "driver-without-libcuda",
            1,
        ),
        "/run/nvidia/driver",
    ),
    "stub-behind-a-link": (
        Case(
            unseen_by_torch(
                fails_to_start(34, library="/usr/local/cuda/lib64/stubs/libcuda.so"),
                Container=CONTAINER,
                Limits=ROOM,
            ),
            "driver-stub",
            1,
        ),
        "remove the link",
    ),
    "compat-of-conda": (
        Case(
            unseen_by_torch(
                fails_to_start(804, library="/opt/conda/cuda-compat/libcuda.so.560.35.03"),
                Environment={"variables": {"LD_LIBRARY_PATH": "/opt/conda/cuda-compat:/x"}},
            ),
            "forward-compat",
            1,
        ),
        "LD_LIBRARY_PATH=/x",
    ),
    "libcuda-of-another-installer-in-front": (
        Case(
            unseen_by_torch(
                fails_to_start(803, library="/usr/local/lib/libcuda.so.525.60.13"),
                Driver={"release": "535.183.01"},
            ),
            "driver-lib-mismatch",
            1,
        ),
        "remove `/usr/local/lib/libcuda.so.525.60.13`",
    ),
    "pod-with-a-mig-gpu-and-no-instance": (
        Case(
            unseen_by_torch(IN_MIG_MODE, NO_DEVICE, Container=POD, Limits=ROOM),
            "mig-no-instances",
            1,
        ),
        "nvidia.com/mig-",
    ),
    "lxd-with-a-mig-gpu-and-no-instance": (
        Case(
            unseen_by_torch(IN_MIG_MODE, fails_to_start(3), Container={"kind": "lxc"}, Limits=ROOM),
            "mig-no-instances",
            1,
        ),
        "gputype=mig",
    ),
    "address-space-of-a-job": (
        Case(
            unseen_by_torch(fails_to_start(2), Limits={"address_space_bytes": 16 << 30}),
            "cuda-init-failed",
            1,
        ),
        "ulimit -v unlimited",
    ),
    "fabric-on-a-host-of-confidential-guests": (
        Case(
            not_ready(*[H100] * 8, Host={"kernel": "5.19.0-rc6-snp-host-c4daeffce56e"}),
            "fabric-manager",
            1,
        ),
        "nvidia-fabricmanager",
    ),
    "confidential-guest-with-a-gpu-of-a-fabric": (
        Case(
            not_ready(H100, Host={"kernel": "6.9.0-snp-guest-a38297e3fb01"}),
            "confidential-computing",
            1,
        ),
        "conf-compute -srs 1",
    ),
    "two-cards-without-a-fabric": (
        Case(not_ready(H100_NVL, H100_NVL), "confidential-computing", 1),
        "conf-compute -srs 1",
    ),
    "gpu-that-nobody-uses-and-nobody-can": (
        Case(
            unseen_by_torch(fails_to_start(46), Gpus(devices=(gpu(),)), on_bus(A100_ID)),
            "cuda-init-failed",
            1,
        ),
        "dmesg",
    ),
    "gpu-that-another-has": (
        Case(
            unseen_by_torch(
                fails_to_start(46),
                Gpus(devices=(gpu(compute_mode="exclusive-process", process_pids=(7,)),)),
                on_bus(A100_ID),
            ),
            "cuda-init-failed",
            1,
        ),
        "COMPUTE",
    ),
    "container-whose-system-calls-are-refused": (
        Case(
            unseen_by_torch(fails_to_start(304), Container=CONTAINER, Limits=ROOM),
            "cuda-init-failed",
            1,
        ),
        "seccomp=unconfined",
    ),
    "container-away-from-the-mps-daemon": (
        Case(
            unseen_by_torch(
                fails_to_start(805),
                Container=CONTAINER,
                Limits=ROOM,
                Environment={"variables": {"CUDA_MPS_PIPE_DIRECTORY": "/run/mps"}},
            ),
            "cuda-init-failed",
            1,
        ),
        "--ipc=host -v /run/mps:/run/mps",
    ),
    "gvisor-that-passes-too-little-on": (
        Case(
            unseen_by_torch(
                NO_PCI,
                NO_GPUS,
                NO_DEVICE,
                Nvml(status="NVML_ERROR_UNKNOWN"),
                Host={"kernel": "4.4.0"},
                Container=CONTAINER,
                Limits=ROOM,
                Driver={
                    "loaded": False,
                    "release": None,
                    "modules": (),
                    "device_nodes": ALL_NODES,
                },
            ),
            "cuda-init-failed",
            1,
        ),
        "runsc nvproxy",
    ),
    "host-without-its-control-node": (
        Case(
            unseen_by_torch(
                NO_GPUS,
                NO_DEVICE,
                Nvml(status="NVML_ERROR_DRIVER_NOT_LOADED"),
                Driver={"device_nodes": ("/dev/nvidia-uvm", "/dev/nvidia0")},
            ),
            "device-nodes-missing",
            1,
        ),
        "nvidia-modprobe",
    ),
    "step-of-a-job-without-a-gpu-of-its-own": (
        Case(
            unseen_by_torch(
                gpus(),
                NO_DEVICE,
                Environment={"variables": {**IN_A_JOB["variables"], "SLURM_JOB_GPUS": "0"}},
                Driver={"device_nodes": ALL_NODES, "unusable_nodes": ("/dev/nvidia0",)},
            ),
            "device-permission",
            1,
        ),
        "--gres",
    ),
    "real-time-kernel": (
        Case(
            not_loaded(
                modules(
                    kernel="6.8.1-1015-realtime",
                    files=(),
                    build_log="/var/lib/dkms/nvidia/580.95.05/build/make.log",
                )
            ),
            "module-not-built",
            1,
        ),
        "IGNORE_PREEMPT_RT_PRESENCE",
    ),
    "guest-whose-gpu-was-not-reset": (
        Case(
            unseen_by_torch(
                gpus(),
                NO_DEVICE,
                bus("2bb1"),
                GUEST_THAT_DOES_NOT_START,
                Host={"hypervisor": True},
                Driver={"release": "580.95.05", "flavor": "open"},
            ),
            "gpu-init-failed",
            1,
        ),
        "restart the host",
    ),
    "guest-with-the-cpu-of-a-museum": (
        Case(ended_by_sigill("Common KVM processor"), "cpu-lacks-instructions", 1),
        "-cpu host",
    ),
    "image-that-a-mac-emulates": (
        Case(
            ended_by_sigill("VirtualApple @ 2.50GHz", Container=CONTAINER, Limits=ROOM),
            "cpu-lacks-instructions",
            1,
        ),
        "linux/arm64",
    ),
    "override-of-another-generation-that-crashes": (
        Case(
            of_amd("AMD Instinct MI210", "740f", "10.3.0", CRASHED, "10.3"),
            "gfx-override-wrong",
            1,
        ),
        "unset HSA_OVERRIDE_GFX_VERSION",
    ),
    "override-of-another-generation-without-kernels": (
        Case(
            of_amd("AMD Radeon RX 7900 XTX", "744c", "10.3.0", NO_KERNEL, "10.3"),
            "gfx-override-wrong",
            1,
        ),
        "unset HSA_OVERRIDE_GFX_VERSION",
    ),
    "override-that-does-not-help": (
        Case(
            of_amd("AMD Radeon RX 6600", "73ff", "10.1.0", NO_KERNEL, "10.1"),
            "rocm-arch-unsupported",
            1,
        ),
        "unset HSA_OVERRIDE_GFX_VERSION",
    ),
    "rocm-in-wsl": (
        Case(
            unseen_by_torch(
                NO_PCI,
                NO_LIBRARY,
                NO_GPUS,
                MISSING,
                Container=WSL,
                Host=WSL_KERNEL,
                Driver={**WSL_DRIVER, "libcuda_files": ()},
                Expectation=EXPECTED,
                TorchBuild={
                    "version": "2.10.0+rocm7.1",
                    "cuda": None,
                    "hip": "7.1.25424",
                    "variant": "rocm7.1",
                    "arch_flags": (),
                    "fatbin_arch_flags": (),
                },
                TorchRuntime=NO_HIP,
            ),
            "wsl-without-gpu",
            1,
        ),
        "librocdxg",
    ),
    "toolkit-older-than-the-driver-of-windows": (
        Case(
            in_wsl(
                fails_to_start(500, library="/usr/lib/wsl/drivers/nv/libcuda.so.1.1"),
                Container={**WSL, **CONTAINER},
                Limits=ROOM,
            ),
            "cuda-init-failed",
            1,
        ),
        "1.14.4",
    ),
    "apptainer-in-wsl": (
        Case(
            in_wsl(
                NO_LIBRARY,
                NO_GPUS,
                MISSING,
                Container={**WSL, "kind": "apptainer"},
                Driver={**WSL_DRIVER, "libcuda_files": ()},
            ),
            "container-no-gpu-runtime",
            1,
        ),
        "--nv",
    ),
    "libcuda-of-root-alone": (
        Case(
            of_mounted_driver(
                "/usr/lib64/libcuda.so.1", replace(MISSING, message="x: Permission denied")
            ),
            "driver-without-libcuda",
            1,
        ),
        "chmod a+rx",
    ),
    "driver-that-hangs-below-a-pod": (
        Case(
            unseen_by_torch(
                *((kind, SILENT) for kind in (Nvml, Gpus, CudaInit)),
                Container=POD,
                Limits=ROOM,
            ),
            "driver-hangs",
            1,
        ),
        "on the host",
    ),
    "cublas-of-another-toolkit": (
        Case(
            machine(
                CUBLAS_REFUSES,
                Environment={"variables": {"LD_LIBRARY_PATH": "/usr/local/cuda-11.8/lib64:/x"}},
            ),
            "first-use-failed",
            1,
        ),
        "LD_LIBRARY_PATH=/x",
    ),
    "libcuda-of-32-bits-in-front": (
        Case(
            of_mounted_driver(
                "/usr/lib64/libcuda.so.1",
                replace(MISSING, message="libcuda.so.1: wrong ELF class: ELFCLASS32"),
                Environment={"variables": {"LD_LIBRARY_PATH": "/usr/lib/i386-linux-gnu:/x"}},
            ),
            "driver-without-libcuda",
            1,
        ),
        "LD_LIBRARY_PATH=/x",
    ),
    "libcuda-for-a-newer-c-library": (
        Case(
            of_mounted_driver(
                "/.singularity.d/libs/libcuda.so.1",
                replace(MISSING, message="libc.so.6: version `GLIBC_2.38' not found"),
                Container={"kind": "apptainer"},
            ),
            "container-no-gpu-runtime",
            1,
        ),
        "newer image",
    ),
    "libcuda-copied-without-its-companions": (
        Case(
            unseen_by_torch(fails_to_start(303), Container=CONTAINER, Limits=ROOM),
            "cuda-init-failed",
            1,
        ),
        "libnvidia-ptxjitcompiler",
    ),
    "memory-that-ecc-cannot-correct-at-the-start": (
        Case(
            unseen_by_torch(fails_to_start(214), Gpus(devices=(gpu(),)), on_bus(A100_ID)),
            "cuda-init-failed",
            1,
        ),
        "--gpu-reset",
    ),
    "card-without-its-power-cables": (
        Case(
            unseen_by_torch(NO_GPUS, NO_DEVICE, Nvml(status="NVML_ERROR_INSUFFICIENT_POWER")),
            "gpu-hw-fault",
            1,
        ),
        "power cables",
    ),
    "card-that-computes-nothing-without-a-fault": (
        Case(
            machine(use("RuntimeError: CUDA error: an illegal memory access was encountered")),
            "gpu-fault-at-first-use",
            1,
        ),
        "dmesg",
    ),
    "card-that-no-torch-serves-and-that-is-expected": (
        Case(
            unseen_by_torch(
                bus("128b", driver="nouveau"),
                NO_DRIVER,
                NO_LIBRARY,
                NO_GPUS,
                MISSING,
                Expectation=EXPECTED,
            ),
            "no-nvidia-gpu",
            1,
        ),
        "another GPU",
    ),
    "rootless-podman-with-a-radeon": (
        Case(rocm(Container={"kind": "podman"}, Limits=ROOM), "rocm-finds-no-gpu", 1),
        "keep-groups",
    ),
    "python-for-intel-on-a-mac": (
        Case(on_a_mac("x86_64", mps_available=False), "mps-unavailable", 1),
        "arm64",
    ),
    "macos-from-before-mps": (
        Case(on_a_mac("arm64", mps_available=False), "mps-unavailable", 1),
        "update macOS",
    ),
    "nspawn-without-nodes": (
        Case(
            unseen_by_torch(
                NO_LIBRARY,
                NO_GPUS,
                MISSING,
                bus(A100_ID),
                Container={"kind": "systemd-nspawn", "evidence": "/run/systemd/container"},
                Driver={"device_nodes": ()},
                Limits=ROOM,
            ),
            "container-no-gpu-runtime",
            1,
        ),
        "--bind=/dev/nvidia0",
    ),
}
"""The state, what is found first, the exit code, and a word of its first fix."""

GIVEN_LOOKALIKES: dict[str, Snapshot] = {
    "pod-with-the-path-to-its-driver": machine(
        Container=POD,
        Limits=ROOM,
        Driver={"libcuda_files": ("/usr/local/nvidia/lib64/libcuda.so.1",)},
        Environment={"variables": {"LD_LIBRARY_PATH": "/usr/local/nvidia/lib64"}},
    ),
    "gpu-given-by-cdi-which-says-void": machine(
        bus(A100_ID, A100_ID),
        Container={**POD, "nvidia_visible_devices": "void"},
        Limits=ROOM,
        Environment={"variables": {"NVIDIA_VISIBLE_DEVICES": "void"}},
        Driver={"device_nodes": ALL_NODES},
    ),
    "comma-at-the-end": machine(
        bus(A100_ID, A100_ID),
        gpus((A100, "8.0"), (A100, "8.0")),
        use(None, None),
        Environment={"variables": {"CUDA_VISIBLE_DEVICES": "0,1,"}},
        CudaInit={"device_count": 2},
        TorchRuntime=in_torch((A100, "8.0"), (A100, "8.0")),
    ),
    "short-uuid-of-htcondor": machine(
        Environment={"variables": {"CUDA_VISIBLE_DEVICES": "GPU-00000000"}}
    ),
    "override-that-makes-a-card-work": of_amd(
        "AMD Radeon RX 6600",
        "73ff",
        "10.3.0",
        TorchFirstUse(
            operations=(
                FirstUse(device="cpu", operation="matmul"),
                FirstUse(device="cuda:0", operation="matmul"),
            )
        ),
        "10.3",
    ),
    "laptop-whose-board-has-eight-lanes": machine(
        on_bus("28e0"),
        Gpus(devices=(gpu(0, *MOBILE, pcie_width=8, persistence_mode=False),)),
        TorchRuntime=in_torch(MOBILE),
    ),
    "arc-that-torch-lists": arc(OPEN_NODES, count=1),
    "arc-that-torch-does-not-list-and-nobody-asks": arc(OPEN_NODES, count=0),
    "image-for-arc-that-is-built-beside-one": arc(
        RenderNodes(), count=0, Container=CONTAINER, Limits=ROOM
    ),
    "podman-that-reads-its-specification": specified("0.6.0", podman="4.9.3"),
    "podman-of-which-nothing-is-known": specified("1.1.0", podman="5.4.2"),
    "memory-cut-by-a-preloaded-library": machine(
        gpus((A100, "8.0")),
        Container=POD,
        Limits=ROOM,
        Environment={"variables": {"LD_PRELOAD": "/usr/local/vgpu/libvgpu.so"}},
    ),
}
"""Machines that work as their owners want, on which a careless check would cry."""
