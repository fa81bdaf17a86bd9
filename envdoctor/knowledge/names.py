"""Which GPU model a name as nvidia-smi prints it stands for."""

import re
from collections.abc import Sequence

from envdoctor.knowledge.records import GpuModel

_BRANDS = frozenset({"nvidia", "tesla"})
_MEMORY = re.compile(r"\b(\d+)\s*gb?\b")
_TOLERANCE = 0.15
"""How far the memory that a driver reports may be from the data sheet: ECC and reserved memory
take several per cent, and data sheets mix GB with GiB."""


def best_match(name: str, memory_bytes: int | None, models: Sequence[GpuModel]) -> GpuModel | None:
    """The only model that the name can mean, or None."""
    wanted = _normal(name)
    exact = [one for one in models if wanted in map(_normal, (one.model, *one.match))]
    if len(exact) == 1 and _fits(exact[0], memory_bytes):
        return exact[0]
    bare = _MEMORY.sub("", wanted).split()
    named = [one for one in models if bare in [_bare(label) for label in (one.model, *one.match)]]
    stated = _MEMORY.search(wanted)
    if stated:
        named = [one for one in named if one.memory_gb == float(stated[1])]
    named = [one for one in named if _fits(one, memory_bytes)]
    return named[0] if len(named) == 1 else None


def capability_of_words(words: str, models: Sequence[GpuModel]) -> str | None:
    """The one compute capability of all models whose name holds these words."""
    stated = re.fullmatch(r"(?:sm_?|cc)?(\d+)\.?(\d)a?", words.strip().lower())
    if stated and ("." in words or "sm" in words.lower()):
        return f"{stated[1]}.{stated[2]}"
    exact = best_match(words, None, models) or best_match(f"GeForce {words}", None, models)
    if exact is not None:
        return exact.compute_capability
    wanted = set(_normal(words).split())
    named = [
        one
        for one in models
        if wanted
        and any(wanted <= set(_normal(label).split()) for label in (one.model, *one.match))
    ]
    capabilities = {one.compute_capability for one in named}
    return capabilities.pop() if len(capabilities) == 1 else None


def _normal(name: str) -> str:
    words = re.sub(r"[-_/()]", " ", name.lower())
    words = _MEMORY.sub(r"\1gb", words)
    return " ".join(word for word in words.split() if word not in _BRANDS)


def _bare(name: str) -> list[str]:
    return _MEMORY.sub("", _normal(name)).split()


def _fits(model: GpuModel, memory_bytes: int | None) -> bool:
    if memory_bytes is None or model.memory_gb is None:
        return True
    return abs(memory_bytes / 1e9 - model.memory_gb) <= _TOLERANCE * model.memory_gb
