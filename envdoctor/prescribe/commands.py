"""The exact commands that bring an environment to a build, for what manages it.

Sources: pytorch.org, Get Started and Previous Versions (index URLs; local versions and
--extra-index-url before torch 2.0, torch_stable.html before 1.11); the manuals of uv (pip
interface), poetry (package sources) and pixi (PyPI dependencies with an index).
"""

import re
from collections.abc import Iterator

import msgspec
from packaging.version import Version

from envdoctor import shell
from envdoctor.knowledge import TorchRelease, Variant
from envdoctor.prescribe.companions import PAIRED, Companionship
from envdoctor.prescribe.records import Machine
from envdoctor.wheel_index import PYTORCH_INDEX, index_of

_ENVIRONMENT = ".venv"
_SUFFIX = re.compile(r"-cu(\d+)$")


def commands_for(
    machine: Machine, release: TorchRelease, variant: Variant, companions: Companionship
) -> tuple[str, ...]:
    """The commands, in their order; none where the environment is already like that."""
    write = _WRITERS.get(machine.installer, _with_pip)
    return write(machine, release, variant, companions)


def is_default(release: TorchRelease, variant: Variant) -> bool:
    """Whether the plain package index gives this build, so that no other index is needed."""
    if variant.machine == "aarch64":
        return variant.tag == release.pypi_variant_aarch64
    return variant.tag == release.pypi_variant


def is_installed(machine: Machine, release: TorchRelease, variant: Variant) -> bool:
    """Whether the machine has that very build already."""
    return _base(machine.torch) == release.version and machine.variant == variant.tag


# --- what to remove and to install ---


def removals(
    machine: Machine, release: TorchRelease, variant: Variant, companions: Companionship
) -> tuple[str, ...]:
    """What has to go first.

    torch of the same version but another variant, because `==2.6.0` is met by `2.6.0+cu118`
    (PEP 440) and nothing would be installed; nvidia wheels of another CUDA major, because wheels of
    two majors share folders; and companions that were never published for that torch.
    """
    gone = list(companions.removals)
    if is_installed(machine, release, variant):
        return tuple(gone)
    if _base(machine.torch) == release.version and not machine.torch_by_conda:
        gone.append("torch")
        gone += [name for name in PAIRED if name in companions.pins and name in machine.installed]
    gone += [name for name in machine.installed if _is_stale(name, machine, variant)]
    return tuple(dict.fromkeys(gone))


def _is_stale(name: str, machine: Machine, variant: Variant) -> bool:
    old = _major(machine.variant)
    new = (variant.cuda or "").partition(".")[0]
    if not name.startswith("nvidia-") and name != "cuda-toolkit":
        return False
    match = _SUFFIX.search(name)
    if match:
        return match[1] != new
    return old == "13" and new != "13"


def _major(tag: str | None) -> str | None:
    match = re.fullmatch(r"cu(\d+)\d", tag or "")
    return match[1] if match else None


def _base(version: str | None) -> str | None:
    return version.partition("+")[0] if version else None


