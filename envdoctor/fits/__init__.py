"""Whether a claimed combination of versions was ever published, and what comes nearest."""

from typing import ClassVar

from envdoctor.fits.claims import BadClaim, Claim, Reading, parse_claims
from envdoctor.fits.judge import judge
from envdoctor.fits.nearest import Combination, nearest
from envdoctor.fits.verdict import Part, data_for, possible
from envdoctor.knowledge import Knowledge
from envdoctor.record import Record

__all__ = ["BadClaim", "Claim", "Combination", "Fit", "Part", "Reading", "fit"]


class Fit(Record):
    """The verdict on a claim. It fits if every part does, in one published build, and every word
    was understood; `unread` are those that were not."""

    formats: ClassVar[tuple[str, ...]] = ("text", "json")

    claim: str
    fits: bool
    parts: tuple[Part, ...]
    nearest: tuple[Combination, ...]
    unread: tuple[str, ...] = ()


def fit(text: str, knowledge: Knowledge) -> Fit:
    """Judge a claim such as "torch 2.6.0 cu124 on an RTX 4090". Raises BadClaim."""
    reading = parse_claims(text, knowledge)
    data = data_for(reading.claims, knowledge)
    parts = judge(reading.claims, data, possible(data))
    disproved = any(part.ok is False for part in parts)
    return Fit(
        claim=" ".join(text.split()),
        fits=all(part.ok for part in parts) and not reading.unread,
        parts=parts,
        nearest=nearest(reading.claims, data) if disproved else (),
        unread=reading.unread,
    )
