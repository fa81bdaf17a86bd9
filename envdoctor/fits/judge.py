"""Whether a claimed combination was ever published, part by part."""

from collections.abc import Iterable

from envdoctor.fits import host, versions
from envdoctor.fits.claims import Claim
from envdoctor.fits.verdict import Data, Part, unknown
from envdoctor.fits.words import Build

_RULES = {**versions.RULES, **host.RULES}


def judge(claims: Iterable[Claim], data: Data, builds: list[Build]) -> tuple[Part, ...]:
    """Judge each part against those of the builds that the parts before it left."""
    parts = []
    claims = tuple(claims)
    other = next((claim for claim in claims if claim.name == "framework"), None)
    foreign = other is not None and all(claim.name != "torch" for claim in claims)
    for claim in claims:
        if foreign and other is not None and claim.name != "framework":
            parts.append(unknown(claim, f"what {other.value} was built for is not in my data"))
            continue
        part, builds = _RULES[claim.name](claim, builds, data)
        parts.append(part)
    return tuple(parts)
