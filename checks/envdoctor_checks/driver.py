"""The NVIDIA driver: whether it is loaded, whole, new enough, and lets CUDA start."""

from envdoctor.api import (
    Code,
    Container,
    CudaInit,
    Driver,
    Evidence,
    Findings,
    Fix,
    Gpus,
    Host,
    Layer,
    Nvml,
    PciGpus,
    Safety,
    Severity,
    TorchBuild,
    check,
)
from envdoctor.knowledge import Knowledge
from envdoctor.knowledge.drivers import driver_runs, driver_serves
from envdoctor.prescribe import Prescription
from envdoctor.repair import prescribed

DRIVER_NOT_LOADED = Code(
    id="ED200",
    name="driver-not-loaded",
    family="driver-not-loaded",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.KERNEL_MODULE,
    breaks="compute:gpu",
    message="an NVIDIA device is on the PCI bus, but the NVIDIA kernel driver is not loaded",
)
DRIVER_TOO_OLD = Code(
    id="ED201",
    name="driver-too-old",
    family="driver-too-old",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.KERNEL_MODULE,
    breaks="compute:gpu",
    message="the driver is too old for the CUDA that torch is built with",
    detailed="driver {release} is too old for torch {version}, which is built with CUDA {cuda} and "
    "needs a driver >= {minimum}",
)
NVML_DRIVER_MISMATCH = Code(
    id="ED202",
    name="nvml-driver-mismatch",
    family="nvml-driver-mismatch",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.NVML,
    breaks="compute:gpu",
    message="the NVIDIA libraries are of another release than the loaded kernel driver",
    detailed="the NVIDIA libraries are of another release than the loaded kernel driver{release}",
)
DEVICE_PERMISSION = Code(
    id="ED207",
    name="device-permission",
    family="device-permission",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.DEVICE_NODES,
    breaks="compute:gpu",
    message="this user may not open the device nodes of the GPU",
    detailed="this user may not open {nodes}",
)
GPU_HW_FAULT = Code(
    id="ED209",
    name="gpu-hw-fault",
    family="gpu-hw-fault",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.NVML,
    breaks="compute:gpu",
    message="the driver has lost a GPU",
    detailed="the driver has lost a GPU: {status}",
)
DRIVER_DROPPED_GPU = Code(
    id="ED213",
    name="driver-dropped-gpu",
    family="driver-not-loaded",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.KERNEL_MODULE,
    breaks="compute:gpu",
    message="the installed driver branch no longer supports this GPU",
    detailed="driver {release} no longer supports {gpu} (compute capability {capability}); the "
    "last branch that does is {branch}",
    explains=("ED200",),
)

_UPDATE = {
    "debian": "sudo apt-get install --only-upgrade nvidia-driver",
    "ubuntu": "sudo ubuntu-drivers install",
    "fedora": "sudo dnf upgrade akmod-nvidia",
}


@check(DRIVER_NOT_LOADED)
def driver_not_loaded(pci: PciGpus, driver: Driver, container: Container) -> Findings:
    """An NVIDIA GPU without its kernel driver; a container has a finding of its own."""
    if not pci.nvidia or driver.loaded or container.kind != "none" or container.wsl:
        return
    device = pci.nvidia[0]
    if device.driver == "vfio-pci":
        return
    yield DRIVER_NOT_LOADED.finding(
        evidence=(
            Evidence(
                label="PCI device",
                value=f"{device.vendor_id}:{device.device_id}, kernel driver "
                f"{device.driver or 'none'}",
                source=f"/sys/bus/pci/devices/{device.address}",
            ),
            Evidence(label="module nvidia", value="not loaded", source="/proc/modules"),
            *(
                (Evidence(label="module nouveau", value="loaded", source="/proc/modules"),)
                if driver.nouveau_loaded
                else ()
            ),
        ),
        fixes=(
            Fix(
                summary="load it, and see why the kernel refuses if it does",
                commands=("sudo modprobe nvidia", "sudo dmesg | grep -iE 'nvidia|nvrm' | tail"),
                safety=Safety.NEEDS_ROOT,
            ),
            Fix(
                summary="if the module is missing for this kernel, build it anew or install the "
                "driver",
                commands=("sudo dkms autoinstall && sudo modprobe nvidia",),
                safety=Safety.NEEDS_ROOT,
            ),
        ),
        notes=(
            ("nouveau holds the device: it has to be blacklisted, and the machine restarted",)
            if driver.nouveau_loaded
            else ()
        ),
    )


