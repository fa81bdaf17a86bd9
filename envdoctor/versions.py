"""Versions as they come from outside: integers of NVIDIA's libraries, and texts."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from packaging.version import Version

_LONGEST = 100
"""Longer texts are no versions; to compare numbers of thousands of digits takes for ever."""

_MOST_DIGITS = 20
"""Of a number that stands for anything: 2**64 has as many. Python refuses to read thousands."""


def parse_version(text: str | None) -> "Version | None":
    """The version that a text is, if it is one; a distribution may call itself anything."""
    # Too heavy for what only asks for the numbers of libraries.
    from packaging.version import InvalidVersion, Version

    if text is None or len(text) > _LONGEST:
        return None
    try:
        return Version(text)
    except InvalidVersion:
        return None


def release_numbers(text: str) -> tuple[int, ...]:
    """The numbers of a version before any label, as (5, 10, 16, 3) of
    5.10.16.3-microsoft-standard-WSL2; empty where it has none."""
    version = parse_version(text.partition("-")[0])
    return version.release if version else ()


def readable(version: str | None) -> str | None:
    """The text of a version, if versions can be compared with it."""
    return version if parse_version(version) else None


def parse_number(text: str) -> int | None:
    """The number that decimal digits are; None for anything else."""
    return int(text) if text.isdecimal() and len(text) <= _MOST_DIGITS else None


def ascii_digits(text: str) -> str:
    """The text with the digits of other scripts as ASCII: `\\d` of a pattern takes them all for
    digits, and `packaging` none of them."""
    if text.isascii():
        return text
    return "".join(str(int(one)) if one.isdecimal() else one for one in text)


def decode_cudnn(version: int | None) -> str | None:
    """The dotted version behind CUDNN_VERSION.

    Up to cuDNN 8 it is major * 1000 + minor * 100 + patch (8902 is 8.9.2); from cuDNN 9 on it is
    major * 10000 + minor * 100 + patch (90501 is 9.5.1), as cudnn_version.h of these releases says.
    """
    if version is None or version <= 0:
        return None
    scale = 10000 if version >= 90000 else 1000
    return f"{version // scale}.{version % scale // 100}.{version % 100}"


def decode_cuda(version: int | None) -> str | None:
    """The dotted version behind CUDART_VERSION or cuDriverGetVersion: 1000 * major + 10 * minor.

    Source: the CUDA driver API reference, cuDriverGetVersion. 12060 is 12.6.
    """
    if version is None or version <= 0:
        return None
    return f"{version // 1000}.{version % 1000 // 10}"
