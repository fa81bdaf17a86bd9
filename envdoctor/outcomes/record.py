"""An outcome: something that the user wants to do with a torch, and whether it works. Pure."""

from typing import Literal

from envdoctor.facts import Reason, Unknown
from envdoctor.findings import Finding
from envdoctor.findings import in_words as subjects_in_words
from envdoctor.record import Record

Action = Literal["import", "compute", "start", "distributed", "compile", "extend", "hold"]
WantedState = Literal["yes", "optional", "elsewhere", "unknown"]
State = Literal["works", "fails", "unseen"]


class Outcome(Record):
    """Something that the user wants to do with this torch, on one subject, and whether it works.

    `action` and `subject`: import torch or a companion; compute on `cpu` or `gpu:0`; start CUDA on
    `gpu:0`, which is asked of a machine alone; compile (torch.compile) on `cpu` or `gpu:0`; extend
    in `C++` or `CUDA`; distributed has no subject, nor have compile and extend where they were not
    tried; hold to a policy, by its file.
    `wanted`: `optional` only degrades the verdict where it fails, `elsewhere` is judged only by
    what would break it on any machine, `unknown` is where it could not be found out. `state` was
    `seen` or, where nobody could look, `predicted` (`basis`). `reason` and `detail` say why it is
    unseen, or what happened; `source` where that was seen.
    """

    action: Action
    subject: str = ""
    wanted: WantedState = "yes"
    state: State
    basis: Literal["seen", "predicted"] = "seen"
    reason: Reason | None = None
    detail: str = ""
    source: str = ""

    @property
    def id(self) -> str:
        """The name by which findings refer to it: `compute:gpu:0`."""
        return f"{self.action}:{self.subject}" if self.subject else self.action

    def broken_by(self, finding: Finding) -> bool:
        """Whether a finding keeps this outcome from working."""
        # Nothing computes where CUDA does not start.
        own = f"compute:{self.subject}" if self.action == "start" else self.id
        names = {own, self.id}
        if any(
            name == one or name.startswith(f"{one}:") for one in finding.breaks for name in names
        ):
            return True
        # No layer names the GPU that is wanted here, so it may be the one of the finding.
        unnamed = own == "compute:gpu" and self.wanted != "elsewhere"
        return unnamed and any(one.startswith("compute:gpu:") for one in finding.breaks)


IMPORT_TORCH = "import:torch"


def unseen(action: Action, subject: str, why: Unknown, wanted: WantedState = "yes") -> Outcome:
    """An outcome that nobody could look at, and why."""
    return Outcome(
        action=action,
        subject=subject,
        wanted=wanted,
        state="unseen",
        reason=why.reason,
        detail=why.detail,
    )


def in_words(*outcomes: Outcome) -> str:
    """`import torch and torchvision, computing on the CPU and GPU 0`."""
    words = []
    for action in dict.fromkeys(one.action for one in outcomes):
        subjects = tuple(one.subject for one in outcomes if one.action == action)
        words.append(f"{_VERBS.get(action, action)} {subjects_in_words(subjects)}".strip())
    return ", ".join(words)


_VERBS = {
    "compute": "compute on",
    "start": "start CUDA on",
    "hold": "the policy",
    "compile": "compile for",
    "extend": "build extensions in",
}
