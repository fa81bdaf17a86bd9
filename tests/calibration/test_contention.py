"""A machine that others use is told, and never averaged: real programs that burn its CPUs."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import msgspec
import pytest

from envdoctor.calibration.assess import assess
from envdoctor.calibration.competing_programs import busiest, cpu_seconds
from envdoctor.calibration.runner import FIRST_STEPS_S, _Ended, _Heard, _how_it_ended
from envdoctor.calibration.target import contention
from envdoctor.calibration.target import measure as measuring
from envdoctor.calibration.target.contention import Moment
from envdoctor.calibration.target.devices import FP32, Device
from envdoctor.calibration.target.measure import Variant, measure
from envdoctor.calibration.target.plan import cpu_budget
from envdoctor.facts import Reason
from envdoctor.facts.assessment import Assessment
from envdoctor.facts.calibration import BusyProcess, CalibrationBaseline, Conditions, Settings
from envdoctor.knowledge import load
from envdoctor.probes.run import ChildResult
from envdoctor.render.calibration import render_calibration
from tests.calibration.conftest import Told
from tests.calibration.synthetic import make_calibration, make_run
from tests.calibration.test_checks import findings

BURN = "import os\nos.setpgid(0, 0)\nwhile True: sum(range(100000))"
CPUS = contention.usable_cpus()


@pytest.fixture
def burners() -> Iterator[list[int]]:
    """A program for each CPU that never lets go of it."""
    started = [subprocess.Popen([sys.executable, "-c", BURN]) for _ in range(CPUS)]
    time.sleep(0.3)
    yield [one.pid for one in started]
    for one in started:
        one.kill()
        one.wait()


def compute() -> None:
    """A step that takes some ten milliseconds of one thread."""
    sum(range(1_000_000))


# --- what is seen of others ---


def test_programs_that_burn_the_cpus_are_seen_and_leave_no_room(burners: list[int]) -> None:
    used = contention.look()
    assert used is not None
    assert used > 0.6 * CPUS
    assert contention.leave_no_room(used, CPUS)
    assert not contention.leave_no_room(contention.BUSY_CPUS, CPUS)


def test_a_thread_that_waits_for_a_cpu_knows_how_long(burners: list[int]) -> None:
    before = contention.moment()
    began = time.monotonic()
    while time.monotonic() - began < 1.0:
        compute()
    share = contention.waited_share(before, contention.moment(), time.monotonic() - began, 1)
    assert share is not None
    assert 0.1 < share < 1.0


LOOKS = 8
"""Beside other tests, the programs of those may have taken more in one second."""


def test_the_programs_that_took_most_are_named(burners: list[int]) -> None:
    # What the tests start is the doctor's own, and none of the others: see it from elsewhere.
    script = (
        "import json, time;"
        "from envdoctor.calibration.competing_programs import busiest, cpu_seconds;"
        "before = cpu_seconds(); time.sleep(1.0); found = busiest(before, cpu_seconds(), 1.0);"
        "print(json.dumps([[one.pid, one.name, one.cpus] for one in found]))"
    )
    for _ in range(LOOKS):
        told = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
        found = {pid: (name, cpus) for pid, name, cpus in json.loads(told.stdout)}
        if not found.keys().isdisjoint(burners):
            break
    name, cpus = found[next(pid for pid in burners if pid in found)]
    assert name.startswith("python")
    assert 0.1 <= cpus <= CPUS


def test_what_the_doctor_itself_started_is_none_of_the_others(burners: list[int]) -> None:
    assert not {pid for pid, _ in cpu_seconds()} & {os.getpid(), *burners}


def test_a_program_that_did_nothing_meanwhile_is_not_named() -> None:
    before = {(1, 0.0): ("init", 5.0), (2, 0.0): ("trainer", 100.0)}
    after = {(1, 0.0): ("init", 5.0), (2, 0.0): ("trainer", 103.0), (3, 9.0): ("cc1plus", 1.5)}
    assert busiest(before, after, 2.0) == (
        BusyProcess(pid=2, name="trainer", cpus=1.5),
        BusyProcess(pid=3, name="cc1plus", cpus=0.75),
    )


# --- what becomes of the figure ---


def test_a_rate_beside_others_is_a_bound(told: Told, burners: list[int]) -> None:
    # Steps that are much longer than the time for which the kernel lets one program run.
    run = measure(
        Variant(Device("cpu"), FP32, 4),
        lambda: [compute() for _ in range(10)],
        budget_s=1.0,
        channel=told.channel,
    )
    assert run["at_least"] is True
    assert run["stable"] is False
    assert run["waited_share"] > contention.QUIET_SHARE
    assert run["others_cpus"] > 0.3


@pytest.mark.parametrize(("disturbed_of_ten", "bound"), [(0, False), (6, False), (10, True)])
def test_the_figure_is_that_of_the_steps_that_were_left_alone(
    told: Told, monkeypatch: pytest.MonkeyPatch, disturbed_of_ten: int, bound: bool
) -> None:
    """Steps of 0.1 s, of which some take three times as long and wait for two thirds of that."""
    now, waited, count = 0.0, 0.0, 0
    monkeypatch.setattr(measuring, "moment", lambda: Moment(now, now, 0.0, waited))

    class Shared(Device):
        def threads(self) -> int:
            return 1

        def time(self, step: object, steps: int) -> float:
            nonlocal now, waited, count
            count += 1
            disturbed = count % 10 < disturbed_of_ten
            seconds = 0.3 if disturbed else 0.1
            now, waited = now + seconds, waited + (0.2 if disturbed else 0.0)
            return seconds

    class Watch:
        monotonic = perf_counter = staticmethod(lambda: now)

    monkeypatch.setattr(measuring, "time", Watch)
    variant = Variant(Shared("cpu"), FP32, 1)
    run = measure(variant, lambda: None, budget_s=10.0, channel=told.channel)
    assert run["at_least"] is bound
    assert run["ms_per_step"] == pytest.approx(300 if bound else 100)


def test_where_waiting_cannot_be_seen_nothing_is_said_of_others(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "moment", lambda: Moment(time.monotonic(), None, 0.0, None))
    variant = Variant(Device("cpu"), FP32, 1)
    run = measure(variant, compute, budget_s=0.3, channel=told.channel)
    assert (run["at_least"], run["waited_share"], run["others_cpus"]) == (False, None, None)


def test_who_waits_for_a_quota_of_its_own_waits_for_nobody(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container with half a CPU: the thread waits, and nobody else is there."""
    ticks = iter(range(100_000))

    def throttled() -> Moment:
        now = next(ticks) * 0.1
        return Moment(at=now, used_s=now * 0.5, own_s=now * 0.5, waited_s=now * 0.5)

    monkeypatch.setattr(measuring, "moment", throttled)
    run = measure(Variant(Device("cpu"), FP32, 1), compute, budget_s=0.3, channel=told.channel)
    assert run["waited_share"] > contention.QUIET_SHARE
    assert run["at_least"] is False
    limited = Device("cpu")
    limited.is_throttled = True
    run = measure(Variant(limited, FP32, 1), compute, budget_s=0.3, channel=told.channel)
    assert (run["at_least"], run["waited_share"]) == (False, None)


