"""The machine as the prescriber needs it, from the facts."""

import re

from envdoctor.facts import Snapshot
from envdoctor.facts.derived import DriverRelease, GpuTrace, TracedGpu
from envdoctor.facts.machine import Container, Driver, Expectation, Host, PciGpus
from envdoctor.facts.python import Distribution, Distributions, Installer, Interpreter, Target
from envdoctor.facts.torch import TorchBuild
from envdoctor.knowledge import Knowledge
from envdoctor.prescribe.companions import extensions_known
from envdoctor.prescribe.records import Machine, SeenGpu
from envdoctor.repair.site import is_externally_managed, project_of
from envdoctor.stores import store_of
from envdoctor.versions import readable

RELEVANT = ("torchvision", "torchaudio", "torchtext", "triton", "numpy", "cuda-toolkit")
"""Distributions whose version decides commands, beside nvidia wheels and known extensions."""
_AMD = "1002"
_ORDINARY_JETSONS = frozenset({"11.0"})


def machine_of(
    knowledge: Knowledge,
    *,
    host: Host | None = None,
    interpreter: Interpreter | None = None,
    target: Target | None = None,
    driver: Driver | None = None,
    release: DriverRelease | None = None,
    trace: GpuTrace | None = None,
    pci: PciGpus | None = None,
    container: Container | None = None,
    installer: Installer | None = None,
    distributions: Distributions | None = None,
    build: TorchBuild | None = None,
    expectation: Expectation | None = None,
) -> Machine:
    """The machine that these facts describe; every one may be unknown."""
    seen = tuple(_seen(gpu, knowledge) for gpu in (trace.visible if trace else ()) if gpu.name)
    if trace and not seen:
        seen = tuple(_seen(gpu, knowledge) for gpu in trace.visible if gpu.compute_capability)
    torch = distributions.first("torch") if distributions else None
    unserved = _unserved(trace, knowledge)
    return Machine(
        os=_system(host),
        arch=_arch(host, interpreter),
        glibc=readable(
            (host.glibc if host else None) or (interpreter.glibc if interpreter else None)
        ),
        store=store_of(interpreter.prefix) if interpreter else None,
        musl=interpreter is not None and interpreter.of_musl,
        python=readable(_python(interpreter, target)),
        free_threaded=bool(interpreter and re.search(r"-3\d+t", interpreter.soabi or "")),
        pypy=bool(interpreter and interpreter.implementation.lower() != "cpython"),
        interpreter=_path(target, interpreter),
        externally_managed=is_externally_managed(interpreter),
        has_pip=interpreter is None or interpreter.has_pip,
        has_ensurepip=interpreter is None or interpreter.has_ensurepip,
        installer=installer.name if installer else "pip",
        pip_settings=installer.pip_settings if installer else (),
        locked=bool(installer and installer.evidence.endswith(".lock")),
        project=project_of(installer),
        conda_prefix=_conda_prefix(installer, interpreter),
        driver=release.release if release else None,
        driver_loaded=driver.loaded if driver else None,
        wsl=bool(container and container.wsl),
        tegra=_is_tegra(host, seen),
        gpus=seen,
        nvidia_on_bus=bool(pci.nvidia) and (bool(seen) or not unserved) if pci else None,
        unserved=unserved,
        amd_on_bus=any(device.vendor_id == _AMD for device in pci.devices) if pci else False,
        wants_gpu=_wants_gpu(expectation),
        torch=(build.version if build else None) or (torch.version if torch else None),
        variant=build.variant if build else None,
        arch_flags=build.arch_flags if build else (),
        vendor=_vendor(build, torch, installer),
        macos=readable(host.os_version) if host and _system(host) == "macos" else None,
        torch_by_conda=bool(torch and torch.installer == "conda"),
        installed=_installed(distributions, knowledge),
    )


