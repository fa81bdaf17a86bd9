"""Whether GPUs and room are those that a policy asks for. Pure."""

from collections.abc import Iterator, Mapping

import msgspec

from envdoctor.facts import Fact, Snapshot, Unknown
from envdoctor.facts.machine import Gpu, Gpus, Host, Limits, WorkingFolder
from envdoctor.facts.torch import TorchBuild, TorchDevice, TorchRuntime
from envdoctor.findings import Code
from envdoctor.policy.codes import POLICY_GPU, POLICY_SPACE
from envdoctor.policy.installed import holds
from envdoctor.policy.judged import UNTOLD, Judged, Unseen, is_none, rounded_down, violation
from envdoctor.policy.records import PolicyFile

GIB = 2**30


def judge_gpus(held: PolicyFile, snapshot: Snapshot) -> Iterator[Judged]:
    """How many GPUs there are, and each of them."""
    rules = held.policy.gpus
    if rules == type(rules)():
        return
    devices = _devices(snapshot)
    if isinstance(devices, Unknown):
        yield Unseen(what="GPUs", why=devices)
        return
    if rules.min_count is not None and len(devices) < rules.min_count:
        found, wanted = str(len(devices)), f"at least {rules.min_count}"
        what = "the number of GPUs that the driver shows"
        yield violation(held, POLICY_GPU, "gpus.min-count", what, found, wanted)
    for gpu in devices:
        yield from _gpu(held, gpu.index, gpu)


def _devices(snapshot: Snapshot) -> tuple[Gpu | TorchDevice, ...] | Unknown:
    gpus, runtime = snapshot.get(Gpus), snapshot.value(TorchRuntime)
    if not isinstance(gpus, Unknown) and gpus.value.devices:
        return gpus.value.devices
    if runtime is not None and runtime.devices:
        return runtime.devices
    if isinstance(gpus, Unknown) and (not is_none(gpus) or _is_for_torch_to_tell(snapshot)):
        return gpus
    return ()


def _is_for_torch_to_tell(snapshot: Snapshot) -> bool:
    """Whether torch is built for GPUs that no driver of NVIDIA shows, and was not asked."""
    build = snapshot.value(TorchBuild)
    of_others = build is not None and build.variant.startswith(("rocm", "xpu"))
    return of_others and snapshot.value(TorchRuntime) is None


def _gpu(held: PolicyFile, index: int, gpu: Gpu | TorchDevice) -> Iterator[Judged]:
    rules = held.policy.gpus
    name = f"GPU {index}"
    if rules.models and not any(one.lower() in gpu.name.lower() for one in rules.models):
        wanted = " or ".join(rules.models)
        yield violation(held, POLICY_GPU, "gpus.models", name, gpu.name, wanted)
    if rules.min_memory_gib is not None:
        yield from _size(
            held,
            POLICY_GPU,
            "gpus.min-memory-gib",
            f"the memory of {name}",
            # A text of what torch saw of an AMD GPU tells neither: there it is 0, and empty.
            gpu.memory_bytes or None,
            rules.min_memory_gib,
        )
    if rules.compute_capability is not None:
        what, wanted = f"the compute capability of {name}", rules.compute_capability
        if not gpu.compute_capability:
            yield Unseen(what=what, why=UNTOLD)
        elif not holds(gpu.compute_capability, wanted):
            yield violation(
                held, POLICY_GPU, "gpus.compute-capability", what, gpu.compute_capability, wanted
            )


_ROOM: Mapping[str, tuple[type[Fact], str, str]] = {
    "min_memory_gib": (Host, "memory_bytes", "the memory of the machine"),
    "min_free_memory_gib": (Host, "memory_available_bytes", "free memory"),
    "min_free_disk_gib": (WorkingFolder, "free_bytes", "free room on the disk of this folder"),
    "min_shm_gib": (Limits, "shm_bytes", "the size of /dev/shm"),
}
"""By the field: the fact that knows it, its field there, and its name."""


def judge_room(held: PolicyFile, snapshot: Snapshot) -> Iterator[Judged]:
    """Memory and disk."""
    for field in msgspec.structs.fields(held.policy.machine):
        wanted = getattr(held.policy.machine, field.name)
        kind, name, what = _ROOM[field.name]
        fact = snapshot.get(kind)
        if wanted is None:
            continue
        if isinstance(fact, Unknown):
            yield Unseen(what=what, why=fact)
        else:
            key, size = f"machine.{field.encode_name}", getattr(fact.value, name)
            yield from _size(held, POLICY_SPACE, key, what, size, wanted)


def _size(
    held: PolicyFile, code: Code, key: str, what: str, size: int | None, wanted_gib: float
) -> Iterator[Judged]:
    if size is None:
        yield Unseen(what=what, why=UNTOLD)
    elif size < wanted_gib * GIB:
        found, wanted = f"{rounded_down(size / GIB, 100):g} GiB", f"at least {wanted_gib:g} GiB"
        yield violation(held, code, key, what, found, wanted)
