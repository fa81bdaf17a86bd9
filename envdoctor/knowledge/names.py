"""Which GPU model a name as nvidia-smi, torch or a person writes it stands for."""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

from envdoctor.knowledge.hardware import GpuModel, GpusFile
from envdoctor.record import Record

_BRANDS = frozenset({"nvidia", "tesla"})
_SERIES = frozenset({"geforce", "quadro", "gpu", "generation", "blackwell", "edition"})
"""Words that people leave out."""
_HOUSES = frozenset({"dgx", "hgx", "nvl72"})
"""NVIDIA's names of machines, which people put before or after that of the GPU in them."""
_LAPTOP = frozenset({"gpu", "laptop", "with", "max", "q", "design"})
"""`Laptop GPU`, `with Max-Q Design`."""
_MEMORY = re.compile(r"\b(\d+)\s*gi?b?\b")
_TOLERANCE = 0.15
"""How far the memory that a driver reports may be from the data sheet: ECC and reserved memory
take several per cent, and data sheets mix GB with GiB."""
_MIG = re.compile(r"(?<!\s)\s+mig\s+\d+(?:c\.\d+)?g\.\d+gb\S*$", re.IGNORECASE)
"""A slice of a GPU: `NVIDIA A100-SXM4-40GB MIG 1g.5gb` (NVIDIA MIG user guide, device names)."""
_VGPU = re.compile(
    r"(?:nvidia\s+|grid\s+)?(?P<board>[a-z][\w\s-]*?\d[\w\s]*?(?:-ada)?)(?:\s+dc)?"
    r"-(?:\d-)?\d+(?:[qba]|c(?:me)?)",
    re.IGNORECASE,
)
"""A virtual GPU: `GRID V100D-8Q`, `NVIDIA A40-48Q`, `NVIDIA RTX6000-Ada-48Q`, with the number of
its slices `NVIDIA A100-3-20C` (NVIDIA vGPU user guide, virtual GPU types). Letters behind the
number of a model of one word tell boards of that model apart."""
_QUADRO = re.compile(r"RTX\d000", re.IGNORECASE)
"""Boards of Turing are called so in virtual GPUs; those of Ada have it behind their number."""
_GLUED = re.compile(r"(?<![a-z])(rtx|gtx|mx|quadro|tesla|geforce|titan|pro)(?=\d|a\d|rtx|gtx)")
_SUFFIX = re.compile(r"(?<=\d)(ti)?(super)?(d)?\b(?<!\d)")

_LONGEST = 256
"""Characters of a name; NVML's own limit is 96 (NVML_DEVICE_NAME_V2_BUFFER_SIZE)."""
_KEPT = 4096
"""How many names are kept as words: all of the knowledge's (under 1,000), which every look goes
through, and then some; not every name that a long run meets."""


class Named(Record):
    """What a name may mean.

    `model` is the only model that it can be; `models` all that it may be; `part_of` what it is a
    slice of or a virtual GPU on; `capability` the compute capability that all of them have;
    `vendor` whose GPU it is, if not NVIDIA's; `what` says it in words, where no model is meant.
    """

    model: GpuModel | None = None
    models: tuple[GpuModel, ...] = ()
    capability: str | None = None
    part_of: str | None = None
    vendor: str | None = None
    what: str | None = None


def identify(
    words: str, file: GpusFile, listed: Callable[[str], GpuModel | None] = lambda _: None
) -> Named:
    """All that a name may mean; empty where it is in no way known. `listed` looks it up among the
    GPUs of which no more than the name is known."""
    if len(words) > _LONGEST:
        return Named()
    whole = part_of(words)
    if whole is not None:
        found = identify(whole, file, listed)
        return Named(
            models=found.models,
            capability=found.capability,
            part_of=whole,
            what=f"a part of {whole}",
        )
    stated = _stated_capability(words)
    if stated:
        return Named(capability=stated, what=f"compute capability {stated}")
    for name in file.names:
        if _normal(words) == _normal(name.name):
            models = candidates(name.models, file.gpus)
            return Named(models=models, capability=name.compute_capability, what=name.what)
    model = best_match(words, None, file.gpus)
    if model is not None:
        return Named(model=model, models=(model,), capability=model.compute_capability)
    models = candidates(words, file.gpus)
    if not models or (all(map(_is_laptop, models)) and not _says_laptop(words)):
        other = listed(words)
        if other is not None:
            return Named(model=other, models=(other,), capability=other.compute_capability)
    if models:
        only = models[0] if len(models) == 1 else None
        return Named(model=only, models=models, capability=_common(models))
    return Named(vendor=_other_vendor(words, file))


