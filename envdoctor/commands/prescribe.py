"""`envdoctor prescribe`: the torch builds that would work here, with the commands."""

from typing import Any

import click
import msgspec

from envdoctor.commands.kinds import GpuName, PathName
from envdoctor.commands.options import TIMEOUT_S, output_options, timeout_option
from envdoctor.commands.progress import Progress
from envdoctor.derived import CORE_DERIVATIONS
from envdoctor.engine import derive_facts
from envdoctor.errors import BadInput, Unseen
from envdoctor.facts import Snapshot
from envdoctor.facts.python import Target
from envdoctor.options import Options
from envdoctor.output import Destination, Output
from envdoctor.prescribe import (
    PLATFORMS,
    Machine,
    Prescription,
    machine_elsewhere,
    machine_in,
    positions_of,
    prescribe,
)
from envdoctor.session import Session


@click.command(
    epilog="Exit codes: 0 a build works here, 1 none does, 2 bad input, 3 time ran out before the "
    "machine was known."
)
@click.option("--torch", metavar="VERSION", help="The torch that is wanted, as 2.6.")
@click.option(
    "--python",
    type=PathName(),
    metavar="PATH",
    help="The interpreter, venv or conda prefix to fit.",
)
@click.option(
    "--facts", type=PathName(), metavar="FILE", help="Prescribe for recorded facts (- is stdin)."
)
@click.option(
    "--gpu", "gpus", type=GpuName(), multiple=True, metavar="NAME", help="Its GPU; repeatable."
)
@click.option("--driver", metavar="RELEASE", help="Its driver, as 535 or 535.183.01.")
@click.option("--python-version", metavar="MINOR", help="Its Python, as 3.12.")
@click.option("--platform", type=click.Choice(list(PLATFORMS)), help="Its system.")
@click.option("--expect", type=click.Choice(["gpu", "cpu"]), help="Builds with CUDA, or without.")
@click.option("--script", is_flag=True, help="The same as --format script: a shell script.")
@timeout_option(TIMEOUT_S)
@output_options(Prescription.formats)
@click.pass_context
def command(
    ctx: click.Context,
    /,
    output: Output,
    to: Destination,
    torch: str | None,
    python: str | None,
    facts: str | None,
    expect: str | None,
    script: bool,
    timeout_s: float,
    deadline: float,
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
    envdoctor prescribe --gpu V100 --driver 535 --python-version 3.12
    envdoctor prescribe --gpu GH200 --driver 570 --platform linux-aarch64
    envdoctor prescribe --facts facts.json --json
    envdoctor prescribe --script -o repair.sh
    """
    if facts is not None and python is not None:
        raise BadInput("--facts is for recorded facts and --python for a live target; give one")
    to = _as_script(to) if script else to
    session = Session(deadline)
    if torch is not None:
        # Before the machine is examined, which takes a while: it raises BadInput.
        positions_of(torch, session.knowledge)
    if any(elsewhere.values()):
        machine = _elsewhere(session, facts or python, elsewhere)
    else:
        options = Options(python=python, static=True, timeout_s=timeout_s)
        machine = _here(_snapshot(output, session, facts, options), session)
    if expect:
        machine = msgspec.structs.replace(machine, wants_gpu=expect == "gpu")
    answer = prescribe(machine, session.knowledge, torch)
    output.publish(answer, to, _summary(answer))
    ctx.exit(0 if answer.builds else 1)


def _as_script(to: Destination) -> Destination:
    if to.format not in (None, "script"):
        raise BadInput(f"--script and --format {to.format} are two forms of one answer; give one")
    return Destination(format="script", file=to.file, plain=to.plain)


def _elsewhere(session: Session, here: str | None, elsewhere: dict[str, Any]) -> Machine:
    """The machine that the options describe. Raises BadInput."""
    if here is not None:
        raise BadInput("--gpu, --driver, --python-version and --platform describe another machine")
    return machine_elsewhere(
        session.knowledge,
        gpus=elsewhere["gpus"],
        driver=elsewhere["driver"],
        python=elsewhere["python_version"],
        platform=elsewhere["platform"] or "linux-x86_64",
    )


def _here(snapshot: Snapshot, session: Session) -> Machine:
    """The machine that was examined. Raises BadInput for a Python that no command can be run by."""
    target = snapshot.value(Target)
    # One that is only too old is answered by which Python to take.
    if target is not None and target.problem not in (None, "too-old"):
        raise BadInput(
            f"`{target.path}` cannot be used: {target.detail}; name another Python with --python"
        )
    derived = derive_facts(CORE_DERIVATIONS, snapshot, session.services)
    return machine_in(derived, session.knowledge)


def _snapshot(output: Output, session: Session, facts: str | None, options: Options) -> Snapshot:
    if facts is not None:
        return session.read(facts)
    with Progress(output) as progress:
        snapshot = session.observe(options, listener=progress.listener)
    if session.ran_out(snapshot):
        # A GPU that was not seen would be taken for none.
        raise Unseen("time ran out before the machine was known; give `--timeout` more seconds")
    return snapshot


def _summary(answer: Prescription) -> str:
    return f"{len(answer.builds)} builds work here" if answer.builds else "no build works here"
