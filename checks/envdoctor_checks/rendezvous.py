"""Where the processes of one job meet: MASTER_ADDR, the host's own name, ranks and ports.

Sources: PyTorch, torch/distributed (rendezvous.py, ProcessGroupGloo.cpp).
"""

from collections.abc import Iterator

from envdoctor.api import (
    Code,
    Collective,
    Confidence,
    Environment,
    Evidence,
    Findings,
    Fix,
    Layer,
    Network,
    Place,
    Safety,
    Severity,
    check,
    surroundings,
)
from envdoctor_checks.job import job_of, number_of
from envdoctor_checks.network import BREAKS, is_usable

MASTER_IS_LOOPBACK = Code(
    id="ED702",
    name="master-is-loopback",
    family="nccl-network",
    severity=Severity.WARNING,
    topic="network",
    layer=Layer.FIRST_USE,
    fault="environment",
    breaks=BREAKS,
    message="MASTER_ADDR is the loopback, and the job has other machines",
    detailed="MASTER_ADDR is the loopback, so each machine waits for itself, and {sign}",
    explains=("ED710", "ED711"),
)

HOSTNAME_IS_LOOPBACK = Code(
    id="ED703",
    name="hostname-is-loopback",
    family="nccl-network",
    severity=Severity.WARNING,
    topic="network",
    layer=Layer.FIRST_USE,
    breaks=BREAKS,
    message="/etc/hosts gives this host's name a loopback address, which gloo tells other machines",
    detailed="/etc/hosts gives this host's name a loopback address, which gloo tells other "
    "machines, and {sign}",
    explains=("ED710", "ED712"),
)

RENDEZVOUS_VARIABLES = Code(
    id="ED704",
    name="rendezvous-variables",
    family="rendezvous-variables",
    severity=Severity.WARNING,
    topic="network",
    layer=Layer.FIRST_USE,
    fault="environment",
    breaks=BREAKS,
    message="the variables by which processes find each other contradict themselves",
    detailed="{problem}",
)


@check(MASTER_IS_LOOPBACK)
def master_is_loopback(
    environment: Environment, network: Network, tried: Collective | None
) -> Findings:
    """Every machine of the job waits for a first process on itself."""
    if tried is not None:
        return
    job = job_of(environment.variables, network)
    if network.master != "loopback" or not job.nodes:
        return
    first = any(
        environment.variables.get(name) == "0" for name in ("GROUP_RANK", "SLURM_NODEID", "RANK")
    )
    yield MASTER_IS_LOOPBACK.finding(
        confidence=Confidence.LIKELY if first else Confidence.CERTAIN,
        sign=job.nodes,
        evidence=(
            Evidence(label="MASTER_ADDR", value="the loopback", source="environment, /etc/hosts"),
        ),
        fixes=(
            Fix(
                summary="set MASTER_ADDR on all machines to the address of the one that has rank "
                "0, by which the others reach it; under Slurm it is the first of the job",
                commands=(
                    'export MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | '
                    "head -n 1)",
                )
                if "SLURM_JOB_ID" in environment.variables
                else (),
                where=Place.SCHEDULER,
            ),
        ),
    )


@check(HOSTNAME_IS_LOOPBACK)
def hostname_is_loopback(
    environment: Environment, network: Network, tried: Collective | None
) -> Findings:
    """Debian's line for the host's own name (127.0.1.1), in a job of several machines."""
    if tried is not None:
        return
    job = job_of(environment.variables, network)
    if network.own_name != "loopback" or not job.nodes:
        return
    # Told an interface, gloo asks for no name.
    if environment.variables.get("GLOO_SOCKET_IFNAME"):
        return
    usable = [one.name for one in network.interfaces if is_usable(one) and not one.is_loopback]
    yield HOSTNAME_IS_LOOPBACK.finding(
        confidence=Confidence.LIKELY,
        sign=job.nodes,
        evidence=(
            Evidence(label="the host's own name", value="a loopback address", source="/etc/hosts"),
        ),
        fixes=(
            *(
                surroundings.set_variable(
                    "GLOO_SOCKET_IFNAME", name, summary="tell gloo the interface to use"
                )
                for name in usable[:1]
            ),
            Fix(
                summary="or give the host's name the address by which other machines reach it, in "
                "/etc/hosts",
            ),
        ),
        notes=("NCCL looks at interfaces, not at names, and is not concerned",),
    )


@check(RENDEZVOUS_VARIABLES)
def rendezvous_variables(environment: Environment) -> Findings:
    """A rank outside of its world, or a port that is none."""
    variables = environment.variables
    if "RANK" not in variables or "WORLD_SIZE" not in variables:
        return
    for names, problem in _contradictions(variables):
        yield RENDEZVOUS_VARIABLES.finding(
            subjects=names,
            problem=problem,
            evidence=tuple(
                Evidence(label=name, value=variables[name], source="environment") for name in names
            ),
            fixes=(
                Fix(
                    summary="let torchrun set all of them, and unset those that were set by hand",
                    safety=Safety.SAFE,
                    commands=("unset RANK WORLD_SIZE LOCAL_RANK MASTER_ADDR MASTER_PORT",),
                ),
            ),
        )


_HIGHEST_PORT = 65_535


def _contradictions(variables: dict[str, str]) -> Iterator[tuple[tuple[str, ...], str]]:
    for rank_name, size_name in (("RANK", "WORLD_SIZE"), ("LOCAL_RANK", "LOCAL_WORLD_SIZE")):
        rank, size = number_of(variables, rank_name), number_of(variables, size_name)
        if rank is not None and size is not None and rank >= size:
            text = f"{rank_name}={rank} is none of {size_name}={size}, which are counted from 0"
            yield (rank_name, size_name), text
    if "MASTER_PORT" not in variables or (number_of(variables, "WORLD_SIZE") or 1) < 2:
        return
    port = number_of(variables, "MASTER_PORT")
    if port is None or not 0 < port <= _HIGHEST_PORT:
        # Kubernetes sets NAME_PORT=tcp://... for every service, also for one called `master`.
        yield ("MASTER_PORT",), f"MASTER_PORT is no port: a number up to {_HIGHEST_PORT}"
