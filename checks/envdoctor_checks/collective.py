"""Why ranks of one job did not get through a collective that was tried, by what each one reached.

Whether it works is the outcome `distributed`; nothing here is found where it does, but for what
differs between the nodes.
"""

from collections.abc import Iterator

from envdoctor.api import (
    Collective,
    Confidence,
    Evidence,
    Finding,
    Findings,
    Fix,
    Meeting,
    Network,
    Place,
    Safety,
    Severity,
    Site,
    check,
    command,
    surroundings,
    system,
)
from envdoctor_checks.collective_codes import (
    MASTER_NAME_UNKNOWN,
    MASTER_NOT_REACHED,
    MASTER_PORT_IN_USE,
    NCCL_ERROR,
    NODE_MISSING,
    NODES_DIFFER,
    PACKETS_LOST,
    RANK_DIED,
    RANKS_NOT_REACHED,
    WRONG_SUM,
)
from envdoctor_checks.collective_links import unreached
from envdoctor_checks.collective_words import (
    IN_WORDS,
    SOURCE,
    counted,
    is_loopback,
    open_firewall,
    own_error,
    ranks_in_words,
)
from envdoctor_checks.network import NCCL_SOCKET_IFNAME
from envdoctor_checks.rendezvous import HOSTNAME_IS_LOOPBACK, MASTER_IS_LOOPBACK


@check(
    MASTER_NOT_REACHED,
    MASTER_NAME_UNKNOWN,
    MASTER_PORT_IN_USE,
    MASTER_IS_LOOPBACK,
    NODE_MISSING,
    RANKS_NOT_REACHED,
    NCCL_SOCKET_IFNAME,
    HOSTNAME_IS_LOOPBACK,
    PACKETS_LOST,
    RANK_DIED,
    NODES_DIFFER,
    NCCL_ERROR,
    WRONG_SUM,
)
def collective(tried: Collective, site: Site, network: Network | None) -> Findings:
    """What kept the ranks of a collective apart."""
    yield from _master(tried, site)
    yield from _nodes_that_came(tried)
    yield from unreached(tried, site, network)
    yield from _dead_ranks(tried, site)
    yield from _versions(tried)
    yield from _nccl(tried)
    yield from _wrong_sum(tried)


# --- where all meet ---


def _master(tried: Collective, site: Site) -> Iterator[Finding]:
    """This node did not come to the store at which all meet."""
    met, settings = tried.meeting, tried.settings
    if met is None or not met.problem:
        return
    evidence = _evidence_of(met)
    if met.problem == "unknown-name":
        yield MASTER_NAME_UNKNOWN.finding(
            node=settings.node_rank,
            error=met.error,
            evidence=evidence,
            fixes=(
                Fix(
                    summary="give MASTER_ADDR the address of the node that has rank 0, or put its "
                    "name into /etc/hosts or the name server of this one",
                    commands=(command("getent", "hosts", settings.master_addr),),
                    safety=Safety.SAFE,
                ),
            ),
        )
    elif met.problem == "in-use":
        yield MASTER_PORT_IN_USE.finding(
            port=settings.master_port,
            evidence=evidence,
            fixes=(
                Fix(
                    summary="give another port on every node (`--master-port`), or end who has "
                    "this one: often what is left of an earlier run",
                    commands=("ss -ltnp",),
                    safety=Safety.SAFE,
                ),
            ),
        )
    elif settings.node_rank and met.endpoints and all(map(is_loopback, met.endpoints)):
        yield _loopback_master(tried, evidence)
    else:
        yield MASTER_NOT_REACHED.finding(
            node=settings.node_rank,
            problem=IN_WORDS.get(met.problem),
            evidence=evidence,
            fixes=_fixes_of_master(tried, met, site),
        )


def _evidence_of(met: Meeting) -> tuple[Evidence, ...]:
    where = ", ".join(met.endpoints) or "no address"
    return (Evidence(label=f"connection to {where}", value=met.error, source=SOURCE),)


