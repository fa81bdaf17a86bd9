"""What is read from the target's files: distributions, RECORD, torch's build, components."""

import base64
import hashlib
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from envdoctor.api import Context, Distributions, InstalledFiles
from envdoctor.knowledge import load
from envdoctor.probes.components import read_components
from envdoctor.probes.context import context_of
from envdoctor.probes.distributions import read_distributions
from envdoctor.probes.fatbin import common_targets
from envdoctor.probes.file_check import FileCheck
from envdoctor.probes.installed_files import read_installed_files
from envdoctor.probes.installer import read_installer
from envdoctor.probes.run import Children
from envdoctor.probes.torch_build import find_torch, read_torch_absent, read_torch_build

LIBRARIES = load().libraries


def install(site: Path, name: str, version: str, **files: bytes) -> Path:
    """A distribution with a true RECORD; `files` are paths with `__` for `/`."""
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        "Requires-Dist: filelock\nRequires-Python: >=3.9\n\nName: not-this\n"
    )
    (info / "WHEEL").write_text("Tag: cp311-cp311-manylinux_2_28_x86_64\n")
    (info / "INSTALLER").write_text("uv\n")
    rows = []
    for key, data in files.items():
        path = site / key.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        rows.append(f"{key.replace('__', '/')},sha256={digest},{len(data)}")
    (info / "RECORD").write_text("\n".join([*rows, f"{info.name}/RECORD,,"]) + "\n")
    return info


def test_a_distribution_is_read_from_its_metadata(tmp_path: Path) -> None:
    install(tmp_path, "Flash_Attn", "2.5.8")
    (item,) = read_distributions([tmp_path]).items
    assert (item.name, item.version, item.installer) == ("flash-attn", "2.5.8", "uv")
    assert item.requires == ("filelock",)
    assert item.tags == ("cp311-cp311-manylinux_2_28_x86_64",)
    assert item.requires_python == ">=3.9"


def test_damaged_metadata_is_named_by_its_folder_or_unreadable(tmp_path: Path) -> None:
    (tmp_path / "torch-2.6.0+cu124.dist-info").mkdir()
    (tmp_path / "~orch-2.6.0.dist-info").mkdir()  # what pip left when it was interrupted
    (tmp_path / "-1.0.dist-info").mkdir()
    found = read_distributions([tmp_path])
    assert [(one.name, one.version) for one in found.items] == [("torch", "2.6.0+cu124")]
    assert found.unreadable == (str(tmp_path / "-1.0.dist-info"),)


def test_an_editable_install_is_one_without_its_url(tmp_path: Path) -> None:
    info = install(tmp_path, "mine", "1.0")
    (info / "direct_url.json").write_text(
        '{"url": "https://user:secret@host/x", "dir_info": {"editable": true}}'
    )
    found = read_distributions([tmp_path])
    assert found.items[0].editable
    assert "secret" not in repr(found)


@pytest.fixture
def here(children: Children) -> Context:
    return context_of(children)


def compared(
    distributions: Distributions, context: Context, *, deep: bool = False
) -> InstalledFiles:
    folders = dict.fromkeys(Path(one.location) for one in distributions.items)
    found = read_installed_files(distributions, FileCheck(tuple(folders), context, deep=deep))
    assert isinstance(found, InstalledFiles), found
    return found


def test_record_differences_by_kind(tmp_path: Path, here: Context) -> None:
    install(tmp_path, "thing", "1.0", thing__a=b"a", thing__b=b"bb", thing__c=b"ccc", d=b"d")
    (tmp_path / "thing/a").unlink()
    (tmp_path / "thing/b").write_bytes(b"b")
    (tmp_path / "thing/c").write_bytes(b"xxx")
    distributions = read_distributions([tmp_path])
    (shallow,) = compared(distributions, here).damaged
    assert [(one.path, one.kind) for one in shallow.files] == [
        ("thing/a", "missing"),
        ("thing/b", "size"),
    ]
    (deep,) = compared(distributions, here, deep=True).damaged
    assert [(one.path, one.kind) for one in deep.files][-1] == ("thing/c", "hash")
    assert compared(distributions, here).checked_files == 4


def test_what_installers_change_is_not_damage(tmp_path: Path, here: Context) -> None:
    info = install(tmp_path, "thing", "1.0", thing__a=b"a")
    with (info / "RECORD").open("a") as record:
        record.write("../../bin/thing,sha256=x,100\nthing/__pycache__/a.pyc,,\n")
        record.write(f"{info.name}/INSTALLER,sha256=x,99\n")
    assert compared(read_distributions([tmp_path]), here).damaged == ()


