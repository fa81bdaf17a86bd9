"""Partial reports: not too many, and none after the end."""

import threading
import time

from envdoctor.facts import Snapshot
from envdoctor.report import Report
from envdoctor.tui.partial_reports import PartialReports
from tests.tui import machines
from tests.tui.live import wait_until

REPORT = machines.read("healthy_cpu")


def test_reports_are_a_while_apart_and_the_newest_wins() -> None:
    made: list[float] = []
    told: list[Report] = []
    newest: list[Snapshot] = []

    def make(snapshot: Snapshot) -> Report:
        made.append(time.monotonic())
        newest.append(snapshot)
        return REPORT

    last = Snapshot()
    with PartialReports(make, told.append, every_s=0.2) as reports:
        reports.take(Snapshot())
        wait_until(lambda: len(told) == 1, "no first report")
        for _ in range(10):
            reports.take(Snapshot())
        reports.take(last)
        wait_until(lambda: len(told) == 2, "no second report")
    assert newest[1] is last
    assert made[1] - made[0] >= 0.2


def test_a_report_in_the_making_is_not_told_after_the_end() -> None:
    making, goes_on = threading.Event(), threading.Event()
    told: list[Report] = []

    def make(snapshot: Snapshot) -> Report:
        making.set()
        goes_on.wait(60)
        return REPORT

    with PartialReports(make, told.append) as reports:
        reports.take(Snapshot())
        assert making.wait(60)
    goes_on.set()
    reports._thread.join(60)
    assert not reports._thread.is_alive()
    assert told == []
