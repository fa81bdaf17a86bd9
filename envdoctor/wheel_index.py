"""Where PyTorch's own wheels are."""

import re

PYTORCH_INDEX = "https://download.pytorch.org/whl"
"""PyTorch's own package index; below it one folder a variant (pytorch.org, Get Started)."""

_VARIANT = re.compile(r"cpu|xpu|cu\d{2,3}|rocm\d+\.\d+(?:\.\d+)?")


def index_of(variant: str, *, nightly: bool = False) -> str:
    """The index that holds the builds of a variant (cu126, cpu, rocm6.2)."""
    return f"{PYTORCH_INDEX}/{'nightly/' if nightly else ''}{variant}"


def is_variant(tag: str) -> bool:
    """Whether a local version names an index of PyTorch's; those of vendors and sources do not."""
    return _VARIANT.fullmatch(tag) is not None
