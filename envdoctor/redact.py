"""The filter of everything that is written: what identifies a person, and what a terminal obeys.

Values only, never keys. One filter serves one document, so that its placeholders are stable there.
"""

import os
import re
from collections.abc import Callable, Iterable
from itertools import count
from typing import Any, TypeVar

from envdoctor.shell import quote

_D = TypeVar("_D")

_ENDS = r"(?![\w@+-]|\.\w)"
"""What follows a whole name: `/home/ann` is not in `/home/anna`, nor in `/home/ann.old`."""

_BEGINS = r"(?:(?<![\w.~-])|(?<=-[IL]))"
"""What comes before a path: nothing of a longer one. `-I` and `-L` are the compiler's options."""

_NAME = r"[^\s/'\"`:;,()\[\]{}<>|&*]*[^\s/'\"`:;,()\[\]{}<>|&*.!?]"
_OTHER_HOME = re.compile(
    rf"{_BEGINS}(/home/|/Users/)(?!(?:linuxbrew|Shared)(?:/|$))({_NAME})|{_BEGINS}/root{_ENDS}"
)
"""Homes of people as Linux and macOS lay them out. /home/linuxbrew (docs.brew.sh) and /Users/Shared
belong to nobody."""

_URL_CREDENTIALS = re.compile(
    r"(?<=://)(?:[^/\s@:]+:(?!\d{1,5}(?:[/\s]|$))[^\s'\"]+|[^/\s'\"]+)@(?=[\w\[])"
)
"""User and password before a host; `host:8080/path@tag` has none."""

_TOKENS = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{16,}|api_org_[A-Za-z0-9]{16,}"  # Hugging Face
    r"|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}"  # GitHub, GitLab
    r"|sk-[\w-]{20,}|nvapi-[\w-]{20,}"  # OpenAI and Anthropic, NVIDIA NGC
    r"|A[KS]IA[0-9A-Z]{16}|AIza[\w-]{35}"  # AWS access keys, Google API keys
    r"|xox[a-z]-[\w-]{10,}"  # Slack
    r"|pypi-[\w-]{20,}|npm_[A-Za-z0-9]{36}|dckr_[a-z]{3}_[\w-]{20,}"  # PyPI, npm, Docker Hub
    r"|eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]*)"  # JSON web tokens (RFC 7519)
)
"""Credentials whose beginnings their issuers publish, so that they can be found in texts."""

_BEARER = re.compile(r"(?i)\b(bearer\s+)[\w.~+/=-]{12,}")
_ASSIGNED = re.compile(
    r"(?i)(?<![a-z])((?:password|passwd|secret|token|api[_-]?key|access[_-]?key|accountkey)=)"
    r"[^\s&;,'\"<=][^\s&;,'\"]{5,}"
)
_PRIVATE_KEY = re.compile(
    r"-----BEGIN ([A-Z ]*)PRIVATE KEY-----.*?(?:-----END \1PRIVATE KEY-----|\Z)", re.DOTALL
)

_SURROGATES = re.compile("[\ud800-\udfff]")
_SEQUENCES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours and movements of the cursor
    r"|\x1b[\]PX^_][^\x07\x1b]{0,4096}(?:\x07|\x1b\\)"  # titles, links, the clipboard
)
"""What a terminal takes for one command (ECMA-48, 5.4 and 5.6), whole."""
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""C0 but tab and line feed, DEL, C1, and what turns the direction of the text around."""


class Filter:
    """Makes texts fit to be written. `homes` are the folders that `~` stands for, if any."""

    def __init__(self, *homes: str) -> None:
        self._redact = redactor(*homes)

    def text(self, text: str) -> str:
        """The text without what identifies a person, and with nothing that a terminal obeys."""
        return self._redact(without_controls(text))

    def line(self, text: str) -> str:
        """The same on one line."""
        return " ".join(self.text(text).splitlines())

    def values(self, value: Any) -> Any:
        """A JSON value with every text in it filtered; keys only lose what cannot be written."""
        return redact_values(value, self.text)

    def document(self, document: _D) -> _D:
        """A record with every text in it filtered."""
        import msgspec

        return msgspec.convert(self.values(msgspec.to_builtins(document)), type(document))


def user_filter() -> Filter:
    """The filter for all that this user writes."""
    home = os.path.expanduser("~")
    return Filter(home, os.path.realpath(home))


def redactor(*homes: str) -> Callable[[str], str]:
    """A function that shortens the user's home folder to `~`, gives the homes of others numbers,
    and removes credentials from a text."""
    own = _own_homes(homes)
    numbers = count(1)
    others: dict[str, str] = {}

    def number_of(name: str) -> str:
        return others.get(name) or others.setdefault(name, f"<user-{next(numbers)}>")

    def other_home(found: re.Match[str]) -> str:
        return f"{found[1]}{number_of(found[2])}" if found[1] else f"/{number_of('root')}"

    def redact(text: str) -> str:
        if "/" in text:
            text = own.sub("~", text) if own else text
            text = _URL_CREDENTIALS.sub("<credentials>@", _OTHER_HOME.sub(other_home, text))
        return _without_secrets(text)

    return redact


def _own_homes(homes: Iterable[str]) -> re.Pattern[str] | None:
    """Also as a command has them, with quotes around each part that needs some."""
    bare = [without_surrogates(home.rstrip("/")) for home in homes]
    spelled = {spelling for home in bare if len(home) > 1 for spelling in (home, quote(home))}
    if not spelled:
        return None
    longest_first = sorted(spelled, key=len, reverse=True)
    return re.compile(rf"{_BEGINS}(?:{'|'.join(map(re.escape, longest_first))}){_ENDS}")


def _without_secrets(text: str) -> str:
    text = _TOKENS.sub("<token>", text)
    if "=" in text:
        text = _ASSIGNED.sub(r"\1<secret>", text)
    text = _BEARER.sub(r"\1<token>", text)
    return _PRIVATE_KEY.sub("<private key>", text) if "-----BEGIN" in text else text


def without_controls(text: str) -> str:
    """The text with nothing in it that a terminal would obey: colours go, other controls are �."""
    if text.isascii() and text.isprintable():
        return text
    text = _SEQUENCES.sub("", without_surrogates(text).replace("\r\n", "\n"))
    return _CONTROLS.sub("\ufffd", text)


def without_surrogates(text: str) -> str:
    """The text with visible escapes for bytes that are not UTF-8 (`\\xe4`), as in file names."""
    return _SURROGATES.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    # PEP 383: a byte that cannot be decoded is U+DC00 and its value.
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


def redact_values(value: Any, redact: Callable[[str], str]) -> Any:
    """The same JSON value with every text in it redacted; keys and numbers stay as they are."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {_key(key): redact_values(item, redact) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [redact_values(item, redact) for item in value]
    return value


def _key(key: Any) -> Any:
    """A key as it is, but for what cannot be encoded or what a terminal would obey."""
    if not isinstance(key, str) or (key.isascii() and key.isprintable()):
        return key
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", without_surrogates(key))
