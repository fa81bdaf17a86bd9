"""States of driver, devices, containers and WSL: what has to be found first, written before asking.

For every disease there is a machine that has it and one that only looks as if it had: the second
kind must stay without an error and without a warning.
"""

from typing import Any

from envdoctor.api import (
    CudaInit,
    Distributions,
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
    UnansweredGpu,
    Unknown,
)
from tests.support.cases import CPU_USE, NO_CUDA, NO_GPUS, NO_LIBRARY, Case
from tests.support.machines import HEALTHY, distribution, machine

A100, A100_ID = "NVIDIA A100-SXM4-80GB", "20b2"
NO_DEVICE = CudaInit(
    status="CUDA_ERROR_NO_DEVICE",
    code=100,
    message="no CUDA-capable device is detected",
    driver_cuda="12.2",
    library="/usr/lib/x86_64-linux-gnu/libcuda.so.535.183.01",
)
WSL = {"wsl": 2, "kind": "none"}
WSL_KERNEL = {"kernel": "6.6.87.2-microsoft-standard-WSL2"}
WSL_LIBCUDA = "/usr/lib/wsl/lib/libcuda.so.1"
WSL_DRIVER = {
    "loaded": False,
    "release": None,
    "modules": (),
    "device_nodes": ("/dev/dxg",),
    "libcuda_files": (WSL_LIBCUDA,),
}
WSL_NVML = Nvml(
    status="ok", driver_release="581.57", driver_cuda="13.0", library="/usr/lib/wsl/lib/nvml.so"
)
DISTRIBUTIONS = next(fact for fact in HEALTHY if isinstance(fact, Distributions)).items
NO_PCI = PciGpus(devices=())


def bus(*device_ids: str, driver: str | None = "nvidia") -> PciGpus:
    """NVIDIA devices on the bus, one after the other."""
    return PciGpus(
        devices=tuple(
            PciDevice(
                address=f"0000:{place + 7:02x}:00.0",
                vendor_id="10de",
                device_id=device_id,
                driver=driver,
            )
            for place, device_id in enumerate(device_ids)
        )
    )


def gpus(*names: tuple[str, str]) -> Gpus:
    """GPUs of NVML by name and compute capability."""
    return Gpus(
        devices=tuple(
            Gpu(index=index, name=name, compute_capability=capability)
            for index, (name, capability) in enumerate(names)
        )
    )


def in_torch(*names: tuple[str, str]) -> dict[str, Any]:
    """Fields of TorchRuntime for GPUs that torch lists."""
    devices = tuple(
        TorchDevice(index=index, name=name, compute_capability=capability, memory_bytes=2**34)
        for index, (name, capability) in enumerate(names)
    )
    return {"device_count": len(devices), "devices": devices}


def use(*errors: str | None) -> TorchFirstUse:
    """A first use that works on the CPU, and on each GPU unless it has an error."""
    return TorchFirstUse(
        operations=(
            FirstUse(device="cpu", operation="matmul"),
            *(
                FirstUse(device=f"cuda:{index}", operation="matmul", error=error)
                for index, error in enumerate(errors)
            ),
        )
    )


def unseen_by_torch(*changes: Any, **fields: Any) -> Snapshot:
    """The healthy machine whose torch sees no GPU."""
    return machine(CPU_USE, *changes, **{"TorchRuntime": NO_CUDA, **fields})


def fails_with(error: str) -> Snapshot:
    """The healthy machine whose first operation on the GPU ends with an error."""
    return machine(use(f"RuntimeError: {error}"))


NO_ANSWER = Unknown(reason=Reason.TIMED_OUT, detail="no answer within 20 s", waited_s=20.0)
CONTAINER = {"kind": "docker", "evidence": "/.dockerenv"}
POD = {"kind": "kubernetes", "evidence": "KUBERNETES_SERVICE_HOST"}

