"""`envdoctor prescribe`: the torch builds that would work here, with the commands."""

from typing import Any

import click
import msgspec

from envdoctor.commands.errors import BadInput
from envdoctor.derived import CORE_DERIVATIONS
from envdoctor.engine import derive_facts
from envdoctor.facts import Snapshot
from envdoctor.options import Options
from envdoctor.prescribe import (
    PLATFORMS,
    BadMachine,
    Machine,
    Prescription,
    UnknownTorch,
    machine_elsewhere,
    machine_in,
    positions_of,
    prescribe,
)
from envdoctor.prescribe.text import render_no_script, render_prescription, render_script
from envdoctor.render.json import render_json
from envdoctor.session import Session, emit, user_redactor


@click.command(epilog="Exit codes: 0 a build works here, 1 none does, 2 bad input.")
@click.option("--torch", metavar="VERSION", help="The torch that is wanted, as 2.6.")
@click.option("--python", metavar="PATH", help="The interpreter, venv or conda prefix to fit.")
@click.option("--facts", metavar="FILE", help="Prescribe for recorded facts (- is stdin).")
@click.option("--gpu", "gpus", multiple=True, metavar="NAME", help="Its GPU; repeatable.")
@click.option("--driver", metavar="RELEASE", help="Its driver, as 535 or 535.183.01.")
@click.option("--python-version", metavar="MINOR", help="Its Python, as 3.12.")
@click.option("--platform", type=click.Choice(list(PLATFORMS)), help="Its system.")
@click.option("--expect", type=click.Choice(["gpu", "cpu"]), help="Builds with CUDA, or without.")
@click.option("--json", "as_json", is_flag=True, help="Print all builds as JSON.")
@click.option("--script", is_flag=True, help="Write the commands of the best as a shell script.")
@click.option("-o", "--output", metavar="FILE", help="Write to a file.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    torch: str | None,
    python: str | None,
    facts: str | None,
    expect: str | None,
    as_json: bool,
    script: bool,
    output: str | None,
    **elsewhere: Any,
) -> None:
    """List the torch builds that work on this machine, the smallest change first.

    Nothing is installed and nothing of the environment is run. Builds come from envdoctor's
    knowledge of what was published; package indexes are not asked.

    --gpu, --driver, --python-version and --platform describe a machine that is not here, or one
    that an image is built for; nothing of this one is looked at then.

    \b
    envdoctor prescribe
    envdoctor prescribe --torch 2.6 --python ~/venvs/train
    envdoctor prescribe --gpu V100 --driver 535 --python-version 3.12 --platform linux-aarch64
    envdoctor prescribe --facts facts.json --json
    envdoctor prescribe --script -o repair.sh
    """
    if facts and python:
        raise BadInput("--facts is for recorded facts and --python for a live target; give one")
    if as_json and script:
        raise BadInput("--json and --script are two forms of one answer; give one")
    session = Session()
    _refuse_unknown(torch, session)
    machine = _machine(session, facts, python, elsewhere)
    if expect:
        machine = msgspec.structs.replace(machine, wants_gpu=expect == "gpu")
    answer = prescribe(machine, session.knowledge, torch)
    emit(_text(answer, session, as_json=as_json, script=script), output, _summary(answer))
    ctx.exit(0 if answer.builds else 1)


def _machine(
    session: Session, facts: str | None, python: str | None, elsewhere: dict[str, Any]
) -> Machine:
    """The machine here, the recorded one, or the one that the options describe."""
    if not any(elsewhere.values()):
        snapshot = _snapshot(session, facts, python)
        derived = derive_facts(CORE_DERIVATIONS, snapshot, session.services)
        return machine_in(derived, session.knowledge)
    if facts or python:
        raise BadInput("--gpu, --driver, --python-version and --platform describe another machine")
    try:
        return machine_elsewhere(
            session.knowledge,
            gpus=elsewhere["gpus"],
            driver=elsewhere["driver"],
            python=elsewhere["python_version"],
            platform=elsewhere["platform"] or "linux-x86_64",
        )
    except BadMachine as error:
        raise BadInput(str(error)) from error


def _snapshot(session: Session, facts: str | None, python: str | None) -> Snapshot:
    if facts:
        return session.read(facts)
    return session.observe(Options(python=python, static=True))


def _refuse_unknown(torch: str | None, session: Session) -> None:
    """Before the machine is examined, which takes a while."""
    try:
        if torch is not None:
            positions_of(torch, session.knowledge)
    except UnknownTorch as error:
        raise BadInput(str(error)) from error


def _text(answer: Prescription, session: Session, *, as_json: bool, script: bool) -> str:
    if as_json:
        return render_json(answer, user_redactor())
    if script:
        best = answer.best
        return render_script(best, session.knowledge) if best else render_no_script(answer)
    return user_redactor()(render_prescription(answer, session.knowledge))


def _summary(answer: Prescription) -> str:
    return f"{len(answer.builds)} builds work here" if answer.builds else "no build works here"
