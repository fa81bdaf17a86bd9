"""For machines made up at random: what is prescribed works, and "none" is true."""

from collections import Counter
from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envdoctor.diagnose import diagnose
from envdoctor.findings import Severity
from envdoctor.knowledge import Knowledge, load
from envdoctor.plugin_loading import load_plugins
from envdoctor.plugins import Loaded
from envdoctor.prescribe import machine_in, prescribe
from tests.knowledge.oracle import works
from tests.knowledge.world import World, derived, follow

KNOWLEDGE = load()
MODELS = tuple(
    sorted(
        {(gpu.model, gpu.compute_capability) for gpu in KNOWLEDGE.gpus if gpu.compute_capability}
    )
)
CHECKED_BUILDS = 3


@cache
def _loaded() -> Loaded:
    return load_plugins()


def _releases() -> list[str]:
    minor = {"535": "183.01", "525": "60.13", "450": "80.02", "470": "82.01", "580": "65.06"}
    return [
        f"{branch.branch}.{minor.get(branch.branch, '10')}" for branch in KNOWLEDGE.drivers.branches
    ] + ["525.60.12", "450.80.01", "390.157", "579.99", "700.10"]


def _serves(capability: str) -> int:
    """The first branch that a GPU of that architecture had, by the toolkit that introduced it."""
    major, minor = map(int, capability.split("."))
    first = {3: 430, 5: 430, 6: 430, 7: 430, 8: 450, 9: 520, 10: 570, 11: 580, 12: 570}[major]
    return 520 if (major, minor) == (8, 9) else first


@st.composite
def worlds(draw: st.DrawFn, *, realistic: bool) -> World:
    gpus = tuple(draw(st.lists(st.sampled_from(MODELS), min_size=0, max_size=2)))
    if realistic:
        gpus = gpus[:1] or (MODELS[0],)
    python = draw(st.sampled_from(["3.9", "3.10", "3.11", "3.12", "3.13"]))
    glibc = draw(st.sampled_from(["2.28", "2.31", "2.35", "2.39"]))
    drivers = _releases()
    if realistic:
        first = _serves(gpus[0][1] or "")
        drivers = [release for release in drivers if first <= int(release.partition(".")[0]) <= 617]
    else:
        odd = ["2.7", "3.6", "3.7", "3.8", "3.14", "3.15", "3.16"]
        python = draw(st.sampled_from([*odd, *[python] * 14]))
        glibc = draw(st.sampled_from(["2.12", "2.17", "2.27", *[glibc] * 6]))
    arch = "x86_64" if realistic else draw(st.sampled_from(["x86_64", "x86_64", "aarch64"]))
    release = draw(st.sampled_from([None, *KNOWLEDGE.releases]))
    builds = release.builds(arch) if release else ()
    release = release if builds else None
    variant = draw(st.sampled_from(builds)).tag if builds else None
    return World(
        gpus=gpus,
        driver=draw(st.sampled_from(drivers)) if gpus else None,
        python=python,
        glibc=glibc,
        arch=arch,
        installer=draw(st.sampled_from(["pip", "uv", "conda", "pixi", "poetry", "pdm", "pipenv"])),
        torch=release.version if release else None,
        variant=variant,
        packages=draw(_packages(release.version if release else None)),
    )


@st.composite
def _packages(draw: st.DrawFn, torch: str | None) -> dict[str, str]:
    found: dict[str, str] = {}
    if draw(st.booleans()):
        found["numpy"] = draw(st.sampled_from(["1.26.4", "2.2.0"]))
    for name in ("torchvision", "torchaudio", "torchtext"):
        if draw(st.integers(0, 3)) == 0:
            pair = draw(st.sampled_from(KNOWLEDGE.companions_file.pairs))
            versions = getattr(pair, name)
            if versions:
                found[name] = versions[-1]
    if draw(st.integers(0, 5)) == 0:
        extension = draw(st.sampled_from(KNOWLEDGE.extensions("xformers")))
        found["xformers"] = extension.version
    if draw(st.integers(0, 3)) == 0:
        found["nvidia-cudnn-cu11"] = "8.5.0.96"
        found["nvidia-nccl-cu12"] = "2.18.1"
    return found


def _holds(world: World, knowledge: Knowledge = KNOWLEDGE) -> int:
    """Check one machine; returns the number of builds."""
    machine = machine_in(derived(world.snapshot(knowledge), knowledge), knowledge)
    prescription = prescribe(machine, knowledge)
    listed = {(build.torch, build.variant) for build in prescription.builds}
    assert listed == works(world), "every build that works is listed, and no other"
    assert bool(prescription.builds) == (prescription.none_because is None)
    for build in prescription.builds[:CHECKED_BUILDS]:
        after = follow(world, build.commands, knowledge)
        assert (after.torch, after.variant) == (build.torch, build.variant), build.commands
        report = diagnose(after.snapshot(knowledge), _loaded(), {Knowledge: knowledge})
        errors = [one.message for one in report.findings if one.severity is Severity.ERROR]
        assert not errors, (build.commands, errors)
        crashed = [one.name for one in report.checks if one.status == "crashed"]
        assert not crashed
    return len(prescription.builds)


RELAXED = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
    "derandomize": True,
}


@settings(max_examples=80, **RELAXED)
@given(worlds(realistic=False))
def test_what_is_prescribed_works_on_any_machine(world: World) -> None:
    _holds(world)


@pytest.mark.heavy
@settings(max_examples=5000, **RELAXED)
@given(worlds(realistic=False))
def test_what_is_prescribed_works_on_5000_machines(world: World) -> None:
    _holds(world)


def test_most_realistic_machines_get_a_build() -> None:
    answers: Counter[bool] = Counter()

    @settings(max_examples=80, **RELAXED)
    @given(worlds(realistic=True))
    def count(world: World) -> None:
        answers[_holds(world) > 0] += 1

    count()
    share = answers[True] / sum(answers.values())
    assert share >= 0.6, answers