# --- what follows from it, and what not ---

BESIDE_OTHERS = make_calibration(
    make_run(0.6, device="cpu", precision="fp32", at_least=True, others_cpus=1.8, waited_share=0.4),
    conditions=Conditions(
        started_at="2026-11-26T00:00:00Z", busy=(BusyProcess(pid=7, name="cc1plus", cpus=1.0),)
    ),
)


def test_no_speedup_and_no_epoch_follow_from_a_bound() -> None:
    assessed = assess(BESIDE_OTHERS, load())
    assert assessed.speedups == ()
    assert {one.kind for one in assessed.epochs} == {"predicted"}
    firm = make_calibration(make_run(5.7, device="cpu", precision="fp32"))
    assert {one.kind for one in assess(firm, load()).epochs} == {"measured", "predicted"}


def test_the_text_says_that_it_is_a_bound_and_who_had_the_cpus() -> None:
    text = " ".join(render_calibration(BESIDE_OTHERS, Assessment()).split())
    assert "> fp32 0.60 at least" in text
    assert "other programs used 1.8 CPUs meanwhile (cc1plus 1.0)" in text


def test_others_that_had_the_cpus_are_a_finding() -> None:
    busy = findings(BESIDE_OTHERS)["busy-cpus"]
    assert (
        "used 1.8 CPUs while training on the CPU was measured, cc1plus (process 7)" in busy.message
    )
    assert busy.evidence[1].value == "its threads waited 40 % of the time for a CPU"


