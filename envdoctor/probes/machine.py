"""The probes of the machine: host, driver, NVML and cuInit."""

from envdoctor.facts.machine import (
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
    Toolkits,
)
from envdoctor.plugins import Cost, Probe, Where
from envdoctor.probes.compiler import decode_compiler
from envdoctor.probes.driver import decode_driver
from envdoctor.probes.driver_api import LIMIT_S, decode_cuda_init, decode_nvml
from envdoctor.probes.host import decode_host

_PATIENCE_S = LIMIT_S + 5.0

MACHINE_PROBES = (
    Probe(
        name="host",
        where=Where.HOST,
        provides=(Host, HostIdentity, Limits, Container, Environment),
        decode=decode_host,
        static=True,
    ),
    Probe(
        name="driver",
        where=Where.HOST,
        provides=(PciGpus, Driver, Toolkits),
        decode=decode_driver,
        static=True,
    ),
    Probe(
        name="host compiler",
        where=Where.HOST,
        provides=(HostCompiler,),
        decode=decode_compiler,
        static=True,
    ),
    Probe(
        name="NVML",
        where=Where.HOST,
        provides=(Nvml, Gpus),
        decode=decode_nvml,
        timeout_s=_PATIENCE_S,
        cost=Cost.SLOW,
        static=True,
        slow_because="the driver wakes every GPU, without persistence mode one after the other",
    ),
    Probe(
        name="cuInit",
        where=Where.HOST,
        provides=(CudaInit,),
        decode=decode_cuda_init,
        timeout_s=_PATIENCE_S,
        cost=Cost.SLOW,
        static=True,
        slow_because="the driver initialises every GPU",
    ),
)
