"""Whether what the user had tried works: torch.compile, and building an extension. Pure."""

from collections.abc import Iterator, Mapping

from envdoctor.facts import Reason, Snapshot, Unknown
from envdoctor.facts.attempts import Attempt, CompileAttempts, ExtendAttempts
from envdoctor.facts.derived import GpuTrace
from envdoctor.outcomes.record import Action, Outcome, Wish, unseen

_NOBODY_ASKED = (Reason.NOT_OBSERVED, Reason.SWITCHED_OFF)

TRIED: Mapping[type[CompileAttempts] | type[ExtendAttempts], Action] = {
    CompileAttempts: "compile",
    ExtendAttempts: "extend",
}


def attempted(snapshot: Snapshot) -> Iterator[Outcome]:
    """The outcomes that are looked at where the user asks for it, and only there."""
    for kind, action in TRIED.items():
        fact = snapshot.get(kind)
        if not isinstance(fact, Unknown):
            yield from (_of(one, action, fact.value, snapshot) for one in fact.value.items)
        elif fact.reason is Reason.CRASHED:
            yield Outcome(action=action, state="fails", detail=fact.detail, source=_SOURCES[action])
        elif fact.reason not in _NOBODY_ASKED:
            yield unseen(action, "", fact)


_SOURCES: Mapping[Action, str] = {
    "compile": "torch.compile",
    "extend": "torch.utils.cpp_extension.load_inline",
}


def _of(
    one: Attempt, action: Action, tried: CompileAttempts | ExtendAttempts, snapshot: Snapshot
) -> Outcome:
    return Outcome(
        action=action,
        subject=subject_of(one, snapshot),
        wanted=_wish(one, tried),
        state="works" if one.error is None else "fails",
        detail=one.in_one_line,
        source=_SOURCES[action],
    )


def subject_of(one: Attempt, snapshot: Snapshot) -> str:
    """What an attempt was made on, by the name of the GPU that torch calls `cuda:0`."""
    trace = snapshot.value(GpuTrace)
    if trace is None or not one.on.startswith("cuda:"):
        return one.on
    known = (gpu.subject for gpu in trace.gpus if f"cuda:{gpu.torch_index}" == one.on)
    return next(known, f"gpu:{one.on}")


def _wish(one: Attempt, tried: CompileAttempts | ExtendAttempts) -> Wish:
    """Beside a GPU nobody trains on the CPU, for which torch.compile needs another compiler."""
    beside_a_gpu = one.on == "cpu" and len(tried.items) > 1
    return "optional" if beside_a_gpu else "yes"
