"""A collective as text: the verdict, who reached what, why not, and at the end what to do."""

from collections.abc import Iterator

from envdoctor.facts.collective import PHASES, Collective, JobRank
from envdoctor.formats import Look
from envdoctor.render.text import render_conclusion, render_findings, render_verdict
from envdoctor.report import CollectiveReport

PLAIN = Look()
_MOST_RANKS = 64


def render_collective(report: CollectiveReport, look: Look = PLAIN) -> str:
    """The whole document, ending with a line break. Pure."""
    tried = report.collective
    told = "" if tried is None else f"{len(tried.ranks)} ranks tried"
    blocks = (
        render_verdict(report.verdict, _meaning(report), look),
        "" if tried is None else "\n".join(_table(tried)),
        "" if tried is None else "\n".join(_reached(tried)),
        render_findings(report.findings, look),
        f"target: {report.target.path}" if report.target else "",
        render_conclusion(report.verdict, told or "nothing was tried", report.findings, look),
    )
    return "\n\n".join(filter(None, blocks)) + "\n"


def _meaning(report: CollectiveReport) -> str:
    tried = report.collective
    if report.outcome.state == "unseen" or tried is None:
        return f"no collective could be tried: {report.problem}"
    if report.outcome.state == "works":
        return f"{_world(tried)} reach each other with {tried.backend}"
    root = next(iter(report.findings), None)
    why = root.message if root is not None else report.outcome.detail
    # Where the nodes did not meet, no backend was chosen.
    by = f" with {tried.backend}" if tried.nodes else ""
    return f"the collective fails{by}: {why}"


def _world(tried: Collective) -> str:
    count = sum(one.nproc for one in tried.nodes) or len(tried.ranks)
    nodes = len(tried.nodes)
    return f"{count} ranks" + (f" of {nodes} nodes" if nodes > 1 else " on this machine")


_COLUMNS = "  {:<6}{:<6}{:<9}{:<13}{}"


def _table(tried: Collective) -> Iterator[str]:
    if not tried.ranks:
        return
    yield _COLUMNS.format("rank", "node", "device", "interface", "reached")
    for one in tried.ranks[:_MOST_RANKS]:
        node = tried.node_of(one.rank)
        yield _COLUMNS.format(
            one.rank,
            "?" if node is None else node,
            one.device or "?",
            ", ".join(one.used) or one.interface or "none",
            _how_far(one),
        )
    if len(tried.ranks) > _MOST_RANKS:
        yield f"  and {len(tried.ranks) - _MOST_RANKS} more"


_STATES = {
    "failed": "failed in",
    "died": "died in",
    "stopped": "was stopped by torchrun in",
    "silent": "gave no answer in",
    "running": "was still in",
    "seen": "last seen in",
}


def _how_far(rank: JobRank) -> str:
    if rank.state == "done":
        spent = f" in {sum(rank.seconds.values()):.1f} s" if rank.seconds else ""
        return f"all {len(PHASES)} phases{spent}"
    partner = f" with rank {rank.peer}" if rank.peer is not None else ""
    why = f" ({rank.how})" if rank.how else ""
    return f"{_STATES[rank.state]} `{rank.phase}`{partner}{why}"


def _reached(tried: Collective) -> Iterator[str]:
    if tried.links:
        own = {one.rank for one in tried.own_ranks}
        ways = [one for one in tried.links if one.rank in own]
        came = sum(not one.problem for one in ways)
        yield f"  {'connected':<12}{came} of {len(ways)} ways between ranks, by plain TCP"
    if tried.sum_right is not None:
        yield f"  {'all-reduce':<12}the sum is {'right' if tried.sum_right else 'WRONG'}"
    if tried.bus is not None and tried.bus_bytes is not None:
        low, high = tried.bus.low, tried.bus.high
        yield (
            f"  {'bandwidth':<12}{tried.bus.median:.2f} GB/s ({low:.2f} - {high:.2f}) on the bus, "
            f"{tried.bus_bytes // 2**20} MiB"
        )
