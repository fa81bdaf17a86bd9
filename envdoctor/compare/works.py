"""What works on one side and fails on the other, as it was seen: consequences, not causes."""

from collections.abc import Iterator

from envdoctor.compare.gpus import GPUS, lacks_gpus
from envdoctor.compare.pair import Examined, Found, Pair, swap_fields
from envdoctor.compare.records import Difference
from envdoctor.facts import Fact
from envdoctor.facts.machine import CudaInit, Nvml
from envdoctor.facts.python import Distributions, Target
from envdoctor.facts.torch import TorchAbsent, TorchImport, TorchRuntime
from envdoctor.findings import Layer
from envdoctor.outcomes import Outcome

_LAYERS = {"import": Layer.IMPORT, "compute": Layer.FIRST_USE, "start": Layer.CUDA_INIT}
_GPUS = "compute:gpu"


def differences(pair: Pair) -> Iterator[Found]:
    """Each outcome that is seen to work on one side alone, and what the driver answers."""
    first, second = _states(pair.first), _states(pair.second)
    for id_ in first:
        if id_ in second and {first[id_].state, second[id_].state} == {"works", "fails"}:
            yield _outcome(pair, id_, first[id_], second[id_])
    yield from _statuses(pair)
    yield from _endings(pair)
    yield from _targets(pair)


def _states(side: Examined) -> dict[str, Outcome]:
    """The outcomes by id; of the GPUs one, the worst."""
    found: dict[str, Outcome] = {}
    for one in side.report.outcomes:
        id_ = _GPUS if one.id.startswith(_GPUS) else one.id
        if id_ not in found or one.state == "fails":
            found[id_] = one
    return found


def _outcome(pair: Pair, id_: str, first: Outcome, second: Outcome) -> Found:
    action = _in_words(id_)
    works, fails = pair.names.at_first, pair.names.at_second
    failed = second
    if first.state == "fails":
        works, fails, failed = fails, works, first
    why = f": {failed.detail}" if failed.detail else ""
    return Found(
        difference=Difference(
            part="outcome",
            name=id_,
            sentence=f"{action} works {works} and fails {fails}{why}",
            first=first.state,
            second=second.state,
            weight="stops",
            layer=_LAYERS.get(first.action, Layer.FIRST_USE),
            can_break=(id_,),
            follows="torch" if id_ == "import:torch" and _one_has_none(pair) else "",
        ),
        words=(id_,),
    )


def _one_has_none(pair: Pair) -> bool:
    """Whether one side has no torch at all: then it is clear that its import fails."""
    absent = (side.value(TorchAbsent) for side in (pair.first, pair.second))
    return any(one is not None and one.absent for one in absent)


def _in_words(id_: str) -> str:
    action, _, subject = id_.partition(":")
    if action == "import":
        return f"`import {subject}`"
    if action == "compute":
        return "computing on the GPU" if subject.startswith("gpu") else "computing on the CPU"
    return f"{action} {subject}".strip()


def _statuses(pair: Pair) -> Iterator[Found]:
    nvml, init = pair.both(Nvml), pair.both(CudaInit)
    asked: list[tuple[str, Layer, type[Fact], list[str]]] = []
    if nvml:
        asked.append(("NVML", Layer.NVML, Nvml, [one.status for one in nvml]))
    if init:
        asked.append(("cuInit", Layer.CUDA_INIT, CudaInit, [one.status for one in init]))
    for call, layer, kind, (first, second) in asked:
        if first == second:
            continue
        yield Found(
            difference=Difference(
                part="outcome",
                name=f"{call} status",
                sentence=f"{call} answers {pair.each(f'`{first}`', f'`{second}`')}",
                first=first,
                second=second,
                weight="matters",
                layer=layer,
                can_break=(_GPUS,),
                follows=GPUS if lacks_gpus(pair) else "",
            ),
            swap=swap_fields(kind),
        )


def _outcomes(pair: Pair) -> Iterator[Outcome]:
    yield from pair.first.report.outcomes
    yield from pair.second.report.outcomes


_ERRORS = (
    ("numpy_error", "turning tensors into NumPy arrays", "compute:cpu"),
    ("cudnn_error", "cuDNN", _GPUS),
    ("cuda_error", "CUDA in torch", _GPUS),
)


def _endings(pair: Pair) -> Iterator[Found]:
    """What else torch ran into: errors beside the outcomes, and how the interpreter ended."""
    runtimes = pair.both(TorchRuntime)
    for field, what, breaks in _ERRORS if runtimes else ():
        assert runtimes is not None
        first, second = ((getattr(one, field) or "").strip() for one in runtimes)
        if bool(first) != bool(second):
            error = (first or second).splitlines()[0]
            failing = pair.first if first else pair.second
            if any(error in outcome.detail for outcome in _outcomes(pair)):
                continue
            if field == "cuda_error" and not failing.report.stack.gpus:
                # Without a GPU it is no fault.
                continue
            at = pair.names.at_first if first else pair.names.at_second
            yield Found(
                difference=Difference(
                    part="outcome",
                    name=field,
                    sentence=f"{what} fails {at} alone: {error}",
                    first=first,
                    second=second,
                    weight="stops",
                    layer=Layer.FIRST_USE,
                    can_break=(breaks,),
                    follows="numpy" if field == "numpy_error" and _lacks_numpy(failing) else "",
                ),
                swap=swap_fields(TorchRuntime, field),
            )
    imports = pair.both(TorchImport)
    if imports is None or None in (ends := [one.exit_outcome for one in imports]):
        return
    if ends[0] != ends[1]:
        first, second = (_ending(one) for one in imports)
        yield Found(
            difference=Difference(
                part="outcome",
                name="exit after torch",
                sentence=f"the end of the interpreter after torch: {pair.each(first, second)}",
                first=first,
                second=second,
                weight="matters",
                layer=Layer.FIRST_USE,
            ),
            swap=swap_fields(TorchImport, "exit_outcome", "exit_detail", "exit_output_tail"),
        )


def _lacks_numpy(side: Examined) -> bool:
    installed = side.value(Distributions)
    return installed is not None and installed.first("numpy") is None


def _ending(imported: TorchImport) -> str:
    return (
        "as it should be"
        if imported.exit_outcome == "ok"
        else (imported.exit_detail or str(imported.exit_outcome))
    )


def _targets(pair: Pair) -> Iterator[Found]:
    both = pair.both(Target)
    if both is None or both[0].problem == both[1].problem:
        return
    words = [_of_target(one) for one in both]
    yield Found(
        difference=Difference(
            part="outcome",
            name="interpreter",
            sentence=f"the interpreter: {pair.each(*words)}",
            first=words[0],
            second=words[1],
            weight="stops",
            layer=Layer.INTERPRETER,
            can_break=("import:torch",),
        ),
        swap=swap_fields(Target, "problem", "detail"),
    )


def _of_target(target: Target) -> str:
    return "it runs" if target.problem is None else target.detail or target.problem


def is_consequence(found: Found) -> bool:
    """Whether it is one of these."""
    return found.difference.part == "outcome"