def test_others_on_cpus_that_were_left_over_are_none() -> None:
    """As on a server of 64 CPUs, half of them at work for somebody else."""
    run = make_run(60.0, device="cpu", precision="fp32", others_cpus=32.0, waited_share=0.004)
    busy = (BusyProcess(pid=7, name="vasp", cpus=32.0),)
    conditions = Conditions(started_at="2026-11-26T00:00:00Z", busy=busy)
    assert findings(make_calibration(run, conditions=conditions)) == {}


FIRST_STEPS = make_calibration(make_run(0.2, device="cpu", precision="fp32", at_least=True))
"""As on a slow board that nobody else uses, with `--budget 1`."""


def test_a_bound_by_the_first_steps_alone_blames_nobody() -> None:
    text = " ".join(render_calibration(FIRST_STEPS, Assessment()).split())
    assert "only the first steps were done in the time that was planned" in text
    assert "other programs" not in text
    assert findings(FIRST_STEPS) == {}


def test_a_bound_is_not_slower_than_a_baseline() -> None:
    before = make_calibration(make_run(5.7, device="cpu", precision="fp32"))
    baseline = CalibrationBaseline(path="then.json", calibration=before)
    assert set(findings(BESIDE_OTHERS, baseline)) == {"busy-cpus"}
    slower = make_calibration(make_run(0.6, device="cpu", precision="fp32"))
    assert "slower-than-baseline" in findings(slower, baseline)


# --- the plan ---

CUT = ChildResult(
    exit_code=None, signal="SIGKILL", timed_out=True, stdout="", stderr="", seconds=6.0
)


def test_the_parts_of_the_budget_are_the_whole(told: Told) -> None:
    whole = cpu_budget(told.channel, {"budget_s": 10.0, "ceilings": True, "pipeline": True})
    assert sum(whole) == pytest.approx(10.0)
    alone = cpu_budget(told.channel, {"budget_s": 10.0})
    assert tuple(alone) == pytest.approx((10.0, 0.0, 0.0))


def test_a_slow_import_shortens_the_rest(told: Told) -> None:
    told.channel.began -= 4.0
    assert cpu_budget(told.channel, {"budget_s": 10.0}).total == pytest.approx(7.5, abs=0.1)
    told.channel.began -= 100.0
    assert cpu_budget(told.channel, {"budget_s": 10.0}).total == pytest.approx(6.0)


def test_what_a_plan_had_no_time_for_is_left_out_and_nothing_is_a_failure() -> None:
    heard = _Heard(on_progress=lambda progress: None)
    plan = {"seconds": 1.0, "limit_s": -1.0, "message": "cpu fp32 1 s; 1 s in all"}
    progress = {"phase": "pipeline", "message": "writing a checkpoint"}
    run = {**msgspec.to_builtins(make_run(5.0, device="cpu")), "window": [0.0, 1.0]}
    for event, data in (("plan", plan), ("run", run), ("progress", progress)):
        heard.take_line(json.dumps({"event": event, "data": data}).encode())
    ended = _how_it_ended(CUT, heard)
    assert ended.reason == ""
    calibration = heard.calibration(Settings(), ended, 1.0, ())
    assert calibration.complete
    (left,) = calibration.left_out
    assert (left.device, left.what) == ("cpu", "from writing a checkpoint on")
    assert left.reason == "the time that was planned is over"


