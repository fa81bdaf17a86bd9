"""Why ranks that have met do not reach each other: the addresses that they tell, the way there."""

from collections.abc import Iterator

from envdoctor.api import (
    Collective,
    Confidence,
    Evidence,
    Finding,
    Fix,
    JobRank,
    Link,
    Network,
    Safety,
    Severity,
    Site,
    surroundings,
)
from envdoctor_checks.collective_codes import PACKETS_LOST, RANKS_NOT_REACHED
from envdoctor_checks.collective_words import (
    IN_WORDS,
    SOURCE,
    is_loopback,
    open_firewall,
    own_error,
    ranks_in_words,
)
from envdoctor_checks.network import NCCL_SOCKET_IFNAME
from envdoctor_checks.rendezvous import HOSTNAME_IS_LOOPBACK


def unreached(tried: Collective, site: Site, network: Network | None) -> Iterator[Finding]:
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
        and is_loopback(rank.endpoint)
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
        where = "" if here else f", on the node of {ranks_in_words(_numbers(those))}"
        library = "NCCL" if variable.startswith("NCCL") else "gloo"
        usable = ", ".join(_usable(network)[:8]) if here else ""
        named = f", or name one that has an address: {usable}" if usable else ""
        yield NCCL_SOCKET_IFNAME.finding(
            subjects=(variable,),
            severity=Severity.ERROR,
            variable=variable,
            value=value or "",
            problem=problem + where,
            evidence=tuple(_evidence_of_addresses(those)),
            fixes=(
                surroundings.unset(
                    variable,
                    summary=f"let {library} choose{named}",
                    proof=tried.proved(variable),
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
        sign=f"{ranks_in_words(_numbers(those))} told it to the other nodes",
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
        yield from own_error(rank)


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
            problem=IN_WORDS.get(problem),
            evidence=tuple(_evidence_of_links(those, by_rank)),
            fixes=(
                open_firewall(
                    site,
                    "allow all TCP ports between the nodes, both ways: ranks listen on any of "
                    "net.ipv4.ip_local_port_range, and MASTER_PORT alone is not enough",
                ),
            ),
            notes=_OF_THE_LOOPBACK if any(is_loopback(one.endpoint) for one in those) else (),
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
            source=SOURCE,
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
        return f"{ranks_in_words(ranks)} do not reach each other"
    verb = "does" if len(ranks) == 1 else "do"
    return f"{ranks_in_words(ranks)} {verb} not reach {ranks_in_words(peers)}"
