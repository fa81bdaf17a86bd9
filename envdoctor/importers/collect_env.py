"""The text of `torch.utils.collect_env`, of any torch since 1.8, and of vLLM's variant, as facts.

It tells less than a probe sees, and some lines are not what they are called: the CUDA runtime is
that of nvcc, cuDNN is the system's and not the wheel's, and where nvidia-smi gave nothing the text
says `No CUDA`. Source: torch/utils/collect_env.py (1.8 to 2.9) and vllm/collect_env.py.
"""

import re
from collections.abc import Iterator, Mapping

from envdoctor.facts import Fact, Known, Observed, Snapshot
from envdoctor.facts.machine import (
    Driver,
    Environment,
    Gpu,
    Gpus,
    Host,
    HostCompiler,
    Toolkit,
    Toolkits,
)
from envdoctor.facts.python import Distribution, Distributions, Installer, Target
from envdoctor.facts.torch import TorchAbsent, TorchBuild, TorchDevice, TorchImport, TorchRuntime
from envdoctor.probes.environment import shown_variables
from envdoctor.probes.host import TRAINING_FLAGS
from envdoctor.record import Record
from envdoctor.versions import parse_number
from envdoctor.withheld_gpus import HIDES_EVERY_GPU

SOURCE = "torch.utils.collect_env"
"""What stands as the source of every fact of such a text."""

_FIRST = re.compile(r"^(?P<before>.{0,120}?)PyTorch version:", re.MULTILINE)
_SECOND = re.compile(r"^(?P<before>.{0,120}?)Is debug build:", re.MULTILINE)
_MOST = 1 << 20
"""Characters of a report; the longest known, with its topology of 16 GPUs, has some 20,000."""

_LONGEST = 4000
"""Characters of a line of it: an LD_LIBRARY_PATH, the flags of a CPU."""

_LONGEST_NAME = 200

_NOTHING = frozenset(("", "N/A", "None", "No CUDA", "Could not collect"))
"""What stands in place of a value that is not there or was not found."""

_FIELD = re.compile(r"([A-Za-z][\w ()/-]{0,60}?):[ \t]*(.*)")
_PACKAGE = re.compile(r"\[pip3?\] ([A-Za-z0-9][\w.-]{0,100})==(\S{1,60})")
_OF_CONDA = re.compile(r"\[conda\] (\S{1,100})\s+(\S{1,60})\s*(\S*)\s*(\S*)")
_NO_ARCHITECTURE = "NoGCNArchNameOnOldPyTorch"
"""What a collect_env that is newer than its torch writes behind the name of an AMD GPU, without a
blank (`get_gpu_info` of torch/utils/collect_env.py)."""
_GPU = re.compile(r"GPU (\d{1,4}): (.{1,100})")
_OS = re.compile(r"(.*?)\s*(?:\((\w+)\))?$")
_PLATFORM = re.compile(r"Linux-(.+?)-(\w+)-with-")
_PYTHON = re.compile(r"(\d+\.\d+(?:\.\d+)?(?:(?:a|b|rc)\d+)?\+?)")
_VARIABLE = re.compile(r"([A-Z][A-Z0-9_]{2,60})=(.*)")
_LATEST = "Versions of relevant libraries"


def is_collect_env(text: str) -> bool:
    """Whether a text is, or holds, what collect_env prints."""
    return _FIRST.search(text) is not None and _LATEST in text


def snapshot_of(text: str) -> Snapshot:
    """The facts that the text tells."""
    lines = _lines(text)
    said = _Said(
        fields=_fields(lines), lines=tuple(lines), gpus=tuple(_gpus(lines)), packages=_pip(lines)
    )
    facts: dict[type[Fact], Known] = {}
    for fact in _facts(said):
        facts[type(fact)] = Observed(value=fact, source=SOURCE)
    return Snapshot(facts)


class _Said(Record):
    """The text taken apart: its fields by name, and the lines that belong to lists."""

    fields: Mapping[str, str]
    lines: tuple[str, ...]
    gpus: tuple[tuple[int, str], ...]
    packages: Mapping[str, str]

    def value(self, name: str) -> str | None:
        """What a field says; None where it says nothing."""
        value = self.fields.get(name, "").strip()
        return None if value in _NOTHING else value


# --- taking the text apart ---


