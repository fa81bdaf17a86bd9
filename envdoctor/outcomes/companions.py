"""Whether the libraries that are built on torch import, each after torch. Pure."""

import re
from collections.abc import Iterator

from envdoctor.companions import PYTORCHS_OWN, library_of
from envdoctor.facts import Reason, Snapshot, Unknown
from envdoctor.facts.derived import Wanted
from envdoctor.facts.python import Distributions
from envdoctor.facts.torch import CompanionImport, CompanionImports, TorchRuntime
from envdoctor.outcomes.record import Outcome, WantedState, unseen


def companions_of(snapshot: Snapshot) -> Iterator[Outcome]:
    yield from _numpy(snapshot)
    fact = snapshot.get(CompanionImports)
    if isinstance(fact, Unknown):
        yield from _unseen_companions(snapshot, fact)
        return
    for one in fact.value.items:
        reason = _no_need_here(one, snapshot)
        yield _left_out(one, reason) if reason else _imported(one)
    late = Unknown(reason=Reason.TIMED_OUT, detail="there was no time left for it")
    installed = snapshot.value(Distributions)
    there = {library_of(one.name) for one in installed.items} if installed else set()
    for name in fact.value.unseen:
        if installed is None or name in there:
            yield unseen("import", name, late, _wanted(name))


def _wanted(library: str) -> WantedState:
    """PyTorch's own libraries, installed and not importable, break the verdict; others, and
    compiling and extending, only degrade it."""
    return "yes" if library in PYTORCHS_OWN else "optional"


def _imported(one: CompanionImport) -> Outcome:
    return Outcome(
        action="import",
        subject=one.name,
        wanted=_wanted(one.name),
        state="works" if one.outcome == "ok" else "fails",
        detail=_of_companion(one),
        source=f"import {one.name}",
    )


_OF_THE_DRIVER = re.compile(
    r"libcuda\.so|no (?:NVIDIA )?(?:driver|CUDA-capable)|NVIDIA driver|0 active drivers", re.I
)


def _no_need_here(one: CompanionImport, snapshot: Snapshot) -> str:
    """Why a failed import does not matter where no GPU is to be used; empty if it does.

    CuPy imports nowhere without a driver, and Triton compiles for GPUs alone.
    """
    wanted = snapshot.value(Wanted)
    if one.outcome == "ok" or wanted is None or wanted.gpu not in ("no", "elsewhere"):
        return ""
    if one.outcome == "exception" and _OF_THE_DRIVER.search(one.message):
        return "it needs an NVIDIA driver"
    return "it compiles for GPUs, and none is used" if one.name == "triton" else ""


def _left_out(one: CompanionImport, reason: str) -> Outcome:
    why = Unknown(reason=Reason.NOT_APPLICABLE, detail=reason)
    return unseen("import", one.name, why, "optional")


_WITHOUT_NUMPY = "compiled without numpy"


def _numpy(snapshot: Snapshot) -> Iterator[Outcome]:
    """Arrays and tensors made of each other, where numpy is installed."""
    runtime, installed = snapshot.value(TorchRuntime), snapshot.value(Distributions)
    if runtime is None or installed is None or installed.first("numpy") is None:
        return
    error = (runtime.numpy_error or "").strip()
    by_choice = _WITHOUT_NUMPY in error.lower()
    yield Outcome(
        action="import",
        subject="numpy",
        wanted="optional" if by_choice else "yes",
        state="fails" if error else "works",
        detail=error.splitlines()[0] if error else "",
        source="torch.zeros(1).numpy()",
    )


def _unseen_companions(snapshot: Snapshot, why: Unknown) -> Iterator[Outcome]:
    """PyTorch's own libraries that are installed, where their import was to be tried.

    Older files know no such look, and are as whole without it.
    """
    installed = snapshot.value(Distributions)
    if installed is None or why.reason in (Reason.NOT_OBSERVED, Reason.NOT_APPLICABLE):
        return
    for name in PYTORCHS_OWN:
        if installed.first(name) is not None:
            yield unseen("import", name, why)


def _of_companion(one: CompanionImport) -> str:
    if one.outcome == "ok":
        return ""
    if one.exception:
        text = f"{one.exception}: {(one.message.strip().splitlines() or [''])[0]}"
        return f"{one.operation}: {text}" if one.operation else text
    return one.message
