"""The network as the kernel shows it: real interfaces of a namespace of one's own, and files."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from envdoctor.api import FabricPort, Network, NetworkInterface
from envdoctor.probes.context import Context, context_of
from envdoctor.probes.network import read_network
from envdoctor.probes.run import Children

IN_A_NAMESPACE = ["unshare", "--user", "--map-root-user", "--net", "--"]
READ = """
import json, msgspec
from envdoctor.probes.context import context_of
from envdoctor.probes.network import read_network
from envdoctor.probes.run import Children
print(json.dumps(msgspec.to_builtins(read_network(context_of(Children())))))
"""


def may_make_namespaces() -> bool:
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return False
    # /sys shows the interfaces of the namespace in which it was mounted.
    tried = subprocess.run([*IN_A_NAMESPACE, *SYS, "true"], capture_output=True, check=False)
    return tried.returncode == 0


SYS = ["unshare", "--mount", "--", "sh", "-c", 'mount -t sysfs none /sys && exec "$@"', "sh"]


def in_a_namespace(*commands: str, **env: str) -> Network:
    """The network after these `ip` commands, in a network namespace that had a loopback alone."""
    script = " && ".join(f"ip {command}" for command in commands)
    argv = [*IN_A_NAMESPACE, *SYS, "sh", "-c", f'{script} && exec "$@"', "sh"]
    done = subprocess.run(
        [*argv, sys.executable, "-c", READ],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **env},
    )
    return msgspec.convert(json.loads(done.stdout), Network)


@pytest.mark.skipif(not may_make_namespaces(), reason="no network namespaces here")
def test_interfaces_as_the_kernel_has_them() -> None:
    network = in_a_namespace(
        "link set lo up",
        "link add name veth0 type veth peer name veth1",
        "link set veth0 up",
        "link set veth1 up",
        "address add 10.7.0.1/24 dev veth0",
        "link add name veth2 type veth peer name veth3",
        "address add fd00::7/64 dev veth2",
        MASTER_ADDR="10.7.0.1",
    )
    by_name = {one.name: one for one in network.interfaces}
    assert (by_name["veth0"].state, by_name["veth0"].has_address) == ("up", True)
    assert (by_name["veth2"].state, by_name["veth2"].has_address) == ("down", True)
    assert by_name["veth3"].has_address is False
    assert by_name["veth3"].is_down
    assert by_name["lo"].has_address
    assert not by_name["lo"].is_down
    assert network.master == "own"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in {
        "sys/class/net/lo/operstate": "unknown\n",
        "sys/class/net/eth0/operstate": "up\n",
        "sys/class/net/bonding_masters": "bond0\n",
        "sys/class/infiniband/mlx5_0/ports/1/state": "4: ACTIVE\n",
        "sys/class/infiniband/mlx5_0/ports/1/link_layer": "InfiniBand\n",
        "sys/class/infiniband/mlx5_1/ports/1/state": "1: DOWN\n",
        "sys/class/infiniband/mlx5_1/ports/1/link_layer": "Ethernet\n",
        "sys/module/nvidia_peermem/refcnt": "0\n",
        "proc/sys/kernel/hostname": "node7\n",
        "proc/net/if_inet6": f"{1:032x} 01 80 10 80 lo\nfd{7:030x} 02 40 00 80 eth0\n",
        "proc/net/fib_trie": "Main:\n        |-- 10.0.0.0\n           /24 link UNICAST\n"
        "        |-- 10.0.0.7\n           /32 host LOCAL\n        |-- 10.0.0.9\n"
        "           /32 link UNICAST\n",
        "etc/hosts": "127.0.0.1 localhost\n10.0.0.7 head.cluster head # 10.0.0.8 no\n"
        "10.0.0.8 other\n127.0.0.2 dev\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def of(root: Path, **env: str) -> Network:
    network = read_network(_context(root, **env))
    assert network is not None
    return network


def _context(root: Path, **env: str) -> Context:
    return context_of(Children(), root=root, env=env, cwd="/")


def test_what_files_tell(root: Path) -> None:
    network = of(root)
    assert network.interfaces == (
        NetworkInterface(name="eth0", state="up"),
        NetworkInterface(name="lo", state="unknown"),
    )
    assert network.ports == (
        FabricPort(device="mlx5_0", port=1, state="ACTIVE", link_layer="InfiniBand"),
        FabricPort(device="mlx5_1", port=1, state="DOWN", link_layer="Ethernet"),
    )
    assert [port.device for port in network.active_ports] == ["mlx5_0"]
    assert network.peer_memory
    assert network.master is None


@pytest.mark.parametrize(
    ("master", "meaning"),
    [
        ("localhost", "loopback"),
        ("127.0.1.1", "loopback"),
        ("::1", "loopback"),
        ("dev", "loopback"),
        ("node7", "own"),
        ("NODE7.cluster.example", "own"),
        ("10.0.0.7", "own"),
        ("head", "own"),
        ("fd00:0::7", "own"),
        ("10.0.0.8", "other"),
        ("10.0.0.9", "other"),
        ("other", "other"),
        ("fd00::8", "other"),
        ("node8", "other"),
        (":::", "other"),
        (" ", None),
    ],
)
def test_what_master_addr_is(root: Path, master: str, meaning: str | None) -> None:
    assert of(root, MASTER_ADDR=master).master == meaning


@pytest.mark.parametrize(
    ("line", "meaning"),
    [
        ("127.0.1.1 node7.cluster node7", "loopback"),
        ("::1 NODE7", "loopback"),
        ("10.0.0.7 node7\n127.0.1.1 node7", "address"),
        ("# 127.0.1.1 node7", "unlisted"),
        ("127.0.1.1 node77", "unlisted"),
    ],
)
def test_what_the_hosts_own_name_is(root: Path, line: str, meaning: str) -> None:
    (root / "etc/hosts").write_text(f"127.0.0.1 localhost\n{line}\n")
    assert of(root).own_name == meaning


def test_without_sysfs_nothing_is_known(tmp_path: Path) -> None:
    assert read_network(_context(tmp_path)) is None
