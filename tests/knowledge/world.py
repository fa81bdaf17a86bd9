"""Machines made up for tests, and what the prescribed commands would make of them. Synthetic.

The commands are followed as pip would: a requirement that is met installs nothing, and an index
decides which variant comes. So a prescription is judged by what its commands do, not by what it
says of itself.
"""

import re
import shlex
from dataclasses import dataclass, field, replace

from packaging.requirements import Requirement
from packaging.version import Version

from envdoctor.derived import CORE_DERIVATIONS
from envdoctor.engine import derive_facts
from envdoctor.facts import Fact, Observed, Snapshot
from envdoctor.facts.machine import (
    Container,
    CudaInit,
    Driver,
    Environment,
    Gpu,
    Gpus,
    Host,
    Nvml,
    PciDevice,
    PciGpus,
)
from envdoctor.facts.python import (
    Distribution,
    Distributions,
    InstalledFiles,
    Installer,
    Interpreter,
    Target,
)
from envdoctor.facts.torch import TorchAbsent, TorchBuild, TorchImport
from envdoctor.knowledge import Knowledge

PYTHON = "/home/me/env/bin/python"
SITE = "/home/me/env/lib/python/site-packages"
NEWEST_NUMPY = "2.3.5"


@dataclass(frozen=True, kw_only=True)
class World:
    """A machine and its environment. `gpus` are (name, compute capability).

    What torch does with the GPUs was not seen: what was seen to work would excuse a wrong build.
    """

    gpus: tuple[tuple[str, str], ...] = (("NVIDIA A100-SXM4-40GB", "8.0"),)
    driver: str | None = "535.183.01"
    python: str = "3.11"
    glibc: str = "2.35"
    arch: str = "x86_64"
    installer: str = "pip"
    torch: str | None = None
    variant: str | None = None
    packages: dict[str, str] = field(default_factory=dict)

    def snapshot(self, knowledge: Knowledge) -> Snapshot:
        """The facts that probes would observe there, with a torch that imports."""
        facts: list[Fact] = [
            *self._machine(knowledge),
            *self._environment(knowledge),
            *(
                self._torch(knowledge)
                if self.torch
                else [TorchAbsent(absent=True, searched=(SITE,))]
            ),
        ]
        return Snapshot({type(fact): Observed(value=fact, source="synthetic") for fact in facts})

    def _machine(self, knowledge: Knowledge) -> list[Fact]:
        pci = tuple(
            PciDevice(
                address=f"0000:{at:02x}:00.0", vendor_id="10de", device_id="20b0", driver="nvidia"
            )
            for at, _ in enumerate(self.gpus)
        )
        facts: list[Fact] = [
            Host(
                os="Ubuntu 22.04.4 LTS",
                os_id="ubuntu",
                os_version="22.04",
                kernel="6.5.0",
                machine=self.arch,
                glibc=self.glibc,
                cpu_name="made up",
                cpu_flags=("avx2",),
                logical_cpus=8,
                physical_cpus=4,
                memory_bytes=2**36,
                memory_available_bytes=2**35,
            ),
            Container(kind="none"),
            PciGpus(devices=pci),
            Environment(variables={}),
        ]
        if self.driver is None:
            return [*facts, Driver(loaded=False, release=None)]
        branch = knowledge.driver_branch(self.driver)
        cuda = branch.cuda if branch else None
        return [
            *facts,
            Driver(
                loaded=True,
                release=self.driver,
                release_source="/proc/driver/nvidia/version",
                cuda=cuda,
                modules=("nvidia", "nvidia_uvm"),
                device_nodes=("/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia-uvm"),
                libcuda_files=("/usr/lib/x86_64-linux-gnu/libcuda.so.1",),
            ),
            Nvml(status="ok", driver_release=self.driver, driver_cuda=cuda),
            CudaInit(
                status="ok",
                code=0,
                driver_cuda=cuda,
                device_count=len(self.gpus),
                library="libcuda",
            ),
            Gpus(
                devices=tuple(
                    Gpu(index=at, name=name, compute_capability=capability)
                    for at, (name, capability) in enumerate(self.gpus)
                )
            ),
        ]

    def _environment(self, knowledge: Knowledge) -> list[Fact]:
        major, minor = map(int, self.python.split("."))
        return [
            Target(path=PYTHON, chosen_because="synthetic", version=f"{self.python}.1"),
            Interpreter(
                executable=PYTHON,
                version=f"{self.python}.1",
                version_info=(major, minor, 1),
                implementation="cpython",
                soabi=f"cpython-{major}{minor}-x86_64-linux-gnu",
                machine=self.arch,
                prefix="/home/me/env",
                base_prefix="/usr",
                sys_path=(SITE,),
                site_packages=(SITE,),
                user_site=None,
                user_site_enabled=False,
                safe_path=False,
                stdlib="/usr/lib/python",
                cwd="/home/me",
                glibc=self.glibc,
            ),
            Installer(name=self.installer, evidence="synthetic"),
            Distributions(items=tuple(self._distributions(knowledge))),
            InstalledFiles(damaged=(), checked_files=1),
        ]

    def _distributions(self, knowledge: Knowledge) -> list[Distribution]:
        found = []
        if self.torch:
            build = knowledge.variant(self.torch, self.variant or "", self.arch)
            pins = build.requires if build else {}
            requires = tuple(f"{name}{pin}" for name, pin in pins.items())
            found.append(_distribution("torch", self.torch, requires))
        for name, version in self.packages.items():
            found.append(_distribution(name, version, _needs_of(name, version, knowledge)))
        return found

    def _torch(self, knowledge: Knowledge) -> list[Fact]:
        assert self.torch is not None
        build = knowledge.variant(self.torch, self.variant or "", self.arch)
        flags = build.arch_flags or () if build else ()
        cuda = build.cuda if build else None
        version = f"{self.torch}+{self.variant}"
        return [
            TorchAbsent(absent=False, searched=(SITE,)),
            TorchBuild(
                version=version,
                cuda=cuda,
                hip=None,
                path=f"{SITE}/torch",
                variant=self.variant or "cpu",
                version_source=f"{SITE}/torch/version.py",
                arch_flags=flags,
                cxx11_abi=build.cxx11_abi if build else None,
            ),
            TorchImport(
                outcome="ok", seconds=1.0, file=f"{SITE}/torch/__init__.py", version=version
            ),
        ]


