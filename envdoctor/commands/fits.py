"""`envdoctor fits`: was this combination of versions ever published?"""

import click

from envdoctor.commands.options import output_options
from envdoctor.fits import Fit, fit
from envdoctor.knowledge import load
from envdoctor.output import Destination, Output


@click.command(
    epilog="Exit codes: 0 it was published, 1 it was not or cannot be told, 2 bad input."
)
@click.argument("claim", nargs=-1, required=True)
@output_options(Fit.formats)
@click.pass_context
def command(ctx: click.Context, /, output: Output, to: Destination, claim: tuple[str, ...]) -> None:
    """Judge a claimed combination part by part, and name the nearest that exists.

    In free words: torch, cuda (or cu124), rocm, cudnn, nccl, triton, torchvision, torchaudio,
    torchtext, vllm, xformers, flash-attn, bitsandbytes, torchao, torchcodec, numpy, python, glibc,
    gcc, a system, an architecture, a GPU's name, a driver. A beginning of a version is enough
    (cudnn==8.9), and so is a range (torch>=2.4,<2.6). Words that are not understood are named.

    \b
    envdoctor fits "torch==2.6.0 cuda==12.1 cudnn==8.9"
    envdoctor fits torch 2.9.1 cu130 on RTX 4090 with driver 550
    envdoctor fits "torch 2.13, driver 535.183.01, gpu RTX 3090" --json
    """
    verdict = fit(" ".join(claim), load())
    output.publish(verdict, to, "it was published" if verdict.fits else "it does not fit")
    ctx.exit(0 if verdict.fits else 1)
