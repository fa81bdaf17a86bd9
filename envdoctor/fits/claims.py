"""What a claim in free words names: "torch 2.6 cu124 on an RTX 4090 with driver 550"."""

import re
from collections.abc import Callable, Iterator

from envdoctor.errors import BadInput
from envdoctor.fits.vocabulary import (
    ARCHITECTURES,
    FILLERS,
    FRAMEWORKS,
    IN_RANGES,
    KINDS_OF_MAC,
    MACS,
    NOUNS,
    ORDER,
    PLATFORMS,
    PROCESSORS_OF_MACS,
    SYSTEMS,
    VERSIONED,
)
from envdoctor.knowledge import Knowledge, Named
from envdoctor.record import Record
from envdoctor.versions import ascii_digits
from envdoctor.wheel_index import PYTORCH_INDEX

_VERSION = re.compile(r"v?(\d+(?:\.(?:\d+|\*))*(?:\.?(?:post|rc|a|b|dev)\d+)?(?:\+[\w.]+)?)")
_OTHER_VERSIONS = {"driver": r"[rv]?(\d+(?:\.\d+)*)", "python": r"(3\.\d{1,2}t)"}
"""R570; 3.13t, which is the free-threaded Python (PEP 703)."""
_RANGE = re.compile(r"(?:>=|<=|~=|!=|<|>)\d+(?:\.\d+)*(?:\.\*)?")
"""PEP 440, version specifiers."""
_TOKEN = re.compile(r"[^\s,;()\"']+")
_LONGEST = 100
"""Letters of a word that can be one; numbers of thousands of digits are no versions."""
_LONGEST_CLAIM = 1000
"""Characters; every part that can be judged, each named in full, takes 400."""
_LONGEST_GPU = 7
"""Words in the longest name of a GPU: NVIDIA RTX PRO 6000 Blackwell Workstation Edition."""


class Claim(Record):
    """One claimed part; `value` is a version without `v`, a GPU's name or a system."""

    name: str
    value: str


class Reading(Record):
    """What a claim says: its parts, in the order in which they are judged, and the words that were
    not understood."""

    claims: tuple[Claim, ...]
    unread: tuple[str, ...] = ()


class BadClaim(BadInput):
    """A claim in which nothing can be recognised; the message says what can be claimed."""


def parse_claims(text: str, knowledge: Knowledge) -> Reading:
    """The parts of a claim in free words. Raises BadClaim where no part is recognised."""
    if len(text) > _LONGEST_CLAIM:
        raise BadClaim(f"a claim of {len(text)} characters; {_LONGEST_CLAIM} are read")
    words = list(_words(ascii_digits(text)))
    if too_long := [word for word in words if len(word) > _LONGEST]:
        raise BadClaim(f"`{too_long[0][:20]}...` is too long for a name or a version")
    found: dict[str, str] = {}
    unread: list[str] = []
    at = 0
    while at < len(words):
        read = _read_at(words, at, knowledge)
        if read is None:
            if words[at].lower() not in FILLERS and words[at] not in ("=", "+", "-", "&", "/"):
                unread.append(words[at])
            at += 1
            continue
        for name, value in read[0]:
            if not _agree(found.setdefault(name, value), value):
                unread.append(" ".join(words[at : at + read[1]]))
        at += read[1]
    if not found:
        raise BadClaim(
            f"no part is recognised in `{text}`; write it as in "
            '"torch 2.6.0 cu124 cudnn 9.1 on an RTX 4090", with ' + ", ".join(ORDER[:-1])
        )
    claims = tuple(Claim(name=name, value=found[name]) for name in ORDER if name in found)
    return Reading(claims=claims, unread=tuple(unread))


def _agree(one: str, other: str) -> bool:
    """Whether two claims on one part are the same, one perhaps said in more detail (2.6, 2.6.0):
    one build is for one torch, and one GPU is judged at a time."""
    first, second = one.lower(), other.lower()
    return first.startswith(second) or second.startswith(first)


def _words(text: str) -> Iterator[str]:
    """Words, with `name==1.2`, `name: 1.2` and `name>=1.2` taken apart."""
    spaced = re.sub(r"(?<=[A-Za-z0-9_+-])\s*(?:={1,3}|:)\s*(?=[\w])", " = ", text)
    spaced = re.sub(r"\s*(>=|<=|~=|!=|<|>)\s*(?=v?\d)", r" \1", spaced)
    for match in _TOKEN.finditer(spaced):
        word = match[0].rstrip(".!?:")
        if word:
            yield word


_Read = tuple[list[tuple[str, str]], int]
_Reader = Callable[[list[str], int, Knowledge], _Read | None]


def _read_at(words: list[str], at: int, knowledge: Knowledge) -> _Read | None:
    """What begins at that word, and how many words it takes."""
    for reader in (_ranged, _versioned, _glued, _system, _mac, _platform, _gpu):
        read = reader(words, at, knowledge)
        if read is not None:
            return read
    return None


def _ranged(words: list[str], at: int, knowledge: Knowledge) -> _Read | None:
    """torch>=2.4,<2.6"""
    name = VERSIONED.get(words[at].lower())
    after = at + 1
    while after < len(words) and _RANGE.fullmatch(words[after]):
        after += 1
    if name not in IN_RANGES or after == at + 1:
        return None
    return [(name, ",".join(words[at + 1 : after]))], after - at


