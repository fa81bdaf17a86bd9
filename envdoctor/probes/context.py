"""What every probe of the machine is given, so that none reaches for the process that it runs in.

A live host, a mounted root and a tree of files that a test wrote then look the same.
"""

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from envdoctor.probes.channel import Port
from envdoctor.probes.run import Children, ChildResult, run_child
from envdoctor.record import Record

_MOST_LINKS = 40
"""Links in one path after which Linux gives up (path_resolution(7))."""


class Run(Protocol):
    """Starts a child with the variables and in the folder of its context; waits for its end."""

    def __call__(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        env: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
        ports: Sequence[Port] = (),
        still_allowed: Callable[[], bool] = lambda: True,
        last_words: signal.Signals | None = None,
    ) -> ChildResult: ...


class Context(Record):
    """Where a probe looks: below `root`, with the variables `env`, in the folder `cwd`.

    `run` starts children. Only where `root` is that of the running system can processes, drivers
    and limits be asked for.
    """

    root: Path
    env: Mapping[str, str]
    cwd: str
    run: Run

    @property
    def is_live(self) -> bool:
        """Whether the root is that of the running system."""
        return self.root == Path("/")

    def path(self, name: str) -> Path:
        """Where the file of that absolute path lies; of a link itself, where it is one."""
        if self.is_live:
            return self.root / name.lstrip("/")
        folder, _, last = name.rstrip("/").rpartition("/")
        return self.real_path(folder) / last if last != ".." else self.real_path(name)

    def real_path(self, name: str) -> Path:
        """Where the file of that absolute path really lies, its links followed below the root.

        The path itself, as far as it was followed, for a loop of links.
        """
        if self.is_live:
            return Path(os.path.realpath(name))
        at, left, links = self.root, _parts(name), 0
        while left:
            part = left.pop(0)
            step = at / part
            try:
                link = os.readlink(step)
            except OSError:
                up = at.parent if at != self.root else at
                at = up if part == ".." else step
                continue
            links += 1
            if links > _MOST_LINKS:
                return step
            left = _parts(link) + left
            at = self.root if link.startswith("/") else at
        return at

    def name(self, path: Path) -> str:
        """The absolute path of a file as the examined system calls it."""
        return str(Path("/") / path.relative_to(self.root))


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


class _Runner(Record):
    children: Children
    env: Mapping[str, str]
    cwd: str | None

    def __call__(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        env: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
        ports: Sequence[Port] = (),
        still_allowed: Callable[[], bool] = lambda: True,
        last_words: signal.Signals | None = None,
    ) -> ChildResult:
        return run_child(
            argv,
            children=self.children,
            timeout_s=timeout_s,
            env=self.env if env is None else env,
            cwd=self.cwd,
            pass_fds=pass_fds,
            ports=ports,
            still_allowed=still_allowed,
            last_words=last_words,
        )


def context_of(
    children: Children,
    *,
    root: Path = Path("/"),
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
) -> Context:
    """The context of this process, or of another root, environment or folder.

    Where no other folder is given, children inherit that of this process: to change to one that
    a dead file server holds would stop the doctor as well.
    """
    variables = dict(os.environ) if env is None else env
    return Context(
        root=root,
        env=variables,
        cwd=os.getcwd() if cwd is None else cwd,
        run=_Runner(children=children, env=variables, cwd=cwd),
    )