def requirements(
    machine: Machine, release: TorchRelease, variant: Variant, companions: Companionship
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What comes from the index of the build, and what from the ordinary one."""
    local = ""
    if not is_default(release, variant) and Version(release.version) < Version("2.0"):
        local = f"+{variant.tag}"
    own: list[str] = []
    if not is_installed(machine, release, variant):
        own.append(f"torch=={release.version}{local}")
    other: list[str] = []
    for name, version in companions.pins.items():
        if machine.installed.get(name, "").partition("+")[0] == version and own == []:
            continue
        spec = f"{name}=={version}" if version[0].isdigit() else f"{name}{version}"
        if name == "torchvision":
            own.append(spec + local)
        elif name in companions.published_with:
            own.append(spec)
        else:
            other.append(spec)
    return tuple(own), tuple(other)


def index_options(release: TorchRelease, variant: Variant) -> tuple[str, ...]:
    """The options of pip that name the index of the build."""
    if is_default(release, variant):
        return ()
    version = Version(release.version)
    if version < Version("1.11"):
        return ("-f", f"{PYTORCH_INDEX}/torch_stable.html")
    option = "--index-url" if version >= Version("2.0") else "--extra-index-url"
    return (option, index_of(variant.tag))


# --- installers ---


def _with_pip(
    machine: Machine, release: TorchRelease, variant: Variant, companions: Companionship
) -> tuple[str, ...]:
    lines: list[str] = []
    python = machine.interpreter
    if machine.externally_managed:
        lines.append(_line(python, "-m", "venv", _ENVIRONMENT))
        python = f"{_ENVIRONMENT}/bin/python"
        machine = _emptied(machine)
    pip = (python, "-m", "pip")
    return (*lines, *_installing(pip, ("-y",), machine, release, variant, companions))


def _with_uv(
    machine: Machine, release: TorchRelease, variant: Variant, companions: Companionship
) -> tuple[str, ...]:
    lines: list[str] = []
    python = machine.interpreter
    if machine.externally_managed:
        lines.append(_line("uv", "venv", "--python", python, _ENVIRONMENT))
        python = f"{_ENVIRONMENT}/bin/python"
        machine = _emptied(machine)
    uv = ("uv", "pip")
    target = ("--python", python)
    return (*lines, *_installing(uv, target, machine, release, variant, companions, target))


def _installing(
    tool: tuple[str, ...],
    uninstall_options: tuple[str, ...],
    machine: Machine,
    release: TorchRelease,
    variant: Variant,
    companions: Companionship,
    install_options: tuple[str, ...] = (),
) -> Iterator[str]:
    gone = removals(machine, release, variant, companions)
    if gone:
        yield _line(*tool, "uninstall", *uninstall_options, *gone)
    own, other = requirements(machine, release, variant, companions)
    if own:
        options = index_options(release, variant)
        yield _line(*tool, "install", *install_options, *own, *options)
    if other:
        yield _line(*tool, "install", *install_options, *other)


def _with_conda(
    machine: Machine, release: TorchRelease, variant: Variant, companions: Companionship
) -> tuple[str, ...]:
    """pip inside the environment: which builds the conda channels hold is not in the data."""
    lines = _with_pip(machine, release, variant, companions)
    if not (machine.torch_by_conda and machine.conda_prefix and lines):
        return lines
    remove = _line("conda", "remove", "--yes", "--prefix", machine.conda_prefix, "pytorch")
    return (remove, *lines)


def _with_poetry(
    machine: Machine, release: TorchRelease, variant: Variant, companions: Companionship
) -> tuple[str, ...]:
    own, other = requirements(machine, release, variant, companions)
    lines: list[str] = []
    if companions.removals:
        lines.append(_line("poetry", "remove", *companions.removals))
    if own and is_default(release, variant):
        lines.append(_line("poetry", "add", *own))
    elif own:
        source = f"pytorch-{variant.tag}"
        url = index_of(variant.tag)
        lines.append(_line("poetry", "source", "add", "--priority=explicit", source, url))
        lines.append(_line("poetry", "add", "--source", source, *own))
    if other:
        lines.append(_line("poetry", "add", *other))
    return (f"# in the project of {machine.interpreter}", *lines) if lines else ()


def _with_pixi(
    machine: Machine, release: TorchRelease, variant: Variant, companions: Companionship
) -> tuple[str, ...]:
    """Lines for the manifest: the index of a PyPI dependency is named there."""
    own, other = requirements(machine, release, variant, companions)
    if not own and not other and not companions.removals:
        return ()
    index = "" if is_default(release, variant) else f', index = "{index_of(variant.tag)}"'
    lines = [f"# in pixi.toml of {machine.interpreter}, under [pypi-dependencies]:"]
    for spec, place in ((own, index), (other, "")):
        for one in spec:
            name, version = _split(one)
            lines.append(f'#   {name} = {{ version = "{version}"{place} }}')
    lines += [_line("pixi", "remove", "--pypi", name) for name in companions.removals]
    return (*lines, "pixi install")


def _split(spec: str) -> tuple[str, str]:
    match = re.match(r"[\w.-]+", spec)
    name = match[0] if match else spec
    return name, spec[len(name) :]


_WRITERS = {
    "uv": _with_uv,
    "conda": _with_conda,
    "pixi": _with_pixi,
    "poetry": _with_poetry,
}


def _emptied(machine: Machine) -> Machine:
    """The fresh environment: nothing is installed in it."""
    return msgspec.structs.replace(machine, torch=None, variant=None, externally_managed=False)


def _line(*words: str) -> str:
    return shell.command(words)
