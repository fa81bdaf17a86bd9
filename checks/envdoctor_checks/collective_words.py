"""What the checks of a collective have in common: words, evidence and the firewall."""

from collections.abc import Iterator

from envdoctor.api import Evidence, Fix, JobRank, Site, system

SOURCE = "a collective under torchrun"

IN_WORDS = {
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


def ranks_in_words(numbers: tuple[int, ...]) -> str:
    """`rank 3`, `ranks 0, 1 and 2`, `12 ranks`."""
    return counted("rank", numbers)


def counted(word: str, numbers: tuple[int, ...]) -> str:
    """The same of any word; more than a few are counted, not listed."""
    if len(numbers) == 1:
        return f"{word} {numbers[0]}"
    if len(numbers) > _FEW:
        return f"{len(numbers)} {word}s"
    return f"{word}s {', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"


_FEW = 4


def is_loopback(endpoint: str) -> bool:
    """Whether an address leads to no other machine."""
    return endpoint.startswith(("127.", "[::1]"))


def own_error(rank: JobRank) -> Iterator[Evidence]:
    """What a rank itself says."""
    if rank.error:
        yield Evidence(label=f"rank {rank.rank}", value=rank.error, source=SOURCE)


def open_firewall(site: Site, what: str) -> Fix:
    """Look at what a firewall lets through."""
    return system.on_host(
        site,
        f"{what}, in the firewall of the node and in the rules of a cloud (security group)",
        "sudo nft list ruleset",
    )
