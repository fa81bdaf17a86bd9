"""A healthy GPU machine in facts, made by hand (synthetic), to break one thing at a time."""

from typing import Any

from msgspec.structs import replace

from envdoctor.api import (
    Container,
    CudaComponents,
    CudaInit,
    Distribution,
    Distributions,
    Driver,
    Environment,
    Expectation,
    Fact,
    FirstUse,
    Gpu,
    Gpus,
    Host,
    InstalledFiles,
    Installer,
    Interpreter,
    Known,
    Limits,
    Nvml,
    Observed,
    PciDevice,
    PciGpus,
    Snapshot,
    Target,
    Toolkits,
    TorchAbsent,
    TorchBuild,
    TorchDevice,
    TorchFirstUse,
    TorchImport,
    TorchRuntime,
    Unknown,
)

SITE = "/venv/lib/python3.11/site-packages"
ARCHS = ("sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90")
"""What torch 2.6.0+cu124 is compiled for (CUDAConfig.h of its wheel)."""

GPU = Gpu(
    index=0,
    name="NVIDIA A100-SXM4-80GB",
    uuid="GPU-00000000-0000-0000-0000-000000000000",
    compute_capability="8.0",
    memory_bytes=85_899_345_920,
)


def distribution(name: str, version: str, *requires: str, location: str = SITE) -> Distribution:
    """An installed wheel."""
    return Distribution(
        name=name,
        version=version,
        location=location,
        metadata_path=f"{location}/{name.replace('-', '_')}-{version}.dist-info",
        installer="pip",
        requires=requires,
    )


HEALTHY: tuple[Fact, ...] = (
    Target(path="/venv/bin/python", chosen_because="named with --python"),
    Interpreter(
        executable="/venv/bin/python",
        version="3.11.9",
        version_info=(3, 11, 9),
        implementation="CPython",
        soabi="cpython-311-x86_64-linux-gnu",
        machine="x86_64",
        prefix="/venv",
        base_prefix="/usr",
        sys_path=("", "/usr/lib/python3.11", SITE),
        site_packages=(SITE,),
        user_site=None,
        user_site_enabled=False,
        safe_path=False,
        stdlib="/usr/lib/python3.11",
        cwd="/home/user",
    ),
    Distributions(
        items=(
            distribution("numpy", "2.2.3"),
            distribution(
                "torch",
                "2.6.0",
                "filelock",
                "nvidia-cudnn-cu12==9.1.0.70; platform_system == 'Linux'",
                "triton==3.2.0; platform_system == 'Linux'",
            ),
            distribution("filelock", "3.17.0"),
            distribution("nvidia-cudnn-cu12", "9.1.0.70"),
            distribution("nvidia-nccl-cu12", "2.21.5"),
            distribution("triton", "3.2.0"),
        )
    ),
    InstalledFiles(damaged=(), checked_files=20_000),
    Installer(name="pip", evidence=f"{SITE}/torch-2.6.0.dist-info/INSTALLER"),
    TorchBuild(
        version="2.6.0+cu124",
        cuda="12.4",
        hip=None,
        path=f"{SITE}/torch",
        variant="cu124",
        version_source=f"{SITE}/torch/version.py",
        arch_flags=ARCHS,
        arch_source="include/ATen/cuda/CUDAConfig.h",
        fatbin_arch_flags=ARCHS,
    ),
    TorchAbsent(absent=False, searched=(SITE,)),
    TorchImport(outcome="ok", seconds=2.0, file=f"{SITE}/torch/__init__.py", version="2.6.0+cu124"),
    TorchRuntime(
        version="2.6.0+cu124",
        cuda="12.4",
        hip=None,
        cuda_available=True,
        device_count=1,
        devices=(
            TorchDevice(
                index=0,
                name="NVIDIA A100-SXM4-80GB",
                compute_capability="8.0",
                memory_bytes=85_899_345_920,
            ),
        ),
        cudnn_version=90100,
        nccl_version="2.21.5",
        cudart_version=12040,
        arch_list=ARCHS,
        numpy_version="2.2.3",
    ),
    TorchFirstUse(
        operations=(
            FirstUse(device="cpu", operation="matmul"),
            FirstUse(device="cpu", operation="convolution"),
            FirstUse(device="cuda:0", operation="matmul"),
            FirstUse(device="cuda:0", operation="convolution"),
        )
    ),
    CudaComponents(items=()),
    Host(
        os="Ubuntu 22.04.4 LTS",
        os_id="ubuntu",
        os_version="22.04",
        kernel="5.15.0-113-generic",
        machine="x86_64",
        glibc="2.35",
        cpu_name="AMD EPYC 7742 64-Core Processor",
        cpu_flags=("avx2", "f16c", "fma"),
        logical_cpus=128,
        physical_cpus=64,
        memory_bytes=1_081_101_176_832,
        memory_available_bytes=1_000_000_000_000,
    ),
    Limits(
        usable_cpus=128.0,
        affinity_cpus=128,
        cgroup_cpu_quota=None,
        cgroup_memory_bytes=None,
        shm_bytes=540_550_588_416,
        shm_free_bytes=540_550_588_416,
    ),
    Container(kind="none", nvidia_runtime=True),
    PciGpus(
        devices=(
            PciDevice(address="0000:07:00.0", vendor_id="10de", device_id="20b2", driver="nvidia"),
        )
    ),
    Driver(
        loaded=True,
        release="535.183.01",
        release_source="/proc/driver/nvidia/version",
        flavor="proprietary",
        modules=("nvidia", "nvidia_uvm"),
        device_nodes=("/dev/nvidia-uvm", "/dev/nvidia0", "/dev/nvidiactl"),
        libcuda_files=("/usr/lib/x86_64-linux-gnu/libcuda.so.1",),
    ),
    Nvml(status="ok", driver_release="535.183.01", driver_cuda="12.2"),
    CudaInit(
        status="ok",
        code=0,
        driver_cuda="12.2",
        device_count=1,
        library="/usr/lib/x86_64-linux-gnu/libcuda.so.535.183.01",
    ),
    Gpus(devices=(GPU,)),
    Toolkits(items=()),
    Environment(variables={}),
    Expectation(device=None),
)


def machine(*changes: Fact | tuple[type[Fact], Unknown], **fields: dict[str, Any]) -> Snapshot:
    """The healthy machine with whole facts replaced, and with single fields changed.

    `machine(Driver={"release": "470.82.01"})` changes one field of one fact;
    `machine((Gpus, Unknown(...)))` makes a fact unknown.
    """
    facts: dict[type[Fact], Known] = {}
    for value in HEALTHY:
        changed = replace(value, **fields.get(type(value).__name__, {}))
        facts[type(value)] = Observed(value=changed, source="synthetic")
    for change in changes:
        if isinstance(change, tuple):
            facts[change[0]] = change[1]
        elif isinstance(change, Fact):
            facts[type(change)] = Observed(value=change, source="synthetic")
    return Snapshot(facts)
