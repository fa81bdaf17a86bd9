"""What holds training on the CPU back: each cause on a case that has it, and on machines that are
sound and look like it (synthetic)."""

from typing import Any

import msgspec
import pytest

from envdoctor.calibration.assess import assess
from envdoctor.calibration.cpu_expectation import paper_tflops
from envdoctor.calibration.target import cpu_character, session
from envdoctor.calibration.target.devices import Device
from envdoctor.facts.calibration import Calibration, Ceiling, Conditions, Spread
from envdoctor.facts.machine import Environment
from envdoctor.knowledge import load
from envdoctor.render.calibration import render_calibration
from tests.calibration.conftest import Told
from tests.calibration.synthetic import make_calibration, make_run, spread
from tests.calibration.test_checks import AVX2, AVX512, GPU_RUNS, findings, make_host, make_limits

STARTED = {"started_at": "2026-11-26T00:00:00Z", "torch_version": "2.13.0", "threads": 2}
FP32 = make_run(5.0, device="cpu", precision="fp32", batch_size=2)
BF16 = make_run(8.4, device="cpu", batch_size=2)


def ceilings(**matmul: float) -> tuple[Ceiling, ...]:
    """A copy of 32 GB/s, and matrix products in TFLOP/s."""
    rows = {"memory copy": (32.0, "GB/s")}
    rows |= {f"matmul {precision}": (rate, "TFLOP/s") for precision, rate in matmul.items()}
    return tuple(
        Ceiling(device="cpu", name=name, value=spread(value), unit=unit)  # type: ignore[arg-type]
        for name, (value, unit) in rows.items()
    )


def measured(*runs: Any, **conditions: Any) -> Calibration:
    given = Conditions(**{**STARTED, "cpu_features": ("avx2", "fma"), **conditions})
    return make_calibration(*runs, conditions=given, ceilings=ceilings(fp32=0.198, bf16=0.42))


def test_a_cpu_should_reach_what_its_own_product_and_copy_promise() -> None:
    """As measured on two CPUs of an AMD EPYC with torch 2.13: 5.0 and 8.4 images/s."""
    rates = {one.precision: one for one in assess(measured(FP32, BF16), load()).expected}
    for precision in ("fp32", "bf16"):
        assert rates[precision].verdict == "as-expected"
        rate = rates[precision].images_per_s
        assert 2.0 < rate.high / rate.low < 2.5, "an honest range"
    text = render_calibration(measured(FP32), assess(measured(FP32), load()))
    assert "measured is 103 % of that: as expected" in " ".join(text.split())


@pytest.mark.parametrize(("rate", "said"), [(1.7, True), (3.4, False), (7.0, False)])
def test_a_cpu_far_below_its_own_product(rate: float, said: bool) -> None:
    """With convolutions kept to SSE4.1 a step did 1.7 images/s, with AVX2 4.5."""
    found = findings(measured(make_run(rate, device="cpu", precision="fp32")))
    assert ("cpu-slower-than-expected" in found) is said
    kept = Environment(variables={"ONEDNN_MAX_CPU_ISA": "SSE41"})
    found = findings(
        measured(make_run(1.7, device="cpu", precision="fp32")), kept, make_host(2, 2, flags=AVX512)
    )
    slower = found["cpu-slower-than-expected"]
    assert slower.severity.value == "info"
    assert slower.because == found["cpu-instructions-unused"].id


def test_a_wide_interval_meets_any_range_and_says_nothing() -> None:
    wide = msgspec.structs.replace(FP32, images_per_s=Spread(median=1.1, low=0.3, high=6.0))
    (rate,) = (one for one in assess(measured(wide), load()).expected if one.device == "cpu")
    assert rate.verdict == "unknown"
    assert "cpu-slower-than-expected" not in findings(measured(wide))


def test_nothing_is_expected_of_a_bound() -> None:
    bound = msgspec.structs.replace(make_run(0.3, device="cpu", precision="fp32"), at_least=True)
    assert "cpu-slower-than-expected" not in findings(measured(bound))


