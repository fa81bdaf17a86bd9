"""What became of a collective that was tried: who met, who reached whom, how each rank ended."""

from typing import Literal, get_args

import msgspec

from envdoctor.facts.base import Fact
from envdoctor.facts.calibration import Spread
from envdoctor.record import Record

__all__ = [
    "PHASES",
    "Backend",
    "Collective",
    "CollectiveSettings",
    "JobNode",
    "JobRank",
    "Link",
    "Meeting",
    "Trial",
]

Backend = Literal["nccl", "gloo"]
Phase = Literal["start", "rendezvous", "connect", "init", "pairs", "all-reduce", "bandwidth"]
PHASES: tuple[Phase, ...] = get_args(Phase)
"""What a rank goes through: import torch, find the store and the other ranks, plain TCP to each of
them, `init_process_group`, a message with each of them, a sum over all, and how fast that is."""

Problem = Literal[
    "refused", "no-answer", "unreachable", "stalls", "somebody-else", "no-address", "error"
]
"""Why a connection did not come about: a reset, because nothing listens or a firewall says so; no
answer at all; no way there; it came about and what is sent does not arrive; another process
answers; no address is known; something else."""

ChosenBy = Literal[
    "GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME", "host name", "interface order", "fallback"
]
"""What makes a backend use an address: a variable; the first address of the host's own name (gloo),
or the loopback where it has none; the order of interfaces (NCCL)."""


class CollectiveSettings(Record):
    """What is asked for. `nproc` null: a rank for each GPU, else two on one machine and one on
    each of several. `master` is MASTER_ADDR:MASTER_PORT. `source` says where the nodes were read
    from: the options, or variables of a launcher."""

    backend: Literal["auto", "nccl", "gloo"] = "auto"
    nnodes: int = 1
    node_rank: int = 0
    nproc: int | None = None
    master: str = "127.0.0.1:0"
    source: str = ""

    @property
    def master_addr(self) -> str:
        """The name or address of the first node."""
        return self.master.rpartition(":")[0].strip("[]")

    @property
    def master_port(self) -> str:
        """Its port; 0 is any."""
        return self.master.rpartition(":")[2]


class JobNode(Record):
    """What a node brings into the job."""

    nproc: int
    backend: Backend
    torch: str
    python: str
    cuda: str | None = None
    nccl: str | None = None


class Meeting(Record):
    """Whether this node reached the store at MASTER_ADDR:MASTER_PORT, at which all meet.

    `problem` is empty where it did; beside those of a connection: the name has no address, the port
    is taken on the first node, what answers is no store, and the store was lost again.
    """

    endpoints: tuple[str, ...] = ()
    problem: Problem | Literal["", "unknown-name", "in-use", "no-store", "lost"] = ""
    error: str = ""


class Link(Record):
    """A TCP connection of one rank to another at the address that the backend uses there, tried
    before the backend itself. `problem` is empty where it came about; of ranks of other nodes only
    those are known that did not."""

    rank: int
    peer: int
    endpoint: str = ""
    problem: Problem | Literal[""] = ""
    error: str = ""


class JobRank(Record):
    """A rank, and how far it came. `here`: on this node; of the others is known what they told in
    the store.

    `state`: it went through all; it failed, with its `error`; it died, of the signal or exit code
    `how`; it was stopped by the launcher, because another one had died; it gave no answer for
    longer than the phase may take; it was not done when time ran out; on another node it was last
    seen in that phase.
    `peer` is the other rank of a pair. `interface` is the one by whose address the backend is
    reached, and why it is that one (`chosen_by`); null where there is none;
    `used` are those over which its sockets were seen to be connected.
    """

    volatile = frozenset({"seconds", "endpoint"})

    rank: int
    here: bool = True
    device: str | None = None
    phase: Phase = "start"
    peer: int | None = None
    state: Literal["done", "failed", "died", "stopped", "silent", "running", "seen"] = "running"
    error: str = ""
    how: str = ""
    interface: str | None = None
    endpoint: str = ""
    chosen_by: ChosenBy | Literal[""] = ""
    used: tuple[str, ...] = ()
    seconds: dict[str, float] = msgspec.field(default_factory=dict)

    @property
    def has_failed(self) -> bool:
        """Whether it ended before its time, or hangs."""
        return self.state in ("failed", "died", "silent")


