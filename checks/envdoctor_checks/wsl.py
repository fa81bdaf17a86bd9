"""WSL: its kernel, the driver that Windows brings, and one of Linux in its way."""

from envdoctor.api import (
    Code,
    Container,
    CudaInit,
    Driver,
    Evidence,
    Findings,
    GpuTrace,
    Host,
    Layer,
    Nvml,
    Severity,
    Site,
    TorchBuild,
    Wanted,
    check,
    release_numbers,
    system,
)

WSL_LIBCUDA = Code(
    id="ED502",
    name="wsl-libcuda",
    family="wsl-libcuda",
    severity=Severity.ERROR,
    topic="container",
    layer=Layer.CUDA_INIT,
    breaks="compute:gpu",
    message="WSL offers its GPU, but libcuda.so.1 of /usr/lib/wsl/lib is not found by the loader",
    explains=("ED211", "ED302"),
)

WSL_KERNEL_TOO_OLD = Code(
    id="ED504",
    name="wsl-kernel-too-old",
    family="wsl-driver",
    severity=Severity.ERROR,
    topic="container",
    layer=Layer.KERNEL_MODULE,
    breaks="compute:gpu",
    message="the kernel of WSL is older than CUDA needs",
    detailed="the kernel of WSL is {kernel}, and CUDA needs {minimum} or later",
)

WSL_LINUX_DRIVER = Code(
    id="ED505",
    name="wsl-linux-driver",
    family="wsl-driver",
    severity=Severity.ERROR,
    topic="container",
    layer=Layer.NVML,
    breaks="compute:gpu",
    message="a Linux driver is installed inside WSL and hides the one that Windows brings",
    detailed="a Linux driver is installed inside WSL (`{path}`) and hides the one that Windows "
    "brings",
)

WSL_WITHOUT_GPU = Code(
    id="ED506",
    name="wsl-without-gpu",
    family="wsl-driver",
    severity=Severity.ERROR,
    topic="container",
    layer=Layer.BUS,
    breaks="compute:gpu",
    message="a GPU is wanted, and Windows shows none to this WSL",
    detailed="a GPU is wanted, and {why}",
)

_WSL_KERNEL = (5, 10, 43, 3)
"""The first kernel of WSL2 with CUDA (NVIDIA CUDA on WSL User Guide, "Getting Started")."""

_WSL_FOLDER = "/usr/lib/wsl/"


@check(WSL_KERNEL_TOO_OLD)
def wsl_kernel_too_old(site: Site, host: Host, trace: GpuTrace) -> Findings:
    """WSL2 with a kernel from before CUDA."""
    kernel = host.kernel or ""
    numbers = release_numbers(kernel)
    if not site.wsl or not numbers or numbers >= _WSL_KERNEL or not trace.visible:
        return
    minimum = ".".join(map(str, _WSL_KERNEL))
    yield WSL_KERNEL_TOO_OLD.finding(
        kernel=".".join(map(str, numbers)),
        minimum=minimum,
        evidence=(Evidence(label="kernel", value=kernel, source="uname -r"),),
        fixes=(system.update_wsl(site),),
        notes=("NVIDIA CUDA on WSL User Guide, Getting Started",),
    )


@check(WSL_LIBCUDA)
def wsl_libcuda(site: Site, driver: Driver, init: CudaInit) -> Findings:
    """WSL keeps its libcuda in a folder of its own."""
    if not site.wsl or site.contained or init.status != "libcuda-missing":
        return
    if "/dev/dxg" not in driver.device_nodes:
        return
    yield WSL_LIBCUDA.finding(
        evidence=(
            Evidence(label="/dev/dxg", value="present", source="/dev"),
            Evidence(label="dlopen", value=init.message, source="libcuda.so.1"),
        ),
        fixes=(system.show_wsl_libraries(site),),
    )


@check(WSL_LINUX_DRIVER)
def wsl_linux_driver(site: Site, nvml: Nvml | None, init: CudaInit | None) -> Findings:
    """Libraries of a Linux driver cannot talk to the GPU of Windows."""
    loaded = (init.library if init else None, nvml.library if nvml else None)
    foreign = next((path for path in loaded if path and not path.startswith(_WSL_FOLDER)), None)
    works = init is not None and init.code == 0
    if not site.wsl or foreign is None or works:
        return
    yield WSL_LINUX_DRIVER.finding(
        path=foreign,
        evidence=(
            Evidence(label="loaded", value=foreign, source="/proc/self/maps"),
            *((Evidence(label="NVML", value=nvml.status, source="NVML"),) if nvml else ()),
            *((Evidence(label="cuInit", value=init.status, source="libcuda"),) if init else ()),
        ),
        fixes=(system.remove_driver_inside_wsl(site),),
        notes=("install no Linux driver inside WSL (NVIDIA CUDA on WSL User Guide)",),
    )


@check(WSL_WITHOUT_GPU)
def wsl_without_gpu(
    container: Container,
    driver: Driver | None,
    wanted: Wanted,
    trace: GpuTrace,
    site: Site,
    build: TorchBuild | None,
    init: CudaInit | None,
    nvml: Nvml | None,
) -> Findings:
    """A GPU is wanted, and Windows shows none to this WSL, or none that CUDA counts."""
    blocked = _is_blocked(init, nvml)
    if not site.wsl or site.contained or wanted.gpu != "yes" or (trace.visible and not blocked):
        return
    nodes = " ".join(driver.device_nodes) if driver else ""
    first, vendor = container.wsl == 1, _vendor(build)
    yield WSL_WITHOUT_GPU.finding(
        why="WSL 1 has no GPU at all" if first else f"this WSL has no {vendor} GPU that it can use",
        evidence=(
            Evidence(label="WSL", value=str(container.wsl), source="/proc/sys/kernel/osrelease"),
            Evidence(label="device nodes", value=nodes or "none", source="/dev"),
            *((Evidence(label="NVML", value=nvml.status, source="NVML"),) if nvml else ()),
        ),
        fixes=(
            *((system.leave_tcc_of_windows(),) if blocked else ()),
            *system.gpu_for_wsl(container.wsl, vendor),
        ),
        notes=(_GUIDES[vendor],),
    )


def _is_blocked(init: CudaInit | None, nvml: Nvml | None) -> bool:
    """Whether the libraries of Windows' driver are here, and neither of them is let at a GPU."""
    own = init is not None and (init.library or "").startswith(_WSL_FOLDER)
    return (
        own
        and init is not None
        and init.code == _NO_DEVICE
        and nvml is not None
        and nvml.status == "NVML_ERROR_OPERATING_SYSTEM"
    )


_NO_DEVICE = 100

_GUIDES = {
    "NVIDIA": "NVIDIA CUDA on WSL User Guide, Getting Started",
    "AMD": "AMD ROCm on Radeon and Ryzen, WSL; github.com/ROCm/librocdxg",
    "Intel": "Microsoft Learn, GPU accelerated machine learning in WSL; Intel GPU drivers for WSL",
}
"""By the vendor whose GPUs a build of torch computes on."""


def _vendor(build: TorchBuild | None) -> str:
    variant = build.variant if build else ""
    if variant.startswith("rocm") or (build is not None and build.hip):
        return "AMD"
    return "Intel" if variant.startswith("xpu") else "NVIDIA"
