"""Package indexes and wheels read over the network, as little of them as is needed.

Only the refresh of the knowledge uses this; the doctor itself never goes online.
Sources: PEP 503 and 691 (simple index), PEP 658 and 714 (metadata beside the wheel), RFC 9110
(range requests).
"""

import io
import os
import shutil
import subprocess
import urllib.parse
import urllib.request
import zipfile
from email.parser import HeaderParser
from typing import Any

import msgspec

from envdoctor.record import Record

MAX_BYTES = 5 * 1024 * 1024
"""The most that is read of one wheel. Its table of contents and METADATA are 1 to 2 MiB."""
_JSON = "application/vnd.pypi.simple.v1+json"
_TIMEOUT_S = 60.0
_TAIL = 256 * 1024


class TooMuch(RuntimeError):
    """A wheel of which more than MAX_BYTES would have to be read."""


class RemoteFile(Record):
    """A file of a project on an index."""

    filename: str
    url: str
    size: int | None
    upload_time: str | None
    yanked: bool
    has_metadata: bool


class Metadata(Record):
    """What a wheel requires, and how much was read for that."""

    filename: str
    requires: tuple[str, ...]
    requires_python: str | None
    bytes_read: int
    by: str


def configured_index() -> str:
    """The package index that pip is configured for, PyPI where there is none."""
    for variable in ("UV_DEFAULT_INDEX", "PIP_INDEX_URL", "UV_INDEX_URL"):
        if os.environ.get(variable):
            return os.environ[variable].rstrip("/")
    pip = shutil.which("pip")
    if pip:
        asked = subprocess.run(
            [pip, "config", "get", "global.index-url"], capture_output=True, text=True, check=False
        )
        if asked.returncode == 0 and asked.stdout.strip():
            return asked.stdout.strip().rstrip("/")
    return "https://pypi.org/simple"


def files_of(project: str, index: str) -> tuple[RemoteFile, ...]:
    """The files of a project. Raises OSError where the index cannot be read, ValueError where it
    has no JSON form (PEP 691)."""
    base = f"{index}/{project}/"
    request = urllib.request.Request(base, headers={"Accept": _JSON})
    with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
        body = answer.read()
    try:
        listing = msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        raise ValueError(f"`{base}` has no JSON form (PEP 691)") from error
    return tuple(_file(entry, base) for entry in listing["files"])


def _file(entry: dict[str, Any], base: str) -> RemoteFile:
    offered = entry.get("core-metadata") or entry.get("dist-info-metadata")
    return RemoteFile(
        filename=entry["filename"],
        url=urllib.parse.urljoin(base, entry["url"]),
        size=entry.get("size"),
        upload_time=entry.get("upload-time"),
        yanked=bool(entry.get("yanked")),
        has_metadata=bool(offered),
    )


def metadata_of(file: RemoteFile) -> Metadata:
    """The requirements of a wheel. Raises TooMuch, OSError, KeyError where it has no METADATA."""
    if file.has_metadata:
        with urllib.request.urlopen(f"{file.url}.metadata", timeout=_TIMEOUT_S) as answer:
            body = answer.read(MAX_BYTES)
        return _parsed(file, body, len(body), "PEP 658")
    body, read = member_of(file, ".dist-info/METADATA")
    return _parsed(file, body, read, "range")


def member_of(file: RemoteFile, ending: str) -> tuple[bytes, int]:
    """A file in a wheel by the end of its name, and how many bytes were read for it. Raises as
    `metadata_of` does."""
    remote = RangedFile(file.url)
    with zipfile.ZipFile(remote) as wheel:
        name = next((one for one in wheel.namelist() if one.endswith(ending)), None)
        if name is None:
            raise KeyError(f"`{file.filename}` has no {ending}")
        body = wheel.read(name)
    return body, remote.bytes_read


def _parsed(file: RemoteFile, body: bytes, bytes_read: int, by: str) -> Metadata:
    headers = HeaderParser().parsestr(body.decode("utf-8", "replace"))
    return Metadata(
        filename=file.filename,
        requires=tuple(headers.get_all("Requires-Dist") or ()),
        requires_python=headers.get("Requires-Python"),
        bytes_read=bytes_read,
        by=by,
    )


class RangedFile(io.RawIOBase):
    """A file on a server, read in ranges; what was read once is kept.

    Raises OSError where the server ignores ranges, TooMuch beyond MAX_BYTES.
    """

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url
        self.bytes_read = 0
        self.at = 0
        tail, self.size = self._fetch(f"-{_TAIL}")
        self._kept = [(self.size - len(tail), tail)]

    def _fetch(self, span: str) -> tuple[bytes, int]:
        request = urllib.request.Request(self.url, headers={"Range": f"bytes={span}"})
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
            if answer.status != 206:
                raise OSError(f"`{self.url}` is not served in ranges")
            body: bytes = answer.read()
            total = int(answer.headers["Content-Range"].rpartition("/")[2])
        self.bytes_read += len(body)
        return body, total

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self.at, io.SEEK_END: self.size}[whence]
        self.at = start + offset
        return self.at

    def read(self, size: int | None = -1) -> bytes:
        end = self.size if size is None or size < 0 else min(self.size, self.at + size)
        data = self._between(self.at, end)
        self.at = end
        return data

    def _between(self, start: int, end: int) -> bytes:
        if end <= start:
            return b""
        for at, kept in self._kept:
            if at <= start and end <= at + len(kept):
                return kept[start - at : end - at]
        if self.bytes_read + end - start > MAX_BYTES:
            raise TooMuch(f"more than {MAX_BYTES} bytes of `{self.url}` would have to be read")
        body, _ = self._fetch(f"{start}-{end - 1}")
        self._kept.append((start, body))
        return body
