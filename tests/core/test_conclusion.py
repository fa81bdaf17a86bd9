"""From findings and outcomes to the answer: what is merged, what weighs how much, the causes."""

from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from envdoctor.api import Code, Confidence, Evidence, Finding, Fix, Layer, Reason, Severity
from envdoctor.conclusion import conclude, fault_of, merge, rank, verdict_of, weigh
from envdoctor.findings import Verdict, exit_code_of
from envdoctor.outcomes import Outcome

ERROR, WARNING, INFO = Severity.ERROR, Severity.WARNING, Severity.INFO


def code(
    number: int,
    severity: Severity = ERROR,
    *,
    layer: Layer = Layer.FIRST_USE,
    breaks: str | None = None,
    explains: tuple[str, ...] = (),
    detailed: str = "",
) -> Code:
    return Code(
        id=f"ED9{number:02}",
        name=f"disease-{number}",
        family=f"disease-{number}",
        severity=severity,
        layer=layer,
        breaks=breaks,
        explains=explains,
        message="something is wrong",
        detailed=detailed,
    )


def outcome(subject: str = "gpu:0", state: str = "fails", **more: Any) -> Outcome:
    return Outcome(action="compute", subject=subject, state=state, **more)  # type: ignore[arg-type]


def torch_import(state: str, **more: Any) -> Outcome:
    return Outcome(action="import", subject="torch", state=state, **more)  # type: ignore[arg-type]


def shown(findings: Iterable[Finding]) -> list[tuple[str, str | None]]:
    return [(finding.id, finding.because) for finding in findings]


# --- equal findings are one ---

HOT = code(1, WARNING, breaks="compute:gpu", detailed="{subjects}: {celsius} degrees")


COLD = code(5, WARNING, detailed="{subjects}: {celsius} degrees")


def hot(gpu: int, celsius: int = 90) -> Finding:
    return HOT.finding(
        subjects=(f"gpu:{gpu}",),
        celsius=celsius,
        evidence=(Evidence(label="NVML", value=f"GPU {gpu}", source="NVML"),),
    )


def test_findings_that_are_equal_for_eight_gpus_are_one_about_eight() -> None:
    (one,) = merge(map(hot, range(8)), {HOT.id: HOT})
    assert one.subjects == tuple(f"gpu:{number}" for number in range(8))
    assert one.breaks == tuple(f"compute:gpu:{number}" for number in range(8))
    assert one.message == "8 GPUs: 90 degrees"
    assert len(one.evidence) == 8


def test_few_gpus_are_named() -> None:
    (one,) = merge([hot(0), hot(2), hot(5)], {HOT.id: HOT})
    assert one.message == "GPUs 0, 2 and 5: 90 degrees"


def test_findings_that_differ_stay_apart() -> None:
    milder = HOT.finding(subjects=("gpu:2",), severity=INFO, celsius=90)
    likely = HOT.finding(subjects=("gpu:3",), confidence=Confidence.LIKELY, celsius=90)
    found = [hot(0), hot(1, celsius=91), milder, likely]
    assert merge(found, {HOT.id: HOT}) == tuple(found)


def test_a_finding_is_not_lost_because_its_code_is_not_known() -> None:
    assert len(merge([hot(0), hot(1)], {})) == 2


def test_what_is_said_twice_is_said_once() -> None:
    assert merge([hot(0), hot(0)], {HOT.id: HOT}) == (hot(0),)


def test_two_gpus_that_are_lost_in_two_ways_have_a_cause_each() -> None:
    lost = code(70, layer=Layer.NVML, breaks="compute:gpu").finding(subjects=("gpu:12",))
    sliced = code(71, layer=Layer.NVML, breaks="compute:gpu").finding(subjects=("gpu:9",))
    unlisted = code(72, breaks="compute:gpu", detailed="torch does not list {subjects}")
    found = (*(unlisted.finding(subjects=(f"gpu:{gpu}",)) for gpu in (9, 12)), lost, sliced)
    codes = [code(one, layer=Layer.NVML, breaks="compute:gpu") for one in (70, 71)]
    outcomes = (outcome("gpu:9", wanted="optional"), outcome("gpu:12"))
    ranked, _ = conclude(found, outcomes, [*codes, unlisted])
    assert shown(ranked) == [
        (lost.id, None),
        ("ED972:gpu:12", lost.id),
        (sliced.id, None),
        ("ED972:gpu:9", sliced.id),
    ]
    assert [one.severity for one in ranked] == [ERROR, ERROR, WARNING, WARNING]


