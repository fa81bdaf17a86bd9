"""The NVIDIA driver of two machines: what it runs, and what there is of it."""

from collections.abc import Iterator
from typing import Any

from envdoctor.compare.gpus import GPUS, lacks_gpus, models_differ
from envdoctor.compare.pair import Examined, Found, Pair, swap_all, swap_fields
from envdoctor.compare.records import Difference, Weight
from envdoctor.facts.machine import Container, CudaInit, Driver, Host, Nvml
from envdoctor.findings import Layer
from envdoctor.gpus import library_release
from envdoctor.knowledge import Knowledge
from envdoctor.knowledge.drivers import driver_runs
from envdoctor.withheld_gpus import gpu_nodes

_GPU = ("compute:gpu",)


def differences(pair: Pair) -> Iterator[Found]:
    """Its release, its libraries, its modules and nodes."""
    yield from _release(pair)
    yield from _user_space(pair)
    yield from _parts(pair)


def _release(pair: Pair) -> Iterator[Found]:
    first, second = (side.report.stack.driver_release for side in (pair.first, pair.second))
    if first is None or second is None or first == second:
        return
    weight, note = _what_they_run(pair, first, second)
    yield Found(
        difference=Difference(
            part="driver",
            name="driver release",
            sentence=f"driver {pair.each(first, second)}{note}",
            first=first,
            second=second,
            weight=weight,
            layer=Layer.KERNEL_MODULE,
            can_break=_GPU,
        ),
        swap=swap_all(
            swap_fields(Driver, "release", "release_source", "cuda", "libcuda_files"),
            swap_fields(Nvml, "driver_release", "driver_cuda"),
            swap_fields(CudaInit, "driver_cuda", "library"),
        ),
    )


def _what_they_run(pair: Pair, first: str, second: str) -> tuple[Weight, str]:
    """By the floors that NVIDIA publishes for each CUDA (drivers.json, minor-version
    compatibility)."""
    releases = (pair.first, first), (pair.second, second)
    cudas = _cuda(pair.first), _cuda(pair.second)
    wanted = [one for one in dict.fromkeys(cudas) if one]
    if not wanted:
        return "little", ""
    runs = {cuda: [_runs_cuda(pair, *one, cuda) for one in releases] for cuda in wanted}
    for cuda, answers in runs.items():
        if answers[0] is not answers[1] and None not in answers:
            able, unable = (pair.names.at_first, pair.names.at_second)[:: 1 if answers[0] else -1]
            lacking = pair.second if answers[0] else pair.first
            floor = _floor(cuda, pair.knowledge, _os(lacking))
            needs = f": {_tag(cuda)} needs {floor}, which only the driver {able} reaches"
            if cuda == _cuda(lacking) and _computes(lacking):
                return "matters", f"{needs}; it works {unable} all the same"
            return "stops", needs
    if all(all(answers) for answers in runs.values()):
        tags = " and ".join(
            f"{_tag(cuda)} (from {_floor(cuda, pair.knowledge, _os(pair.first))})"
            for cuda in wanted
        )
        return "little", f": both run {tags}"
    if all(False in answers for answers in runs.values()):
        floor = _floor(wanted[0], pair.knowledge, _os(pair.first))
        return "stops", f": {_tag(wanted[0])} needs {floor}, which neither reaches"
    return "matters", ""


def _runs_cuda(pair: Pair, side: Examined, release: str, cuda: str) -> bool | None:
    return driver_runs(release, cuda, pair.knowledge, os=_os(side))


def _os(side: Examined) -> str:
    """WSL has the drivers of Windows, which are numbered otherwise."""
    container, host = side.value(Container), side.value(Host)
    in_wsl = container is not None and container.wsl is not None
    words = f"{host.os} {host.kernel}".lower() if host else ""
    return "windows" if in_wsl or "windows" in words or "microsoft" in words else "linux"


def _computes(side: Examined) -> bool:
    """Whether a GPU was seen to compute, as it can with a driver that is too old by itself
    (forward compatibility)."""
    seen = [one for one in side.report.outcomes if one.id.startswith("compute:gpu")]
    return any(one.state == "works" for one in seen)


def _cuda(side: Examined) -> str | None:
    return side.report.stack.torch_cuda


def _tag(cuda: str) -> str:
    return "cu" + "".join(cuda.split(".")[:2])


def _floor(cuda: str, knowledge: Knowledge, os: str) -> str:
    floor = knowledge.driver_floor(cuda)
    if floor is None:
        return "a newer driver"
    return floor.min_release_windows if os == "windows" else floor.min_release_linux


