"""Facts files and reports on disk: what is in them, and reading them with clear errors."""

import os
import stat
import sys
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import msgspec

from envdoctor.clock import now_utc
from envdoctor.controls import unescaped
from envdoctor.errors import BadInput
from envdoctor.facts.base import SCHEMA_VERSION, Fact, Known, Observed, Snapshot, Tool, Unknown
from envdoctor.record import Record

MAX_FACTS_BYTES = 64 * 1024 * 1024
"""More than any machine's facts; a larger file is refused before it is read."""


class BadFacts(BadInput):
    """A facts file or report that cannot be used; the message names the place and the remedy."""


class FactsDocument(Record, tag="facts"):
    """A facts file: one machine, recorded. `captured_at` is UTC; `provenance` says how it was made.

    `provenance` is "captured" for facts that probes observed, "synthetic" for those made by hand.
    Texts are escaped (see envdoctor.controls.escaped), so that each is read back as it was.
    """

    formats: ClassVar[tuple[str, ...]] = ("json",)

    schema_version: int
    tool: Tool
    captured_at: str
    facts: dict[str, Any]
    provenance: str = "captured"
    captured_with: str = ""


def facts_to_builtins(snapshot: Snapshot) -> dict[str, Any]:
    """The snapshot as plain JSON values, by the names of the facts' types, sorted."""
    pairs = ((kind.__name__, msgspec.to_builtins(fact)) for kind, fact in snapshot.items())
    return dict(sorted(pairs))


def facts_from_builtins(data: Mapping[str, Any], kinds: Iterable[type[Fact]]) -> Snapshot:
    """The snapshot that `facts_to_builtins` wrote.

    Facts of a type that is not among `kinds` (a plugin that is not installed here) are left out.
    Raises BadFacts where a value does not have its type.
    """
    by_name = {kind.__name__: kind for kind in kinds}
    facts: dict[type[Fact], Known] = {}
    for name, value in data.items():
        kind = by_name.get(name)
        if kind is None:
            continue
        try:
            facts[kind] = msgspec.convert(value, Observed[kind] | Unknown, strict=True)  # type: ignore[valid-type]
        except (msgspec.ValidationError, UnicodeEncodeError) as error:
            # The latter where a name that is no UTF-8 stands in the place of a number or a word.
            raise BadFacts(f"fact `{name}`: {error}") from error
    return Snapshot(facts)


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
    return snapshot_in(path, read_bytes(path), kinds)


def snapshot_in(path: str, data: bytes, kinds: Iterable[type[Fact]]) -> Snapshot:
    """The same for what was read of that file. Raises BadFacts."""
    facts = _facts_of(path, _json_in(path, data))
    try:
        return facts_from_builtins(facts, kinds)
    except BadFacts as error:
        raise BadFacts(f"`{path}`: {error}") from error


def read_json(path: str) -> Any:
    """The JSON document in a file, its texts as they were before they were made fit to be written;
    `-` is standard input. Raises BadFacts."""
    return _json_in(path, read_bytes(path))


def _json_in(path: str, data: bytes) -> Any:
    try:
        document = msgspec.json.decode(data)
        return as_it_was(document) if b"\\\\" in data else document
    except msgspec.DecodeError as error:
        raise BadFacts(
            f"`{path}` is not valid JSON ({error}); write it again with `envdoctor collect`"
        ) from error
    except UnicodeDecodeError as error:
        raise BadFacts(f"`{path}` is not UTF-8 text; is it a facts file?") from error
    except RecursionError as error:
        raise BadFacts(f"`{path}` is nested too deeply; is it a facts file?") from error


def as_it_was(value: Any) -> Any:
    """A JSON value, each text in it without the escapes of a document."""
    if isinstance(value, str):
        return unescaped(value)
    if isinstance(value, dict):
        return {unescaped(key): as_it_was(item) for key, item in value.items()}
    return [as_it_was(item) for item in value] if isinstance(value, list) else value


def read_bytes(path: str) -> bytes:
    """What is in a file; `-` is standard input. Raises BadFacts for one that is too large or holds
    nothing, and for what is no file."""
    data = _read_stdin() if path == "-" else _read_file(path)
    if len(data) > MAX_FACTS_BYTES:
        raise _too_large(path, len(data))
    if not data.strip():
        raise BadFacts(f"`{path}` is empty; write it again with `envdoctor collect`")
    return data


def _read_stdin() -> bytes:
    if sys.stdin is None:
        raise BadFacts("`-` is standard input, which is closed; name a file")
    return sys.stdin.buffer.read(MAX_FACTS_BYTES + 1)


def _read_file(path: str) -> bytes:
    """What is no file is refused, since a pipe or a terminal could be waited for without end."""
    if not path:
        raise BadFacts("a facts file must have a name; `-` is standard input")
    try:
        # Without O_NONBLOCK a pipe is waited for before it can be seen to be one.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return _whole_file(path, descriptor)
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:
        if isinstance(error, BadFacts):
            raise
        reason = getattr(error, "strerror", None) or error
        raise BadFacts(f"cannot read `{path}`: {reason}") from error


def _whole_file(path: str, descriptor: int) -> bytes:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise BadFacts(f"`{path}` is no file; give a facts file, or `-` and pipe it in")
    if status.st_size > MAX_FACTS_BYTES:
        raise _too_large(path, status.st_size)
    with open(descriptor, "rb", closefd=False) as file:
        return file.read(MAX_FACTS_BYTES + 1)


def _too_large(path: str, size: int) -> BadFacts:
    limit = MAX_FACTS_BYTES // 2**20
    return BadFacts(
        f"`{path}` is {size / 2**20:.0f} MiB and a facts file at most {limit} MiB; "
        "is it a facts file?"
    )


def _facts_of(path: str, data: Any) -> dict[str, Any]:
    if not isinstance(data, dict) or not isinstance(data.get("facts"), dict):
        raise BadFacts(f"`{path}` holds no facts; a facts file is made by `envdoctor collect`")
    version = data.get("schema_version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise BadFacts(f"`{path}`: `schema_version` is {version!r}, not a version")
    if version > SCHEMA_VERSION:
        raise BadFacts(
            f"`{path}` has schema {version}, this envdoctor reads up to {SCHEMA_VERSION}; "
            "update envdoctor"
        )
    return upgraded(data["facts"], version)


def upgraded(facts: Mapping[str, Any], version: int) -> dict[str, Any]:
    """The facts of an older schema in the words of this one.

    Schema 1 had one reason, `not-run`, for what the user switched off and for what nobody looked
    at; its detail tells which.
    """
    if version >= 2:
        return dict(facts)
    return {name: _with_reason_of_2(fact) for name, fact in facts.items()}


def _with_reason_of_2(fact: Any) -> Any:
    if not isinstance(fact, dict) or fact.get("reason") != "not-run":
        return fact
    switched_off = str(fact.get("detail", "")).startswith("left out by")
    return {**fact, "reason": "switched-off" if switched_off else "not-observed"}
