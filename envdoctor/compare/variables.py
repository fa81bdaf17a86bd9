"""The environment variables of two sides, as far as they concern torch, CUDA, Python and the
loader."""

from collections.abc import Iterator

import msgspec

from envdoctor.compare.pair import Found, Pair, Swap, swap_fields
from envdoctor.compare.records import Difference, Weight
from envdoctor.facts import Observed, Snapshot
from envdoctor.facts.libraries import LibraryResolution
from envdoctor.facts.machine import Container, Environment
from envdoctor.facts.python import Interpreter
from envdoctor.findings import Layer

_OF_A_PROCESS = frozenset(
    (
        *("CONDA_DEFAULT_ENV", "GROUP_RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "RANK"),
        *("SLURM_GPUS", "SLURM_GPUS_ON_NODE", "SLURM_JOB_GPUS", "SLURM_NODEID", "SLURM_STEP_GPUS"),
    )
)
"""They are another in every process or job, or repeat what another variable says."""

_PRESENT = frozenset(("CONDA_PREFIX", "VIRTUAL_ENV", "SLURM_JOB_ID"))
"""Of these it counts whether they are set."""

_Kind = tuple[tuple[str, ...], Weight, Layer, tuple[str, ...]]

_KINDS: tuple[_Kind, ...] = (
    (("LD_PRELOAD", "PYTHONHOME"), "stops", Layer.LIBRARIES, ("import:torch",)),
    (("LD_",), "matters", Layer.LIBRARIES, ("import:torch",)),
    (("PYTHON",), "matters", Layer.INTERPRETER, ("import:torch",)),
    (
        ("CUDA_VISIBLE", "NVIDIA_VISIBLE", "HIP_VISIBLE", "ROCR_VISIBLE", "CUDA_DEVICE_ORDER"),
        "stops",
        Layer.CUDA_INIT,
        ("compute:gpu",),
    ),
    (("NVIDIA_", "HSA_"), "matters", Layer.CUDA_INIT, ("compute:gpu",)),
    (("NCCL_", "GLOO_"), "matters", Layer.FIRST_USE, ("distributed",)),
    (("CUDA_HOME", "CUDA_PATH", "TORCH_CUDA_ARCH", "TRITON_"), "matters", Layer.BUILD, ("extend",)),
    (("OMP_", "MKL_", "OPENBLAS", "KMP_", "GOMP", "NUMEXPR"), "matters", Layer.SPEED, ("speed",)),
    (("PYTORCH_", "TORCH_", "CUDA_", "CUBLAS_"), "matters", Layer.FIRST_USE, ("compute:gpu",)),
    (("",), "little", Layer.FIRST_USE, ()),
)
"""What variables of that beginning can break; the first that fits counts."""


def differences(pair: Pair) -> Iterator[Found]:
    """Variables that are set on one side alone, or to something else."""
    both = pair.both(Environment)
    if both is None:
        return
    first, second = (one.variables for one in both)
    for name in sorted({*first, *second} - _OF_A_PROCESS):
        values = first.get(name), second.get(name)
        mapped = [
            place.entry(value) if value is not None else None
            for place, value in zip(pair.places, values, strict=True)
        ]
        if mapped[0] == mapped[1] or (name in _PRESENT and None not in values):
            continue
        if None in values and _may_be_unlisted(pair, values):
            continue
        yield _variable(pair, name, values)


def _may_be_unlisted(pair: Pair, values: tuple[str | None, str | None]) -> bool:
    """Whether the side that lacks it is a text: only vLLM's lists variables, and not in all of its
    releases."""
    return any(
        partial and value is None for partial, value in zip(pair.is_partial, values, strict=True)
    )


def _variable(pair: Pair, name: str, values: tuple[str | None, str | None]) -> Found:
    _, weight, layer, breaks = next(kind for kind in _KINDS if name.startswith(kind[0]))
    shown = [_shown(one) for one in values]
    return Found(
        difference=Difference(
            part="variables",
            name=name,
            sentence=f"{name}: {pair.each(*shown)}",
            first=values[0],
            second=values[1],
            weight="little" if name in _PRESENT else weight,
            layer=layer,
            can_break=breaks,
        ),
        swap=swap_variable(name),
        words=(name,),
    )


_LONGEST = 120


def _shown(value: str | None) -> str:
    if value is None:
        return "not set"
    short = value if len(value) <= _LONGEST else f"{value[:_LONGEST]}..."
    return f"`{short}`" if value else "empty"


def swap_variable(name: str) -> Swap:
    """Sets one variable as it is on the other side, or takes it away.

    Without the loader's variables the loader finds what it finds in a clean environment, which a
    resolution tells as well.
    """

    def swap(patient: Snapshot, donor: Snapshot) -> Snapshot:
        own, other = patient.get(Environment), donor.value(Environment)
        if not isinstance(own, Observed) or other is None:
            return patient
        rest = {key: value for key, value in own.value.variables.items() if key != name}
        theirs = {name: other.variables[name]} if name in other.variables else {}
        value = msgspec.structs.replace(own.value, variables={**rest, **theirs})
        patient = patient.with_facts({Environment: msgspec.structs.replace(own, value=value)})
        if name == "PYTHONPATH":
            return swap_fields(Interpreter, "sys_path")(patient, donor)
        if name == "NVIDIA_VISIBLE_DEVICES":
            return _in_container(patient, theirs.get(name))
        return _unpreloaded(patient) if name.startswith("LD_") and not theirs else patient

    return swap


def _in_container(patient: Snapshot, value: str | None) -> Snapshot:
    own = patient.get(Container)
    if not isinstance(own, Observed):
        return patient
    changed = msgspec.structs.replace(own.value, nvidia_visible_devices=value)
    return patient.with_facts({Container: msgspec.structs.replace(own, value=changed)})


def _unpreloaded(patient: Snapshot) -> Snapshot:
    own = patient.get(LibraryResolution)
    if not isinstance(own, Observed):
        return patient
    libraries = tuple(
        msgspec.structs.replace(
            one, path=one.clean_path, named=one.clean_path, clean_path=None, problems=()
        )
        if one.clean_path
        else one
        for one in own.value.libraries
    )
    changed = msgspec.structs.replace(
        own.value,
        libraries=libraries,
        library_path=(),
        import_error=own.value.clean_import_error,
        preload_problems=(),
    )
    return patient.with_facts({LibraryResolution: msgspec.structs.replace(own, value=changed)})
