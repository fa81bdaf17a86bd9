"""Containers and WSL: whether they were given the GPU, and enough shared memory."""

from envdoctor.api import (
    Code,
    Confidence,
    Container,
    CudaInit,
    Driver,
    Evidence,
    Expectation,
    Findings,
    Fix,
    Layer,
    Limits,
    PciGpus,
    Safety,
    Severity,
    TorchBuild,
    check,
)

CONTAINER_NO_GPU_RUNTIME = Code(
    id="ED500",
    name="container-no-gpu-runtime",
    family="container-no-gpu-runtime",
    severity=Severity.ERROR,
    topic="container",
    layer=Layer.DEVICE_NODES,
    breaks="compute:gpu",
    message="this container was started without access to the machine's NVIDIA GPU",
    detailed="this {kind} container was started without access to the machine's NVIDIA GPU",
)
CONTAINER_DEVICE_NODES = Code(
    id="ED501",
    name="container-device-nodes",
    family="container-device-nodes",
    severity=Severity.ERROR,
    topic="container",
    layer=Layer.DEVICE_NODES,
    breaks="compute:gpu",
    message="device nodes that CUDA needs are missing in this container",
    detailed="the driver is there, but {nodes} is missing in this container",
)
WSL_LIBCUDA = Code(
    id="ED502",
    name="wsl-libcuda",
    family="wsl-libcuda",
    severity=Severity.ERROR,
    topic="container",
    layer=Layer.CUDA_INIT,
    breaks="compute:gpu",
    message="WSL offers its GPU, but its libcuda.so.1 is not found by the loader",
    explains=("ED211", "ED302"),
)
SHM_TOO_SMALL = Code(
    id="ED503",
    name="shm-too-small",
    family="shm-too-small",
    severity=Severity.WARNING,
    topic="container",
    layer=Layer.SPEED,
    message="/dev/shm is small; DataLoader workers share their batches through it",
    detailed="/dev/shm has {size_mib:.0f} MiB; DataLoader workers share their batches through it",
)

DOCKER_DEFAULT_SHM_BYTES = 64 * 2**20
"""The size that `docker run` gives /dev/shm without --shm-size (docker run reference)."""


@check(CONTAINER_NO_GPU_RUNTIME)
def container_no_gpu_runtime(
    container: Container,
    pci: PciGpus,
    driver: Driver,
    build: TorchBuild | None,
    expectation: Expectation | None,
) -> Findings:
    """A GPU on the bus of the host and no device node in the container."""
    if container.kind == "none" or not pci.nvidia or driver.device_nodes:
        return
    if (build is None or build.cuda is None) and not (expectation and expectation.device == "gpu"):
        return
    visible = container.nvidia_visible_devices
    yield CONTAINER_NO_GPU_RUNTIME.finding(
        kind=container.kind,
        evidence=(
            Evidence(label="container", value=container.kind, source=container.evidence),
            Evidence(
                label="PCI device",
                value=f"10de:{pci.nvidia[0].device_id}",
                source=f"/sys/bus/pci/devices/{pci.nvidia[0].address}",
            ),
            Evidence(label="/dev/nvidia*", value="none", source="/dev"),
            *(
                (Evidence(label="NVIDIA_VISIBLE_DEVICES", value=visible, source="environment"),)
                if visible is not None
                else ()
            ),
        ),
        fixes=(
            Fix(
                summary="start the container with the GPUs; the host needs the NVIDIA container "
                "toolkit",
                commands=("docker run --gpus all IMAGE",),
                safety=Safety.NEEDS_ROOT,
            ),
        ),
    )


@check(CONTAINER_DEVICE_NODES)
def container_device_nodes(container: Container, driver: Driver) -> Findings:
    """Some of the device nodes that CUDA opens were not given to the container."""
    if container.kind == "none" or container.wsl or not driver.device_nodes:
        return
    needed = ("/dev/nvidiactl", "/dev/nvidia-uvm")
    missing = [node for node in needed if node not in driver.device_nodes]
    if not missing or "/dev/dxg" in driver.device_nodes:
        return
    yield CONTAINER_DEVICE_NODES.finding(
        nodes=" and ".join(missing),
        evidence=(
            Evidence(label="device nodes", value=" ".join(driver.device_nodes), source="/dev"),
        ),
        fixes=(
            Fix(
                summary="make the nodes on the host, and start the container anew",
                commands=("sudo nvidia-modprobe -u -c=0", "docker run --gpus all IMAGE"),
                safety=Safety.NEEDS_ROOT,
            ),
        ),
    )


@check(WSL_LIBCUDA)
def wsl_libcuda(container: Container, driver: Driver, init: CudaInit) -> Findings:
    """WSL keeps its libcuda in a folder of its own."""
    if container.wsl is None or init.status != "libcuda-missing":
        return
    if "/dev/dxg" not in driver.device_nodes:
        return
    yield WSL_LIBCUDA.finding(
        evidence=(
            Evidence(label="/dev/dxg", value="present", source="/dev"),
            Evidence(label="dlopen", value=init.message, source="libcuda.so.1"),
        ),
        fixes=(
            Fix(
                summary="show WSL's libraries to the loader",
                commands=(
                    "echo /usr/lib/wsl/lib | sudo tee /etc/ld.so.conf.d/ld.wsl.conf",
                    "sudo ldconfig",
                ),
                safety=Safety.NEEDS_ROOT,
            ),
        ),
    )


@check(SHM_TOO_SMALL)
def shm_too_small(limits: Limits, container: Container) -> Findings:
    """A container with Docker's default of 64 MiB of shared memory."""
    if container.kind == "none" or limits.shm_bytes is None:
        return
    if limits.shm_bytes > DOCKER_DEFAULT_SHM_BYTES:
        return
    yield SHM_TOO_SMALL.finding(
        confidence=Confidence.LIKELY,
        size_mib=limits.shm_bytes / 2**20,
        evidence=(Evidence(label="/dev/shm", value=f"{limits.shm_bytes} bytes", source="statvfs"),),
        fixes=(
            Fix(
                summary="start the container with more",
                commands=("docker run --shm-size=8g IMAGE", "docker run --ipc=host IMAGE"),
                safety=Safety.MANUAL,
            ),
        ),
        notes=("without it a DataLoader with workers dies by a bus error",),
    )