@pytest.mark.parametrize("name", ["a,b", 'a "quoted" name', "caf\xe9", "a b"])
def test_names_that_are_quoted_or_not_ascii(tmp_path: Path, here: Context, name: str) -> None:
    info = install(tmp_path, "thing", "1.0", thing__a=b"a")
    (tmp_path / name).write_bytes(b"abc")
    quoted = '"' + name.replace('"', '""') + '"' if set('",') & set(name) else name
    with (info / "RECORD").open("a", encoding="utf-8") as record:
        record.write(f"{quoted},,3\n")
    distributions = read_distributions([tmp_path])
    assert compared(distributions, here) == InstalledFiles(damaged=(), checked_files=2)
    (tmp_path / name).write_bytes(b"ab")
    (damaged,) = compared(distributions, here).damaged
    assert [(one.path, one.expected, one.actual) for one in damaged.files] == [(name, "3", "2")]


def test_only_the_first_fifty_are_named_and_all_counted(tmp_path: Path, here: Context) -> None:
    files = {f"thing__f{number:02}.txt": b"a" for number in range(60)}
    install(tmp_path, "thing", "1.0", thing__z_so=b"a", **files, **{"thing__lib.so": b"a"})
    shutil.rmtree(tmp_path / "thing")
    (damaged,) = compared(read_distributions([tmp_path]), here).damaged
    assert (damaged.damaged_count, len(damaged.files)) == (62, 50)
    assert damaged.files[0].path == "thing/lib.so"


def test_a_record_that_is_garbage_is_no_crash(tmp_path: Path, here: Context) -> None:
    info = install(tmp_path, "thing", "1.0", thing__a=b"a")
    (info / "RECORD").write_bytes(b'\x00\xff,,\n"open quote\nthing/a,,1\n')
    compared(read_distributions([tmp_path]), here)


VERSION = """
from typing import Optional
__all__ = ['__version__', 'debug', 'cuda', 'git_version', 'hip']
__version__ = '2.6.0+cu124'
debug = False
cuda: Optional[str] = '12.4'
git_version = 'abc'
hip: Optional[str] = None
"""
CONFIG = (
    '#define NVCC_FLAGS_EXTRA "-gencode;arch=compute_80,code=sm_80;-gencode;'
    'arch=compute_90,code=[sm_90,compute_90]"\n'
)


def torch_on_disk(site: Path, version: str = VERSION) -> Path:
    package = site / "torch"
    for name, text in {
        "__init__.py": "",
        "version.py": version,
        "nn/__init__.py": "",
        "lib/libc10.so": "",
        "lib/libtorch_cpu.so": "",
        "include/ATen/cuda/CUDAConfig.h": CONFIG,
        "share/cmake/Torch/TorchConfig.cmake": 'set(X "-D_GLIBCXX_USE_CXX11_ABI=0")',
    }.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    return package


def test_the_build_is_read_from_files(tmp_path: Path) -> None:
    package = torch_on_disk(tmp_path)
    assert find_torch([tmp_path / "empty", tmp_path], LIBRARIES) == package
    build = read_torch_build(package, Distributions(items=()), LIBRARIES)
    assert build is not None
    assert (build.version, build.cuda, build.variant) == ("2.6.0+cu124", "12.4", "cu124")
    assert build.arch_flags == ("compute_90", "sm_80", "sm_90")
    assert build.cxx11_abi is False
    assert "lib/libtorch_cuda.so" in build.missing_parts


def test_a_cut_version_file_leaves_the_metadata(tmp_path: Path) -> None:
    package = torch_on_disk(tmp_path, VERSION[:40])
    install(tmp_path, "torch", "2.6.0+cu118")
    build = read_torch_build(package, read_distributions([tmp_path]), LIBRARIES)
    assert build is not None
    assert (build.version, build.variant, build.cuda) == ("2.6.0+cu118", "cu118", "11.8")
    assert build.version_source == "METADATA of torch"


def test_metadata_alone_is_a_damaged_torch_not_an_absent_one(tmp_path: Path) -> None:
    install(tmp_path, "torch", "2.6.0")
    distributions = read_distributions([tmp_path])
    assert not read_torch_absent([tmp_path], None, distributions).absent
    build = read_torch_build(None, distributions, LIBRARIES)
    assert build is not None
    assert build.variant == "unknown"


def test_a_torch_of_another_minor_release_is_found_beside(tmp_path: Path) -> None:
    """Where there is none of this one's; its own folder of packages need not be there."""
    own, theirs = (tmp_path / f"lib/python3.{minor}/site-packages" for minor in (12, 11))
    torch_on_disk(theirs)
    nothing = Distributions(items=())
    assert read_torch_absent([], None, nothing, [own]).elsewhere == (str(theirs),)
    assert read_torch_absent([theirs], None, nothing).elsewhere == ()
    assert not read_torch_absent([own], theirs / "torch", nothing).elsewhere


def test_a_folder_called_torch_is_no_torch(tmp_path: Path) -> None:
    (tmp_path / "torch" / "data").mkdir(parents=True)
    assert find_torch([tmp_path], LIBRARIES) is None


