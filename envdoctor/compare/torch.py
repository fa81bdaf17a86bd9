"""The builds of torch, and the libraries that each brings with it."""

from collections.abc import Iterator

from envdoctor.compare.packages import swap_package
from envdoctor.compare.pair import Examined, Found, Pair, Swap, swap_all, swap_fields
from envdoctor.compare.records import Difference, Weight
from envdoctor.facts.torch import CudaComponents, TorchAbsent, TorchBuild, TorchImport, TorchRuntime
from envdoctor.findings import Layer
from envdoctor.versions import decode_cuda, decode_cudnn, parse_version

TORCH = "torch"
_ALL = ("import:torch", "compute")


def differences(pair: Pair) -> Iterator[Found]:
    """Which torch it is, for which GPUs it was compiled, and what it runs with."""
    builds = [_build(side) for side in (pair.first, pair.second)]
    if None in builds:
        return
    if builds[0] != builds[1]:
        yield _another_build(pair, str(builds[0]), str(builds[1]))
        return
    yield from _same_release(pair)
    yield from _running_with(pair)


def build_of(side: Examined) -> str | None:
    """`torch 2.6.0+cu124`, by what runs or else by what lies on disk; null where nobody knows."""
    stack, build = side.report.stack, side.value(TorchBuild)
    version = stack.torch_version
    if version is None:
        return None
    if "+" in version:
        return version
    hip = build.hip if build else None
    kind = f"CUDA {stack.torch_cuda}" if stack.torch_cuda else f"ROCm {hip}" if hip else "no CUDA"
    return f"{version} ({kind})"


def _build(side: Examined) -> str | None:
    absent = side.value(TorchAbsent)
    found = build_of(side)
    return "none" if found is None and absent and absent.absent else found


def _another_build(pair: Pair, first: str, second: str) -> Found:
    kinds = {_kind(side) for side in (pair.first, pair.second)}
    gone = "none" in (first, second)
    alike = _release_of_both(pair)
    sentence = f"torch {pair.each(first, second)}"
    if alike is not None:
        # As of conda, a wheel and a source: their names alone would look like one build.
        versions = (str(side.report.stack.torch_version) for side in (pair.first, pair.second))
        sentence = f"torch {alike} is another build: {pair.each(*versions)}"
    weight: Weight = "stops" if gone or len(kinds) > 1 else "matters"
    return Found(
        difference=Difference(
            part="torch",
            name=TORCH,
            sentence=sentence,
            first=None if first == "none" else first,
            second=None if second == "none" else second,
            weight=weight,
            layer=Layer.BUILD,
            can_break=_ALL,
        ),
        swap=_SWAP_TORCH,
        words=(TORCH,) if gone else (),
    )


def _release_of_both(pair: Pair) -> str | None:
    """`2.3.1 with CUDA 12.1` where that is what both are; None where they differ in it."""
    stacks = [side.report.stack for side in (pair.first, pair.second)]
    versions = [parse_version(one.torch_version) for one in stacks]
    told = {
        (version.public if version else None, one.torch_cuda)
        for version, one in zip(versions, stacks, strict=True)
    }
    if len(told) != 1 or None in (*versions, stacks[0].torch_cuda):
        return None
    ((release, cuda),) = told
    return f"{release} with CUDA {cuda}"


def _kind(side: Examined) -> str:
    """For whose GPUs it is built."""
    build = side.value(TorchBuild)
    if side.report.stack.torch_cuda:
        return "CUDA"
    return "ROCm" if build and build.hip else "XPU" if build and "xpu" in build.variant else "CPU"


_SWAP_TORCH: Swap = swap_all(
    swap_fields(TorchAbsent),
    swap_fields(TorchBuild),
    swap_fields(TorchImport, "version"),
    swap_fields(
        TorchRuntime,
        *("version", "cuda", "hip", "arch_list", "cudnn_version", "nccl_version", "cudart_version"),
    ),
    swap_package(TORCH),
)

_FIELDS: tuple[tuple[str, str, Weight, Layer], ...] = (
    ("version", "torch on disk is", "stops", Layer.BUILD),
    ("cuda", "torch is built with CUDA", "stops", Layer.BUILD),
    ("hip", "torch is built with ROCm", "stops", Layer.BUILD),
    ("variant", "the variant of torch is", "matters", Layer.BUILD),
    ("git_version", "torch is built from commit", "matters", Layer.BUILD),
    ("debug", "a debug build of torch:", "matters", Layer.BUILD),
    ("cxx11_abi", "the C++11 ABI of torch:", "stops", Layer.BUILD),
    ("arch_flags", "torch is compiled for", "stops", Layer.BUILD),
    ("fatbin_arch_flags", "libtorch_cuda is compiled for", "stops", Layer.BUILD),
    ("missing_parts", "missing from torch's folder:", "stops", Layer.FILES),
)


_NONE_IS_TOLD = ("cuda", "hip", "missing_parts")
"""Fields of which nothing is an answer; of the others it says that they could not be read."""


def _same_release(pair: Pair) -> Iterator[Found]:
    """Two builds of one version."""
    both = pair.both(TorchBuild)
    if both is None:
        return
    for field, what, weight, layer in _FIELDS:
        first, second = (_shown(getattr(one, field)) for one in both)
        unread = True in pair.is_partial or "" in (first, second)
        if first == second or (unread and field not in _NONE_IS_TOLD):
            continue
        if field == "variant" and (both[0].cuda, both[0].hip) != (both[1].cuda, both[1].hip):
            continue
        values = first or "none", second or "none"
        yield Found(
            difference=Difference(
                part="torch",
                name=field,
                sentence=f"{what} {pair.each(*values)}",
                first=first or None,
                second=second or None,
                weight=weight,
                layer=layer,
                can_break=_ALL,
            ),
            swap=swap_fields(TorchBuild, field),
            words=tuple(_apart(first, second)) if field == "missing_parts" else (),
        )


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(value)
    return "" if value is None else str(value)


def _apart(first: str, second: str) -> set[str]:
    return {one for one in {*first.split(", ")} ^ {*second.split(", ")} if one}


def _running_with(pair: Pair) -> Iterator[Found]:
    """Other releases of CUDA's libraries beside the same torch."""
    names = (("cuDNN", "cudnn"), ("NCCL", "nccl"), ("the CUDA runtime", "cudart"))
    for title, component in names:
        sides = [_version(side, component) for side in (pair.first, pair.second)]
        if None in sides or sides[0] == sides[1]:
            continue
        first, second = (str(one) for one in sides)
        yield Found(
            difference=Difference(
                part="libraries",
                name=component,
                sentence=f"torch runs with {title} {pair.each(first, second)}",
                first=first,
                second=second,
                weight="matters",
                layer=Layer.LIBRARIES,
                can_break=("compute:gpu",) if component != "nccl" else ("distributed",),
            ),
            swap=swap_all(
                swap_fields(TorchRuntime, f"{component}_version"), swap_fields(CudaComponents)
            ),
            words=(title, component),
        )


def _version(side: Examined, component: str) -> str | None:
    """As torch itself says it, or else as the files do, of the first part that tells."""
    runtime, files = side.value(TorchRuntime), side.value(CudaComponents)
    said = {
        "cudnn": decode_cudnn(runtime.cudnn_version) if runtime else None,
        "cudart": decode_cuda(runtime.cudart_version) if runtime else None,
        "nccl": runtime.nccl_version if runtime else None,
    }[component]
    on_disk = files.version(component) if files and runtime is None else None
    return said or on_disk
