"""A collective across two machines: real torch, real ranks, real network namespaces."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import require
from tests.support.nodes import (
    ADDRESSES,
    MARK,
    PORT,
    Nodes,
    document_of,
    ip,
    nothing_is_left,
    two_nodes,
)
from tests.support.patients import has_torch

pytestmark = pytest.mark.heavy


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    require(has_torch(), "a torch")
    with two_nodes() as made:
        yield made


def roots(report: dict[str, Any]) -> list[str]:
    return [one["name"] for one in report["findings"] if one["because"] is None]


def rank(report: dict[str, Any], number: int) -> dict[str, Any]:
    return next(one for one in report["collective"]["ranks"] if one["rank"] == number)


def evidence(report: dict[str, Any]) -> str:
    return "\n".join(one["value"] for one in report["findings"][0]["evidence"])


def test_a_healthy_cable(nodes: Nodes) -> None:
    for node, report in enumerate(nodes.both("--timeout", "120")):
        assert (report["verdict"], report["findings"]) == ("healthy", [])
        own = rank(report, node)
        assert (own["here"], own["state"]) == (True, "done")
        assert own["used"] == [nodes.interface(node)]
        assert rank(report, 1 - node)["state"] == "done"
        tried = report["collective"]
        assert [one["problem"] for one in tried["links"]] == [""]
        assert tried["sum_right"]
        assert tried["bus"]["median"] > 0


def test_the_port_where_all_meet_is_blocked(nodes: Nodes) -> None:
    nodes.drop(0, f"dport {PORT}")
    first, second = nodes.both("--timeout", "25")
    assert roots(second) == ["master-not-reached"]
    assert second["collective"]["meeting"]["problem"] == "no-answer"
    assert roots(first) == ["node-missing"]
    assert first["collective"]["missing_nodes"] == [1]


def test_nothing_listens_where_all_meet(nodes: Nodes) -> None:
    second = document_of(nodes.start(1, "--timeout", "12"))
    assert roots(second) == ["master-not-reached"]
    assert second["collective"]["meeting"]["problem"] == "refused"
    assert "--node-rank 0" in second["findings"][0]["fixes"][0]["summary"]


def test_all_ports_but_that_one_are_blocked(nodes: Nodes) -> None:
    """The firewall that lets MASTER_PORT through and nothing else."""
    nodes.drop(0, f"dport {PORT} lookup local", "")
    for node, report in enumerate(nodes.both("--timeout", "60")):
        assert roots(report) == ["ranks-not-reached"]
        assert report["findings"][0]["subjects"] == ["rank:0-1", "rank:1-0"]
        assert "no answer" in evidence(report)
        assert nodes.interface(node) in evidence(report)
        assert rank(report, node)["phase"] == "init"


def test_packets_of_full_size_are_lost(nodes: Nodes) -> None:
    """One end of the cable takes smaller ones than it says (a path MTU that nobody is told)."""
    cable = nodes.interface(1)
    ip(f"-n {nodes.names[1]} link set {cable} mtu 1000")
    ip(f"-n {nodes.names[1]} route change 10.77.0.0/24 dev {cable} advmss 1460 src {ADDRESSES[1]}")
    ip(f"-n {nodes.names[0]} link set {nodes.interface(0)} gso_max_segs 1")
    first, second = nodes.both("--timeout", "60")
    for report in (first, second):
        assert roots(report) == ["large-packets-lost"]
        assert report["findings"][0]["subjects"] == ["rank:1-0"]
    assert rank(first, 0)["phase"] == rank(second, 1)["phase"] == "pairs"
    assert (rank(first, 0)["peer"], rank(second, 1)["peer"]) == (1, 0)


@pytest.mark.parametrize("wrong", ["eth7", "lo"])
def test_a_wrong_interface(nodes: Nodes, wrong: str) -> None:
    """On the first node: of two, gloo lets the second one connect to it."""
    given = {"GLOO_SOCKET_IFNAME": wrong}
    other = nodes.own_interface(1) if wrong == "eth7" else given
    first, second = nodes.both("--timeout", "60", env={0: given, 1: other})
    for report in (first, second):
        assert roots(report) == ["nccl-socket-ifname"]
        assert f"GLOO_SOCKET_IFNAME={wrong}" in report["findings"][0]["message"]
    assert first["findings"][0]["fixes"][0]["commands"] == ["unset GLOO_SOCKET_IFNAME"]
    assert nodes.interface(0) in first["findings"][0]["fixes"][0]["summary"]


def test_a_rank_that_is_killed(nodes: Nodes) -> None:
    """By a real SIGKILL from outside, while it imports torch."""
    runs = [nodes.start(node, "--timeout", "90") for node in (0, 1)]
    os.kill(rank_of_node(nodes, 1), signal.SIGKILL)
    first, second = (document_of(one) for one in runs)
    for report in (first, second):
        assert roots(report) == ["rank-died"]
        assert report["findings"][0]["subjects"] == ["rank:1"]
        assert rank(report, 1)["how"] == "SIGKILL"
    assert rank(first, 0)["state"] == "failed"
    nothing_is_left(nodes.mark)


def rank_of_node(nodes: Nodes, node: int) -> int:
    """The process of the rank of that node, once there is one."""
    until = time.monotonic() + 90
    while time.monotonic() < until:
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                variables = (folder / "environ").read_bytes().split(b"\0")
                words = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            wanted = {f"RANK={node}".encode(), f"{MARK}={nodes.mark}".encode()}
            if wanted <= set(variables) and b"rank" in words:
                return int(folder.name)
        time.sleep(0.02)
    raise AssertionError("no rank was started")


def test_two_names_that_are_the_loopback(nodes: Nodes) -> None:
    """What /etc/hosts of Debian makes of a host's own name, where nothing tells gloo better."""
    import socket

    own = {one[4][0] for one in socket.getaddrinfo(socket.gethostname(), None)}
    if not all(str(one).startswith("127.") for one in own):
        pytest.skip("this host's own name is no loopback address")
    for node, report in enumerate(nodes.both("--timeout", "60", env={0: {}, 1: {}})):
        assert roots(report) == ["hostname-is-loopback"]
        commands = [one for fix in report["findings"][0]["fixes"] for one in fix["commands"]]
        assert commands == [f"export GLOO_SOCKET_IFNAME={nodes.interface(node)}"]


def test_a_port_that_is_taken(nodes: Nodes) -> None:
    import subprocess
    import sys

    listens = (
        f"import socket, time; s = socket.create_server(('', {PORT})); print('', flush=True); "
        "time.sleep(99)"
    )
    command = ["ip", "netns", "exec", nodes.names[0], sys.executable, "-c", listens]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        report = document_of(nodes.start(0, "--timeout", "60"))
        other.kill()
    assert roots(report) == ["master-port-in-use"]


def test_addresses_are_not_written(nodes: Nodes) -> None:
    nodes.drop(0, f"dport {PORT}")
    run = nodes.start(1, "--timeout", "12")
    stdout, _ = run.communicate(timeout=60)
    assert "<ip-1>:29500" in stdout
    assert ADDRESSES[0] not in stdout
