"""Which machine it is: the same for ever, and nothing that could be read back."""

from pathlib import Path

import pytest

from envdoctor.facts.machine import HostIdentity
from envdoctor.probes.context import context_of
from envdoctor.probes.host import host_identity
from envdoctor.probes.run import Children

ID = "0123456789abcdef0123456789abcdef"


def machine(root: Path, text: str = ID, place: str = "etc/machine-id") -> Path:
    (root / place).parent.mkdir(parents=True)
    (root / place).write_text(text + "\n")
    return root


def identity_of(root: Path, name: str) -> HostIdentity | None:
    return host_identity(context_of(Children(), root=root), name)


def test_it_is_the_same_for_the_same_machine_only(tmp_path: Path) -> None:
    one = machine(tmp_path / "one")
    identity = identity_of(one, "node-1")
    assert identity is not None
    assert identity == identity_of(one, "node-1")
    others = [
        identity_of(one, "node-2"),
        identity_of(machine(tmp_path / "b", "f" * 32), "node-1"),
    ]
    assert identity not in others


def test_it_holds_neither_id_nor_name(tmp_path: Path) -> None:
    identity = identity_of(machine(tmp_path), "node-1")
    assert identity is not None
    assert len(identity.id) == 16
    assert identity.id not in ID
    assert int(identity.id, 16)


def test_older_systems_keep_the_id_elsewhere(tmp_path: Path) -> None:
    old = machine(tmp_path / "old", place="var/lib/dbus/machine-id")
    assert identity_of(old, "n") == identity_of(machine(tmp_path / "new"), "n")


@pytest.mark.parametrize("text", ["", "uninitialized"])
def test_without_an_id_the_name_alone_tells(tmp_path: Path, text: str) -> None:
    image = machine(tmp_path, text)
    assert identity_of(image, "0f3c") == identity_of(tmp_path / "nothing", "0f3c")
    assert identity_of(image, "0f3c") != identity_of(image, "77aa")


def test_without_any_there_is_none(tmp_path: Path) -> None:
    assert identity_of(tmp_path, "") is None