@pytest.mark.parametrize(
    ("hip", "version", "variant"),
    [("'6.2.41133'", "2.6.0+rocm6.2", "rocm6.2"), ("None", "2.6.0+cpu", "cpu")],
)
def test_variants_without_cuda(tmp_path: Path, hip: str, version: str, variant: str) -> None:
    text = f"__version__ = '{version}'\ncuda = None\nhip = {hip}\n"
    build = read_torch_build(torch_on_disk(tmp_path, text), Distributions(items=()), LIBRARIES)
    assert build is not None
    assert build.variant == variant


def fatbin(*entries: tuple[int, int]) -> bytes:
    """A fatbin of (kind, architecture) entries with payloads of 40 bytes."""
    body = b"".join(
        struct.pack("<HHIQ12xI32x", kind, 0x101, 64, 40, target) + bytes(40)
        for kind, target in entries
    )
    return struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(body)) + body


def library(compiler: str, folder: Path, data: bytes) -> Path:
    """A real shared object whose section .nv_fatbin holds these bytes."""
    numbers = ",".join(map(str, data))
    source = folder / "fatbin.c"
    source.write_text(
        'const unsigned char held[] __attribute__((section(".nv_fatbin"), used)) = '
        f"{{{numbers}}};\n"
    )
    output = folder / "libtorch_cuda.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", output, source], check=True)
    return output


def test_targets_that_nearly_all_fatbins_hold(compiler: str, tmp_path: Path) -> None:
    usual, stray = fatbin((2, 80), (2, 90), (1, 90)), fatbin((2, 80), (2, 90), (1, 90), (2, 103))
    data = b"".join([usual, bytes(8)] * 19 + [stray])
    assert common_targets(library(compiler, tmp_path, data)) == ("compute_90", "sm_80", "sm_90")


@pytest.mark.parametrize("keep", [0, 3, 60, 500, 4000])
def test_a_cut_library_holds_no_targets_and_is_no_crash(
    compiler: str, tmp_path: Path, keep: int
) -> None:
    file = library(compiler, tmp_path, fatbin((2, 80)) * 50)
    cut = tmp_path / "cut.so"
    cut.write_bytes(file.read_bytes()[:keep])
    common_targets(cut)
    assert common_targets(tmp_path / "missing.so") == ()


def test_the_targets_of_a_real_nvcc(compiler: str, tmp_path: Path) -> None:
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("no nvcc on this machine")
    source, made, output = (tmp_path / f"kernel.{suffix}" for suffix in ("cu", "o", "so"))
    source.write_text("__global__ void kernel(float *x) { x[threadIdx.x] *= 2; }\n")
    targets = ["-gencode=arch=compute_80,code=sm_80", "-gencode=arch=compute_90,code=compute_90"]
    options = ["-Xcompiler", "-fPIC", "--no-compress"]
    subprocess.run([nvcc, "-c", *options, *targets, "-o", made, source], check=True)
    # nvcc's own link would add a fatbin without kernels.
    subprocess.run([compiler, "-shared", "-o", output, made], check=True)
    assert common_targets(output) == ("compute_90", "sm_80")


def test_a_component_whose_file_was_exchanged_has_no_version_from_metadata(
    tmp_path: Path, here: Context
) -> None:
    header = b"#define CUDNN_MAJOR 9\n#define CUDNN_MINOR 5\n#define CUDNN_PATCHLEVEL 1\n"
    install(
        tmp_path,
        "nvidia-cudnn-cu12",
        "9.1.0.70",
        **{
            "nvidia__cudnn__lib__libcudnn.so.9": b"x",
            "nvidia__cudnn__include__cudnn_version.h": header,
        },
    )
    distributions = read_distributions([tmp_path])
    whole = read_components([tmp_path], distributions, compared(distributions, here), LIBRARIES)
    assert [one.version for one in whole.items] == ["9.1.0.70", "9.5.1"]
    (tmp_path / "nvidia/cudnn/lib/libcudnn.so.9").write_bytes(b"another")
    changed = read_components([tmp_path], distributions, compared(distributions, here), LIBRARIES)
    assert [one.version for one in changed.items] == [None, "9.5.1"]


@pytest.mark.parametrize(
    ("traces", "name"),
    [
        ({"env/conda-meta/history": ""}, "conda"),
        ({"env/conda-meta/history": "", "env/conda-meta/pixi": ""}, "pixi"),
        ({"env/pyvenv.cfg": "home = /usr\nuv = 0.4.0\n"}, "uv"),
        ({"env/pyvenv.cfg": "home = /usr\n"}, "pip"),
    ],
)
def test_what_manages_the_environment(tmp_path: Path, traces: dict[str, str], name: str) -> None:
    for file, text in traces.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text)
    assert read_installer(str(tmp_path / "env"), Distributions(items=())).name == name


def test_a_lock_file_beside_the_environment_names_its_tool(tmp_path: Path) -> None:
    (tmp_path / ".venv").mkdir()
    (tmp_path / "poetry.lock").touch()
    found = read_installer(str(tmp_path / ".venv"), Distributions(items=()))
    assert (found.name, found.evidence) == ("poetry", str(tmp_path / "poetry.lock"))
