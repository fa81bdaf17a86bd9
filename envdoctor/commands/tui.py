"""`envdoctor tui`: the same diagnosis as a full-screen program, of this machine or a saved one.

The only module that imports the full-screen program, and only once it is wanted.
"""

import importlib.util
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from envdoctor.commands.kinds import PathName
from envdoctor.commands.options import (
    model_option,
    options_for,
    output_options,
    selection_options,
    target_options,
)
from envdoctor.errors import BadInput
from envdoctor.formats import DIAGNOSIS, Text
from envdoctor.output import Destination, Output
from envdoctor.output.printed import OwnTerminal
from envdoctor.watchdog import NEVER

if TYPE_CHECKING:
    from envdoctor.options import Options

TEXTUAL_SERVE = "textual-serve>=1.1.3,<2"
"""What the extra `envdoctor[serve]` of pyproject.toml brings."""


class Port(click.IntRange):
    """A port; 0 takes any that is free."""

    name = "port"

    def __init__(self) -> None:
        super().__init__(0, 65535)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not str(value).isdecimal():
            self.fail(f"`{value}` is no port; a FILE stands before --serve", param, ctx)
        return super().convert(value, param, ctx)


@click.command(epilog="Exit codes: as `envdoctor check`; 130 after Ctrl-C.")
@click.argument("file", type=PathName(), required=False, metavar="[FILE]")
@target_options
@selection_options
@output_options(DIAGNOSIS)
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
@click.option(
    "--serve",
    "port",
    type=Port(),
    is_flag=False,
    flag_value="0",
    metavar="[PORT]",
    help="Show it in a browser on this machine, at the address that is printed, with its token; "
    "without a port at any that is free. Needs the extra envdoctor[serve].",
)
@click.option("--in-browser", is_flag=True, hidden=True)
@click.pass_context
def command(
    ctx: click.Context, /, output: Output, to: Destination, file: str | None, **given: Any
) -> None:
    """Browse a diagnosis: this machine's, or one saved in FILE (a report or facts).

    Where no full-screen program fits (a pipe, TERM=dumb) the text report is printed. With NO_COLOR
    it has no colours.

    \b
    envdoctor tui
    envdoctor tui --python ~/venvs/train
    envdoctor tui --python ./old --python ./new     side by side
    envdoctor tui report.json
    envdoctor tui report.json --screenshot findings.svg --size 100x30 --keys 2
    envdoctor tui --serve 8000                then ssh -L 8000:127.0.0.1:8000 HOST
    """
    _refuse_what_would_be_lost(file, given, to)
    calibrate = given.pop("calibrate")
    pythons = given["pythons"] or (None,)
    options, *others = [options_for(one, given, calibrate=calibrate) for one in pythons]
    if given["screenshot"]:
        ctx.exit(_picture(output, options, others, file, given))
    if given["port"] is not None:
        _serve(output, options, file, given["port"])
    if given["in_browser"] or fits_the_screen(output, to):
        ctx.exit(full_screen(output, options, others, file, in_browser=given["in_browser"]))
    if not to.is_chosen and output.stdout.isatty():
        # Who pipes it somewhere wants the text.
        output.say(f"this is the text, as {_why_not(output)}")
    ctx.exit(_in_text(output, to, (options, *others), file, given["deadline"]))


def _in_text(
    output: Output, to: Destination, targets: "Sequence[Options]", file: str | None, deadline: float
) -> int:
    """The same as a report."""
    from envdoctor.commands.progress import Progress
    from envdoctor.commands.reports import publish
    from envdoctor.session import Session

    session = Session(deadline)
    if file is not None:
        return publish(output, (session.examine_recorded(file, targets[0]),), to)
    reports = []
    for one in targets:
        with Progress(output) as progress:
            reports.append(session.examine(one, progress.listener))
    return publish(output, tuple(reports), to)


def fits_the_screen(output: Output, to: Destination) -> bool:
    """Whether the full-screen view is wanted, and the terminal can show it."""
    return not to.is_chosen and not _why_not(output)


def _why_not(output: Output) -> str:
    from envdoctor.tui.terminal import why_not

    return why_not(os.environ, (sys.stdin, output.stdout, sys.stderr))


_TO_LEAVE_S = 2.0
"""What the view takes at most to put the terminal back, on a busy machine too."""


def full_screen(
    output: Output,
    options: "Options",
    others: "Sequence[Options]" = (),
    file: str | None = None,
    *,
    in_browser: bool = False,
) -> int:
    """Show the full-screen view; returns the exit code, after a short summary. In a browser,
    standard output is what is shown there, and nothing else."""
    from envdoctor.tui import run

    # Each examination has its time; the user has as much as he wants.
    output.watchdog.limit(NEVER)
    output.watchdog.patience_s = _TO_LEAVE_S
    with OwnTerminal(output.protocol() if in_browser else output.stdout):
        code, summary = run(options, output, path=file, others=others, in_browser=in_browser)
    output.publish(Text(body=summary), Destination(plain=True))
    return code


def _serve(output: Output, options: "Options", file: str | None, port: int) -> None:
    """Show it in a browser until a signal ends that."""
    if importlib.util.find_spec("textual_serve") is None:
        from envdoctor.shell import command as command_line

        install = command_line(sys.executable, "-m", "pip", "install", TEXTUAL_SERVE)
        raise BadInput(f"`--serve` needs the extra envdoctor[serve]: `{install}`")
    from envdoctor.tui import serve
    from envdoctor.tui.browser.command import line_for_a_page

    output.watchdog.limit(NEVER)
    serve(options, output, path=file, port=port, line=line_for_a_page(sys.argv[1:]))


def _refuse_what_would_be_lost(file: str | None, given: dict[str, Any], to: Destination) -> None:
    if file is not None and given["pythons"]:
        raise click.UsageError("FILE is a recorded machine and --python a live target; give one")
    if file is not None and given["calibrate"]:
        raise click.UsageError("a recorded machine cannot be measured; leave --calibrate out")
    if given["port"] is not None and (given["screenshot"] or to.is_chosen):
        raise click.UsageError("--serve shows it in a browser, and writes no picture or report")
    if given["port"] is not None and file == "-":
        raise click.UsageError("each page of --serve reads FILE, and standard input is read once")


def _picture(
    output: Output,
    options: "Options",
    others: "Sequence[Options]",
    file: str | None,
    given: dict[str, Any],
) -> int:
    from envdoctor.tui import picture

    output.watchdog.limit(NEVER)
    svg, keys = given["screenshot"], [key for key in given["keys"].split(",") if key]
    code = picture(
        options, output, path=file, others=others, svg=svg, size=given["size"], keys=keys
    )
    output.say(f"written to {svg}")
    return code
