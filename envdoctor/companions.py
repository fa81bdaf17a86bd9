"""The libraries that are built on torch, or bring CUDA beside it, and how each of them is tried.

In the order of their danger to the process that has imported torch: PyTorch's own first, last what
takes seconds to import or has side effects.
"""

from typing import Literal

from envdoctor.record import Record

Extent = Literal["none", "light", "all"]
"""Which of them are imported: none; the light ones, of the others only their compiled modules are
loaded; all."""


class Library(Record):
    """One of them: by its name, the name that is imported, and those of its distributions.

    `compiled` are patterns, below the module's folder, of the files that are loaded in place of an
    import that takes long; a library without is imported. `is_torchs` for PyTorch's own.
    """

    name: str
    module: str
    distributions: tuple[str, ...]
    compiled: tuple[str, ...] = ()
    is_torchs: bool = False


def _own(name: str) -> Library:
    return Library(name=name, module=name, distributions=(name,), is_torchs=True)


def _light(name: str, module: str = "", *distributions: str) -> Library:
    return Library(name=name, module=module or name, distributions=(name, *distributions))


LIBRARIES = (
    _own("torchvision"),
    _own("torchaudio"),
    _own("torchtext"),
    _own("torchcodec"),
    _light("triton", "", "pytorch-triton"),
    _light("torchao"),
    _light("xformers"),
    _light("flash-attn", "flash_attn"),
    _light("bitsandbytes"),
    # What it compiles; PyPI has another `apex`, which is no library of torch.
    _light("apex", "amp_C"),
    _light("onnxruntime", "", "onnxruntime-gpu"),
    _light("cupy", "", *(f"cupy-cuda{version}" for version in ("11x", "12x", "13x"))),
    Library(name="vllm", module="vllm", distributions=("vllm",), compiled=("_C.*so", "_moe_C.*so")),
    Library(
        name="deepspeed",
        module="deepspeed",
        distributions=("deepspeed",),
        compiled=("ops/*.so", "ops/*/*.so"),
    ),
    Library(
        name="jax",
        module="jaxlib",
        distributions=("jax", "jaxlib"),
        compiled=("xla_extension.so", "_jax.so"),
    ),
    Library(
        name="tensorflow",
        module="tensorflow",
        distributions=("tensorflow", "tensorflow-cpu"),
        compiled=("libtensorflow_framework.so.2",),
    ),
)

PYTORCHS_OWN = tuple(one.name for one in LIBRARIES if one.is_torchs)

DISTRIBUTIONS = tuple(name for one in LIBRARIES for name in one.distributions)
"""What they are installed as."""

_OF_DISTRIBUTION = {name: one for one in LIBRARIES for name in one.distributions}
_BY_NAME = {one.name: one for one in LIBRARIES}


def library_of(distribution: str) -> str:
    """The name of the library that a distribution brings; that of the distribution for others."""
    found = _OF_DISTRIBUTION.get(distribution)
    return found.name if found else distribution


def module_of(name: str) -> str:
    """What is imported for a library."""
    found = _BY_NAME.get(name)
    return found.module if found else name.replace("-", "_")