def _distribution(name: str, version: str, requires: tuple[str, ...] = ()) -> Distribution:
    folder = f"{SITE}/{name.replace('-', '_')}-{version}.dist-info"
    return Distribution(
        name=name,
        version=version,
        location=SITE,
        metadata_path=folder,
        installer="pip",
        requires=requires,
    )


def _needs_of(name: str, version: str, knowledge: Knowledge) -> tuple[str, ...]:
    base = version.partition("+")[0]
    for pair in knowledge.companions_file.pairs:
        if name in ("torchvision", "torchaudio") and base in getattr(pair, name):
            if name == "torchaudio" and base == "2.11.0":
                return ()
            return (f"torch{pair.admits.get(name, f'=={pair.torch}')}",)
    extension = knowledge.extension(name, version)
    if extension and extension.requires_torch:
        return (f"torch{extension.requires_torch}",)
    return ()


# --- what the commands do ---


def follow(world: World, commands: tuple[str, ...], knowledge: Knowledge) -> World:
    """The machine after the commands. Fails the test for a command that could not work."""
    state = _Environment(world, knowledge)
    sources: dict[str, str] = {}
    for line in commands:
        words = shlex.split(line, comments=True)
        if not words:
            _manifest(line, state)
        elif "uninstall" in words:
            state.uninstall(_names(words[words.index("uninstall") + 1 :]))
        elif words[0] in _OF_PROJECTS:
            _OF_PROJECTS[words[0]](words[1:], state, sources)
        elif words[:2] == ["pixi", "remove"]:
            state.uninstall([words[-1]])
        elif words[:3] == ["pixi", "add", "--pypi"]:
            state.install(words[3:], None, replaces=True)
        elif "install" in words and words[0] != "pixi":
            _pip_install(words, state)
        else:
            assert words == ["pixi", "install"], line
    return state.world()


def _poetry(words: list[str], state: "_Environment", sources: dict[str, str]) -> None:
    if words[:2] == ["source", "add"]:
        sources[words[-2]] = words[-1]
    elif words[0] == "remove":
        state.uninstall(words[1:])
    else:
        assert words[0] == "add", words
        source = words[words.index("--source") + 1] if "--source" in words else None
        specs = [word for word in words[1:] if word not in ("--source", source)]
        state.install(specs, sources[source] if source else None, replaces=True)


