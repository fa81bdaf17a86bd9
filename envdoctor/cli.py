"""The command line: which command, and with which exit code it ends."""

import importlib
import os
import signal
import sys
from typing import Any

import click
from click.core import ParameterSource

from envdoctor import __version__
from envdoctor.commands.errors import BadInput, report_error
from envdoctor.commands.options import report_options, target_options

COMMANDS = {
    "check": "diagnose, without measuring",
    "collect": "record the facts of this machine in a file",
    "calibrate": "measure a ResNet-50 training step",
    "tui": "look around in a diagnosis, full-screen",
    "libs": "show which libraries torch loads, from where and why",
    "predict": "predict the training speed of a GPU, without measuring",
    "gpus": "list the GPUs that are known, by name",
    "prescribe": "list the torch builds that work here, with commands",
    "fits": "judge a claimed combination of versions",
    "knowledge": "show how old the built-in knowledge is",
    "rules": "list all diseases",
    "rule": "show the page of one disease",
    "schema": "print the JSON Schema of the report",
}
"""The commands and their one-line help; each lives in `envdoctor.commands.<name>`, as `command`."""


class LazyGroup(click.Group):
    """A group that imports a command only when it is called, so that `--version` stays quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"envdoctor.commands.{cmd_name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
    epilog="Exit codes: 0 nothing at or above --fail-on, 1 a finding, 2 bad input, "
    "3 something could not be looked at, 130 interrupted.",
)
@click.version_option(__version__, prog_name="envdoctor", message="%(prog)s %(version)s")
@target_options
@click.option("--no-calibrate", is_flag=True, help="Leave the measurement out.")
@click.option(
    "--budget",
    "budget_s",
    type=click.FloatRange(min=1.0),
    metavar="SECONDS",
    help="Time for the measurement: of the CPU in all, of a GPU for each precision.",
)
@report_options
@click.pass_context
def cli(ctx: click.Context, /, **options: Any) -> None:
    """Find out why PyTorch and CUDA do not work here, and whether they are as fast as they should.

    Without a command: diagnose this machine, then measure a short ResNet-50 training step.

    \b
    envdoctor                         diagnose and measure
    envdoctor check --python ./venv   diagnose another environment
    envdoctor check --json            the same for a program
    envdoctor collect -o facts.json   record here, and diagnose anywhere with
    envdoctor check --facts facts.json
    """
    _refuse_lost_options(ctx)
    if ctx.invoked_subcommand is None:
        from envdoctor.commands.everything import everything

        ctx.exit(everything(**options))


def _refuse_lost_options(ctx: click.Context) -> None:
    """An option before a command would be lost without a word."""
    command = ctx.invoked_subcommand
    for parameter in ctx.command.params:
        given = ctx.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE
        if command is not None and given:
            option = parameter.opts[0]
            raise click.UsageError(f"`{option}` stands before `{command}`; put it behind", ctx)


def main() -> None:
    """The entry point. Ends the process with the documented exit code, never with a traceback."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    try:
        code = cli.main(prog_name="envdoctor", standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt):
        click.echo("envdoctor: interrupted", err=True)
        code = 130
    except click.ClickException as error:
        code = report_error(error.format_message(), _context_hint(error))
    except BadInput as error:
        code = report_error(str(error))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    sys.exit(code if isinstance(code, int) else 0)


def _context_hint(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    return f"see `{context.command_path} --help`" if context is not None else ""


def _leave(number: int, frame: object) -> None:
    raise SystemExit(128 + number)
