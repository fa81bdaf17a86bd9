"""What the exception of an import says, and what the wheels say of the Python that imports them."""

import pytest
from msgspec.structs import replace

from envdoctor.facts.machine import Environment, Limits
from envdoctor.facts.python import Distributions, Installer
from envdoctor.facts.torch import (
    CompanionImport,
    CompanionImports,
    Frame,
    ImportTrial,
    ImportTrials,
    TorchAbsent,
    TorchImport,
)
from envdoctor.findings import Severity
from tests.repair.facts import (
    OWN,
    PREFIX,
    REQUIRED,
    TORCH,
    WORKS,
    distribution,
    findings,
    interpreter,
    roots,
)


def failed(message: str) -> TorchImport:
    return TorchImport(outcome="exception", seconds=1.0, exception="ImportError", message=message)


@pytest.mark.parametrize(
    ("message", "code", "command"),
    [
        (
            "libtorch_cpu.so: cannot enable executable stack as shared object requires: Invalid",
            "ED323",
            "export GLIBC_TUNABLES=glibc.rtld.execstack=2",
        ),
        (
            f"{OWN}/torch/lib/libtorch_global_deps.so: failed to map segment from shared object",
            "ED324",
            f"findmnt --target {OWN}/torch/lib/libtorch_global_deps.so",
        ),
        ("No module named '_ctypes'", "ED106", None),
        (
            "marshal data too short",
            "ED110",
            f"find {OWN} -path '*__pycache__*' -name '*.pyc' -delete",
        ),
        (
            "Failed to load the backend extension: torch_npu. You can disable extension "
            "auto-loading with TORCH_DEVICE_BACKEND_AUTOLOAD=0.",
            "ED111",
            "export TORCH_DEVICE_BACKEND_AUTOLOAD=0",
        ),
        (
            "/x/torch.libs/libgomp-d22c30c5.so.1: cannot allocate memory in static TLS block",
            "ED339",
            "export LD_PRELOAD=/x/torch.libs/libgomp-d22c30c5.so.1",
        ),
        ("libffi.so.7: cannot open shared object file: No such file or directory", "ED117", None),
        (
            f"cannot import name '_initExtension' from 'torch._C' ({OWN}/torch/_C/__init__.py)",
            "ED118",
            f"mv -n -- {OWN}/torch/_C/__init__.py {OWN}/torch/_C/__init__.py.aside",
        ),
    ],
)
def test_an_error_that_names_its_cause(message: str, code: str, command: str | None) -> None:
    (first,) = roots(failed(message))
    assert first.code == code
    assert next(iter(first.fixes[0].commands), None) == command


def test_the_cause_of_the_exception_is_read_as_well() -> None:
    wrapped = replace(failed("torch is not usable"), cause="No module named '_lzma'")
    (first,) = roots(wrapped)
    assert "`_lzma`" in first.message


def test_a_limit_of_the_address_space_is_told_from_a_noexec_mount() -> None:
    """ED327; the loader says the same of both."""
    limits = Limits(
        usable_cpus=2,
        affinity_cpus=2,
        cgroup_cpu_quota=None,
        cgroup_memory_bytes=None,
        shm_bytes=None,
        shm_free_bytes=None,
        address_space_bytes=3_000_000_000,
    )
    said = failed("libnccl.so.2: failed to map segment from shared object")
    (first,) = roots(said, limits)
    assert (first.code, first.fixes[0].commands) == ("ED327", ("ulimit -v unlimited",))
    assert "3.0 GB" in first.message
    assert [one.code for one in roots(said)] == ["ED324"]
    assert "ED327" not in {one.code for one in findings(failed("anything"), limits).values()}


def test_the_error_of_a_companion_is_read_too() -> None:
    """Torch imports no `_lzma`, and torchvision does."""
    found = CompanionImport(
        name="torchvision", outcome="exception", message="No module named '_lzma'"
    )
    vision = distribution("torchvision", "0.21.0+cpu")
    items = Distributions(items=(TORCH, *REQUIRED, vision))
    (first,) = roots(items, CompanionImports(items=(found,)))
    assert (first.code, first.breaks) == ("ED106", ("import:torchvision",))


def test_a_torch_for_another_python_is_told_with_all_that_came_with_it() -> None:
    """ED107"""
    tags = ("cp312-cp312-manylinux_2_28_x86_64",)
    torch = replace(TORCH, tags=tags)
    numpy = replace(distribution("numpy", "2.2.6"), tags=tags)
    plain = replace(distribution("jinja2", "3.1"), tags=("py3-none-any",))
    items = Distributions(items=(torch, numpy, plain, *REQUIRED))
    (first,) = roots(items, failed("No module named 'torch._C'"))
    assert first.code == "ED107"
    assert "for Python 3.12, and this is Python 3.11" in first.message
    assert [one.label for one in first.evidence] == ["torch", "numpy"]
    assert not [one for one in findings(items).values() if one.code == "ED107"]


