"""`envdoctor check`: diagnose this machine, or recorded facts."""

from typing import Any

import click

from envdoctor.commands.errors import BadInput
from envdoctor.commands.session import Session, emit, use_colour, user_redactor
from envdoctor.core_facts import Expectation
from envdoctor.diagnose import diagnose
from envdoctor.facts import Observed, Snapshot
from envdoctor.findings import Severity
from envdoctor.options import Options
from envdoctor.render.json import render_json
from envdoctor.render.text import render_text
from envdoctor.report import Report, ReportSet

_WORST_FIRST = (1, 3, 0)


def target_options(function: Any) -> Any:
    """The options that say what is examined, and how far."""
    for option in reversed(
        (
            click.option(
                "--python",
                "pythons",
                multiple=True,
                metavar="PATH",
                help="Interpreter, venv folder or conda prefix to examine; repeatable. Default: "
                "the first with a torch among ENVDOCTOR_PYTHON, the active environment, ./.venv, "
                "the doctor's own, python3, python.",
            ),
            click.option(
                "--static", is_flag=True, help="Execute nothing of the target's packages."
            ),
            click.option("--deep", is_flag=True, help="Hash every installed file."),
            click.option(
                "--expect",
                type=click.Choice(["gpu", "cpu"]),
                help="What torch is expected to use; a missing GPU is then an error.",
            ),
            click.option(
                "--timeout",
                "timeout_s",
                type=click.FloatRange(min=1.0),
                default=300.0,
                show_default=True,
                metavar="SECONDS",
                help="Limit for the whole examination.",
            ),
        )
    ):
        function = option(function)
    return function


@click.command(epilog="Exit codes: 0 fine, 1 a finding at --fail-on, 2 bad input, 3 incomplete.")
@target_options
@click.option("--facts", metavar="FILE", help="Diagnose recorded facts or a report (- is stdin).")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option("--plain", is_flag=True, help="Print text without colour.")
@click.option(
    "--fail-on",
    type=click.Choice(["error", "warning"]),
    default="error",
    show_default=True,
    help="The least severity that makes the exit code 1.",
)
@click.option("--only", multiple=True, metavar="CODE|NAME|TOPIC", help="Run only these checks.")
@click.option("--skip", multiple=True, metavar="CODE|NAME|TOPIC", help="Leave these checks out.")
@click.option("-o", "--output", metavar="FILE", help="Write the report to a file (.json: as JSON).")
@click.pass_context
def command(ctx: click.Context, /, **options: Any) -> None:
    """Diagnose: is this PyTorch/CUDA environment healthy, and if not, why and what repairs it.

    \b
    envdoctor check
    envdoctor check --python ~/venvs/train --json
    envdoctor check --expect gpu --fail-on warning    the gate of a CI runner
    envdoctor check --facts facts.json                a machine recorded elsewhere
    """
    session = Session()
    reports = tuple(_reports(session, options))
    as_json = options["as_json"] or (options["output"] or "").endswith(".json")
    colour = use_colour() and not options["plain"] and options["output"] is None
    text = _render(reports, as_json=as_json, colour=colour)
    emit(text, options["output"], " and ".join(report.verdict.value for report in reports))
    ctx.exit(_worst(reports))


def _reports(session: Session, options: dict[str, Any]) -> list[Report]:
    wanted = session.selection(options["only"], options["skip"])
    if options["facts"] and options["pythons"]:
        raise BadInput("--facts diagnoses recorded facts and --python a live target; give one")
    if options["facts"]:
        snapshots = [_with_expectation(session.read(options["facts"]), options["expect"])]
    else:
        snapshots = [
            session.observe(options_for(python, options))
            for python in options["pythons"] or (None,)
        ]
    return [
        diagnose(
            snapshot,
            session.loaded,
            session.services,
            fail_on=Severity(options["fail_on"]),
            wanted=wanted,
        )
        for snapshot in snapshots
    ]


def options_for(python: str | None, options: dict[str, Any]) -> Options:
    """The options of one examination, from those of the command line."""
    return Options(
        python=python,
        static=options["static"],
        deep=options["deep"],
        expect=options["expect"],
        timeout_s=options["timeout_s"],
    )


def _with_expectation(snapshot: Snapshot, expect: str | None) -> Snapshot:
    if expect is None:
        return snapshot
    wish = Expectation(device=expect, evidence="--expect")
    return snapshot.with_facts({Expectation: Observed(value=wish, source="the user")})


def _render(reports: tuple[Report, ...], *, as_json: bool, colour: bool) -> str:
    redact = user_redactor()
    if not as_json:
        return "\n".join(redact(render_text(report, colour=colour)) for report in reports)
    if len(reports) == 1:
        return render_json(reports[0], redact)
    return render_json(ReportSet(exit_code=_worst(reports), reports=reports), redact)


def _worst(reports: tuple[Report, ...]) -> int:
    codes = {report.exit_code for report in reports}
    return next(code for code in _WORST_FIRST if code in codes)
