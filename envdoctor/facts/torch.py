"""Facts about torch: its build on disk, its import, and what it does."""

from collections.abc import Mapping
from typing import Literal

from envdoctor.facts.base import Fact
from envdoctor.record import Record

__all__ = [
    "Companion",
    "CompanionImport",
    "CompanionImports",
    "ComponentVersion",
    "CudaComponents",
    "CudaLog",
    "FirstUse",
    "Frame",
    "ImportTrial",
    "ImportTrials",
    "LoadedLibraries",
    "TorchAbsent",
    "TorchBuild",
    "TorchDevice",
    "TorchFirstUse",
    "TorchImport",
    "TorchRuntime",
]


class TorchBuild(Fact):
    """The torch on disk, read without importing it.

    `cuda` is the CUDA that torch was built with ("12.6"), null for a build without CUDA.
    `arch_flags` are the compiled targets, e.g. ("sm_80", "compute_90"), empty where they could
    not be read; `fatbin_arch_flags` are those in the headers of libtorch_cuda's fatbins.
    """

    version: str | None
    cuda: str | None
    hip: str | None
    path: str
    variant: str
    version_source: str
    arch_flags: tuple[str, ...] = ()
    arch_source: str = ""
    fatbin_arch_flags: tuple[str, ...] = ()
    git_version: str | None = None
    debug: bool = False
    cxx11_abi: bool | None = None
    missing_parts: tuple[str, ...] = ()


class TorchAbsent(Fact):
    """Whether torch is on the target's path at all. `searched` are the folders looked into.

    `elsewhere` are folders beside them that hold a torch for another minor release of Python, or
    for this one where it does not look there; they are looked for where there is none.
    """

    absent: bool
    searched: tuple[str, ...]
    elsewhere: tuple[str, ...] = ()


class Frame(Record):
    """One line of a traceback."""

    file: str
    line: int
    function: str


ImportOutcome = Literal["ok", "exception", "signal", "exit", "hang"]
"""How an import ended: without or with an exception, or with its process."""


_TELLS = "Original error was:"
"""How NumPy begins the last line of its message when its compiled modules do not import."""


class TorchImport(Fact):
    """What `import torch` does in the target, as the user would run it.

    `isolated_outcome` is that of a second run with `-I` (no cwd, no PYTHONPATH, no user site), made
    when the first fails or surprises. `exit_outcome` is how the interpreter exited after torch and
    its companions were used, null where it did not come so far; `exit_detail` names the signal or
    the code, `exit_output_tail` is what it wrote last.
    """

    volatile = frozenset({"seconds"})

    outcome: ImportOutcome
    seconds: float
    file: str | None = None
    version: str | None = None
    exception: str | None = None
    message: str = ""
    cause: str = ""
    frames: tuple[Frame, ...] = ()
    signal: str | None = None
    exit_code: int | None = None
    output_tail: str = ""
    isolated_outcome: ImportOutcome | None = None
    isolated_file: str | None = None
    isolated_message: str = ""
    shadowed: tuple[str, ...] = ()
    exit_outcome: Literal["ok", "signal", "exit", "hang"] | None = None
    exit_detail: str = ""
    exit_output_tail: str = ""

    @property
    def in_one_line(self) -> str:
        """The line of the message that says most; NumPy's has a page before it."""
        lines = [line.strip() for line in self.message.splitlines() if line.strip()]
        told = (line.partition(_TELLS)[2].strip() for line in lines if line.startswith(_TELLS))
        return next(told, lines[0] if lines else "")

    @property
    def is_no_torch(self) -> bool:
        """Whether something else was imported under that name: torch has a version.

        It is a folder `torch` without an `__init__.py` (then there is no `file`), or a file of
        the user's that is called `torch.py`.
        """
        return self.outcome == "ok" and self.version is None

    @property
    def fails(self) -> bool:
        """Whether torch is not there afterwards."""
        return self.outcome != "ok" or self.is_no_torch

    @property
    def works_isolated(self) -> bool:
        """Whether it fails, and with `-I` torch is there."""
        found = self.isolated_outcome == "ok"
        if self.is_no_torch:
            found = found and self.isolated_file not in (None, self.file)
        return self.fails and found

    @property
    def in_place_of_torch(self) -> str:
        """What that is, in words."""
        if self.file is None:
            return "a folder without an `__init__.py` is imported, which holds nothing"
        return f"`{self.file}` is imported, which is no PyTorch"


