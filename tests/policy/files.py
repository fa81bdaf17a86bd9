"""Policies for tests."""

from pathlib import Path

from envdoctor.pages import codes_of
from envdoctor.policy.read import read_policy
from envdoctor.policy.records import PolicyFile
from tests.support.diagnosis import loaded


def rules() -> dict[str, str]:
    """The codes by every word that names one."""
    codes = codes_of(loaded())
    return {word: code.id for code in codes for word in (code.id, code.name)}


def policy(text: str, folder: Path, name: str = "envdoctor.toml") -> PolicyFile:
    """The policy of a text, read from a file."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return read_policy(str(path), rules())
