"""States of the kernel's module, of its log and of GPUs in NVML, and machines that only look so.

What has to be found first is written before asking, as in tests/support/gpu_states.py.
"""

from typing import Any

from msgspec.structs import replace

from envdoctor.api import (
    CudaInit,
    DkmsModule,
    DriverMessage,
    Gpu,
    Gpus,
    KernelLog,
    KernelModules,
    Nvml,
    PciGpus,
    Reason,
    Snapshot,
    TorchFirstUse,
    UnansweredGpu,
    Unknown,
    XidEvent,
)
from tests.support.cases import CPU_USE, NO_CUDA, NO_GPUS, NO_LIBRARY, Case
from tests.support.gpu_states import A100, A100_ID, NO_DEVICE, bus, gpus, in_torch, use
from tests.support.machines import GPU, machine

KERNEL = "6.8.0-60-generic"
ON_DISK = f"/lib/modules/{KERNEL}/updates/dkms/nvidia.ko"
CLOSED_LOG = (KernelLog, Unknown(reason=Reason.NOT_OBSERVED, detail="/dev/kmsg: not permitted"))
QUIET_LOG = KernelLog()
REFUSAL = DriverMessage(
    kind="module-refused", text="Loading of module with unavailable key is rejected"
)


def not_loaded(*changes: Any, driver: str | None = None, **fields: Any) -> Snapshot:
    """The driver's libraries are there and its module is not loaded."""
    return machine(
        CPU_USE,
        NO_DEVICE,
        NO_GPUS,
        Nvml(status="NVML_ERROR_DRIVER_NOT_LOADED"),
        bus(A100_ID, driver=driver),
        *changes,
        **{
            "Driver": {"loaded": False, "release": None, "modules": (), "device_nodes": ()},
            "TorchRuntime": NO_CUDA,
            **fields,
        },
    )


def modules(**fields: Any) -> KernelModules:
    """The module is on disk for the running kernel, and nothing keeps it from being loaded."""
    usual = KernelModules(
        kernel=KERNEL, secure_boot=False, lockdown="none", files=(ON_DISK,), headers=True
    )
    return replace(usual, **fields)


SECURE = {"secure_boot": True, "lockdown": "integrity"}


def xid(code: int, text: str = "", *, address: str = "0000:07:00.0") -> KernelLog:
    """The log with one Xid."""
    event = XidEvent(pci_address=address, code=code, count=1, last_s=4711.0, text=text)
    return KernelLog(xids=(event,))


def in_state(**fields: Any) -> Gpus:
    """The healthy GPU in another state."""
    return Gpus(devices=(replace(GPU, **fields),))


LOST_ONE = (
    bus(A100_ID, A100_ID),
    gpus((A100, "8.0")),
    Nvml(
        status="ok",
        driver_release="535.183.01",
        driver_cuda="12.2",
        device_count=2,
        unanswered=(UnansweredGpu(index=1, error="NVML_ERROR_GPU_IS_LOST"),),
    ),
)
NONE_STARTED = (CPU_USE, NO_DEVICE, gpus(), bus(A100_ID))
SECOND = "0000:08:00.0"

ADA = (("NVIDIA GeForce RTX 4090", "8.9"),) * 2
WORTH_KNOWING: dict[str, Case] = {
    "program-with-a-fault": Case(
        machine(xid(31, "MMU Fault: ENGINE GRAPHICS GPCCLIENT_T1_0")), "xid-noted", 0
    ),
    "server-without-persistence-mode": Case(
        machine(in_state(persistence_mode=False)), "persistence-mode-off", 0
    ),
    "mig-mode-that-changes-later": Case(
        machine(in_state(mig_mode=False, mig_pending=True)), "mig-mode-pending", 0
    ),
    "desktop-without-resizable-bar": Case(
        machine(
            bus("2684", "2684"),
            Gpus(
                devices=tuple(
                    Gpu(
                        index=index,
                        name=name,
                        compute_capability=capability,
                        memory_bytes=24 * 2**30,
                        bar1_bytes=256 * 2**20,
                    )
                    for index, (name, capability) in enumerate(ADA)
                )
            ),
            use(None, None),
            CudaInit={"device_count": 2},
            TorchRuntime=in_torch(*ADA),
        ),
        "small-bar1",
        0,
    ),
}
"""An information, and neither error nor warning."""