def test_a_worker_that_had_measured_all_and_was_slow_to_end_left_nothing_out() -> None:
    heard = _Heard(on_progress=lambda progress: None)
    plan = {"seconds": 1.0, "limit_s": -1.0, "message": "cpu fp32 1 s; 1 s in all"}
    run = {**msgspec.to_builtins(make_run(5.0, device="cpu")), "window": [0.0, 1.0]}
    for event, data in (("plan", plan), ("run", run), ("end", {})):
        heard.take_line(json.dumps({"event": event, "data": data}).encode())
    ended = _how_it_ended(CUT, heard)
    assert not heard.calibration(Settings(), ended, 1.0, ()).left_out


def test_of_a_precision_that_was_only_begun_the_first_steps_are_the_bound() -> None:
    heard = _Heard(on_progress=lambda progress: None)
    plan = {"seconds": 1.0, "limit_s": -1.0, "message": "cpu fp32 1 s; 1 s in all"}
    rates = (
        ("first", 1.0, "fp32", True),
        ("run", 5.0, "fp32", False),
        ("first", 0.5, "bf16", True),
    )
    heard.take_line(json.dumps({"event": "plan", "data": plan}).encode())
    for event, rate, precision, bound in rates:
        run = make_run(rate, device="cpu", precision=precision, at_least=bound)
        data = {**msgspec.to_builtins(run), "window": [0.0, 1.0]}
        heard.take_line(json.dumps({"event": event, "data": data}).encode())
    runs = heard.calibration(Settings(), _how_it_ended(CUT, heard), 1.0, ()).runs
    assert [(one.precision, one.images_per_s.median, one.at_least) for one in runs] == [
        ("fp32", 5.0, False),
        ("bf16", 0.5, True),
    ]


def test_where_no_step_ended_within_the_plan_nothing_was_measured() -> None:
    heard = _Heard(on_progress=lambda progress: None)
    plan = {"seconds": 1.0, "limit_s": -FIRST_STEPS_S - 1, "message": "cpu fp32 1 s; 1 s in all"}
    heard.take_line(json.dumps({"event": "plan", "data": plan}).encode())
    ended = _how_it_ended(CUT, heard)
    assert (ended.kind, ended.interrupted) == (Reason.TIMED_OUT, False)
    assert ended.reason.startswith("the time that was planned is over")


def test_a_worker_beyond_its_plan_is_ended() -> None:
    heard = _Heard(on_progress=lambda progress: None)
    plan = {"seconds": 1.0, "limit_s": 0.05, "message": "cpu fp32 1 s; 1 s in all"}
    assert not heard.plan_is_over()
    heard.take_line(json.dumps({"event": "plan", "data": plan}).encode())
    assert heard.last is not None
    assert heard.last.message == "plan: cpu fp32 1 s; 1 s in all"
    time.sleep(0.1)
    assert not heard.plan_is_over(), "before the first steps"
    run = {**msgspec.to_builtins(make_run(5.0, device="cpu")), "window": [0.0, 1.0]}
    heard.take_line(json.dumps({"event": "first", "data": run}).encode())
    assert heard.plan_is_over()
    heard.take_line(b'{"event": "conditions", "data": {"others_cpus": 1.8}}')
    assert heard.others() == ", as other programs used 1.8 CPUs"
    assert heard.calibration(Settings(), _Ended(), 1.0, ()).conditions.others_cpus == 1.8
