"""The NVIDIA GPUs of the machine, followed from the PCI bus through the driver to torch. Pure."""

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Literal

from msgspec.structs import replace

from envdoctor.facts.derived import DriverRelease, GpuTrace, TracedGpu
from envdoctor.facts.machine import (
    Container,
    CudaInit,
    Driver,
    Environment,
    Gpu,
    Gpus,
    Nvml,
    PciDevice,
    PciGpus,
)
from envdoctor.facts.torch import TorchDevice, TorchRuntime
from envdoctor.knowledge import Knowledge
from envdoctor.knowledge.drivers import Flavor, why_unserved
from envdoctor.plugins import derive
from envdoctor.withheld_gpus import (
    as_named,
    bare_uuid,
    gpu_nodes,
    without_other_instances,
    without_those_hidden,
    without_those_withheld,
)

MOST_GPUS = 1024
"""More than any machine has; a larger count is no count."""

_LIBRARY_RELEASE = re.compile(r"\.so\.(\d{3}\.\d+(?:\.\d+)?)$")
_WSL_LIBCUDA = "/usr/lib/wsl/lib/libcuda.so.1"


@derive(DriverRelease)
def driver_release(
    driver: Driver | None, nvml: Nvml | None, init: CudaInit | None, container: Container | None
) -> DriverRelease:
    """The release of the driver: the kernel's own word first, then NVML's."""
    by_kernel = driver.release if driver else None
    by_nvml = nvml.driver_release if nvml else None
    source = (driver.release_source if driver else "") if by_kernel else "NVML" if by_nvml else ""
    return DriverRelease(
        release=by_kernel or by_nvml,
        source=source,
        libraries=library_release(nvml, init),
        windows=container is not None and container.wsl is not None,
        cuda=(nvml.driver_cuda if nvml else None) or _own_cuda(init),
    )


def _own_cuda(init: CudaInit | None) -> str | None:
    if init is None or is_forward_compat(init.library or ""):
        return None
    return init.driver_cuda


def is_forward_compat(path: str) -> bool:
    """Whether a libcuda is that of the package cuda-compat: in the toolkit's folder `compat`, or
    in conda-forge's `cuda-compat`."""
    return "compat/" in path


def library_release(nvml: Nvml | None, init: CudaInit | None) -> str | None:
    """The release of the driver's libraries, by the names of the files that were loaded."""
    paths = (nvml.library if nvml else None, init.library if init else None)
    own = (path for path in paths if path and not is_forward_compat(path))
    found = (_LIBRARY_RELEASE.search(path) for path in own)
    return next((match[1] for match in found if match), None)


def gpu_of_wsl(container: Container | None, driver: Driver | None) -> bool:
    """Whether Windows shows an NVIDIA GPU to this WSL: its device node and NVIDIA's libcuda.

    Windows brings that libcuda only with an NVIDIA driver (CUDA on WSL User Guide).
    """
    if container is None or container.wsl is None or driver is None:
        return False
    # A container has that node only where it was started with a GPU.
    given = container.kind != "none" or _WSL_LIBCUDA in driver.libcuda_files
    return "/dev/dxg" in driver.device_nodes and given


@derive(GpuTrace)
def gpu_trace(
    known: Knowledge,
    pci: PciGpus | None,
    driver: Driver | None,
    nvml: Nvml | None,
    gpus: Gpus | None,
    init: CudaInit | None,
    runtime: TorchRuntime | None,
    environment: Environment | None,
    container: Container | None,
    release: DriverRelease | None,
) -> GpuTrace:
    """Every GPU that any layer shows, what hides it, and where one is lost."""
    traced = [_of_bus(device, known) for device in sorted_by_address(pci)]
    traced = _with_nvml(traced, nvml, gpus)
    traced = _with_torch(traced, runtime, environment)
    if not traced:
        traced = list(_without_a_name(driver, container, init))
    traced = without_those_withheld(traced, driver, container)
    traced = without_those_hidden(traced, environment)
    traced = without_other_instances(traced, runtime)
    traced = [_without_one_unserved(gpu, known) for gpu in traced]
    flavor = driver.flavor if driver else None
    traced = [_as_the_driver_serves(gpu, release, flavor, known) for gpu in traced]
    trace = GpuTrace(
        gpus=_named(traced),
        bus=len(pci.nvidia) if pci else None,
        driver=_held_by_driver(pci),
        nvml=len(gpus.devices) if gpus else None,
        cuda=(init.device_count or 0) if init and init.code is not None else None,
        torch=runtime.device_count if runtime else None,
    )
    return replace(trace, lost_at=_lost_at(trace))


_VGPU = re.compile(r"^GRID |-[0-9]{1,3}[ABCQ]$")
"""Names of slices that a hypervisor gives: GRID T4-16Q, NVIDIA A40-48Q, A100-1-5C (NVIDIA vGPU
software, Virtual GPU Types)."""


def is_vgpu(name: str) -> bool:
    """Whether that is the name of a virtual GPU."""
    return _VGPU.search(name) is not None


# --- from the bus upwards ---


