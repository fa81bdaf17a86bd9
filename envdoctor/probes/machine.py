"""The probes of the machine: host, driver, NVML and cuInit."""

from envdoctor.facts import Fact, Known
from envdoctor.facts.attached import CdiSpecs, RenderNodes, Thunderbolt
from envdoctor.facts.kernel import KernelLog, KernelModules
from envdoctor.facts.machine import (
    Clock,
    Container,
    CudaInit,
    Driver,
    Environment,
    Gpus,
    Host,
    HostCompiler,
    HostIdentity,
    Limits,
    Nvml,
    PciGpus,
    TemporaryFolders,
    Toolkits,
    WorkingFolder,
)
from envdoctor.facts.network import Network
from envdoctor.plugins import Cost, Probe, Where
from envdoctor.probes.attached import observe_attached
from envdoctor.probes.compiler import observe_compiler
from envdoctor.probes.container import observe_container
from envdoctor.probes.context import Context
from envdoctor.probes.driver import observe_driver
from envdoctor.probes.driver_api import LIMIT_S, observe_cuda_init, observe_nvml
from envdoctor.probes.environment import observe_environment
from envdoctor.probes.host import observe_host
from envdoctor.probes.kernel_log import observe_kernel_log
from envdoctor.probes.kernel_modules import observe_kernel_modules
from envdoctor.probes.limits import (
    observe_limits,
    observe_temporary_folders,
    observe_working_folder,
)
from envdoctor.probes.network import observe_network
from envdoctor.probes.pci import observe_pci
from envdoctor.probes.toolkits import observe_toolkits

_PATIENCE_S = LIMIT_S + 5.0


def observe_before_measuring(context: Context) -> dict[type[Fact], Known]:
    """What explains the speed of a training step; nothing of it puts anything on a GPU."""
    observers = (
        observe_host,
        observe_limits,
        observe_container,
        observe_environment,
        observe_pci,
        observe_driver,
        observe_toolkits,
        observe_nvml,
    )
    return {kind: fact for observe in observers for kind, fact in observe(context).items()}


def observe_for_a_job(context: Context) -> dict[type[Fact], Known]:
    """What explains whether the ranks of a job reach each other."""
    observers = (observe_host, observe_container, observe_environment, observe_network)
    return {kind: fact for observe in observers for kind, fact in observe(context).items()}


MACHINE_PROBES = (
    # What waits for a driver begins first.
    Probe(
        name="NVML",
        where=Where.HOST,
        provides=(Nvml, Gpus),
        observe=observe_nvml,
        timeout_s=_PATIENCE_S,
        cost=Cost.SLOW,
        static=True,
        slow_because="the driver wakes every GPU, without persistence mode one after the other",
    ),
    Probe(
        name="cuInit",
        where=Where.HOST,
        provides=(CudaInit,),
        observe=observe_cuda_init,
        timeout_s=_PATIENCE_S,
        cost=Cost.SLOW,
        static=True,
        slow_because="the driver initialises every GPU",
    ),
    Probe(
        name="host",
        where=Where.HOST,
        provides=(Host, HostIdentity, Clock),
        observe=observe_host,
        static=True,
    ),
    Probe(
        name="limits",
        where=Where.HOST,
        provides=(Limits,),
        observe=observe_limits,
        static=True,
    ),
    Probe(
        name="working folder",
        where=Where.HOST,
        provides=(WorkingFolder,),
        observe=observe_working_folder,
        static=True,
    ),
    Probe(
        name="temporary folders",
        where=Where.HOST,
        provides=(TemporaryFolders,),
        observe=observe_temporary_folders,
        static=True,
    ),
    Probe(
        name="container",
        where=Where.HOST,
        provides=(Container,),
        observe=observe_container,
        static=True,
    ),
    Probe(
        name="environment",
        where=Where.HOST,
        provides=(Environment,),
        observe=observe_environment,
        static=True,
    ),
    Probe(
        name="network",
        where=Where.HOST,
        provides=(Network,),
        observe=observe_network,
        static=True,
    ),
    Probe(
        name="PCI bus",
        where=Where.HOST,
        provides=(PciGpus,),
        observe=observe_pci,
        static=True,
    ),
    Probe(
        name="driver",
        where=Where.HOST,
        provides=(Driver,),
        observe=observe_driver,
        static=True,
    ),
    Probe(
        name="kernel modules",
        where=Where.HOST,
        provides=(KernelModules,),
        observe=observe_kernel_modules,
        static=True,
    ),
    Probe(
        name="what is attached",
        where=Where.HOST,
        provides=(Thunderbolt, CdiSpecs, RenderNodes),
        observe=observe_attached,
        static=True,
    ),
    Probe(
        name="kernel log",
        where=Where.HOST,
        provides=(KernelLog,),
        observe=observe_kernel_log,
        static=True,
    ),
    Probe(
        name="toolkits",
        where=Where.HOST,
        provides=(Toolkits,),
        observe=observe_toolkits,
        static=True,
    ),
    Probe(
        name="host compiler",
        where=Where.HOST,
        provides=(HostCompiler,),
        observe=observe_compiler,
    ),
)
