"""A synthetic machine whose torch works, to be broken in one thing; and its findings."""

from functools import cache

from envdoctor.diagnose import diagnose
from envdoctor.facts import Fact, Observed, Snapshot
from envdoctor.facts.machine import Environment, Expectation
from envdoctor.facts.python import Distribution, Distributions, Installer, Interpreter, Target
from envdoctor.facts.torch import FirstUse, TorchBuild, TorchFirstUse, TorchImport, TorchRuntime
from envdoctor.findings import Finding
from envdoctor.knowledge import Knowledge, load
from envdoctor.plugin_loading import load_plugins
from envdoctor.plugins import Loaded
from envdoctor.report import Report

PREFIX = "/home/me/env"
OWN = f"{PREFIX}/lib/python3.11/site-packages"
USER_SITE = "/home/me/.local/lib/python3.11/site-packages"
CWD = "/home/me/work"
KNOWLEDGE = load()


@cache
def loaded() -> Loaded:
    return load_plugins()


def interpreter(*before: str, after: tuple[str, ...] = (), user: bool = False) -> Interpreter:
    """The interpreter of the environment, with folders before its own packages."""
    own = (OWN,)
    return Interpreter(
        executable=f"{PREFIX}/bin/python",
        version="3.11.7",
        version_info=(3, 11, 7),
        implementation="CPython",
        soabi="cpython-311-x86_64-linux-gnu",
        machine="x86_64",
        prefix=PREFIX,
        base_prefix="/opt/python",
        sys_path=("", *before, "/opt/python/lib/python3.11", *own, *after),
        site_packages=own,
        user_site=USER_SITE,
        user_site_enabled=user,
        safe_path=False,
        stdlib="/opt/python/lib/python3.11",
        cwd=CWD,
    )


def distribution(
    name: str, version: str, location: str = OWN, *requires: str, installer: str | None = "pip"
) -> Distribution:
    return Distribution(
        name=name,
        version=version,
        location=location,
        metadata_path=f"{location}/{name.replace('-', '_')}-{version}.dist-info",
        installer=installer,
        requires=requires,
    )


TORCH = distribution("torch", "2.6.0+cpu", OWN, "typing-extensions>=4.10.0", "sympy==1.13.1")
REQUIRED = (distribution("typing-extensions", "4.12.2"), distribution("sympy", "1.13.1"))
WORKS = TorchImport(outcome="ok", seconds=1.0, file=f"{OWN}/torch/__init__.py", version="2.6.0+cpu")


def snapshot(*facts: Fact) -> Snapshot:
    """A CPU machine whose torch works, but for these facts."""
    healthy: list[Fact] = [
        Target(path=f"{PREFIX}/bin/python", chosen_because="test", version="3.11.7"),
        Installer(name="pip", evidence=""),
        Expectation(device="cpu", evidence="test"),
        Environment(variables={}),
        interpreter(),
        Distributions(items=(TORCH, *REQUIRED)),
        TorchBuild(
            version="2.6.0+cpu",
            cuda=None,
            hip=None,
            path=f"{OWN}/torch",
            variant="cpu",
            version_source=f"{OWN}/torch/version.py",
        ),
        WORKS,
        TorchRuntime(
            version="2.6.0+cpu", cuda=None, hip=None, cuda_available=False, device_count=0
        ),
        TorchFirstUse(operations=(FirstUse(device="cpu", operation="matmul"),)),
    ]
    known = {type(fact): Observed(value=fact, source="synthetic") for fact in (*healthy, *facts)}
    failed = next((one for one in facts if isinstance(one, TorchImport)), None)
    if failed is not None and failed.fails:
        del known[TorchRuntime], known[TorchFirstUse]
    return Snapshot(known)


def diagnosed(*facts: Fact) -> Report:
    """The report on that machine; no check may crash."""
    return _report_on(snapshot(*facts))


def unrun(*facts: Fact) -> list[Finding]:
    """The findings on that machine by its files alone."""
    ran = (TorchImport, TorchRuntime, TorchFirstUse)
    known = {kind: fact for kind, fact in snapshot(*facts).items() if kind not in ran}
    return list(_report_on(Snapshot(known)).findings)


def _report_on(facts: Snapshot) -> Report:
    report = diagnose(facts, loaded(), {Knowledge: KNOWLEDGE})
    assert not [one.name for one in report.checks if one.status == "crashed"]
    return report


def findings(*facts: Fact) -> dict[str, Finding]:
    """The findings by their ids."""
    return {one.id: one for one in diagnosed(*facts).findings}


def roots(*facts: Fact) -> list[Finding]:
    """Errors and warnings that are no consequence of another finding."""
    found = diagnosed(*facts).findings
    return [one for one in found if one.because is None and one.severity.value != "info"]
