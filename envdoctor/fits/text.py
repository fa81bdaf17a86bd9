"""A verdict on a claim, as text."""

import re
import textwrap

from envdoctor.fits import Combination, Fit, Part

_SHOWN_SOURCES = 2
_OF_THE_MACHINE = frozenset({"gpu", "driver"})
_MARKS = {True: "yes", False: "no", None: "unknown"}


def render_fit(fit: Fit, width: int) -> str:
    """The verdict first, each part with its reason and source, and what comes nearest."""
    lines = [*textwrap.wrap(f"{fit.claim}: {_verdict(fit)}", width, subsequent_indent="  "), ""]
    said = ""
    for part in fit.parts:
        lines += _part(part, width - 10, is_said=part.source == said)
        said = part.source
    if fit.unread:
        lines += ["", f"not understood, and not judged: {', '.join(fit.unread)}"]
    if fit.nearest:
        lines += ["", "nearest that was published"]
        lines += [_combination(one) for one in fit.nearest]
    elif any(part.ok is False for part in fit.parts):
        lines += [
            "",
            "no build in my data works with all that cannot be chosen (GPU, driver, Python)",
        ]
    return "\n".join(lines) + "\n"


def _verdict(fit: Fit) -> str:
    if fit.fits:
        return "published in this combination"
    refusing = list(dict.fromkeys(part.name for part in fit.parts if part.ok is False))
    if refusing and _OF_THE_MACHINE.issuperset(refusing):
        return f"published, but does not run with that {' and '.join(refusing)}"
    if refusing:
        return "not published in this combination"
    if fit.unread and all(part.ok for part in fit.parts):
        return "published, as far as it was understood"
    return "cannot be judged by this data"


def _part(part: Part, width: int, *, is_said: bool) -> list[str]:
    head = f"  {_MARKS[part.ok]:<8}{part.name:<12}{part.claimed}"
    reason = textwrap.wrap(part.reason, width)
    told = "the same" if is_said else _sources(part.source)
    source = textwrap.wrap(f"source: {told}", width) if part.source else []
    return [head, *(f"{'':10}{line}" for line in (*reason, *source))]


def _sources(text: str) -> str:
    """The first of several sources, and how many more there are (JSON has all)."""
    several = list(dict.fromkeys(re.split(r"; (?![^()]*\))", text)))
    more = len(several) - _SHOWN_SOURCES
    shown = "; ".join(several[:_SHOWN_SOURCES])
    return f"{shown}; and {more} more" if more > 0 else shown


def _combination(one: Combination) -> str:
    pins = [f"CUDA {one.cuda}", *([f"cuDNN {one.cudnn}"] if one.cudnn else [])]
    pins += [f"NCCL {one.nccl}"] if one.nccl else []
    keeps = f" (keeps {', '.join(one.keeps)})" if one.keeps else ""
    return f"  torch {one.torch}+{one.variant}: {', '.join(pins)}{keeps}"
