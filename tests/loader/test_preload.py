"""Which libraries torch loads by path: read from the source of its releases."""

from pathlib import Path

import pytest

from envdoctor.loader.preload import PreloadPlan, Step, read_plan

_OF_213 = """
def _get_cuda_dep_paths(path: str, lib_folder: str, lib_name: str) -> list[str]:
    nvidia_lib_paths = glob.glob(os.path.join(path, "nvidia", lib_folder, "lib", lib_name))
    nvidia_lib_paths += glob.glob(os.path.join(path, "nvidia", f"cu{major}", "lib", lib_name))
    lib_paths = glob.glob(os.path.join(path, lib_folder, "lib", lib_name))
    return nvidia_lib_paths + lib_paths


def _preload_cuda_deps(err: OSError | None = None{extra}) -> None:
    cuda_libs: list[tuple[str, str]] = [
        ("cublas", "libcublasLt.so.*[0-9]"),
        ("cudnn", "libcudnn.so.*[0-9]"),
    ]
    for lib_folder, lib_name in cuda_libs:
        _preload_cuda_lib(lib_folder, lib_name)
    _preload_cuda_lib("nvtx", "libnvToolsExt.so.*[0-9]", required=False)


def _load_global_deps() -> None:
    try:
        ctypes.CDLL(global_deps_lib_path, mode=ctypes.RTLD_GLOBAL)
        try:
            if "libcudart.so" not in _maps:
                return
            _preload_cuda_deps({argument})
        except Exception:
            pass
    except OSError as err:
        _preload_cuda_deps(err)
        ctypes.CDLL(global_deps_lib_path, mode=ctypes.RTLD_GLOBAL)


x = 1
"""


def plan_of(tmp_path: Path, source: str) -> PreloadPlan:
    file = tmp_path / "__init__.py"
    file.write_text(source)
    return read_plan(str(file))


@pytest.mark.parametrize(
    ("extra", "argument", "required"),
    [("", "", True), (", required=True", "required=False", False)],
)
def test_releases_that_preload_everything(tmp_path, extra, argument, required):
    source = _OF_213.replace("{extra}", extra).replace("{argument}", argument)
    plan = plan_of(tmp_path, source)
    assert plan.needle == "libcudart.so"
    assert plan.always == (
        Step(folder="cublas", pattern="libcublasLt.so.*[0-9]", required=required),
        Step(folder="cudnn", pattern="libcudnn.so.*[0-9]", required=required),
        Step(folder="nvtx", pattern="libnvToolsExt.so.*[0-9]", required=False),
    )
    assert (plan.looks_in_major, plan.looks_beside, plan.needs_nvidia_folder) == (True, True, False)


@pytest.mark.parametrize("source", ["", "def _load_global_deps(:\n", "x = 1\n", "\0"])
def test_a_source_that_is_unusual_gives_an_empty_plan(tmp_path, source):
    assert plan_of(tmp_path, source) == PreloadPlan()


def test_the_first_match_on_the_path_of_the_interpreter_is_taken(tmp_path):
    step = Step(folder="cudnn", pattern="libcudnn.so.*[0-9]")
    for place in ("a/nvidia/cu13/lib", "b/nvidia/cudnn/lib", "c/cudnn/lib"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "libcudnn.so.9").touch()
    folders = [str(tmp_path / name) for name in "abc"]
    modern = PreloadPlan(looks_in_major=True, looks_beside=True, needs_nvidia_folder=False)
    assert str(modern.locate(step, folders, "13")).startswith(folders[0])
    assert str(modern.locate(step, folders, "12")).startswith(folders[1])
    assert str(modern.locate(step, folders[2:], "12")).startswith(folders[2])
    old = PreloadPlan()
    assert old.locate(step, folders[2:], "12") is None


def test_an_entry_below_a_condition_counts_from_its_major_on(tmp_path):
    """As in torch 2.7 and 2.8; found by the lane with the wheels in another folder."""
    source = """
def _load_global_deps() -> None:
    try:
        ctypes.CDLL(global_deps_lib_path, mode=ctypes.RTLD_GLOBAL)
    except OSError as err:
        cuda_libs: dict[str, str] = {"nccl": "libnccl.so.*[0-9]"}
        if cuda_version is not None:
            t_major = int(t_version[0])
            if t_major >= 12:
                cuda_libs["cufile"] = "libcufile.so.*[0-9]"


x = 1
"""
    nccl, cufile = plan_of(tmp_path, source).fallback
    assert cufile == Step(folder="cufile", pattern="libcufile.so.*[0-9]", since_major=12)
    assert (cufile.applies("12"), cufile.applies("11"), cufile.applies(None)) == (
        True,
        False,
        False,
    )
    assert nccl.applies(None)