def _pdm(words: list[str], state: "_Environment", sources: dict[str, str]) -> None:
    if words[0] == "config":
        sources[words[-2]] = words[-1]
    elif words[0] == "remove":
        state.uninstall(words[1:])
    else:
        assert words[0] == "add", words
        state.install(words[1:], next(iter(sources.values()), None), replaces=True)


def _pipenv(words: list[str], state: "_Environment", sources: dict[str, str]) -> None:
    if words[0] == "uninstall":
        state.uninstall(words[1:])
    else:
        assert words[0] == "install", words
        index = words[words.index("--index") + 1] if "--index" in words else None
        specs = [word for word in words[1:] if word not in ("--index", index)]
        state.install(specs, index)


_OF_PROJECTS = {"poetry": _poetry, "pdm": _pdm, "pipenv": _pipenv}


def _names(words: list[str]) -> list[str]:
    return [word for word in words if not word.startswith("-") and word != PYTHON]


def _pip_install(words: list[str], state: "_Environment") -> None:
    assert PYTHON in words, "the command names the target interpreter"
    rest = words[words.index("install") + 1 :]
    index = None
    specs = []
    while rest:
        word = rest.pop(0)
        if word in ("--index-url", "--extra-index-url", "-f"):
            index = rest.pop(0)
        elif word == "--python":
            rest.pop(0)
        else:
            specs.append(word)
    state.install(specs, index)


def _manifest(line: str, state: "_Environment") -> None:
    match = re.match(r'#\s+([\w-]+) = { version = "([^"]+)"(?:, index = "([^"]+)")? }', line)
    if match:
        state.install([match[1] + match[2]], match[3], replaces=True)


class _Environment:
    def __init__(self, world: World, knowledge: Knowledge) -> None:
        self.start = world
        self.knowledge = knowledge
        self.torch, self.variant = world.torch, world.variant
        self.packages = dict(world.packages)

    def uninstall(self, names: list[str]) -> None:
        for name in names:
            if name == "torch":
                self.torch = self.variant = None
            else:
                assert self.packages.pop(name, None) is not None, f"{name} is not installed"

    def install(self, specs: list[str], index: str | None, *, replaces: bool = False) -> None:
        for spec in specs:
            wanted = Requirement(spec)
            have = self.torch if wanted.name == "torch" else self.packages.get(wanted.name)
            if have and wanted.specifier.contains(have.partition("+")[0]) and not replaces:
                continue
            if wanted.name == "torch":
                self._install_torch(wanted, index)
            else:
                self._install_other(wanted)

    def _install_torch(self, wanted: Requirement, index: str | None) -> None:
        version = next(iter(wanted.specifier)).version
        release = self.knowledge.release(version)
        assert release is not None, f"torch {version} was never published"
        if "+" in version:
            tag = version.partition("+")[2]
        elif index:
            tag = index.rpartition("/")[2]
        else:
            arm = self.start.arch == "aarch64"
            tag = (release.pypi_variant_aarch64 if arm else release.pypi_variant) or ""
        build = self.knowledge.variant(release.version, tag, self.start.arch)
        assert build is not None, f"torch {version} was never published as {tag}"
        self.torch, self.variant = release.version, tag
        for name, pin in build.requires.items():
            self.packages[name] = _one_that_meets(pin)

    def _install_other(self, wanted: Requirement) -> None:
        if wanted.name == "numpy":
            self.packages["numpy"] = "1.26.4"
            return
        self.packages[wanted.name] = next(iter(wanted.specifier)).version.partition("+")[0]
        if wanted.name == "torchvision":
            self.packages.setdefault("numpy", NEWEST_NUMPY)

    def world(self) -> World:
        return replace(
            self.start, torch=self.torch, variant=self.variant, packages=dict(self.packages)
        )


def _one_that_meets(pin: str) -> str:
    numbers = re.findall(r"[~=>]=(\d+(?:\.\d+)*)", pin)
    return str(max(map(Version, numbers)))


def derived(snapshot: Snapshot, knowledge: Knowledge) -> Snapshot:
    """The snapshot with what the core derives from it."""
    return derive_facts(CORE_DERIVATIONS, snapshot, {Knowledge: knowledge})
