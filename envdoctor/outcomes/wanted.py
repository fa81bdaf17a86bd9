"""Whether a GPU is wanted, by every sign of what was asked for, given, or withheld. Pure."""

from collections.abc import Mapping

from envdoctor.facts.attached import RenderNodes
from envdoctor.facts.derived import GpuTrace, Wanted
from envdoctor.facts.machine import (
    Container,
    Driver,
    Environment,
    Expectation,
    Gpus,
    Nvml,
    PciGpus,
)
from envdoctor.facts.torch import TorchBuild, TorchRuntime
from envdoctor.plugins import derive
from envdoctor.withheld_gpus import HIDES_EVERY_GPU, gpu_nodes


@derive(Wanted)
def wanted_gpu(
    trace: GpuTrace,
    expectation: Expectation | None,
    environment: Environment | None,
    build: TorchBuild | None,
    runtime: TorchRuntime | None,
    driver: Driver | None,
    container: Container | None,
    pci: PciGpus | None,
    gpus: Gpus | None,
    nvml: Nvml | None,
    nodes: RenderNodes | None,
) -> Wanted:
    """Whether torch is wanted to compute on a GPU here, by the first sign that tells."""
    expected = expectation.device if expectation else None
    if expected is not None:
        evidence = expectation.evidence if expectation else ""
        return Wanted(gpu="yes" if expected == "gpu" else "no", because=evidence or "the user")
    backend = backend_of(build, runtime)
    withheld = _withheld(backend, environment, driver, container)
    if withheld:
        return Wanted(gpu="no", because=withheld)
    amd = pci is not None and any(one.vendor_id == AMD for one in pci.devices)
    if trace.visible or (backend == "hip" and amd):
        return _where_one_is_there(backend, trace, driver, container)
    intel = pci is not None and any(one.vendor_id == INTEL for one in pci.devices)
    if backend == "xpu" and intel and nodes is not None and nodes.all_closed:
        return Wanted(gpu="yes", because="a GPU of Intel is here, and closed to this user")
    if backend == "cpu":
        return Wanted(gpu="no", because="torch is a build for the CPU, and no GPU is for it")
    if pci is None and gpus is None and nvml is None:
        return Wanted(gpu="unknown", because="neither the PCI bus nor NVML could be asked for GPUs")
    if backend is None:
        return Wanted(gpu="no", because="no GPU is here")
    return Wanted(gpu="elsewhere", because="torch is a build for GPUs, and none is here")


def _withheld(
    backend: str | None,
    environment: Environment | None,
    driver: Driver | None,
    container: Container | None,
) -> str:
    """What keeps every GPU from this process on purpose; empty where nothing does."""
    variables = environment.variables if environment else {}
    for name in ("CUDA_VISIBLE_DEVICES", *(_OF_ROCM if backend == "hip" else ())):
        if variables.get(name, "0").strip() in HIDES_EVERY_GPU:
            return f"{name} is `{variables[name]}`"
    nodes = gpu_nodes(driver.device_nodes) if driver else []
    open_nodes = [node for node in nodes if driver and node not in driver.unusable_nodes]
    given = variables.get("NVIDIA_VISIBLE_DEVICES") or (
        container.nvidia_visible_devices if container else None
    )
    # With CDI the variable is `void` in a container that has been given GPUs as well.
    if given in ("void", "none") and not nodes:
        return f"NVIDIA_VISIBLE_DEVICES is `{given}`"
    # Slurm closes the nodes by the device cgroup, or shows none (cgroup.conf(5), ConstrainDevices).
    if asked_slurm_for_none(variables) and not open_nodes:
        return "the Slurm job asked for no GPU"
    return ""


def asked_slurm_for_none(variables: Mapping[str, str]) -> bool:
    """Whether this is a job of Slurm that was given no GPU."""
    return "SLURM_JOB_ID" in variables and not any(name in variables for name in _ASKED_OF_SLURM)


AMD = "1002"
"""AMD's vendor id on the PCI bus."""


INTEL = "8086"
"""Intel's."""


_OF_ROCM = ("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
"""What a ROCm build reads beside CUDA_VISIBLE_DEVICES (ROCm documentation, GPU isolation)."""


_ASKED_OF_SLURM = ("SLURM_JOB_GPUS", "SLURM_STEP_GPUS", "SLURM_GPUS", "SLURM_GPUS_ON_NODE")
"""What Slurm sets in a job that was given GPUs (sbatch(1), "OUTPUT ENVIRONMENT VARIABLES")."""


def backend_of(build: TorchBuild | None, runtime: TorchRuntime | None) -> str | None:
    """cuda, hip, xpu or cpu; None where no torch tells."""
    one = runtime or build
    if one is None:
        return None
    variant = build.variant if build else ""
    if one.cuda:
        return "cuda"
    if one.hip:
        return "hip"
    return "xpu" if variant.startswith("xpu") or "+xpu" in (one.version or "") else "cpu"


def _where_one_is_there(
    backend: str | None, trace: GpuTrace, driver: Driver | None, container: Container | None
) -> Wanted:
    contained = container is not None and container.kind != "none"
    reached = any(
        gpu.nvml_index is not None or gpu.torch_index is not None for gpu in trace.visible
    )
    none_given = contained and not reached and driver is not None and not driver.device_nodes
    if backend in ("cpu", None) and none_given:
        return Wanted(gpu="no", because="this container was given no GPU, and torch asks for none")
    return Wanted(gpu="yes", because="a GPU is here")
