"""What the user wants of an examination."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the user wants of an examination. `static` executes nothing of the target's packages;
    `deep` hashes every installed file; `timeout_s` bounds the whole."""

    python: str | None = None
    static: bool = False
    deep: bool = False
    expect: str | None = None
    timeout_s: float = 300.0
    env: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