HOST_DISEASES: dict[str, Case] = {
    **WORTH_KNOWING,
    "secure-boot-and-a-module-without-signature": Case(
        not_loaded(CLOSED_LOG, modules(**SECURE, signed=False)), "module-refused", 1
    ),
    "secure-boot-and-a-log-that-is-closed": Case(
        not_loaded(CLOSED_LOG, modules(**SECURE, signed=True)), "module-refused", 1
    ),
    "secure-boot-and-a-log-that-says-so": Case(
        not_loaded(KernelLog(messages=(REFUSAL,)), modules(**SECURE)), "module-refused", 1
    ),
    "secure-boot-and-a-module-that-nobody-loaded": Case(
        not_loaded(QUIET_LOG, modules(**SECURE, signed=True)), "driver-not-loaded", 1
    ),
    "unsigned-where-signatures-are-enforced-by-an-option": Case(
        not_loaded(modules(signatures_enforced=True, signed=False)), "module-refused", 1
    ),
    "secure-boot-that-enforces-nothing": Case(
        not_loaded(modules(secure_boot=True, signed=False)), "driver-not-loaded", 1
    ),
    "kernel-without-headers": Case(
        not_loaded(
            modules(
                files=(),
                headers=False,
                other_kernels=("6.8.0-55-generic",),
                dkms=(DkmsModule(release="535.183.01", kernels=("6.8.0-55-generic",)),),
            )
        ),
        "module-not-built",
        1,
    ),
    "kernel-without-headers-under-secure-boot": Case(
        not_loaded(modules(**SECURE, files=(), headers=False)), "module-not-built", 1
    ),
    "build-that-failed": Case(
        not_loaded(modules(files=(), build_log="/var/lib/dkms/nvidia/535.183.01/build/make.log")),
        "module-not-built",
        1,
    ),
    "module-of-another-kernel": Case(
        not_loaded(
            modules(),
            KernelLog(
                messages=(
                    DriverMessage(
                        kind="built-for-another-kernel",
                        text="nvidia: version magic '6.8.0-55' should be '6.8.0-60'",
                    ),
                )
            ),
        ),
        "module-not-built",
        1,
    ),
    "laptop-on-its-other-gpu": Case(
        not_loaded(modules(blocked_by="/lib/modprobe.d/blacklist-nvidia.conf")),
        "module-blocked",
        1,
    ),
    "nouveau-and-secure-boot": Case(
        not_loaded(modules(**SECURE), driver="nouveau"), "driver-not-loaded", 1
    ),
    "no-driver-at-all": Case(
        not_loaded(
            NO_LIBRARY,
            CudaInit(status="libcuda-missing", message="cannot open"),
            modules(files=()),
            Driver={
                "loaded": False,
                "release": None,
                "modules": (),
                "device_nodes": (),
                "libcuda_files": (),
            },
        ),
        "driver-not-loaded",
        1,
    ),
    "compat-of-a-toolkit-and-no-driver": Case(
        not_loaded(
            NO_LIBRARY,
            CudaInit(status="CUDA_ERROR_NO_DEVICE", code=100),
            modules(files=(), headers=False),
            Driver={
                "loaded": False,
                "release": None,
                "modules": (),
                "device_nodes": (),
                "libcuda_files": ("/usr/local/cuda/compat/libcuda.so.1",),
            },
        ),
        "driver-not-loaded",
        1,
    ),
    "libraries-of-another-release": Case(
        machine(
            CPU_USE,
            Nvml(status="NVML_ERROR_LIB_RM_VERSION_MISMATCH"),
            NO_GPUS,
            CudaInit(status="CUDA_ERROR_NO_DEVICE", code=100),
            KernelLog(
                messages=(
                    DriverMessage(
                        kind="api-mismatch",
                        text="NVRM: API mismatch: the client has the version 535.216.01",
                    ),
                )
            ),
            TorchRuntime=NO_CUDA,
        ),
        "nvml-driver-mismatch",
        1,
    ),
    "fallen-off-the-bus": Case(
        machine(
            *LOST_ONE,
            use(None),
            xid(79, "GPU has fallen off the bus.", address=SECOND),
        ),
        "xid-error",
        1,
    ),
    "fallen-off-the-bus-and-taking-cuda-with-it": Case(
        machine(
            *LOST_ONE,
            CPU_USE,
            CudaInit(status="CUDA_ERROR_UNKNOWN", code=999),
            xid(79, "GPU has fallen off the bus.", address=SECOND),
            TorchRuntime=NO_CUDA,
        ),
        "xid-error",
        1,
    ),
    "gsp-timeout-of-a-gpu-that-goes-on": Case(machine(xid(119)), "xid-error", 0),
    "double-bit-error-and-no-word-of-nvml": Case(machine(xid(48)), "xid-error", 0),
    "bar-without-address-space": Case(
        machine(
            *NONE_STARTED,
            KernelLog(
                messages=(
                    DriverMessage(kind="bar-unassigned", text="NVRM: BAR1 is 0M @ 0x0"),
                    DriverMessage(
                        kind="init-failed",
                        text="NVRM: GPU 0000:07:00.0: RmInitAdapter failed! (0x22:0xffff:667)",
                        pci_address="0000:07:00.0",
                    ),
                )
            ),
            TorchRuntime=NO_CUDA,
        ),
        "gpu-init-failed",
        1,
    ),
    "part-of-a-gpu-under-the-usual-driver": Case(
        machine(
            *NONE_STARTED,
            KernelLog(
                messages=(
                    DriverMessage(
                        kind="init-failed",
                        text="NVRM: GPU 0000:07:00.0: RmInitAdapter failed! (0x22:0x56:742)",
                        pci_address="0000:07:00.0",
                    ),
                )
            ),
            Host={"hypervisor": True},
            TorchRuntime=NO_CUDA,
        ),
        "gpu-init-failed",
        1,
    ),
    "no-firmware-for-the-gsp": Case(
        machine(
            *NONE_STARTED,
            KernelLog(
                messages=(
                    DriverMessage(
                        kind="firmware-missing",
                        text="Direct firmware load for nvidia/535/gsp_tu10x.bin failed",
                    ),
                )
            ),
            TorchRuntime=NO_CUDA,
        ),
        "gpu-init-failed",
        1,
    ),
    "blackwell-under-the-proprietary-module-in-the-log": Case(
        machine(
            CPU_USE,
            NO_DEVICE,
            gpus(),
            bus("2b85"),
            KernelLog(
                messages=(
                    DriverMessage(
                        kind="init-failed",
                        text="NVRM: GPU 0000:07:00.0: RmInitAdapter failed! (0x22:0x56:884)",
                        pci_address="0000:07:00.0",
                    ),
                )
            ),
            Driver={"release": "570.133.07"},
            TorchRuntime=NO_CUDA,
        ),
        "open-module-required",
        1,
    ),
    "rows-that-wait": Case(machine(in_state(rows_pending=True)), "memory-repair-pending", 0),
    "pages-that-wait": Case(machine(in_state(pages_pending=True)), "memory-repair-pending", 0),
    "errors-since-the-start": Case(
        machine(in_state(ecc_uncorrected=2, rows_pending=False)), "memory-repair-pending", 0
    ),
    "no-spare-rows": Case(
        machine(in_state(rows_pending=True, rows_failed=True)), "row-remap-failed", 0
    ),
    "prohibited": Case(
        machine(
            in_state(compute_mode="prohibited"),
            use("RuntimeError: CUDA error: CUDA-capable device(s) is/are busy or unavailable"),
        ),
        "compute-prohibited",
        1,
    ),
    "vgpu-without-licence": Case(
        machine(in_state(virtualization="vgpu", licensed=False)), "vgpu-unlicensed", 0
    ),
    "exclusive-and-not-tried": Case(
        machine(
            in_state(compute_mode="exclusive-process", process_pids=(4711,)),
            (TorchFirstUse, Unknown(reason=Reason.SWITCHED_OFF)),
        ),
        "exclusive-and-taken",
        0,
    ),
    "fabric-of-one-pcie-card-that-waits": Case(
        machine(
            CPU_USE,
            CudaInit(status="CUDA_ERROR_SYSTEM_NOT_READY", code=802),
            Gpus(
                devices=(
                    Gpu(
                        index=0,
                        name="NVIDIA H100 NVL",
                        compute_capability="9.0",
                        fabric_state="in-progress",
                    ),
                )
            ),
            bus("2321"),
            TorchRuntime=NO_CUDA,
        ),
        "fabric-manager",
        1,
    ),
}

