"""What a terminal obeys, and what cannot be encoded: neither reaches anything that is written."""

import re

_SURROGATES = re.compile("[\ud800-\udfff]")
_SEQUENCES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours and movements of the cursor
    r"|\x1b[\]PX^_][^\x07\x1b]{0,4096}(?:\x07|\x1b\\)"  # titles, links, the clipboard
)
"""What a terminal takes for one command (ECMA-48, 5.4 and 5.6), whole."""
_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2064\u2066-\u2069\ufeff]"
)
"""C0 but tab and line feed, DEL, C1, what turns the direction of the text around, what ends a line
in some places only, and what has no width, with which a name looks like another."""


def without_controls(text: str) -> str:
    """The text with nothing in it that a terminal would obey: colours go, other controls are �."""
    if text.isascii() and text.isprintable():
        return text
    text = _SEQUENCES.sub("", without_surrogates(text).replace("\r\n", "\n"))
    return _CONTROLS.sub("\ufffd", text)


def without_surrogates(text: str) -> str:
    """The text with visible escapes for bytes that are not UTF-8 (`\\xe4`), as in file names."""
    return _SURROGATES.sub(_escaped, text)


def safe_key(key: str) -> str:
    """A key as it is, but for what cannot be encoded or what a terminal would obey."""
    if key.isascii() and key.isprintable():
        return key
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", without_surrogates(key))


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    # PEP 383: a byte that cannot be decoded is U+DC00 and its value.
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"
