"""What a comparison says: the two sides, how they differ, what is equal, what nobody compared."""

from typing import ClassVar, Literal

from envdoctor.facts import SCHEMA_VERSION, Tool
from envdoctor.findings import Layer, Severity, Verdict
from envdoctor.formats import DIAGNOSIS
from envdoctor.record import Record

Part = Literal[
    "outcome",
    "driver",
    "gpus",
    "container",
    "system",
    "python",
    "torch",
    "packages",
    "files",
    "libraries",
    "variables",
    "toolkit",
    "network",
    "speed",
    "other",
]
"""What of a machine a difference is in. `outcome`: what works on one side and fails on the other;
`other`: facts of plugins."""

Weight = Literal["stops", "matters", "little"]
"""What a difference can do at most. `stops`: torch, or what is wanted of it, can fail by it;
`matters`: it can work otherwise, or at another speed; `little`: hardly anything."""

WEIGHTS: tuple[Weight, ...] = ("stops", "matters", "little")

SourceKind = Literal["live", "document", "collect_env"]
"""Where the facts of a side are from: this machine now, a facts file or report, or the text of
`torch.utils.collect_env`, which does not list everything that there is."""


class ComparedSide(Record):
    """One side. `name` is how sentences call it (`here`, `there`, `A`, `B`), `label` the file or
    interpreter that it is; `verdict` is that of its own diagnosis."""

    name: str
    label: str
    kind: SourceKind
    verdict: Verdict


class OneSided(Record):
    """A finding that only one side has; `because` is the id of its root cause on that side.

    `looked_for` is false where nobody could look for it on the other side, which may have it too.
    """

    side: str
    id: str
    code: str
    name: str
    severity: Severity
    message: str
    because: str | None = None
    looked_for: bool = True
    page: str = ""


How = Literal["removes", "about"]


class Explained(Record):
    """A finding of one side that a difference explains.

    `how`: with the other side's value in its place the finding is gone (`removes`), or the finding
    speaks of that thing (`about`).
    """

    side: str
    finding: str
    name: str
    severity: Severity
    how: How


class Difference(Record):
    """One thing in which the sides differ.

    `first` and `second` are its values, null where a side has none; `layer` is where in the stack
    it lies, `can_break` the outcomes that it can break, by the beginnings of their ids, or `speed`.
    `follows` names the difference of which it is a consequence (the wheels that a torch pins).
    `proof` says what came of trying the other side's value here, empty where nothing was tried.
    """

    part: Part
    name: str
    sentence: str
    first: str | None = None
    second: str | None = None
    weight: Weight
    layer: Layer
    can_break: tuple[str, ...] = ()
    follows: str = ""
    explains: tuple[Explained, ...] = ()
    proof: str = ""


class Same(Record):
    """A part in which the sides are equal, in short."""

    part: Part
    text: str


class Uncompared(Record):
    """A part that could not be compared. `failed` says that a look at it failed, rather than that
    nobody looked."""

    part: Part
    reason: str
    failed: bool = False


class Comparison(Record, tag="comparison"):
    """Two machines, or two environments, side by side: the differences, worst first.

    `findings` are those that one side alone has, `shared` the names of those that both have.
    `exit_code`: 0 the same, 1 different, 3 nothing differs as far as could be looked.
    """

    formats: ClassVar[tuple[str, ...]] = DIAGNOSIS

    schema_version: int = SCHEMA_VERSION
    tool: Tool = Tool()
    created_at: str
    exit_code: int
    first: ComparedSide
    second: ComparedSide
    differences: tuple[Difference, ...]
    findings: tuple[OneSided, ...] = ()
    shared: tuple[str, ...] = ()
    same: tuple[Same, ...] = ()
    uncompared: tuple[Uncompared, ...] = ()
