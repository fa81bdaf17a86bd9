"""What a claim such as "torch==2.6.0 cuda==12.1 cudnn==8.9" names, part by part."""

import re

from envdoctor.errors import BadInput
from envdoctor.record import Record

_NAMES = {
    "pytorch": "torch",
    "cudatoolkit": "cuda",
    "cuda-toolkit": "cuda",
    "py": "python",
    "graphics": "gpu",
    "gcc": "gcc",
    "ubuntu": "os",
    "debian": "os",
    "centos": "os",
    "rhel": "os",
    "rocky": "os",
    "almalinux": "os",
    "amazon": "os",
}
ORDER = (
    "torch",
    "cuda",
    "cudnn",
    "nccl",
    "triton",
    "python",
    "torchvision",
    "torchaudio",
    "torchtext",
    "numpy",
    "glibc",
    "os",
    "gpu",
    "driver",
    "gcc",
)
"""The parts that can be judged, in the order in which they narrow down the published builds."""
_NAME = "|".join(sorted((*ORDER, *_NAMES), key=len, reverse=True))
_NEXT = rf"(?=\s*[,;&]|\s+\+|\s+(?:and|on|with)\b|\s+(?:{_NAME})\b|\s*$)"
_PART = re.compile(rf"\b({_NAME})\b\s*(?:={{1,3}}|:)?\s*(.+?){_NEXT}", re.IGNORECASE)


class Claim(Record):
    """One claimed part; `value` is a version without `v`, a GPU's name or a system."""

    name: str
    value: str


class BadClaim(BadInput):
    """A claim in which nothing can be recognised; the message says what can be claimed."""


def parse_claims(text: str) -> tuple[Claim, ...]:
    """The parts of a claim, in the order in which they are judged. Raises BadClaim."""
    found: dict[str, str] = {}
    for match in _PART.finditer(text):
        word = match[1].lower()
        name = _NAMES.get(word, word)
        value = match[2].strip().strip("\"'=")
        if name == "os" and word != "os":
            value = f"{word} {value}"
        if name not in ("gpu", "os"):
            value = re.sub(r"^v(?=\d)", "", value)
            if not re.match(r"\d", value):
                raise BadClaim(f"`{value}` is no version of {name}")
        found.setdefault(name, value)
    if not found:
        raise BadClaim(
            f"no part is recognised in `{text}`; write it as in "
            '"torch==2.6.0 cuda==12.4 cudnn==9.1", with ' + ", ".join(ORDER)
        )
    return tuple(Claim(name=name, value=found[name]) for name in ORDER if name in found)
