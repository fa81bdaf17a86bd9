"""`envdoctor gpus`: the GPUs that the knowledge holds, and the one that a name stands for."""

import click

from envdoctor.commands.kinds import GpuName
from envdoctor.commands.options import output_options
from envdoctor.errors import BadInput, nearest
from envdoctor.knowledge import GpuModel, Knowledge, Named, load
from envdoctor.knowledge.listing import GpuList
from envdoctor.output import Destination, Output

_OFFERED = 8


@click.command(epilog="Exit codes: 0 some are known, 2 none is.")
@click.argument("words", type=GpuName(), nargs=-1)
@output_options(GpuList.formats)
def command(output: Output, to: Destination, words: tuple[str, ...]) -> None:
    """List the GPUs of the knowledge: compute capability, memory, and the name in nvidia-smi.

    \b
    envdoctor gpus
    envdoctor gpus h100
    envdoctor gpus rtx 4090
    """
    knowledge = load()
    models = matching(" ".join(words), knowledge) if words else knowledge.gpus
    output.publish(GpuList(gpus=models), to)


def matching(words: str, knowledge: Knowledge) -> tuple[GpuModel, ...]:
    """The models that these words may mean. Raises BadInput where there is none."""
    found = knowledge.named(words)
    models = found.models or _of_capability(found, knowledge)
    if models:
        return models
    raise BadInput(_not_known(words, found, knowledge))


def _of_capability(found: Named, knowledge: Knowledge) -> tuple[GpuModel, ...]:
    """The models that are meant where a compute capability was named, and nothing else."""
    if found.what != f"compute capability {found.capability}":
        return ()
    return tuple(one for one in knowledge.gpus if one.compute_capability == found.capability)


def known_gpu(words: str, knowledge: Knowledge) -> GpuModel:
    """The GPU model of a name as the user writes it. Raises BadInput with those that it may be."""
    found = knowledge.named(words)
    if found.model is not None and found.part_of is None:
        return found.model
    raise BadInput(_not_known(words, found, knowledge))


def _not_known(words: str, found: Named, knowledge: Knowledge) -> str:
    if found.vendor:
        return f"`{words}` is a GPU of {found.vendor}; only NVIDIA's are known"
    if found.part_of:
        whole = _names(found.models) or found.part_of
        return f"`{words}` is a part of a GPU, of which nothing is known; the whole is {whole}"
    models = found.models or _of_capability(found, knowledge)
    if models:
        return f"`{words}` may be {_names(models)}; name one of them"
    if found.what:
        known = f"`{words}` is {found.what}"
        if found.capability not in found.what.split():
            known += f", compute capability {found.capability}"
        return f"{known}; no model of that kind is in my data"
    offer = nearest(words, [one.model.removeprefix("GeForce ") for one in knowledge.gpus])
    return f"`{words}` is no GPU in my data; {offer or '`envdoctor gpus` lists them'}"


def _names(models: tuple[GpuModel, ...]) -> str:
    names = [one.model for one in models]
    more = f" and {len(names) - _OFFERED} more" if len(names) > _OFFERED else ""
    return ", ".join(names[:_OFFERED]) + more
