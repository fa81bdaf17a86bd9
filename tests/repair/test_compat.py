"""A libcuda of the package cuda-compat is taken away by what brought it."""

import pytest

from envdoctor.repair.site import OsFamily, Site
from envdoctor.repair.system import without_compat

PACKAGED = "/usr/local/cuda-12.4/compat/libcuda.so.550.54.15"
COPIED = "/opt/libs/libcuda.so.1"


@pytest.mark.parametrize(
    ("family", "path", "first"),
    [
        ("ubuntu", PACKAGED, "sudo apt-get remove 'cuda-compat-*'"),
        ("rhel", PACKAGED, "sudo dnf remove 'cuda-compat-*'"),
        ("other", PACKAGED, f"dpkg -S {PACKAGED} || rpm -qf {PACKAGED}"),
        ("ubuntu", COPIED, f"dpkg -S {COPIED} || rpm -qf {COPIED}"),
    ],
)
def test_who_owns_it_removes_it(family: OsFamily, path: str, first: str) -> None:
    fix = without_compat(Site(target="/venv/bin/python", os_family=family), path)
    assert fix.commands[0] == first
    assert fix.commands[-1] == "sudo ldconfig"
    assert path in fix.summary
