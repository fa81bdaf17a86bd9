"""Which disease is named for what ranks reached; the facts are of the shape of real runs."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from envdoctor.api import (
    Collective,
    CollectiveSettings,
    JobNode,
    JobRank,
    Link,
    Meeting,
    Network,
    NetworkInterface,
    Observed,
    Reason,
    Snapshot,
    Trial,
    Unknown,
)
from envdoctor.diagnose import diagnose_collective
from envdoctor.facts.collective import PHASES
from envdoctor.findings import Finding, Verdict
from envdoctor.render.collective import render_collective
from envdoctor.report import CollectiveReport
from tests.support.diagnosis import loaded, services

LO = NetworkInterface(name="lo", state="unknown", has_address=True)
ETH0 = NetworkInterface(name="eth0", state="up", has_address=True)
NETWORK = Network(interfaces=(LO, ETH0))
CPU = JobNode(nproc=1, backend="gloo", torch="2.13.0", python="3.11.7")
H100 = JobNode(nproc=1, backend="nccl", torch="2.9.1", python="3.12.3", cuda="12.8", nccl="2.27.5")
TWO = CollectiveSettings(nnodes=2, master="node0:29500")
MET = Meeting(endpoints=("10.0.0.1:29500",))


def rank(number: int, **fields: Any) -> JobRank:
    usual = {
        "here": number == 0,
        "state": "done",
        "phase": "bandwidth",
        "interface": "eth0",
        "endpoint": f"10.0.0.{number + 1}:4000{number}",
        "chosen_by": "host name",
    }
    return JobRank(rank=number, **{**usual, **fields})


def failed(number: int, phase: str, error: str = "RuntimeError: it failed", **more: Any) -> JobRank:
    return rank(number, **{"state": "failed", "phase": phase, "error": error, **more})


HEALTHY = Collective(
    settings=TWO,
    backend="gloo",
    meeting=MET,
    nodes=(CPU, CPU),
    ranks=(rank(0), rank(1)),
    links=(Link(rank=0, peer=1, endpoint="10.0.0.2:40001"),),
    sum_right=True,
)
STUCK = (failed(0, "init"), failed(1, "init"))
REFUSED = (
    Link(rank=0, peer=1, endpoint="10.0.0.2:40001", problem="refused", error="Connection refused"),
)
OF_NODE_1 = replace(TWO, node_rank=1)


def report_on(tried: Collective | Unknown, network: Network = NETWORK) -> CollectiveReport:
    known = tried if isinstance(tried, Unknown) else Observed(value=tried, source="synthetic")
    facts = {Collective: known, Network: Observed(value=network, source="synthetic")}
    return diagnose_collective(Snapshot(facts), loaded(), services())


def tried(**changes: Any) -> CollectiveReport:
    return report_on(replace(HEALTHY, **changes))


def roots(report: CollectiveReport) -> list[Finding]:
    return [one for one in report.findings if one.because is None]


def names(report: CollectiveReport) -> list[str]:
    return [one.name for one in roots(report)]


def met(problem: str, *endpoints: str, node: int = 1) -> CollectiveReport:
    meeting = Meeting(endpoints=endpoints or MET.endpoints, problem=problem, error="it says so")
    settings = replace(TWO, node_rank=node)
    return tried(settings=settings, meeting=meeting, nodes=(), ranks=(), links=(), sum_right=None)


def test_a_healthy_job() -> None:
    report = tried()
    assert (report.verdict, report.exit_code, report.findings) == (Verdict.HEALTHY, 0, ())


def test_what_works_all_the_same_is_no_finding() -> None:
    """The loopback of one of two ranks, which gloo connects to the other by itself."""
    loopback = rank(1, endpoint="127.0.0.1:40001", chosen_by="GLOO_SOCKET_IFNAME", interface="lo")
    assert tried(ranks=(rank(0), loopback), links=REFUSED).findings == ()


@pytest.mark.parametrize(
    ("problem", "name"),
    [
        ("refused", "master-not-reached"),
        ("no-answer", "master-not-reached"),
        ("unreachable", "master-not-reached"),
        ("no-store", "master-not-reached"),
        ("lost", "master-not-reached"),
        ("unknown-name", "master-name-unknown"),
        ("in-use", "master-port-in-use"),
    ],
)
def test_this_node_does_not_come_to_where_all_meet(problem: str, name: str) -> None:
    report = met(problem)
    assert (names(report), report.exit_code) == ([name], 1)
    assert [one.name for one in report.findings[1:]] == ["collective-failed"]


def test_every_node_waits_for_itself() -> None:
    assert names(met("refused", "127.0.1.1:29500")) == ["master-is-loopback"]
    assert names(met("refused", "127.0.1.1:29500", node=0)) == ["master-not-reached"]


def test_a_node_that_does_not_come() -> None:
    report = tried(missing_nodes=(1,), nodes=(), ranks=(), links=(), sum_right=None)
    assert names(report) == ["node-missing"]
    assert "1 of 2 nodes came" in report.findings[0].message
    assert len(report.findings[0].fixes) == 2
    left_over = replace(TWO, source="WORLD_SIZE")
    report = tried(settings=left_over, missing_nodes=(1,), ranks=(), links=(), sum_right=None)
    assert report.findings[0].fixes[-1].commands == ("envdoctor collective --nnodes 1",)


def test_ranks_that_do_not_reach_each_other() -> None:
    (finding,) = roots(tried(ranks=STUCK, links=REFUSED, sum_right=None))
    assert finding.name == "ranks-not-reached"
    assert finding.subjects == ("rank:0-1",)
    assert "over eth0" in finding.evidence[0].value


def test_packets_of_full_size_are_lost() -> None:
    stalls = replace(REFUSED[0], problem="stalls", error="0 of 65536 bytes arrive")
    (finding,) = roots(tried(ranks=(failed(0, "pairs"), failed(1, "pairs")), links=(stalls,)))
    assert finding.name == "large-packets-lost"
    assert "0 of 65536 bytes" in finding.evidence[0].value
    assert tried(links=(stalls,)).findings == ()


def test_both_ways_are_one_sentence() -> None:
    links = (*REFUSED, replace(REFUSED[0], rank=1, peer=0))
    (finding,) = roots(tried(ranks=STUCK, links=links, sum_right=None))
    assert finding.message.startswith("ranks 0 and 1 do not reach each other: the connection is")


def test_many_pairs_are_one_finding() -> None:
    links = tuple(replace(REFUSED[0], peer=peer) for peer in range(1, 9))
    ranks = (failed(0, "init"), *(failed(peer, "init") for peer in range(1, 9)))
    (finding,) = roots(tried(ranks=ranks, links=links, sum_right=None))
    assert finding.message.startswith("rank 0 does not reach 8 ranks")


def test_a_variable_that_names_no_interface() -> None:
    wrong = {"chosen_by": "GLOO_SOCKET_IFNAME", "interface": "eth7", "endpoint": ""}
    (finding,) = roots(tried(ranks=(failed(0, "init", **wrong), failed(1, "init")), links=()))
    assert finding.name == "nccl-socket-ifname"
    assert finding.fixes[0].commands == ("unset GLOO_SOCKET_IFNAME",)
    assert "eth0" in finding.fixes[0].summary
    here = replace(HEALTHY.settings, nnodes=1)
    assert names(tried(settings=here, ranks=(failed(0, "init", **wrong),), links=())) == [
        "nccl-socket-ifname"
    ]


def test_the_loopback_is_told_to_another_machine() -> None:
    """A name of Debian, or a variable; between ranks of one machine neither is at fault."""
    name = {"interface": "lo", "endpoint": "127.0.1.1:40001"}
    variable = {**name, "chosen_by": "GLOO_SOCKET_IFNAME"}
    for wrong, disease in ((name, "hostname-is-loopback"), (variable, "nccl-socket-ifname")):
        ranks = (failed(0, "init", **wrong), failed(1, "init", **wrong))
        assert names(tried(ranks=ranks, links=REFUSED)) == [disease]
        alone = replace(HEALTHY.settings, nnodes=1)
        assert names(tried(settings=alone, ranks=ranks, links=())) == ["collective-failed"]


def test_a_host_whose_name_has_no_address() -> None:
    """Gloo then uses the loopback; that no file says so is not claimed."""
    nowhere = {"interface": "lo", "endpoint": "127.0.0.1:40001", "chosen_by": "fallback"}
    link = replace(REFUSED[0], endpoint="127.0.0.1:40001")
    report = tried(ranks=(failed(0, "init"), failed(1, "init", **nowhere)), links=(link,))
    assert names(report) == ["ranks-not-reached"]
    assert "GLOO_SOCKET_IFNAME" in report.findings[0].notes[0]


def test_a_rank_that_died_is_the_cause_of_what_the_others_say() -> None:
    dead = rank(1, state="died", phase="connect", how="SIGKILL", endpoint="")
    report = tried(ranks=(failed(0, "init"), dead), links=REFUSED, sum_right=None)
    assert names(report) == ["rank-died"]
    assert report.findings[0].subjects == ("rank:1",)
    assert "died in `connect`" in render_collective(report)


@pytest.mark.parametrize(
    ("change", "fails", "severity"),
    [
        ({"torch": "2.8.0"}, False, "warning"),
        ({"nccl": "2.26.2"}, False, "warning"),
        ({"nccl": None}, False, None),
        ({"cuda": "11.8"}, False, "warning"),
        ({"nccl": "2.26.2"}, True, "error"),
        ({"python": "3.12.9"}, False, None),
        ({"python": "3.11.9"}, False, "warning"),
    ],
)
def test_nodes_that_differ(
    change: dict[str, str | None], fails: bool, severity: str | None
) -> None:
    ranks = (failed(0, "pairs"), failed(1, "pairs")) if fails else HEALTHY.ranks
    report = tried(nodes=(H100, replace(H100, **change)), backend="nccl", ranks=ranks)
    assert report.exit_code == int(fails)
    found = [one for one in roots(report) if one.name == "nodes-differ"]
    assert [one.severity.value for one in found] == ([severity] if severity else [])


def test_nccl_says_why() -> None:
    said = "Cuda failure 'peer access is not supported between these two devices'"
    report = tried(
        backend="nccl",
        nodes=(H100, H100),
        ranks=(failed(0, "pairs", "DistBackendError: NCCL error", peer=1), failed(1, "pairs")),
        warnings=(said,),
        sum_right=None,
    )
    assert names(report) == ["nccl-error"]
    assert report.findings[0].message == f"NCCL fails in `pairs`: {said}"


def test_nccl_hangs() -> None:
    hung = (failed(0, "all-reduce", "it did not end within 15 s"), failed(1, "all-reduce"))
    report = tried(backend="nccl", ranks=hung, sum_right=None)
    assert names(report) == ["nccl-error"]
    fix = report.findings[0].fixes[0]
    assert (fix.commands, fix.proof) == (("export NCCL_P2P_DISABLE=1",), "")
    trial = Trial(variable="NCCL_P2P_DISABLE", value="1", works=True)
    proved = tried(backend="nccl", ranks=hung, sum_right=None, trials=(trial,))
    fix = proved.findings[0].fixes[0]
    assert fix.proof == "the same collective works with NCCL_P2P_DISABLE=1"


def test_a_wrong_sum() -> None:
    wrong = failed(0, "all-reduce", "the sum is 2.0 and should be 3.0")
    report = tried(backend="nccl", ranks=(wrong, rank(1)), sum_right=False)
    assert names(report) == ["all-reduce-wrong"]


def test_what_nothing_explains() -> None:
    report = tried(ranks=(failed(0, "pairs", "RuntimeError: odd", peer=1), rank(1)))
    assert names(report) == ["collective-failed"]
    assert report.findings[0].message == "rank 0 failed in `pairs` with rank 1: RuntimeError: odd"


def test_what_could_not_be_tried() -> None:
    report = report_on(Unknown(reason=Reason.NOT_APPLICABLE, detail="torch cannot be imported"))
    assert (report.verdict, report.exit_code, report.findings) == (Verdict.INCOMPLETE, 3, ())
    assert "torch cannot be imported" in render_collective(report)


STATES = ("done", "failed", "died", "stopped", "silent", "running", "seen")
ANY_RANK = st.builds(
    rank,
    st.integers(0, 5),
    state=st.sampled_from(STATES),
    phase=st.sampled_from(PHASES),
    here=st.booleans(),
    how=st.sampled_from(["", "SIGKILL", "exit code 1"]),
    endpoint=st.sampled_from(["", "127.0.0.1:4000", "10.0.0.9:4000", "[fd00::1]:4"]),
    chosen_by=st.sampled_from(["", "host name", "fallback", "NCCL_SOCKET_IFNAME"]),
)
ANY_LINK = st.builds(
    Link,
    rank=st.integers(0, 6),
    peer=st.integers(0, 6),
    problem=st.sampled_from(["", "refused", "no-answer", "unreachable", "no-address"]),
)


@given(
    ranks=st.lists(ANY_RANK, max_size=5, unique_by=lambda one: one.rank),
    links=st.lists(ANY_LINK, max_size=5),
    backend=st.sampled_from(["gloo", "nccl"]),
    count=st.sampled_from([1, 2]),
    right=st.sampled_from([None, True, False]),
)
def test_what_works_has_no_error_and_what_fails_has_one(
    ranks: list[JobRank], links: list[Link], backend: str, count: int, right: bool | None
) -> None:
    report = tried(
        settings=replace(TWO, nnodes=count),
        ranks=tuple(ranks),
        links=tuple(links),
        backend=backend,
        sum_right=right,
    )
    errors = [one for one in report.findings if one.severity.value == "error"]
    works = report.collective is not None and report.collective.works
    assert report.exit_code == (0 if works and not errors else 1)
    assert bool(errors) is not works
    assert render_collective(report).startswith("verdict: ")