def _loopback_master(tried: Collective, evidence: tuple[Evidence, ...]) -> Finding:
    return MASTER_IS_LOOPBACK.finding(
        severity=Severity.ERROR,
        sign=f"the job has {tried.settings.nnodes} nodes",
        evidence=evidence,
        fixes=(
            Fix(
                summary="set MASTER_ADDR on all nodes to the address of the one that has rank 0, "
                "by which the others reach it",
            ),
        ),
    )


def _fixes_of_master(tried: Collective, met: Meeting, site: Site) -> tuple[Fix, ...]:
    if tried.settings.node_rank == 0:
        own = "MASTER_ADDR must be an address of the first node, at which it reaches itself"
        return (Fix(summary=own, commands=("ip -br address",), safety=Safety.SAFE),)
    try_it = _try_master(tried, "look whether the port is reached while the first node waits there")
    if met.problem in ("refused", "no-store"):
        first = Fix(
            summary="start the same command on the first node with `--node-rank 0`, and give all "
            "nodes the same `--master-addr` and `--master-port`",
        )
        return (first, try_it)
    return (try_it, open_firewall(site, "on the first node: allow MASTER_PORT"))


def _try_master(tried: Collective, summary: str) -> Fix:
    settings = tried.settings
    return Fix(
        summary=summary,
        commands=(command("nc", "-zv", settings.master_addr, settings.master_port),),
        safety=Safety.SAFE,
    )


def _nodes_that_came(tried: Collective) -> Iterator[Finding]:
    """Nodes that did not come to the store in time."""
    missing, count = tried.missing_nodes, tried.settings.nnodes
    if not missing:
        return
    yield NODE_MISSING.finding(
        came=count - len(missing),
        count=count,
        nodes=counted("node", missing),
        evidence=(
            Evidence(
                label="waited for",
                value=f"{count} nodes, by {tried.settings.source or 'the options'}",
                source=SOURCE,
            ),
        ),
        fixes=(
            Fix(
                summary="start the same command on every node with its own `--node-rank`; where it "
                "runs, its own report says why it does not reach this one",
            ),
            _try_master(tried, "look on such a node whether it reaches the first one"),
            *_alone(tried),
        ),
    )


def _alone(tried: Collective) -> Iterator[Fix]:
    """Where a variable says that there are several nodes, which may be left of an earlier job."""
    if tried.settings.source not in ("", "--nnodes"):
        yield Fix(
            summary=f"if {tried.settings.source} means no job of now: try this machine alone",
            commands=("envdoctor collective --nnodes 1",),
            safety=Safety.SAFE,
        )


# --- the ranks themselves ---


def _dead_ranks(tried: Collective, site: Site) -> Iterator[Finding]:
    """Ranks that ended by a signal, or before they could say why."""
    died = [one for one in tried.ranks if one.state == "died"]
    for how, phase in dict.fromkeys((one.how, one.phase) for one in died):
        those = tuple(one.rank for one in died if (one.how, one.phase) == (how, phase))
        yield RANK_DIED.finding(
            subjects=tuple(f"rank:{one}" for one in those),
            ranks=ranks_in_words(those),
            phase=phase,
            how=how,
            evidence=(
                Evidence(label="end of the process", value=how, source="torchrun"),
                *(
                    Evidence(label=f"rank {one.rank}", value=one.error, source=SOURCE)
                    for one in tried.ranks
                    if one.state == "failed" and one.here
                ),
            ),
            fixes=tuple(_fixes_of_death(how, site)),
            notes=_NOTES.get(how, ()),
        )


_NOTES = {
    "SIGKILL": ("the system ends a process by SIGKILL when memory runs out; so does a scheduler",),
    "SIGBUS": ("a bus error is most often a /dev/shm that is full",),
}


