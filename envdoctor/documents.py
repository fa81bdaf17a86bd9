"""Facts files and reports on disk: read with clear errors, written atomically."""

import os
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from envdoctor.clock import now_utc
from envdoctor.facts import (
    SCHEMA_VERSION,
    BadFacts,
    Fact,
    FactsDocument,
    Snapshot,
    Tool,
    facts_from_builtins,
    facts_to_builtins,
)

MAX_FACTS_BYTES = 64 * 1024 * 1024
"""More than any machine's facts; a larger file is refused before it is read."""


class Unwritable(OSError):
    """An output file that cannot be written; the message names it."""


def facts_document(snapshot: Snapshot) -> FactsDocument:
    """The snapshot as a facts file, stamped with the time and the command."""
    return FactsDocument(
        schema_version=SCHEMA_VERSION,
        tool=Tool(),
        captured_at=now_utc(),
        facts=facts_to_builtins(snapshot),
        captured_with="envdoctor collect",
    )


def read_snapshot(path: str, kinds: Iterable[type[Fact]]) -> Snapshot:
    """The snapshot in a facts file or a report; `-` is standard input.

    Raises BadFacts, whose message names the file, the place and the remedy.
    """
    facts = _facts_of(path, read_json(path))
    try:
        return facts_from_builtins(facts, kinds)
    except BadFacts as error:
        raise BadFacts(f"`{path}`: {error}") from error


def read_json(path: str) -> Any:
    """The JSON document in a file; `-` is standard input. Raises BadFacts."""
    try:
        return msgspec.json.decode(_read(path))
    except msgspec.DecodeError as error:
        raise BadFacts(
            f"`{path}` is not valid JSON ({error}); make it anew with `envdoctor collect`"
        ) from error
    except UnicodeDecodeError as error:
        raise BadFacts(f"`{path}` is not UTF-8 text; is it a facts file?") from error


def _read(path: str) -> bytes:
    if path == "-":
        return sys.stdin.buffer.read(MAX_FACTS_BYTES + 1)
    try:
        size = os.stat(path).st_size
        if size > MAX_FACTS_BYTES:
            limit = MAX_FACTS_BYTES // 2**20
            raise BadFacts(
                f"`{path}` is {size / 2**20:.0f} MiB and a facts file at most {limit} MiB; "
                "is it a facts file?"
            )
        data = Path(path).read_bytes()
    except OSError as error:
        raise BadFacts(f"cannot read `{path}`: {error.strerror}") from error
    if not data.strip():
        raise BadFacts(f"`{path}` is empty; make it anew with `envdoctor collect -o {path}`")
    return data


def _facts_of(path: str, data: Any) -> dict[str, Any]:
    if not isinstance(data, dict) or not isinstance(data.get("facts"), dict):
        raise BadFacts(f"`{path}` holds no facts; a facts file is made by `envdoctor collect`")
    version = data.get("schema_version")
    if not isinstance(version, int):
        raise BadFacts(f"`{path}`: `schema_version` is {version!r}, not a number")
    if version > SCHEMA_VERSION:
        raise BadFacts(
            f"`{path}` has schema {version}, this envdoctor reads up to {SCHEMA_VERSION}; "
            "update envdoctor"
        )
    facts: dict[str, Any] = data["facts"]
    return facts


def write_text(path: str, text: str) -> None:
    """Write a whole file or nothing. Raises Unwritable."""
    target = Path(path)
    try:
        if target.exists() and not target.is_file():
            target.write_text(text, encoding="utf-8")
            return
        folder = target.parent
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=folder, prefix=f".{target.name}.", delete=False
        ) as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(file.name, 0o666 & ~_umask())
        os.replace(file.name, target)
    except OSError as error:
        raise Unwritable(f"cannot write `{path}`: {error.strerror}") from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