def test_a_library_of_a_python_of_conda_comes_with_it() -> None:
    conda = Installer(name="conda", evidence="conda-meta", in_conda=True)
    (first,) = roots(failed("libffi.so.7: cannot open shared object file"), conda)
    line = f"conda install --yes --prefix {PREFIX} -c conda-forge --force-reinstall python=3.11"
    assert first.fixes[0].commands == (f"{line} libffi",)


@pytest.mark.parametrize(
    ("tag", "soabi", "words"),
    [
        ("cp313t", "cpython-313-x86_64-linux-gnu", "for Python 3.13t, the free-threaded one, and"),
        ("cp313", "cpython-313t-x86_64-linux-gnu", "this is Python 3.13t, the free-threaded one"),
    ],
)
def test_a_torch_for_the_python_with_or_without_its_lock(tag: str, soabi: str, words: str) -> None:
    """PEP 703: the two share a version, and no compiled module."""
    torch = replace(TORCH, tags=(f"cp313-{tag}-manylinux_2_28_x86_64",))
    python = replace(interpreter(), version="3.13.1", version_info=(3, 13, 1), soabi=soabi)
    (first,) = roots(Distributions(items=(torch, *REQUIRED)), python, failed("No module named"))
    assert first.code == "ED107"
    assert words in first.message
    fits = replace(TORCH, tags=(f"cp313-{'cp313t' if tag == 'cp313' else 'cp313'}-any",))
    found = roots(Distributions(items=(fits, *REQUIRED)), python, failed("No module named"))
    assert "ED107" not in {one.code for one in found}


def test_a_torch_for_another_machine() -> None:
    """As where a folder was copied from an image for linux/arm64."""
    torch = replace(TORCH, tags=("cp311-cp311-manylinux_2_28_aarch64",))
    lost = "libtorch_global_deps.so: cannot open shared object file: No such file or directory"
    (first,) = roots(Distributions(items=(torch, *REQUIRED)), failed(lost))
    assert first.code == "ED107"
    assert "compiled for aarch64, and this is x86_64" in first.message


def test_a_wheel_of_macos_for_both_of_its_machines() -> None:
    mac = replace(interpreter(), soabi="cpython-311-darwin", machine="arm64")
    torch = replace(TORCH, tags=("cp311-cp311-macosx_11_0_universal2",))
    found = roots(Distributions(items=(torch, *REQUIRED)), mac, failed("anything"))
    assert "ED107" not in {one.code for one in found}


@pytest.mark.parametrize(
    ("platform", "system"), [("macosx_11_0_arm64", "macOS"), ("win_amd64", "Windows")]
)
def test_a_torch_for_another_system(platform: str, system: str) -> None:
    """As where a folder for AWS Lambda is filled on a Mac."""
    torch = replace(TORCH, tags=(f"cp311-cp311-{platform}",))
    (first,) = roots(Distributions(items=(torch, *REQUIRED)), failed("invalid ELF header"))
    assert first.code == "ED107"
    assert f"compiled for {system}, and this is Linux" in first.message


def test_packages_that_a_newer_python_left_behind() -> None:
    """ED112: the base of an environment went from 3.10 to 3.11."""
    left = f"{PREFIX}/lib/python3.10/site-packages"
    absent = TorchAbsent(absent=True, searched=(OWN,), elsewhere=(left,))
    facts = (Distributions(items=REQUIRED), absent, failed("No module named 'torch'"))
    (first,) = roots(*facts)
    assert (first.code, first.fixes[0].commands[-1]) == (
        "ED112",
        f"python3.10 -m venv --upgrade --without-pip {PREFIX}",
    )
    assert "its packages stay" in first.fixes[0].summary
    conda = Installer(name="conda", evidence="conda-meta", in_conda=True)
    (first,) = roots(*facts, conda, replace(interpreter(), base_prefix=PREFIX))
    line = f"conda install --yes --prefix {PREFIX} -c conda-forge python=3.10"
    assert first.fixes[0].commands == (line,)
    not_found = replace(absent, elsewhere=())
    (first,) = roots(Distributions(items=REQUIRED), not_found, failed("No module named 'torch'"))
    assert first.code == "ED400"


def test_an_editable_torch_whose_checkout_is_gone() -> None:
    """ED421"""
    torch = replace(TORCH, editable=True)
    items = Distributions(items=(torch, *REQUIRED))
    (first,) = roots(items, failed("No module named 'torch'"))
    assert first.code == "ED421"
    assert first.fixes[0].commands == (f"cat {TORCH.metadata_path}/direct_url.json",)
    assert [one.code for one in roots(items, failed("No module named 'torch._C'"))] == ["ED401"]