class Trial(Record):
    """The same collective once more, with a variable at another value (null: unset)."""

    variable: str
    value: str | None = None
    works: bool = False


class Collective(Fact):
    """A collective that was tried under torch's own launcher, as this node saw it.

    `own_name` is what the system resolves the host's own name to, by its first address.
    `missing_nodes` did not come in time. `bus` is the bus bandwidth of an all-reduce of `bus_bytes`
    in GB/s (see calibration.target.peers). `sum_right`: whether the sum was; null where it was not
    reached. `launcher_error` is what torchrun itself failed with, `warnings` what NCCL and gloo
    printed. `trials` are what was tried after it had failed. `unfinished` says why nothing more is
    known, as where time ran out.
    """

    volatile = frozenset({"bus", "seconds"})

    settings: CollectiveSettings
    backend: Backend
    own_name: Literal["loopback", "address", "none"] = "none"
    meeting: Meeting | None = None
    nodes: tuple[JobNode, ...] = ()
    missing_nodes: tuple[int, ...] = ()
    ranks: tuple[JobRank, ...] = ()
    links: tuple[Link, ...] = ()
    sum_right: bool | None = None
    bus: Spread | None = None
    bus_bytes: int | None = None
    launcher_error: str = ""
    warnings: tuple[str, ...] = ()
    trials: tuple[Trial, ...] = ()
    unfinished: str = ""
    seconds: float = 0.0

    @property
    def own_ranks(self) -> tuple[JobRank, ...]:
        """Those of this node."""
        return tuple(one for one in self.ranks if one.here)

    @property
    def works(self) -> bool:
        """Whether every rank of this node went through all."""
        own = self.own_ranks
        return bool(own) and self.sum_right is not False and all(one.state == "done" for one in own)

    @property
    def fails(self) -> bool:
        """Whether it was seen not to work, rather than not to its end."""
        if self.missing_nodes or self.launcher_error or self.sum_right is False:
            return True
        lost = self.meeting is not None and bool(self.meeting.problem)
        return lost or any(one.has_failed for one in self.ranks)

    @property
    def first_failed(self) -> JobRank | None:
        """The rank that failed in the earliest phase, and of these one that died."""
        failed = [one for one in self.ranks if one.has_failed]
        order = {"died": 0, "failed": 1}
        return min(
            failed,
            key=lambda one: (order.get(one.state, 2) > 0, PHASES.index(one.phase), one.rank),
            default=None,
        )

    @property
    def in_one_line(self) -> str:
        """What went wrong first; empty where nothing did."""
        if self.meeting is not None and self.meeting.problem:
            return f"node {self.settings.node_rank} did not reach the store: {self.meeting.error}"
        if self.missing_nodes:
            return f"node {_listed(self.missing_nodes)} did not come"
        first = self.first_failed
        if first is None and self.launcher_error:
            return f"torchrun fails: {self.launcher_error}"
        if first is None:
            return self.unfinished
        partner = f" with rank {first.peer}" if first.peer is not None else ""
        became = {"died": f"died ({first.how})", "silent": "gave no answer"}
        text = f"rank {first.rank} {became.get(first.state, 'failed')} in `{first.phase}`{partner}"
        return f"{text}: {first.error}" if first.error else text

    def proved(self, variable: str) -> str:
        """What was seen of a change of that variable; empty unless it made the collective work."""
        trial = next((one for one in self.trials if one.variable == variable), None)
        if trial is None or not trial.works:
            return ""
        how = f"with {variable}={trial.value}" if trial.value else f"without {variable}"
        return f"the same collective works {how}"

    def node_of(self, rank: int) -> int | None:
        """The number of the node that a rank runs on; null where the nodes did not meet."""
        first = 0
        for number, node in enumerate(self.nodes):
            first += node.nproc
            if rank < first:
                return number
        return None


def _listed(numbers: tuple[int, ...]) -> str:
    return " and ".join(filter(None, (", ".join(map(str, numbers[:-1])), str(numbers[-1]))))
