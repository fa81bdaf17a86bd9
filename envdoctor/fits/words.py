"""How verdicts on claims are worded."""

from collections.abc import Callable, Iterable

from packaging.version import Version

from envdoctor.knowledge import TorchRelease, Variant

Build = tuple[TorchRelease, Variant]


def listed(
    values: Iterable[str | None], key: Callable[[str], object] | None = None, most: int = 6
) -> str:
    """Values in a sentence: all, or the first and the last where there are many."""
    known = sorted((value for value in values if value), key=key)  # type: ignore[arg-type]
    if len(known) > most:
        return f"{known[0]} to {known[-1]}"
    return ", ".join(known[:-1]) + (" and " if known[1:] else "") + known[-1] if known else "none"


def subject_of(builds: list[Build]) -> str:
    """The releases of some builds as a subject, with the variant where they have one in common."""
    versions = {one[0].version for one in builds}
    tags = {one[1].tag for one in builds if one[1].cuda}
    name = f"torch {listed(versions, key=Version)}"
    return f"{name} ({next(iter(tags))})" if len(tags) == 1 else name


def sources_of(builds: list[Build], *, arch: bool = False, most: int = 3) -> str:
    """Where the builds were read, the wheels themselves first; `arch`: where their GPUs were.

    Empty for so many builds that no few sources say it of all.
    """
    if len({one[0].version for one in builds}) > most:
        return ""
    ordered = sorted(builds, key=lambda one: not one[1].verified)
    texts = [one[1].arch_source if arch else one[1].source for one in ordered]
    return "; ".join([text for text in dict.fromkeys(texts) if text][:most])


def has(builds: list[Build]) -> str:
    """The verb for that subject."""
    return "have" if len({one[0].version for one in builds}) > 1 else "has"


def was(builds: list[Build]) -> str:
    """The verb for that subject, in the past."""
    return "were" if len({one[0].version for one in builds}) > 1 else "was"


def names_of(builds: list[Build]) -> str:
    """The newest of some builds by name, and how many more there are."""
    names = list(dict.fromkeys(f"torch {one[0].version}+{one[1].tag}" for one in builds))
    shown = names[-3:][::-1]
    return ", ".join(shown) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