def test_commands_of_equal_repairs_come_together_and_gpus_in_their_order() -> None:
    def cold(gpu: int) -> Finding:
        fix = Fix(summary="warm it", commands=(f"warm {gpu}",))
        return COLD.finding(subjects=(f"gpu:{gpu}",), fixes=(fix,), celsius=gpu % 2)

    ranked, _ = conclude(map(cold, (2, 10, 3, 4)), (), [COLD])
    assert [one.subjects for one in ranked] == [("gpu:2", "gpu:10", "gpu:4"), ("gpu:3",)]
    assert [one.fixes for one in ranked] == [
        (Fix(summary="warm it", commands=("warm 2", "warm 10", "warm 4")),),
        (Fix(summary="warm it", commands=("warm 3",)),),
    ]
    apart, _ = conclude((hot(10, 1), hot(2, 2)), (), [HOT])
    assert [one.subjects for one in apart] == [("gpu:2",), ("gpu:10",)]


# --- no finding weighs more than the outcomes that it breaks allow ---

GPU_BROKEN = code(2, layer=Layer.KERNEL_MODULE, breaks="compute:gpu")
LIBRARY_GONE = code(3, layer=Layer.LIBRARIES, breaks="compute:gpu")
IMPORT_BROKEN = code(4, layer=Layer.FILES, breaks="import:torch")


@pytest.mark.parametrize(
    ("found", "outcomes", "severity"),
    [
        pytest.param(GPU_BROKEN, [outcome(state="fails")], ERROR, id="it fails"),
        pytest.param(GPU_BROKEN, [outcome(state="works")], INFO, id="it works all the same"),
        pytest.param(
            GPU_BROKEN,
            [outcome(state="works"), outcome("gpu:1", state="fails")],
            ERROR,
            id="one GPU works and another that is wanted fails",
        ),
        pytest.param(
            GPU_BROKEN,
            [outcome(state="works"), outcome("gpu:1", state="fails", wanted="optional")],
            WARNING,
            id="the GPU that fails is a spare one",
        ),
        pytest.param(GPU_BROKEN, [outcome(state="unseen")], ERROR, id="nobody looked"),
        pytest.param(
            GPU_BROKEN,
            [outcome("gpu", state="unseen", wanted="unknown")],
            ERROR,
            id="nobody knows whether a GPU is wanted",
        ),
        pytest.param(
            GPU_BROKEN,
            [outcome("gpu", state="unseen", wanted="elsewhere")],
            INFO,
            id="the driver here says nothing of the machine that is meant",
        ),
        pytest.param(
            LIBRARY_GONE,
            [outcome("gpu", state="unseen", wanted="elsewhere")],
            ERROR,
            id="what the build lacks it lacks on any machine",
        ),
        pytest.param(GPU_BROKEN, [outcome("cpu", state="works")], INFO, id="no GPU is wanted"),
        pytest.param(IMPORT_BROKEN, [torch_import("works")], INFO, id="torch imports all the same"),
        pytest.param(IMPORT_BROKEN, [torch_import("fails")], ERROR, id="torch does not import"),
        pytest.param(
            code(5, breaks="distributed"), [torch_import("works")], WARNING, id="nobody asked"
        ),
        pytest.param(code(6), [torch_import("works")], ERROR, id="a plugin's code breaks nothing"),
        pytest.param(
            code(7, INFO, breaks="compute:gpu"), [outcome(state="fails")], INFO, id="never louder"
        ),
    ],
)
def test_an_error_is_one_only_where_an_outcome_allows_it(
    found: Code, outcomes: list[Outcome], severity: Severity
) -> None:
    assert weigh(found.finding(), tuple(outcomes)).severity is severity


def test_elsewhere_only_what_is_certain_is_an_error() -> None:
    elsewhere = (outcome("gpu", state="unseen", wanted="elsewhere"),)
    likely = LIBRARY_GONE.finding(confidence=Confidence.LIKELY)
    assert weigh(likely, elsewhere).severity is WARNING


