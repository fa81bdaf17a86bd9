"""Compares installed files with their RECORD; run as `python -I -S record_child.py ANSWER JOB`.

Some ten thousand files are looked up, in a process of its own, so that neither the rest of the
doctor nor a user's keys wait for them. Imports nothing but the standard library. JOB is a
descriptor with one JSON object: `deep`, `gives_way`, the `folders` of the module path, and the
`most` distributions that are looked at. ANSWER takes how many files were checked and, by the
metadata folders that differ, how many files and which do, with the fields of DamagedFile.
"""

import csv
import json
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

MAX_NAMED = 50
"""How many damaged files of one distribution are named; all are counted."""

_REWRITTEN = (
    "INSTALLER",
    "REQUESTED",
    "direct_url.json",
    "RECORD",
    "uv_cache.json",
    "uv_build.json",
)
"""Files of the metadata folder that installers write or change after RECORD."""

_NICE = 10
_MOST_DIGITS = 20
"""Of a size; Python refuses to read a number of some thousand digits."""

Row = tuple[str, str, str]
Difference = dict[str, str]


def main(job: int, answer: int) -> None:
    """Do the job, and write the answer."""
    with open(job, encoding="utf-8", errors="surrogateescape") as file:
        wanted = json.load(file)
    if wanted["gives_way"]:
        give_way()
    checked, damaged = 0, {}
    for metadata in list(metadata_folders(wanted["folders"]))[: wanted["most"]]:
        location = os.path.dirname(metadata)
        rows = list(recorded(os.path.join(metadata, "RECORD")))
        checked += len(rows)
        files = sorted(differences(location, rows, deep=wanted["deep"]), key=_by_importance)
        if files:
            damaged[metadata] = {"count": len(files), "files": files[:MAX_NAMED]}
    with open(answer, "w", encoding="utf-8") as file:
        json.dump({"checked": checked, "damaged": damaged}, file)


def metadata_folders(folders: Iterable[str]) -> Iterator[str]:
    """The folders with the metadata of distributions; pip renames to `~` what it removes."""
    for folder in folders:
        try:
            names = os.listdir(folder)
        except OSError:
            continue
        for name in sorted(names):
            if name.endswith(".dist-info") and not name.startswith("~"):
                yield os.path.join(folder, name)


def give_way() -> None:
    """Let the target's child go first: this one has time until torch is imported.

    Where the kernel shares the CPUs among sessions first, the session's own value is what counts
    (sched(7), the autogroup feature).
    """
    os.nice(_NICE)
    with suppress(OSError), open("/proc/self/autogroup", "w", encoding="ascii") as session:
        session.write(str(_NICE))


def recorded(record: str) -> Iterator[Row]:
    """The rows path, hash, size of a RECORD that can be checked; paths are relative to its root."""
    own = os.path.basename(os.path.dirname(record))
    try:
        if not os.path.isfile(record):
            # A pipe in its place would be waited for without end.
            return
        with open(record, encoding="utf-8", errors="surrogateescape") as file:
            text = file.read()
        for row in csv.reader(text.split("\n")) if '"' in text else _plain_rows(text):
            if len(row) >= 3 and _is_checked(row[0], own):
                yield row[0], row[1], row[2]
    except (OSError, csv.Error):
        return


def _plain_rows(text: str) -> Iterator[list[str]]:
    """The rows where nothing is quoted, as in most files; compiled code is left out at once."""
    return (line.rsplit(",", 2) for line in text.split("\n") if ".pyc," not in line)


def _is_checked(path: str, own: str) -> bool:
    if path.endswith(".pyc") or path.startswith(("../", "/")):
        return False
    return not (path.startswith(own) and path.rpartition("/")[2] in _REWRITTEN)


def differences(location: str, rows: Iterable[Row], *, deep: bool = False) -> Iterator[Difference]:
    """What is missing, closed to this user, has another size or, with `deep`, another hash than
    recorded."""
    with _folder(location) as folder:
        root = f"{location}/" if folder is None else ""
        for relative, expected_hash, expected_size in rows:
            try:
                status = os.stat(root + relative, dir_fd=folder)
            except (OSError, ValueError) as error:
                kind = "closed" if isinstance(error, PermissionError) else "missing"
                yield difference(relative, kind, expected_size)
                continue
            size = status.st_size
            # Most files are open to all, and asking costs a call for each.
            if not status.st_mode & stat.S_IROTH and not os.access(
                root + relative, os.R_OK, dir_fd=folder
            ):
                yield difference(relative, "closed", expected_size)
            elif expected_size.isdecimal() and size != int(expected_size[:_MOST_DIGITS]):
                yield difference(relative, "size", expected_size, str(size))
            elif deep and expected_hash.startswith("sha256="):
                actual = _sha256(f"{location}/{relative}")
                if actual is not None and actual != expected_hash:
                    yield difference(relative, "hash", expected_hash, actual)


def difference(path: str, kind: str, expected: str, actual: str = "") -> Difference:
    """A file that differs."""
    return {"path": path, "kind": kind, "expected": expected, "actual": actual}


@contextmanager
def _folder(path: str) -> Iterator[int | None]:
    """A descriptor of a folder, from which files are found in half the time that paths take."""
    try:
        descriptor = os.open(path, getattr(os, "O_PATH", os.O_RDONLY))
    except OSError:
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _sha256(path: str) -> str | None:
    """The digest as RECORD writes it: base64 for URLs, without padding; None if unreadable."""
    import base64
    import hashlib

    digest = hashlib.sha256()
    try:
        with open(path, "rb", buffering=0) as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError:
        return None
    text = base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode()
    return f"sha256={text}"


def _by_importance(one: Difference) -> tuple[int, str]:
    """Libraries first, then code, then the rest: what is named is what breaks an import."""
    path = one["path"]
    folder, _, name = path.rpartition("/")
    if ".so" in name:
        return 0, path
    is_test = not {"test", "tests"}.isdisjoint(folder.split("/"))
    return (1 if name.endswith((".py", ".pth")) and not is_test else 2), path


if __name__ == "__main__":
    main(job=int(sys.argv[2]), answer=int(sys.argv[1]))