def test_packages_of_the_user_that_a_newer_system_left_behind() -> None:
    left = "/home/me/.local/lib/python3.10/site-packages"
    absent = TorchAbsent(absent=True, searched=(OWN,), elsewhere=(left,))
    system = replace(interpreter(), base_prefix=PREFIX)
    (first,) = roots(Distributions(items=REQUIRED), absent, system, failed("No module named"))
    assert first.fixes[0].commands == ("python3.10 -X faulthandler -c 'import torch'",)


def test_an_environment_is_not_given_another_python_for_what_lies_outside_of_it() -> None:
    """A new environment beside another project's torch among the user's own packages."""
    left = "/home/me/.local/lib/python3.10/site-packages"
    absent = TorchAbsent(absent=True, searched=(OWN,), elsewhere=(left,))
    (first,) = roots(Distributions(items=REQUIRED), absent, failed("No module named 'torch'"))
    assert not [line for fix in first.fixes for line in fix.commands if PREFIX in line]


@pytest.mark.parametrize(
    "tag",
    [
        "cp311-cp311-linux_x86_64",
        "cp39-abi3-linux_x86_64",
        "cp311-none-any",
    ],
)
def test_a_wheel_that_serves_this_python_is_not_foreign(tag: str) -> None:
    items = Distributions(items=(replace(TORCH, tags=(tag,)), *REQUIRED))
    assert "ED107" not in {one.code for one in findings(items, failed("anything")).values()}


def test_a_folder_without_init_is_no_torch() -> None:
    empty = replace(WORKS, file=None, version=None)
    facts = (Distributions(items=REQUIRED), TorchAbsent(absent=True, searched=(OWN,)), empty)
    first = roots(*facts)[0]
    assert (first.code, first.severity) == ("ED400", Severity.ERROR)


def test_an_empty_module_that_nothing_explains_is_told_as_that() -> None:
    first = roots(replace(WORKS, file=None, version=None))[0]
    assert first.code == "ED401"
    assert "a folder without an `__init__.py` is imported" in first.message


def torchcodec(message: str) -> tuple[Distributions, CompanionImports]:
    found = CompanionImport(
        name="torchcodec", outcome="exception", exception="RuntimeError", message=message
    )
    items = (TORCH, *REQUIRED, distribution("torchcodec", "0.2.1"))
    return Distributions(items=items), CompanionImports(items=(found,))


MISSING = "libavutil.so.{}: cannot open shared object file: No such file or directory"


def test_a_torchcodec_that_finds_no_ffmpeg() -> None:
    """ED378"""
    said = "\n".join(MISSING.format(number) for number in (59, 58, 57))
    (first,) = roots(*torchcodec(f"Could not load libtorchcodec.\n{said}"))
    assert (first.code, first.breaks) == ("ED378", ("import:torchcodec",))
    assert "libavutil.so.59" in first.message


def test_an_ffmpeg_that_is_there_is_not_missed() -> None:
    said = f"{MISSING.format(59)}\nlibtorchcodec_core6.so: undefined symbol: _ZN3c10"
    (first,) = roots(*torchcodec(f"Could not load libtorchcodec.\n{said}"))
    assert first.code == "ED409"


def test_two_builds_of_one_package_are_parted() -> None:
    """ED108"""
    both = (distribution("onnxruntime", "1.23.2"), distribution("onnxruntime-gpu", "1.23.2"))
    (first,) = roots(Distributions(items=(TORCH, *REQUIRED, *both)))
    assert (first.code, first.severity) == ("ED108", Severity.WARNING)
    out, back = first.fixes[0].commands
    assert out.endswith("uninstall -y onnxruntime-gpu"), "this torch is for the CPU"
    assert back.endswith("--force-reinstall --no-deps onnxruntime==1.23.2")


def test_one_build_above_that_of_another_folder_is_a_layer() -> None:
    base = distribution("onnxruntime", "1.23.2", "/opt/python/lib/python3.11/site-packages")
    above = distribution("onnxruntime-gpu", "1.23.2")
    assert not roots(Distributions(items=(TORCH, *REQUIRED, above, base)))


def test_a_numpy_for_another_python_that_was_copied_alone() -> None:
    """ED107 of that package; torch's own wheel is for this Python."""
    numpy = replace(distribution("numpy", "1.21.6"), tags=("cp310-cp310-manylinux_2_17_x86_64",))
    items = Distributions(items=(TORCH, *REQUIRED, numpy))
    (first,) = roots(items, failed("No module named 'numpy.core._multiarray_umath'"))
    assert first.code == "ED107"
    assert first.message.startswith("numpy 1.21.6 was compiled for Python 3.10")
    assert first.fixes[0].commands[0].endswith("--force-reinstall --no-deps numpy")
    assert not roots(items)


