"""`envdoctor tui`: the same diagnosis as a full-screen program, of this machine or a saved one."""

import os
from typing import Any

import click

from envdoctor.commands.options import options_for, report_options, target_options
from envdoctor.commands.reports import publish, report_on, with_expectation
from envdoctor.session import Session
from envdoctor.tui.terminal import can_show


@click.command(epilog="Exit codes: as `envdoctor check`; 130 after Ctrl-C.")
@click.argument("file", required=False, metavar="[FILE]")
@target_options
@report_options
@click.option("--calibrate", is_flag=True, help="Measure after the first examination.")
@click.option(
    "--screenshot", metavar="FILE", help="Save a picture (SVG) of the screen instead of showing it."
)
@click.option("--size", default="120x40", show_default=True, help="Size of that picture.")
@click.option("--keys", default="", help="Keys before it is taken: `2,down,enter`; `wait` waits.")
@click.pass_context
def command(ctx: click.Context, /, file: str | None, **options: Any) -> None:
    """Look around in a diagnosis: this machine's, or one saved in FILE (a report or facts).

    Where no full-screen program fits (a pipe, NO_COLOR, TERM=dumb) the text report is printed.

    \b
    envdoctor tui
    envdoctor tui --python ~/venvs/train
    envdoctor tui report.json
    envdoctor tui report.json --screenshot findings.svg --size 100x30 --keys 2
    """
    _refuse_what_would_be_lost(file, options)
    options["no_calibrate"] = not options.pop("calibrate")
    picture_options = {name: options.pop(name) for name in ("screenshot", "size", "keys")}
    if picture_options["screenshot"]:
        ctx.exit(_picture(options, file, **picture_options))
    wants_text = options["plain"] or options["as_json"] or options["output"]
    if not wants_text and can_show(os.environ):
        ctx.exit(_full_screen(options, file))
    session = Session()
    session.selection(options["only"], options["skip"])
    python = next(iter(options["pythons"]), None)
    snapshot = (
        session.observe(options_for(python, options))
        if file is None
        else with_expectation(session.read(file), options["expect"])
    )
    ctx.exit(publish((report_on(snapshot, session, options),), options))


def _refuse_what_would_be_lost(file: str | None, options: dict[str, Any]) -> None:
    if file is not None and options["pythons"]:
        raise click.UsageError("FILE is a recorded machine and --python a live target; give one")
    if file is not None and options["calibrate"]:
        raise click.UsageError("a recorded machine cannot be measured; leave --calibrate out")
    if len(options["pythons"]) > 1:
        raise click.UsageError("one target is shown at a time; give one --python, `t` changes it")


def _full_screen(options: dict[str, Any], file: str | None) -> int:
    from envdoctor.tui import run

    return run(options, path=file)


def _picture(
    options: dict[str, Any], file: str | None, *, screenshot: str, size: str, keys: str
) -> int:
    from envdoctor.tui import picture

    pressed = [key for key in keys.split(",") if key]
    code = picture(options, path=file, svg=screenshot, size=size, keys=pressed)
    click.echo(f"envdoctor: written to {screenshot}", err=True)
    return code
