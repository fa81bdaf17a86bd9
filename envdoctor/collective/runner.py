"""Runs a node of a collective in the target interpreter, and makes a fact of what it tells."""

import contextlib
import math
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from envdoctor.facts import Observed, Reason, Unknown
from envdoctor.facts.calibration import Spread
from envdoctor.facts.collective import (
    Backend,
    Collective,
    CollectiveSettings,
    JobNode,
    JobRank,
    Link,
    Meeting,
)
from envdoctor.probes.boundary import Undecodable, json_object, typed
from envdoctor.probes.channel import Incoming
from envdoctor.probes.run import Children, ChildResult, Stopping, run_child
from envdoctor.record import Mutable

WORKER = Path(__file__).with_name("worker.py")

TIME_RAN_OUT = "time ran out"
RENDEZVOUS_SHARE, RENDEZVOUS_ENDS, STEP_SHARE, LONGEST_STEP_S = 0.45, 0.75, 0.08, 15.0
"""What part of all time the other nodes are waited for, counted from when torch is imported, and
after which part of it they are not any more; and what part a phase of the ranks may take."""

SHORTEST_STEP_S, _LONGEST_PHASE_STEPS = 5.0, 7
"""A healthy phase takes some hundredths of a second, on a busy machine or network more. Those that
wait for other ranks may take up to six steps (see target.rank)."""

_MOST_WARNINGS, _LONGEST_WARNING = 12, 400
_GRACE_STEPS = 2
"""After its own ranks have ended, the launcher waits for those of the other nodes."""


def try_collective(
    python: str,
    settings: CollectiveSettings,
    *,
    children: Children,
    until: float,
    variables: Mapping[str, str],
    on_step: Callable[[str], None] = lambda what: None,
) -> Observed[Collective] | Unknown:
    """An all-reduce between ranks of the interpreter `python`, and of the other nodes.

    They get these variables. It ends by the moment `until` of the monotonic clock. Unknown where no
    rank could be started, as without a torch.
    """
    started = time.monotonic()
    left_s = max(0.0, until - started)
    step_s = min(LONGEST_STEP_S, max(SHORTEST_STEP_S, STEP_SHARE * left_s))
    heard = _Heard(settings=settings, on_step=on_step, step_s=step_s)
    request = {
        **msgspec.to_builtins(settings),
        "rendezvous_s": RENDEZVOUS_SHARE * left_s,
        "rendezvous_until_s": RENDEZVOUS_ENDS * left_s,
        "step_s": step_s,
    }
    with Incoming(heard.take_line) as channel:
        try:
            child = run_child(
                [
                    *(python, "-B", str(WORKER), "node", str(channel.for_child)),
                    msgspec.json.encode(request).decode(),
                ],
                children=children,
                timeout_s=left_s,
                env=variables,
                pass_fds=(channel.for_child,),
                ports=(channel,),
                still_allowed=lambda: not channel.flooded and heard.is_waited_for(),
            )
        except (OSError, Stopping) as error:
            return Unknown(reason=Reason.CRASHED, detail=f"`{python}` cannot be started: {error}")
        channel.drain()
    seconds = time.monotonic() - started
    if heard.fatal:
        return Unknown(reason=Reason.NOT_APPLICABLE, detail=heard.fatal)
    collective = heard.collective(_unfinished(child, heard), warnings_in(child.stdout), seconds)
    if not (collective.works or collective.fails):
        late = child.timed_out
        reason = Reason.TIMED_OUT if late else Reason.CRASHED
        return Unknown(reason=reason, detail=collective.unfinished or "nothing was told")
    source = f"torchrun of `{python}`, {settings.nnodes} node(s)"
    return Observed(value=collective, source=source, seconds=seconds)


def _unfinished(child: ChildResult, heard: "_Heard") -> str:
    if heard.finished or heard.all_ended_at is not None:
        return ""
    doing = f" while {heard.step}" if heard.step else ""
    if child.timed_out:
        return f"{TIME_RAN_OUT}{doing}"
    if child.signal:
        return f"the launcher was ended by {child.signal}{doing}"
    last = (child.stderr.strip().splitlines() or ["it said nothing"])[-1]
    return f"the launcher exited with code {child.exit_code}{doing}: {last}"


