"""Variables, folders and files: the commands do what the fix says, in a real shell."""

import subprocess
from pathlib import Path

import pytest
from msgspec.structs import replace

from envdoctor.findings import Fix, Safety
from envdoctor.repair import surroundings
from tests.repair.shell import HOSTILE


def run(fix: Fix, then: str, *, cwd: Path, **variables: str) -> str:
    """What a shell prints that was given the fix and one more line."""
    assert fix.safety is Safety.SAFE
    done = subprocess.run(
        ["sh", "-euc", "\n".join((*fix.commands, then))],
        env={"PATH": "/usr/bin:/bin", "HOME": "/", **variables},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )
    assert not list(cwd.glob("pwned*"))
    return done.stdout


def test_a_variable_is_unset(tmp_path: Path) -> None:
    fix = surroundings.unset("LD_PRELOAD", proof="it works without")
    assert run(fix, 'echo "${LD_PRELOAD-none}"', cwd=tmp_path, LD_PRELOAD="") == "none\n"
    assert fix.proof == "it works without"


def test_a_variable_is_set_for_what_follows(tmp_path: Path) -> None:
    fix = surroundings.set_variable("CUDA_HOME", HOSTILE, summary="point it there")
    assert run(fix, "env | grep ^CUDA_HOME=", cwd=tmp_path) == f"CUDA_HOME={HOSTILE}\n"


@pytest.mark.parametrize(
    ("entries", "unwanted", "left"),
    [
        (["/a", "/b", "/c"], ["/b"], "/a:/c"),
        (["/a", "/b/", "/c"], ["/b"], "/a:/c"),
        (["/a", HOSTILE, "/b"], ["/b"], f"/a:{HOSTILE}"),
        (["/a", "", "/b"], ["/b"], "/a"),
        (["/b"], ["/b"], None),
        (["/b", "/b/."], ["/b"], None),
    ],
)
def test_an_entry_is_taken_out_of_a_list(
    entries: list[str], unwanted: list[str], left: str | None, tmp_path: Path
) -> None:
    fix = surroundings.without_entry("PYTHONPATH", entries, unwanted)
    shown = run(fix, 'printf %s "${PYTHONPATH-unset}"', cwd=tmp_path, PYTHONPATH=":".join(entries))
    assert shown == (left or "unset")


def test_a_file_in_the_way_is_renamed_and_nothing_is_overwritten(tmp_path: Path) -> None:
    folder = tmp_path / HOSTILE
    folder.mkdir()
    (folder / "random.py").write_text("mine")
    fix = surroundings.rename(str(folder / "random.py"))
    run(fix, "true", cwd=tmp_path)
    assert (folder / "my_random.py").read_text() == "mine"
    (folder / "random.py").write_text("another")
    subprocess.run(["sh", "-c", *fix.commands], check=False, timeout=20)
    assert (folder / "my_random.py").read_text() == "mine"


def test_the_folder_is_left(tmp_path: Path) -> None:
    fix = surroundings.leave_folder(str(tmp_path))
    assert run(fix, "pwd", cwd=tmp_path) == "/\n"
    assert str(tmp_path) in fix.summary


def test_the_path_file_that_names_a_folder_is_found(tmp_path: Path) -> None:
    site = tmp_path / HOSTILE
    site.mkdir()
    (site / "other.pth").write_text("/elsewhere\n")
    (site / "mine.pth").write_text(f"{HOSTILE}\n")
    fix = surroundings.without_path_line(HOSTILE, [str(site)])
    assert run(fix, "true", cwd=tmp_path) == f"{site}/mine.pth\n"


def test_the_lines_that_name_a_folder_are_taken_out(tmp_path: Path) -> None:
    file = tmp_path / f"{HOSTILE}.pth"
    file.write_text("/keep\n/other\nimport mine\n/keep too\n")
    fix = surroundings.without_path_lines("/other", [(str(file), 2), (str(file), 3)])
    assert fix.safety is Safety.CHANGES_ENV
    run(replace(fix, safety=Safety.SAFE), "true", cwd=tmp_path)
    assert file.read_text() == "/keep\n/keep too\n"


def test_the_loaders_own_file_needs_root() -> None:
    fix = surroundings.without_preload_line("/x/lib.so")
    assert fix.safety is Safety.NEEDS_ROOT
