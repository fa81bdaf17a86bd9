"""What NCCL, gloo and torch were told of the network, on machines where it holds and does not."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from envdoctor.api import (
    Driver,
    Environment,
    FabricPort,
    Limits,
    Network,
    NetworkInterface,
    Observed,
    Severity,
    Snapshot,
)
from envdoctor.report import Report
from tests.machines.test_variables import A100, GEFORCE, with_gpus
from tests.support.cases import CASES
from tests.support.diagnosis import report_on
from tests.support.invariants import violations

LO = NetworkInterface(name="lo", state="unknown", has_address=True)
ETH0 = NetworkInterface(name="eth0", state="up", has_address=True)
ETH1 = NetworkInterface(name="eth1", state="down", has_address=True)
IB0 = NetworkInterface(name="ib0", state="up", has_address=False)
DOCKER0 = NetworkInterface(name="docker0", state="down", has_address=True)
TUN0 = NetworkInterface(name="tun0", state="unknown", has_address=True)
SERVER = (LO, ETH0, ETH1, IB0, DOCKER0, TUN0)

NDR = FabricPort(device="mlx5_0", port=1, state="ACTIVE", link_layer="InfiniBand")
ROCE = FabricPort(device="mlx5_1", port=1, state="ACTIVE", link_layer="Ethernet")
WITHOUT_A_CABLE = FabricPort(device="mlx5_2", port=1, state="DOWN", link_layer="InfiniBand")
WITHOUT_A_MANAGER = FabricPort(device="mlx5_3", port=1, state="INIT", link_layer="InfiniBand")

OF_A_CLUSTER = {"interfaces": SERVER, "own_name": "address", "peer_memory": True}
TWO_NODES = {"SLURM_JOB_ID": "7", "SLURM_JOB_GPUS": "0,1", "SLURM_JOB_NUM_NODES": "2"}
TORCHRUN = {"WORLD_SIZE": "16", "RANK": "9", "LOCAL_WORLD_SIZE": "8", "LOCAL_RANK": "1"}
ONE_NODE = {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_WORLD_SIZE": "2", "LOCAL_RANK": "1"}


def server(variables: dict[str, str], name: str = A100, count: int = 2, **network: Any) -> Report:
    """A machine with so many GPUs and these variables; its network is that of SERVER."""
    return report_on(on_network(with_gpus(name, count, **variables), **network))


def on_network(snapshot: Snapshot, **network: Any) -> Snapshot:
    known = Network(**{**OF_A_CLUSTER, **network})
    return snapshot.with_facts({Network: Observed(value=known, source="synthetic")})


def said(report: Report) -> list[tuple[str, str]]:
    return [(one.name, one.severity.value) for one in report.findings]


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("eno1", "names no interface of this machine"),
        ("=eth", "names no interface of this machine"),
        ("eth1", "names `eth1`, which is down"),
        ("=eth1,ib0", "names `eth1`, which is down"),
        ("ib", "names `ib0`, which has no address"),
        ("^eth,lo,docker,tun", "leaves out every interface that is up and has an address"),
    ],
)
def test_nccl_is_told_an_interface_that_it_cannot_use(value: str, problem: str) -> None:
    report = server({"NCCL_SOCKET_IFNAME": value})
    assert said(report) == [("nccl-socket-ifname", "warning")]
    (one,) = report.findings
    assert one.message == f"NCCL_SOCKET_IFNAME={value} {problem}"
    assert one.fixes[0].commands == ("unset NCCL_SOCKET_IFNAME",)
    assert "eth0, tun0" in one.fixes[0].summary
    assert report.exit_code == 0


@pytest.mark.parametrize(
    "value",
    [
        *("eth", "=eth0", "=eth1,eth0", "eth0,eno1", "^docker", "^=docker0", "^docker,lo"),
        *("tun0", "lo", "", "e", "eth0,<not shown>"),
    ],
)
def test_nccl_is_told_an_interface_that_is_there(value: str) -> None:
    assert said(server({"NCCL_SOCKET_IFNAME": value, **ONE_NODE})) == []


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("eth", "names `eth`, which is no interface of this machine"),
        ("eth0,eno1", "names `eno1`, which is no interface of this machine"),
        ("eth1", "names `eth1`, which is down"),
        ("ib0", "names `ib0`, which has no address"),
    ],
)
def test_gloo_takes_whole_names_and_needs_every_one(value: str, problem: str) -> None:
    (one,) = server({"GLOO_SOCKET_IFNAME": value, **ONE_NODE}).findings
    assert (one.name, one.severity) == ("nccl-socket-ifname", Severity.WARNING)
    assert one.message == f"GLOO_SOCKET_IFNAME={value} {problem}"
    assert said(server({"GLOO_SOCKET_IFNAME": "eth0,tun0", **ONE_NODE})) == []


@pytest.mark.parametrize("variable", ["NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME"])
def test_the_loopback_leads_to_no_other_machine(variable: str) -> None:
    assert said(server({variable: "lo", **ONE_NODE})) == []
    (one,) = server({variable: "lo", **TWO_NODES}).findings
    assert one.message.endswith("leads to no other machine, and SLURM_JOB_NUM_NODES is 2")


def test_whom_a_wrong_interface_does_not_concern() -> None:
    """One GPU without a job; and a machine without GPUs, on which nobody starts NCCL."""
    wrong = {"NCCL_SOCKET_IFNAME": "eno1"}
    assert said(server(wrong, count=1)) == [("nccl-socket-ifname", "info")]
    assert said(server({**wrong, **ONE_NODE}, count=1)) == [("nccl-socket-ifname", "warning")]
    cpu = CASES["healthy-cpu"].snapshot
    environment = Observed(value=Environment(variables=wrong), source="synthetic")
    report = report_on(on_network(cpu.with_facts({Environment: environment})))
    assert (report.verdict.value, said(report)) == ("healthy", [])


# --- InfiniBand and RoCE ---


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("mlx4_0", "names no InfiniBand or RoCE device of this machine"),
        ("=mlx5", "names no InfiniBand or RoCE device of this machine"),
        ("mlx5_0:2", "names no InfiniBand or RoCE device of this machine"),
        ("mlx5_2", "chooses mlx5_2:1 alone, which is DOWN"),
        ("^mlx5_0,mlx5_1", "chooses mlx5_2:1 alone, which is DOWN"),
    ],
)
def test_nccl_is_told_a_device_that_carries_nothing(value: str, problem: str) -> None:
    ports = (NDR, ROCE, WITHOUT_A_CABLE)
    (one,) = server({"NCCL_IB_HCA": value, **TWO_NODES}, ports=ports).findings
    assert (one.name, one.severity) == ("rdma-device-missing", Severity.WARNING)
    assert one.message == f"NCCL_IB_HCA={value} {problem}"
    assert said(server({"NCCL_IB_HCA": value}, ports=ports)) == [("rdma-device-missing", "info")]
    off = {"NCCL_IB_HCA": value, "NCCL_IB_DISABLE": "1", **TWO_NODES}
    assert ("rdma-device-missing", "warning") not in said(server(off, ports=ports))


@pytest.mark.parametrize("value", ["mlx5", "mlx5_0:1", "=mlx5_0,mlx5_1", "^mlx5_2", "^=mlx5_1:1"])
def test_nccl_is_told_a_device_that_is_there(value: str) -> None:
    ports = (NDR, ROCE, WITHOUT_A_CABLE)
    assert said(server({"NCCL_IB_HCA": value, **TWO_NODES}, ports=ports)) == []


@pytest.mark.parametrize(
    ("ports", "variables", "expected"),
    [
        ((NDR,), TWO_NODES, [("debug-environment", "warning")]),
        ((NDR,), {}, [("debug-environment", "info")]),
        ((), TWO_NODES, []),
        ((ROCE,), TWO_NODES, []),
        ((WITHOUT_A_CABLE,), TWO_NODES, []),
    ],
    ids=["two nodes", "no job", "no device", "a card for Ethernet", "no cable"],
)
def test_infiniband_is_switched_off(
    ports: tuple[FabricPort, ...], variables: dict[str, str], expected: list[tuple[str, str]]
) -> None:
    """Where the switches carry no RoCE, NCCL_IB_DISABLE=1 is the remedy."""
    assert said(server({"NCCL_IB_DISABLE": "1", **variables}, ports=ports)) == expected


def test_shared_memory_is_for_gpus_that_do_not_reach_each_other() -> None:
    off = {"NCCL_SHM_DISABLE": "1"}
    assert said(server(off, GEFORCE)) == [("debug-environment", "info")]
    assert said(server(off, A100)) == []
    assert said(server(off, GEFORCE, 1)) == []


def test_a_port_without_a_subnet_manager() -> None:
    ports = (NDR, WITHOUT_A_MANAGER, WITHOUT_A_CABLE)
    (one,) = server(TWO_NODES, ports=ports).findings
    assert (one.name, one.subjects) == ("infiniband-not-active", ("mlx5_3:1",))
    assert said(server({}, ports=ports)) == []
    assert said(server(TWO_NODES, ports=(NDR, WITHOUT_A_CABLE))) == []


def test_infiniband_beside_a_driver_that_lets_it_read_no_gpu() -> None:
    def with_driver(flavor: str, name: str = A100, **network: Any) -> list[tuple[str, str]]:
        snapshot = with_gpus(name, 2, **TWO_NODES)
        driver = snapshot.value(Driver)
        assert driver is not None
        fields = {field: getattr(driver, field) for field in driver.__struct_fields__}
        other = Driver(**{**fields, "flavor": flavor})
        known = snapshot.with_facts({Driver: Observed(value=other, source="synthetic")})
        return said(
            report_on(on_network(known, **{"ports": (NDR,), "peer_memory": False, **network}))
        )

    assert with_driver("proprietary") == [("nvidia-peermem-missing", "info")]
    assert with_driver("proprietary", peer_memory=True) == []
    assert with_driver("open") == []
    assert with_driver("proprietary", GEFORCE) == []
    assert with_driver("proprietary", ports=(WITHOUT_A_CABLE,)) == []


@pytest.mark.parametrize(
    ("limit", "variables", "network", "expected"),
    [
        (8 << 20, TWO_NODES, {"ports": (NDR,)}, True),
        (64 << 10, TWO_NODES, {"ports": (ROCE,)}, True),
        (None, TWO_NODES, {"ports": (NDR,)}, False),
        (64 << 30, TWO_NODES, {"ports": (NDR,)}, False),
        (8 << 20, ONE_NODE, {"ports": (NDR,)}, False),
        (8 << 20, {}, {"ports": (NDR,)}, False),
        (8 << 20, TWO_NODES, {"ports": (WITHOUT_A_CABLE,)}, False),
        (8 << 20, {**TWO_NODES, "NCCL_IB_DISABLE": "1"}, {"ports": (ROCE,)}, False),
    ],
)
def test_memory_that_cards_may_not_read(
    limit: int | None, variables: dict[str, str], network: dict[str, Any], expected: bool
) -> None:
    snapshot = on_network(with_gpus(A100, 2, **variables), **network)
    limits = snapshot.value(Limits)
    assert limits is not None
    held = replace(limits, locked_memory_bytes=limit)
    report = report_on(snapshot.with_facts({Limits: Observed(value=held, source="synthetic")}))
    found = [one for one in report.findings if one.name == "locked-memory-limit"]
    assert bool(found) is expected
    if found:
        assert "PropagateResourceLimitsExcept" in found[0].fixes[0].summary


# --- where processes meet ---


@pytest.mark.parametrize("job", [TWO_NODES, TORCHRUN], ids=["slurm", "torchrun"])
def test_every_machine_waits_for_itself(job: dict[str, str]) -> None:
    (one,) = server({**job, "MASTER_ADDR": "127.0.0.1"}, master="loopback").findings
    assert (one.name, one.confidence.value) == ("master-is-loopback", "certain")
    first = {**job, "MASTER_ADDR": "localhost", "SLURM_NODEID": "0"}
    (one,) = server(first, master="loopback").findings
    assert (one.name, one.confidence.value) == ("master-is-loopback", "likely")


@pytest.mark.parametrize(
    ("variables", "master"),
    [({**ONE_NODE}, "loopback"), ({}, "loopback"), ({**TWO_NODES}, "own"), ({**TORCHRUN}, "other")],
)
def test_a_master_that_can_be_reached(variables: dict[str, str], master: str) -> None:
    assert said(server({**variables, "MASTER_PORT": "29500"}, master=master)) == []


def test_a_name_that_debian_gives_to_the_loopback() -> None:
    """It matters to gloo alone, and only where other machines are told it."""
    for job, master in ((TWO_NODES, None), (TORCHRUN, "own"), ({}, "other")):
        (one,) = server(job, own_name="loopback", master=master).findings
        assert one.name == "hostname-is-loopback"
        assert one.fixes[0].commands == ("export GLOO_SOCKET_IFNAME=eth0",)
    told = {**TWO_NODES, "GLOO_SOCKET_IFNAME": "eth0"}
    assert said(server(told, own_name="loopback")) == []
    for variables, own, master in (
        ({}, "loopback", None),
        (ONE_NODE, "loopback", "loopback"),
        (ONE_NODE, "loopback", "own"),
        (ONE_NODE, "loopback", "other"),
        ({**TWO_NODES, **ONE_NODE}, "loopback", "own"),
        (TWO_NODES, "unlisted", None),
    ):
        assert said(server(variables, own_name=own, master=master)) == []


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"RANK": "2", "WORLD_SIZE": "2"}, "RANK=2 is none of WORLD_SIZE=2"),
        ({**ONE_NODE, "LOCAL_RANK": "4"}, "LOCAL_RANK=4 is none of LOCAL_WORLD_SIZE=2"),
        ({**ONE_NODE, "MASTER_PORT": "<not shown>"}, "MASTER_PORT is no port"),
        ({**ONE_NODE, "MASTER_PORT": "70000"}, "MASTER_PORT is no port"),
    ],
)
def test_variables_that_contradict_themselves(variables: dict[str, str], words: str) -> None:
    (one,) = server(variables).findings
    assert one.name == "rendezvous-variables"
    assert one.message.startswith(words)


@pytest.mark.parametrize(
    "variables",
    [
        {},
        ONE_NODE,
        TORCHRUN,
        {**ONE_NODE, "MASTER_PORT": "29500"},
        {"MASTER_PORT": "<not shown>"},
        {"RANK": "0", "WORLD_SIZE": "1", "MASTER_PORT": "0"},
    ],
)
@pytest.mark.parametrize("own_name", ["loopback", "address", "unlisted"])
def test_without_a_contradiction_nothing_is_said(variables: dict[str, str], own_name: str) -> None:
    own = "address" if variables is TORCHRUN else own_name
    report = server(variables, own_name=own, ports=(NDR, ROCE, WITHOUT_A_CABLE, WITHOUT_A_MANAGER))
    waiting = ["infiniband-not-active"] if variables is TORCHRUN else []
    assert [one.name for one in report.findings] == waiting


# --- whatever stands there ---

WORDS = st.sampled_from(["", "^", "=", "^=", "eth", "eth0", "eth1", "ib", "lo", ",", ":1", "mlx5"])
COUNTS = st.sampled_from(["", "0", "1", "2", "-1", "999999999999", "<not shown>"])
SET = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(
            ("NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME", "NCCL_IB_HCA"),
            st.lists(WORDS, max_size=4).map("".join),
        ),
        **dict.fromkeys(
            ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_PORT", "SLURM_NNODES"),
            COUNTS,
        ),
        **dict.fromkeys(("NCCL_IB_DISABLE", "NCCL_SHM_DISABLE"), st.sampled_from(["0", "1"])),
    },
)
NETWORKS = st.builds(
    Network,
    interfaces=st.lists(st.sampled_from(SERVER), unique=True).map(tuple),
    ports=st.lists(st.sampled_from([NDR, ROCE, WITHOUT_A_CABLE, WITHOUT_A_MANAGER])).map(tuple),
    peer_memory=st.booleans(),
    own_name=st.sampled_from(["loopback", "address", "unlisted"]),
    master=st.sampled_from([None, "loopback", "own", "other"]),
)
MACHINE = with_gpus(A100, 2)


@given(SET, NETWORKS)
def test_no_variable_breaks_what_was_seen_to_work(
    variables: dict[str, str], network: Network
) -> None:
    """It is a warning at most, and nothing at all without a variable."""
    environment = Environment(variables=variables)
    report = report_on(
        MACHINE.with_facts(
            {
                Network: Observed(value=network, source="synthetic"),
                Environment: Observed(value=environment, source="synthetic"),
            }
        )
    )
    assert violations(report) == []
    assert report.exit_code == 0
    if not variables and network.master in (None, "own", "loopback"):
        assert report.findings == ()
