"""What follows from the facts and is worked out anew at each reading; never stored as observed."""

from typing import Literal

from envdoctor.facts.base import Fact
from envdoctor.record import Record

__all__ = ["DriverRelease", "GpuTrace", "TracedGpu", "Wanted"]


class DriverRelease(Fact):
    """The release of the NVIDIA driver, from whichever source knows it.

    `release` is that of the driver that is loaded, null where none is or none says it;
    `libraries` that of its user-space libraries, by their file names. `windows` says that the
    numbers are those of Windows drivers, which WSL uses. `cuda` is the newest CUDA that the driver
    offers by itself, without forward compatibility.
    """

    release: str | None
    source: str = ""
    libraries: str | None = None
    windows: bool = False
    cuda: str | None = None


class TracedGpu(Record):
    """One GPU, followed from the bus to torch.

    `subject` names it in findings and outcomes: `gpu:` and NVML's index, torch's where NVML does
    not list it, else the PCI address. `nvml_error` is what NVML said when asked for it.
    `unwanted` says why this process is not to use it (hidden, not granted, held by vfio-pci, served
    by no torch), empty for a GPU that it may use. `unserved` says why the driver does not list it
    although it is in order (its branch, or the flavour of the module), empty for others.
    """

    subject: str
    name: str | None = None
    compute_capability: str | None = None
    architecture: str | None = None
    pci_address: str | None = None
    device_id: str | None = None
    kernel_driver: str | None = None
    nvml_index: int | None = None
    nvml_error: str | None = None
    uuid: str | None = None
    mig_mode: bool | None = None
    torch_index: int | None = None
    unwanted: str = ""
    unserved: str = ""

    @property
    def described(self) -> str:
        """The name of the GPU, or what stands in for it."""
        return self.name or (f"NVIDIA device {self.device_id}" if self.device_id else self.subject)


class GpuTrace(Fact):
    """Every NVIDIA GPU through the layers, and how many each layer shows; null is not known.

    `bus`: display and 3D controllers of NVIDIA on the PCI bus. `driver`: those that the kernel
    driver holds. `nvml`, `cuda` (cuInit's count) and `torch`: those listed there. `visible`:
    those that this process may use. `lost_at` is the first layer that lists fewer GPUs than this
    process may use, null where none does or none could be asked.
    """

    gpus: tuple[TracedGpu, ...]
    bus: int | None = None
    driver: int | None = None
    nvml: int | None = None
    cuda: int | None = None
    torch: int | None = None
    lost_at: Literal["driver", "nvml", "cuda", "torch"] | None = None

    @property
    def visible(self) -> tuple[TracedGpu, ...]:
        """The GPUs that this process may use."""
        return tuple(gpu for gpu in self.gpus if not gpu.unwanted)

    def of_torch(self, index: int) -> TracedGpu | None:
        """The GPU that torch calls `cuda:<index>`."""
        return next((gpu for gpu in self.gpus if gpu.torch_index == index), None)

    def subject_of(self, device: str) -> str:
        """What torch calls `cuda:0`, as findings and outcomes call it; any other as it is."""
        if not device.startswith("cuda:"):
            return device
        found = (gpu.subject for gpu in self.gpus if device == f"cuda:{gpu.torch_index}")
        return next(found, f"gpu:{device}")

    def of_nvml(self, index: int) -> TracedGpu | None:
        """The GPU that NVML and nvidia-smi call `<index>`."""
        return next((gpu for gpu in self.gpus if gpu.nvml_index == index), None)


class Wanted(Fact):
    """Whether torch is wanted to compute on a GPU here, by all signs together.

    `gpu`: yes; no; elsewhere (a build for GPUs where none is present or granted: an image that is
    built, a login node); unknown (it could not be found out). `because` is the sign that decided.
    """

    gpu: Literal["yes", "no", "elsewhere", "unknown"]
    because: str
