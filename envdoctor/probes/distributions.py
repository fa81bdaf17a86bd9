"""The installed distributions, read from their metadata folders; pip is not asked."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
from packaging.utils import canonicalize_name

from envdoctor.facts.python import Distribution, Distributions
from envdoctor.probes.file_check import MOST_DISTRIBUTIONS
from envdoctor.probes.files import read_text
from envdoctor.record import from_json

_SUFFIXES = (".dist-info", ".egg-info")
_END_OF_HEADER = re.compile(r"\r?\n\r?\n")
_FIELD = re.compile(
    r"^(Name|Version|Requires-Dist|Requires-Python):(.*)$", re.MULTILINE | re.IGNORECASE
)
"""The fields of the core metadata that are used; each is one line."""


MOST_REQUIREMENTS = 8_000_000
"""Characters in all; those of a large environment have a twentieth."""


class TooMany(ValueError):
    """More than any environment has, and more than a report shall hold; the message says what."""


def read_distributions(folders: Sequence[Path]) -> Distributions:
    """Every distribution in these folders, in path order. A damaged one is named as unreadable.

    Raises TooMany.
    """
    items: list[Distribution] = []
    unreadable: list[str] = []
    left = MOST_REQUIREMENTS
    places = list(_metadata_folders(folders))
    if len(places) > MOST_DISTRIBUTIONS:
        raise TooMany(f"{len(places)} distributions, and {MOST_DISTRIBUTIONS} are read")
    for metadata in places:
        distribution = _read(metadata)
        left -= sum(map(len, distribution.requires)) if distribution else 0
        if left < 0:
            raise TooMany(f"requirements of more than {MOST_REQUIREMENTS} characters")
        if distribution is None:
            unreadable.append(str(metadata))
        else:
            items.append(distribution)
    return Distributions(items=tuple(items), unreadable=tuple(unreadable))


def _metadata_folders(folders: Sequence[Path]) -> Iterator[Path]:
    for folder in folders:
        try:
            names = sorted(entry.name for entry in folder.iterdir())
        except OSError:
            continue
        yield from (folder / name for name in names if _is_metadata(name))


def _is_metadata(name: str) -> bool:
    """Whether a name is that of a metadata folder; pip renames to `~` what it is about to remove,
    and leaves it so when it is interrupted."""
    return name.endswith(_SUFFIXES) and not name.startswith("~")


def _read(metadata: Path) -> Distribution | None:
    """A distribution; its folder's name stands in where METADATA is gone. None if nothing tells."""
    text = next((text for text in _texts(metadata) if text), "")
    header = _END_OF_HEADER.split(text, 1)[0]
    fields = [(name.lower(), value.strip()) for name, value in _FIELD.findall(header)]
    first = dict(reversed(fields))
    stem_name, _, stem_version = metadata.name.rpartition(".")[0].partition("-")
    name = first.get("name") or stem_name
    version = first.get("version") or stem_version.split("-")[0]
    if not name or not version:
        return None
    return Distribution(
        name=canonicalize_name(name),
        version=version.strip(),
        location=str(metadata.parent),
        metadata_path=str(metadata),
        installer=_installer(metadata),
        tags=_tags(metadata),
        requires=tuple(value for name, value in fields if name == "requires-dist"),
        requires_python=first.get("requires-python"),
        editable=_is_editable(metadata),
        has_record=os.path.isfile(metadata / "RECORD"),
    )


def _installer(metadata: Path) -> str | None:
    """The one word of INSTALLER (PEP 376): pip, uv, conda, Poetry 2.1.3, debian ..."""
    name = (read_text(metadata / "INSTALLER") or "").strip()
    return name if re.fullmatch(r"[A-Za-z][A-Za-z-]{0,15}(?: v?\d[\w.+]{0,15})?", name) else None


def _texts(metadata: Path) -> Iterator[str | None]:
    yield from (read_text(metadata / name) for name in ("METADATA", "PKG-INFO"))
    if os.path.isfile(metadata):
        yield read_text(metadata)


def _tags(metadata: Path) -> tuple[str, ...]:
    lines = (read_text(metadata / "WHEEL") or "").splitlines()
    return tuple(line[5:].strip() for line in lines if line.startswith("Tag: "))


class _DirInfo(msgspec.Struct):
    editable: bool = False


class _DirectUrl(msgspec.Struct):
    dir_info: _DirInfo | None = None


def _is_editable(metadata: Path) -> bool:
    """From direct_url.json (PEP 610). Its URL is not kept: it may hold credentials."""
    data = from_json(read_text(metadata / "direct_url.json") or "", _DirectUrl)
    return data is not None and data.dir_info is not None and data.dir_info.editable