def _user_space(pair: Pair) -> Iterator[Found]:
    """Libraries of another release than the kernel's module, on one side alone."""
    sides = pair.first, pair.second
    apart = [_apart(side) for side in sides]
    if bool(apart[0]) == bool(apart[1]):
        return
    at = pair.names.at_first if apart[0] else pair.names.at_second
    yield Found(
        difference=Difference(
            part="driver",
            name="driver libraries",
            sentence=f"the driver's libraries are {apart[0] or apart[1]}, {at} alone",
            first=apart[0],
            second=apart[1],
            weight="stops",
            layer=Layer.NVML,
            can_break=_GPU,
        ),
        swap=swap_all(
            swap_fields(Nvml), swap_fields(CudaInit), swap_fields(Driver, "release", "cuda")
        ),
    )


def _apart(side: Examined) -> str | None:
    """`550.54.14 beside a kernel module 570.195.03`; null where they are of one release."""
    libraries = library_release(side.value(Nvml), side.value(CudaInit))
    driver = side.value(Driver)
    release = driver.release if driver else None
    if libraries is None or release is None or libraries == release:
        return None
    return f"{libraries} beside a kernel module {release}"


def _parts(pair: Pair) -> Iterator[Found]:
    """The kernel's side of the driver: loaded, its modules and nodes."""
    both = pair.both(Driver)
    if both is None or True in pair.is_partial:
        return
    first, second = both
    if first.loaded != second.loaded:
        sentence = f"the NVIDIA driver {pair.only(first.loaded, 'is loaded')}"
        yield _driver(pair, "driver loaded", sentence, first.loaded, second.loaded)
        return
    yield from _members(pair, first, second)
    if first.nouveau_loaded != second.nouveau_loaded:
        sentence = f"nouveau {pair.only(first.nouveau_loaded, 'is loaded')}"
        yield _driver(pair, "nouveau_loaded", sentence, first.nouveau_loaded, second.nouveau_loaded)
    if first.flavor != second.flavor and first.flavor and second.flavor:
        sentence = f"the kernel modules are {pair.each(first.flavor, second.flavor)}"
        yield _driver(pair, "flavor", sentence, first.flavor, second.flavor)
    if bool(first.libcuda_files) != bool(second.libcuda_files):
        sentence = f"libcuda.so.1 of the driver {pair.only(bool(first.libcuda_files))}"
        yield _driver(
            pair,
            "libcuda_files",
            sentence,
            first.libcuda_files,
            second.libcuda_files,
            "libcuda.so.1",
        )


_MEMBERS = (
    ("modules", "kernel module", "is loaded"),
    ("device_nodes", "device node", "is"),
    ("unusable_nodes", "device node", "is closed to this user"),
)


def _members(pair: Pair, first: Driver, second: Driver) -> Iterator[Found]:
    """Modules and nodes that one side alone has; nodes of GPUs where the GPUs are the same."""
    for field, what, verb in _MEMBERS:
        sides = set(getattr(first, field)), set(getattr(second, field))
        if field == "device_nodes" and models_differ(pair):
            sides = tuple(side - set(gpu_nodes(side)) for side in sides)  # type: ignore[assignment]
        for on_first, names in ((True, sides[0] - sides[1]), (False, sides[1] - sides[0])):
            if names:
                several = "s" if len(names) > 1 else ""
                told = ", ".join(sorted(names))
                verbs = verb.replace("is", "are", 1) if several else verb
                yield _driver(
                    pair,
                    field,
                    f"{what}{several} {told} {pair.only(on_first, verbs)}",
                    told if on_first else None,
                    None if on_first else told,
                    *(name for name in names if name != "nvidia"),
                )


def _driver(pair: Pair, name: str, sentence: str, first: Any, second: Any, *words: str) -> Found:
    nodes = name in ("device_nodes", "unusable_nodes")
    whole = name == "driver loaded"
    values = [None if one in (None, ()) else str(one) for one in (first, second)]
    return Found(
        difference=Difference(
            part="driver",
            name=name,
            sentence=sentence,
            first=values[0],
            second=values[1],
            weight="matters" if name == "flavor" else "stops",
            layer=Layer.DEVICE_NODES if nodes else Layer.KERNEL_MODULE,
            can_break=_GPU,
            follows=GPUS if whole and lacks_gpus(pair) else "",
        ),
        swap=swap_fields(Driver) if whole else swap_fields(Driver, name),
        words=words,
    )
