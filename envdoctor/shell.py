"""Commands that paste into a POSIX shell, also after the home folder in them was cut to `~`."""

import re
import shlex
from collections.abc import Mapping

from envdoctor.controls import without_controls, without_surrogates


def command(*words: str) -> str:
    """One command line of these words."""
    return " ".join(map(quote, words))


def quote(word: str) -> str:
    """One word, each part of a path quoted by itself: `/home/ann/'my env'/bin/python`.

    So the home folder at its beginning stands outside of quotes, where the shell expands the `~`
    that redaction puts in its place (POSIX, 2.6.1 Tilde Expansion). A word that begins with `~/`
    is such a path already. An option and its path must be two words: a `~` after `--option=`
    would not expand.
    """
    if word == "~":
        return word
    head, rest = ("~/", word[2:]) if word.startswith("~/") else ("", word)
    if "/" not in rest:
        return head + _quoted(rest) if rest or not head else head
    return head + "/".join(_quoted(part) if part else "" for part in rest.split("/"))


def _quoted(part: str) -> str:
    """In quotes where it needs some; what cannot be written as it is, is made by `printf`.

    That takes bytes in octal (POSIX, XCU printf); `$'...'` is unknown to dash.
    """
    if part.isascii() and part.isprintable():
        return shlex.quote(part)
    if without_controls(part) == part and "\n" not in part and "\t" not in part:
        return shlex.quote(part)
    # The shell cuts line breaks off the end of what a command prints.
    body = part.rstrip("\n")
    made = "".join(map(_in_octal, _bytes_of(body)))
    breaks = shlex.quote(part[len(body) :]) if body != part else ""
    return (f"\"$(printf '{made}')\"" if body else "") + breaks


def _bytes_of(part: str) -> bytes:
    try:
        return part.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # No name of a file, but a text of a facts file may hold anything.
        return without_surrogates(part).encode()


def _in_octal(byte: int) -> str:
    one = chr(byte)
    plain = one.isascii() and (one.isalnum() or one in " ._+,=@:")
    return one if plain else f"\\{byte:03o}"


def assignment(name: str, value: str) -> str:
    """`NAME=value`, for the front of a command or after `export`; also of lists with colons,
    since a `~` expands after each of them."""
    parts = [part and quote(part) for part in value.split(":")]
    return f"{name}={':'.join(parts)}"


_QUOTED_OR_PLACEHOLDER = re.compile(r"'[^']*'|\"(?:[^\"\\]|\\.)*\"|\\.|<[a-z-]+(?:-\d+)?>")


def pasteable(line: str, variables: Mapping[str, str]) -> str:
    """A command in which placeholders of redaction stand, such that a shell takes none of them for
    a redirection: a variable where one has the same value, else the placeholder in quotes."""
    return _QUOTED_OR_PLACEHOLDER.sub(
        lambda found: variables.get(found[0], f"'{found[0]}'") if found[0][0] == "<" else found[0],
        line,
    )