def machine_in(snapshot: Snapshot, knowledge: Knowledge) -> Machine:
    """The machine that a snapshot describes, once its derived facts are worked out."""
    return machine_of(
        knowledge,
        host=snapshot.value(Host),
        interpreter=snapshot.value(Interpreter),
        target=snapshot.value(Target),
        driver=snapshot.value(Driver),
        release=snapshot.value(DriverRelease),
        trace=snapshot.value(GpuTrace),
        pci=snapshot.value(PciGpus),
        container=snapshot.value(Container),
        installer=snapshot.value(Installer),
        distributions=snapshot.value(Distributions),
        build=snapshot.value(TorchBuild),
        expectation=snapshot.value(Expectation),
    )


def _seen(gpu: TracedGpu, knowledge: Knowledge) -> SeenGpu:
    capability = gpu.compute_capability
    if capability is None and gpu.name:
        capability = knowledge.capability_named(gpu.name)
    return SeenGpu(name=gpu.described, compute_capability=capability)


def _unserved(trace: GpuTrace | None, knowledge: Knowledge) -> tuple[str, ...]:
    """The names of the GPUs for which no torch has code."""
    return tuple(
        gpu.described
        for gpu in (trace.gpus if trace else ())
        if gpu.compute_capability
        and knowledge.served_by_some_torch(gpu.compute_capability) is False
    )


def _system(host: Host | None) -> str:
    name = f"{host.os} {host.os_id}".lower() if host else ""
    if "darwin" in name or "macos" in name:
        return "macos"
    return "windows" if "windows" in name else "linux"


def _arch(host: Host | None, interpreter: Interpreter | None) -> str:
    by_host = host.machine if host else None
    stated = (interpreter.arch if interpreter else None) or by_host or "x86_64"
    return {"AMD64": "x86_64", "amd64": "x86_64"}.get(stated, stated)


def _python(interpreter: Interpreter | None, target: Target | None) -> str | None:
    if interpreter:
        return ".".join(map(str, interpreter.version_info[:2]))
    if target and target.version:
        return ".".join(target.version.split(".")[:2])
    return None


def _path(target: Target | None, interpreter: Interpreter | None) -> str:
    return (target.path if target else "") or (interpreter.executable if interpreter else "python3")


def _conda_prefix(installer: Installer | None, interpreter: Interpreter | None) -> str | None:
    if interpreter and installer and installer.in_conda:
        return interpreter.prefix
    return None


def _is_tegra(host: Host | None, gpus: tuple[SeenGpu, ...]) -> bool:
    """Whether this is a Jetson whose torch comes from NVIDIA.

    Not for Thor: with CUDA 13 torch's own aarch64 wheels carry its code (sm_110, read from the
    wheels 2.11 to 2.15).
    """
    if gpus and all(gpu.compute_capability in _ORDINARY_JETSONS for gpu in gpus):
        return False
    names = " ".join(gpu.name for gpu in gpus)
    kernel = (host.kernel if host else None) or ""
    return "tegra" in kernel.lower() or bool(re.search(r"\b(Tegra|Orin|Xavier|Thor)\b", names))


def _vendor(
    build: TorchBuild | None, torch: Distribution | None, installer: Installer | None
) -> str | None:
    """Who built the torch that is installed, if not PyTorch; None where nothing says so.

    NVIDIA's containers and JetPack wheels carry `nv` and a date in the local version
    (`2.6.0a0+ecf3bae.nv25.01`), Debian installs into dist-packages.
    """
    version = (build.version if build else None) or (torch.version if torch else None) or ""
    if re.search(r"\bnv(internal|\d+\.\d+)", version.partition("+")[2]):
        return "NVIDIA (NGC or JetPack)"
    path = (build.path if build else None) or (torch.location if torch else "")
    if path.startswith("/usr/lib/python3/dist-packages"):
        return "the Linux distribution"
    if torch and torch.installer == "conda":
        return "the conda channel that it came from"
    return None


def _wants_gpu(expectation: Expectation | None) -> bool | None:
    if expectation is None or expectation.device is None:
        return None
    return expectation.device == "gpu"


def _installed(distributions: Distributions | None, knowledge: Knowledge) -> dict[str, str]:
    if distributions is None:
        return {}
    extensions = extensions_known(knowledge)
    return {
        item.name: item.version
        for item in reversed(distributions.items)
        if item.name in RELEVANT or item.name in extensions or item.name.startswith("nvidia-")
    }
