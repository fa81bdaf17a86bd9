"""What is to become of an environment, whoever manages it."""

from typing import Literal

from msgspec.structs import replace
from packaging.version import Version

from envdoctor.record import Record
from envdoctor.wheel_index import PYTORCH_INDEX, index_of


class Source(Record):
    """Where requirements are taken from, other than the ordinary index.

    `name` is what a project's own file calls it; `option` is how pip is told of it: in place of the
    ordinary index, beside it, or as a page of links. `local` is the local version of all that is
    there, empty where it may have none.
    """

    name: str
    url: str
    option: Literal["--index-url", "--extra-index-url", "-f"] = "--index-url"
    local: str = ""


class Batch(Record):
    """Requirements that come from one place; null is the ordinary index.

    `again` replaces the files of what counts as installed at that version, and leaves what it
    requires alone.
    """

    requirements: tuple[str, ...]
    source: Source | None = None
    again: bool = False


class Change(Record):
    """`dropped` goes for good, `evicted` makes room for what the batches bring; both are names."""

    dropped: tuple[str, ...] = ()
    evicted: tuple[str, ...] = ()
    batches: tuple[Batch, ...] = ()


def pytorch_index(variant: str, *, nightly: bool = False, machine: str | None = None) -> Source:
    """PyTorch's own index of a variant. On x86-64 all that is there has it as local version."""
    local = variant if machine in (None, "x86_64") else ""
    url = index_of(variant, nightly=nightly)
    return Source(name=f"pytorch-{variant}", url=url, local=local)


def pytorch_source(variant: str, torch: str, *, machine: str | None = None) -> Source:
    """Where the builds of a variant are, as pip was told of it in the time of that torch.

    Before 2.0 the index held torch alone, so that it came beside the ordinary one, and before 1.11
    it was a page of links (pytorch.org, Previous Versions).
    """
    index, version = pytorch_index(variant, machine=machine), Version(torch)
    if version < Version("1.11"):
        return replace(index, url=f"{PYTORCH_INDEX}/torch_stable.html", option="-f")
    return replace(index, option="--extra-index-url") if version < Version("2.0") else index
