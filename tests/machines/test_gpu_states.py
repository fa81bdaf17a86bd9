"""Every state below torch has its finding first; every machine that only looks so has none."""

from collections.abc import Mapping

import pytest
from envdoctor_checks.amd import nearest_target
from msgspec.structs import replace

from envdoctor.api import Container, Observed, PciGpus, Severity
from envdoctor.diagnose import diagnose
from envdoctor.findings import Verdict
from envdoctor.knowledge import Knowledge, load
from envdoctor.plugin_loading import load_plugins
from envdoctor.plugins import Loaded
from tests.support.attached_states import ATTACHED_DISEASES
from tests.support.diagnosis import report_on
from tests.support.given_states import GIVEN_DISEASES, GIVEN_LOOKALIKES
from tests.support.gpu_states import DISEASES as GPU_DISEASES
from tests.support.gpu_states import LOOKALIKES as GPU_LOOKALIKES
from tests.support.held_states import HELD_DISEASES, HELD_LOOKALIKES
from tests.support.host_states import HOST_DISEASES, HOST_LOOKALIKES
from tests.support.place_states import PLACE_DISEASES, PLACE_LOOKALIKES, radeon_in_torch
from tests.support.refused_states import REFUSED_DISEASES, REFUSED_LOOKALIKES
from tests.support.system_states import SYSTEM_DISEASES, SYSTEM_LOOKALIKES

IN_THEIR_PLACE = {
    **PLACE_DISEASES,
    **ATTACHED_DISEASES,
    **HELD_DISEASES,
    **GIVEN_DISEASES,
    **SYSTEM_DISEASES,
    **REFUSED_DISEASES,
}
DISEASES = {
    **GPU_DISEASES,
    **HOST_DISEASES,
    **{name: case for name, (case, _) in IN_THEIR_PLACE.items()},
}
LOOKALIKES = {
    **GPU_LOOKALIKES,
    **HOST_LOOKALIKES,
    **PLACE_LOOKALIKES,
    **HELD_LOOKALIKES,
    **GIVEN_LOOKALIKES,
    **SYSTEM_LOOKALIKES,
    **REFUSED_LOOKALIKES,
}

HOST_COMMANDS = ("modprobe", "rmmod", "systemctl", "dkms", "reboot", "ubuntu-drivers", "usermod")


@pytest.fixture(scope="module")
def loaded() -> Loaded:
    return load_plugins()


@pytest.fixture(scope="module")
def services() -> Mapping[type, object]:
    return {Knowledge: load()}


@pytest.mark.parametrize("name", DISEASES)
def test_the_cause_is_first_and_alone(
    name: str, loaded: Loaded, services: Mapping[type, object]
) -> None:
    case = DISEASES[name]
    report = diagnose(case.snapshot, loaded, services)
    first = report.findings[0]
    assert (first.name, report.exit_code) == (case.first, case.exit_code)
    errors = [one for one in report.findings if one.severity is Severity.ERROR]
    assert all(one.because for one in errors[1:]), [(one.name, one.because) for one in errors]
    assert first.fixes


@pytest.mark.parametrize(
    ("name", "offered"),
    [("part-of-a-gpu-under-the-usual-driver", True), ("bar-without-address-space", False)],
)
def test_a_part_of_a_gpu_needs_the_drivers_of_its_provider(
    name: str, offered: bool, loaded: Loaded, services: Mapping[type, object]
) -> None:
    first = diagnose(DISEASES[name].snapshot, loaded, services).findings[0]
    assert any("GRID driver" in fix.summary for fix in first.fixes) is offered


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("no-node-since-the-start", "PrivateDevices=no"),
        ("container-user-outside-of-the-group", "label=disable"),
    ],
)
def test_what_may_be_the_cause_as_well_is_told(
    name: str, word: str, loaded: Loaded, services: Mapping[type, object]
) -> None:
    first = diagnose(DISEASES[name].snapshot, loaded, services).findings[0]
    assert word in "\n".join(text for one in first.fixes for text in (one.summary, *one.commands))


