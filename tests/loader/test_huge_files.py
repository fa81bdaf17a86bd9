"""Files that claim to be huge, made with holes: nothing of them is taken into memory, and the
answer comes at once."""

import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests.loader.test_elf import real_libraries

HUGE = 100 << 30

LIMITED = """
import resource, sys, time
{imports}
resource.setrlimit(resource.RLIMIT_DATA, (200 << 20, 200 << 20))
began = time.monotonic()
try:
    print({expression})
except Exception as error:
    print(type(error).__name__, error)
assert time.monotonic() - began < 20
"""


def limited(imports: str, expression: str, path: Path) -> str:
    """What that gives in a process of little memory."""
    code = LIMITED.format(imports=imports, expression=expression)
    done = subprocess.run(
        [sys.executable, "-c", code, path],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def grown(tmp_path: Path, section: str) -> Path:
    """A real library whose section, by its header, is huge and lies in a hole behind the rest."""
    data = bytearray(Path(real_libraries()[0]).read_bytes())
    (table,) = struct.unpack_from("<Q", data, 40)
    size, count, names = struct.unpack_from("<HHH", data, 58)
    (names_at,) = struct.unpack_from("<Q", data, table + names * size + 24)
    for one in range(table, table + count * size, size):
        (at,) = struct.unpack_from("<I", data, one)
        name = data[names_at + at : data.index(b"\0", names_at + at)].decode()
        if name == section:
            struct.pack_into("<QQ", data, one + 24, len(data), HUGE)
            break
    else:
        raise AssertionError(f"no {section}")
    path = tmp_path / "libhuge.so"
    path.write_bytes(data)
    os.truncate(path, len(data) + HUGE)
    return path


def test_a_huge_section_is_not_read(tmp_path: Path) -> None:
    said = limited(
        "from pathlib import Path\nfrom envdoctor.probes.sections import read_section",
        "len(read_section(Path(sys.argv[1]), '.rodata'))",
        grown(tmp_path, ".rodata"),
    )
    assert said == f"TooLarge `.rodata` has {HUGE} bytes"


def test_huge_fatbins_are_searched_for_so_long_only(tmp_path: Path) -> None:
    said = limited(
        "from pathlib import Path\nfrom envdoctor.probes import fatbin, sections\n"
        "fatbin.find_section = lambda fd, name: sections.find_section(fd, '.rodata')",
        "fatbin.common_targets(Path(sys.argv[1]))",
        grown(tmp_path, ".rodata"),
    )
    assert said == "()"


def test_a_huge_file_is_not_searched_for_strings(tmp_path: Path) -> None:
    path = tmp_path / "libhuge.so"
    path.touch()
    os.truncate(path, HUGE)
    said = limited(
        "from envdoctor.loader.strings import version_after",
        "version_after(sys.argv[1], 'libcudart.so.')",
        path,
    )
    assert said == "None"


SYMBOLS = "from envdoctor.loader.elf import *\nfrom msgspec.structs import replace"
READ = (
    "len(read_symbols(replace(elf, tables=replace(elf.tables, {changes})), roughly={roughly})"
    ".required)"
)


@pytest.mark.parametrize("roughly", [True, False])
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ("strings_size=100 << 30", r"Unreadable its names claim \d+ bytes"),
        ("strings=1 << 31, strings_size=64 << 20", r"\d+|\w+ .*"),
        ("gnu_hash=1 << 31, hash=0", r"0|\w+ .*"),
        ("hash=1 << 31, gnu_hash=0", r"0|\w+ .*"),
        ("symbols=1 << 31", r"0"),
    ],
)
def test_huge_tables_of_symbols_are_refused(
    tmp_path: Path, changes: str, said: str, roughly: bool
) -> None:
    path = tmp_path / "libhuge.so"
    path.write_bytes(Path(real_libraries()[0]).read_bytes())
    os.truncate(path, HUGE)
    imports = f"{SYMBOLS}\nelf = read_elf(sys.argv[1])"
    expression = READ.format(changes=changes, roughly=roughly)
    assert re.fullmatch(said, limited(imports, expression, path))