@pytest.mark.parametrize(
    ("features", "precision", "low", "high"),
    [
        (("avx2", "fma"), "fp32", 0.08, 0.16),
        (("avx2", "fma", "avx512f"), "fp32", 0.16, 0.32),
        (("avx2", "fma", "avx512f", "avx512_bf16"), "bf16", 0.32, 0.64),
        (("avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16"), "bf16", 2.56, 5.12),
    ],
)
def test_what_threads_and_clock_are_on_paper(
    features: tuple[str, ...], precision: str, low: float, high: float
) -> None:
    conditions = Conditions(**STARTED, cpu_features=features, cpu_clock_mhz=2500.0)
    paper = paper_tflops(make_run(5.0, device="cpu", precision=precision), conditions)
    assert paper is not None
    assert (paper.low, paper.high) == pytest.approx((low, high))
    unknown = msgspec.structs.replace(conditions, cpu_features=())
    assert paper_tflops(FP32, unknown) is None


@pytest.mark.parametrize(
    ("onednn", "features", "said"),
    [
        (False, ("avx2", "fma"), True),
        (True, ("avx2", "fma"), False),
        (None, ("avx2", "fma"), False),
        # A build for Arm has the Arm Compute Library, and for an old CPU there is nothing to gain.
        (False, ("bf16",), False),
        (False, (), False),
    ],
)
def test_a_torch_without_onednn(onednn: bool | None, features: tuple[str, ...], said: bool) -> None:
    found = findings(measured(FP32, onednn=onednn, cpu_features=features))
    assert ("onednn-off" in found) is said


@pytest.mark.parametrize(
    ("threads", "usable", "said"),
    [
        (64, 2.0, True),
        (2, 0.5, True),
        (4, 3.5, False),
        (64, 64.0, False),
        # One thread for each hardware thread, as somebody set it.
        (8, 8.0, False),
    ],
)
def test_more_threads_than_cpus(threads: int, usable: float, said: bool) -> None:
    limits = make_limits(usable_cpus=usable, affinity_cpus=64, cgroup_cpu_quota=usable)
    found = findings(measured(FP32, default_threads=threads), limits)
    assert ("threads-beyond-cpus" in found) is said
    if said:
        assert found["threads-beyond-cpus"].severity.value == "warning"
        assert found["cpu-quota"].because == found["threads-beyond-cpus"].id
    beside = findings(measured(FP32, *GPU_RUNS, default_threads=threads), limits)
    assert not said or beside["threads-beyond-cpus"].severity.value == "info"


@pytest.mark.parametrize(
    ("bf16", "features", "words"),
    [
        (0.23, ("avx2", "fma"), "0.23 against 5.0 images/s, as it has no instructions for it"),
        (0.23, ("avx2", "fma", "avx512_bf16"), "0.23 against 5.0 images/s"),
        # A tenth less, of which the intervals know nothing.
        (4.85, ("avx2", "fma"), None),
        (8.4, ("avx2", "fma", "avx512_bf16"), None),
    ],
)
def test_bf16_that_is_slower(bf16: float, features: tuple[str, ...], words: str | None) -> None:
    run = make_run(bf16, device="cpu", batch_size=2)
    found = findings(measured(FP32, run, cpu_features=features)).get("bf16-slower-on-cpu")
    assert (found is not None) == (words is not None)
    if found is not None and words is not None:
        assert words in found.message
        assert ("emulates" in found.message) is ("avx512_bf16" not in features)


def test_bf16_of_another_batch_or_beside_others_is_not_slower() -> None:
    small = make_run(0.2, device="cpu", batch_size=1)
    beside = make_run(0.2, device="cpu", batch_size=2, at_least=True, others_cpus=1.8)
    for run in (small, beside):
        assert "bf16-slower-on-cpu" not in findings(measured(FP32, run))