class ImportTrial(Record):
    """An `import torch` in a child that differs from the user's in one thing.

    `change`: that a variable is not set, or is set (`PYTHONNOUSERSITE=1`), or that the current
    folder is another. `outcome` is that of the child, `message` the last line that it wrote.
    """

    volatile = frozenset({"seconds"})

    change: Literal["unset", "set", "folder"]
    variable: str = ""
    value: str = ""
    outcome: Literal["ok", "exception", "signal", "exit", "hang"]
    message: str = ""
    seconds: float = 0.0


class ImportTrials(Fact):
    """What was tried where the import failed: nothing is changed by it, and the first that works
    ends it."""

    items: tuple[ImportTrial, ...]

    def cured(self, *, unset: str = "", set_variable: str = "", folder: bool = False) -> bool:
        """Whether the import works without that variable, with that one, or in another folder."""
        wanted = ("unset", unset) if unset else ("set", set_variable)
        change, variable = ("folder", "") if folder else wanted
        return any(
            (one.change, one.variable, one.outcome) == (change, variable, "ok")
            for one in self.items
        )


class TorchDevice(Record):
    """A GPU as torch sees it."""

    index: int
    name: str
    compute_capability: str
    memory_bytes: int
    uuid: str | None = None


class TorchRuntime(Fact):
    """What the imported torch says of itself. Version integers are as the library returns them.

    `xpu_count` is how many of Intel's GPUs it lists, null for a build that is not for them.
    """

    version: str
    cuda: str | None
    hip: str | None
    cuda_available: bool
    device_count: int
    devices: tuple[TorchDevice, ...] = ()
    cuda_error: str | None = None
    cudnn_version: int | None = None
    cudnn_error: str | None = None
    nccl_version: str | None = None
    cudart_version: int | None = None
    arch_list: tuple[str, ...] = ()
    cpu_capability: str | None = None
    threads: int | None = None
    numpy_version: str | None = None
    numpy_error: str | None = None
    mps_available: bool = False
    xpu_count: int | None = None
    cxx11_abi: bool | None = None


class FirstUse(Record):
    """A first operation on a device; `error` is null if it gave the right result."""

    volatile = frozenset({"seconds"})

    device: str
    operation: str
    error: str | None = None
    seconds: float = 0.0


class TorchFirstUse(Fact):
    """The first matmul and convolution on the CPU and on every visible GPU."""

    operations: tuple[FirstUse, ...]


class CudaLog(Fact):
    """What NVIDIA's driver itself wrote of errors while torch was used (CUDA_LOG_FILE, from CUDA
    12.9 on), by the stage in which it did; one in which it wrote nothing is left out."""

    volatile = frozenset({"by_stage"})

    by_stage: Mapping[str, str]

    def of(self, stage: str) -> str:
        """What it wrote in that stage: `import torch`, `torch runtime`, `first use` ..."""
        return self.by_stage.get(stage, "")


class CompanionImport(Record):
    """What the import of a library that is built on torch did, and its first operation.

    `operation` is the one that failed although the import did not, empty where none did. `version`
    and `file` are the module's own words, null where it did not come so far.
    """

    volatile = frozenset({"seconds"})

    name: str
    outcome: ImportOutcome
    operation: str = ""
    version: str | None = None
    file: str | None = None
    exception: str | None = None
    message: str = ""
    frames: tuple[Frame, ...] = ()
    signal: str | None = None
    exit_code: int | None = None
    output_tail: str = ""
    seconds: float = 0.0


class CompanionImports(Fact):
    """The imports of the libraries that are built on torch, after that was used, of those that are
    installed. Of some only the compiled modules are loaded, see `envdoctor.companions`.

    `unseen` are those for which there was no time, installed or not.
    """

    items: tuple[CompanionImport, ...]
    unseen: tuple[str, ...] = ()

    def named(self, name: str) -> CompanionImport | None:
        """The import of that library, where it is installed and was tried."""
        return next((item for item in self.items if item.name == name), None)


class LoadedLibraries(Fact):
    """The shared libraries that are mapped into the target after torch was used."""

    paths: tuple[str, ...]


class ComponentVersion(Record):
    """One statement of a library's version: what says it, and for which file."""

    component: str
    version: str | None
    source: str
    path: str | None = None
    distribution: str | None = None


class CudaComponents(Fact):
    """cuDNN, NCCL, nvJitLink, cudart ... on disk: every statement of their versions, not run."""

    items: tuple[ComponentVersion, ...]

    def version(self, component: str) -> str | None:
        """The first version that is known for that component."""
        return next((i.version for i in self.items if i.component == component and i.version), None)


class Companion(Record):
    """A distribution that has to fit torch: torchvision, torchaudio ..."""

    name: str
    version: str
    requires_torch: str | None
    cuda_tag: str | None = None