def _versioned(words: list[str], at: int, knowledge: Knowledge) -> _Read | None:
    word = words[at].lower()
    name = "framework" if word in FRAMEWORKS else VERSIONED.get(word)
    if name is None:
        return None
    after = at + 1
    if words[after : after + 1] and words[after].lower() in NOUNS:
        after += 1
    stated = words[after : after + 1] == ["="]
    after += stated
    if words[after : after + 1] and words[after].lower() in NOUNS:
        after += 1
    value = words[after] if after < len(words) else ""
    if _RANGE.fullmatch(value):
        return None
    match = _VERSION.fullmatch(value) or (
        re.fullmatch(_OTHER_VERSIONS[name], value, re.IGNORECASE)
        if name in _OTHER_VERSIONS
        else None
    )
    if match is None:
        if stated:
            raise BadClaim(f"`{value}` is no version of {name}")
        return ([], 1) if name != "framework" else ([("framework", word)], 1)
    version = match[1]
    claim = (name, f"{word} {version}") if name == "framework" else (name, version)
    return [claim], after + 1 - at


def _glued(words: list[str], at: int, knowledge: Knowledge) -> _Read | None:
    """cu124, rocm6.4, py312, cp312, torch2.6, R570, cpu, the address of an index."""
    word = words[at].lower()
    if word.startswith(f"{PYTORCH_INDEX}/"):
        word = word.rstrip("/").rpartition("/")[2]
    tag = re.fullmatch(r"\+?cu(\d{2,3})", word)
    if tag:
        return [("cuda", f"{tag[1][:-1]}.{tag[1][-1]}")], 1
    python = re.fullmatch(r"(?:py|cp|python)3\.?(\d{1,2}t?)", word)
    if python:
        return [("python", f"3.{python[1]}")], 1
    if word == "cpu":
        return [("cuda", "cpu")], 1
    branch = re.fullmatch(r"r(\d{3})", word)
    if branch:
        return [("driver", branch[1])], 1
    glued = re.fullmatch(r"([a-z][a-z_-]*[a-z])-?v?(\d+(?:\.\d+)+(?:\+\w+)?)", word)
    if glued and glued[1] in VERSIONED:
        return [(VERSIONED[glued[1]], glued[2])], 1
    architecture = ARCHITECTURES.get(word)
    return ([("arch", architecture)], 1) if architecture else None


def _system(words: list[str], at: int, knowledge: Knowledge) -> _Read | None:
    rest = words[at:]
    if rest[0].lower() == "os" and rest[1:2] == ["="]:
        rest, skipped = rest[2:], 2
    else:
        skipped = 0
    if not rest or rest[0].lower() not in SYSTEMS:
        return ([("os", " ".join(rest[:2]))], skipped + len(rest[:2])) if skipped and rest else None
    taken = 1
    while taken < len(rest) and rest[taken].lower() in ("linux", "=", "lts"):
        taken += 1
    version = rest[taken] if taken < len(rest) and re.match(r"\d", rest[taken]) else ""
    taken += bool(version)
    return [("os", f"{rest[0].lower()} {version}".strip())], skipped + taken


def _mac(words: list[str], at: int, knowledge: Knowledge) -> _Read | None:
    """macOS on Intel, an Intel Mac, MacBook Pro M2, Apple silicon, Apple M3 Max."""
    run: list[str] = []
    for word in (one.lower() for one in words[at:]):
        if word not in MACS | KINDS_OF_MAC and word not in PROCESSORS_OF_MACS:
            break
        run.append(word)
    processor = next((one for one in run if one in PROCESSORS_OF_MACS), None)
    named = MACS & set(run) or (processor != "intel" and "apple" in run)
    if processor is None or not named or run[0] == "on":
        return None
    while run[-1] == "on":
        run.pop()
    return [("platform", "macos"), ("arch", PROCESSORS_OF_MACS[processor])], len(run)


def _platform(words: list[str], at: int, knowledge: Knowledge) -> _Read | None:
    name = PLATFORMS.get(words[at].lower())
    if name is None:
        return None
    versioned = at + 1 < len(words) and re.fullmatch(r"1[0-9](\.\d+)*", words[at + 1]) is not None
    return [("platform", name)], 1 + versioned


def _gpu(words: list[str], at: int, knowledge: Knowledge) -> _Read | None:
    """The longest run of words that names a GPU; after `gpu=` whatever stands there."""
    start, stated = at, False
    if words[at].lower() in ("gpu", "graphics") and words[at + 1 : at + 2] == ["="]:
        start, stated = at + 2, True
    for length in range(min(_LONGEST_GPU, len(words) - start), 0, -1):
        name = " ".join(words[start : start + length])
        if words[start].lower() in FILLERS - {"nvidia"} or words[start + length - 1] == "=":
            continue
        found = knowledge.named(name)
        if not (found.capability or found.vendor):
            continue
        if _is_whole(words[start : start + length]) and (stated or _is_telling(name, found)):
            return [("gpu", name)], start + length - at
    if stated and start < len(words):
        return [("gpu", words[start])], start + 1 - at
    return None


def _is_telling(name: str, found: Named) -> bool:
    """Whether a name says which GPU is meant where nothing says that it names one: neither a bare
    number nor a word of a series (`Pro`) does."""
    if re.fullmatch(r"[0-9.]+", name):
        return False
    exact = found.model is not None or bool(found.what) or bool(found.vendor)
    return exact or re.search("[0-9]", name) is not None


def _is_whole(words: list[str]) -> bool:
    """Whether no word of it begins another part: `RTX 4090 with driver` is none."""
    names = {*VERSIONED, *FRAMEWORKS, *SYSTEMS, "with", "on", "and", "="}
    return not any(word.lower() in names for word in words)
