"""The NVIDIA GPUs of two machines: which there are, how they are set up, and who shows them."""

from collections import Counter
from collections.abc import Iterable, Iterator

from envdoctor.compare.pair import Examined, Found, Pair, swap_all, swap_fields
from envdoctor.compare.records import Difference, Weight
from envdoctor.facts.machine import Gpu, Gpus, PciGpus
from envdoctor.facts.torch import TorchBuild, TorchRuntime
from envdoctor.findings import Layer
from envdoctor.knowledge import Knowledge
from envdoctor.knowledge.arch import covers

_GPU = ("compute:gpu",)

GPUS = "GPUs"
"""The name of the difference that others follow from."""


def differences(pair: Pair) -> Iterator[Found]:
    """The models, the settings of the same cards, and what the bus shows."""
    yield from _models(pair)
    yield from _settings(pair)
    yield from _bus(pair)


def lacks_gpus(pair: Pair) -> bool:
    """Whether one side alone has no NVIDIA GPU, from which it follows that nothing shows one."""
    both = pair.both(PciGpus)
    return both is not None and bool(both[0].nvidia) != bool(both[1].nvidia)


def _counters(pair: Pair) -> list[Counter[str]]:
    sides = pair.first, pair.second
    return [Counter(gpu.name for gpu in side.report.stack.gpus) for side in sides]


def models_differ(pair: Pair) -> bool:
    """Whether the sides have other GPUs, as far as both tell."""
    sides = pair.first, pair.second
    first, second = _counters(pair)
    return all(_knows_gpus(side) for side in sides) and first != second


def _models(pair: Pair) -> Iterator[Found]:
    if not models_differ(pair):
        return
    first, second = _counters(pair)
    values = _counted(first), _counted(second)
    unshown = [_is_unshown(side) for side in (pair.first, pair.second)]
    if True in unshown:
        yield _not_shown(pair, values, unshown)
        return
    weight, note = _served(pair)
    yield Found(
        difference=Difference(
            part="gpus",
            name=GPUS,
            sentence=f"GPUs: {pair.each(*values)}{note}",
            first=values[0],
            second=values[1],
            weight="matters" if set(first) == set(second) and weight == "little" else weight,
            layer=Layer.BUS,
            can_break=(*_GPU, "speed"),
        ),
        swap=swap_all(
            swap_fields(Gpus),
            swap_fields(PciGpus),
            swap_fields(TorchRuntime, "devices", "device_count"),
        ),
        words=tuple({*first} ^ {*second}),
    )


def _is_unshown(side: Examined) -> bool:
    """Whether the bus has a GPU that neither the driver nor torch shows."""
    pci = side.value(PciGpus)
    return not side.report.stack.gpus and pci is not None and bool(pci.nvidia)


def _not_shown(pair: Pair, values: tuple[str, str], unshown: list[bool]) -> Found:
    """That is no other hardware, but what comes of something else."""
    shown = [
        "none of those on the PCI bus" if hidden else value
        for hidden, value in zip(unshown, values, strict=True)
    ]
    return Found(
        difference=Difference(
            part="outcome",
            name=GPUS,
            sentence=f"GPUs that the driver shows: {pair.each(*shown)}",
            first=values[0],
            second=values[1],
            weight="matters",
            layer=Layer.NVML,
            can_break=_GPU,
        ),
        swap=swap_fields(Gpus),
    )


def _knows_gpus(side: Examined) -> bool:
    """Whether the driver was asked for its GPUs, or the bus shows none."""
    if side.report.stack.gpus or side.value(Gpus) is not None:
        return True
    pci = side.value(PciGpus)
    return pci is not None and not pci.nvidia


def _counted(models: Counter[str]) -> str:
    words = (f"{number} x {name}" if number > 1 else name for name, number in models.items())
    return ", ".join(words) or "none"


def _served(pair: Pair) -> tuple[Weight, str]:
    """Whether each side's torch has code for the GPUs of the other."""
    for side, other, at in (
        (pair.first, pair.second, pair.names.at_first),
        (pair.second, pair.first, pair.names.at_second),
    ):
        flags = _flags(side, pair.knowledge)
        for gpu in (*side.report.stack.gpus, *other.report.stack.gpus):
            capability = gpu.compute_capability or pair.knowledge.capability_named(gpu.name)
            if flags and capability and not _runs(flags, capability, side):
                return "stops", f": the torch {at} has no code for {gpu.name} ({capability})"
    return "matters", ""


