"""Libraries that others open by name while torch runs; no NEEDED entry speaks of them.

Read from the strings of the wheels' libraries (cuDNN 8.9 and 9.1 to 9.26, CUDA 12.1 to 13.2, torch
2.1 to 2.15) and measured by /proc/self/maps: which call opens which. Each is looked up by the RPATH
or RUNPATH of the object that calls dlopen.
"""

import mmap
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from envdoctor.facts.libraries import OpenedAt

QUERY: Final = "query"
USE: Final = "use"
"""`query`: when torch asks the library for its version. `use`: with the first work on a GPU."""

_DIGITS = re.compile(rb"\d*(?:\.\d+)*")
_SONAME = re.compile(r"(lib[\w+-]+?)(?:-[0-9a-f]{8})?\.so(?:\.(\d+))?")


@dataclass(frozen=True, kw_only=True)
class Call:
    """A dlopen: the stem of the calling library and the name it asks for.

    `{major}` is the number after `.so.` in the caller's own soname, `{cuda}` the major of torch's
    CUDA, `{said}` the version that follows that name in the caller's file. `driver` marks what the
    NVIDIA driver installs: absent without one, which is no fault. `majors` limits the call to those
    majors of the caller, `if_named` to callers in whose file the name's stem occurs: later releases
    open parts that earlier ones do not know.
    """

    caller: str
    name: str
    when: OpenedAt = USE
    driver: bool = False
    optional: bool = False
    majors: tuple[int, ...] = ()
    if_named: bool = False


CALLS = (
    Call(caller="libcudnn", name="libcudnn_graph.so.{major}", when=QUERY, majors=(9,)),
    Call(caller="libcudnn", name="libcudnn_ops.so.{major}", majors=(9,)),
    Call(caller="libcudnn", name="libcudnn_cnn.so.{major}", majors=(9,)),
    Call(caller="libcudnn", name="libcudnn_adv.so.{major}", majors=(9,)),
    Call(caller="libcudnn_graph", name="libcudnn_engines_precompiled.so.{major}", majors=(9,)),
    Call(caller="libcudnn_graph", name="libcudnn_engines_runtime_compiled.so.{major}", majors=(9,)),
    Call(caller="libcudnn_graph", name="libcudnn_heuristic.so.{major}", majors=(9,)),
    Call(
        caller="libcudnn_graph",
        name="libcudnn_engines_tensor_ir.so.{major}",
        optional=True,
        if_named=True,
        majors=(9,),
    ),
    Call(caller="libcudnn_graph", name="libnvrtc.so.{cuda}", optional=True, majors=(9,)),
    Call(
        caller="libcudnn",
        name="libcudnn_ext.so.{major}",
        optional=True,
        if_named=True,
        majors=(9,),
    ),
    Call(caller="libcudnn", name="libcudnn_ops_infer.so.{major}", when=QUERY, majors=(8,)),
    Call(caller="libcudnn", name="libcudnn_cnn_infer.so.{major}", majors=(8,)),
    Call(caller="libcudnn", name="libcudnn_ops_train.so.{major}", majors=(8,)),
    Call(caller="libcudnn", name="libcudnn_cnn_train.so.{major}", majors=(8,)),
    Call(caller="libcudnn", name="libcudnn_adv_infer.so.{major}", majors=(8,)),
    Call(caller="libcudnn", name="libcudnn_adv_train.so.{major}", majors=(8,)),
    Call(caller="libnvrtc", name="libnvrtc-builtins.so.{said}"),
    Call(caller="libcudart", name="libcuda.so.1", driver=True),
    Call(caller="libc10_cuda", name="libnvidia-ml.so.1", driver=True),
    Call(caller="libtorch_cpu", name="libnvfuser_codegen.so", when=QUERY, optional=True),
    Call(caller="libtorch_cpu", name="libcaffe2_nvrtc.so", optional=True),
    Call(caller="libtorch_cpu", name="libtorch_cuda_linalg.so", optional=True),
    Call(caller="libcupti", name="libnvperf_host.so", optional=True),
)

DRIVER_LIBRARIES = frozenset(call.name for call in CALLS if call.driver)
"""What the NVIDIA driver installs; that it is absent without a driver is no fault."""


def stem_of(soname: str) -> str:
    """`libcudnn` for `libcudnn.so.9`; auditwheel's hash is no part of it."""
    match = _SONAME.match(soname)
    return match[1] if match else soname


def major_of(soname: str) -> int | None:
    """9 for `libcudnn.so.9`; None where the soname has no number."""
    match = _SONAME.match(soname)
    return int(match[2]) if match and match[2] else None


def said_in(path: str, text: str) -> str | None:
    """The version digits that follow a text in a file ("12.4"), empty where none do; None where
    the text does not occur or the file cannot be read."""
    try:
        with (
            open(path, "rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        ):
            found = data.find(text.encode())
            start = found + len(text.encode())
            digits = _DIGITS.match(data[start : start + 16])
            return None if found < 0 or digits is None else digits.group().decode()
    except (OSError, ValueError):
        return None


def calls_of(
    soname: str, cuda_major: str | None, said: Callable[[str], str | None]
) -> Iterator[tuple[Call, str]]:
    """The calls that a library makes, each with the name it asks for.

    `said` is `said_in` for the library's file.
    """
    stem, major = stem_of(soname), major_of(soname)
    for call in CALLS:
        if call.caller != stem or (call.majors and major not in call.majors):
            continue
        if "{cuda}" in call.name and cuda_major is None:
            continue
        if call.if_named and said(stem_of(call.name)) is None:
            continue
        prefix, said_there, _ = call.name.partition("{said}")
        digits = said(prefix) if said_there else ""
        if digits is not None:
            yield call, call.name.format(major=major, cuda=cuda_major, said=digits)
