"""The GPUs that torch computes on, and what they can do for each other. Pure."""

from envdoctor.api import (
    Environment,
    Gpu,
    Gpus,
    Network,
    Record,
    TorchBuild,
    TorchDevice,
    TorchRuntime,
    parse_number,
)


class UsedGpus(Record):
    """The GPUs that torch computes on, or will once it works; `nvidia` is false for ROCm. `network`
    is null where nobody looked at it, `nodes` says that the job is on several machines, `reach`
    whether any of the machine's GPUs reaches another one's memory, null where the driver does not
    tell."""

    gpus: tuple[Gpu | TorchDevice, ...]
    nvidia: bool = True
    network: Network | None = None
    nodes: bool = False
    reach: bool | None = None


def with_a_gpu(used: UsedGpus) -> bool:
    return bool(used.gpus)


def with_an_nvidia_gpu(used: UsedGpus) -> bool:
    return used.nvidia and bool(used.gpus)


def with_an_amd_gpu(used: UsedGpus) -> bool:
    return not used.nvidia and bool(used.gpus)


def with_tf32(used: UsedGpus) -> bool:
    """Tensor cores do TF32 from compute capability 8.0 on (CUDA C++ programming guide)."""
    return used.nvidia and any(_major(gpu) >= 8 for gpu in used.gpus)


def with_several_gpus(used: UsedGpus) -> bool:
    return len(used.gpus) > 1


def with_peer_gpus(used: UsedGpus) -> bool:
    """GPUs that reach each other's memory. GeForce cards do so only over an NVLink bridge, and
    without one NCCL was seen to hang until the variable is set (NVIDIA/nccl-tests#117)."""
    if used.reach is False:
        return False
    return len(used.gpus) > 1 and not any("GeForce" in gpu.name for gpu in used.gpus)


def with_a_fast_network(used: UsedGpus) -> bool | None:
    """Without a GPU there is nothing that NCCL would send over InfiniBand. RoCE is left aside:
    every Mellanox card for Ethernet shows ports of it, where the switches need not carry it."""
    if used.network is None:
        return None if used.gpus else False
    layers = {port.link_layer for port in used.network.active_ports}
    if not used.gpus or "InfiniBand" not in layers:
        return False
    return True if used.nodes else None


def without_peer_access(used: UsedGpus) -> bool:
    """Several GPUs that exchange data through the memory of the CPU."""
    return len(used.gpus) > 1 and not with_peer_gpus(used)


def _major(gpu: Gpu | TorchDevice) -> int:
    return parse_number((gpu.compute_capability or "").partition(".")[0]) or 0


def used_gpus(
    environment: Environment,
    runtime: TorchRuntime | None,
    build: TorchBuild | None,
    gpus: Gpus | None,
) -> UsedGpus | None:
    """The GPUs that torch computes on, or will once it works; None where that is not known."""
    nvidia = not any(one is not None and one.hip for one in (runtime, build))
    if runtime is not None and runtime.devices:
        return UsedGpus(gpus=runtime.devices, nvidia=nvidia)
    without_gpu = build is not None and build.cuda is None and build.hip is None
    if without_gpu or environment.variables.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return UsedGpus(gpus=())
    if gpus is not None and nvidia:
        return UsedGpus(gpus=gpus.devices)
    return None if runtime is None else UsedGpus(gpus=())
