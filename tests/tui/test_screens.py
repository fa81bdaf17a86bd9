"""What the screens look like, as plain text at three sizes, read by a person.

`pytest tests/tui --write-goldens` writes them anew.
"""

from collections.abc import Iterable

import msgspec
import pytest
from textual.pilot import Pilot

from envdoctor.api import Driver, Fact, Gpu, Gpus, Observed, TorchBuild, TorchRuntime
from envdoctor.derived import observed_types_of
from envdoctor.facts.documents import facts_from_builtins
from envdoctor.report import Report, stack_of
from tests.support.diagnosis import loaded
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


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("machine", machines.MACHINES)
def test_screens(machine: str, size: str, write_goldens: bool) -> None:
    for view, seen in looks(machines.read(machine), size, SHOWN[machine]).items():
        check_golden(f"{machine}-{view}-{size}", seen, write=write_goldens)


def with_fact(report: Report, kind: type[Fact], **changed: object) -> Report:
    """The report of a machine on which one fact is another; findings stay as they are."""
    snapshot = machines.derived(facts_from_builtins(report.facts, observed_types_of(loaded())))
    value = snapshot.value(kind)
    assert value is not None
    other = Observed(value=msgspec.structs.replace(value, **changed), source="made by hand")
    broken = machines.derived(snapshot.with_facts({kind: other}))
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
        ("two_gpus", Gpus, {"devices": (Gpu(index=0, name="another"),)}),
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
