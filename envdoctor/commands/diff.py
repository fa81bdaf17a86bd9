"""`envdoctor diff`: how two machines or environments differ, and what of it matters."""

from typing import Any

import click

from envdoctor.commands.options import TIMEOUT_S, output_options, timeout_option
from envdoctor.commands.progress import Progress
from envdoctor.compare.records import Comparison
from envdoctor.comparing import compared, examined, is_interpreter, proved
from envdoctor.errors import BadInput
from envdoctor.formats import DIAGNOSIS
from envdoctor.options import Options
from envdoctor.output import Destination, Output
from envdoctor.session import Session


@click.command(
    epilog="Exit codes: 0 the same, 1 different, 2 bad input, 3 nothing differs as far as could "
    "be looked."
)
@click.argument("one", metavar="A")
@click.argument("other", metavar="[B]", required=False)
@click.option("--python", metavar="PATH", help="Interpreter of this machine to compare A with.")
@click.option("--static", is_flag=True, help="Execute nothing of a target's packages.")
@click.option(
    "--prove",
    is_flag=True,
    help="Try variables and folders of the other side here, each in a child; nothing is changed.",
)
@timeout_option(TIMEOUT_S)
@output_options(DIAGNOSIS)
@click.pass_context
def command(ctx: click.Context, /, output: Output, to: Destination, **given: Any) -> None:
    """Say how A and B differ, worst first, and which difference explains what only one has.

    Each is a facts file, a report, the text of `python -m torch.utils.collect_env` (- is stdin), or
    an interpreter, venv folder or conda prefix, which is examined now. A alone is compared with
    this machine.

    \b
    envdoctor diff facts-of-the-other-machine.json
    envdoctor diff before.json after.json
    envdoctor diff ./venv-a ./venv-b
    envdoctor diff collect_env.txt --prove
    """
    _refuse_contradictions(given)
    comparison = _comparison(output, given)
    words = {0: "the same", 1: "different"}.get(comparison.exit_code, "nothing differs so far")
    output.publish(comparison, to, words)
    ctx.exit(comparison.exit_code)


def _refuse_contradictions(given: dict[str, Any]) -> None:
    one, other = given["one"], given["other"]
    if one == other == "-":
        raise BadInput("standard input can be one of the two, not both; name a file")
    if given["python"] is not None and other is not None:
        raise BadInput("--python names what A is compared with, and B is given too; give one")
    if given["prove"] and given["static"]:
        raise BadInput("--prove executes torch and --static nothing; give one")
    if given["prove"] and is_interpreter(one) == (other is None or is_interpreter(other)):
        raise BadInput("--prove tries here what the other side has: give one recorded side")


def _comparison(output: Output, given: dict[str, Any]) -> Comparison:
    session = Session(given["deadline"])
    options = Options(python=given["python"], static=given["static"], timeout_s=given["timeout_s"])
    # What is read can be refused at once; what is examined takes its time.
    with Progress(output) as progress:
        sides = [examined(session, given["one"], options, progress.listener)]
        sides.append(examined(session, given["other"], options, progress.listener))
        first, second = sides if given["other"] is not None else sides[::-1]
        if any(side.kind == "live" and session.ran_out(side.snapshot) for side in sides):
            output.say("time ran out before all was looked at; give `--timeout` more seconds")
        comparison = compared(session, first, second)
        if given["prove"]:
            return proved(comparison, first, second, given["deadline"])
        return comparison
