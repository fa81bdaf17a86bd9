"""The comparison of installed files with their RECORD, begun as soon as the target is known."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from envdoctor.errors import described
from envdoctor.facts import Reason, Unknown
from envdoctor.probes.context import Context
from envdoctor.probes.own_child import ask

LIMIT_S = 120.0
"""A first look reads some ten thousand inodes from a disk; `--deep` reads a few GB."""

MOST_DISTRIBUTIONS = 10_000
"""On one path; a large environment has a thousand."""


class FileCheck:
    """Compares presence and size, with `deep` also the hash, of every file that a RECORD in these
    folders lists, in a child that runs while the doctor is still being imported. It `gives_way` to
    the target's child, where there is one."""

    def __init__(
        self, folders: Sequence[Path], context: Context, *, deep: bool, gives_way: bool = True
    ) -> None:
        self.deep = deep
        self._job = {
            "deep": deep,
            "gives_way": gives_way,
            "most": MOST_DISTRIBUTIONS,
            "folders": [str(folder) for folder in folders],
        }
        self._context = context
        self._answer: dict[str, Any] | Unknown | None = None
        self._thread = threading.Thread(target=self._ask, name="file check", daemon=True)
        self._thread.start()

    def answer(self) -> dict[str, Any] | Unknown:
        """How many files were checked and, by the metadata folders that differ, how many files and
        which do, with the fields of facts.python.DamagedFile; or why it is not known."""
        self._thread.join()
        assert self._answer is not None
        return self._answer

    def _ask(self) -> None:
        try:
            self._answer = ask("record_child.py", self._context, limit_s=LIMIT_S, job=self._job)
        except BaseException as error:
            self._answer = Unknown(reason=Reason.CRASHED, detail=described(error))
