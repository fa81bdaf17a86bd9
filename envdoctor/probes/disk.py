"""The probes that read the target's files; nothing of it is executed."""

import os
from pathlib import Path

from msgspec.structs import replace

from envdoctor.facts import Fact, Known, Observed, Reason, Unknown
from envdoctor.facts.python import Distributions, InstalledFiles, Installer, Interpreter, Target
from envdoctor.facts.torch import CudaComponents, TorchAbsent, TorchBuild
from envdoctor.knowledge import Knowledge
from envdoctor.plugins import Probe, Where
from envdoctor.probes.components import read_components
from envdoctor.probes.context import Context
from envdoctor.probes.distributions import TooMany, read_distributions
from envdoctor.probes.file_check import LIMIT_S
from envdoctor.probes.installed_files import observe_installed_files
from envdoctor.probes.installer import read_installer
from envdoctor.probes.module_path import folders_of
from envdoctor.probes.pip_settings import hidden_from_pip, read_pip_settings
from envdoctor.probes.torch_build import find_torch, read_torch_absent, read_torch_build

_METADATA = "*.dist-info"


def observe_distributions(
    target: Target, interpreter: Interpreter | None, context: Context
) -> dict[type[Fact], Known]:
    """The distributions. Those of a target that does not run are read as well."""
    try:
        found = read_distributions(folders_of(target, interpreter, context))
    except TooMany as error:
        return {Distributions: Unknown(reason=Reason.UNDECODABLE, detail=str(error))}
    return {Distributions: Observed(value=found, source=_METADATA)}


def observe_installer(
    target: Target,
    interpreter: Interpreter | None,
    distributions: Distributions,
    context: Context,
) -> dict[type[Fact], Known]:
    """What installed the distributions."""
    prefix = interpreter.prefix if interpreter else str(Path(target.path).parent.parent)
    installer = replace(
        read_installer(str(context.path(prefix)), distributions),
        pip_settings=read_pip_settings(context, prefix),
        hides_from_pip=hidden_from_pip(context),
    )
    return {Installer: Observed(value=installer, source=installer.evidence or "INSTALLER")}


def observe_torch_build(
    target: Target,
    interpreter: Interpreter | None,
    distributions: Distributions,
    knowledge: Knowledge,
    context: Context,
) -> dict[type[Fact], Known]:
    """The torch on disk, or that there is none."""
    folders = folders_of(target, interpreter, context)
    package = find_torch(folders, knowledge.libraries)
    build = read_torch_build(package, distributions, knowledge.libraries)
    own = (
        (
            *interpreter.site_packages,
            interpreter.user_site if interpreter.user_site_enabled else None,
            _beside_target(target, interpreter.version_info),
            _behind_link(target, interpreter.version_info, context),
        )
        if interpreter
        else ()
    )
    absent = read_torch_absent(
        folders, package, distributions, [context.path(one) for one in own if one]
    )
    known: Known = Unknown(reason=Reason.NOT_APPLICABLE, detail="no torch on disk")
    if build is not None:
        known = Observed(value=build, source=build.version_source or build.path)
    return {TorchBuild: known, TorchAbsent: Observed(value=absent, source="sys.path")}


def _beside_target(target: Target, version: tuple[int, int, int]) -> str:
    """Where the packages of an environment lie whose `bin` holds the target; its Python looks there
    only if `pyvenv.cfg` says so."""
    major, minor, _ = version
    prefix = Path(target.path).parent.parent
    return str(prefix / f"lib/python{major}.{minor}/site-packages")


def _behind_link(target: Target, version: tuple[int, int, int], context: Context) -> str | None:
    """The packages of an environment to whose Python the target is a link from elsewhere: Python
    looks for `pyvenv.cfg` beside the link, and not where that leads (PEP 405)."""
    link = context.path(target.path)
    if not os.path.islink(link):
        return None
    folder = os.path.dirname(target.path)
    python = os.path.normpath(os.path.join(folder, os.readlink(link)))
    prefix = os.path.dirname(os.path.dirname(python))
    own = prefix == os.path.dirname(folder)
    if own or not os.path.isfile(context.path(f"{prefix}/pyvenv.cfg")):
        return None
    major, minor, _ = version
    return f"{prefix}/lib/python{major}.{minor}/site-packages"


def observe_components(
    target: Target,
    interpreter: Interpreter | None,
    distributions: Distributions,
    installed: InstalledFiles | None,
    knowledge: Knowledge,
    context: Context,
) -> dict[type[Fact], Known]:
    """The versions of cuDNN, NCCL, nvJitLink, cudart and cuBLAS on disk."""
    folders = folders_of(target, interpreter, context)
    found = read_components(folders, distributions, installed, knowledge.libraries)
    return {CudaComponents: Observed(value=found, source="site-packages/nvidia")}


DISK_PROBES = (
    Probe(
        name="distributions",
        where=Where.HOST,
        provides=(Distributions,),
        observe=observe_distributions,
        static=True,
    ),
    Probe(
        name="installer",
        where=Where.HOST,
        provides=(Installer,),
        observe=observe_installer,
        static=True,
    ),
    Probe(
        name="installed files",
        where=Where.HOST,
        provides=(InstalledFiles,),
        observe=observe_installed_files,
        timeout_s=LIMIT_S + 5.0,
        static=True,
        slow_because="every installed file is compared with its RECORD",
    ),
    Probe(
        name="torch on disk",
        where=Where.HOST,
        provides=(TorchBuild, TorchAbsent),
        observe=observe_torch_build,
        static=True,
    ),
    Probe(
        name="CUDA components",
        where=Where.HOST,
        provides=(CudaComponents,),
        observe=observe_components,
        static=True,
    ),
)