def _lines(text: str) -> list[str]:
    """The lines of the report, without what a log or a quotation puts before each of them."""
    first, second = _FIRST.search(text), _SECOND.search(text)
    befores = {found["before"] for found in (first, second) if found} - {""}
    begin = first.start() if first else 0
    lines = [line[:_LONGEST] for line in text[begin : begin + _MOST].splitlines()]
    for before in befores:
        lines = [line.removeprefix(before) for line in lines]
    return [line.rstrip() for line in lines]


def _fields(lines: list[str]) -> dict[str, str]:
    """The fields, each by its first line: what follows the list of libraries is of vLLM."""
    found: dict[str, str] = {}
    for line in lines:
        match = _FIELD.match(line)
        if match:
            found.setdefault(match[1].strip(), match[2].strip())
    return found


def _gpus(lines: list[str]) -> Iterator[tuple[int, str]]:
    """What `nvidia-smi -L` listed; the first may stand on the line of the heading."""
    for line in lines:
        match = _GPU.match(line.removeprefix("GPU models and configuration:").strip())
        if match:
            yield int(match[1]), match[2].strip()


def _pip(lines: list[str]) -> dict[str, str]:
    """The packages that pip listed, the first of each name, as an import would find them."""
    found: dict[str, str] = {}
    for line in lines:
        match = _PACKAGE.match(line)
        if match:
            found.setdefault(_normalised(match[1]), match[2])
    return found


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


# --- the facts ---


def _facts(said: _Said) -> Iterator[Fact]:
    yield from _python(said)
    yield from _packages(said)
    yield from _torch(said)
    yield from _driver(said)
    yield from _machine(said)
    yield from _compilers(said)


def _python(said: _Said) -> Iterator[Fact]:
    match = _PYTHON.match(said.value("Python version") or "")
    if match:
        because = f"the text of {SOURCE} is about it"
        yield Target(path="python", chosen_because=because, version=match[1])


def _packages(said: _Said) -> Iterator[Fact]:
    listed = any(line.startswith(("[pip", "[pip3")) for line in said.lines)
    if not listed or any("] Could not collect" in line for line in said.lines if "[pip" in line):
        return
    items = (
        Distribution(name=name, version=version, location="", metadata_path="")
        for name, version in said.packages.items()
    )
    yield Distributions(items=tuple(items))
    if any(match[1] == "pytorch" for match in map(_OF_CONDA.match, said.lines) if match):
        yield Installer(name="conda", evidence=SOURCE, in_conda=True)


def _torch(said: _Said) -> Iterator[Fact]:
    version = said.value("PyTorch version")
    if version is None:
        yield from _no_torch(said)
        return
    local = version.partition("+")[2]
    cuda = _number(said.value("CUDA used to build PyTorch"))
    hip = said.value("ROCM used to build PyTorch")
    yield TorchBuild(
        version=version,
        cuda=cuda,
        hip=hip,
        path="",
        variant=local,
        version_source=SOURCE,
        debug=said.value("Is debug build") == "True",
    )
    yield TorchImport(outcome="ok", seconds=0.0, version=version)
    yield TorchAbsent(absent=False, searched=())
    available = said.value("Is CUDA available")
    if available in ("True", "False"):
        yield _runtime(said, version, cuda, hip, available=available == "True")


def _number(text: str | None) -> str | None:
    match = re.match(r"\d+(\.\d+)*", text or "")
    return match[0] if match else None


def _no_torch(said: _Said) -> Iterator[Fact]:
    """A torch that collect_env cannot import; where pip lists none there is none."""
    missing = "torch" not in said.packages and any(_is_of_pip(line) for line in said.lines)
    yield TorchImport(
        outcome="exception",
        seconds=0.0,
        exception="ModuleNotFoundError" if missing else None,
        message="No module named 'torch'" if missing else "collect_env could not import torch",
    )
    if missing:
        yield TorchAbsent(absent=True, searched=())


def _is_of_pip(line: str) -> bool:
    return line.startswith("[pip") and "Could not collect" not in line


def _runtime(
    said: _Said, version: str, cuda: str | None, hip: str | None, *, available: bool
) -> TorchRuntime:
    """What torch said of the GPUs. How many it could use is not told: those that nvidia-smi lists,
    as far as CUDA_VISIBLE_DEVICES shows them, and one at least where CUDA is available."""
    of_rocm = said.value("GPU models and configuration") if hip else None
    name, _, arch = (of_rocm or "").removesuffix(_NO_ARCHITECTURE).partition(" (")
    devices = (
        TorchDevice(
            index=0,
            name=name.strip(),
            compute_capability=arch.partition(":")[0].rstrip(")"),
            memory_bytes=0,
        ),
    )
    return TorchRuntime(
        version=version,
        cuda=cuda,
        hip=hip,
        cuda_available=available,
        device_count=max(1, len(_visible(said))) if available else 0,
        devices=devices if of_rocm and available else (),
    )


