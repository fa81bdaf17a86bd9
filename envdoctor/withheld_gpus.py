"""The GPUs that this process is not to use: others were given them, or CUDA_VISIBLE_DEVICES hides
them. Pure."""

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from envdoctor.facts.derived import TracedGpu
from envdoctor.facts.machine import Container, Driver, Environment
from envdoctor.facts.torch import TorchRuntime
from envdoctor.versions import parse_number

HIDES_EVERY_GPU = ("", "-1", "none", "NoDevFiles")
"""Values of CUDA_VISIBLE_DEVICES that are meant to hide every GPU: an entry that names no GPU ends
the list (CUDA C++ Programming Guide, CUDA Environment Variables); the last one is what Slurm sets
for a job without GPUs."""


def gpu_nodes(nodes: Iterable[str]) -> list[str]:
    """The device nodes of GPUs: /dev/nvidia0, /dev/nvidia1 ..."""
    return [node for node in nodes if node.removeprefix("/dev/nvidia").isdecimal()]


def without_those_withheld(
    traced: list[TracedGpu], driver: Driver | None, container: Container | None
) -> list[TracedGpu]:
    """GPUs of other users and other containers: no node, or one that is closed, while this process
    has another GPU."""
    given = [gpu for gpu in traced if gpu.torch_index is not None or gpu.nvml_index is not None]
    if driver is None or not given:
        return traced
    contained = container is not None and container.kind != "none"
    nodes = gpu_nodes(driver.device_nodes)
    fewer = contained and 0 < len(nodes) < len(traced)

    def judged(place: int, gpu: TracedGpu) -> TracedGpu:
        if gpu.torch_index is not None or gpu.nvml_index is not None or gpu.unwanted:
            return gpu
        node = f"/dev/nvidia{place}"
        if node in driver.unusable_nodes:
            return replace(gpu, unwanted=f"`{node}` is closed to this user")
        return replace(gpu, unwanted="it was not given to this container") if fewer else gpu

    return [judged(place, gpu) for place, gpu in enumerate(traced)]


def without_those_hidden(
    traced: list[TracedGpu], environment: Environment | None
) -> list[TracedGpu]:
    value = _visible_devices(environment)
    if value is None:
        return traced
    why = f"CUDA_VISIBLE_DEVICES is `{value}`"
    if value.strip() in HIDES_EVERY_GPU:
        return [replace(gpu, unwanted=gpu.unwanted or why) for gpu in traced]
    chosen = _chosen(traced, value)
    # Where the entries name no GPU, or a MIG slice that no layer shows, none is hidden on purpose.
    if not chosen:
        return traced
    return [
        gpu if place in chosen or gpu.unwanted else replace(gpu, unwanted=why)
        for place, gpu in enumerate(traced)
    ]


def _visible_devices(environment: Environment | None) -> str | None:
    return environment.variables.get("CUDA_VISIBLE_DEVICES") if environment else None


def entries_that_name(value: str, gpus: Sequence[TracedGpu]) -> tuple[list[str], str | None]:
    """The entries of CUDA_VISIBLE_DEVICES that name a GPU, up to the first that names none, and
    that one: CUDA uses no entry after it. Where one is repeated, it uses none at all
    (torch/cuda/__init__.py, `_parse_visible_devices`, which does as CUDA does)."""
    shown: list[str] = []
    # What follows the last comma names nothing, and hides nothing that came before.
    for entry in (one.strip() for one in value.rstrip().removesuffix(",").split(",")):
        if entry in shown:
            return [], entry
        if not _names_one(entry, gpus):
            return shown, entry
        shown.append(entry)
    return shown, None


def _names_one(entry: str, gpus: Sequence[TracedGpu]) -> bool:
    if entry.isdecimal():
        number = parse_number(entry)
        return number is not None and number < len(gpus)
    if entry.startswith("MIG-"):
        return True
    return entry.startswith("GPU-") and any(
        gpu.uuid is None or f"GPU-{bare_uuid(gpu.uuid)}".startswith(entry) for gpu in gpus
    )


def _chosen(traced: Sequence[TracedGpu], value: str) -> set[int]:
    """The places of the GPUs that stay visible. What torch lists is visible for certain: by
    default CUDA counts the fastest GPU first, and only PCI_BUS_ID counts as NVML does."""
    counted = _counted(traced)
    shown, _ = entries_that_name(value, [traced[place] for place in counted])
    if not shown:
        return set()
    seen = {place for place, gpu in enumerate(traced) if gpu.torch_index is not None}
    for place in _places_named(traced, counted, shown):
        if len(seen) < len(shown):
            seen.add(place)
    return seen


def _counted(traced: Sequence[TracedGpu]) -> list[int]:
    """The places of the GPUs that CUDA counts: those that this process may use."""
    return [place for place, gpu in enumerate(traced) if not gpu.unwanted]


def _places_named(
    traced: Sequence[TracedGpu], counted: Sequence[int], shown: Iterable[str]
) -> list[int]:
    """The places of the GPUs that entries of CUDA_VISIBLE_DEVICES name, in their order."""
    return [
        place
        for entry in shown
        for number, place in enumerate(counted)
        if _is_named(entry, number, traced[place])
    ]


def _is_named(entry: str, number: int, gpu: TracedGpu) -> bool:
    if entry.isdecimal():
        return parse_number(entry) == number
    return gpu.uuid is not None and f"GPU-{bare_uuid(gpu.uuid)}".startswith(entry)


def without_other_instances(
    traced: list[TracedGpu], runtime: TorchRuntime | None
) -> list[TracedGpu]:
    """With MIG on, CUDA shows a process one instance alone (NVIDIA MIG User Guide, CUDA device
    enumeration): beside it, other GPUs in MIG mode are not lost."""
    if not any(" MIG " in f" {device.name} " for device in (runtime.devices if runtime else ())):
        return traced
    return [
        replace(gpu, unwanted="CUDA shows a process one MIG instance, which is of another GPU")
        if gpu.mig_mode and gpu.torch_index is None and not gpu.unwanted
        else gpu
        for gpu in traced
    ]


def as_named(traced: Sequence[TracedGpu], environment: Environment | None) -> list[int]:
    """The places of the GPUs: first those that CUDA_VISIBLE_DEVICES names, in its order."""
    value = _visible_devices(environment) or ""
    counted = _counted(traced)
    shown, _ = entries_that_name(value, [traced[place] for place in counted])
    return list(dict.fromkeys([*_places_named(traced, counted, shown), *range(len(traced))]))


def bare_uuid(uuid: str | None) -> str | None:
    """NVML writes `GPU-` before the UUID, torch does not."""
    return uuid.removeprefix("GPU-") if uuid else None
