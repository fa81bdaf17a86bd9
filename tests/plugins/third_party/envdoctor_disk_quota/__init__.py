"""A plugin as somebody else would write it: one fact, one probe, one check, one page."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from envdoctor.api import (
    Code,
    Evidence,
    Fact,
    Findings,
    Fix,
    Known,
    Observed,
    Plugin,
    Probe,
    Severity,
    Where,
    check,
)


class Scratch(Fact):
    """The scratch file system. Sizes in bytes."""

    path: str
    free_bytes: int


SCRATCH_FULL = Code(
    id="XQ001",
    name="scratch-full",
    family="scratch-full",
    severity=Severity.WARNING,
    message="`{path}` has {free_bytes} bytes left",
)


def observe() -> Mapping[type[Fact], Known]:
    """Look at the root file system."""
    free = shutil.disk_usage("/").free
    return {Scratch: Observed(value=Scratch(path="/", free_bytes=free), source="statvfs")}


@check(SCRATCH_FULL)
def scratch_full(scratch: Scratch) -> Findings:
    """Fires always, so that the test sees it."""
    yield SCRATCH_FULL.finding(
        path=scratch.path,
        free_bytes=scratch.free_bytes,
        evidence=(Evidence(label="free", value=str(scratch.free_bytes), source="statvfs"),),
        fixes=(Fix(summary="remove old checkpoints"),),
    )


plugin = Plugin(
    name="disk-quota",
    version="1.0",
    probes=(
        Probe(
            name="scratch",
            where=Where.HOST,
            provides=(Scratch,),
            observe=observe,
            static=True,
        ),
    ),
    checks=(scratch_full,),
    pages=Path(__file__).with_name("pages"),
)
