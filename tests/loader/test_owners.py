"""Who owns a file: RECORD, conda-meta, dpkg."""

import json
import os
from pathlib import Path

from envdoctor.facts.libraries import Owner
from envdoctor.facts.python import Distribution
from envdoctor.loader.owners import Owners, wheel_files
from envdoctor.loader.resolve import version_of
from tests.conftest import require


def wheel(site: Path, content: bytes = b"x" * 10) -> Distribution:
    """An installed wheel with one library of ten recorded bytes."""
    library = site / "nvidia" / "nccl" / "lib" / "libnccl.so.2"
    library.parent.mkdir(parents=True)
    library.write_bytes(content)
    info = site / "nvidia_nccl_cu12-2.21.5.dist-info"
    info.mkdir()
    (info / "RECORD").write_text(
        "nvidia/nccl/lib/libnccl.so.2,sha256=abc,10\n"
        '"nvidia/nccl/lib/with, comma.so",sha256=abc,3\n'
        "nvidia/__init__.py,,\n"
    )
    return Distribution(
        name="nvidia-nccl-cu12", version="2.21.5", location=str(site), metadata_path=str(info)
    )


def test_a_wheel_owns_what_its_record_lists(tmp_path: Path):
    files = wheel_files([wheel(tmp_path)])
    path = str(tmp_path / "nvidia/nccl/lib/libnccl.so.2")
    owner = Owners(wheels=files).of([path])[path]
    assert owner == Owner(kind="wheel", name="nvidia-nccl-cu12", version="2.21.5", intact=True)
    assert version_of(path, owner) == "2.21.5"
    assert len(files) == 2


def test_a_changed_file_no_longer_has_the_wheels_version(tmp_path: Path):
    files = wheel_files([wheel(tmp_path, content=b"other bytes")])
    path = str(tmp_path / "nvidia/nccl/lib/libnccl.so.2")
    owner = Owners(wheels=files).of(iter([path]))[path]
    assert owner.intact is False
    assert version_of(path, owner) is None


def test_a_missing_file_is_still_recorded(tmp_path: Path):
    files = wheel_files([wheel(tmp_path)])
    (tmp_path / "nvidia/nccl/lib/libnccl.so.2").unlink()
    owner = Owners(wheels=files).recorded("libnccl.so.2")
    assert owner is not None
    assert owner.name == "nvidia-nccl-cu12"


def test_conda_owns_what_its_metadata_lists(tmp_path: Path):
    library = tmp_path / "lib" / "libcudart.so.12.4.127"
    library.parent.mkdir()
    library.write_bytes(b"x")
    link = tmp_path / "lib" / "libcudart.so.12"
    link.symlink_to(library.name)
    meta = tmp_path / "conda-meta"
    meta.mkdir()
    package = {"name": "cuda-cudart", "version": "12.4.127", "files": ["lib/libcudart.so.12.4.127"]}
    (meta / "cuda-cudart-12.4.127-0.json").write_text(json.dumps(package))
    (meta / "broken-1-0.json").write_text('{"files": ["lib/libcudart.so.12.4.127"')
    owner = Owners(conda_prefix=str(tmp_path)).of([str(link)])[str(link)]
    assert (owner.kind, owner.name, owner.version) == ("conda", "cuda-cudart", "12.4.127")


def test_dpkg_owns_the_systems_libraries():
    require(os.path.isdir("/var/lib/dpkg/info"), "dpkg")
    for path in ("/lib/x86_64-linux-gnu/libc.so.6", "/usr/lib/x86_64-linux-gnu/libc.so.6"):
        if os.path.exists(path):
            owner = Owners().of([path])[path]
            assert (owner.kind, owner.name) == ("dpkg", "libc6")
            assert owner.version


def test_a_version_in_the_file_name_counts_without_an_owner():
    assert version_of("/usr/lib/libcudnn.so.9.5.1", None) == "9.5.1"
    assert version_of("/usr/lib/libcudnn.so.9", None) is None
    assert version_of(None, None) is None
