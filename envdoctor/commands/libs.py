"""`envdoctor libs`: which libraries torch loads, from where, and why."""

from typing import Any

import click
import msgspec

from envdoctor.commands.errors import BadInput, nearest
from envdoctor.facts import Observed, Snapshot, Unknown
from envdoctor.facts.libraries import LibraryResolution
from envdoctor.facts.torch import LoadedLibraries
from envdoctor.loader.mapped import Difference, differences
from envdoctor.loader.tree import render_library, render_tree
from envdoctor.options import Options
from envdoctor.render.json import render_json
from envdoctor.session import Session, use_colour, user_redactor


@click.command(epilog="Exit codes: 0 all is found, 1 something is wrong, 2 bad input.")
@click.argument("library", required=False)
@click.option("--python", metavar="PATH", help="Interpreter, venv folder or conda prefix.")
@click.option("--static", is_flag=True, help="Execute nothing of the target's packages.")
@click.option("--facts", metavar="FILE", help="Show recorded facts or a report (- is stdin).")
@click.option("--json", "as_json", is_flag=True, help="Print the resolution as JSON.")
@click.option("--plain", is_flag=True, help="Print text without colour.")
@click.pass_context
def command(ctx: click.Context, /, **options: Any) -> None:
    """Show every library that torch loads: the file that wins, by which rule, and whose it is.

    The ELF files are read and the rules of the loader applied; then torch is imported to compare,
    unless --static is given.

    \b
    envdoctor libs
    envdoctor libs libcudnn.so.9      one library, with what else offers it
    envdoctor libs --json
    """
    resolution, differing = _resolution(options)
    redact = user_redactor()
    if options["as_json"]:
        click.echo(
            render_json(_document(resolution, differing, options["library"]), redact), nl=False
        )
    else:
        click.echo(redact(_text(resolution, differing, options)), nl=False)
    ctx.exit(1 if is_broken(resolution) else 0)


Differences = tuple[Difference, ...] | None


def _resolution(options: dict[str, Any]) -> tuple[LibraryResolution, Differences]:
    """The resolution, and where it differs from what is mapped; None where nothing was loaded."""
    session = Session()
    if options["facts"]:
        snapshot = session.read(options["facts"])
    else:
        snapshot = session.observe(Options(python=options["python"], static=options["static"]))
    loaded = snapshot.value(LoadedLibraries)
    resolution = _known(snapshot)
    if loaded is None:
        return resolution, None
    return resolution, differences(resolution, loaded.paths, session.knowledge.libraries)


def _known(snapshot: Snapshot) -> LibraryResolution:
    fact = snapshot.get(LibraryResolution)
    if isinstance(fact, Observed):
        return fact.value
    assert isinstance(fact, Unknown)
    raise BadInput(f"the libraries could not be worked out: {fact.detail}")


def is_broken(resolution: LibraryResolution) -> bool:
    """Whether something that torch or an extension needs cannot be loaded as it should."""
    faulty = any(one.problems and not one.optional for one in resolution.libraries)
    extensions = any(one.problems for one in resolution.extensions)
    return bool(resolution.import_error) or faulty or extensions


def _document(
    resolution: LibraryResolution, differing: Differences, wanted: str | None
) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.to_builtins(resolution)
    document["differences"] = msgspec.to_builtins(differing)
    if wanted is not None:
        library = resolution.named(wanted)
        if library is None:
            raise _no_such(resolution, wanted)
        document["libraries"] = [msgspec.to_builtins(library)]
    return document


def _text(resolution: LibraryResolution, differing: Differences, options: dict[str, Any]) -> str:
    colour = use_colour() and not options["plain"]
    paint = _red if colour else str
    if options["library"] is None:
        return render_tree(resolution, paint) + _truth(differing)
    text = render_library(resolution, options["library"], paint)
    if text is None:
        raise _no_such(resolution, options["library"])
    return text


def _truth(differing: Differences) -> str:
    if differing is None:
        return ""
    if not differing:
        return "checked: torch was imported, and exactly these files are mapped\n"
    lines = [
        f"differs: {one.soname}: predicted {one.predicted or 'none'}, mapped {one.mapped or 'none'}"
        for one in differing
    ]
    return "\n".join(lines) + "\n"


def _red(text: str) -> str:
    return f"\x1b[1;31m{text}\x1b[0m"


def _no_such(resolution: LibraryResolution, wanted: str) -> BadInput:
    offer = nearest(wanted, (library.soname for library in resolution.libraries))
    offer = offer or "`envdoctor libs` lists them"
    return BadInput(f"torch loads no library called `{wanted}`; {offer}")