def test_a_finding_that_is_weighed_down_says_that_it_works_all_the_same() -> None:
    working = (outcome("gpu:0", "works"), outcome("gpu:1", "works"))
    weighed = weigh(GPU_BROKEN.finding(), working)
    (note,) = weighed.notes
    assert "works all the same" in note or "work all the same" in note
    assert weigh(weighed, working) == weighed


def test_a_finding_about_one_gpu_is_judged_by_that_gpu() -> None:
    outcomes = (outcome("gpu:1", "works"), outcome("gpu:10", "fails"))
    assert weigh(GPU_BROKEN.finding(subjects=("gpu:1",)), outcomes).severity is INFO
    assert weigh(GPU_BROKEN.finding(subjects=("gpu:10",)), outcomes).severity is ERROR


def test_a_finding_about_gpus_breaks_the_gpu_that_no_layer_names() -> None:
    unnamed = (outcome("gpu", "fails"),)
    assert weigh(GPU_BROKEN.finding(subjects=("gpu:0",)), unnamed).severity is ERROR


# --- what could not be seen and is certain ---


def test_an_error_predicts_the_outcome_that_could_not_be_seen() -> None:
    (finding,), (predicted,) = conclude([IMPORT_BROKEN.finding()], (torch_import("unseen"),), ())
    assert (predicted.state, predicted.basis) == ("fails", "predicted")
    assert (predicted.source, predicted.detail) == (finding.id, finding.message)


@pytest.mark.parametrize(
    "other",
    [
        torch_import("works"),
        torch_import("unseen", wanted="optional"),
        outcome("gpu", "unseen", wanted="elsewhere"),
        outcome("cpu", "unseen"),
    ],
)
def test_nothing_else_is_predicted(other: Outcome) -> None:
    _, outcomes = conclude([IMPORT_BROKEN.finding()], (other,), ())
    assert outcomes == (other,)


# --- the verdict and the exit code ---

OK = torch_import("works")


@pytest.mark.parametrize(
    ("severities", "outcomes", "narrowed", "verdict", "exit_codes"),
    [
        ((), (OK,), False, Verdict.HEALTHY, (0, 0)),
        ((INFO,), (OK,), False, Verdict.HEALTHY, (0, 0)),
        ((), (OK,), True, Verdict.UNPROVEN, (0, 0)),
        ((), (torch_import("unseen", reason=Reason.SWITCHED_OFF),), 0, Verdict.UNPROVEN, (0, 0)),
        ((), (torch_import("unseen", reason=Reason.NOT_OBSERVED),), 0, Verdict.INCOMPLETE, (3, 3)),
        ((), (torch_import("unseen", reason=Reason.TIMED_OUT),), True, Verdict.INCOMPLETE, (3, 3)),
        ((), (outcome("gpu", "unseen", wanted="elsewhere"),), False, Verdict.HEALTHY, (0, 0)),
        (
            (),
            (outcome("gpu", "unseen", wanted="unknown", reason=Reason.NOT_OBSERVED),),
            False,
            Verdict.INCOMPLETE,
            (3, 3),
        ),
        ((WARNING,), (OK,), False, Verdict.DEGRADED, (0, 1)),
        ((WARNING,), (OK,), True, Verdict.DEGRADED, (0, 1)),
        (
            (WARNING,),
            (torch_import("unseen", reason=Reason.CRASHED),),
            False,
            Verdict.INCOMPLETE,
            (3, 1),
        ),
        (
            (ERROR, INFO),
            (torch_import("unseen", reason=Reason.CRASHED),),
            False,
            Verdict.BROKEN,
            (1, 1),
        ),
    ],
)
def test_the_verdict_and_the_exit_code(
    severities: tuple[Severity, ...],
    outcomes: tuple[Outcome, ...],
    narrowed: bool,
    verdict: Verdict,
    exit_codes: tuple[int, int],
) -> None:
    findings = tuple(code(n, severity).finding() for n, severity in enumerate(severities))
    assert verdict_of(findings, outcomes, narrowed=bool(narrowed)) is verdict
    failing_on = (exit_code_of(findings, verdict, fail_on=one) for one in (ERROR, WARNING))
    assert tuple(failing_on) == exit_codes


# --- cause and consequence ---


