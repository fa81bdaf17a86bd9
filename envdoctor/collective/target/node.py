"""A node of the job: it meets the other nodes, and starts torch's launcher for its ranks."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

from ...calibration.target.channel import Channel
from . import links
from .addresses import own_name
from .board import Board

_LAST_S = 1.0
"""How long the first node, at which the store is, waits before it gives up, so that others read
that."""

_POLL_S, _ATTEMPT_S, _PAUSE_S = 0.05, 3.0, 0.5
PATIENCE_S = 9.0
"""How long an address is tried that gives no answer at all. One where nothing listens yet is tried
for as long as there is time: its node may start later."""

_MOST_TEXT = 600
"""Characters of an error: a line of the channel must fit into what a pipe takes at once (4096)."""


class Stopped(BaseException):
    """All that there is to say was said."""


def be_node(fd: int, worker: str, request: str) -> None:
    """Do what the request asks, and tell it to the descriptor."""
    channel = Channel(fd)
    with contextlib.suppress(Stopped):
        _Node(channel, fd, worker, json.loads(request)).run()
    channel.send("end")
    links.leave()


def short(error: BaseException | str) -> str:
    """What went wrong, on one line that is not too long."""
    text = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())[:_MOST_TEXT]


class _Node:
    def __init__(self, channel: Channel, fd: int, worker: str, request: dict[str, Any]) -> None:
        self.channel, self.fd, self.worker = channel, fd, worker
        self.count, self.number = int(request["nnodes"]), int(request["node_rank"])
        self.asked: dict[str, Any] = request
        self.master, self.port = links.split_endpoint(str(request["master"]))
        self.until = time.monotonic() + float(request["rendezvous_until_s"])
        self.rendezvous_until = self.until
        self.board: Any = None

    def run(self) -> None:
        self._describe()
        self._try_the_pipe()
        addresses = self._resolved()
        own = self._plan()
        self._meet(addresses)
        everyone = self._nodes(own)
        self._launch(everyone)

    def _describe(self) -> None:
        self.channel.send("node", own_name=own_name())

    def _try_the_pipe(self) -> None:
        """Ranks write into it by this name: the launcher closes what they could inherit."""
        try:
            os.close(os.open(f"/proc/{os.getpid()}/fd/{self.fd}", os.O_WRONLY))
        except OSError as error:
            raise self._fatal(f"ranks cannot tell what they reach, by /proc: {error}") from error

    def _fatal(self, reason: str) -> Stopped:
        self.channel.send("fatal", reason=short(reason))
        return Stopped()

    # --- what there is ---

    def _resolved(self) -> list[str]:
        addresses, error = links.resolve(self.master, PATIENCE_S)
        if not addresses:
            raise self._without_master("unknown-name", error, [])
        return addresses

    def _plan(self) -> dict[str, Any]:
        """What this node brings into the job."""
        self.channel.send("step", what="importing torch")
        try:
            import torch
            import torch.distributed as dist
        except BaseException as error:
            reason = f"torch cannot be imported: {short(error)}"
            raise self._fatal(reason) from error
        if not dist.is_available():
            raise self._fatal("this torch was built without torch.distributed")
        gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
        backend = self._backend(gpus)
        nproc = self.asked["nproc"] or (gpus if backend == "nccl" else 2 if self.count == 1 else 1)
        if backend == "nccl" and nproc > gpus:
            raise self._fatal(f"torch sees fewer GPUs ({gpus}) than ranks are asked for ({nproc})")
        if nproc * self.count < 2:
            raise self._fatal("a collective needs two ranks; give `--nproc 2` or more nodes")
        own = {
            "nproc": nproc,
            "backend": backend,
            "torch": str(torch.__version__),
            "cuda": torch.version.cuda or torch.version.hip,
            "nccl": _nccl_version() if gpus else None,
            "python": platform.python_version(),
        }
        self.channel.send("plan", **own)
        return own

    def _backend(self, gpus: int) -> str:
        import torch.distributed as dist

        asked = str(self.asked["backend"])
        if asked == "auto":
            # One GPU of one machine has no other to talk to.
            enough = gpus >= (self.asked["nproc"] or (1 if self.count > 1 else 2))
            asked = "nccl" if gpus and enough and dist.is_nccl_available() else "gloo"
        there = dist.is_nccl_available() if asked == "nccl" else _has_gloo(dist)
        if not there:
            other = "; give `--backend gloo`" if asked == "nccl" else ""
            raise self._fatal(f"this torch has no {asked}{other}")
        if asked == "nccl" and not gpus:
            raise self._fatal("NCCL needs GPUs, and torch sees none; give `--backend gloo`")
        return asked

    # --- the other nodes ---

    def _without_master(self, problem: str, error: str, addresses: list[str]) -> Stopped:
        ends = [links.endpoint(one, self.port) for one in addresses]
        self.channel.send("master", endpoints=ends, problem=problem, error=short(error))
        return Stopped()

    def _meet(self, addresses: list[str]) -> None:
        """Be or reach the store at which the nodes meet. The time for that begins now: to import
        torch may have taken long."""
        now = time.monotonic()
        limit = now + float(self.asked["rendezvous_s"])
        self.rendezvous_until = max(now + 1.0, min(self.until, limit))
        if self.count == 1 and not self.port:
            self.port = links.free_port()
        if self.number:
            self.channel.send("step", what="waiting for node 0")
            self._await_master(addresses)
        try:
            self.board = Board(self._store(is_master=self.number == 0))
        except (RuntimeError, OSError) as error:
            in_use = "EADDRINUSE" in str(error) or "in use" in str(error)
            link = _first(addresses, self.port)
            problem = "in-use" if in_use else link.problem or "no-store"
            told = link.error if problem == link.problem else short(error)
            raise self._without_master(problem, told, addresses) from error
        if not self.number:
            link = _first(addresses, self.port)
            if link.problem:
                raise self._without_master(link.problem, link.error, addresses)
        ends = [links.endpoint(one, self.port) for one in addresses]
        self.channel.send("master", endpoints=ends, problem="", error="")

    def _await_master(self, addresses: list[str]) -> None:
        began = time.monotonic()
        while True:
            link = _first(addresses, self.port)
            now = time.monotonic()
            if not link.problem:
                return
            lasting = link.problem != "refused" and now - began > PATIENCE_S
            if lasting or now > self.rendezvous_until:
                raise self._without_master(link.problem, link.error, addresses)
            time.sleep(_PAUSE_S)

    def _store(self, *, is_master: bool) -> Any:
        """The store. Raises RuntimeError, also where who listens there never answers: torch's own
        limit does not hold for its first greeting."""
        made: list[Any] = []

        def make() -> None:
            try:
                made.append(self._new_store(is_master=is_master))
            except Exception as error:
                made.append(error)

        thread = threading.Thread(target=make, daemon=True)
        thread.start()
        thread.join(max(2.0, self._left()) + 1.0)
        if not made:
            raise RuntimeError("it accepts the connection, and does not answer as a store")
        if isinstance(made[0], Exception):
            raise made[0]
        return made[0]

    def _new_store(self, *, is_master: bool) -> Any:
        import torch.distributed as dist

        # The launcher makes its own of the same port, and shares the server of this process.
        return dist.TCPStore(
            self.master,
            self.port,
            None,
            is_master,
            timeout=datetime.timedelta(seconds=max(2.0, self._left())),
            wait_for_workers=False,
            multi_tenant=is_master,
        )

    def _left(self) -> float:
        return self.rendezvous_until - time.monotonic()

    def _nodes(self, own: dict[str, Any]) -> list[dict[str, Any]]:
        """What every node brings, by its number."""
        try:
            self.board.put("node", self.number, json.dumps(own))
            missing = self._missing()
            if missing:
                self.channel.send("nodes", missing=missing, nodes=[])
                self.board.put("gave-up", 0, json.dumps(missing))
                time.sleep(0 if self.number else _LAST_S)
                raise Stopped
            nodes = [json.loads(self.board.get("node", one)) for one in range(self.count)]
        except (RuntimeError, OSError) as error:
            raise self._without_master("lost", short(error), []) from error
        self.channel.send("nodes", missing=[], nodes=nodes)
        return nodes

    def _missing(self) -> list[int]:
        """The nodes that do not come in time, or for which another node has waited in vain."""
        missing = list(range(self.count))
        while True:
            missing = self.board.without("node", missing)
            if not missing or self._left() <= 0:
                return missing
            if self.board.has("gave-up", 0):
                return [int(one) for one in json.loads(self.board.get("gave-up", 0))]
            time.sleep(_POLL_S)

    # --- the launcher ---

    def _launch(self, nodes: list[dict[str, Any]]) -> None:
        from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
        from torch.distributed.run import main as torchrun

        own = nodes[self.number]
        all_nccl = all(one["backend"] == "nccl" for one in nodes)
        backend = "nccl" if all_nccl else "gloo"
        first = sum(one["nproc"] for one in nodes[: self.number])
        self._prepare(backend, own)
        request = {"backend": backend, "step_s": self.asked["step_s"], "nodes": self.count}
        self.channel.send("launched", backend=backend, first_rank=first, ranks=own["nproc"])
        try:
            torchrun(self._arguments(own["nproc"], json.dumps(request)))
        except ChildFailedError as error:
            died = _by_themselves(error.failures)
            self.channel.send("died", ranks=[[rank, how] for rank, how in died.items()])
            self._tell_others(died)
        except BaseException as error:
            self.channel.send("launcher", error=short(error))

    def _prepare(self, backend: str, own: dict[str, Any]) -> None:
        if backend == "nccl":
            os.environ.setdefault("NCCL_DEBUG", "WARN")
            # What does not end in time is an exception of its rank, and not the end of it.
            major, minor = (int(one) for one in own["torch"].split(".")[:2])
            prefix = "TORCH_" if (major, minor) >= (2, 2) else ""
            os.environ[f"{prefix}NCCL_BLOCKING_WAIT"] = "1"
        # What was meant for a launcher around this one, or in its place.
        for name in [one for one in os.environ if one.startswith(("PET_", "TORCHELASTIC_"))]:
            del os.environ[name]

    def _arguments(self, nproc: int, request: str) -> list[str]:
        return [
            f"--nnodes={self.count}",
            f"--node_rank={self.number}",
            f"--nproc_per_node={nproc}",
            f"--master_addr={self.master}",
            f"--master_port={self.port}",
            "--max_restarts=0",
            "--monitor_interval=0.1",
            f"--rdzv_conf=timeout={int(self.asked['step_s']) + 5}",
            "--no_python",
            sys.executable,
            *("-B", self.worker, "rank", str(self.fd), request),
        ]

    def _tell_others(self, died: dict[int, str]) -> None:
        """So that the ranks of other nodes know why nobody answers."""
        if self.count == 1:
            return
        try:
            for rank, how in died.items():
                self.board.put("died", rank, how)
        except Exception:
            return
        if not self.number:
            # The store ends with this process.
            time.sleep(float(self.asked["step_s"]))


def _first(addresses: list[str], port: int) -> links.Link:
    """The first address that answers, else what the last one says."""
    link = links.Link("error", "there is no address")
    for address in addresses:
        link = links.connect(address, port, _ATTEMPT_S)
        if not link.problem:
            break
    return link


def _by_themselves(failures: Mapping[int, Any]) -> dict[int, str]:
    """How each rank ended, but for those that the launcher ended after that, by SIGTERM."""
    how = {int(rank): _how(one.exitcode) for rank, one in failures.items()}
    return {rank: one for rank, one in how.items() if one != "SIGTERM"} or how


def _how(exit_code: int) -> str:
    if exit_code >= 0:
        return f"exit code {exit_code}"
    try:
        return signal.Signals(-exit_code).name
    except ValueError:
        return f"signal {-exit_code}"


def _has_gloo(dist: Any) -> bool:
    asked = getattr(dist, "is_gloo_available", None)
    return asked() if asked is not None else hasattr(dist, "ProcessGroupGloo")


def _nccl_version() -> str | None:
    import torch

    try:
        found = torch.cuda.nccl.version()
    except Exception:
        return None
    return ".".join(map(str, found)) if isinstance(found, tuple) else str(found)
