"""A verdict on a claim, as text."""

import textwrap

from envdoctor.fits import Combination, Fit, Part

_WIDTH = 96
_MARKS = {True: "yes", False: "no", None: "unknown"}


def render_fit(fit: Fit) -> str:
    """The verdict in one line, each part with its reason and source, and what comes nearest."""
    lines = [f"{fit.claim}: {_verdict(fit)}", ""]
    for part in fit.parts:
        lines += _part(part)
    if fit.nearest:
        lines += ["", "nearest that was published"]
        lines += [_combination(one) for one in fit.nearest]
    elif any(part.ok is False for part in fit.parts):
        lines += [
            "",
            "no published build works with all that cannot be chosen (GPU, driver, Python)",
        ]
    return "\n".join(lines) + "\n"


def _verdict(fit: Fit) -> str:
    if fit.fits:
        return "published in this combination"
    if any(part.ok is False for part in fit.parts):
        return "never published in this combination"
    return "cannot be judged by this data"


def _part(part: Part) -> list[str]:
    head = f"  {_MARKS[part.ok]:<8}{part.name:<12}{part.claimed}"
    reason = textwrap.wrap(part.reason, _WIDTH - 10)
    first = part.source.partition("; ")[0]
    source = textwrap.wrap(f"source: {first}", _WIDTH - 10) if first else []
    return [head, *(f"{'':10}{line}" for line in (*reason, *source))]


def _combination(one: Combination) -> str:
    pins = [f"CUDA {one.cuda}", *([f"cuDNN {one.cudnn}"] if one.cudnn else [])]
    pins += [f"NCCL {one.nccl}"] if one.nccl else []
    keeps = f" (keeps {', '.join(one.keeps)})" if one.keeps else ""
    return f"  torch {one.torch}+{one.variant}: {', '.join(pins)}{keeps}"
