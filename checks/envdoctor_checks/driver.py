"""The NVIDIA driver: whether it is loaded, whole, new enough, and lets CUDA start."""

from envdoctor.api import (
    Code,
    Container,
    CudaInit,
    Driver,
    Environment,
    Evidence,
    Expectation,
    Findings,
    Fix,
    Gpus,
    Host,
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

_NO_CUDA = ("ED410", "ED411", "ED412")

DRIVER_NOT_LOADED = Code(
    id="ED200",
    name="driver-not-loaded",
    family="driver-not-loaded",
    severity=Severity.ERROR,
    message="an NVIDIA device is on the PCI bus, but the NVIDIA kernel driver is not loaded",
    explains=_NO_CUDA,
)
DRIVER_TOO_OLD = Code(
    id="ED201",
    name="driver-too-old",
    family="driver-too-old",
    severity=Severity.ERROR,
    message="driver {release} is too old for torch {version}, which is built with CUDA {cuda} and "
    "needs a driver >= {minimum}",
    explains=(*_NO_CUDA, "ED203", "ED212"),
)
NVML_DRIVER_MISMATCH = Code(
    id="ED202",
    name="nvml-driver-mismatch",
    family="nvml-driver-mismatch",
    severity=Severity.ERROR,
    message="the NVIDIA libraries are of another release than the loaded kernel driver{release}",
    explains=(*_NO_CUDA, "ED203", "ED212"),
)
DRIVER_LIB_MISMATCH = Code(
    id="ED203",
    name="driver-lib-mismatch",
    family="driver-lib-mismatch-803",
    severity=Severity.ERROR,
    message="libcuda does not fit the loaded kernel driver (CUDA error 803)",
    explains=_NO_CUDA,
)
FORWARD_COMPAT = Code(
    id="ED204",
    name="forward-compat",
    family="forward-compat-804",
    severity=Severity.ERROR,
    message="a forward-compatibility libcuda is loaded, and this GPU does not support it "
    "(CUDA error 804)",
    explains=_NO_CUDA,
)
FABRIC_MANAGER = Code(
    id="ED205",
    name="fabric-manager",
    family="fabric-manager-802",
    severity=Severity.ERROR,
    message="CUDA says that the system is not yet initialised (error 802): on machines with "
    "NVSwitch the fabric manager is not running",
    explains=_NO_CUDA,
)
CUDA_UNKNOWN_UVM = Code(
    id="ED206",
    name="cuda-unknown-uvm",
    family="cuda-unknown-uvm",
    severity=Severity.ERROR,
    message="CUDA does not start (error 999, unknown error){uvm}",
    explains=_NO_CUDA,
)
DEVICE_PERMISSION = Code(
    id="ED207",
    name="device-permission",
    family="device-permission",
    severity=Severity.ERROR,
    message="this user may not open {nodes}",
    explains=(*_NO_CUDA, "ED206", "ED209", "ED212"),
)
GPU_HW_FAULT = Code(
    id="ED209",
    name="gpu-hw-fault",
    family="gpu-hw-fault",
    severity=Severity.ERROR,
    message="the driver has lost a GPU: {status}",
    explains=_NO_CUDA,
)
CUDA_VISIBLE_DEVICES = Code(
    id="ED210",
    name="cuda-visible-devices",
    family="cuda-visible-devices",
    severity=Severity.WARNING,
    message="CUDA_VISIBLE_DEVICES is `{value}`, {effect}",
    explains=("ED411", "ED412"),
)
DRIVER_WITHOUT_LIBCUDA = Code(
    id="ED211",
    name="driver-without-libcuda",
    family="libcuda-missing",
    severity=Severity.ERROR,
    message="the kernel driver{release} is loaded, but libcuda.so.1 cannot be found",
    explains=(*_NO_CUDA, "ED302"),
)
CUDA_INIT_FAILED = Code(
    id="ED212",
    name="cuda-init-failed",
    family="cuda-init-failed",
    severity=Severity.ERROR,
    message="CUDA does not start: {status} ({code}), {text}",
    explains=_NO_CUDA,
)
DRIVER_DROPPED_GPU = Code(
    id="ED213",
    name="driver-dropped-gpu",
    family="driver-not-loaded",
    severity=Severity.ERROR,
    message="driver {release} no longer supports {gpu} (compute capability {capability}); the "
    "last branch that does is {branch}",
    explains=(*_NO_CUDA, "ED200", "ED209", "ED212"),
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
    prescription: Prescription | None,
) -> Findings:
    """The driver cannot run builds of torch's CUDA major; a minor release never matters."""
    if build.cuda is None or driver.release is None or _runs_by_compat(init, build.cuda):
        return
    floor = known.driver_floor(build.cuda)
    if floor is None or driver_runs(driver.release, build.cuda, known) is not False:
        return
    yield DRIVER_TOO_OLD.finding(
        release=driver.release,
        version=build.version,
        cuda=build.cuda,
        minimum=floor.min_release_linux,
        evidence=(
            Evidence(label="driver release", value=driver.release, source=driver.release_source),
            Evidence(label="torch.version.cuda", value=build.cuda, source=build.version_source),
        ),
        fixes=(
            Fix(
                summary=f"update the NVIDIA driver to {floor.min_release_linux} or later",
                commands=_update_commands(host),
                safety=Safety.NEEDS_ROOT,
            ),
            prescribed(prescription, "or install a build that this driver runs"),
        ),
        notes=(
            f"CUDA {build.cuda.split('.')[0]}.x runs on any driver >= {floor.min_release_linux} "
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


@check(DRIVER_LIB_MISMATCH, FORWARD_COMPAT, FABRIC_MANAGER, CUDA_INIT_FAILED)
def cuda_does_not_start(init: CudaInit, driver: Driver) -> Findings:
    """CuInit, tried without torch, returns an error."""
    if init.code in (None, 0, 100, 999):
        return
    code, fix = _BY_ERROR.get(init.code, (CUDA_INIT_FAILED, _LOOK))
    yield code.finding(
        status=init.status,
        code=init.code,
        text=init.message,
        evidence=(
            Evidence(label="cuInit", value=f"{init.status} ({init.code})", source="libcuda.so.1"),
            Evidence(label="libcuda", value=init.library or "unknown", source="/proc/self/maps"),
            Evidence(
                label="kernel driver",
                value=driver.release or "unknown",
                source=driver.release_source,
            ),
        ),
        fixes=(fix,),
    )


_LOOK = Fix(
    summary="look what the kernel driver says",
    commands=("nvidia-smi", "sudo dmesg | grep -iE 'nvidia|nvrm|xid' | tail"),
    safety=Safety.NEEDS_ROOT,
)
_BY_ERROR = {
    803: (
        DRIVER_LIB_MISMATCH,
        Fix(
            summary="restart after a driver update, and remove a stale libcuda from the loader's "
            "path (LD_LIBRARY_PATH, /usr/local/cuda/compat)",
            commands=("ldconfig -p | grep libcuda.so", "sudo reboot"),
            safety=Safety.NEEDS_ROOT,
        ),
    ),
    804: (
        FORWARD_COMPAT,
        Fix(
            summary="take cuda-compat from the loader's path, or update the driver",
            commands=("sudo apt-get remove 'cuda-compat-*'",),
            safety=Safety.NEEDS_ROOT,
        ),
    ),
    802: (
        FABRIC_MANAGER,
        Fix(
            summary="start the fabric manager of the same release as the driver",
            commands=("sudo systemctl enable --now nvidia-fabricmanager",),
            safety=Safety.NEEDS_ROOT,
        ),
    ),
}


@check(CUDA_UNKNOWN_UVM)
def cuda_unknown(init: CudaInit, driver: Driver) -> Findings:
    """Error 999, most often because the module nvidia_uvm is gone after a suspend."""
    if init.code != 999:
        return
    has_uvm = "nvidia_uvm" in driver.modules and "/dev/nvidia-uvm" in driver.device_nodes
    yield CUDA_UNKNOWN_UVM.finding(
        uvm="" if has_uvm else ", and nvidia_uvm or its device node is missing",
        evidence=(
            Evidence(label="cuInit", value=f"{init.status} (999)", source="libcuda.so.1"),
            Evidence(label="modules", value=" ".join(driver.modules), source="/proc/modules"),
            Evidence(label="device nodes", value=" ".join(driver.device_nodes), source="/dev"),
        ),
        fixes=(
            Fix(
                summary="load nvidia_uvm anew and make its device node",
                commands=(
                    "sudo rmmod nvidia_uvm; sudo modprobe nvidia_uvm",
                    "sudo nvidia-modprobe -u -c=0",
                ),
                safety=Safety.NEEDS_ROOT,
            ),
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


@check(DRIVER_WITHOUT_LIBCUDA)
def driver_without_libcuda(
    init: CudaInit, driver: Driver, build: TorchBuild, container: Container
) -> Findings:
    """The kernel driver without its user-space library."""
    if init.status != "libcuda-missing" or not driver.loaded or build.cuda is None:
        return
    if container.kind != "none":
        return
    yield DRIVER_WITHOUT_LIBCUDA.finding(
        release=f" {driver.release}" if driver.release else "",
        evidence=(
            Evidence(label="dlopen", value=init.message, source="libcuda.so.1"),
            Evidence(
                label="libcuda files", value=" ".join(driver.libcuda_files) or "none", source="/usr"
            ),
        ),
        fixes=(
            Fix(
                summary="install the library of the same release as the driver, and refresh the "
                "loader's cache",
                commands=("sudo apt-get install libcuda1", "sudo ldconfig"),
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
            subject=f"gpu:{gpu.index}",
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


@check(CUDA_VISIBLE_DEVICES)
def cuda_visible_devices(
    environment: Environment, gpus: Gpus, expectation: Expectation | None
) -> Findings:
    """The variable hides every GPU, or names one that is not there."""
    value = environment.variables.get("CUDA_VISIBLE_DEVICES")
    if value is None or not gpus.devices:
        return
    entries = [entry.strip() for entry in value.split(",")]
    visible, wrong = _visible(entries, gpus)
    if visible and wrong is None:
        return
    expects_cpu = expectation is not None and expectation.device == "cpu"
    hidden_on_purpose = value.strip() in ("", "-1", "none", "NoDevFiles")
    severity = Severity.WARNING
    if hidden_on_purpose:
        expects_gpu = expectation is not None and expectation.device == "gpu"
        severity = Severity.ERROR if expects_gpu else Severity.INFO
    elif not visible and not expects_cpu:
        severity = Severity.ERROR
    yield CUDA_VISIBLE_DEVICES.finding(
        severity=severity,
        value=value,
        effect=_effect(visible, wrong, len(gpus.devices), hidden_on_purpose),
        evidence=(
            Evidence(label="CUDA_VISIBLE_DEVICES", value=value, source="environment"),
            Evidence(
                label="GPUs",
                value=", ".join(f"{gpu.index}: {gpu.name}" for gpu in gpus.devices),
                source="NVML",
            ),
        ),
        fixes=(
            Fix(
                summary="name existing GPUs, or none of them in particular",
                commands=("unset CUDA_VISIBLE_DEVICES",),
                safety=Safety.SAFE,
            ),
        ),
        notes=("CUDA uses the entries before the first one that names no GPU, and none after it",),
    )


def _visible(entries: list[str], gpus: Gpus) -> tuple[int, str | None]:
    """How many GPUs the entries show, and the first entry that names none."""
    for number, entry in enumerate(entries):
        if not _names_a_gpu(entry, gpus):
            return number, entry
    return len(entries), None


def _names_a_gpu(entry: str, gpus: Gpus) -> bool:
    if entry.isdigit():
        return int(entry) < len(gpus.devices)
    if entry.startswith("MIG-"):
        return True
    return entry.startswith("GPU-") and any(
        gpu.uuid is not None and gpu.uuid.startswith(entry) for gpu in gpus.devices
    )


def _effect(visible: int, wrong: str | None, present: int, on_purpose: bool) -> str:
    if on_purpose:
        return f"which hides all {present} GPUs from CUDA"
    lost = f"whose entry `{wrong}` names none of the {present} GPUs"
    return lost + (f": only {visible} remain visible" if visible else ": no GPU is visible")
