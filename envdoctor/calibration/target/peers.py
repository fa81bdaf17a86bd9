"""All-reduce between processes: NCCL between GPUs, gloo between CPU processes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from typing import Any

import torch

from .channel import Channel
from .devices import Device, device_named
from .stats import rate_spread

MEBIBYTES = {"gloo": 32, "nccl": 256}
TOGETHER = {"gloo": 1, "nccl": 10}
"""So many are timed together: what GPUs do is not done when the call returns."""

ROUNDS = 8
LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"
LIMIT_S = 90.0
WORKER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "worker.py")


def measure_all_reduce(channel: Channel, backend: str, names: list[str]) -> None:
    """Start a peer on each named device; the first tells its result.

    Raises RuntimeError if one fails.
    """
    message = f"all-reduce of {len(names)} processes with {backend}"
    channel.progress(phase="ceilings", message=message)
    with tempfile.TemporaryDirectory(prefix="envdoctor-") as folder:
        store = os.path.join(folder, "store")
        ranks = range(len(names))
        peers = [_start(channel, backend, rank, names, store) for rank in ranks]
        try:
            _wait(peers, names)
        finally:
            for peer in peers:
                peer.kill()
                peer.wait()


def _start(
    channel: Channel, backend: str, rank: int, names: list[str], store: str
) -> subprocess.Popen[bytes]:
    fd = str(channel.fd)
    return subprocess.Popen(
        [sys.executable, "-B", WORKER, "peer", fd, backend, str(rank), ",".join(names), store],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=(channel.fd,),
        # Both find each other on this machine alone, whatever networks it has.
        env={**os.environ, "GLOO_SOCKET_IFNAME": LOOPBACK, "NCCL_SOCKET_IFNAME": LOOPBACK},
    )


def _wait(peers: list[subprocess.Popen[bytes]], names: list[str]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while True:
        codes = [peer.poll() for peer in peers]
        for rank, code in enumerate(codes):
            if code:
                what = f"the process of the all-reduce on {names[rank]}"
                raise RuntimeError(f"{what} exited with {code}")
        if None not in codes:
            return
        if time.monotonic() > deadline:
            raise RuntimeError(f"the all-reduce did not end within {LIMIT_S:.0f} s")
        time.sleep(0.05)


def be_peer(fd: int, backend: str, rank: int, names: list[str], store: str) -> None:
    """One of the processes: reduce a tensor a few times; rank 0 tells the bus bandwidth."""
    import torch.distributed as dist

    device, count = device_named(names[rank]), len(names)
    device.use()
    dist.init_process_group(backend, init_method=f"file://{store}", rank=rank, world_size=count)
    nbytes = MEBIBYTES[backend] * 2**20
    value = bus_rate(device, backend, count, nbytes)
    if rank == 0:
        _tell(Channel(fd), backend, count, device, value, nbytes)
    dist.barrier()
    dist.destroy_process_group()


def bus_rate(device: Device, backend: str, count: int, nbytes: int) -> dict[str, Any]:
    """The bus bandwidth of an all-reduce in the group of this process, GB/s, as a Spread.

    It is 2 (n - 1) / n x bytes / seconds (nccl-tests, doc/PERFORMANCE.md): what the slowest link
    carries, comparable between numbers of processes.
    """
    import torch.distributed as dist

    tensor = torch.ones(nbytes // 4, device=device.torch)
    device.time(lambda: dist.all_reduce(tensor), 2 * TOGETHER[backend])
    seconds = [
        device.time(lambda: dist.all_reduce(tensor), TOGETHER[backend]) for _ in range(ROUNDS)
    ]
    return rate_spread(seconds, 2 * (count - 1) / count * nbytes / 1e9)


def _tell(
    channel: Channel,
    backend: str,
    count: int,
    device: Device,
    value: dict[str, Any],
    nbytes: int,
) -> None:
    channel.send(
        "ceiling",
        device=device.name,
        name=f"{backend} all-reduce bus",
        value=value,
        unit="GB/s",
        detail=f"{count} processes, {nbytes // 2**20} MiB",
    )
