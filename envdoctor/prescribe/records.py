"""What is asked of the prescriber, and what it answers."""

from typing import ClassVar

import msgspec

from envdoctor.facts import Fact
from envdoctor.facts.python import PipSetting
from envdoctor.knowledge import WheelTarget
from envdoctor.record import Record
from envdoctor.stores import Store


class SeenGpu(Record):
    """A GPU of the machine; its compute capability is None where neither driver nor data say."""

    name: str
    compute_capability: str | None


class Machine(Record):
    """All that decides which torch builds work on a machine; None is unknown and not judged.

    `os` is linux, windows or macos; `arch` as `uname -m` says; `installed` are the versions of
    torch's companions and of nvidia wheels, by name; `torch` and `variant` what is installed now.
    `musl` says that the Python was compiled for that libc, `store` that it is part of that one.
    `has_pip` says that it has pip, `has_ensurepip` that its standard library can bring it.
    `pip_settings` are the options that pip is given for every command.
    `locked` says that a lock file decides what the installer keeps, `project` is the folder of the
    project that it is of.
    `unserved` names GPUs for which no torch has code; they are not among `gpus`.
    `wants_gpu` is None where nobody asked for either. `arch_flags` are the compiled targets of the
    torch that is installed, empty where they were not read. `vendor` says who built that torch, if
    not PyTorch itself ("NVIDIA (NGC)", "Debian"). `macos` is the version of macOS.
    """

    os: str = "linux"
    arch: str = "x86_64"
    glibc: str | None = None
    musl: bool = False
    store: Store | None = None
    python: str | None = None
    free_threaded: bool = False
    pypy: bool = False
    interpreter: str = "python3"
    externally_managed: bool = False
    has_pip: bool = True
    has_ensurepip: bool = True
    installer: str = "pip"
    pip_settings: tuple[PipSetting, ...] = ()
    locked: bool = False
    project: str | None = None
    conda_prefix: str | None = None
    driver: str | None = None
    driver_loaded: bool | None = None
    wsl: bool = False
    tegra: bool = False
    gpus: tuple[SeenGpu, ...] = ()
    nvidia_on_bus: bool | None = None
    unserved: tuple[str, ...] = ()
    amd_on_bus: bool = False
    wants_gpu: bool | None = None
    torch: str | None = None
    variant: str | None = None
    arch_flags: tuple[str, ...] = ()
    vendor: str | None = None
    macos: str | None = None
    torch_by_conda: bool = False
    installed: dict[str, str] = msgspec.field(default_factory=dict)

    @property
    def target(self) -> WheelTarget:
        """What a wheel has to fit here; its glibc is judged by the build that needs it."""
        return WheelTarget(
            os=self.os,
            arch=self.arch,
            python=self.python,
            free_threaded=self.free_threaded,
            glibc=self.glibc,
            macos=self.macos,
        )

    @property
    def runs_elsewhere(self) -> bool:
        """Whether a GPU is wanted where none is: an image or a login node is being prepared."""
        return bool(self.wants_gpu) and not self.gpus and not self.nvidia_on_bus


class Build(Record):
    """One build that works, the commands that install it, and what they change.

    `variant` is the tag of its index ("cu126", "cpu"), or `pypi` for the wheels of macOS and
    Windows. `companions` are the versions that go with it, for those that are installed;
    `pairs_with` those of PyTorch's own libraries that are not. `lost` says why installed packages
    will not work with it.
    """

    torch: str
    variant: str
    commands: tuple[str, ...]
    changes: tuple[str, ...]
    companions: dict[str, str]
    why: str
    pairs_with: dict[str, str] = msgspec.field(default_factory=dict)
    lost: dict[str, str] = msgspec.field(default_factory=dict)


class Prescription(Fact):
    """The builds that would work on this machine, best first; or why there is none.

    `knowledge_of` is the day of the knowledge that they come from.
    """

    formats: ClassVar[tuple[str, ...]] = ("text", "json", "script")

    builds: tuple[Build, ...]
    none_because: str | None = None
    knowledge_of: str = ""

    @property
    def best(self) -> Build | None:
        """The build that changes least."""
        return next(iter(self.builds), None)