DISEASES: dict[str, Case] = {
    "blackwell-under-the-proprietary-module": Case(
        unseen_by_torch(bus("2b85"), gpus(), NO_DEVICE, Driver={"release": "570.133.07"}),
        "open-module-required",
        1,
    ),
    "pascal-under-the-open-module": Case(
        unseen_by_torch(
            bus("1b81"), gpus(), NO_DEVICE, Driver={"release": "575.57.08", "flavor": "open"}
        ),
        "proprietary-module-required",
        1,
    ),
    "pascal-on-595-not-listed": Case(
        unseen_by_torch(
            bus("1c8d", driver=None),
            NO_LIBRARY,
            NO_GPUS,
            CudaInit(
                status="CUDA_ERROR_NO_DEVICE",
                code=100,
                library="/usr/lib/x86_64-linux-gnu/libcuda.so.595.58.03",
            ),
            Driver={"loaded": False, "release": None, "modules": (), "device_nodes": ()},
        ),
        "driver-dropped-gpu",
        1,
    ),
    "mig-on-without-instances": Case(
        unseen_by_torch(
            NO_DEVICE,
            Gpus(devices=(Gpu(index=0, name=A100, compute_capability="8.0", mig_mode=True),)),
        ),
        "mig-no-instances",
        1,
    ),
    "mig-instance-of-yesterday": Case(
        unseen_by_torch(
            NO_DEVICE,
            Environment={"variables": {"CUDA_VISIBLE_DEVICES": "MIG-6cd3d1c9-0000"}},
        ),
        "mig-uuid-stale",
        1,
    ),
    "pod-after-daemon-reload": Case(
        unseen_by_torch(Nvml(status="NVML_ERROR_UNKNOWN"), NO_GPUS, NO_DEVICE, Container=POD),
        "container-lost-gpu",
        1,
    ),
    "hmm-of-the-open-module": Case(
        unseen_by_torch(
            CudaInit(status="CUDA_ERROR_NOT_INITIALIZED", code=3, message="initialization error"),
            Driver={"release": "575.57.08", "flavor": "open"},
        ),
        "uvm-hmm",
        1,
    ),
    "confidential-guest": Case(
        unseen_by_torch(
            CudaInit(status="CUDA_ERROR_SYSTEM_NOT_READY", code=802),
            gpus(("NVIDIA H100 PCIe", "9.0")),
            bus("2331"),
            Host={"kernel": "5.19.0-rc6-snp-guest-c4daeffce56e"},
        ),
        "confidential-computing",
        1,
    ),
    "order-of-unlike-gpus": Case(
        machine(
            bus("2b85", "2bb1"),
            gpus(("NVIDIA GeForce RTX 5090", "12.0"), ("NVIDIA RTX PRO 6000", "12.0")),
            use(None),
            Environment={"variables": {"CUDA_VISIBLE_DEVICES": "1"}},
            TorchRuntime={
                **in_torch(("NVIDIA GeForce RTX 5090", "12.0")),
                "arch_list": ("sm_120",),
            },
        ),
        "cuda-device-order",
        0,
    ),
    "vllm-under-an-older-minor": Case(
        machine(
            Distributions={"items": (*DISTRIBUTIONS, distribution("vllm", "0.11.2"))},
            TorchBuild={"version": "2.6.0+cu126", "cuda": "12.6", "variant": "cu126"},
        ),
        "ptx-too-new",
        0,
    ),
    "one-of-two-silent": Case(
        machine(
            bus(A100_ID, A100_ID),
            Nvml(
                status="ok",
                driver_release="535.183.01",
                driver_cuda="12.2",
                device_count=2,
                unanswered=(UnansweredGpu(index=1, error="NVML_ERROR_GPU_IS_LOST"),),
            ),
        ),
        "gpu-hw-fault",
        1,
    ),
    "driver-lists-no-gpu": Case(
        unseen_by_torch(gpus(), NO_DEVICE),
        "gpus-not-listed",
        1,
    ),
    "ecc": Case(fails_with("CUDA error: uncorrectable ECC error encountered"), "ecc-error", 1),
    "taken-by-another": Case(
        fails_with("CUDA error: CUDA-capable device(s) is/are busy or unavailable"), "gpu-busy", 1
    ),
    "no-memory-left": Case(
        fails_with("CUDA out of memory. Tried to allocate 2.00 MiB"), "gpu-memory-taken", 1
    ),
    "ptx-of-torch": Case(
        fails_with("CUDA error: the provided PTX was compiled with an unsupported toolchain"),
        "unsupported-by-driver",
        1,
    ),
    "kernels-of-an-unknown-build": Case(
        machine(
            use("RuntimeError: CUDA error: no kernel image is available for execution"),
            TorchBuild={"arch_flags": (), "fatbin_arch_flags": ()},
            TorchRuntime={"arch_list": ()},
        ),
        "kernels-missing",
        1,
    ),
    "rocm-torch-on-nvidia": Case(
        unseen_by_torch(
            TorchBuild={
                "version": "2.10.0+rocm7.1",
                "cuda": None,
                "hip": "7.1.25424",
                "variant": "rocm7.1",
                "arch_flags": (),
                "fatbin_arch_flags": (),
            },
            TorchRuntime={**NO_CUDA, "cuda": None, "hip": "7.1.25424", "arch_list": ()},
        ),
        "rocm-cuda-mix",
        1,
    ),
    "xpu-torch-on-nvidia": Case(
        unseen_by_torch(
            TorchBuild={
                "version": "2.9.1+xpu",
                "cuda": None,
                "variant": "xpu",
                "arch_flags": (),
                "fatbin_arch_flags": (),
            },
            TorchRuntime={**NO_CUDA, "version": "2.9.1+xpu", "cuda": None, "arch_list": ()},
        ),
        "xpu-cuda-mix",
        1,
    ),
    "cuda-torch-on-amd": Case(
        unseen_by_torch(
            NO_LIBRARY,
            NO_GPUS,
            PciGpus(
                devices=(
                    PciDevice(
                        address="0000:03:00.0",
                        vendor_id="1002",
                        device_id="744c",
                        driver="amdgpu",
                    ),
                )
            ),
            CudaInit(status="libcuda-missing", message="cannot open"),
            Driver={"loaded": False, "release": None, "modules": (), "device_nodes": ()},
            Expectation={"device": "gpu", "evidence": "--expect"},
        ),
        "rocm-cuda-mix",
        1,
    ),
    "wsl-kernel-of-2021": Case(
        unseen_by_torch(
            NO_PCI,
            NO_GPUS,
            NO_DEVICE,
            Nvml(status="NVML_ERROR_OPERATING_SYSTEM", library="/usr/lib/wsl/lib/nvml.so"),
            Container=WSL,
            Driver=WSL_DRIVER,
            Host={"kernel": "5.10.16.3-microsoft-standard-WSL2"},
        ),
        "wsl-kernel-too-old",
        1,
    ),
    "wsl-with-a-linux-driver": Case(
        unseen_by_torch(
            NO_PCI,
            NO_GPUS,
            NO_DEVICE,
            Nvml(
                status="NVML_ERROR_DRIVER_NOT_LOADED",
                library="/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.550.120",
            ),
            Container=WSL,
            Driver=WSL_DRIVER,
            Host=WSL_KERNEL,
        ),
        "wsl-linux-driver",
        1,
    ),
    "container-without-the-capability": Case(
        unseen_by_torch(
            CudaInit(status="libcuda-missing", message="libcuda.so.1: cannot open"),
            Container=CONTAINER,
            Environment={"variables": {"NVIDIA_DRIVER_CAPABILITIES": "utility"}},
        ),
        "container-no-gpu-runtime",
        1,
    ),
    "driver-that-hangs": Case(
        machine(
            CPU_USE,
            *(
                (
                    kind,
                    Unknown(reason=Reason.TIMED_OUT, detail="no answer within 20 s", waited_s=20.0),
                )
                for kind in (Nvml, Gpus, CudaInit)
            ),
            TorchRuntime=NO_CUDA,
        ),
        "driver-hangs",
        1,
    ),
}
"""What is found first, and the exit code."""

