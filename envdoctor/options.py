"""What the user wants of an examination."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the user wants of an examination. `static` executes nothing of the target's packages;
    `deep` hashes every installed file; `timeout_s` bounds the whole."""

    python: str | None = None
    static: bool = False
    deep: bool = False
    expect: Literal["gpu", "cpu"] | None = None
    timeout_s: float = 300.0
