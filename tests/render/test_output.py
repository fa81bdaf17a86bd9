"""The report as text for narrow terminals, and as Markdown."""

import re
from collections.abc import Callable

import pytest

from envdoctor.api import Evidence, Fix, Reason
from envdoctor.findings import Code, Severity, Verdict
from envdoctor.formats import Look
from envdoctor.outcomes import Outcome
from envdoctor.render.markdown import render_markdown
from envdoctor.render.text import render_text, render_texts
from envdoctor.report import CheckRecord, Report, ReportSet, Stack

CODE = Code(
    id="XX100",
    name="some-disease",
    family="some-disease",
    severity=Severity.ERROR,
    message="something is wrong",
    detailed="{what}",
    explains=("XX101",),
)


def report(**fields: object) -> Report:
    defaults: dict[str, object] = {
        "created_at": "2026-11-23T12:00:00+00:00",
        "target": None,
        "stack": Stack(),
        "verdict": Verdict.BROKEN,
        "exit_code": 1,
        "outcomes": (),
        "findings": (),
        "checks": (),
        "facts": {},
    }
    return Report(**{**defaults, **fields})


def test_consequences_are_nested_below_their_cause() -> None:
    cause = CODE.finding(what="the cause", fixes=(Fix(summary="do it", commands=("fix --now",)),))
    consequence = CODE.finding(subjects=("x",), what="the consequence")
    nested = type(consequence)(
        **{field: getattr(consequence, field) for field in consequence.__struct_fields__}
        | {"because": cause.id}
    )
    text = render_text(report(findings=(cause, nested)))
    lines = text.splitlines()
    assert lines[0].startswith("verdict: broken")
    assert "error[XX100] some-disease: the cause" in lines
    assert "  causes    error[XX100] some-disease: the consequence" in lines
    assert "              fix --now" in lines
    assert lines[-2:] == [
        "broken: 1 error, 1 consequence · envdoctor rule XX100",
        "  run       fix --now",
    ]


def test_long_words_are_not_broken_and_lines_fit() -> None:
    path = "/a/" + "long/" * 30 + "file.so"
    evidence = (Evidence(label="file", value=path, source="maps"),)
    finding = CODE.finding(what="word " * 60, evidence=evidence)
    text = render_text(report(findings=(finding,)))
    assert path in text
    assert all(len(line) <= 80 for line in text.splitlines() if path not in line)


def test_checks_that_could_not_look_are_named_and_others_counted() -> None:
    def skipped(name: str, reason: str, unknown: Reason | None) -> CheckRecord:
        return CheckRecord(
            name=name, topic="driver", status="skipped", codes=(), reason=reason, unknown=unknown
        )

    checks = (
        skipped("a-check", "Nvml is unknown (timed-out): late", Reason.TIMED_OUT),
        skipped("b-check", "Gpus is unknown (not-applicable): none", Reason.NOT_APPLICABLE),
        skipped("c-check", "switched off by the user", None),
    )
    text = render_text(report(verdict=Verdict.INCOMPLETE, exit_code=3, checks=checks))
    assert "    not looked for: a-check" in text
    assert "b-check" not in text
    assert "c-check" not in text
    assert text.endswith("incomplete: 0 of 3 checks ran; -v tells why the others did not\n")


def test_all_that_did_not_run_is_told_where_that_is_asked_for() -> None:
    reason = "Gpus is unknown (not-applicable): none"
    checks = (
        CheckRecord(name="b-check", topic="driver", status="skipped", codes=(), reason=reason),
    )
    assert "GPUs" not in render_text(report(checks=checks))
    assert "skipped: GPUs unknown: none" in render_text(report(checks=checks), Look(detail="full"))


def test_the_verdict_and_what_to_do_alone() -> None:
    """The cause on one line, however long it is."""
    what = "word " * 40 + "end"
    finding = CODE.finding(what=what, fixes=(Fix(summary="do it", commands=("fix --now",)),))
    text = render_text(report(findings=(finding,)), Look(detail="brief", width=60))
    assert text.splitlines() == [
        "broken: 1 error · envdoctor rule XX100",
        f"  cause     {finding.message}",
        "  run       fix --now",
    ]


@pytest.mark.parametrize(
    ("reason", "why"),
    [
        (
            "Nvml is unknown (timed-out): no answer within 20 s",
            "NVML unknown: no answer within 20 s",
        ),
        ("Nvml is unknown (not-applicable): NVML: gone", "NVML unknown: gone"),
        ("TorchRuntime is unknown (switched-off): ", "torch runtime unknown: switched-off"),
        (
            "Calibration is unknown (not-observed): no probe observed Calibration",
            "speed not measured (`envdoctor calibrate` does)",
        ),
        ("left out by --skip", "left out by --skip"),
    ],
)
def test_why_a_check_did_not_run_is_said_without_names_of_the_program(
    reason: str, why: str
) -> None:
    check = CheckRecord(name="a", topic="driver", status="skipped", codes=(), reason=reason)
    assert check.why == why


def test_the_width_of_the_terminal_is_used() -> None:
    finding = CODE.finding(what="word " * 60)
    for width in (40, 80, 120):
        lines = render_text(report(findings=(finding,)), Look(width=width)).splitlines()
        assert width - 10 < max(map(len, lines)) <= width


def test_several_targets_end_with_their_verdicts() -> None:
    one = report(findings=(CODE.finding(what="x"),))
    text = render_texts(ReportSet(reports=(one, report()), exit_code=1))
    assert text.count("target: ") == 2
    assert text.splitlines()[-3:][0] == "2 targets"


@pytest.mark.parametrize("render", [render_text, render_markdown])
def test_every_format_says_the_verdict_in_the_same_words(render: Callable[[Report], str]) -> None:
    works = Outcome(action="import", subject="torch", state="works")
    partly = report(outcomes=(works,), findings=(CODE.finding(what="x"),))
    assert "PyTorch works here only in part" in render(partly)
    assert "PyTorch does not work here" in render(report(findings=(CODE.finding(what="x"),)))
    held = (Outcome(action="hold", subject="a.lock", state="works"),)
    one = report(outcomes=held, findings=(CODE.finding(what="x"),))
    assert "PyTorch does not work here" in render(one)


def test_colour_carries_no_meaning() -> None:
    finding = CODE.finding(what="something")
    plain = render_text(report(findings=(finding,)))
    coloured = render_text(report(findings=(finding,)), Look(colour=True))
    assert "\x1b[" in coloured
    assert re.sub("\x1b\\[[0-9;]*m", "", coloured) == plain


def test_markdown_takes_no_text_for_markup() -> None:
    finding = CODE.finding(what="`/home/<user-1>/x` is not <token> & <b>bold</b>")
    text = render_markdown(report(findings=(finding,)))
    assert "`/home/<user-1>/x` is not &lt;token> &amp; &lt;b>bold&lt;/b>\n" in text