def _runs(flags: Iterable[str], capability: str, side: Examined) -> bool:
    stack = side.report.stack
    try:
        return covers(flags, capability, torch=stack.torch_version, cuda=stack.torch_cuda)
    except ValueError:
        return True


def _flags(side: Examined, knowledge: Knowledge) -> tuple[str, ...]:
    """The targets that a build has code for: its own word, else that of the published wheel."""
    build, runtime = side.value(TorchBuild), side.value(TorchRuntime)
    flags = (runtime.arch_list if runtime else ()) or (build.arch_flags if build else ())
    if flags or build is None or build.cuda is None or build.version is None:
        return flags
    variant = knowledge.variant(build.version, build.variant)
    return tuple(variant.arch_flags or ()) if variant else ()


_OF_ONE_CARD = {"index", "name", "uuid", "pci_address", "compute_capability", "refused"}
_STOPPING = {
    "compute_mode": "stops",
    "mig_mode": "stops",
    "mig_pending": "stops",
    "rows_failed": "stops",
    "fabric_state": "stops",
    "fabric_error": "stops",
    "virtualization": "matters",
    "licensed": "stops",
    "power_limit_w": "matters",
    "ecc_mode": "matters",
    "memory_bytes": "matters",
    "pcie_max_generation": "matters",
    "pcie_width": "matters",
}


def _settings(pair: Pair) -> Iterator[Found]:
    """How the same cards are set up."""
    both = pair.both(Gpus)
    if both is None or True in pair.is_partial:
        return
    first, second = (Counter(gpu.name for gpu in one.devices) for one in both)
    if first != second:
        return
    for field in Gpu.__struct_fields__:
        if field in _OF_ONE_CARD or field in Gpu.volatile:
            continue
        values = [sorted(str(getattr(gpu, field)) for gpu in one.devices) for one in both]
        unknown = any(getattr(gpu, field) is None for one in both for gpu in one.devices)
        if values[0] == values[1] or (unknown and not _set_on_one(both, field)):
            continue
        shown = [", ".join(dict.fromkeys(one)) for one in values]
        yield Found(
            difference=Difference(
                part="gpus",
                name=field,
                sentence=f"`{field}` of the GPUs: {pair.each(*shown)}",
                first=shown[0],
                second=shown[1],
                weight=_STOPPING.get(field, "little"),  # type: ignore[arg-type]
                layer=Layer.NVML,
                can_break=(*_GPU, "speed"),
            ),
            swap=swap_fields(Gpus),
            words=(field,),
        )


def _set_on_one(both: tuple[Gpus, Gpus], field: str) -> bool:
    """Whether a mode or an error, of which null is the usual state, is there on one side."""
    return field in (
        "fabric_error",
        "compute_mode",
        "mig_mode",
        "rows_failed",
        "mig_pending",
    ) and any(getattr(gpu, field) not in (None, False) for one in both for gpu in one.devices)


def _bus(pair: Pair) -> Iterator[Found]:
    """What the PCI bus shows, and who holds it: told where the driver does not show the GPUs."""
    both = pair.both(PciGpus)
    if both is None:
        return
    first, second = (
        Counter((one.device_id, one.driver or "no driver") for one in pci.nvidia) for pci in both
    )
    if first == second or (
        pair.both(Gpus) and {one[1] for one in first} == {one[1] for one in second} == {"nvidia"}
    ):
        return
    shown = [_on_bus(one) for one in (first, second)]
    held = {one[1] for one in (*first, *second)} != {"nvidia"}
    yield Found(
        difference=Difference(
            part="gpus",
            name="PCI devices",
            sentence=f"NVIDIA GPUs on the PCI bus: {pair.each(*shown)}",
            first=shown[0],
            second=shown[1],
            weight="stops" if held else "matters",
            layer=Layer.BUS,
            can_break=_GPU,
            follows=GPUS if models_differ(pair) else "",
        ),
        swap=swap_fields(PciGpus),
    )


def _on_bus(devices: Counter[tuple[str, str]]) -> str:
    words = (
        f"{number} x 10de:{device} held by {driver}" for (device, driver), number in devices.items()
    )
    return ", ".join(words) or "none"