def test_a_torch_for_another_libc() -> None:
    """As where site-packages went into an image of Alpine Linux."""
    torch = replace(TORCH, tags=("cp311-cp311-manylinux_2_28_x86_64",))
    alpine = replace(interpreter(), soabi="cpython-311-x86_64-linux-musl")
    items = Distributions(items=(torch, *REQUIRED))
    (first,) = roots(items, alpine, failed("No module named 'torch._C'"))
    assert first.code == "ED107"
    assert "compiled for glibc, and this is musl" in first.message
    assert "with a Python of glibc" in first.fixes[0].summary
    assert "ED107" not in {one.code for one in findings(items, failed("x")).values()}


def test_a_torch_of_64_bits_in_a_python_of_32() -> None:
    """The kernel calls its machine x86_64 to both."""
    torch = replace(TORCH, tags=("cp311-cp311-manylinux_2_28_x86_64",))
    small = replace(interpreter(), soabi="cpython-311-i386-linux-gnu")
    (first,) = roots(Distributions(items=(torch, *REQUIRED)), small, failed("no torch._C"))
    assert "compiled for x86_64, and this is i686" in first.message
    assert "with a Python of 64 bits" in first.fixes[0].summary


@pytest.mark.parametrize(
    ("soabi", "words"),
    [
        ("cpython-311-x86_64-linux-musl", "compiled for musl"),
        ("cpython-311-i386-linux-gnu", "a Python of 64 bits"),
        ("cpython-311-arm-linux-gnueabihf", "a Python of 64 bits"),
    ],
)
def test_no_torch_is_prescribed_for_a_python_that_none_is_published_for(
    soabi: str, words: str
) -> None:
    absent = TorchAbsent(absent=True, searched=(OWN,))
    nothing = (Distributions(items=REQUIRED), absent, failed("No module named 'torch'"))
    (first,) = roots(*nothing, replace(interpreter(), soabi=soabi))
    assert (first.code, first.fixes[0].commands) == ("ED400", ())
    assert words in first.fixes[0].summary


def test_a_backend_that_ends_the_process() -> None:
    """intel-extension-for-pytorch says which torch it wants, and exits with 127."""
    ended = TorchImport(outcome="exit", seconds=1.0, exit_code=127, output_tail="ERROR! of torch\n")
    trial = ImportTrial(
        change="set", variable="TORCH_DEVICE_BACKEND_AUTOLOAD", value="0", outcome="ok"
    )
    ipex = distribution("intel-extension-for-pytorch", "2.5.10")
    items = Distributions(items=(TORCH, *REQUIRED, ipex))
    (first,) = roots(ended, ImportTrials(items=(trial,)), items)
    assert first.code == "ED111"
    off, out = first.fixes
    assert off.commands == ("export TORCH_DEVICE_BACKEND_AUTOLOAD=0",)
    assert off.proof
    assert out.commands[0].endswith("-m pip uninstall -y intel-extension-for-pytorch")
    (other,) = roots(ended, ImportTrials(items=(replace(trial, outcome="exit"),)), items)
    assert other.code != "ED111"


def test_a_module_beside_its_package_is_of_the_same_wheel() -> None:
    """ED107 of flash-attn, whose compiled module is no part of its package."""
    flash = replace(distribution("flash-attn", "2.7.4"), tags=("cp310-cp310-linux_x86_64",))
    items = Distributions(items=(TORCH, *REQUIRED, flash))
    (first,) = roots(items, failed("No module named 'flash_attn_2_cuda'"))
    assert (first.code, first.subjects) == ("ED107", ("flash-attn",))
    assert not any(
        one.code == "ED107" for one in roots(items, failed("No module named 'flash_attention'"))
    )


@pytest.mark.parametrize("name", ["sitecustomize.py", "usercustomize.py"])
def test_an_exception_in_what_python_runs_first(name: str) -> None:
    file = f"{OWN}/{name}"
    imported = replace(failed("no attribute"), frames=(Frame(file=file, line=3, function="f"),))
    (first,) = roots(imported)
    assert first.message.endswith(f"(in `{file}`)")
    assert first.fixes[0].commands == (f"mv -n -- {file} {file}.aside",)


@pytest.mark.parametrize(("level", "first"), [("2", "unset PYTHONOPTIMIZE"), ("1", None)])
def test_a_library_that_needs_its_docstrings(level: str, first: str | None) -> None:
    """pytorch/audio#3884"""
    message = "'NoneType' object has no attribute 'format'"
    failing = CompanionImport(
        name="torchaudio", outcome="exception", exception="AttributeError", message=message
    )
    facts = (WORKS, CompanionImports(items=(failing,)))
    (root,) = roots(*facts, Environment(variables={"PYTHONOPTIMIZE": level}))
    told = root.fixes[0].commands[0]
    assert told == first if first else "faulthandler" in told