def sorted_by_address(pci: PciGpus | None) -> list[PciDevice]:
    """NVIDIA's devices in the order in which NVML numbers them."""
    return sorted(pci.nvidia, key=lambda device: device.address) if pci else []


def _of_bus(device: PciDevice, known: Knowledge) -> TracedGpu:
    chip = known.chip(device.device_id)
    return TracedGpu(
        subject="",
        compute_capability=chip.compute_capability if chip else None,
        architecture=chip.architecture if chip else None,
        pci_address=device.address,
        device_id=device.device_id,
        kernel_driver=device.driver,
        unwanted="vfio-pci holds it for a virtual machine" if device.driver == "vfio-pci" else "",
    )


def _held_by_driver(pci: PciGpus | None) -> int | None:
    return sum(device.driver == "nvidia" for device in pci.nvidia) if pci else None


def _with_nvml(traced: list[TracedGpu], nvml: Nvml | None, gpus: Gpus | None) -> list[TracedGpu]:
    for gpu in gpus.devices if gpus else ():
        place = _place_of_nvml(traced, gpu)
        found = traced[place] if place is not None else TracedGpu(subject="")
        told = replace(
            found,
            nvml_index=gpu.index,
            name=gpu.name,
            uuid=gpu.uuid,
            mig_mode=gpu.mig_mode,
            compute_capability=_capability(gpu.compute_capability) or found.compute_capability,
        )
        traced = _put(traced, place, told)
    for silent in sorted(nvml.unanswered if nvml else (), key=lambda one: one.index):
        place = _place_of_silent(traced, silent.index)
        found = traced[place] if place is not None else TracedGpu(subject="")
        traced = _put(traced, place, replace(found, nvml_error=silent.error))
    return traced


def _place_of_nvml(traced: Sequence[TracedGpu], gpu: Gpu) -> int | None:
    """By the PCI address; NVML numbers in the order of the bus where it does not say one."""
    if gpu.pci_address is not None:
        address = sysfs_address(gpu.pci_address)
        places = (i for i, one in enumerate(traced) if one.pci_address == address)
        return next(places, None)
    held = _held(traced)
    place = held[gpu.index] if gpu.index < len(held) else None
    return place if place is not None and traced[place].nvml_index is None else None


def _place_of_silent(traced: Sequence[TracedGpu], index: int) -> int | None:
    """The first GPU that has no number yet, after those that NVML numbers lower."""
    lower = (
        i for i, gpu in enumerate(traced) if gpu.nvml_index is not None and gpu.nvml_index < index
    )
    after = max(lower, default=-1)
    free = (
        i for i in _held(traced) if traced[i].nvml_index is None and traced[i].nvml_error is None
    )
    return next((i for i in free if i > after), None)


def _held(traced: Sequence[TracedGpu]) -> list[int]:
    """The places of the GPUs that NVML counts: those that NVIDIA's driver holds, as far as the
    bus says who holds them."""
    held = [i for i, gpu in enumerate(traced) if gpu.kernel_driver == "nvidia"]
    return held or [i for i, gpu in enumerate(traced) if not gpu.unwanted]


def sysfs_address(pci_address: str) -> str:
    """NVML writes the PCI domain with eight digits, sysfs with four, in lower case."""
    return pci_address.lower()[-len("0000:00:00.0") :]


def _put(traced: list[TracedGpu], place: int | None, gpu: TracedGpu) -> list[TracedGpu]:
    if place is None:
        return [*traced, gpu]
    return [*traced[:place], gpu, *traced[place + 1 :]]


def _with_torch(
    traced: list[TracedGpu], runtime: TorchRuntime | None, environment: Environment | None
) -> list[TracedGpu]:
    order = as_named(traced, environment)
    for device in runtime.devices if runtime else ():
        free = [i for i in order if traced[i].torch_index is None and not traced[i].unwanted]
        place = _place_of_torch(traced, free, device)
        found = traced[place] if place is not None else TracedGpu(subject="")
        told = replace(
            found,
            torch_index=device.index,
            name=found.name or device.name,
            uuid=found.uuid or device.uuid,
            compute_capability=_capability(device.compute_capability),
        )
        traced = _put(traced, place, told)
    for index in _not_described(runtime):
        free = [i for i in order if traced[i].torch_index is None and not traced[i].unwanted]
        place = next(iter(free), None)
        found = traced[place] if place is not None else TracedGpu(subject="")
        traced = _put(traced, place, replace(found, torch_index=index))
    return traced


def _capability(stated: str | None) -> str | None:
    """A compute capability, as 8.6; null for whatever else a driver says."""
    return stated if stated and re.fullmatch(r"[0-9]{1,3}\.[0-9]", stated) else None


def _not_described(runtime: TorchRuntime | None) -> list[int]:
    """What torch counts and says nothing else of."""
    if runtime is None:
        return []
    described = {device.index for device in runtime.devices}
    counted = min(runtime.device_count, MOST_GPUS)
    return [index for index in range(counted) if index not in described]


