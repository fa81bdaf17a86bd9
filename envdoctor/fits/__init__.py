"""Whether a claimed combination of versions was ever published, and what comes nearest."""

from typing import ClassVar

from envdoctor.fits.claims import BadClaim, Claim, parse_claims
from envdoctor.fits.judge import Part, data_for, judge, published
from envdoctor.fits.nearest import Combination, nearest
from envdoctor.knowledge import Knowledge
from envdoctor.record import Record

__all__ = ["BadClaim", "Claim", "Combination", "Fit", "Part", "fit"]


class Fit(Record):
    """The verdict on a claim. It fits if every part does, in one published build."""

    formats: ClassVar[tuple[str, ...]] = ("text", "json")

    claim: str
    fits: bool
    parts: tuple[Part, ...]
    nearest: tuple[Combination, ...]


def fit(text: str, knowledge: Knowledge) -> Fit:
    """Judge a claim such as "torch==2.6.0 cuda==12.1 cudnn==8.9". Raises BadClaim."""
    claims = parse_claims(text)
    data = data_for(claims, knowledge)
    parts = judge(claims, data, published(knowledge))
    disproved = any(part.ok is False for part in parts)
    return Fit(
        claim=" ".join(text.split()),
        fits=all(part.ok for part in parts),
        parts=parts,
        nearest=nearest(claims, data) if disproved else (),
    )
