"""A plugin as somebody else would write it: a stage of its own, and a probe whose decode fails."""

from collections.abc import Mapping
from pathlib import Path

from envdoctor.api import Fact, Known, Observed, Plugin, Probe, Stage, StageResult, Where


class Flavour(Fact):
    """What the torch of the target says of its flavour, and how often that child imported it."""

    word: str
    imports: int


class Unripe(Fact):
    """A fact that its probe never makes."""


FLAVOUR = Stage(
    name="flavour",
    source=Path(__file__).with_name("flavour_stage.py"),
    function="flavour",
    needs=("import torch",),
    timeout_s=30.0,
)


def decode(results: Mapping[str, StageResult]) -> Mapping[type[Fact], Known]:
    """The flavour."""
    data = results[FLAVOUR.name].data
    flavour = Flavour(word=data["word"], imports=data["imports"])
    return {Flavour: Observed(value=flavour, source="torch")}


def fail(results: Mapping[str, StageResult]) -> Mapping[type[Fact], Known]:
    """A decode with a defect."""
    raise ZeroDivisionError("unripe")


plugin = Plugin(
    name="flavour",
    version="1.0",
    probes=(
        Probe(
            name="unripe", where=Where.TARGET, provides=(Unripe,), stages=(FLAVOUR,), decode=fail
        ),
        Probe(
            name="flavour",
            where=Where.TARGET,
            provides=(Flavour,),
            stages=(FLAVOUR,),
            decode=decode,
        ),
    ),
)
