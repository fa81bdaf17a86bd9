"""Whether what the user had tried works: torch.compile, and building an extension. Pure."""

from collections.abc import Iterator, Mapping

from envdoctor.facts import Reason, Snapshot, Unknown
from envdoctor.facts.attempts import Attempt, CompileAttempts, ExtendAttempts
from envdoctor.facts.derived import GpuTrace
from envdoctor.outcomes.record import Action, Outcome, WantedState, unseen

_NOBODY_ASKED = (Reason.NOT_OBSERVED, Reason.SWITCHED_OFF)

TRIED: Mapping[type[CompileAttempts] | type[ExtendAttempts], Action] = {
    CompileAttempts: "compile",
    ExtendAttempts: "extend",
}


def attempted(snapshot: Snapshot) -> Iterator[Outcome]:
    """The outcomes that are looked at where the user asks for it, and only there."""
    trace = snapshot.value(GpuTrace) or GpuTrace(gpus=())
    for kind, action in TRIED.items():
        fact = snapshot.get(kind)
        if not isinstance(fact, Unknown):
            yield from (_of(one, action, fact.value, trace) for one in fact.value.items)
        elif fact.reason is Reason.CRASHED:
            yield Outcome(action=action, state="fails", detail=fact.detail, source=_SOURCES[action])
        elif fact.reason not in _NOBODY_ASKED:
            yield unseen(action, "", fact)


_SOURCES: Mapping[Action, str] = {
    "compile": "torch.compile",
    "extend": "torch.utils.cpp_extension.load_inline",
}


def _of(
    one: Attempt, action: Action, tried: CompileAttempts | ExtendAttempts, trace: GpuTrace
) -> Outcome:
    return Outcome(
        action=action,
        subject=trace.subject_of(one.on),
        wanted=_wanted(one, tried),
        state="works" if one.error is None else "fails",
        detail=one.in_one_line,
        source=_SOURCES[action],
    )


def _wanted(one: Attempt, tried: CompileAttempts | ExtendAttempts) -> WantedState:
    """Beside a GPU nobody trains on the CPU, for which torch.compile needs another compiler; and
    beside a GPU that it serves, an old one that it does not is a choice."""
    others = [other for other in tried.items if other is not one and other.on.startswith("cuda:")]
    if one.on == "cpu":
        return "optional" if others else "yes"
    unserved = _TOO_OLD in one.text and any(other.error is None for other in others)
    return "optional" if unserved else "yes"


_TOO_OLD = "too old to be supported by the triton"
"""What Inductor says of a GPU below compute capability 7.0 (torch/_inductor/exc.py)."""
