"""Torchcodec, whose decoding is done by the FFmpeg of the system."""

import re

from envdoctor.api import (
    Code,
    CompanionImports,
    Evidence,
    Findings,
    Layer,
    Severity,
    Site,
    check,
    packages,
)
from envdoctor_checks.import_failures import NOT_FOUND

FFMPEG_MISSING = Code(
    id="ED378",
    name="ffmpeg-missing",
    family="ffmpeg-missing",
    severity=Severity.ERROR,
    topic="companions",
    layer=Layer.FILES,
    breaks="import:torchcodec",
    message="torchcodec finds no FFmpeg: its libraries are not installed",
    detailed="torchcodec finds no FFmpeg: `{library}` is not installed, nor that of another "
    "release that it can use",
)

_NOT_THERE = re.compile(r"(lib(?:av|sw)\w+\.so\.\d+)" + NOT_FOUND)
_DOES_NOT_FIT = re.compile(r"undefined symbol|version `\w+' not found")


@check(FFMPEG_MISSING)
def ffmpeg_missing(companions: CompanionImports, site: Site) -> Findings:
    """Torchcodec was tried with each release of FFmpeg that it serves, and found none.

    Where one of them was found and does not fit, the others that are not there do not matter.
    """
    found = companions.named("torchcodec")
    if found is None or found.outcome == "ok" or _DOES_NOT_FIT.search(found.message):
        return
    missing = _NOT_THERE.findall(found.message)
    if not missing:
        return
    yield FFMPEG_MISSING.finding(
        library=missing[0],
        evidence=tuple(
            Evidence(label="not found", value=library, source="import torchcodec")
            for library in dict.fromkeys(missing)
        ),
        fixes=(packages.ffmpeg(site),),
        notes=("wheels of torchcodec bring no FFmpeg of their own",),
    )
