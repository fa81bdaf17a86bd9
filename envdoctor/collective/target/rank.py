"""A rank of the job: it goes through the phases of a collective, and tells what it reaches."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ...calibration.target.channel import Channel
from . import links
from .addresses import Used, connected_interfaces, used_by
from .board import Board
from .node import short

_POLL_S = 0.02
_LAST_LOOK_S = 3.0
"""How long a rank that failed waits to hear that another one has died."""

MOST_PAIRS_OF = 64
"""In a larger world every rank tries its neighbour alone."""

_PIECE = 65536 // 4
"""Numbers of a message between two ranks: more than a packet holds, also a jumbo frame."""

_MOST_TOLD = 8
"""Connections that failed of which a rank tells those of other nodes."""

_SUMMED = 4096
MEBIBYTES = {"gloo": (32, 4, 1), "nccl": (256, 32, 4)}
"""What the bandwidth is measured with: the first that takes a quarter of the time of a step."""

NO_END = "it did not end within"
_MARGIN_S = 1.0

_TRIED_MEBIBYTE, _ROUNDS_TOGETHER = 1, {"gloo": 10, "nccl": 100}


class _Failed(Exception):
    """A phase did not come to its end."""


def be_rank(fd: int, request: dict[str, Any]) -> None:
    """Go through all phases, and tell it to the descriptor."""
    rank = _Rank(Channel(fd), request)
    try:
        rank.run()
    except _Failed:
        rank.look_at_others()
    except BaseException:
        traceback.print_exc()
        # Not by the end of the interpreter, which waits for what hangs.
        os._exit(1)
    rank.channel.send("ended", rank=rank.rank)
    links.leave()


class _Rank:
    def __init__(self, channel: Channel, request: dict[str, Any]) -> None:
        self.channel, self.request = channel, request
        self.backend, self.step_s = str(request["backend"]), float(request["step_s"])
        self.rank, self.world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        self.local = int(os.environ["LOCAL_RANK"])
        self.board: Board | None = None
        self.of_the_group: Any = None
        self.device: Any = None
        self.thread = ThreadPoolExecutor(max_workers=1)
        self.used = Used(None, None, "")
        self.others = [one for one in range(self.world) if one != self.rank]
        name = f"cuda:{self.local}" if self.backend == "nccl" else "cpu"
        self.device_name = name
        self.channel.send(
            "rank",
            rank=self.rank,
            world=self.world,
            local_rank=self.local,
            device=name,
            pid=os.getpid(),
        )

    def run(self) -> None:
        self._phase("start", self._start, limit_s=None)
        # The others may take longer to import torch.
        self._phase("rendezvous", self._rendezvous, limit_s=6 * self.step_s)
        self._phase("connect", self._connect, limit_s=3 * self.step_s)
        self._phase("init", self._init)
        for peer in partners(self.rank, self.world):
            self._phase("pairs", self._exchange, peer)
        self._phase("all-reduce", self._all_reduce)
        self._phase("bandwidth", self._bandwidth, limit_s=4 * self.step_s)

    def _phase(
        self,
        name: str,
        work: Callable[..., None],
        peer: int | None = None,
        *,
        limit_s: float | None = 0.0,
    ) -> None:
        """Do the work of a phase, and tell that it begins and how it ends; null: without a limit of
        its own, 0: that of a step. Raises _Failed."""
        began = time.monotonic()
        self.channel.send("phase", rank=self.rank, phase=name, peer=peer, state="begun")
        self._publish("phase", json.dumps([name, peer]))
        if limit_s == 0.0:
            # The backend's own limit is a step, and what it says then is worth more.
            limit_s = self.step_s + _MARGIN_S
        error = self._error_of(work, () if peer is None else (peer,), limit_s)
        self.channel.send(
            "phase",
            rank=self.rank,
            phase=name,
            peer=peer,
            state="failed" if error else "done",
            error=error,
            seconds=round(time.monotonic() - began, 4),
        )
        if error:
            self._publish("failed", error)
            raise _Failed(error)

    def _publish(self, what: str, text: str) -> None:
        """Let the other ranks know, where there is a store."""
        if self.board is not None:
            with contextlib.suppress(Exception):
                self.board.put(what, self.rank, text)

    def _error_of(
        self, work: Callable[..., None], arguments: tuple[int, ...], limit_s: float | None
    ) -> str:
        """Empty where the work came to its end; it is always the same thread that works, as the
        current GPU is that of a thread."""
        done = self.thread.submit(work, *arguments)
        try:
            done.result(timeout=limit_s)
        except _Failed as error:
            return short(str(error))
        except BaseException as error:
            return short(error) if done.done() else f"{NO_END} {limit_s:.0f} s"
        return ""

    # --- the phases ---

    def _start(self) -> None:
        from ...calibration.target.devices import device_named

        self.device = device_named(self.device_name)
        self.device.use()

    def _rendezvous(self) -> None:
        import torch.distributed as dist

        limit = datetime.timedelta(seconds=self.step_s)
        store, _, _ = next(dist.rendezvous("env://", timeout=limit))
        self.board = Board(store)
        # A client of its own: one that is waited at serves nobody else.
        self.of_the_group, _, _ = next(dist.rendezvous("env://", timeout=limit))
        # The others may take longer to import torch.
        self._await("here", "", 4 * self.step_s)

    def _connect(self) -> None:
        """Plain TCP between the addresses that the backend uses. What is not reached is told, and
        no failure: whether the backend gets through is what counts."""
        self.used = used_by(self.backend)
        interface, address, chosen_by = self.used
        port = None
        if address is not None:
            with contextlib.suppress(OSError):
                # Listens as long as the process lives.
                port = links.Listener(address, self.rank).port
        own = links.endpoint(address, port) if address is not None and port else ""
        reached = {"interface": interface, "endpoint": own, "chosen_by": chosen_by}
        self.channel.send("address", rank=self.rank, **reached)
        board = self._await("endpoint", json.dumps(reached), self.step_s)
        peers = self.others if self.world <= MOST_PAIRS_OF else [(self.rank + 1) % self.world]
        told = {peer: json.loads(board.get("endpoint", peer)) for peer in peers}
        with ThreadPoolExecutor(max_workers=32) as pool:
            tried = list(pool.map(self._try, peers, told.values()))
        broken = [one for one in tried if one["problem"]]
        board.put("broken", self.rank, json.dumps(broken[:_MOST_TOLD]))

    def _try(self, peer: int, reached: dict[str, Any]) -> dict[str, Any]:
        with_peer = reached["endpoint"]
        self.channel.send("address", rank=peer, **reached)
        if not with_peer:
            link = links.Link("no-address", "it has no address to be reached at")
        else:
            address, port = links.split_endpoint(with_peer)
            link = links.connect(address, port, min(5.0, self.step_s), peer)
        told = {
            "rank": self.rank,
            "peer": peer,
            "endpoint": with_peer,
            "problem": link.problem,
            "error": short(link.error),
        }
        self.channel.send("link", **told)
        return told

    def _init(self) -> None:
        import torch.distributed as dist

        dist.init_process_group(
            self.backend,
            store=dist.PrefixStore("envdoctor/group", self.of_the_group),
            rank=self.rank,
            world_size=self.world,
            timeout=datetime.timedelta(seconds=self.step_s),
        )

    def _exchange(self, peer: int) -> None:
        import torch
        import torch.distributed as dist

        mine = torch.full((_PIECE,), float(self.rank), device=self.device.torch)
        got = torch.empty_like(mine)
        first, second = (dist.send, dist.recv) if self.rank < peer else (dist.recv, dist.send)
        for work in (first, second):
            work(mine if work is dist.send else got, peer)
        self.device.synchronize()
        if not bool((got == peer).all()):
            raise _Failed(f"what came from rank {peer} is not what it sent")

    def _all_reduce(self) -> None:
        import torch
        import torch.distributed as dist

        tensor = torch.full((_SUMMED,), float(self.rank + 1), device=self.device.torch)
        dist.all_reduce(tensor)
        self.device.synchronize()
        right = self.world * (self.world + 1) / 2
        wrong = tensor[tensor != right]
        self.channel.send("sum", rank=self.rank, right=not len(wrong))
        if len(wrong):
            raise _Failed(f"the sum is {float(wrong[0])} and should be {right}")

    def _bandwidth(self) -> None:
        import torch.distributed as dist

        from ...calibration.target.peers import bus_rate

        nbytes = self._size()
        rate = bus_rate(self.device, self.backend, self.world, nbytes)
        self.channel.send("bandwidth", rank=self.rank, value=rate, bytes=nbytes)
        used = connected_interfaces(without_port=int(os.environ["MASTER_PORT"]))
        self.channel.send("interfaces", rank=self.rank, names=used)
        # NCCL would guess the GPU by the number of the rank.
        dist.barrier(device_ids=[self.local] if self.backend == "nccl" else None)
        self._await("done", "", self.step_s)
        self.channel.send("all_done", ranks=self.others)

    def _size(self) -> int:
        """How many bytes rank 0 finds that there is time for."""
        import torch
        import torch.distributed as dist

        tried = torch.ones(_TRIED_MEBIBYTE * 2**18, device=self.device.torch)
        seconds = [self.device.time(lambda: dist.all_reduce(tried), 1) for _ in range(2)][-1]
        most = self.step_s / 4 / _ROUNDS_TOGETHER[self.backend] / max(seconds, 1e-6)
        sizes = MEBIBYTES[self.backend]
        chosen = next((one for one in sizes if one <= most * _TRIED_MEBIBYTE), sizes[-1])
        tensor = torch.tensor([float(chosen)], device=self.device.torch)
        dist.broadcast(tensor, 0)
        return int(tensor.item()) * 2**20

    # --- the others ---

    def _await(self, what: str, own: str, limit_s: float) -> Board:
        """Tell the others, and wait until every one has told."""
        board = self.board
        assert board is not None
        board.put(what, self.rank, own)
        until = time.monotonic() + limit_s
        missing = board.without(what, self.others)
        while missing:
            died = [one for one in missing if board.has("died", one)]
            if died or time.monotonic() > until:
                names = ", ".join(map(str, missing[:8]))
                raise _Failed(f"nothing was heard of rank {names}")
            time.sleep(_POLL_S)
            missing = board.without(what, missing)
        return board

    def look_at_others(self) -> None:
        """Tell in which phase the others were last seen, and which of them have died."""
        board = self.board
        if board is None:
            return
        with contextlib.suppress(Exception):
            board.limit(_LAST_LOOK_S)
            several = int(self.request["nodes"]) > 1
            until = time.monotonic() + (_LAST_LOOK_S if several else 0)
            died, errors = (board.all_of(what, self.others) for what in ("died", "failed"))
            while not died and len(errors) < len(self.others) and time.monotonic() < until:
                time.sleep(_POLL_S)
                died, errors = (board.all_of(what, self.others) for what in ("died", "failed"))
            for one, text in board.all_of("phase", self.others).items():
                phase, peer = json.loads(text)
                self.channel.send(
                    "seen", rank=one, phase=phase, peer=peer, error=errors.get(one, "")
                )
            for text in board.all_of("broken", self.others).values():
                for link in json.loads(text):
                    self.channel.send("link", **link)
            self.channel.send("died", ranks=[[one, how] for one, how in died.items()])


def partners(rank: int, world: int) -> list[int]:
    """The partner of each round, so that two are never each other's at different times (the circle
    method of a round-robin tournament). In a large world the neighbours alone."""
    if world > MOST_PAIRS_OF:
        ring = sorted({(rank - 1) % world, (rank + 1) % world})
        # Even edges first: each has one partner at a time.
        return sorted(ring, key=lambda peer: (min(rank, peer) % 2, abs(rank - peer)))
    even = world + world % 2
    found = []
    for turn in range(even - 1):
        partner = _partner(rank, turn, even)
        if partner < world:
            found.append(partner)
    return found


def _partner(rank: int, turn: int, even: int) -> int:
    last = even - 1
    if rank == last:
        return turn * even // 2 % last
    partner = (turn - rank) % last
    return last if partner == rank else partner
