"""The findings of the outcomes themselves: what was seen to fail. Lower findings explain them."""

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from envdoctor.companions import library_of, module_of
from envdoctor.facts import Snapshot
from envdoctor.facts.attempts import CompileAttempts, ExtendAttempts
from envdoctor.facts.collective import Collective, JobRank
from envdoctor.facts.derived import GpuTrace
from envdoctor.facts.machine import Environment
from envdoctor.facts.python import Distributions
from envdoctor.facts.torch import TorchImport
from envdoctor.findings import Code, Evidence, Finding, Fix, Safety, from_driver, in_words
from envdoctor.outcomes import Outcome
from envdoctor.repair.interpreters import see_where_it_hangs
from envdoctor.repair.surroundings import unset
from envdoctor.shell import command
from envdoctor.symptoms.codes import (
    COLLECTIVE_FAILED,
    COMPANION_IMPORT_FAILED,
    COMPILE_FAILED,
    EXTENSION_FAILED,
    TORCH_IMPORT_CRASHED,
    TORCH_IMPORT_EXITS,
    TORCH_IMPORT_FAILED,
    TORCH_IMPORT_HANGS,
)
from envdoctor.symptoms.gpu import log_of, of_first_use, of_gpu, of_silence, of_start, was_listed
from envdoctor.symptoms.trying import line_to_try, python_of
from envdoctor.versions import parse_number

_OF_IMPORT = {
    "exception": TORCH_IMPORT_FAILED,
    "signal": TORCH_IMPORT_CRASHED,
    "hang": TORCH_IMPORT_HANGS,
    "exit": TORCH_IMPORT_EXITS,
}
_LINES_OF_OUTPUT = 6


def symptoms_of(outcomes: Iterable[Outcome], snapshot: Snapshot) -> Iterator[Finding]:
    """One finding for each outcome that was seen to fail, and for a driver that hangs."""
    yield from of_silence(snapshot)
    for outcome in outcomes:
        if outcome.state != "fails":
            continue
        if outcome.action == "import" and outcome.subject == "torch":
            yield _of_import(snapshot)
        elif outcome.action == "import":
            yield _of_companion(outcome, snapshot)
        elif outcome.action == "distributed":
            yield _of_collective(outcome, snapshot)
        elif outcome.action in _ATTEMPTS:
            yield _of_attempt(outcome, snapshot)
        elif outcome.action == "start":
            yield of_start(outcome, snapshot)
        elif was_listed(outcome, snapshot):
            yield of_first_use(outcome, snapshot)
        else:
            yield of_gpu(outcome, snapshot)


def _of_import(snapshot: Snapshot) -> Finding:
    imported = snapshot.value(TorchImport)
    assert imported is not None
    # An import that gives an empty module is told as the failure that the next line is.
    code = TORCH_IMPORT_FAILED if imported.is_no_torch else _OF_IMPORT[imported.outcome]
    return code.finding(
        **_said(imported),
        evidence=(
            *_evidence_of_import(imported),
            *from_driver(log_of("import torch", snapshot)),
        ),
        fixes=(*_without_hook(imported), _look_at_import(snapshot, imported)),
    )


_HOOKS = ("sitecustomize.py", "usercustomize.py")
"""What Python runs before any program, if it is there (library reference, `site`)."""


def _hook_of(imported: TorchImport) -> str:
    """The file of that kind in which the import was ended by an exception; empty if in none."""
    last = imported.frames[-1].file if imported.frames else ""
    return last if os.path.basename(last) in _HOOKS else ""


def _without_hook(imported: TorchImport) -> Iterator[Fix]:
    file = _hook_of(imported)
    if file:
        yield Fix(
            summary=f"move `{file}` away, or repair it: what it does to imports ends this one",
            commands=(command("mv", "-n", "--", file, f"{file}.aside"),),
            safety=Safety.CHANGES_ENV,
        )


_LET_IT_HANG_S = 60
"""How long the import may take before its place is printed; the user can raise it."""


def _look_at_import(snapshot: Snapshot, imported: TorchImport) -> Fix:
    if imported.outcome == "hang":
        return see_where_it_hangs(python_of(snapshot), "import torch", after_s=_LET_IT_HANG_S)
    return line_to_try(snapshot, "import torch", "see the whole output of the import")


def _said(imported: TorchImport) -> dict[str, Any]:
    """The arguments of the message for this outcome."""
    if imported.outcome == "signal":
        return {"signal": imported.signal}
    if imported.outcome == "hang":
        return {"seconds": round(imported.seconds)}
    if imported.outcome == "exit":
        return {"exit_code": imported.exit_code}
    if imported.is_no_torch:
        return {"exception": "no exception", "text": imported.in_place_of_torch}
    hook = _hook_of(imported)
    text = f"{imported.in_one_line} (in `{hook}`)" if hook else imported.in_one_line
    return {"exception": imported.exception or "an exception", "text": text}


_ISOLATED: Mapping[str, str] = {
    "ok": "it works",
    "exception": "it fails as well",
    "signal": "it is ended by a signal",
    "exit": "it exits",
    "hang": "it hangs",
}