def _fixes_of_death(how: str, site: Site) -> Iterator[Fix]:
    if how == "SIGKILL":
        yield system.on_host(
            site,
            "look whether the kernel ended it for its memory",
            "sudo dmesg | grep -iE 'out of memory|oom-kill' | tail -n 20",
        )
    elif how == "SIGBUS":
        yield system.more_shared_memory(site)
    else:
        yield Fix(
            summary="look at this torch on the node of that rank",
            commands=("envdoctor check",),
            safety=Safety.SAFE,
        )


def _versions(tried: Collective) -> Iterator[Finding]:
    """Nodes whose torch or NCCL are of different versions."""
    for what, versions in (
        ("NCCL", tuple(one.nccl for one in tried.nodes)),
        ("torch", tuple(one.torch for one in tried.nodes)),
        ("CUDA of torch", tuple(one.cuda for one in tried.nodes)),
        ("Python", tuple(_minor(one.python) for one in tried.nodes)),
    ):
        # A node without GPUs tells no NCCL, and a torch without CUDA none.
        if len({one for one in versions if one is not None}) < 2:
            continue
        certain = what == "NCCL" and tried.fails and tried.backend == "nccl"
        yield NODES_DIFFER.finding(
            severity=Severity.ERROR if certain else Severity.WARNING,
            confidence=Confidence.LIKELY,
            what=what,
            versions=_by_node(versions),
            evidence=tuple(
                Evidence(label=f"node {number}", value=f"{what} {version}", source=SOURCE)
                for number, version in enumerate(versions)
            ),
            fixes=(
                Fix(
                    summary="install the same torch on all nodes, or use one image for all",
                    where=Place.IMAGE,
                ),
            ),
        )
        return


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _by_node(versions: tuple[str | None, ...]) -> str:
    different = dict.fromkeys(versions)
    return ", ".join(
        f"{version or 'none'} on "
        + counted("node", tuple(n for n, one in enumerate(versions) if one == version))
        for version in different
    )


def _nccl(tried: Collective) -> Iterator[Finding]:
    """What NCCL itself says, where plain connections came about."""
    first = tried.first_failed
    if tried.backend != "nccl" or tried.works or first is None or first.state == "died":
        return
    if first.phase in ("start", "rendezvous", "connect") or tried.sum_right is False:
        return
    text = next(iter(tried.warnings), "") or first.error or "it gives no answer"
    yield NCCL_ERROR.finding(
        subjects=(f"rank:{first.rank}",),
        phase=first.phase,
        text=text,
        evidence=(
            *(Evidence(label="NCCL WARN", value=one, source="NCCL") for one in tried.warnings),
            *own_error(first),
        ),
        fixes=(
            _without_direct_way(tried),
            surroundings.set_variable(
                "NCCL_DEBUG", "INFO", summary="or see what NCCL chooses and where it stops"
            ),
        ),
    )


def _without_direct_way(tried: Collective) -> Fix:
    """NCCL_P2P_DISABLE=1, said to work where it was seen to."""
    proof = tried.proved("NCCL_P2P_DISABLE")
    summary = (
        "do without the direct way between GPUs, which is slower, until the IOMMU or PCIe ACS that "
        "disturbs it is switched off"
        if proof
        else "try it once without the direct way between GPUs; if it works then, an IOMMU or PCIe "
        "ACS is in its way"
    )
    return surroundings.set_variable("NCCL_P2P_DISABLE", "1", summary=summary, proof=proof)


def _wrong_sum(tried: Collective) -> Iterator[Finding]:
    """A result that is not the sum."""
    if tried.sum_right is not False:
        return
    yield WRONG_SUM.finding(
        evidence=tuple(
            Evidence(label=f"rank {one.rank}", value=one.error, source=SOURCE)
            for one in tried.ranks
            if one.phase == "all-reduce" and one.error
        ),
        fixes=(_without_direct_way(tried),),
    )