@pytest.mark.parametrize("name", IN_THEIR_PLACE)
def test_the_first_fix_is_one_for_that_place(
    name: str, loaded: Loaded, services: Mapping[type, object]
) -> None:
    case, word = IN_THEIR_PLACE[name]
    first = diagnose(case.snapshot, loaded, services).findings[0].fixes[0]
    assert word in "\n".join((first.summary, *first.commands))


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("radeon-with-open-nodes", "usermod"),
        ("radeon-with-open-nodes-in-docker", "docker run"),
        ("index-of-hip-beyond-what-rocr-leaves", "usermod"),
        ("radeon-in-lxc-with-the-group-of-the-host", "usermod"),
        ("pod-whose-cgroup-was-rewritten", "supplementalGroups"),
        ("memory-error-in-a-job", "sudo"),
    ],
)
def test_what_cannot_help_there_is_not_offered(
    name: str, word: str, loaded: Loaded, services: Mapping[type, object]
) -> None:
    first = diagnose(DISEASES[name].snapshot, loaded, services).findings[0]
    assert all(word not in text for one in first.fixes for text in (one.summary, *one.commands))


@pytest.mark.parametrize("name", LOOKALIKES)
def test_a_machine_that_works_gets_no_alarm(
    name: str, loaded: Loaded, services: Mapping[type, object]
) -> None:
    report = diagnose(LOOKALIKES[name], loaded, services)
    loud = [one for one in report.findings if one.severity is not Severity.INFO]
    assert not loud, [(one.name, one.message) for one in loud]
    assert (report.verdict.value, report.exit_code) == ("healthy", 0)


@pytest.mark.parametrize("name", DISEASES)
def test_no_command_of_the_host_is_given_inside_a_container(
    name: str, loaded: Loaded, services: Mapping[type, object]
) -> None:
    case = DISEASES[name]
    container = case.snapshot.value(Container)
    if container is None or container.kind == "none":
        return
    for finding in diagnose(case.snapshot, loaded, services).findings:
        for fix in finding.fixes:
            text = "\n".join((fix.summary, *fix.commands))
            assert not any(word in text for word in HOST_COMMANDS) or "host" in text, text


def _foreign(text: str, kind: str) -> bool:
    """Whether a fix is one of the host, or of another kind of container."""
    of_the_host = any(word in text for word in HOST_COMMANDS) and "host" not in text
    return of_the_host or ("docker run" in text and kind != "docker")


@pytest.mark.heavy
@pytest.mark.parametrize("kind", ["docker", "podman", "kubernetes", "apptainer", "lxc", "enroot"])
def test_every_fix_is_one_for_the_container_in_which_the_state_is_found(
    kind: str, loaded: Loaded, services: Mapping[type, object]
) -> None:
    wrong = set()
    for name, case in DISEASES.items():
        container = Container(kind=kind, evidence="synthetic")
        wsl = case.snapshot.value(Container)
        inside = Observed(
            value=replace(container, wsl=wsl.wsl if wsl else None), source="synthetic"
        )
        report = diagnose(case.snapshot.with_facts({Container: inside}), loaded, services)
        for finding in report.findings:
            texts = ("\n".join((fix.summary, *fix.commands)) for fix in finding.fixes)
            wrong |= {(name, finding.name, text) for text in texts if _foreign(text, kind)}
    assert not wrong


@pytest.mark.parametrize(
    ("capability", "architectures", "target"),
    [
        ("10.3", ("gfx900", "gfx1030", "gfx1100"), "10.3.0"),
        ("11.5", ("gfx900", "gfx1030", "gfx1100"), "11.0.0"),
        ("11.5", ("gfx1100", "gfx1151"), "11.5.1"),
        ("10.1", ("gfx1030",), "10.3.0"),
        ("10.1", ("gfx1100",), None),
        ("9.4", ("gfx90a:sramecc+:xnack-", "gfx942"), None),
        ("12.0", ("gfx1030", "gfx1100"), None),
        ("", ("gfx1030",), None),
    ],
)
def test_the_override_is_a_target_that_the_build_has(
    capability: str, architectures: tuple[str, ...], target: str | None
) -> None:
    assert nearest_target(capability, architectures) == target


def test_a_display_card_of_nvidia_beside_a_radeon_that_computes_breaks_nothing() -> None:
    working = radeon_in_torch(None)
    bus = working.value(PciGpus)
    assert bus is not None
    card = replace(bus.devices[0], vendor_id="10de", device_id="1d01", address="0000:65:00.0")
    both = Observed(value=PciGpus(devices=(*bus.devices, card)), source="synthetic")
    report = report_on(working.with_facts({PciGpus: both}))
    assert (report.verdict, report.exit_code) == (Verdict.DEGRADED, 0)
