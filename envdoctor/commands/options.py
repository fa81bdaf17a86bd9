"""Options that several commands have in common. Imports nothing heavy."""

import functools
import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from envdoctor.commands.kinds import CodeName, OneOf, PathName
from envdoctor.errors import BadInput
from envdoctor.formats import DIAGNOSIS, ENDINGS, MACHINE, OTHERS, Detail
from envdoctor.output import Destination, Output
from envdoctor.output.streams import is_standard_output

if TYPE_CHECKING:
    from envdoctor.options import Options

F = TypeVar("F", bound=Callable[..., Any])


class Number(click.FloatRange):
    """A finite number of a range; `nan` is in no range and outside of none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is no number to count with", param, ctx)
        return number


def _all_of(*options: Callable[[Any], Any]) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


TIMEOUT_S = 300.0
"""How long a run may take that only looks."""


def timeout_option(default_s: float | None) -> Callable[[F], F]:
    """The limit of the whole run; null: none. The command gets the end as well, as `deadline`."""
    return click.option(
        "--timeout",
        "timeout_s",
        type=Number(min=1.0),
        default=default_s,
        show_default=True,
        metavar="SECONDS",
        help="Limit for the whole run.",
    )


target_options = _all_of(
    click.option(
        "--python",
        "pythons",
        type=PathName(),
        multiple=True,
        metavar="PATH",
        help="Interpreter, venv folder or conda prefix to examine; repeatable. Default: that of "
        "ENVDOCTOR_PYTHON, else the first with a torch among the active environment, ./.venv, "
        "the doctor's own, python3, python.",
    ),
    click.option("--static", is_flag=True, help="Execute nothing of the target's packages."),
    click.option("--deep", is_flag=True, help="Hash every installed file."),
    click.option(
        "--companions",
        type=click.Choice(["none", "light", "all"]),
        default="light",
        show_default=True,
        help="Which libraries built on torch are imported: of those that take seconds (vllm, "
        "tensorflow) `light` loads the compiled modules alone.",
    ),
    click.option(
        "--expect",
        type=click.Choice(["gpu", "cpu"]),
        help="What torch is expected to use; a missing GPU is then an error.",
    ),
    click.option(
        "--scope",
        type=click.Choice(["node", "user"]),
        help="Judge the machine alone, without a target (node: for the prolog of a scheduler), or "
        "the target alone, without the GPUs (user).",
    ),
    click.option(
        "--root",
        type=PathName("dir"),
        metavar="DIR",
        help="Look at the file system below DIR (a mounted disk, an unpacked image); nothing of it "
        "is executed.",
    ),
    timeout_option(TIMEOUT_S),
)
"""What is examined, and how far."""


def words_of(values: Sequence[str]) -> tuple[str, ...]:
    """The words of an option that is given several times, or once with commas."""
    return tuple(word.strip() for value in values for word in value.split(","))


def _words(ctx: click.Context, param: click.Parameter, values: Sequence[str]) -> tuple[str, ...]:
    return words_of(values)


_TRIED = ("compile", "extend")


def _tried(ctx: click.Context, param: click.Parameter, values: Sequence[str]) -> tuple[str, ...]:
    words = words_of(values)
    unknown = next((word for word in words if word not in _TRIED), None)
    if unknown is not None:
        raise BadInput(f"--try `{unknown}` is nothing to try; give compile or extend")
    return tuple(dict.fromkeys(words))


try_option = click.option(
    "--try",
    "tried",
    type=OneOf(_TRIED),
    multiple=True,
    callback=_tried,
    metavar="compile|extend",
    help="Try torch.compile, or building an extension, as well, and judge it; repeatable, or a "
    "list with commas. Takes the compilers half a minute and more.",
)
"""What is run only where somebody asks for it."""


model_option = click.option(
    "--model",
    type=click.Choice(["resnet50", "gpt2"]),
    default="resnet50",
    show_default=True,
    help="What is trained: ResNet-50 on images, or GPT-2 124M on tokens.",
)
"""What is measured."""

_LABELS = "CODE|NAME|TOPIC"

selection_options = _all_of(
    click.option(
        "--fail-on",
        type=click.Choice(["error", "warning"]),
        default="error",
        show_default=True,
        help="The least severity that makes the exit code 1.",
    ),
    click.option(
        "--only",
        type=CodeName(),
        multiple=True,
        callback=_words,
        metavar=_LABELS,
        help="Run only these checks; repeatable, or a list with commas.",
    ),
    click.option(
        "--skip",
        type=CodeName(),
        multiple=True,
        callback=_words,
        metavar=_LABELS,
        help="Not these.",
    ),
    click.option(
        "--policy",
        type=PathName(),
        metavar="FILE",
        help="Hold the machine to a policy: envdoctor.toml, a lock of `envdoctor lock`, or "
        "[tool.envdoctor] of a pyproject.toml.",
    ),
)
"""What is diagnosed, and how it is judged."""


FORMAT = "format_name"
"""The name of the parameter that holds the format, and whose choices begin with the default."""

pass_output = click.make_pass_decorator(Output, ensure=True)
"""Gives a command the way out of this run as its first argument."""


_detail_options = _all_of(
    click.option(
        "-v", "--verbose", is_flag=True, help="Tell also what was not looked at, and why."
    ),
    click.option(
        "-q", "--quiet", is_flag=True, help="Only the verdict, the root cause and what to do."
    ),
)


def output_options(formats: Sequence[str]) -> Callable[[F], F]:
    """How the document of a command is written, and where to; `formats` are those of its type.

    The command gets the way out of this run and the destination, as `output` and `to`; one that has
    a time limit also its end, as `deadline`.
    """
    options = _all_of(
        click.option("--format", FORMAT, type=click.Choice(formats), help="How it is written."),
        click.option("--json", "as_json", is_flag=True, help="The same as --format json."),
        click.option("--plain", is_flag=True, help="Text without colour, also on a terminal."),
        click.option(
            "--color",
            "colour",
            type=click.Choice(["auto", "always", "never"]),
            default="auto",
            help="Colour in the text; auto heeds the terminal, NO_COLOR and FORCE_COLOR.",
        ),
        click.option(
            "-o",
            "--output",
            "output_files",
            type=PathName(),
            multiple=True,
            metavar="[FORMAT=]FILE",
            help=f"Write a file; its ending may name the format ({_endings(formats)}). With a "
            "format before it: beside what is written anyway; repeatable.",
        ),
    )

    if formats is DIAGNOSIS:
        options = _all_of(options, _detail_options)

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def with_destination(*args: Any, **given: Any) -> Any:
            output = click.get_current_context().ensure_object(Output)
            output.serves_a_command = True
            to = _destination(lambda name: given.pop(name, None), output, formats)
            if "timeout_s" in given and click.get_current_context().invoked_subcommand is None:
                given["deadline"] = output.limit(given["timeout_s"])
            return function(*args, output=output, to=to, **given)

        return options(cast(F, with_destination))

    return decorate


def _destination(take: Callable[[str], Any], output: Output, formats: Sequence[str]) -> Destination:
    name, as_json = take(FORMAT), take("as_json")
    words, plain, colour = take("output_files"), take("plain"), take("colour")
    detail = _detail(take)
    if as_json and name not in (None, "json"):
        raise BadInput(f"--json and --format {name} contradict each other; give one")
    wanted = "json" if as_json else name
    files = [_file_of(word, formats) for word in words]
    file = _main_file(files)
    shown = wanted or (formats[0] if file is None else None)
    output.machine = output.machine or (shown if shown in MACHINE else None)
    copies = [Destination(format=one, file=path, detail=detail) for one, path in files if one]
    return Destination(
        format=wanted, file=file, plain=plain, colour=colour, detail=detail, copies=copies
    )


def _file_of(word: str, formats: Sequence[str]) -> tuple[str | None, str]:
    """The format that is named before a file, if any, and the file. Raises BadInput."""
    name, equals, path = word.partition("=")
    named = name if equals and name in (*DIAGNOSIS, *OTHERS) else None
    if named is not None and named not in formats:
        raise BadInput(f"-o {word}: there is no {named} of this; it is {', '.join(formats)}")
    file = word if named is None else path
    if not file:
        raise BadInput("-o takes the name of a file, not an empty one")
    if named is not None and is_standard_output(file):
        raise BadInput(f"-o {word} would be a second document; give --format {named} instead")
    return named, file


def _main_file(files: Sequence[tuple[str | None, str]]) -> str | None:
    """The file that is written instead of standard output. Raises BadInput."""
    paths = [os.path.realpath(path) for _, path in files if "\0" not in path]
    again = next((path for path in paths if paths.count(path) > 1), None)
    if again is not None:
        raise BadInput(f"-o names `{again}` twice; give each format a file of its own")
    unnamed = [path for name, path in files if name is None]
    if len(unnamed) > 1:
        raise BadInput(f"-o {unnamed[1]}: say in which format, as in -o json={unnamed[1]}")
    return unnamed[0] if unnamed else None


def _detail(take: Callable[[str], Any]) -> Detail:
    verbose, quiet = take("verbose"), take("quiet")
    if verbose and quiet:
        raise BadInput("--verbose and --quiet contradict each other; give one")
    return "full" if verbose else "brief" if quiet else "normal"


def _endings(formats: Sequence[str]) -> str:
    return ", ".join(ending for ending, name in ENDINGS.items() if name in formats)


def options_for(python: str | None, given: dict[str, Any], *, calibrate: bool = False) -> "Options":
    """The options of one examination, from those of the command line that the command has."""
    from envdoctor.options import Options

    root, scope = _root_of(given["root"]), given["scope"]
    tried = given.get("tried", ())
    _refuse_what_is_out_of_scope(scope, python, given["expect"])
    _refuse_to_try(tried, given)
    if root is not None and scope is None:
        from envdoctor.find_target import scope_below

        scope = scope_below(root, python)
    return Options(
        python=python,
        static=given["static"] or root is not None,
        deep=given["deep"],
        companions=given["companions"],
        tried=tried,
        expect=given["expect"],
        scope=scope,
        root=root,
        timeout_s=given["timeout_s"],
        only=given.get("only", ()),
        skip=given.get("skip", ()),
        fail_on=given.get("fail_on", "error"),
        policy=given.get("policy"),
        calibrate=calibrate,
        model=given.get("model", "resnet50"),
        budget_s=given.get("budget_s"),
    )


def _refuse_what_is_out_of_scope(scope: str | None, python: str | None, expect: str | None) -> None:
    if scope == "node" and python is not None:
        raise BadInput("--scope node looks at no target and --python names one; give one")
    if scope == "user" and expect == "gpu":
        raise BadInput("--scope user judges no GPU and --expect gpu asks for one; give one")


def _refuse_to_try(tried: Sequence[str], given: Mapping[str, Any]) -> None:
    """Raise BadInput where something is to be tried and nothing is to be run."""
    reasons = {
        "--static": (given["static"], "executes nothing of the target"),
        "--root": (given["root"] is not None, "executes nothing of another file system"),
        "--scope node": (given["scope"] == "node", "looks at no target"),
        "--facts": (given.get("facts") is not None, "diagnoses recorded facts"),
    }
    against = next((name for name, (is_given, _) in reasons.items() if is_given), None)
    if tried and against is not None:
        why = reasons[against][1]
        raise BadInput(f"{against} {why} and --try {','.join(tried)} runs its torch; give one")


_OF_A_ROOT = ("etc", "usr", "proc", "sys")
"""Folders of which a file system that something runs on has one (hier(7))."""


def _root_of(root: str | None) -> str | None:
    """The absolute path of another root. Raises BadInput for what is none."""
    if root is None:
        return None
    path = os.path.realpath(root)
    if not os.path.isdir(path):
        raise BadInput(f"--root `{root}` is no folder")
    if path == "/":
        raise BadInput("--root / is this machine itself; leave it out")
    if not any(os.path.isdir(os.path.join(path, name)) for name in _OF_A_ROOT):
        held = "none of " + ", ".join(_OF_A_ROOT)
        raise BadInput(f"--root `{root}` is no root of a file system: it holds {held}")
    return path
