"""Whether CUDA starts on this driver: cuInit without torch, libcuda, and which GPUs it may see."""

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
    Layer,
    Safety,
    Severity,
    TorchBuild,
    check,
)

DRIVER_LIB_MISMATCH = Code(
    id="ED203",
    name="driver-lib-mismatch",
    family="driver-lib-mismatch-803",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.CUDA_INIT,
    breaks="compute:gpu",
    message="libcuda does not fit the loaded kernel driver (CUDA error 803)",
)
FORWARD_COMPAT = Code(
    id="ED204",
    name="forward-compat",
    family="forward-compat-804",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.CUDA_INIT,
    breaks="compute:gpu",
    message="a forward-compatibility libcuda is loaded, and this GPU does not support it "
    "(CUDA error 804)",
)
FABRIC_MANAGER = Code(
    id="ED205",
    name="fabric-manager",
    family="fabric-manager-802",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.CUDA_INIT,
    breaks="compute:gpu",
    message="CUDA says that the system is not yet initialised (error 802)",
)
CUDA_UNKNOWN_UVM = Code(
    id="ED206",
    name="cuda-unknown-uvm",
    family="cuda-unknown-uvm",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.CUDA_INIT,
    breaks="compute:gpu",
    message="CUDA does not start (error 999, unknown error)",
    detailed="CUDA does not start (error 999, unknown error){uvm}",
)
CUDA_VISIBLE_DEVICES = Code(
    id="ED210",
    name="cuda-visible-devices",
    family="cuda-visible-devices",
    severity=Severity.WARNING,
    topic="driver",
    layer=Layer.CUDA_INIT,
    breaks="compute:gpu",
    message="CUDA_VISIBLE_DEVICES hides GPUs or names none",
    detailed="CUDA_VISIBLE_DEVICES is `{value}`, {effect}",
)
DRIVER_WITHOUT_LIBCUDA = Code(
    id="ED211",
    name="driver-without-libcuda",
    family="libcuda-missing",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.CUDA_INIT,
    breaks="compute:gpu",
    message="the kernel driver is loaded, but libcuda.so.1 cannot be found",
    detailed="the kernel driver{release} is loaded, but libcuda.so.1 cannot be found",
    explains=("ED302",),
)
CUDA_INIT_FAILED = Code(
    id="ED212",
    name="cuda-init-failed",
    family="cuda-init-failed",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.CUDA_INIT,
    breaks="compute:gpu",
    message="CUDA does not start",
    detailed="CUDA does not start: {status} ({code}), {text}",
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
