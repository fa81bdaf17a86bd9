"""`envdoctor tui`: the same diagnosis as a full-screen program, of this machine or a saved one.

The only module that imports the full-screen program, and only once it is wanted.
"""

import os
import sys
from typing import Any

import click

from envdoctor.commands.kinds import PathName
from envdoctor.commands.options import (
    model_option,
    options_for,
    output_options,
    selection_options,
    target_options,
)
from envdoctor.commands.progress import Progress
from envdoctor.commands.reports import publish
from envdoctor.formats import Text
from envdoctor.options import Options
from envdoctor.output import Destination, Output
from envdoctor.printed import OwnTerminal
from envdoctor.report import Report
from envdoctor.session import Session
from envdoctor.watchdog import NEVER


@click.command(epilog="Exit codes: as `envdoctor check`; 130 after Ctrl-C.")
@click.argument("file", type=PathName(), required=False, metavar="[FILE]")
@target_options
@selection_options
@output_options(Report.formats)
@click.option("--calibrate", is_flag=True, help="Measure after the first examination.")
@model_option
@click.option(
    "--screenshot",
    type=PathName(),
    metavar="FILE",
    help="Save a picture (SVG) of the screen instead of showing it.",
)
@click.option("--size", default="120x40", show_default=True, help="Size of that picture.")
@click.option("--keys", default="", help="Keys before it is taken: `2,down,enter`; `wait` waits.")
@click.pass_context
def command(
    ctx: click.Context, /, output: Output, to: Destination, file: str | None, **given: Any
) -> None:
    """Look around in a diagnosis: this machine's, or one saved in FILE (a report or facts).

    Where no full-screen program fits (a pipe, NO_COLOR, TERM=dumb) the text report is printed.

    \b
    envdoctor tui
    envdoctor tui --python ~/venvs/train
    envdoctor tui report.json
    envdoctor tui report.json --screenshot findings.svg --size 100x30 --keys 2
    """
    _refuse_what_would_be_lost(file, given)
    calibrate = given.pop("calibrate")
    options = options_for(next(iter(given["pythons"]), None), given, calibrate=calibrate)
    if given["screenshot"]:
        ctx.exit(_picture(output, options, file, given))
    if fits_the_screen(output, to):
        ctx.exit(full_screen(output, options, file))
    if file is not None:
        report = Session(given["deadline"]).examine_recorded(file, options)
    else:
        with Progress(output) as progress:
            report = Session(given["deadline"]).examine(options, progress.listener)
    ctx.exit(publish(output, (report,), to))


def fits_the_screen(output: Output, to: Destination) -> bool:
    """Whether the full-screen view is wanted, and the terminal can show it."""
    from envdoctor.tui.terminal import can_show

    return not to.is_chosen and can_show(os.environ, (sys.stdin, output.stdout, sys.stderr))


_TO_LEAVE_S = 2.0
"""What the view takes at most to put the terminal back, on a busy machine too."""


def full_screen(output: Output, options: Options, file: str | None = None) -> int:
    """Show the full-screen view; returns the exit code, after a short summary."""
    from envdoctor.tui import run

    # Each examination has its time; the user has as much as he wants.
    output.watchdog.limit(NEVER)
    output.watchdog.patience_s = _TO_LEAVE_S
    with OwnTerminal(output.stdout):
        code, summary = run(options, output, path=file)
    output.publish(Text(body=summary), Destination(plain=True))
    return code


def _refuse_what_would_be_lost(file: str | None, given: dict[str, Any]) -> None:
    if file is not None and given["pythons"]:
        raise click.UsageError("FILE is a recorded machine and --python a live target; give one")
    if file is not None and given["calibrate"]:
        raise click.UsageError("a recorded machine cannot be measured; leave --calibrate out")
    if len(given["pythons"]) > 1:
        raise click.UsageError("one target is shown at a time; give one --python, `t` changes it")


def _picture(output: Output, options: Options, file: str | None, given: dict[str, Any]) -> int:
    from envdoctor.tui import picture

    output.watchdog.limit(NEVER)
    svg, keys = given["screenshot"], [key for key in given["keys"].split(",") if key]
    code = picture(options, output, path=file, svg=svg, size=given["size"], keys=keys)
    output.say(f"written to {svg}")
    return code
