"""The tools: what each is for, what it takes, the command it runs, and what of the answer is told.

The arguments are those of the command: a field is the option of its name, but for the positional
ones.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from envdoctor.agents.digest import (
    Digest,
    of_comparison,
    of_fit,
    of_libraries,
    of_prescription,
    of_report,
)
from envdoctor.record import Record

Python = Annotated[
    str | None,
    Meta(
        description="Interpreter, venv folder or conda prefix to examine. Give it: without it the "
        "first with a torch among ./.venv, envdoctor's own, python3 and python is taken, and the "
        "environment that your shell has activated is not known here."
    ),
]
Facts = Annotated[
    str | None,
    Meta(description="A file of `envdoctor collect` or `check --json`, instead of this machine."),
]
Static = Annotated[bool, Meta(description="Execute nothing of the target's packages.")]
Device = Annotated[
    Literal["gpu", "cpu"] | None,
    Meta(description="What torch is expected to use; a missing GPU is then an error."),
]
Seconds = Annotated[
    float, Meta(description="Limit for the whole call, in seconds.", ge=1.0, le=600.0)
]
Names = tuple[Annotated[str, Meta(max_length=200)], ...]


class Arguments(Record, tag=False, forbid_unknown_fields=True):
    """What a tool takes."""


class CheckArguments(Arguments):
    """Of `check`."""

    python: Python = None
    facts: Facts = None
    static: Static = False
    expect: Device = None
    scope: Annotated[
        Literal["node", "user"] | None,
        Meta(description="Judge the machine alone (node), or the target alone (user)."),
    ] = None
    policy: Annotated[
        str | None, Meta(description="Policy or lock file that the machine is held to.")
    ] = None
    only: Annotated[
        Names, Meta(description="Run only these checks: codes (ED201), names or topics.")
    ] = ()
    skip: Annotated[Names, Meta(description="Not these.")] = ()
    timeout: Seconds = 120.0


class PrescribeArguments(Arguments):
    """Of `prescribe`."""

    torch: Annotated[str | None, Meta(description="The torch that is wanted, as 2.6.")] = None
    python: Python = None
    facts: Facts = None
    gpu: Annotated[
        Names, Meta(description="GPUs of another machine, by any usual name, as V100.")
    ] = ()
    driver: Annotated[str | None, Meta(description="Driver of another machine, as 535.")] = None
    python_version: Annotated[
        str | None, Meta(description="Python of another machine, as 3.12.")
    ] = None
    platform: Annotated[
        str | None, Meta(description="System of another machine, as linux-aarch64.")
    ] = None
    expect: Annotated[
        Literal["gpu", "cpu"] | None, Meta(description="Builds with CUDA, or without.")
    ] = None
    timeout: Seconds = 120.0


class FitsArguments(Arguments):
    """Of `fits`."""

    claim: Annotated[
        str,
        Meta(
            description="Versions in free words: `torch==2.6.0 cuda==12.1 cudnn==8.9`, "
            "`torch 2.9.1 cu130 on RTX 4090 with driver 550`.",
            min_length=1,
            max_length=2000,
        ),
    ]


class LibsArguments(Arguments):
    """Of `libs`."""

    library: Annotated[
        str | None, Meta(description="One library alone, as libcudnn.so.9, with all its details.")
    ] = None
    python: Python = None
    facts: Facts = None
    static: Static = False
    timeout: Seconds = 120.0


_SIDE = "facts file, report, text of `python -m torch.utils.collect_env`, interpreter or venv"


class DiffArguments(Arguments):
    """Of `diff`."""

    one: Annotated[str, Meta(description=f"The first side: {_SIDE}.", min_length=1)]
    other: Annotated[
        str | None, Meta(description="The second side; without it, this machine now.")
    ] = None
    python: Annotated[
        str | None, Meta(description="Interpreter of this machine to compare `one` with.")
    ] = None
    static: Static = False
    timeout: Seconds = 120.0


class RuleArguments(Arguments):
    """Of `rule`."""

    disease: Annotated[
        str,
        Meta(
            description="A code or name of a finding, as ED201 or driver-too-old, or the topic "
            "`speed`.",
            min_length=1,
            max_length=200,
        ),
    ]


class Tool(Record):
    """A tool, named as its command is. `digest` is null where the answer is a text."""

    name: str
    title: str
    about: str
    arguments: type[Arguments]
    positional: tuple[str, ...] = ()
    digest: Digest | None = None

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON Schema of the arguments, in one piece."""
        (schema,), parts = msgspec.json.schema_components([self.arguments], ref_template="{name}")
        whole = parts[schema["$ref"]]
        return {
            name: value for name, value in whole.items() if name not in ("title", "description")
        }

    def command(self, given: Arguments) -> list[str]:
        """The words after the name of the program. No value can become an option."""
        options = [] if self.digest is None else ["--json"]
        for name in given.__struct_fields__:
            if name not in self.positional:
                options += _option(name, getattr(given, name))
        places = [getattr(given, name) for name in self.positional]
        return [self.name, *options, "--", *(one for one in places if one is not None)]


def _option(name: str, value: Any) -> Sequence[str]:
    option = f"--{name.replace('_', '-')}"
    if value is None or value is False:
        return ()
    if value is True:
        return (option,)
    values = value if isinstance(value, tuple) else (value,)
    return [f"{option}={one}" for one in values]


TOOLS: dict[str, Tool] = {
    tool.name: tool
    for tool in (
        Tool(
            name="check",
            title="Diagnose PyTorch and CUDA",
            about="Find out why PyTorch or CUDA does not work in an environment of this machine: "
            "verdict, whose fault it is (machine or environment), root causes with evidence, and "
            "commands that repair them. Executes `import torch` in a child; changes nothing. Run "
            "the commands of a fix only if the user wants it, then check again.",
            arguments=CheckArguments,
            digest=of_report,
        ),
        Tool(
            name="prescribe",
            title="Which torch builds work here",
            about="The torch builds that work on this machine, or on one that you describe by gpu, "
            "driver, python_version and platform, with the commands that install them, the "
            "smallest change first. Use it before you install or change torch.",
            arguments=PrescribeArguments,
            digest=of_prescription,
        ),
        Tool(
            name="fits",
            title="Was this combination published",
            about="Whether a combination of versions (torch, CUDA, cuDNN, driver, GPU, Python ...) "
            "was ever built, part by part, and the nearest that was.",
            arguments=FitsArguments,
            positional=("claim",),
            digest=of_fit,
        ),
        Tool(
            name="libs",
            title="Which libraries torch loads",
            about="Which shared libraries torch loads, from which file, by which rule of the "
            "loader, whose they are, and what is wrong with them.",
            arguments=LibsArguments,
            positional=("library",),
            digest=of_libraries,
        ),
        Tool(
            name="diff",
            title="Why it works there and not here",
            about="How two machines or environments differ, worst first, and which difference "
            "explains the findings that only one of them has.",
            arguments=DiffArguments,
            positional=("one", "other"),
            digest=of_comparison,
        ),
        Tool(
            name="rule",
            title="The page of a disease",
            about="The page of one finding: what it means, how it is recognised and repaired.",
            arguments=RuleArguments,
            positional=("disease",),
        ),
    )
}
"""The tools by name; all of them only look."""