LOOKALIKES: dict[str, Snapshot] = {
    "blackwell-under-the-open-module": machine(
        bus("2b85"),
        gpus(("NVIDIA GeForce RTX 5090", "12.0")),
        Driver={"release": "570.133.07", "flavor": "open"},
        TorchRuntime={**in_torch(("NVIDIA GeForce RTX 5090", "12.0")), "arch_list": ("sm_120",)},
    ),
    "ampere-under-the-open-module": machine(Driver={"flavor": "open"}),
    "pascal-on-580": machine(
        bus("1b81"),
        gpus(("NVIDIA GeForce GTX 1070", "6.1")),
        Driver={"release": "580.95.05"},
        TorchRuntime=in_torch(("NVIDIA GeForce GTX 1070", "6.1")),
    ),
    "mig-with-an-instance": machine(
        Gpus(devices=(Gpu(index=0, name=A100, compute_capability="8.0", mig_mode=True),)),
        Environment={"variables": {"CUDA_VISIBLE_DEVICES": "MIG-6cd3d1c9-0000"}},
        TorchRuntime=in_torch((f"{A100} MIG 1g.10gb", "8.0")),
    ),
    "container-without-nvml-that-computes": machine(
        Nvml(status="NVML_ERROR_UNKNOWN"), NO_GPUS, Container=CONTAINER
    ),
    "torch-alone-under-an-older-minor": machine(
        TorchBuild={"version": "2.6.0+cu126", "cuda": "12.6", "variant": "cu126"}
    ),
    "vllm-under-the-same-minor": machine(
        Distributions={"items": (*DISTRIBUTIONS, distribution("vllm", "0.8.5"))},
        TorchBuild={"version": "2.6.0+cu121", "cuda": "12.1", "variant": "cu121"},
    ),
    "like-gpus-in-any-order": machine(
        bus(A100_ID, A100_ID),
        gpus((A100, "8.0"), (A100, "8.0")),
        use(None),
        Environment={"variables": {"CUDA_VISIBLE_DEVICES": "1"}},
    ),
    "container-with-one-of-eight": machine(bus(*[A100_ID] * 8), Container=CONTAINER),
    "gpu-of-another-user": machine(
        bus(A100_ID, A100_ID),
        Driver={
            "device_nodes": ("/dev/nvidia-uvm", "/dev/nvidia0", "/dev/nvidia1", "/dev/nvidiactl"),
            "unusable_nodes": ("/dev/nvidia1",),
        },
    ),
    "cpu-pod-on-a-gpu-node": unseen_by_torch(
        NO_LIBRARY,
        NO_GPUS,
        CudaInit(status="libcuda-missing", message="cannot open"),
        Container={**POD, "nvidia_visible_devices": "void"},
        Driver={"device_nodes": ()},
    ),
    "gpu-held-for-a-virtual-machine": unseen_by_torch(
        bus("2684", driver="vfio-pci"),
        NO_LIBRARY,
        NO_GPUS,
        CudaInit(status="libcuda-missing", message="cannot open"),
        Driver={"loaded": False, "release": None, "modules": (), "device_nodes": ()},
    ),
    "hidden-on-purpose": unseen_by_torch(
        NO_DEVICE, Environment={"variables": {"CUDA_VISIBLE_DEVICES": ""}}
    ),
    "wsl": machine(
        NO_PCI,
        WSL_NVML,
        Container=WSL,
        Driver=WSL_DRIVER,
        Host=WSL_KERNEL,
        CudaInit={"library": "/usr/lib/wsl/drivers/nv_dispi.inf_amd64/libcuda.so.1.1"},
    ),
    "image-build-without-a-gpu": unseen_by_torch(
        NO_LIBRARY,
        NO_GPUS,
        NO_PCI,
        CudaInit(status="libcuda-missing", message="cannot open"),
        Container=CONTAINER,
        Driver={"loaded": False, "release": None, "modules": (), "device_nodes": ()},
    ),
}
"""Machines that work as their owners want, on which a careless check would cry."""
