"""`envdoctor prescribe`: the torch builds that would work here, with the commands."""

import click
import msgspec

from envdoctor.commands.options import output_options
from envdoctor.commands.progress import Progress
from envdoctor.errors import BadInput
from envdoctor.facts import Snapshot
from envdoctor.options import Options
from envdoctor.output import Destination, Output
from envdoctor.prescribe import Prescription, machine_in, positions_of, prescribe
from envdoctor.session import Session


@click.command(epilog="Exit codes: 0 a build works here, 1 none does, 2 bad input.")
@click.option("--torch", "wish", metavar="VERSION", help="The torch that is wanted, as 2.6.")
@click.option("--python", metavar="PATH", help="The interpreter, venv or conda prefix to fit.")
@click.option("--facts", metavar="FILE", help="Prescribe for recorded facts (- is stdin).")
@click.option("--expect", type=click.Choice(["gpu", "cpu"]), help="Builds with CUDA, or without.")
@click.option("--script", is_flag=True, help="The same as --format script: a shell script.")
@output_options(Prescription.formats)
@click.pass_context
def command(
    ctx: click.Context,
    /,
    output: Output,
    to: Destination,
    wish: str | None,
    python: str | None,
    facts: str | None,
    expect: str | None,
    script: bool,
) -> None:
    """List the torch builds that work on this machine, the smallest change first.

    Nothing is installed and nothing of the environment is run. Builds come from envdoctor's
    knowledge of what was published; package indexes are not asked.

    \b
    envdoctor prescribe
    envdoctor prescribe --torch 2.6 --python ~/venvs/train
    envdoctor prescribe --facts facts.json --json
    envdoctor prescribe --script -o repair.sh
    """
    if facts is not None and python is not None:
        raise BadInput("--facts is for recorded facts and --python for a live target; give one")
    to = _as_script(to) if script else to
    session = Session()
    if wish is not None:
        # Before the machine is examined, which takes a while: it raises BadInput.
        positions_of(wish, session.knowledge)
    machine = machine_in(_snapshot(output, session, facts, python), session.knowledge)
    if expect:
        machine = msgspec.structs.replace(machine, wants_gpu=expect == "gpu")
    answer = prescribe(machine, session.knowledge, wish)
    output.publish(answer, to, _summary(answer))
    ctx.exit(0 if answer.builds else 1)


def _as_script(to: Destination) -> Destination:
    if to.format not in (None, "script"):
        raise BadInput(f"--script and --format {to.format} are two forms of one answer; give one")
    return Destination(format="script", file=to.file, plain=to.plain)


def _snapshot(output: Output, session: Session, facts: str | None, python: str | None) -> Snapshot:
    if facts is not None:
        return session.read(facts)
    with Progress(output) as progress:
        options = Options(python=python, static=True)
        return session.observe(options, listener=progress.listener)


def _summary(answer: Prescription) -> str:
    return f"{len(answer.builds)} builds work here" if answer.builds else "no build works here"
