"""`envdoctor collective`: try an all-reduce under torch's own launcher, and explain what fails."""

import os
from typing import Any

import click

from envdoctor.collective.place import settings_of
from envdoctor.commands.options import output_options, timeout_option
from envdoctor.commands.progress import Progress
from envdoctor.diagnose import diagnose_collective
from envdoctor.output import Destination, Output
from envdoctor.report import CollectiveReport
from envdoctor.session import Session

TIMEOUT_S = 180.0
"""Nearly half of it is for waiting until the other nodes have started."""


@click.command(
    epilog="Exit codes: 0 all ranks reach each other, 1 they do not, 2 bad input, 3 nothing could "
    "be tried, as without torch, or time ran out."
)
@click.option("--python", metavar="PATH", help="Interpreter, venv folder or conda prefix to use.")
@click.option(
    "--nproc",
    type=click.IntRange(1, 1024),
    metavar="N",
    help="Ranks on this node.  [default: one for each GPU, else two in all]",
)
@click.option(
    "--backend",
    type=click.Choice(["auto", "nccl", "gloo"]),
    default="auto",
    show_default=True,
    help="NCCL between GPUs, gloo between CPU processes.",
)
@click.option(
    "--nnodes",
    type=click.IntRange(1, 4096),
    metavar="N",
    help="How many machines take part; the same command is started on each.  [default: 1, or what "
    "torchrun's, Slurm's or Kubeflow's variables say]",
)
@click.option("--node-rank", type=click.IntRange(0), metavar="K", help="Which one this is, from 0.")
@click.option("--master-addr", metavar="HOST", help="Name or address of the node of rank 0.")
@click.option(
    "--master-port",
    type=click.IntRange(1, 65535),
    metavar="PORT",
    help="Its port, the same on every node.  [default: MASTER_PORT, else 29500]",
)
@timeout_option(TIMEOUT_S)
@output_options(CollectiveReport.formats)
@click.pass_context
def command(ctx: click.Context, /, output: Output, to: Destination, **options: Any) -> None:
    """Try a short all-reduce between ranks under torchrun, and explain a hang or an error.

    On one machine, or on several: then the same command is started on each. The ranks go through
    the phases of a job: they meet, connect to each other by plain TCP, form a group, exchange a
    message pair by pair, and sum a tensor. Each says how far it came. Packets go to the nodes of
    the job alone.

    \b
    envdoctor collective
    envdoctor collective --backend gloo --nproc 4 --json
    envdoctor collective --nnodes 2 --node-rank 0 --master-addr node0   first
    envdoctor collective --nnodes 2 --node-rank 1 --master-addr node0   second
    srun --ntasks-per-node=1 envdoctor collective
    """
    names = ("nproc", "backend", "nnodes", "node_rank", "master_addr", "master_port")
    settings = settings_of({name: options[name] for name in names}, os.environ)
    session = Session(options["deadline"])
    # What judges is there before the time runs out.
    session.loaded  # noqa: B018
    with Progress(output) as progress:
        snapshot = session.try_collective(options["python"], settings, on_step=progress.tell)
    report = diagnose_collective(snapshot, session.loaded, session.services)
    output.publish(report, to, report.verdict.value)
    ctx.exit(report.exit_code)
