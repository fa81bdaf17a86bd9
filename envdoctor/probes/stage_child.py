"""One child that runs stages: what it is asked for, the lines that it writes, and its limits."""

import os
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any

from envdoctor.probes.boundary import StageRecord, Undecodable, stage_record
from envdoctor.probes.channel import Incoming
from envdoctor.probes.driver_log import MOST_BYTES, DriverLog
from envdoctor.probes.stage import EXIT, Stage

START_LIMIT_S = 20.0
"""For the interpreter to start, and between two stages."""

EXIT_LIMIT_S, LONGEST_EXIT_S = 10.0, 30.0
"""For the interpreter to exit: twice as long as its stages took, between these. The exit of a
healthy torch takes a third of its import; at a load of 10 on 2 CPUs 2 s were too short."""

SHARE = 0.7
"""Of the time that is left, so that a stage which hangs leaves some for those after it."""

MARGIN_S = 1.0
"""What a stage gets at least, unless less is left in all."""

OnRecord = Callable[[str, str, dict[str, Any], float, str | None], None]
"""Takes a stage's name, its event (begin, end, raised, unable), its data, its seconds, and what the
driver wrote in it."""


class StageChild:
    """The two channels of one child and its driver's log; use as a context manager.

    `deadline` is the moment of the monotonic clock at which the time of the examination runs out.
    """

    def __init__(self, on_record: OnRecord, deadline: float) -> None:
        self._on_record = on_record
        self._deadline = deadline
        self._asked: dict[str, Stage] = {}
        self._done: set[str] = set()
        self._started = self._since = time.monotonic()
        self._limit_s = self._within(START_LIMIT_S)
        self._open = ExitStack()
        self.current: str | None = None
        """The stage that has begun and not ended."""
        self._logged = -1

    def __enter__(self) -> "StageChild":
        self._records = self._open.enter_context(Incoming(self._take_line))
        self._log = self._open.enter_context(DriverLog())
        self._read_end, self._write_end = os.pipe()
        self._open.callback(os.close, self._read_end)
        self._open.callback(self.complete)
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    @property
    def descriptors(self) -> tuple[int, int]:
        """What the child inherits."""
        return self._records.for_child, self._read_end

    @property
    def arguments(self) -> tuple[str, ...]:
        """What its script is called with."""
        return str(self._records.for_child), str(self._read_end), self._log.path

    @property
    def ports(self) -> tuple[Incoming]:
        """What is to be served while it runs."""
        return (self._records,)

    @property
    def flooded(self) -> bool:
        """Whether it wrote more than anybody reads."""
        return self._records.flooded

    @property
    def began_a_stage(self) -> bool:
        """Whether it came as far as a stage."""
        return self.current is not None or bool(self._done - {"version"})

    @property
    def seconds(self) -> float:
        """How long the present stage has run."""
        return time.monotonic() - self._since

    def has_run(self, stage: str) -> bool:
        """Whether that stage ended in this child."""
        return stage in self._done

    def log(self, end: int = MOST_BYTES) -> str | None:
        """What the driver has written in the present stage, or up to that place; null where it does
        not write here."""
        return self._log.text(self._logged, end) if self._logged >= 0 else None

    def ask(self, stages: Iterable[Stage]) -> None:
        """Have it run these as well."""
        lines = []
        for stage in stages:
            self._asked[stage.name] = stage
            request = {
                "name": stage.name,
                "source": str(stage.source),
                "function": stage.function,
                "arguments": tuple(stage.arguments),
                "needs": tuple(stage.needs),
            }
            lines.append(ascii(request) + "\n")
        try:
            os.write(self._write_end, "".join(lines).encode())
        except BrokenPipeError:
            # It has died, which its end will tell.
            return

    def complete(self) -> None:
        """There is no more to run: it exits after the last stage."""
        if self._write_end >= 0:
            os.close(self._write_end)
            self._write_end = -1

    def in_time(self) -> bool:
        """Whether it may go on: False if the present stage has had its time."""
        self._log.bound()
        return not self.flooded and (self.seconds <= self._limit_s or self._is_idle())

    def _is_idle(self) -> bool:
        waits = self._asked.keys() <= self._done and self._write_end >= 0
        return self.current is None and waits

    def drain(self) -> None:
        """Take in what it wrote before its end."""
        self._records.drain()

    def _take_line(self, line: bytes) -> None:
        try:
            record = stage_record(line)
        except Undecodable:
            return
        if record.stage in {*self._asked, "version", EXIT}:
            self._take(record)

    def _take(self, record: StageRecord) -> None:
        log = None
        if record.event == "begin":
            self.current = record.stage
            self._limit_s = self._limit_of(record.stage)
        else:
            log = self.log(record.logged)
            self.current = None
            self._done.add(record.stage)
            self._limit_s = self._within(START_LIMIT_S)
        self._logged = record.logged
        self._since = time.monotonic()
        self._on_record(record.stage, record.event, record.data, record.seconds, log)

    def _limit_of(self, stage: str) -> float:
        if stage == EXIT:
            so_far = time.monotonic() - self._started
            return min(max(2 * so_far, EXIT_LIMIT_S), LONGEST_EXIT_S)
        return self._within(self._asked[stage].timeout_s)

    def _within(self, limit_s: float) -> float:
        """A limit that leaves some time before the deadline."""
        left = max(self._deadline - time.monotonic(), 0.0)
        return min(limit_s, max(SHARE * left, min(MARGIN_S, left)))
