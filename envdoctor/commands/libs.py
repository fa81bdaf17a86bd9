"""`envdoctor libs`: which libraries torch loads, from where, and why."""

from collections.abc import Mapping
from typing import Any

import click
import msgspec

from envdoctor.commands.kinds import PathName
from envdoctor.commands.options import TIMEOUT_S, output_options, timeout_option
from envdoctor.commands.progress import Progress
from envdoctor.errors import BadInput, Unseen, nearest
from envdoctor.exit_codes import EXIT_INCOMPLETE
from envdoctor.facts import Observed, Snapshot, Unknown
from envdoctor.facts.libraries import LibraryResolution
from envdoctor.facts.torch import LoadedLibraries, TorchImport
from envdoctor.knowledge import load
from envdoctor.loader.mapped import Libraries, differences
from envdoctor.options import Options
from envdoctor.output import Destination, Output
from envdoctor.session import Session


@click.command(
    epilog="Exit codes: 0 all is found, 1 something is wrong, 2 bad input, 3 not all could be "
    "looked at."
)
@click.argument("library", required=False)
@click.option(
    "--python", type=PathName(), metavar="PATH", help="Interpreter, venv folder or conda prefix."
)
@click.option("--static", is_flag=True, help="Execute nothing of the target's packages.")
@click.option(
    "--facts", type=PathName(), metavar="FILE", help="Show recorded facts or a report (- is stdin)."
)
@timeout_option(TIMEOUT_S)
@output_options(Libraries.formats)
@click.pass_context
def command(ctx: click.Context, /, output: Output, to: Destination, **options: Any) -> None:
    """Show every library that torch loads: the file that wins, by which rule, and whose it is.

    The ELF files are read and the rules of the loader applied; then torch is imported to compare,
    unless --static is given.

    \b
    envdoctor libs
    envdoctor libs libcudnn.so.9      one library, with what else offers it
    envdoctor libs --json
    """
    session = Session(options["deadline"])
    snapshot = _snapshot(output, session, options)
    ran_out = session.ran_out(snapshot)
    resolution = _resolution(snapshot, ran_out=ran_out)
    loaded = snapshot.value(LoadedLibraries)
    found = Libraries(
        **msgspec.structs.asdict(resolution),
        differences=differences(resolution, loaded.paths, load().libraries) if loaded else None,
    )
    broken = is_broken(resolution)
    imported = snapshot.value(TorchImport)
    fails = imported is not None and imported.fails
    document = found if options["library"] is None else _only(found, options["library"])
    output.publish(document, to, "something is wrong" if broken or fails else "all is found")
    if ran_out:
        output.say("time ran out before all was looked at; give `--timeout` more seconds")
    elif fails and not broken:
        output.say("`import torch` fails for another reason: `envdoctor check` tells it")
    ctx.exit(1 if broken or fails else EXIT_INCOMPLETE if ran_out else 0)


def _snapshot(output: Output, session: Session, options: Mapping[str, Any]) -> Snapshot:
    if options["facts"] is not None and options["python"] is not None:
        raise BadInput("--facts is for recorded facts and --python a live target; give one")
    if options["facts"] is not None:
        return session.read(options["facts"])
    with Progress(output) as progress:
        live = Options(
            python=options["python"], static=options["static"], timeout_s=options["timeout_s"]
        )
        return session.observe(live, listener=progress.listener)


def _resolution(snapshot: Snapshot, *, ran_out: bool) -> LibraryResolution:
    fact = snapshot.get(LibraryResolution)
    if isinstance(fact, Observed):
        return fact.value
    assert isinstance(fact, Unknown)
    message = f"the libraries could not be worked out: {fact.detail}"
    raise Unseen(message) if ran_out or fact.reason.is_failure else BadInput(message)


def is_broken(resolution: LibraryResolution) -> bool:
    """Whether something that torch or an extension needs cannot be loaded as it should."""
    faulty = any(one.problems and not one.optional for one in resolution.libraries)
    extensions = any(one.problems for one in resolution.extensions)
    return bool(resolution.import_error) or faulty or extensions


def _only(found: Libraries, wanted: str) -> Libraries:
    library = found.named(wanted)
    if library is None:
        offer = nearest(wanted, (one.soname for one in found.libraries))
        offer = offer or "`envdoctor libs` lists them"
        raise BadInput(f"torch loads no library called `{wanted}`; {offer}")
    return msgspec.structs.replace(found, libraries=(library,), asked=library.soname)