def _visible(said: _Said) -> tuple[tuple[int, str], ...]:
    value = _variables(said).get("CUDA_VISIBLE_DEVICES")
    if value is None or value in HIDES_EVERY_GPU:
        return said.gpus
    numbers = [parse_number(one.strip()) for one in value.split(",")]
    shown = tuple(gpu for gpu in said.gpus if gpu[0] in numbers)
    return shown or said.gpus[: len(numbers)]


def _driver(said: _Said) -> Iterator[Fact]:
    release = _number(said.value("Nvidia driver version"))
    if release is not None:
        # nvidia-smi asks the driver that is loaded.
        yield Driver(loaded=True, release=release, release_source=f"{SOURCE}: nvidia-smi")
    if said.gpus:
        devices = tuple(Gpu(index=index, name=name) for index, name in said.gpus)
        yield Gpus(devices=devices)


def _machine(said: _Said) -> Iterator[Fact]:
    name = _OS.match((said.value("OS") or "")[:_LONGEST_NAME])
    platform = _PLATFORM.match(said.value("Python platform") or "")
    if name is None or not name[1]:
        return
    flags = set((said.value("Flags") or "").split())
    cores, sockets = said.value("Core(s) per socket"), said.value("Socket(s)")
    physical = [parse_number(one or "") for one in (cores, sockets)]
    yield Host(
        os=name[1],
        os_id=name[1].split()[0].lower(),
        os_version=_number(re.sub(r"^\D*", "", name[1])) or "",
        kernel=platform[1] if platform else None,
        machine=name[2] or (platform[2] if platform else None),
        glibc=_glibc(said),
        cpu_name=said.value("Model name") or "unknown",
        cpu_flags=tuple(sorted(flags & TRAINING_FLAGS)),
        logical_cpus=parse_number(said.value("CPU(s)") or ""),
        physical_cpus=physical[0] * physical[1] if physical[0] and physical[1] else None,
        memory_bytes=None,
        memory_available_bytes=None,
    )
    if said.fields.get("GPU Topology") is not None:
        yield Environment(variables=_variables(said))


def _glibc(said: _Said) -> str | None:
    value = said.value("Libc version") or ""
    return _number(value.removeprefix("glibc-")) if value.startswith("glibc-") else None


_SET_BY_TORCH = frozenset(
    ("CUDA_MODULE_LOADING", "PYTORCH_NVML_BASED_CUDA_CHECK", "TORCHINDUCTOR_CACHE_DIR")
)
"""What torch and vLLM set for themselves when they are imported, before the text is written."""

_OF_OPENCV = "/cv2/../../"
"""What the import of opencv-python puts before LD_LIBRARY_PATH."""


def _variables(said: _Said) -> dict[str, str]:
    """vLLM's variant ends with the variables of torch, CUDA and NCCL that are set."""
    pairs = (match.groups() for match in map(_VARIABLE.match, said.lines) if match)
    given = {name: value for name, value in pairs if name not in _SET_BY_TORCH}
    path = given.get("LD_LIBRARY_PATH", "")
    if _OF_OPENCV in path:
        rest = [one for one in path.split(":") if one and _OF_OPENCV not in one]
        given = {**given, "LD_LIBRARY_PATH": ":".join(rest)}
        if not rest:
            del given["LD_LIBRARY_PATH"]
    return shown_variables(given)


def _compilers(said: _Said) -> Iterator[Fact]:
    """What is called the CUDA runtime is the release of nvcc."""
    nvcc = _number(said.value("CUDA runtime version"))
    if nvcc is None:
        return
    release = ".".join(nvcc.split(".")[:2])
    tool = Toolkit(path="", version=release, source=f"{SOURCE}: nvcc --version")
    yield Toolkits(items=(tool,), nvcc="nvcc")
    gcc = re.findall(r"(?<![\w.~-])\d+\.\d+\.\d+", said.value("GCC version") or "")
    if gcc:
        yield HostCompiler(path="gcc", version=gcc[-1])
