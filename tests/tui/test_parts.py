"""The pure parts: groups, ASCII, terminal, summary, state."""

import io
import os
import string
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from envdoctor.events import ProbeEvent
from envdoctor.knowledge import load
from envdoctor.probes.context import context_of
from envdoctor.probes.run import Children
from envdoctor.report import ExaminedTarget, Report
from envdoctor.tui.ascii import to_ascii
from envdoctor.tui.contract import ExaminationStarted, ProbeChanged, ReportReady
from envdoctor.tui.files import saved_files
from envdoctor.tui.grouping import (
    Fate,
    Wanted,
    fate_of,
    group_findings,
    passed_checks,
    unrun_checks,
)
from envdoctor.tui.prediction import forecasts
from envdoctor.tui.screens.target import target_line
from envdoctor.tui.state import State, after
from envdoctor.tui.summary import printable, summary
from envdoctor.tui.targets import targets_of_machine
from envdoctor.tui.terminal import shows_unicode, why_not
from envdoctor.tui.widgets.banner import title
from envdoctor.tui.widgets.status_bar import probe_line
from envdoctor.tui.widgets.what_if import ordered
from tests.tui import machines


def test_groups_keep_causes_above_consequences() -> None:
    groups = group_findings(machines.read("broken_driver"), Wanted())
    assert [group.topic for group in groups] == ["driver", "container"]
    assert [group.topic for group in groups] == [one.findings[0].topic for one in groups]
    assert [one.code for one in groups[0].findings] == ["ED201", "ED212", "ED411"]


def test_a_cause_stays_when_only_its_consequence_matches() -> None:
    groups = group_findings(machines.read("broken_driver"), Wanted(text="CUINIT system"))
    assert [one.code for one in groups[0].findings] == ["ED201", "ED212"]


def test_every_check_is_found_passed_or_unrun() -> None:
    report = machines.read("broken_driver")
    found = {one.code for one in report.findings}
    passed = {check.name for check in passed_checks(report, Wanted())}
    unrun = {check.name for checks in unrun_checks(report, Wanted()).values() for check in checks}
    firing = {check.name for check in report.checks if found.intersection(check.codes)}
    assert passed | unrun | firing == {check.name for check in report.checks}
    assert not passed & unrun
    assert not passed & firing


def skipped(report: Report, check: str) -> Report:
    checks = tuple(
        msgspec.structs.replace(one, status="skipped", reason="no answer in time")
        if one.name == check
        else one
        for one in report.checks
    )
    return msgspec.structs.replace(report, checks=checks)


def of_target(report: Report, path: str) -> Report:
    target = ExaminedTarget(path=path, chosen_because="by hand")
    return msgspec.structs.replace(report, target=target)


def test_a_finding_is_gone_only_if_its_check_looked_again_at_the_same_target() -> None:
    broken = machines.read("broken_driver")
    nothing = msgspec.structs.replace(broken, findings=())
    before = ReportReady(report=broken, final=True)
    fates = {
        Fate.THERE: ReportReady(report=broken, final=True),
        Fate.GONE: ReportReady(report=nothing, final=True),
        Fate.UNSEEN: ReportReady(report=skipped(nothing, "driver-too-old"), final=True),
        Fate.ELSEWHERE: ReportReady(report=of_target(nothing, "/other/python"), final=True),
    }
    for fate, now in fates.items():
        assert fate_of(broken.findings[0], before, now) is fate
    elsewhere = ReportReady(report=nothing, final=True, source="other.json")
    assert fate_of(broken.findings[0], before, elsewhere) is Fate.ELSEWHERE


@pytest.mark.parametrize(
    ("state", "fate"),
    [("works", Fate.GONE), ("fails", Fate.THERE), ("unseen", Fate.UNSEEN)],
)
def test_what_was_seen_to_fail_is_fixed_when_it_works(state: str, fate: Fate) -> None:
    """The findings of the outcomes themselves are no check's."""
    broken = machines.read("import_hangs")
    checks = tuple(one for one in broken.checks if "ED403" not in one.codes)
    finding = next(one for one in broken.findings if one.code == "ED403")
    now = msgspec.structs.replace(
        broken,
        findings=(),
        checks=checks,
        outcomes=tuple(msgspec.structs.replace(one, state=state) for one in broken.outcomes),
    )
    before = ReportReady(report=broken, final=True)
    assert fate_of(finding, before, ReportReady(report=now, final=True)) is fate