def _evidence_of_import(imported: TorchImport) -> Iterator[Evidence]:
    for frame in imported.frames[-1:]:
        yield Evidence(label="raised at", value=f"{frame.file}:{frame.line}", source="traceback")
    if imported.cause:
        yield Evidence(label="caused by", value=imported.cause, source="traceback")
    if imported.outcome in ("signal", "exit", "hang") and imported.output_tail:
        last = "\n".join(imported.output_tail.splitlines()[:_LINES_OF_OUTPUT])
        yield Evidence(label="it printed", value=last, source="import torch")
    if imported.isolated_outcome:
        yield Evidence(
            label="with `python -I`",
            value=_ISOLATED[imported.isolated_outcome],
            source="a second import, without cwd, PYTHONPATH and user site",
        )


def _of_companion(outcome: Outcome, snapshot: Snapshot) -> Finding:
    name, module = outcome.subject, module_of(outcome.subject)
    return COMPANION_IMPORT_FAILED.finding(
        subjects=(name,),
        breaks=(outcome.id,),
        package=module,
        text=outcome.detail or "it ended without a word",
        evidence=(
            Evidence(label=f"import {name}", value=outcome.detail, source=outcome.source),
            *from_driver(log_of(f"import {name}", snapshot)),
        ),
        fixes=(
            *_with_docstrings(outcome, snapshot),
            *_of_checkout(name, snapshot),
            line_to_try(snapshot, f"import torch, {module}", "see the whole output of the import"),
        ),
        notes=("torch itself imports",),
    )


def _with_docstrings(outcome: Outcome, snapshot: Snapshot) -> Iterator[Fix]:
    """From PYTHONOPTIMIZE=2 on nothing has a docstring, and some libraries fail as they take theirs
    for text (pytorch/audio#3884)."""
    environment = snapshot.value(Environment)
    level = parse_number(environment.variables.get("PYTHONOPTIMIZE", "")) if environment else None
    if "'NoneType'" in outcome.detail and (level or 0) > 1:
        yield unset(
            "PYTHONOPTIMIZE", summary="start without PYTHONOPTIMIZE, which drops all docstrings"
        )


def _of_checkout(name: str, snapshot: Snapshot) -> Iterator[Fix]:
    """What is used from a checkout has the compiled modules that were built there for the torch of
    that day, or none."""
    installed = snapshot.value(Distributions)
    items = installed.items if installed else ()
    if any(one.editable for one in items if library_of(one.name) == name):
        yield Fix(
            summary=f"build {name} again in the checkout that it is used from (`pip install "
            "--no-build-isolation -e .`), for the torch that is here, or install a release of it"
        )


_MOST_RANKS = 16


def _of_collective(outcome: Outcome, snapshot: Snapshot) -> Finding:
    tried = snapshot.value(Collective)
    ranks = tried.ranks if tried else ()
    failed = [one for one in ranks if one.has_failed][:_MOST_RANKS]
    return COLLECTIVE_FAILED.finding(
        text=outcome.detail or None,
        evidence=tuple(
            Evidence(
                label=f"rank {one.rank} in `{one.phase}`",
                value=_of_rank(one),
                source=outcome.source,
            )
            for one in failed
        ),
        fixes=(
            Fix(
                summary="see more of what the libraries say, in the output of your own job",
                commands=("export NCCL_DEBUG=INFO TORCH_DISTRIBUTED_DEBUG=DETAIL",),
                safety=Safety.SAFE,
            ),
        ),
    )


def _of_rank(rank: JobRank) -> str:
    return {"died": f"died ({rank.how})", "silent": "no answer"}.get(rank.state, rank.error)


_ATTEMPTS: Mapping[str, tuple[type[CompileAttempts] | type[ExtendAttempts], Code, str, str]] = {
    "compile": (
        CompileAttempts,
        COMPILE_FAILED,
        " for ",
        "import torch; print(torch.compile(lambda x: x + 1)(torch.ones(2, device={!r})))",
    ),
    "extend": (
        ExtendAttempts,
        EXTENSION_FAILED,
        " in ",
        "from torch.utils.cpp_extension import load_inline as build; "
        "build('attempt', 'int f() {{ return 1; }}', functions=['f'], verbose=True)",
    ),
}
"""What was tried, by action: the fact, its code, the word before what it was tried on, and how it
is tried by itself."""


def _of_attempt(outcome: Outcome, snapshot: Snapshot) -> Finding:
    kind, code, before, line = _ATTEMPTS[outcome.action]
    trace, tried = snapshot.value(GpuTrace), snapshot.value(kind)
    items = tried.items if tried and trace else ()
    failed = [one for one in items if trace and trace.subject_of(one.on) == outcome.subject]
    device = failed[0].on if failed else "cpu"
    subjects = (outcome.subject,) if outcome.subject else ()
    return code.finding(
        subjects=subjects,
        breaks=(outcome.id,),
        where=before + in_words(subjects) if subjects else "",
        text=outcome.detail or "it ended without a word",
        evidence=tuple(
            Evidence(label=one.exception or "result", value=one.text.strip(), source=outcome.source)
            for one in failed
        )
        or (Evidence(label="it ended", value=outcome.detail, source=outcome.source),),
        fixes=(
            line_to_try(snapshot, line.format(device), "see the whole of what the compilers say"),
        ),
    )
