"""Two machines to be compared: one, and the same with other noise and one thing changed."""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import msgspec

from envdoctor.api import Fact, Observed, Snapshot, Unknown
from envdoctor.compare.pair import Examined
from envdoctor.compare.records import Comparison, SourceKind
from envdoctor.comparing import compared
from envdoctor.derived import observed_types_of
from envdoctor.facts.documents import facts_from_builtins, facts_to_builtins
from envdoctor.facts.machine import Gpus, Host, HostIdentity, Limits, PciGpus, WorkingFolder
from envdoctor.facts.torch import TorchImport
from envdoctor.session import Session
from tests.support.diagnosis import loaded, report_on


@cache
def session() -> Session:
    """Plugins and knowledge, once for all tests."""
    return Session()


def side(snapshot: Snapshot, label: str = "facts.json", kind: SourceKind = "document") -> Examined:
    """A recorded machine, diagnosed."""
    return Examined(label=label, kind=kind, snapshot=snapshot, report=report_on(snapshot))


def comparison(first: Snapshot, second: Snapshot) -> Comparison:
    """Two recorded machines beside each other."""
    one = side(first, "a.json")
    same = first is second
    other = msgspec.structs.replace(one, label="b.json") if same else side(second, "b.json")
    return compared(session(), one, other)


def changed(
    snapshot: Snapshot, *facts: Fact | tuple[type[Fact], Unknown], **fields: Any
) -> Snapshot:
    """The machine with whole facts replaced, and with single fields of facts."""
    for one in facts:
        kind, known = one if isinstance(one, tuple) else (type(one), _observed(one))
        snapshot = snapshot.with_facts({kind: known})
    by_name = {kind.__name__: kind for kind, _ in snapshot.items()}
    for name, values in fields.items():
        value = snapshot.value(by_name[name])
        assert value is not None, f"{name} is not known"
        changed_value = msgspec.structs.replace(value, **values)
        snapshot = snapshot.with_facts({by_name[name]: _observed(changed_value)})
    return snapshot


def _observed(fact: Fact) -> Observed[Any]:
    return Observed(value=fact, source="changed")


def moved(snapshot: Snapshot, places: Mapping[str, str]) -> Snapshot:
    """The machine with other paths, in all of its facts."""
    text = json.dumps(facts_to_builtins(snapshot))
    for old, new in places.items():
        text = text.replace(old, new)
    return facts_from_builtins(json.loads(text), observed_types_of(loaded()))


def another_look(snapshot: Snapshot) -> Snapshot:
    """The same machine type under another name, at another time, with other memory free."""
    snapshot = changed(
        snapshot, HostIdentity(id="f" * 16), WorkingFolder(path="/srv", free_bytes=7)
    )
    host, limits = snapshot.value(Host), snapshot.value(Limits)
    if host is not None:
        snapshot = changed(snapshot, Host={"memory_available_bytes": 1_000_000_000})
    if limits is not None:
        snapshot = changed(snapshot, Limits={"shm_free_bytes": (limits.shm_bytes or 2**30) - 1})
    if snapshot.value(TorchImport) is not None:
        snapshot = changed(snapshot, TorchImport={"seconds": 9.0})
    return _other_cards(snapshot)


def _other_cards(snapshot: Snapshot) -> Snapshot:
    """Cards of the same model in other slots, warmer and with memory in use."""
    gpus, pci = snapshot.value(Gpus), snapshot.value(PciGpus)
    if gpus is not None:
        devices = tuple(
            msgspec.structs.replace(
                one,
                uuid=f"GPU-{number:08x}-1111-2222-3333-444444444444",
                temperature_c=71,
                memory_used_bytes=123 << 20,
                pci_address=one.pci_address and f"00000000:{number + 64:02X}:00.0",
            )
            for number, one in enumerate(gpus.devices)
        )
        snapshot = changed(snapshot, Gpus(devices=devices))
    if pci is not None:
        slots = tuple(
            msgspec.structs.replace(one, address=f"0000:{number + 64:02x}:00.0")
            for number, one in enumerate(pci.devices)
        )
        snapshot = changed(snapshot, PciGpus(devices=slots))
    return snapshot