@check(DRIVER_TOO_OLD)
def driver_too_old(
    build: TorchBuild,
    driver: Driver,
    known: Knowledge,
    init: CudaInit | None,
    host: Host | None,
    container: Container | None,
    prescription: Prescription | None,
) -> Findings:
    """The driver cannot run builds of torch's CUDA major; a minor release never matters."""
    if build.cuda is None or driver.release is None or _runs_by_compat(init, build.cuda):
        return
    floor = known.driver_floor(build.cuda)
    # WSL uses the driver of Windows, whose releases are numbered on their own.
    windows = container is not None and container.wsl is not None
    runs = driver_runs(driver.release, build.cuda, known, os="windows" if windows else "linux")
    if floor is None or runs is not False:
        return
    minimum = floor.min_release_windows if windows else floor.min_release_linux
    yield DRIVER_TOO_OLD.finding(
        release=driver.release,
        version=build.version,
        cuda=build.cuda,
        minimum=minimum,
        evidence=(
            Evidence(label="driver release", value=driver.release, source=driver.release_source),
            Evidence(label="torch.version.cuda", value=build.cuda, source=build.version_source),
        ),
        fixes=(
            Fix(
                summary=f"update the NVIDIA driver to {minimum} or later",
                commands=() if windows else _update_commands(host),
                safety=Safety.NEEDS_ROOT,
            ),
            prescribed(prescription, "or install a build that this driver runs"),
        ),
        notes=(
            f"CUDA {build.cuda.split('.')[0]}.x runs on any driver >= {minimum} "
            f"({floor.source}, retrieved {floor.retrieved})",
        ),
    )


def _update_commands(host: Host | None) -> tuple[str, ...]:
    command = _UPDATE.get(host.os_id) if host else None
    return (command,) if command else ()


def _runs_by_compat(init: CudaInit | None, cuda: str) -> bool:
    """A forward-compatibility libcuda that starts offers a newer CUDA than the kernel driver."""
    if init is None or init.status != "ok" or init.driver_cuda is None:
        return False
    return int(init.driver_cuda.split(".")[0]) >= int(cuda.split(".", maxsplit=1)[0])


@check(NVML_DRIVER_MISMATCH)
def nvml_driver_mismatch(nvml: Nvml, driver: Driver) -> Findings:
    """The user-space libraries were updated under a running kernel driver."""
    if nvml.status != "NVML_ERROR_LIB_RM_VERSION_MISMATCH":
        return
    yield NVML_DRIVER_MISMATCH.finding(
        release=f" {driver.release}" if driver.release else "",
        evidence=(
            Evidence(label="NVML", value=nvml.status, source=nvml.library or "libnvidia-ml.so.1"),
            Evidence(
                label="kernel driver",
                value=driver.release or "unknown",
                source=driver.release_source,
            ),
        ),
        fixes=(
            Fix(
                summary="restart the machine, or load the new kernel module",
                commands=(
                    "sudo rmmod nvidia_uvm nvidia_drm nvidia_modeset nvidia",
                    "sudo modprobe nvidia",
                ),
                safety=Safety.NEEDS_ROOT,
            ),
        ),
        notes=(
            "a package update replaces the libraries at once, the module only when it is loaded",
        ),
    )


@check(DEVICE_PERMISSION)
def device_permission(driver: Driver) -> Findings:
    """Device nodes that this user cannot open for reading and writing."""
    if not driver.unusable_nodes:
        return
    nodes = ", ".join(driver.unusable_nodes)
    yield DEVICE_PERMISSION.finding(
        nodes=nodes,
        evidence=(Evidence(label="not readable and writable", value=nodes, source="access(2)"),),
        fixes=(
            Fix(
                summary="join the group that owns the nodes, and log in again",
                commands=("ls -l /dev/nvidia*", 'sudo usermod -aG video,render "$USER"'),
                safety=Safety.NEEDS_ROOT,
            ),
        ),
    )


@check(GPU_HW_FAULT)
def gpu_lost(nvml: Nvml) -> Findings:
    """NVML says that a GPU has fallen off the bus or must be reset."""
    if nvml.status not in ("NVML_ERROR_GPU_IS_LOST", "NVML_ERROR_RESET_REQUIRED"):
        return
    yield GPU_HW_FAULT.finding(
        status=nvml.status,
        evidence=(Evidence(label="NVML", value=nvml.status, source="libnvidia-ml.so.1"),),
        fixes=(
            Fix(
                summary="read the Xid errors, then restart the machine; if it comes back, check "
                "power and cooling, reseat the card",
                commands=("sudo dmesg | grep -i xid",),
                safety=Safety.NEEDS_ROOT,
            ),
        ),
    )


@check(DRIVER_DROPPED_GPU)
def driver_dropped_gpu(driver: Driver, gpus: Gpus, known: Knowledge) -> Findings:
    """A driver branch that has ended the support of this GPU's architecture."""
    if driver.release is None:
        return
    for gpu in gpus.devices:
        capability = gpu.compute_capability
        if not capability or driver_serves(driver.release, capability, known) is not False:
            continue
        limit = known.max_driver_branch(capability)
        assert limit is not None
        yield DRIVER_DROPPED_GPU.finding(
            subjects=(f"gpu:{gpu.index}",),
            release=driver.release,
            gpu=gpu.name,
            capability=capability,
            branch=limit.branch,
            evidence=(
                Evidence(
                    label="driver release", value=driver.release, source=driver.release_source
                ),
                Evidence(label="compute capability", value=capability, source="NVML"),
            ),
            fixes=(
                Fix(
                    summary=f"install a driver of branch {limit.branch}",
                    safety=Safety.NEEDS_ROOT,
                ),
            ),
            notes=(f"{limit.source}, retrieved {limit.retrieved}",),
        )
