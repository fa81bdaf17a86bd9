"""A comparison as text and as Markdown: what explains most first, what is equal last."""

import textwrap
from collections.abc import Iterable, Iterator

from envdoctor.compare.records import ComparedSide, Comparison, Difference, OneSided
from envdoctor.findings import Verdict
from envdoctor.formats import Look
from envdoctor.record import Record
from envdoctor.render.markdown import prose

PLAIN = Look()
_FEW = 4
"""Packages that nothing beside torch needs: these are named, the others counted; and so many
wheels of CUDA that go with a torch."""

_INDENT = 5


def render_comparison(comparison: Comparison, look: Look = PLAIN) -> str:
    """The whole comparison, ending with a line break."""
    lines = [headline(comparison), *_sides(comparison)]
    parts = parted(comparison, look)
    if parts.told:
        lines.append("")
    for number, one in enumerate(parts.told, 1):
        lines += _wrapped(f"{number:>3}  ", one.sentence, look)
        for text in details(one, comparison):
            lines += _wrapped(" " * (_INDENT + 2), text, look)
    if look.detail != "brief":
        for label, text in closing(comparison, parts):
            lines += ["", *_wrapped(f"{label}: ", text, look, hanging=2)]
    return "\n".join(lines) + "\n"


def render_comparison_markdown(comparison: Comparison, look: Look = PLAIN) -> str:
    """The same for an issue or a chat."""
    parts = parted(comparison, look)
    blocks = [f"# envdoctor: {prose(headline(comparison))}"]
    blocks.append("\n".join(f"- {prose(line.strip())}" for line in _sides(comparison)))
    lines = []
    for number, one in enumerate(parts.told, 1):
        lines.append(f"{number}. {prose(one.sentence)}")
        lines += [f"   - {prose(text)}" for text in details(one, comparison)]
    blocks.append("\n".join(lines))
    for label, text in closing(comparison, parts):
        blocks.append(f"**{label}**: {prose(text)}")
    return "\n\n".join(filter(None, blocks)) + "\n"


def headline(comparison: Comparison) -> str:
    """What it comes to, in one line."""
    sides = comparison.first, comparison.second
    verdicts = ", ".join(f"{_at(one.name)} {_verdict(one)}" for one in sides)
    words = {0: "the same", 1: "different"}
    word = words.get(comparison.exit_code, "nothing differs as far as could be looked")
    return f"{word}: {verdicts}"


def _verdict(side: ComparedSide) -> str:
    """A text never tells all; what it tells may be without a fault."""
    told = side.kind == "collect_env" and side.verdict is Verdict.INCOMPLETE
    return "no error is told" if told else side.verdict.value


def _sides(comparison: Comparison) -> list[str]:
    sides = comparison.first, comparison.second
    width = max(len(one.name) for one in sides)
    live = {"live": " (this machine now)", "collect_env": " (text of collect_env)"}
    return [f"  {one.name:<{width}}  {one.label}{live.get(one.kind, '')}" for one in sides]


class Parted(Record):
    """The differences as they are told: one by one, what follows from one of those, what matters
    little, and packages that nothing beside torch needs."""

    told: list[Difference]
    follow: list[Difference]
    little: list[Difference]
    packages: list[Difference]


def parted(comparison: Comparison, look: Look) -> Parted:
    """By how the differences are told; in full each one by itself."""
    every = list(comparison.differences)
    if look.detail == "full":
        return Parted(told=every, follow=[], little=[], packages=[])
    own = [one for one in every if one.explains or one.proof]
    rest = [one for one in every if not (one.explains or one.proof)]
    follow = [one for one in rest if one.follows]
    little = [one for one in rest if one.weight == "little" and not one.follows]
    aside = {id(one) for one in (*follow, *little)}
    told = [one for one in every if id(one) not in aside]
    if look.detail == "brief":
        told = own or told[:1]
    return Parted(
        told=told,
        follow=follow,
        little=[one for one in little if one.part != "packages"],
        packages=[one for one in little if one.part == "packages"],
    )


def details(one: Difference, comparison: Comparison) -> Iterator[str]:
    """Which findings it explains, and what came of trying it."""
    by_id = {(finding.side, finding.id): finding for finding in comparison.findings}
    whole = [(told, by_id.get((told.side, told.finding))) for told in one.explains]
    roots = [pair for pair in whole if pair[1] is not None and pair[1].because is None] or whole
    lines: dict[str, None] = {}
    for told, finding in roots:
        code = f" ({finding.code})" if finding else ""
        verb = "is told as" if one.part == "outcome" else _VERBS[told.how]
        alone = finding is None or finding.looked_for
        whose = f"found {_at(told.side)}{' alone' if alone else ''}"
        lines[f"{verb} {told.name}{code}, {whose}"] = None
    # Several findings of one code are one line.
    yield from lines
    if one.proof:
        yield one.proof


def _in_few_words(one: Difference) -> str:
    """The name of what is another; of what was seen, what that is, without the reason."""
    return one.sentence.partition(": ")[0] if one.part == "outcome" else one.name


_VERBS = {"removes": "explains", "about": "has to do with"}


def closing(comparison: Comparison, parts: Parted) -> Iterator[tuple[str, str]]:
    """What remains: consequences, what matters little, findings, what is equal, what is unknown."""
    for cause in dict.fromkeys(one.follows for one in parts.follow):
        names = [_in_few_words(one) for one in parts.follow if one.follows == cause]
        wheels = [name for name in names if name.startswith("nvidia-")]
        if len(wheels) > _FEW:
            names = [f"{len(wheels)} wheels of CUDA", *(one for one in names if one not in wheels)]
        yield f"follows from {cause}", ", ".join(names)
    if parts.little:
        yield "matters little", "; ".join(one.sentence for one in parts.little)
    if parts.packages:
        several = parts.packages
        shown = "; ".join(one.sentence for one in several[:_FEW])
        noun = "package" if len(several) == 1 else "packages"
        more = f"; and {len(several) - _FEW} more" if len(several) > _FEW else ""
        yield f"{len(several)} other {noun}", shown + more
    for label, looked_for in (
        ("found only", True),
        ("found, and not looked for elsewhere,", False),
    ):
        for side in (comparison.first.name, comparison.second.name):
            own = [one for one in comparison.findings if one.side == side]
            told = [_finding(one) for one in own if one.looked_for is looked_for]
            if told:
                yield f"{label} {_at(side)}", "; ".join(told)
    if comparison.shared:
        yield "found on both", ", ".join(comparison.shared)
    if comparison.same:
        yield "same", ", ".join(one.text for one in comparison.same)
    if comparison.uncompared:
        words = (
            f"{_PARTS.get(one.part, one.part)} ({one.reason})" for one in comparison.uncompared
        )
        yield "not compared", ", ".join(words)


def _at(side: str) -> str:
    return side if side in ("here", "there") else f"in {side}"


_PARTS = {
    "outcome": "whether torch works",
    "gpus": "GPUs",
    "python": "Python",
    "system": "the system",
}


def _finding(one: OneSided) -> str:
    return f"{one.severity.value} {one.code} {one.name}: {one.message}"


def _wrapped(start: str, text: str, look: Look, hanging: int | None = None) -> Iterable[str]:
    """The text on as many lines as it takes, below its beginning."""
    rest = " " * (len(start) if hanging is None else hanging)
    return textwrap.wrap(
        text,
        look.width,
        initial_indent=start,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )
