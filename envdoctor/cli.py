"""The command line: which command, and with which exit code it ends."""

import importlib
import os
import signal
import sys
import threading
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any, TextIO

import click
from click.core import ParameterSource

from envdoctor import __version__
from envdoctor.commands.options import (
    FORMAT,
    Number,
    model_option,
    output_options,
    selection_options,
    target_options,
)
from envdoctor.errors import BadInput, Unseen, Unwritable, files_refused, limit_reached, nearest
from envdoctor.exit_codes import EXIT_INCOMPLETE, EXIT_OWN_FAULT, EXIT_USAGE
from envdoctor.formats import DIAGNOSIS, MACHINE
from envdoctor.output import DEBUG, Destination, Output
from envdoctor.output.streams import columns_of
from envdoctor.watchdog import Terminated

COMMANDS = {
    "check": "diagnose, without measuring",
    "collect": "record the facts of this machine in a file",
    "lock": "record this machine as a policy that others are held to",
    "calibrate": "measure a training step of ResNet-50 or GPT-2",
    "collective": "try an all-reduce between ranks, and explain what fails",
    "tui": "browse a diagnosis full-screen",
    "diff": "tell how two machines or environments differ",
    "libs": "show which libraries torch loads, from where and why",
    "predict": "predict the training speed of a GPU, without measuring",
    "gpus": "list the GPUs that are known, by name",
    "prescribe": "list the torch builds that work here, with commands",
    "fits": "judge a claimed combination of versions",
    "knowledge": "show how old the built-in knowledge is",
    "rules": "list all diseases",
    "rule": "show the page of one disease",
    "schema": "print the JSON Schema of the report",
    "mcp": "serve agents by the Model Context Protocol",
    "completion": "print a script that completes words in a shell",
}
"""The commands and their one-line help; each lives in `envdoctor.commands.<name>`, as `command`."""


COMPLETE = "_ENVDOCTOR_COMPLETE"
"""The variable by which a shell asks for what can follow."""

_WIDEST_HELP, _NARROWEST_HELP = 80, 50
"""Columns of the help, as click has them."""

_EXAMINE = (
    None,
    "check",
    "collect",
    "lock",
    "calibrate",
    "collective",
    "tui",
    "diff",
    "libs",
    "prescribe",
    "mcp",
)
"""Those that start children; none is the main job."""


def _own_all_children(ctx: click.Context, output: Output) -> None:
    """This process is the doctor's own, and so is whatever is left below it at the end."""
    from envdoctor.probes.guard import adopt_orphans, end_descendants

    if adopt_orphans():
        ctx.call_on_close(end_descendants)
        output.end_children = end_descendants


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

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if not name.startswith("-") and name not in COMMANDS:
            offer = nearest(name, COMMANDS)
            raise click.UsageError(
                f"no such command `{name}`" + (f"; {offer}" if offer else ""), ctx
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": _WIDEST_HELP},
    epilog="Exit codes: 0 nothing at or above --fail-on, 1 a finding, 2 bad input or an output "
    "that cannot be written, 3 something could not be looked at, 4 envdoctor itself failed "
    f"({DEBUG}=1 shows where), 130 interrupted, 143 terminated.",
)
@click.version_option(
    __version__, "-V", "--version", prog_name="envdoctor", message="%(prog)s %(version)s"
)
@target_options
@click.option("--no-calibrate", is_flag=True, help="Leave the measurement out.")
@click.option(
    "--budget",
    "budget_s",
    type=Number(min=1.0),
    metavar="SECONDS",
    help="Time for the measurement: of the CPU in all, of a GPU for each precision.",
)
@model_option
@selection_options
@output_options(DIAGNOSIS)
@click.pass_context
def cli(ctx: click.Context, /, output: Output, to: Destination, **options: Any) -> None:
    """Find out why PyTorch and CUDA do not work here, and whether they are as fast as they should.

    Without a command: diagnose this machine, then measure a short training step.

    \b
    envdoctor                         diagnose and measure
    envdoctor check --python ./venv   diagnose another environment
    envdoctor check --json            the same for a program
    envdoctor collect -o facts.json   record here, and diagnose anywhere with
    envdoctor check --facts facts.json
    """
    _refuse_lost_options(ctx)
    if ctx.invoked_subcommand in _EXAMINE:
        _own_all_children(ctx, output)
    if ctx.invoked_subcommand is None:
        from envdoctor.commands.everything import everything

        ctx.exit(everything(output, to, **options))


