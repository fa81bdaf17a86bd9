"""Options that several commands have in common. Imports nothing heavy."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from envdoctor.options import Options

F = TypeVar("F", bound=Callable[..., Any])


def _all_of(*options: Callable[[Any], Any]) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


target_options = _all_of(
    click.option(
        "--python",
        "pythons",
        multiple=True,
        metavar="PATH",
        help="Interpreter, venv folder or conda prefix to examine; repeatable. Default: that of "
        "ENVDOCTOR_PYTHON, else the first with a torch among the active environment, ./.venv, "
        "the doctor's own, python3, python.",
    ),
    click.option("--static", is_flag=True, help="Execute nothing of the target's packages."),
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
"""What is examined, and how far."""

report_options = _all_of(
    click.option("--json", "as_json", is_flag=True, help="Print the report as JSON."),
    click.option("--plain", is_flag=True, help="Print text without colour, also on a terminal."),
    click.option(
        "--fail-on",
        type=click.Choice(["error", "warning"]),
        default="error",
        show_default=True,
        help="The least severity that makes the exit code 1.",
    ),
    click.option("--only", multiple=True, metavar="CODE|NAME|TOPIC", help="Run only these checks."),
    click.option("--skip", multiple=True, metavar="CODE|NAME|TOPIC", help="Leave these out."),
    click.option(
        "-o",
        "--output",
        metavar="FILE",
        help="Write the report to a file (FILE.json: as JSON).",
    ),
)
"""How the diagnosis is judged and written."""


def options_for(python: str | None, options: dict[str, Any]) -> "Options":
    """The options of one examination, from those of the command line."""
    from envdoctor.options import Options

    return Options(
        python=python,
        static=options["static"],
        deep=options["deep"],
        expect=options["expect"],
        timeout_s=options["timeout_s"],
    )
