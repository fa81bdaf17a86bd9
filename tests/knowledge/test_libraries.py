"""The catalogue of libraries: one record a component, asked by file, symbol, caller and package."""

import re

import pytest

from envdoctor.knowledge import load
from envdoctor.knowledge.libraries import major_of, stem_of

LIBRARIES = load().libraries
RECORDS = LIBRARIES.records


def opened(soname: str, cuda: str | None = "12", text: dict[str, str] | None = None) -> list[str]:
    """The names that a library asks for; `text` is what its file holds, with what follows it."""
    return [name for _, name in LIBRARIES.opened_by(soname, cuda, (text or {}).get)]


@pytest.mark.parametrize(
    ("file", "component"),
    [
        ("libcudnn.so.9", "cudnn"),
        ("/venv/nvidia/cudnn/lib/libcudnn_engines_precompiled.so.9", "cudnn"),
        ("libcublasLt.so.12.4.5", "cublas"),
        ("libcudart-d0da41ae.so.11.0", "cudart"),
        ("libnvrtc-builtins.so.12.4", "nvrtc"),
        ("libcusparseLt.so.0", "cusparselt"),
        ("libcusparse.so.12", "cusparse"),
        ("libcuda.so.1", "libcuda"),
        ("libnvidia-ml.so.1", "nvml"),
        ("libtorch_cuda_linalg.so", "torch_cuda"),
        ("libstdc++.so.6", "libstdc++"),
        ("libcudaq.so", None),
        ("libm.so.6", None),
        ("_C.cpython-311-x86_64-linux-gnu.so", None),
    ],
)
def test_the_component_of_a_file(file: str, component: str | None) -> None:
    found = LIBRARIES.of(file)
    assert (found.name if found else None) == component


@pytest.mark.parametrize("file", ["libcudnn_ops.so.9", "libc10_cuda.so", "libnvidia-ml.so.1"])
def test_what_uses_cuda(file: str) -> None:
    assert LIBRARIES.uses_cuda(file)


@pytest.mark.parametrize("file", ["libtorch_cpu.so", "libc10.so", "libgomp.so.1", "libfoo.so"])
def test_what_does_not(file: str) -> None:
    assert not LIBRARIES.uses_cuda(file)


def test_only_the_driver_brings_libcuda_and_nvml() -> None:
    assert {one.name for one in RECORDS if one.origin == "driver"} == {"libcuda", "nvml"}
    assert LIBRARIES.is_of_driver("libcuda.so.1")
    assert not LIBRARIES.is_of_driver("libcudart.so.12")


@pytest.mark.parametrize(
    ("symbol", "stem"),
    [
        ("__nvJitLinkComplete_12_4", "libnvJitLink"),
        ("pncclSend", "libnccl"),
        ("cublasLtMatmul", "libcublasLt"),
        ("cublasCreate_v2", "libcublas"),
        ("cuFileRead", "libcufile"),
        ("cuFuncGetAttribute", "libcuda"),
        ("cudaMalloc", "libcudart"),
        ("_ZN2at6Tensor3addEv", "libtorch_cpu"),
        ("_ZNSt6vectorIN2at6TensorEE", "libtorch_cpu"),
        ("_ZNSt6vectorIiEE", "libstdc++"),
        ("mkl_blas_dgemm", None),
    ],
)
def test_the_library_that_offers_a_symbol(symbol: str, stem: str | None) -> None:
    assert LIBRARIES.provider_of(symbol) == stem


def test_which_parts_cudnn_opens_follows_its_major() -> None:
    assert "libcudnn_ops.so.9" in opened("libcudnn.so.9")
    assert "libcudnn_cnn_infer.so.8" in opened("libcudnn.so.8")
    assert not set(opened("libcudnn.so.8")) & set(opened("libcudnn.so.9"))


def test_a_later_part_is_opened_only_by_a_file_that_names_it() -> None:
    assert "libcudnn_ext.so.9" not in opened("libcudnn.so.9")
    assert "libcudnn_ext.so.9" in opened("libcudnn.so.9", text={"libcudnn_ext": ""})


def test_names_take_the_version_that_their_caller_holds() -> None:
    assert opened("libnvrtc.so.12", text={"libnvrtc-builtins.so.": "12.4"}) == [
        "libnvrtc-builtins.so.12.4"
    ]
    assert opened("libnvrtc.so.12") == []
    assert "libnvrtc.so.13" in opened("libcudnn_graph.so.9", "13")
    assert not [name for name in opened("libcudnn_graph.so.9", None) if "nvrtc" in name]


@pytest.mark.parametrize(
    ("distribution", "component"),
    [
        ("nvidia-cudnn-cu12", "cudnn"),
        ("nvidia-nccl-cu13", "nccl"),
        ("nvidia-nvjitlink", "nvjitlink"),
        ("nvidia-cusparselt-cu12", "cusparselt"),
        ("nvidia-cuda-runtime", "cudart"),
        ("nvidia-cudnn-frontend", None),
        ("nvidia-cusparse-extra-cu12", None),
    ],
)
def test_the_wheel_of_a_component(distribution: str, component: str | None) -> None:
    assert [one.name for one in RECORDS if one.is_package(distribution)] == (
        [component] if component else []
    )


def test_the_files_that_a_torch_must_hold() -> None:
    cpu = LIBRARIES.torch_files(cuda=False)
    assert "libtorch_cpu.so" in cpu
    assert set(LIBRARIES.torch_files(cuda=True)) - set(cpu) == {
        "libc10_cuda.so",
        "libtorch_cuda.so",
    }


def test_hashes_and_numbers_are_no_part_of_a_stem() -> None:
    assert stem_of("libcudart-d0da41ae.so.11.0") == stem_of("libcudart.so") == "libcudart"
    assert (major_of("libcudnn.so.9"), major_of("libcudart.so")) == (9, None)


# --- invariants ---


def test_names_stems_and_packages_are_unique() -> None:
    for values in (
        [one.name for one in RECORDS],
        [stem for one in RECORDS for stem in one.stems],
        [one.package for one in RECORDS if one.package],
    ):
        assert len(values) == len(set(values))


def test_every_stem_finds_its_own_record() -> None:
    for record in RECORDS:
        for stem in record.stems:
            assert LIBRARIES.of(f"{stem.removesuffix('*')}.so.1") is record, stem


def test_calls_are_made_by_a_library_of_their_record_and_fill_every_placeholder() -> None:
    calls = [(record, call) for record in RECORDS for call in record.dlopens]
    assert len(calls) > 20
    for record, call in calls:
        assert LIBRARIES.of(call.caller) is record
        assert set(re.findall(r"\{(\w+)\}", call.name)) <= {"major", "cuda", "version"}


def test_patterns_compile_and_a_version_pattern_has_one_group() -> None:
    for record in RECORDS:
        assert all(re.compile(pattern) for pattern in record.symbols.values())
        if record.versions and record.versions.text:
            assert re.compile(record.versions.text).groups == 1
        assert bool(record.package) == (record.origin == "toolkit")


def test_torch_pins_the_wheels_of_the_catalogue() -> None:
    """Every nvidia wheel that a torch in the data requires brings a component that is known."""
    required = {
        name
        for release in load().releases
        for build in release.variants
        for name in build.requires
        if name.startswith("nvidia-")
    }
    assert len(required) > 20
    assert {name for name in required if not any(one.is_package(name) for one in RECORDS)} == set()