def part_of(name: str) -> str | None:
    """The GPU that a name of a MIG slice or of a virtual GPU is a part of; None for others."""
    if _MIG.search(name):
        return _MIG.sub("", name)
    match = _VGPU.fullmatch(name.strip())
    if match is None:
        return None
    board = match["board"]
    if _QUADRO.match(board) and "ada" not in board.lower():
        return f"Quadro {board[:7]}"
    if re.search(r"[\s-]", board) or board[:3].lower() == "rtx":
        return board.replace("-", " ")
    model = re.match(r"[a-z]+\d+s?", board, re.IGNORECASE)
    return model[0].upper() if model else None


def best_match(name: str, memory_bytes: int | None, models: Sequence[GpuModel]) -> GpuModel | None:
    """The only model that the name can mean, or None."""
    wanted = _normal(name)
    exact = [one for one in models if wanted in map(_normal, _labels(one))]
    if len(exact) == 1 and _fits(exact[0], memory_bytes):
        return exact[0]
    stated = _MEMORY.search(wanted)
    for strip in (_bare, _short):
        bare = strip(wanted)
        named = [one for one in models if bare in [strip(label) for label in _labels(one)]]
        if stated:
            named = [one for one in named if one.memory_gb == float(stated[1])]
        named = [one for one in named if _fits(one, memory_bytes)]
        if named:
            return named[0] if len(named) == 1 else None
    return None


def candidates(words: str, models: Iterable[GpuModel]) -> tuple[GpuModel, ...]:
    """The models whose name holds all these words. Laptop GPUs only where the words say so."""
    wanted = set(_short(words))
    if not wanted:
        return ()
    found = [one for one in models if any(wanted.issubset(_short(label)) for label in _labels(one))]
    plain = [one for one in found if not _is_laptop(one)]
    return tuple(found if _says_laptop(words) else plain or found)


def _stated_capability(words: str) -> str | None:
    text = words.strip().lower()
    match = re.fullmatch(r"(?:sm_?|cc\s*|compute capability\s*)?(\d{1,2})\.?(\d)a?", text)
    if match and ("." in text or "sm" in text):
        return f"{match[1]}.{match[2]}"
    return None


def _common(models: Iterable[GpuModel]) -> str | None:
    capabilities = {one.compute_capability for one in models}
    return capabilities.pop() if len(capabilities) == 1 else None


def _other_vendor(words: str, file: GpusFile) -> str | None:
    text = words.lower()
    return next((one.vendor for one in file.vendors if re.search(one.pattern, text)), None)


def _labels(model: GpuModel) -> tuple[str, ...]:
    return (model.model, *model.match)


def _says_laptop(words: str) -> bool:
    return bool({"laptop", "max"} & set(_normal(words).split()))


def _is_laptop(model: GpuModel) -> bool:
    return "Laptop" in model.model or "with Max-Q" in model.model


@lru_cache(_KEPT)
def _normal(name: str) -> str:
    words = re.sub(r"[-_/()]", " ", name.lower())
    words = _SUFFIX.sub(_spaced, _GLUED.sub(r"\1 ", words))
    words = re.sub(r"\bmobile\b", "laptop", _MEMORY.sub(r"\1gb", words))
    return " ".join(word for word in words.split() if word not in _BRANDS)


def _spaced(match: re.Match[str]) -> str:
    return "".join(f" {part}" for part in match.groups() if part)


@lru_cache(_KEPT)
def _bare(name: str) -> tuple[str, ...]:
    return tuple(_MEMORY.sub("", _normal(name)).split())


@lru_cache(_KEPT)
def _short(name: str) -> tuple[str, ...]:
    return tuple(word for word in _bare(name) if word not in _SERIES | _HOUSES)


def names_alike(name: str) -> tuple[str, ...]:
    """A name in the forms by which it is compared where nothing but the chip is known: without the
    words for a laptop, which pci.ids has and nvidia-smi has not (`Quadro P3200 Mobile`), and
    without what people leave out where something is left that can mean nothing else."""
    whole = " ".join(word for word in _normal(name).split() if word not in _LAPTOP)
    short = " ".join(word for word in _short(name) if word not in _LAPTOP)
    telling = re.search("[a-z]", short) and re.search("[0-9]", short)
    return (whole, short) if telling else (whole,)


def _fits(model: GpuModel, memory_bytes: int | None) -> bool:
    if memory_bytes is None or model.memory_gb is None:
        return True
    return abs(memory_bytes / 1e9 - model.memory_gb) <= _TOLERANCE * model.memory_gb