def warnings_in(output: str) -> tuple[str, ...]:
    """The lines of NCCL that warn (NCCL_DEBUG=WARN), each different one once."""
    lines = (line.partition("NCCL WARN")[2].strip() for line in output.splitlines())
    found = dict.fromkeys(line[:_LONGEST_WARNING] for line in lines if line)
    return tuple(found)[:_MOST_WARNINGS]


class _Heard(Mutable):
    """What the node and its ranks have told so far, one JSON object a line."""

    settings: CollectiveSettings
    on_step: Callable[[str], None]
    step_s: float
    fatal: str = ""
    finished: bool = False
    step: str = "starting"
    backend: Backend = "gloo"
    own_name: Literal["loopback", "address", "none"] = "none"
    meeting: Meeting | None = None
    nodes: tuple[JobNode, ...] = ()
    missing: tuple[int, ...] = ()
    ranks: dict[int, JobRank] = msgspec.field(default_factory=dict)
    links: dict[tuple[int, int], Link] = msgspec.field(default_factory=dict)
    sums: dict[int, bool] = msgspec.field(default_factory=dict)
    bus: Spread | None = None
    bus_bytes: int | None = None
    launcher_error: str = ""
    ended: set[int] = msgspec.field(default_factory=set)
    all_ended_at: float | None = None
    has_died: bool = False
    began: dict[int, float] = msgspec.field(default_factory=dict)

    def is_waited_for(self) -> bool:
        """False once the launcher has had its time to end after its ranks."""
        ended = self.all_ended_at
        return ended is None or time.monotonic() - ended <= _GRACE_STEPS * self.step_s

    def take_line(self, line: bytes) -> None:
        """Take in a message; what is none is not ours: a library of the target may write to any
        descriptor."""
        with contextlib.suppress(Undecodable, ValueError, TypeError, KeyError, OverflowError):
            message = json_object(line)
            take = _EVENTS.get(str(message.get("event")))
            if take is not None:
                take(self, message["data"])

    # --- of the node ---

    def _take_step(self, data: dict[str, Any]) -> None:
        self.step = str(data["what"])
        self.on_step(self.step)

    def _take_fatal(self, data: dict[str, Any]) -> None:
        self.fatal = str(data["reason"])

    def _take_node(self, data: dict[str, Any]) -> None:
        first = str(next(iter(data["own_name"]), ""))
        is_loopback = first == "::1" or first.startswith("127.")
        self.own_name = "loopback" if is_loopback else "address" if first else "none"

    def _take_plan(self, data: dict[str, Any]) -> None:
        self.backend = typed(data, JobNode).backend

    def _take_master(self, data: dict[str, Any]) -> None:
        self.meeting = typed(data, Meeting)

    def _take_nodes(self, data: dict[str, Any]) -> None:
        self.nodes = tuple(typed(one, JobNode) for one in data["nodes"])
        self.missing = tuple(map(int, data["missing"]))

    def _take_launched(self, data: dict[str, Any]) -> None:
        self.backend = "nccl" if data["backend"] == "nccl" else "gloo"
        self._take_step({"what": "starting the ranks"})
        first, count = int(data["first_rank"]), int(data["ranks"])
        for rank in range(first, first + min(count, _MOST_RANKS)):
            self.ranks[rank] = JobRank(rank=rank)

    def _take_launcher(self, data: dict[str, Any]) -> None:
        self.launcher_error = str(data["error"])

    def _take_end(self, data: dict[str, Any]) -> None:
        self.finished = True

    # --- of the ranks ---

    def _change(self, rank: int, **fields: Any) -> None:
        """What is told of a rank; of one that is not here as well."""
        if len(self.ranks) < _MOST_RANKS or rank in self.ranks:
            known = self.ranks.get(rank) or JobRank(rank=rank, here=False, state="seen")
            # By way of the boundary, which refuses what no rank is.
            told = {**msgspec.to_builtins(known), **fields}
            self.ranks[rank] = typed(told, JobRank)

    def _take_rank(self, data: dict[str, Any]) -> None:
        self._change(int(data["rank"]), device=data["device"])

    def _take_phase(self, data: dict[str, Any]) -> None:
        rank = int(data["rank"])
        if data["state"] == "begun":
            self._change(rank, phase=data["phase"], peer=data["peer"])
            self.began[rank] = time.monotonic()
            self._take_step({"what": f"rank {rank} is in `{data['phase']}`"})
            return
        known = self.ranks[rank].seconds
        spent = known.get(data["phase"], 0.0) + float(data["seconds"])
        if math.isfinite(spent):
            self._change(rank, seconds={**known, data["phase"]: round(spent, 4)})
        if data["state"] == "failed":
            self._change(rank, state="failed", error=data["error"])

    def _take_address(self, data: dict[str, Any]) -> None:
        self._change(**{**data, "rank": int(data["rank"])})

    def _take_link(self, data: dict[str, Any]) -> None:
        link = typed(data, Link)
        if len(self.links) < _MOST_LINKS:
            self.links[link.rank, link.peer] = link

    def _take_sum(self, data: dict[str, Any]) -> None:
        self.sums[int(data["rank"])] = bool(data["right"])

    def _take_bandwidth(self, data: dict[str, Any]) -> None:
        if self.bus is None:
            self.bus, self.bus_bytes = typed(data["value"], Spread), int(data["bytes"])

    def _take_interfaces(self, data: dict[str, Any]) -> None:
        self._change(int(data["rank"]), used=data["names"])

    def _take_ended(self, data: dict[str, Any]) -> None:
        rank = int(data["rank"])
        if self.ranks[rank].state == "running":
            self._change(rank, state="done", peer=None)
        self.ended.add(rank)
        own = {one.rank for one in self.ranks.values() if one.here}
        if own <= self.ended:
            self.all_ended_at = time.monotonic()

    def _take_all_done(self, data: dict[str, Any]) -> None:
        """What a rank of this node heard of those of others."""
        for rank in map(int, data["ranks"]):
            if rank not in self.ranks or not self.ranks[rank].here:
                self._change(rank, state="done")

    def _take_seen(self, data: dict[str, Any]) -> None:
        """What a rank of another node told before."""
        rank = int(data["rank"])
        if rank in self.ranks and self.ranks[rank].here:
            return
        error = data["error"]
        self._change(
            rank,
            phase=data["phase"],
            peer=data["peer"],
            error=error,
            state="failed" if error else "seen",
        )

    def _take_died(self, data: dict[str, Any]) -> None:
        for rank, how in data["ranks"]:
            self._change(int(rank), state="died", how=str(how), error="")
            self.has_died |= self.ranks[int(rank)].here

    # --- all together ---

    def collective(self, unfinished: str, warnings: Iterable[str], seconds: float) -> Collective:
        """All that was heard, as the fact."""
        return Collective(
            settings=self.settings,
            backend=self.backend,
            own_name=self.own_name,
            meeting=self.meeting,
            nodes=self.nodes,
            missing_nodes=self.missing,
            ranks=tuple(self._as_it_ended(self.ranks[rank]) for rank in sorted(self.ranks)),
            links=tuple(self.links[pair] for pair in sorted(self.links)),
            sum_right=all(self.sums.values()) if self.sums else None,
            bus=self.bus,
            bus_bytes=self.bus_bytes,
            launcher_error=self.launcher_error,
            warnings=tuple(warnings),
            unfinished=unfinished,
            seconds=round(seconds, 3),
        )

    def _as_it_ended(self, rank: JobRank) -> JobRank:
        """The launcher ends the ranks of its node as soon as one has died; one that tells nothing
        more hangs, or was not given the time."""
        if rank.state != "running" or not rank.here:
            return rank
        if self.has_died:
            return msgspec.structs.replace(rank, state="stopped")
        # It tells by itself when a phase took too long, unless all of it hangs.
        since_s = time.monotonic() - self.began.get(rank.rank, time.monotonic())
        hangs = rank.phase != "start" and since_s > _LONGEST_PHASE_STEPS * self.step_s
        return msgspec.structs.replace(rank, state="silent") if hangs else rank


_MOST_RANKS, _MOST_LINKS = 4096, 100_000

_EVENTS: dict[str, Callable[[_Heard, dict[str, Any]], None]] = {
    name.removeprefix("_take_"): getattr(_Heard, name)
    for name in dir(_Heard)
    if name.startswith("_take_")
}
"""What is done with a message, by its event."""
