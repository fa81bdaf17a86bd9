"""Why ranks of one job did not get through a collective that was tried, by what each one reached.

Whether it works is the outcome `distributed`; nothing here is found where it does, but for what
differs between the nodes.
"""

from collections.abc import Iterator

from envdoctor.api import (
    Code,
    Collective,
    Confidence,
    Evidence,
    Finding,
    Findings,
    Fix,
    JobRank,
    Layer,
    Link,
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
from envdoctor_checks.network import (
    HOSTNAME_IS_LOOPBACK,
    MASTER_IS_LOOPBACK,
    NCCL_SOCKET_IFNAME,
)

_BREAKS = "distributed"

MASTER_NOT_REACHED = Code(
    id="ED711",
    name="master-not-reached",
    family="nccl-network",
    severity=Severity.ERROR,
    topic="network",
    layer=Layer.FIRST_USE,
    breaks=_BREAKS,
    message="MASTER_ADDR:MASTER_PORT, where the nodes of a job meet, is not reached",
    detailed="node {node} does not reach MASTER_ADDR:MASTER_PORT, where all meet: {problem}",
    explains=("ED710",),
)
RANKS_NOT_REACHED = Code(
    id="ED712",
    name="ranks-not-reached",
    family="nccl-network",
    severity=Severity.ERROR,
    topic="network",
    layer=Layer.FIRST_USE,
    breaks=_BREAKS,
    message="ranks do not reach each other, though they reach MASTER_ADDR:MASTER_PORT",
    detailed="{pairs}: {problem}",
    explains=("ED710", "ED718"),
)
MASTER_NAME_UNKNOWN = Code(
    id="ED713",
    name="master-name-unknown",
    family="nccl-network",
    severity=Severity.ERROR,
    topic="network",
    layer=Layer.FIRST_USE,
    breaks=_BREAKS,
    message="the name in MASTER_ADDR has no address on this machine",
    detailed="the name in MASTER_ADDR has no address on node {node}: {error}",
    explains=("ED710",),
)
MASTER_PORT_IN_USE = Code(
    id="ED714",
    name="master-port-in-use",
    family="master-port-in-use",
    severity=Severity.ERROR,
    topic="network",
    layer=Layer.FIRST_USE,
    breaks=_BREAKS,
    message="another program has MASTER_PORT on the first node",
    detailed="another program has MASTER_PORT {port} on the first node",
    explains=("ED710",),
)
NODE_MISSING = Code(
    id="ED715",
    name="node-missing",
    family="node-missing",
    severity=Severity.ERROR,
    topic="network",
    layer=Layer.FIRST_USE,
    breaks=_BREAKS,
    message="not all nodes of the job came to MASTER_ADDR:MASTER_PORT",
    detailed="{came} of {count} nodes came to MASTER_ADDR:MASTER_PORT; {nodes} did not",
    explains=("ED710",),
)
RANK_DIED = Code(
    id="ED716",
    name="rank-died",
    family="rank-died",
    severity=Severity.ERROR,
    topic="network",
    layer=Layer.FIRST_USE,
    breaks=_BREAKS,
    message="a rank died, and the others waited for it",
    detailed="{ranks} died in `{phase}`: {how}",
    explains=("ED710", "ED712", "ED718"),
)
NODES_DIFFER = Code(
    id="ED717",
    name="nodes-differ",
    family="nodes-differ",
    severity=Severity.WARNING,
    topic="network",
    layer=Layer.FIRST_USE,
    breaks=_BREAKS,
    message="the nodes of the job have different versions of torch or NCCL",
    detailed="the nodes of the job differ in {what}: {versions}",
    explains=("ED710", "ED718"),
)
NCCL_ERROR = Code(
    id="ED718",
    name="nccl-error",
    family="nccl-error",
    severity=Severity.ERROR,
    topic="network",
    layer=Layer.FIRST_USE,
    breaks=_BREAKS,
    message="NCCL fails or gives no answer between GPUs whose ranks reach each other",
    detailed="NCCL fails in `{phase}`: {text}",
    explains=("ED710",),
)
WRONG_SUM = Code(
    id="ED719",
    name="all-reduce-wrong",
    family="all-reduce-wrong",
    severity=Severity.ERROR,
    topic="network",
    layer=Layer.FIRST_USE,
    breaks=_BREAKS,
    message="an all-reduce gives a wrong sum",
    explains=("ED710",),
)

PACKETS_LOST = Code(
    id="ED720",
    name="large-packets-lost",
    family="nccl-network",
    severity=Severity.ERROR,
    topic="network",
    layer=Layer.FIRST_USE,
    breaks=_BREAKS,
    message="ranks connect to each other, and packets of full size are lost between them",
    detailed="{pairs} with packets of full size, while a connection comes about",
    explains=("ED710", "ED718"),
)

_SOURCE = "a collective under torchrun"

_IN_WORDS = {
    "refused": "the connection is refused: nothing listens there, or a firewall rejects it",
    "no-answer": "there is no answer at all, as where a firewall drops what is sent",
    "unreachable": "no way leads there",
    "somebody-else": "another process answers there",
    "no-store": "what answers is no store of torch",
    "lost": "the connection was lost again",
    "no-address": "it has no address to be reached at",
    "error": "the connection fails",
}
"""Why something is not reached; the words of the system are evidence."""


def _ranks(numbers: tuple[int, ...]) -> str:
    """`rank 3`, `ranks 0, 1 and 2`, `12 ranks`."""
    return _counted("rank", numbers)


def _counted(word: str, numbers: tuple[int, ...]) -> str:
    if len(numbers) == 1:
        return f"{word} {numbers[0]}"
    if len(numbers) > _FEW:
        return f"{len(numbers)} {word}s"
    return f"{word}s {', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"


_FEW = 4


def _is_loopback(endpoint: str) -> bool:
    return endpoint.startswith(("127.", "[::1]"))


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
    yield from _addresses(tried, site, network)
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
    elif settings.node_rank and met.endpoints and all(map(_is_loopback, met.endpoints)):
        yield _loopback_master(tried, evidence)
    else:
        yield MASTER_NOT_REACHED.finding(
            node=settings.node_rank,
            problem=_IN_WORDS.get(met.problem),
            evidence=evidence,
            fixes=_fixes_of_master(tried, met, site),
        )


def _evidence_of(met: Meeting) -> tuple[Evidence, ...]:
    where = ", ".join(met.endpoints) or "no address"
    return (Evidence(label=f"connection to {where}", value=met.error, source=_SOURCE),)


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
    return (try_it, _open_firewall(site, "on the first node: allow MASTER_PORT"))


def _try_master(tried: Collective, summary: str) -> Fix:
    settings = tried.settings
    return Fix(
        summary=summary,
        commands=(command("nc", "-zv", settings.master_addr, settings.master_port),),
        safety=Safety.SAFE,
    )


def _open_firewall(site: Site, what: str) -> Fix:
    return system.on_host(
        site,
        f"{what}, in the firewall of the node and in the rules of a cloud (security group)",
        "sudo nft list ruleset",
    )


def _nodes_that_came(tried: Collective) -> Iterator[Finding]:
    """Nodes that did not come to the store in time."""
    missing, count = tried.missing_nodes, tried.settings.nnodes
    if not missing:
        return
    yield NODE_MISSING.finding(
        came=count - len(missing),
        count=count,
        nodes=_counted("node", missing),
        evidence=(
            Evidence(
                label="waited for",
                value=f"{count} nodes, by {tried.settings.source or 'the options'}",
                source=_SOURCE,
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


# --- from rank to rank ---


def _addresses(tried: Collective, site: Site, network: Network | None) -> Iterator[Finding]:
    """Addresses at which a rank is not reached, where the backend itself did not get through."""
    if tried.works or not tried.fails:
        return
    by_rank = {one.rank: one for one in tried.ranks}
    broken = [one for one in tried.links if one.problem and _both_lived(one, by_rank)]
    peers = {one.peer for one in broken}
    wrong = [
        one
        for one in tried.ranks
        if _tells_no_way(one, tried) and (one.rank in peers or (one.here and _is_stuck(tried)))
    ]
    yield from _of_variables(wrong, tried, network)
    yield from _of_own_names(wrong, network)
    blamed = {one.rank for one in wrong}
    yield from _not_reached([one for one in broken if one.peer not in blamed], by_rank, site)


def _is_stuck(tried: Collective) -> bool:
    """Whether the backend did not get through, rather than a rank not so far."""
    first = tried.first_failed
    return first is not None and first.state != "died" and first.phase in _OF_THE_BACKEND


_OF_THE_BACKEND = ("init", "pairs", "all-reduce")


def _tells_no_way(rank: JobRank, tried: Collective) -> bool:
    """Whether a rank tells the others an address that is none, or leads to no other machine, and
    something is known that chose it."""
    if not rank.endpoint:
        return rank.chosen_by in _VARIABLES
    return (
        tried.settings.nnodes > 1
        and _is_loopback(rank.endpoint)
        and rank.chosen_by in (*_VARIABLES, _HOST_NAME)
    )


_VARIABLES, _HOST_NAME = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"), "host name"


def _both_lived(link: Link, by_rank: dict[int, JobRank]) -> bool:
    """Whether neither of the two had died."""
    states = {by_rank[one].state for one in (link.rank, link.peer) if one in by_rank}
    return "died" not in states


def _of_variables(
    wrong: list[JobRank], tried: Collective, network: Network | None
) -> Iterator[Finding]:
    """One finding for each value of a variable that chooses such an address."""
    by_variable = [one for one in wrong if one.chosen_by in _VARIABLES]
    for variable, value in dict.fromkeys((one.chosen_by, one.interface) for one in by_variable):
        those = [one for one in by_variable if (one.chosen_by, one.interface) == (variable, value)]
        here = any(one.here for one in those)
        problem = (
            "keeps to the loopback, which leads to no other machine"
            if those[0].endpoint
            else "names no interface that has an address"
        )
        library = "NCCL" if variable.startswith("NCCL") else "gloo"
        usable = ", ".join(_usable(network)[:8]) if here else ""
        named = f", or name one that has an address: {usable}" if usable else ""
        proof = tried.proved(variable)
        seen = f"; {proof}" if proof else ""
        yield NCCL_SOCKET_IFNAME.finding(
            subjects=(variable,),
            severity=Severity.ERROR,
            variable=variable,
            value=value or "",
            problem=problem + ("" if here else f", on the node of {_ranks(_numbers(those))}"),
            evidence=tuple(_evidence_of_addresses(those)),
            fixes=(
                surroundings.unset(
                    variable, summary=f"let {library} choose{named}{seen}", proof=proof
                ),
            ),
        )


def _of_own_names(wrong: list[JobRank], network: Network | None) -> Iterator[Finding]:
    """Ranks that tell others the loopback address that their host's name has."""
    those = [one for one in wrong if one.chosen_by == _HOST_NAME]
    if not those:
        return
    here = any(one.here for one in those)
    yield HOSTNAME_IS_LOOPBACK.finding(
        severity=Severity.ERROR,
        sign=f"{_ranks(_numbers(those))} told it to the other nodes",
        evidence=tuple(_evidence_of_addresses(those)),
        fixes=(
            *(
                surroundings.set_variable(
                    "GLOO_SOCKET_IFNAME", name, summary="tell gloo the interface to use"
                )
                for name in (_usable(network) if here else ())[:1]
            ),
            Fix(
                summary="or give the host's name the address by which other machines reach it, in "
                "/etc/hosts, on every node whose rank told a loopback address",
            ),
        ),
    )


def _numbers(ranks: list[JobRank]) -> tuple[int, ...]:
    return tuple(one.rank for one in ranks)


def _evidence_of_addresses(ranks: list[JobRank]) -> Iterator[Evidence]:
    for rank in ranks:
        yield Evidence(
            label=f"address of rank {rank.rank}",
            value=rank.endpoint or "none",
            source=f"{rank.chosen_by}, interface {rank.interface}",
        )
        yield from _own_error(rank)


def _own_error(rank: JobRank) -> Iterator[Evidence]:
    if rank.error:
        yield Evidence(label=f"rank {rank.rank}", value=rank.error, source=_SOURCE)


def _usable(network: Network | None) -> tuple[str, ...]:
    """Interfaces that lead somewhere."""
    return tuple(
        one.name
        for one in (network.interfaces if network else ())
        if one.has_address and not one.is_down and not one.is_loopback
    )


def _not_reached(links: list[Link], by_rank: dict[int, JobRank], site: Site) -> Iterator[Finding]:
    """One finding for each way in which connections fail."""
    for problem in dict.fromkeys(one.problem for one in links):
        those = [one for one in links if one.problem == problem]
        if problem == "stalls":
            yield _lost(those, by_rank)
            continue
        yield RANKS_NOT_REACHED.finding(
            subjects=tuple(f"rank:{one.rank}-{one.peer}" for one in those),
            pairs=_pairs(those),
            problem=_IN_WORDS.get(problem),
            evidence=tuple(_evidence_of_links(those, by_rank)),
            fixes=(
                _open_firewall(
                    site,
                    "allow all TCP ports between the nodes, both ways: ranks listen on any of "
                    "net.ipv4.ip_local_port_range, and MASTER_PORT alone is not enough",
                ),
            ),
            notes=_OF_THE_LOOPBACK if any(_is_loopback(one.endpoint) for one in those) else (),
        )


_OF_THE_LOOPBACK = (
    "a loopback address leads to no other machine: name the interface in GLOO_SOCKET_IFNAME or "
    "NCCL_SOCKET_IFNAME on the node that tells it",
)
_MOST_LINKS = 8


def _evidence_of_links(links: list[Link], by_rank: dict[int, JobRank]) -> Iterator[Evidence]:
    for one in links[:_MOST_LINKS]:
        over = _interface(one.rank, by_rank)
        yield Evidence(
            label=f"rank {one.rank} to rank {one.peer}",
            value=f"{one.error}, connection to {one.endpoint} over {over}",
            source=_SOURCE,
        )


def _lost(links: list[Link], by_rank: dict[int, JobRank]) -> Finding:
    return PACKETS_LOST.finding(
        subjects=tuple(f"rank:{one.rank}-{one.peer}" for one in links),
        confidence=Confidence.LIKELY,
        pairs=_pairs(links),
        evidence=tuple(_evidence_of_links(links, by_rank)),
        fixes=(
            Fix(
                summary="compare the MTU of the interface on all nodes with that of the switches "
                "between them: none may be smaller, or all ends must have the smallest",
                commands=("ip -br link",),
                safety=Safety.SAFE,
            ),
            Fix(
                summary="find the largest packet that arrives whole: 1472 bytes for an MTU of "
                "1500, 8972 for one of 9000 (`ping -M do -s 8972` to the other node)",
            ),
        ),
        notes=("tunnels and VPNs lower the MTU, and a firewall that drops ICMP hides it",),
    )


def _interface(rank: int, by_rank: dict[int, JobRank]) -> str:
    return (by_rank[rank].interface if rank in by_rank else None) or "no interface"


def _pairs(links: list[Link]) -> str:
    if len(links) == 1:
        return f"rank {links[0].rank} does not reach rank {links[0].peer}"
    peers = tuple(sorted({one.peer for one in links}))
    ranks = tuple(sorted({one.rank for one in links}))
    if peers == ranks:
        return f"{_ranks(ranks)} do not reach each other"
    verb = "does" if len(ranks) == 1 else "do"
    return f"{_ranks(ranks)} {verb} not reach {_ranks(peers)}"


# --- the ranks themselves ---


def _dead_ranks(tried: Collective, site: Site) -> Iterator[Finding]:
    """Ranks that ended by a signal, or before they could say why."""
    died = [one for one in tried.ranks if one.state == "died"]
    for how, phase in dict.fromkeys((one.how, one.phase) for one in died):
        those = tuple(one.rank for one in died if (one.how, one.phase) == (how, phase))
        yield RANK_DIED.finding(
            subjects=tuple(f"rank:{one}" for one in those),
            ranks=_ranks(those),
            phase=phase,
            how=how,
            evidence=(
                Evidence(label="end of the process", value=how, source="torchrun"),
                *(
                    Evidence(label=f"rank {one.rank}", value=one.error, source=_SOURCE)
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
        ("Python", tuple(_minor(one.python) for one in tried.nodes)),
    ):
        if len(set(versions)) < 2:
            continue
        certain = what == "NCCL" and tried.fails and tried.backend == "nccl"
        yield NODES_DIFFER.finding(
            severity=Severity.ERROR if certain else Severity.WARNING,
            confidence=Confidence.LIKELY,
            what=what,
            versions=_by_node(versions),
            evidence=tuple(
                Evidence(label=f"node {number}", value=f"{what} {version}", source=_SOURCE)
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
        + _counted("node", tuple(n for n, one in enumerate(versions) if one == version))
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
            *_own_error(first),
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
            Evidence(label=f"rank {one.rank}", value=one.error, source=_SOURCE)
            for one in tried.ranks
            if one.phase == "all-reduce" and one.error
        ),
        fixes=(_without_direct_way(tried),),
    )
