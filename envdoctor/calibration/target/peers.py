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
from .devices import CudaDevice, Device
from .stats import rate_spread

MEBIBYTES = {"gloo": 32, "nccl": 256}
ROUNDS = 8
LIMIT_S = 90.0
WORKER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "worker.py")


def measure_all_reduce(channel: Channel, backend: str, count: int) -> None:
    """Start `count` peers; the first tells its result. Raises RuntimeError if one fails."""
    channel.progress(phase="ceilings", message=f"all-reduce of {count} processes with {backend}")
    with tempfile.TemporaryDirectory(prefix="envdoctor-") as folder:
        store = os.path.join(folder, "store")
        peers = [_start(channel, backend, rank, count, store) for rank in range(count)]
        try:
            _wait(peers)
        finally:
            for peer in peers:
                peer.kill()
                peer.wait()


def _start(
    channel: Channel, backend: str, rank: int, count: int, store: str
) -> subprocess.Popen[bytes]:
    fd = str(channel.fd)
    return subprocess.Popen(
        [sys.executable, "-B", WORKER, "peer", fd, backend, str(rank), str(count), store],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=(channel.fd,),
        # Both find each other on this machine alone, whatever networks it has.
        env={**os.environ, "GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"},
    )


def _wait(peers: list[subprocess.Popen[bytes]]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while any(peer.poll() is None for peer in peers):
        failed = next((peer for peer in peers if peer.poll()), None)
        if failed is not None:
            raise RuntimeError(f"a process of the all-reduce exited with code {failed.returncode}")
        if time.monotonic() > deadline:
            raise RuntimeError(f"the all-reduce did not end within {LIMIT_S:.0f} s")
        time.sleep(0.05)
    if any(peer.returncode for peer in peers):
        raise RuntimeError("a process of the all-reduce failed")


def be_peer(fd: int, backend: str, rank: int, count: int, store: str) -> None:
    """One of the processes: reduce a tensor a few times; rank 0 tells the bus bandwidth.

    Bus bandwidth is 2 (n - 1) / n x bytes / seconds (nccl-tests, doc/PERFORMANCE.md): what the
    slowest link carries, comparable between numbers of processes.
    """
    import torch.distributed as dist

    device: Device = Device("cpu") if backend == "gloo" else CudaDevice(f"cuda:{rank}", rank)
    if backend == "nccl":
        torch.cuda.set_device(rank)
    dist.init_process_group(backend, init_method=f"file://{store}", rank=rank, world_size=count)
    nbytes = MEBIBYTES[backend] * 2**20
    tensor = torch.ones(nbytes // 4, device=device.torch)
    device.time(lambda: dist.all_reduce(tensor), 2)
    seconds = [device.time(lambda: dist.all_reduce(tensor), 1) for _ in range(ROUNDS)]
    if rank == 0:
        _tell(Channel(fd), backend, count, device, seconds, nbytes)
    dist.barrier()
    dist.destroy_process_group()


def _tell(
    channel: Channel, backend: str, count: int, device: Device, seconds: list[float], nbytes: int
) -> None:
    value: dict[str, Any] = rate_spread(seconds, 2 * (count - 1) / count * nbytes / 1e9)
    channel.send(
        "ceiling",
        device=device.name,
        name=f"{backend} all-reduce bus",
        value=value,
        unit="GB/s",
        detail=f"{count} processes, {nbytes // 2**20} MiB",
    )
