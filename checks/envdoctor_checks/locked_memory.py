"""Whether a job may lock the memory that its network cards read."""

from envdoctor.api import (
    Code,
    Confidence,
    Environment,
    Evidence,
    Findings,
    Gpus,
    Layer,
    Limits,
    Network,
    Severity,
    Site,
    TorchBuild,
    TorchRuntime,
    check,
    system,
)
from envdoctor_checks.job import job_of
from envdoctor_checks.used_gpus import used_gpus

LOCKED_MEMORY_LIMIT = Code(
    id="ED709",
    name="locked-memory-limit",
    family="nccl-network",
    severity=Severity.WARNING,
    topic="network",
    layer=Layer.FIRST_USE,
    breaks="distributed",
    message="a limit on locked memory is smaller than what NCCL registers with InfiniBand",
    detailed="this process may lock {mib:g} MiB of memory, and NCCL registers more with InfiniBand",
    explains=("ED710", "ED718"),
)

_ENOUGH = 1 << 30
"""Registered are NCCL's buffers: 4 MiB for each connection and channel (NCCL_BUFFSIZE), of which a
GPU has dozens. What Linux gives without a word is 8 MiB, before 5.16 64 KiB."""


@check(LOCKED_MEMORY_LIMIT)
def locked_memory_limit(
    limits: Limits,
    environment: Environment,
    network: Network,
    site: Site,
    runtime: TorchRuntime | None,
    build: TorchBuild | None,
    gpus: Gpus | None,
) -> Findings:
    """A job of several machines with InfiniBand or RoCE, under the limit that Linux sets."""
    limit, variables = limits.locked_memory_bytes, environment.variables
    used = used_gpus(environment, runtime, build, gpus)
    if limit is None or limit >= _ENOUGH or used is None or not used.gpus:
        return
    off = variables.get("NCCL_IB_DISABLE") == "1"
    if off or not network.active_ports or not job_of(variables, network).nodes:
        return
    yield LOCKED_MEMORY_LIMIT.finding(
        confidence=Confidence.LIKELY,
        mib=limit / 2**20,
        evidence=(
            Evidence(label="ulimit -l", value=f"{limit} bytes", source="getrlimit"),
            Evidence(
                label="ports",
                value=", ".join(f"{one.device}:{one.port}" for one in network.active_ports),
                source="/sys/class/infiniband",
            ),
        ),
        fixes=(system.lock_memory(site, in_slurm="SLURM_JOB_ID" in variables),),
        notes=("`ibv_reg_mr` then fails with `Cannot allocate memory`",),
    )
