"""What the screens look like, as plain text at three sizes, read by a person.

`pytest tests/tui --write-goldens` writes them anew.
"""

from collections.abc import Iterable

import msgspec
import pytest
from textual.pilot import Pilot

from envdoctor.api import Driver, Gpus, Observed, Snapshot, TorchBuild, TorchRuntime
from envdoctor.facts import Fact
from envdoctor.facts.documents import facts_from_builtins
from envdoctor.report import Report, stack_of
from tests.tui import machines
from tests.tui.recorded import RecordedModel
from tests.tui.screen_text import GOLDEN, SIZES, check_golden, play, press, screen_text

VIEWS = {
    "overview": (),
    "findings": ("2",),
    "detail": ("enter",),
    "libraries": ("escape", "3"),
    "calibration": ("escape", "4"),
}
"""The keys from each view to the next one."""

SHOWN = {
    "healthy_cpu": ("overview", "findings", "detail"),
    "broken_driver": ("overview", "findings", "detail"),
    "missing_libcudart": ("overview", "findings", "detail", "libraries"),
    "two_gpus": ("overview", "findings", "detail", "calibration"),
    "driver_silent": ("overview", "findings"),
    "import_hangs": ("overview", "findings", "detail"),
}
"""The views of each machine that have something to show."""


def looks(report: Report, size: str, views: Iterable[str]) -> dict[str, str]:
    """The screens of the views, in one run."""
    seen: dict[str, str] = {}

    async def steps(pilot: Pilot[int]) -> None:
        for view in views:
            await press(pilot, *VIEWS[view])
            seen[view] = screen_text(pilot.app)

    play(RecordedModel(report), steps, SIZES[size])
    return seen


@pytest.mark.parametrize("machine", machines.MACHINES)
def test_recorded_reports_are_what_the_builder_makes(machine: str) -> None:
    """But for fields that facts have got since, whose defaults both mean."""
    recorded, built = machines.read(machine), machines.MACHINES[machine]()
    facts, built_facts = facts_of(recorded), facts_of(built)
    assert facts == built_facts
    for name in ("target", "stack", "verdict", "exit_code", "findings", "checks"):
        assert getattr(recorded, name) == getattr(built, name)


def facts_of(report: Report) -> dict[type[Fact], object]:
    kinds = [one for one in Fact.__subclasses__() if one.__name__ in report.facts]
    return dict(facts_from_builtins(report.facts, kinds).items())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("machine", machines.MACHINES)
def test_screens(machine: str, size: str, write_goldens: bool) -> None:
    for view, seen in looks(machines.read(machine), size, SHOWN[machine]).items():
        check_golden(f"{machine}-{view}-{size}", seen, write=write_goldens)


def with_fact(report: Report, kind: type[Fact], **changed: object) -> Report:
    """The report of a machine on which one fact is another; findings stay as they are."""
    kinds = (kind, *(one for one in (Driver, Gpus, TorchBuild, TorchRuntime) if one is not kind))
    snapshot = facts_from_builtins(report.facts, kinds)
    value = snapshot.value(kind)
    assert value is not None
    other = Observed(value=msgspec.structs.replace(value, **changed), source="made by hand")
    broken: Snapshot = snapshot.with_facts({kind: other})
    before, after = stack_of(snapshot), stack_of(broken)
    changes = {
        name: getattr(after, name)
        for name in after.__struct_fields__
        if getattr(after, name) != getattr(before, name)
    }
    assert changes
    stack = msgspec.structs.replace(report.stack, **changes)
    return msgspec.structs.replace(report, stack=stack)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("machine", "kind", "changed"),
    [
        ("healthy_cpu", TorchRuntime, {"version": "2.12.0+cpu"}),
        ("broken_driver", Driver, {"release": "470.82.02"}),
        ("missing_libcudart", TorchBuild, {"cuda": "12.3"}),
        ("two_gpus", Gpus, {"devices": ()}),
    ],
)
def test_one_other_fact_changes_the_screen(
    machine: str, kind: type[Fact], changed: dict[str, object], size: str
) -> None:
    golden = GOLDEN / f"{machine}-overview-{size}.txt"
    report = with_fact(machines.read(machine), kind, **changed)
    seen = looks(report, size, ["overview"])["overview"]
    assert seen.splitlines() != golden.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("machine", ["broken_driver", "missing_libcudart"])
def test_the_findings_screen_changes_with_its_findings(machine: str) -> None:
    report = machines.read(machine)
    without_root = msgspec.structs.replace(report, findings=report.findings[1:])
    golden = GOLDEN / f"{machine}-findings-80x24.txt"
    seen = looks(without_root, "80x24", ["overview", "findings"])["findings"]
    assert seen.splitlines() != golden.read_text(encoding="utf-8").splitlines()
