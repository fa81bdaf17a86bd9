"""What is written: redaction of values and never of keys, and text for narrow terminals."""

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envdoctor.api import Evidence, Fix, Reason
from envdoctor.findings import Code, Severity, Verdict
from envdoctor.outcomes import Outcome
from envdoctor.redact import redact_values, redactor
from envdoctor.render.json import render_json
from envdoctor.render.markdown import render_markdown
from envdoctor.render.text import render_text
from envdoctor.report import CheckRecord, Report, Stack

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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/home/ann/.venv/bin/python", "~/.venv/bin/python"),
        ("/home/ann", "~"),
        ("`/home/ann`: no", "`~`: no"),
        ("PATH=/usr/bin:/home/ann/bin", "PATH=/usr/bin:~/bin"),
        ("/home/anna/x", "/home/anna/x"),
        ("/data/home/ann/x", "/data/home/ann/x"),
        ("https://user:pw@host/simple", "https://<credentials>@host/simple"),
        ("token hf_abcdefghijklmnopqrst!", "token <token>!"),
        ("AKIAABCDEFGHIJKLMNOP", "<token>"),
        ("libcudart.so.12", "libcudart.so.12"),
    ],
)
def test_what_identifies_is_shortened(text: str, expected: str) -> None:
    assert redactor("/home/ann")(text) == expected


def test_a_home_of_root_shortens_nothing() -> None:
    assert redactor("/")("/usr/lib") == "/usr/lib"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_keys_and_shape_survive_redaction(value: object) -> None:
    def keys(node: object) -> object:
        if isinstance(node, dict):
            return {key: keys(item) for key, item in node.items()}
        return [keys(item) for item in node] if isinstance(node, list) else type(node)

    assert keys(redact_values(value, redactor("/home/ann"))) == keys(value)


def test_keys_that_look_like_secrets_stay_keys() -> None:
    data = json.loads(render_json({"/home/ann": "/home/ann"}, redactor("/home/ann")))
    assert data == {"/home/ann": "~"}


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
    assert "  and so    error[XX100] some-disease: the consequence" in lines
    assert "              fix --now" in lines


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
    assert "checks: 0 of 3 ran" in text


@pytest.mark.parametrize("render", [render_text, render_markdown])
def test_every_format_says_the_verdict_in_the_same_words(render: Callable[[Report], str]) -> None:
    works = Outcome(action="import", subject="torch", state="works")
    partly = report(outcomes=(works,), findings=(CODE.finding(what="x"),))
    assert "PyTorch works here only in part" in render(partly)
    assert "PyTorch does not work here" in render(report(findings=(CODE.finding(what="x"),)))


def test_colour_carries_no_meaning() -> None:
    finding = CODE.finding(what="something")
    plain = render_text(report(findings=(finding,)))
    coloured = render_text(report(findings=(finding,)), colour=True)
    assert "\x1b[" in coloured
    for code in ("\x1b[1;31m", "\x1b[0m"):
        coloured = coloured.replace(code, "")
    assert coloured == plain