def _place_of_torch(
    traced: Sequence[TracedGpu], free: Sequence[int], device: TorchDevice
) -> int | None:
    """By the UUID, the name, then the compute capability: torch counts in an order of its own."""

    def first(same: Callable[[TracedGpu], bool]) -> int | None:
        return next((i for i in free if same(traced[i])), None)

    # A slice is of a GPU in MIG mode, and a whole GPU of no such one.
    is_slice = " MIG " in f" {device.name} "
    free = [i for i in free if bool(traced[i].mig_mode) == is_slice] or free
    capability = device.compute_capability
    by_uuid = first(lambda gpu: bool(device.uuid) and bare_uuid(gpu.uuid) == bare_uuid(device.uuid))
    by_name = first(lambda gpu: gpu.name is not None and _same_name(gpu.name, device.name))
    by_chip = first(lambda gpu: gpu.name is None and gpu.compute_capability in (None, capability))
    # CUDA runs on GPUs of the driver alone, so another name is not another GPU.
    by_capability = first(lambda gpu: gpu.compute_capability == capability)
    places = (by_uuid, by_name, by_chip, by_capability)
    return next((place for place in places if place is not None), None)


def _same_name(nvml: str, torch: str) -> bool:
    """Equal but for what one of them adds: `Orin (nvgpu)`, `A100-SXM4-40GB MIG 1g.5gb`."""
    return nvml.startswith(torch) or torch.startswith(nvml)


def _without_a_name(
    driver: Driver | None, container: Container | None, init: CudaInit | None
) -> Iterator[TracedGpu]:
    """GPUs that neither the bus nor NVML nor torch shows, but whose device nodes are there, or
    which cuInit counts: a Jetson before JetPack 6 has neither NVML nor a module `nvidia`."""
    if gpu_of_wsl(container, driver):
        yield TracedGpu(subject="", name="the GPU that Windows shows", nvml_index=None)
        return
    # gVisor shows no module. On a host the nodes outlive the driver, in a container they are given.
    contained = container is not None and container.kind != "none"
    nodes = gpu_nodes(driver.device_nodes) if driver and (driver.loaded or contained) else ()
    for _ in nodes:
        yield TracedGpu(subject="", kernel_driver="nvidia")
    if not nodes and init is not None and init.code == 0:
        for _ in range(min(init.device_count or 0, MOST_GPUS)):
            yield TracedGpu(subject="", kernel_driver="nvidia")


# --- what no driver and no torch serves ---


def _as_the_driver_serves(
    gpu: TracedGpu, release: DriverRelease | None, flavor: Flavor | None, known: Knowledge
) -> TracedGpu:
    listed = gpu.nvml_index is not None or gpu.torch_index is not None or gpu.nvml_error
    if listed or gpu.unwanted or gpu.compute_capability is None:
        return gpu
    if release is None or release.windows:
        return gpu
    installed = release.release or release.libraries
    return replace(gpu, unserved=why_unserved(installed, flavor, gpu.compute_capability, known))


def _without_one_unserved(gpu: TracedGpu, known: Knowledge) -> TracedGpu:
    capability = gpu.compute_capability
    if gpu.unwanted or capability is None or gpu.torch_index is not None:
        return gpu
    if known.served_by_some_torch(capability) is not False:
        return gpu
    return replace(gpu, unwanted=f"no torch was published for compute capability {capability}")


# --- names, and where one is lost ---


def _named(traced: Sequence[TracedGpu]) -> tuple[TracedGpu, ...]:
    """Each GPU with the subject by which findings and outcomes call it."""
    by_nvml = any(gpu.nvml_index is not None for gpu in traced)
    numbers = [_number(gpu, by_nvml) for gpu in traced]
    free = (str(one) for one in count() if str(one) not in numbers)
    return tuple(
        replace(gpu, subject=f"gpu:{number or next(free)}")
        for gpu, number in zip(traced, numbers, strict=True)
    )


def _number(gpu: TracedGpu, by_nvml: bool) -> str | None:
    """What NVML or torch calls it, else its address; None where nothing does."""
    if gpu.nvml_index is not None:
        return str(gpu.nvml_index)
    if gpu.torch_index is not None:
        return f"cuda:{gpu.torch_index}" if by_nvml else str(gpu.torch_index)
    return gpu.pci_address


def _lost_at(trace: GpuTrace) -> Literal["driver", "nvml", "cuda", "torch"] | None:
    visible = trace.visible
    if any(gpu.pci_address and gpu.kernel_driver != "nvidia" for gpu in visible):
        return "driver"
    if trace.nvml is not None and any(gpu.nvml_index is None for gpu in visible):
        return "nvml"
    shown = _shown_at_once(visible)
    if trace.cuda is not None and trace.cuda < shown:
        return "cuda"
    if trace.torch is not None and trace.torch < shown:
        return "torch"
    return None


def _shown_at_once(visible: Sequence[TracedGpu]) -> int:
    """How many of these GPUs CUDA shows one process: of all in MIG mode one instance."""
    whole = sum(not gpu.mig_mode for gpu in visible)
    return whole + (whole < len(visible))