def _refuse_lost_options(ctx: click.Context) -> None:
    """An option before a command would be lost without a word."""
    command = ctx.invoked_subcommand
    for parameter in ctx.command.params:
        given = ctx.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE
        if command is not None and given:
            option = parameter.opts[0]
            raise click.UsageError(f"put `{option}` after `{command}`", ctx)


def main(began: float | None = None) -> None:
    """The entry point. Ends the process with the documented exit code, never with a traceback.

    `began` is the moment of the monotonic clock at which the program began, where that was before.
    """
    output = Output(machine=machine_format_in(sys.argv[1:]), began=began)
    threading.excepthook = output.thread_failed
    try:
        code = _exit_code(output)
    except (KeyboardInterrupt, Terminated) as end:
        # A second one, while the first was told.
        number = getattr(end, "number", signal.SIGINT)
        code = output.last_resort("interrupted", 128 + number)
    except BaseException as error:
        limit = files_refused(error)
        number = EXIT_INCOMPLETE if limit else EXIT_OWN_FAULT
        code = output.last_resort(limit or "failed itself", number)
    output.watchdog.dismiss()
    sys.exit(code)


def _exit_code(output: Output) -> int:
    try:
        output.watchdog.start()
        code = _run(output)
    except click.exceptions.Abort:
        return output.ended_by(signal.SIGINT)
    except (KeyboardInterrupt, Terminated) as end:
        return output.ended_by(getattr(end, "number", signal.SIGINT))
    except click.ClickException as error:
        output.machine = output.machine or _always_for_machines(error)
        return output.fail(_usage(error), EXIT_USAGE)
    except (BadInput, Unwritable) as error:
        return output.fail(str(error), EXIT_USAGE)
    except Unseen as error:
        return output.fail(str(error), EXIT_INCOMPLETE)
    except BaseException as error:
        limit = limit_reached(error)
        if limit:
            return output.fail(limit, EXIT_INCOMPLETE)
        # Also what a plugin raises to end the program, as SystemExit(0).
        return output.own_fault(error)
    number = output.watchdog.number
    return code if number is None or output.has_begun else output.ended_by(number)


def _run(output: Output) -> int:
    """Not by `cli.main`, which takes EOFError and broken pipes of any kind for its own."""
    if COMPLETE in os.environ:
        return _completed()
    _refuse_a_folder_that_is_gone()
    with output.alone():
        try:
            width = _width_of_help(output.stdout)
            with cli.make_context(
                "envdoctor", sys.argv[1:], obj=output, terminal_width=width
            ) as context:
                cli.invoke(context)
        except click.exceptions.Exit as end:
            return end.exit_code
    return 0


def _completed() -> int:
    """Tell a shell what can follow; click ends the program with it."""
    try:
        cli.main(prog_name="envdoctor", complete_var=COMPLETE)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0


def _width_of_help(stdout: TextIO) -> int | None:
    """As click would choose it, which asks standard output: that is held by then."""
    if not stdout.isatty():
        return None
    return max(min(columns_of(stdout), _WIDEST_HELP) - 2, _NARROWEST_HELP)


def machine_format_in(words: Sequence[str]) -> str | None:
    """The format in which errors are documents, before the options are understood; `to` is right
    later."""
    for word, value in zip_longest(words, words[1:], fillvalue=""):
        name = value if word == "--format" else word.removeprefix("--format=")
        if word == "--json" or name in MACHINE:
            return "json" if word == "--json" else name
    return None


def _always_for_machines(error: click.ClickException) -> str | None:
    """The format of the command whose options are refused, where that has none for people."""
    context = getattr(error, "ctx", None)
    parameters = context.command.params if context is not None else ()
    choices = [one.type.choices for one in parameters if one.name == FORMAT]
    return next((one[0] for one in choices if MACHINE.issuperset(one)), None)


def _refuse_a_folder_that_is_gone() -> None:
    try:
        os.getcwd()
    except OSError as error:
        raise BadInput(
            f"the current folder is gone ({error.strerror}); `cd` to another one"
        ) from error


def _usage(error: click.ClickException) -> str:
    message = error.format_message().rstrip(".")
    context = getattr(error, "ctx", None)
    hint = f"; see `{context.command_path} --help`" if context is not None else ""
    return message[:1].lower() + message[1:] + hint
