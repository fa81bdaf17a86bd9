"""What the user wants of an examination."""

from typing import TYPE_CHECKING, Literal

from envdoctor.companions import Extent
from envdoctor.record import Record

if TYPE_CHECKING:
    from envdoctor.facts.calibration import Model

Scope = Literal["node", "user"]

Tried = Literal["compile", "extend"]
"""What is looked at only where the user asks for it: torch.compile, building an extension."""


class Options(Record):
    """What the user wants of an examination. `static` executes nothing of the target's packages;
    `deep` hashes every installed file; `companions` says which of the libraries that are built on
    torch are imported; `tried` is what is tried beside; `root` is where another file system lies,
    of which files alone are read; `scope` judges the machine alone (node) or the target alone
    (user);
    `timeout_s` bounds the whole.

    `only` and `skip` choose checks by code, name or topic; `fail_on` is the least severity that
    makes the exit code 1; `policy` is the file that says what the machine is held to. With
    `calibrate` a training step of `model` is measured, for `budget_s` where that is not null.
    """

    python: str | None = None
    static: bool = False
    deep: bool = False
    companions: Extent = "light"
    tried: tuple[Tried, ...] = ()
    expect: Literal["gpu", "cpu"] | None = None
    scope: Scope | None = None
    root: str | None = None
    timeout_s: float = 300.0
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    fail_on: str = "error"
    policy: str | None = None
    calibrate: bool = False
    model: "Model" = "resnet50"
    budget_s: float | None = None
