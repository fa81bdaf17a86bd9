"""What a terminal obeys, and what cannot be encoded: neither reaches anything that is written."""

import re

_SEQUENCES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours and movements of the cursor
    r"|\x1b[\]PX^_][^\x07\x1b]{0,4096}(?:\x07|\x1b\\)"  # titles, links, the clipboard
)
"""What a terminal takes for one command (ECMA-48, 5.4 and 5.6), whole."""
_CONTROLS = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2064\u2066-\u2069\ufeff"
)
"""C0 but tab and line feed, DEL, C1, what turns the direction of the text around, what ends a line
in some places only, and what has no width, with which a name looks like another."""
_CONTROL = re.compile(f"[{_CONTROLS}]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_ODD = re.compile(f"[{_CONTROLS}\ud800-\udfff]")

_CODE = (
    "(?:x[89a-f][0-9a-f]|u(?:00[0189][0-9a-f]|007f|061c|200[b-f]|202[89a-e]|206[0-46-9]|feff"
    "|d[89a-f][0-9a-f]{2}))"
)
"""What follows the backslash of an escape."""
_NEEDS_TWO = re.compile(rf"\\+(?=[{_CONTROLS}\ud800-\udfff]|{_CODE})")
_ESCAPE = re.compile(rf"(?P<backslashes>\\+)(?P<code>{_CODE})")


def without_controls(text: str) -> str:
    """The text for people, with nothing in it that a terminal would obey: colours go, other
    controls are �, bytes that are not UTF-8 are `\\xe4`."""
    if text.isascii() and text.isprintable():
        return text
    text = without_sequences(without_surrogates(text)).replace("\r\n", "\n")
    return _CONTROL.sub("\ufffd", text)


def without_sequences(text: str) -> str:
    """The text without colours, titles and the like."""
    return _SEQUENCES.sub("", text) if "\x1b" in text else text


def without_surrogates(text: str) -> str:
    """The text with visible escapes for bytes that are not UTF-8 (`\\xe4`), as in file names."""
    return _SURROGATE.sub(_code_of, text)


def escaped(text: str) -> str:
    """The text for programs, with visible escapes: `unescaped` gives it back as it was.

    `\\xe4` is a byte that is not UTF-8, `\\u001b` a character. Backslashes of the text itself that
    stand before what is such a code, or looks like one, are each written twice.
    """
    if "\\" in text:
        text = _NEEDS_TWO.sub(lambda found: found[0] * 2, text)
    return text if text.isascii() and text.isprintable() else _ODD.sub(_code_of, text)


def unescaped(text: str) -> str:
    """The text that `escaped` wrote."""
    return _ESCAPE.sub(_meant, text) if "\\" in text else text


def _code_of(found: re.Match[str]) -> str:
    code = ord(found[0])
    # PEP 383: a byte that cannot be decoded is U+DC00 and its value.
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


def _meant(found: re.Match[str]) -> str:
    literal, is_escape = divmod(len(found["backslashes"]), 2)
    kind, number = found["code"][0], int(found["code"][1:], 16)
    character = chr(0xDC00 + number if kind == "x" else number)
    return "\\" * literal + (character if is_escape else found["code"])