def test_the_lowest_of_what_breaks_one_outcome_is_the_cause_of_the_rest() -> None:
    driver = code(1, layer=Layer.KERNEL_MODULE, breaks="compute:gpu").finding()
    init = code(2, layer=Layer.CUDA_INIT, breaks="compute:gpu").finding()
    use = code(3, layer=Layer.FIRST_USE, breaks="compute:gpu").finding(subjects=("gpu:0",))
    other = code(4, WARNING, layer=Layer.SPEED).finding()
    assert shown(rank([use, other, init, driver], ())) == [
        ("ED901", None),
        ("ED902", "ED901"),
        ("ED903:gpu:0", "ED901"),
        ("ED904", None),
    ]


def test_what_keeps_torch_from_being_imported_explains_all_that_rests_on_it() -> None:
    damaged = code(1, layer=Layer.FILES, breaks="import:torch").finding()
    vision = code(2, layer=Layer.IMPORT, breaks="import:torchvision").finding()
    gpu = code(3, layer=Layer.FIRST_USE, breaks="compute:gpu").finding()
    assert shown(rank([gpu, vision, damaged], ())) == [
        ("ED901", None),
        ("ED902", "ED901"),
        ("ED903", "ED901"),
    ]


def test_the_fault_of_one_gpu_is_not_the_cause_of_anothers() -> None:
    low = code(1, layer=Layer.NVML, breaks="compute:gpu").finding(subjects=("gpu:0",))
    high = code(2, layer=Layer.FIRST_USE, breaks="compute:gpu").finding(subjects=("gpu:1",))
    assert {because for _, because in shown(rank([low, high], ()))} == {None}


def test_the_fault_of_one_gpu_is_not_the_cause_of_what_two_have() -> None:
    low = code(1, layer=Layer.NVML, breaks="compute:gpu").finding(subjects=("gpu:0",))
    high = code(2, layer=Layer.FIRST_USE, breaks="compute:gpu").finding(subjects=("gpu:0", "gpu:1"))
    assert {because for _, because in shown(rank([low, high], ()))} == {None}


def test_what_breaks_only_the_gpu_does_not_explain_the_import() -> None:
    driver = code(1, layer=Layer.KERNEL_MODULE, breaks="compute:gpu").finding()
    failed = code(2, layer=Layer.IMPORT, breaks="import:torch").finding()
    assert {because for _, because in shown(rank([driver, failed], ()))} == {None}


def test_what_works_all_the_same_is_not_the_cause_of_anything() -> None:
    damaged = code(1, layer=Layer.FILES, breaks="import:torch").finding()
    slow = code(2, WARNING, layer=Layer.BUILD, breaks="compile").finding()
    findings, _ = conclude([damaged, slow], (torch_import("works"),), ())
    assert shown(findings) == [("ED902", None), ("ED901", None)]


def test_a_warning_never_explains_an_error_away() -> None:
    cause, error = code(1, WARNING, explains=("ED902",)), code(2)
    assert shown(rank([cause.finding(), error.finding()], (cause, error))) == [
        ("ED902", None),
        ("ED901", None),
    ]


def test_a_code_may_say_whom_it_explains() -> None:
    top, middle, low = code(1, explains=("ED902",)), code(2, explains=("ED903",)), code(3)
    found = [one.finding() for one in (low, middle, top)]
    assert shown(rank(found, (top, middle, low))) == [
        ("ED901", None),
        ("ED902", "ED901"),
        ("ED903", "ED901"),
    ]


@pytest.mark.parametrize(
    ("cause", "effect", "related"),
    [
        (("gpu:0",), ("gpu:0",), True),
        (("gpu:0",), ("gpu:1",), False),
        (("gpu:0000:07:00.0",), ("gpu:0000:08:00.0",), False),
        (("gpu:0000:07:00.0",), ("gpu:0000:07:00.0",), True),
        (("cuda:0",), ("cuda:0:fp16",), True),
        (("cuda:0",), ("cuda:1:fp16",), False),
        (("OMP_NUM_THREADS",), ("cpu:fp32",), True),
        ((), ("gpu:1",), True),
    ],
)
def test_a_code_explains_only_what_is_about_the_same_device(
    cause: tuple[str, ...], effect: tuple[str, ...], related: bool
) -> None:
    one, other = code(1, explains=("ED902",)), code(2)
    found = [one.finding(subjects=cause), other.finding(subjects=effect)]
    ranked = rank(found, (one, other))
    assert any(finding.because for finding in ranked) is related


