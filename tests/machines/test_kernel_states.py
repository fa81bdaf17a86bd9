"""Every combination of what is known of a module, and every Xid, against rules that are simple."""

from itertools import product
from typing import Any

import pytest

from envdoctor.api import KernelLog, Severity
from envdoctor.knowledge import load
from tests.support.diagnosis import report_on
from tests.support.host_states import (
    CLOSED_LOG,
    QUIET_LOG,
    REFUSAL,
    modules,
    not_loaded,
    xid,
)
from tests.support.machines import machine

OF_THE_MODULE = {"driver-not-loaded", "module-not-built", "module-refused", "module-blocked"}
LOGS = (CLOSED_LOG, QUIET_LOG, KernelLog(messages=(REFUSAL,)))
FACTS: dict[str, tuple[Any, ...]] = {
    "secure_boot": (True, False, None),
    "lockdown": ("integrity", "none", None),
    "files": (("/lib/modules/6.8.0/nvidia.ko",), (), None),
    "signed": (True, False, None),
    "headers": (True, False, None),
    "blocked_by": ("/etc/modprobe.d/x.conf", None),
}
COMBINATIONS = [dict(zip(FACTS, values, strict=True)) for values in product(*FACTS.values())]
SOME = COMBINATIONS[::7]


def wanted(facts: dict[str, Any], log: Any, nouveau: bool) -> str:
    """The rule in short, written apart from the checks."""
    locked = facts["lockdown"] == "integrity" or (
        facts["lockdown"] is None and facts["secure_boot"] is True
    )
    if facts["blocked_by"]:
        return "module-blocked"
    if nouveau:
        return "driver-not-loaded"
    if facts["files"] == ():
        return "module-not-built"
    said = log is LOGS[2]
    if facts["files"] and locked and (said or facts["signed"] is False or log is CLOSED_LOG):
        return "module-refused"
    return "driver-not-loaded"


@pytest.mark.parametrize("log", LOGS, ids=["closed", "quiet", "refusal"])
@pytest.mark.parametrize("driver", ["nouveau", None])
def test_a_module_that_is_not_loaded_has_one_cause(log: Any, driver: str | None) -> None:
    for facts in SOME:
        report = report_on(not_loaded(log, modules(**facts), driver=driver))
        found = [one for one in report.findings if one.name in OF_THE_MODULE]
        assert [one.name for one in found] == [wanted(facts, log, driver == "nouveau")], facts
        assert report.findings[0] == found[0]
        text = "\n".join(line for fix in found[0].fixes for line in (fix.summary, *fix.commands))
        if found[0].name == "module-not-built" and not facts["headers"]:
            assert "linux-headers-$(uname -r)" in text
        if found[0].name == "module-refused":
            assert "mokutil --import" in text
        if facts["secure_boot"] is False and facts["lockdown"] == "none":
            assert "mokutil" not in text, "no advice on what is off"


def test_where_the_module_is_loaded_none_of_it_is_said() -> None:
    for facts in SOME:
        report = report_on(machine(modules(**facts), LOGS[2]))
        assert not [one for one in report.findings if one.severity is not Severity.INFO], facts
        assert not OF_THE_MODULE & {one.name for one in report.findings}


def test_in_a_container_the_module_is_not_judged() -> None:
    for facts in SOME[::5]:
        report = report_on(not_loaded(CLOSED_LOG, modules(**facts), Container={"kind": "docker"}))
        assert not OF_THE_MODULE & {one.name for one in report.findings}


ASKS = {"reset-gpu", "restart-machine", "check-cables"}


@pytest.mark.parametrize("code", range(1, 200))
def test_an_xid_of_a_gpu_that_computes_is_as_loud_as_its_action(code: int) -> None:
    known = load().xid(code)
    report = report_on(machine(xid(code)))
    found = [one for one in report.findings if one.name.startswith("xid-")]
    loud = [one.severity for one in report.findings if one.severity is not Severity.INFO]
    if known is None:
        assert found == []
    else:
        name = "xid-error" if known.action in ASKS else "xid-noted"
        assert [one.name for one in found] == [name]
    assert loud == ([Severity.WARNING] if known and known.action in ASKS else [])
    assert report.exit_code == 0
