"""Removes what identifies a person from everything that is written: values only, never keys."""

import re
from collections.abc import Callable
from typing import Any

_URL_CREDENTIALS = re.compile(r"(?<=://)[^/\s@]+@")
_TOKENS = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{16,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}"
    r"|sk-[\w-]{20,}|AKIA[0-9A-Z]{16}|pypi-[\w-]{20,})"
)

_CONTROLS = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours and movements of the cursor, whole
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]"
)
"""C0 but tab and line feed, C1, and what turns the direction of the text around."""


def redactor(home: str) -> Callable[[str], str]:
    """A function that shortens the home folder to `~` and removes credentials from a text."""
    in_home = re.compile(rf"(?<![\w.~-]){re.escape(home.rstrip('/'))}(?=[/\s'\"`:;,)\]]|$)")

    def redact(text: str) -> str:
        if len(home) > 1:
            text = in_home.sub("~", text)
        return _TOKENS.sub("<token>", _URL_CREDENTIALS.sub("<credentials>@", text))

    return redact


def without_controls(text: str) -> str:
    """The text with nothing in it that a terminal would obey: colours go, other controls are �."""
    return _CONTROLS.sub(lambda found: "" if len(found[0]) > 1 else "\ufffd", text)


def for_terminals(redact: Callable[[str], str]) -> Callable[[str], str]:
    """A function that redacts a text of the patient's, and leaves nothing that moves a cursor."""
    return lambda text: redact(without_controls(text))


def redact_values(value: Any, redact: Callable[[str], str]) -> Any:
    """The same JSON value with every text in it redacted; keys and numbers stay as they are."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {key: redact_values(item, redact) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [redact_values(item, redact) for item in value]
    return value