@pytest.mark.parametrize(("rate", "said"), [(0.4, True), (2.6, False)])
def test_first_steps_of_bf16_that_took_the_whole_plan(rate: float, said: bool) -> None:
    """0.4 images/s against 4.5, as measured with oneDNN kept to AVX2; a first step that took twice
    as long as those of fp32 says nothing."""
    bound = make_run(rate, device="cpu", batch_size=2, at_least=True)
    found = findings(measured(FP32, bound)).get("bf16-slower-on-cpu")
    assert (found is not None) is said
    if found is not None:
        assert found.confidence.value == "likely"
        assert "0.40 in its first steps against 5.0 images/s" in found.message


@pytest.mark.parametrize(
    ("threads", "gain", "said"),
    [
        (2, 1.05, True),
        (8, 4.2, True),
        # Two cores gained 1.9, and cores whose clock falls from 3.7 to 2.6 GHz gain 1.4.
        (2, 1.9, False),
        (2, 1.4, False),
        (64, 30.0, False),
        (1, None, False),
    ],
)
def test_cpus_that_share_cores(threads: int, gain: float | None, said: bool) -> None:
    host = msgspec.structs.replace(make_host(threads, threads, flags=AVX2), hypervisor=True)
    calibration = measured(FP32, threads=threads, thread_gain=gain)
    assert ("cpus-share-cores" in findings(calibration, host)) is said
    bare = msgspec.structs.replace(host, hypervisor=False)
    known = msgspec.structs.replace(host, physical_cpus=threads // 2 or 1, logical_cpus=2 * threads)
    busy = measured(
        msgspec.structs.replace(FP32, others_cpus=0.6), threads=threads, thread_gain=gain
    )
    for sound in (findings(calibration, bare), findings(calibration, known), findings(busy, host)):
        assert "cpus-share-cores" not in sound


# --- what is measured of it ---


def test_the_character_of_this_cpu(told: Told) -> None:
    found = cpu_character.character(Device("cpu"))
    assert found["onednn"] in (True, False)
    assert found["denormal_cost"] > 0
    assert found["thread_gain"] is None, "with one thread"
    conditions = Conditions(**{**STARTED, **found})
    assert set(conditions.cpu_features) <= set(cpu_character.FEATURES)


def test_the_threads_are_those_of_before_when_their_gain_is_known(told: Told) -> None:
    import torch

    torch.set_num_threads(2)
    gain = cpu_character.thread_gain(Device("cpu"))
    assert torch.get_num_threads() == 2
    assert gain is not None
    assert gain > 0


def test_costly_denormal_numbers_are_told_and_cheap_ones_are_not() -> None:
    for cost, said in ((30.0, True), (1.1, False), (None, False)):
        calibration = measured(FP32, denormal_cost=cost)
        text = render_calibration(calibration, assess(calibration, load()))
        assert ("takes 30 times as long" in text) is said


def test_bf16_is_emulated_where_it_is_asked_for_alone(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("envdoctor.calibration.target.devices.cpu_flags", lambda: frozenset(AVX2))
    cpu = Device("cpu")
    by_itself = session._offered(told.channel, cpu, {})
    asked = session._offered(told.channel, cpu, {"precisions": ["fp32", "bf16"]})
    assert [one.name for one in by_itself] == ["fp32"]
    assert [one.name for one in asked] == ["fp32", "bf16"]
    (left,) = told.all("left_out")
    assert "it would be emulated" in left["reason"]


def test_the_first_step_and_the_compilation_are_figures() -> None:
    slow_start = msgspec.structs.replace(FP32, first_step_s=2.4)
    usual = make_run(8.4, device="cpu", first_step_s=0.5)
    compiled = make_run(6.0, device="cpu", precision="fp32", compiled=True, compile_s=63.0)
    text = render_calibration(measured(slow_start, usual, compiled), assess(measured(), load()))
    assert "cpu fp32: the first step took 2.4 s, later ones 0.4 s" in text
    assert "cpu fp32 compiled: torch.compile took 63 s" in text
    assert "cpu bf16: the first" not in text
