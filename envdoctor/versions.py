"""Versions as they come from outside: integers of NVIDIA's libraries, and texts."""

_LONGEST = 100
"""Longer texts are no versions; to compare numbers of thousands of digits takes for ever."""


def readable(version: str | None) -> str | None:
    """The version, if versions can be compared with it; a distribution may call itself anything."""
    from packaging.version import InvalidVersion, Version

    if version is None or len(version) > _LONGEST:
        return None
    try:
        Version(version)
    except InvalidVersion:
        return None
    return version


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
