"""`envdoctor fits`: was this combination of versions ever published?"""

import click

from envdoctor.commands.errors import BadInput
from envdoctor.fits import BadClaim, fit
from envdoctor.fits.text import render_fit
from envdoctor.knowledge import load
from envdoctor.render.json import render_json


@click.command(
    epilog="Exit codes: 0 it was published, 1 it was not or cannot be told, 2 bad input."
)
@click.argument("claim", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as JSON.")
@click.pass_context
def command(ctx: click.Context, /, claim: tuple[str, ...], as_json: bool) -> None:
    """Judge a claimed combination part by part, and name the nearest that exists.

    In free words: torch, cuda (or cu124), rocm, cudnn, nccl, triton, torchvision, torchaudio,
    torchtext, vllm, xformers, numpy, python, glibc, gcc, a system, an architecture, a GPU's name,
    a driver. A beginning of a version is enough: cudnn==8.9. Words that are not understood are
    named.

    \b
    envdoctor fits "torch==2.6.0 cuda==12.1 cudnn==8.9"
    envdoctor fits torch 2.9.1 cu130 on RTX 4090 with driver 550
    envdoctor fits "torch 2.13, driver 535.183.01, gpu RTX 3090" --json
    """
    text = " ".join(claim)
    try:
        verdict = fit(text, load())
    except BadClaim as error:
        raise BadInput(str(error)) from error
    click.echo(render_json(verdict) if as_json else render_fit(text, verdict), nl=False)
    ctx.exit(0 if verdict.fits else 1)
