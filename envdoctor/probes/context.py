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
        """Where the file of that absolute path lies."""
        return self.root / name.lstrip("/")

    def name(self, path: Path) -> str:
        """The absolute path of a file as the examined system calls it."""
        return str(Path("/") / path.relative_to(self.root))


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