@given(st.text())
def test_ascii_keeps_every_width(text: str) -> None:
    plain = to_ascii(text)
    assert plain.isascii()
    if all(cell_len(char) for char in text):
        assert cell_len(plain) == cell_len(text)


def test_ascii_leaves_escape_sequences_alone() -> None:
    assert to_ascii("\x1b[1;31m✗\x1b[0m") == "\x1b[1;31mX\x1b[0m"
    assert to_ascii(string.printable) == string.printable


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("env", "shown"),
    [
        ({"TERM": "xterm-256color"}, True),
        ({"TERM": "tmux-256color", "NO_COLOR": ""}, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, True),
        ({"TERM": "dumb"}, False),
        ({}, False),
    ],
)
def test_when_the_tui_is_shown(env: dict[str, str], shown: bool) -> None:
    assert bool(why_not(env, (Terminal(), Terminal(), Terminal()))) is not shown
    assert why_not(env, (Terminal(), io.StringIO(), Terminal()))
    assert why_not(env, (io.StringIO(), Terminal(), Terminal()))
    assert why_not(env, (Terminal(), Terminal(), io.StringIO()))


@pytest.mark.parametrize(
    ("env", "encoding", "shown"),
    [
        ({"LANG": "en_US.UTF-8"}, "utf-8", True),
        ({"LANG": "de_DE.utf8@euro"}, "utf-8", True),
        ({}, "utf-8", True),
        ({"LC_ALL": "C", "LANG": "en_US.UTF-8"}, "utf-8", False),
        ({"LANG": "POSIX"}, "utf-8", False),
        ({"LANG": "C.UTF-8"}, "utf-8", True),
        ({"LANG": "en_US.ISO-8859-1"}, "utf-8", False),
        ({"LANG": "en_US.UTF-8"}, "ascii", False),
        ({"LANG": "en_US.UTF-8", "TERM": "linux"}, "utf-8", False),
    ],
)
def test_when_the_terminal_shows_unicode(env: dict[str, str], encoding: str, shown: bool) -> None:
    assert shows_unicode(env, encoding) is shown


def test_summary_names_the_cause_and_its_fix() -> None:
    text = summary(machines.read("broken_driver"), final=True)
    assert text.startswith("envdoctor: broken - PyTorch works here only in part\n")
    assert "error[ED201] driver-too-old" in text
    assert "sudo apt install nvidia-driver-535-server" in text
    assert "ED212" not in text
    assert text.isascii()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "no-such", None])
def test_summary_fits_any_stream(encoding: str | None) -> None:
    text = "  ✗ 12 µs … 東京\n"
    assert printable(text, encoding) == "  X 12 us . ????\n"
    assert printable(text, "utf-8") == text
    assert printable("12 µs\n", "latin-1") == "12 µs\n"


def test_summary_of_nothing_and_of_a_part() -> None:
    assert "before anything" in summary(None, final=False)
    partial = summary(machines.read("healthy_cpu"), final=False)
    assert "before the examination ended" in partial
    assert "healthy" not in partial


def test_summary_has_the_measured_rates() -> None:
    assert "cuda:0 fp16: 2,000 images/s" in summary(machines.read("two_gpus"), final=True)


def probe(state: str, **more: object) -> ProbeChanged:
    return ProbeChanged(event=ProbeEvent(probe="driver", state=state, **more))  # type: ignore[arg-type]


def test_a_probe_that_starts_twice_keeps_its_first_time() -> None:
    state = after(State(), probe("started", slow_because="it is far away"))
    again = after(state, probe("started"))
    assert again.probes[0].since == state.probes[0].since
    assert again.probes[0].slow_because == "it is far away"


