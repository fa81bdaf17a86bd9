"""Where PyTorch's own wheels are."""

PYTORCH_INDEX = "https://download.pytorch.org/whl"
"""PyTorch's own package index; below it one folder a variant (pytorch.org, Get Started)."""


def index_of(variant: str) -> str:
    """The index that holds the builds of a variant (cu126, cpu, rocm6.2)."""
    return f"{PYTORCH_INDEX}/{variant}"