HOST_LOOKALIKES: dict[str, Snapshot] = {
    **{name: case.snapshot for name, case in WORTH_KNOWING.items()},
    "signed-and-loaded-under-secure-boot": machine(
        KernelModules(kernel=KERNEL, **SECURE), QUIET_LOG
    ),
    "cpu-machine-in-a-cloud-under-secure-boot": machine(
        CPU_USE,
        NO_LIBRARY,
        NO_GPUS,
        PciGpus(devices=()),
        CudaInit(status="libcuda-missing", message="cannot open"),
        modules(**SECURE, files=(), headers=False),
        Driver={
            "loaded": False,
            "release": None,
            "modules": (),
            "device_nodes": (),
            "libcuda_files": (),
        },
        TorchBuild={"cuda": None, "version": "2.6.0+cpu", "variant": "cpu"},
        TorchRuntime={**NO_CUDA, "cuda": None, "cuda_error": None},
    ),
    "job-that-was-killed": machine(xid(45)),
    "row-remapped-and-contained": machine(xid(63), in_state(rows_pending=False)),
    "reset-since-the-double-bit-error": machine(
        xid(48), in_state(ecc_uncorrected=0, rows_pending=False, rows_failed=False)
    ),
    "gpu-of-another-that-fell-off": machine(xid(79, address="0000:ff:00.0")),
    "xid-that-nobody-knows": machine(xid(999)),
    "log-that-only-root-may-read": machine(CLOSED_LOG),
    "exclusive-and-free": machine(in_state(compute_mode="exclusive-process")),
    "exclusive-and-ours": machine(in_state(compute_mode="exclusive-process", process_pids=(4711,))),
    "prohibited-and-computing-all-the-same": machine(in_state(compute_mode="prohibited")),
    "passed-through-without-licence": machine(
        in_state(virtualization="passthrough", licensed=False)
    ),
    "vgpu-with-licence": machine(in_state(virtualization="vgpu", licensed=True)),
    "fabric-in-progress-and-computing": machine(in_state(fabric_state="in-progress")),
    "corrected-errors-alone": machine(in_state(ecc_mode=True, ecc_uncorrected=0)),
}
"""Machines that work as their owners want, on which a careless check would cry."""