def test_a_slow_probe_says_why_only_when_it_is_slow() -> None:
    running = after(State(), probe("started", slow_because="it is far away")).probes[0]
    assert "far away" not in probe_line(running, running.since + 0.5).plain
    assert "driver 3.0 s  it is far away" in probe_line(running, running.since + 3.0).plain


def test_a_new_examination_forgets_the_probes() -> None:
    state = after(State(), probe("finished", seconds=1.0))
    assert after(state, ExaminationStarted(what="x")).probes == ()


def test_targets_are_found_in_the_folder_and_listed_once(tmp_path: Path) -> None:
    for name in ("a", "b"):
        folder = tmp_path / name / "bin"
        folder.mkdir(parents=True)
        (folder / "python").symlink_to(sys.executable)
        (folder.parent / "pyvenv.cfg").touch()
    torch = tmp_path / "b" / "lib" / "python3.11" / "site-packages" / "torch"
    torch.mkdir(parents=True)
    (torch / "version.py").touch()
    env = {"VIRTUAL_ENV": str(tmp_path / "b"), "HOME": str(tmp_path), "PATH": ""}
    here = context_of(Children(), env=env, cwd=str(tmp_path))
    found = targets_of_machine(here, sys.executable)
    assert [(one.origin, one.torch_on_disk) for one in found[:1]] == [("VIRTUAL_ENV", True)]
    assert [one.path for one in found].count(str(tmp_path / "b" / "bin" / "python")) == 1
    assert ("./a", None) in [(one.origin, one.torch_on_disk) for one in found]


def test_what_cannot_be_looked_into_is_listed_and_not_called_empty(tmp_path: Path) -> None:
    """Through a link to itself, which nobody can follow, root neither; a closed folder is the same
    to others."""
    for name in ("closed", "half"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "pyvenv.cfg").touch()
    (tmp_path / "closed" / "bin").symlink_to("bin")
    packages = tmp_path / "half" / "lib" / "python3.11" / "site-packages"
    packages.mkdir(parents=True)
    (packages / "torch").symlink_to("torch")
    (tmp_path / "half" / "bin").mkdir()
    (tmp_path / "half" / "bin" / "python").symlink_to(sys.executable)
    here = context_of(Children(), env={"HOME": str(tmp_path), "PATH": ""}, cwd=str(tmp_path))
    found = {one.origin: one for one in targets_of_machine(here, sys.executable)}
    assert (found["./closed"].problem, found["./closed"].torch_on_disk) == ("not-executable", None)
    assert (found["./half"].problem, found["./half"].torch_on_disk) == (None, None)
    assert target_line(found["./closed"]).endswith("(./closed, closed to this user)")


def test_saved_files_are_listed_newest_first_whatever_lies_beside_them(tmp_path: Path) -> None:
    for number, name in enumerate(("old.json", "new.json", "notes.txt")):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (number, number))
    (tmp_path / "dangling.json").symlink_to(tmp_path / "nowhere")
    assert saved_files(tmp_path) == ("new.json", "old.json")
    assert saved_files(tmp_path / "nowhere") == ()


def test_the_banner_says_whose_fault_it_is() -> None:
    broken = msgspec.structs.replace(machines.read("broken_driver"), fault="machine")
    assert title(State(report=broken, final=True)).endswith("; the cause lies in the machine")


def test_the_table_of_gpus_is_ordered_by_speed_memory_and_name() -> None:
    knowledge = load()
    names = ("L4", "H100 SXM5 80 GB", "Tesla T4")
    rows = forecasts(tuple(m.model for m in knowledge.gpus if m.model in names), None, knowledge)
    assert len(rows) >= 2
    rates = [one.images_per_s.median for one in ordered(rows, 1) if one.images_per_s]
    assert rates == sorted(rates, reverse=True)
    memory = [one.memory_gb or 0 for one in ordered(rows, 2)]
    assert memory == sorted(memory, reverse=True)
    assert [one.gpu for one in ordered(rows, 3)] == sorted(one.gpu for one in rows)
    assert {one.ratio for one in rows} == {None}