def test_certain_findings_come_before_possible_ones() -> None:
    maybe = code(1).finding(confidence=Confidence.POSSIBLE)
    assert shown(rank([maybe, code(2).finding()], ())) == [("ED902", None), ("ED901", None)]


def test_a_cause_with_more_consequences_comes_first() -> None:
    small = code(1, layer=Layer.BUS, breaks="distributed").finding()
    large = code(2, layer=Layer.NVML, breaks="compute:gpu").finding()
    effect = code(3, layer=Layer.CUDA_INIT, breaks="compute:gpu").finding()
    assert [one.code for one in rank([small, large, effect], ())] == ["ED902", "ED903", "ED901"]


def test_a_finding_beside_a_circle_is_not_lost() -> None:
    """ED903 is explained by ED902, which explains ED901 and is explained by it."""
    one, other = code(1, explains=("ED902",)), code(2, explains=("ED901", "ED903"))
    effect = code(3)
    found = [effect.finding(), one.finding(), other.finding()]
    ranked = rank(found, (one, other, effect))
    assert {finding.code for finding in ranked} == {"ED901", "ED902", "ED903"}
    assert [finding.because for finding in ranked].count(None) == 1


_numbers = st.integers(0, 7)
_codes = st.builds(
    code,
    _numbers,
    st.sampled_from(Severity),
    layer=st.sampled_from(Layer),
    breaks=st.sampled_from([None, "import:torch", "compute:gpu", "compute:cpu", "import"]),
    explains=st.lists(_numbers.map(lambda number: f"ED9{number:02}"), max_size=3).map(tuple),
)
_subjects = st.lists(st.sampled_from(["gpu:0", "gpu:1", "numpy"]), unique=True, max_size=2)


@given(st.lists(st.tuples(_codes, _subjects), max_size=8))
def test_ranking_loses_nothing_and_every_cause_is_a_root_above_its_consequence(
    drawn: list[tuple[Code, list[str]]],
) -> None:
    codes = {one.id: one for one, _ in drawn}
    found = [codes[one.id].finding(subjects=tuple(subjects)) for one, subjects in drawn]
    merged = merge(found, codes)
    ranked = rank(merged, codes.values())
    assert sorted(one.id for one in ranked) == sorted(one.id for one in merged)
    roots = {one.id: place for place, one in enumerate(ranked) if one.because is None}
    for place, one in enumerate(ranked):
        if one.because is not None:
            root = ranked[roots[one.because]]
            assert roots[one.because] < place
            assert root.severity.rank >= one.severity.rank


@given(st.lists(st.tuples(_codes, _subjects), max_size=6), st.randoms(use_true_random=False))
def test_the_ranking_does_not_depend_on_the_order_of_the_checks(
    drawn: list[tuple[Code, list[str]]], random: Any
) -> None:
    codes = {one.id: one for one, _ in drawn}
    found = [codes[one.id].finding(subjects=tuple(subjects)) for one, subjects in drawn]
    merged = list(merge(found, codes))
    shuffled = random.sample(merged, len(merged))
    assert shown(rank(merged, codes.values())) == shown(rank(shuffled, codes.values()))


# --- whose fault it is ---


def of(number: int, topic: str, severity: Severity = ERROR, because: str | None = None) -> Finding:
    disease = Code(
        id=f"ED9{number:02}",
        name=f"disease-{number}",
        family=f"disease-{number}",
        severity=severity,
        topic=topic,  # type: ignore[arg-type]
        message="something is wrong",
    )
    return msgspec.structs.replace(disease.finding(), because=because)


@pytest.mark.parametrize(
    ("findings", "fault"),
    [
        ((), None),
        ((of(1, "driver", INFO),), None),
        ((of(1, "doctor", WARNING),), None),
        ((of(1, "driver"),), "machine"),
        ((of(1, "torch"),), "environment"),
        ((of(1, "torch"), of(2, "container")), "both"),
        ((of(1, "torch"), of(2, "container", WARNING)), "environment"),
        ((of(1, "driver"), of(2, "torch", because="ED901")), "machine"),
        ((of(1, "speed", WARNING), of(2, "torch", INFO)), "machine"),
        ((of(1, "torch", WARNING), of(2, "doctor", ERROR)), "environment"),
    ],
)
def test_the_gravest_roots_say_where_the_cause_lies(
    findings: tuple[Finding, ...], fault: str | None
) -> None:
    assert fault_of(findings) == fault
