"""The distributed job that this process belongs to, by the variables of its launcher. Pure."""

from envdoctor.api import Network, Record, parse_number


class Job(Record):
    """What is known of the job that this process belongs to. `several` says that it has more than
    one process; `nodes` names the sign that they are on several machines, empty where none is."""

    several: bool
    nodes: str = ""


def job_of(variables: dict[str, str], network: Network | None) -> Job:
    """The job, by what torchrun and Slurm set (torchrun, "Environment Variables"; sbatch(1))."""
    sign = _sign_of_nodes(variables, network)
    return Job(several=bool(sign) or (number_of(variables, "WORLD_SIZE") or 1) > 1, nodes=sign)


def _sign_of_nodes(variables: dict[str, str], network: Network | None) -> str:
    world, local = number_of(variables, "WORLD_SIZE"), number_of(variables, "LOCAL_WORLD_SIZE")
    if world is not None and local is not None and world <= local:
        # All are here, whatever else the allocation holds.
        return ""
    for name in ("SLURM_JOB_NUM_NODES", "SLURM_NNODES"):
        if (number_of(variables, name) or 1) > 1:
            return f"{name} is {variables[name]}"
    # Of torchrun, or of the options of `envdoctor collective`, which nobody finds as a variable.
    nodes = number_of(variables, "GROUP_WORLD_SIZE") or 1
    if nodes > 1:
        return f"the job has {nodes} nodes"
    if world is not None and local is not None and world > local > 0:
        return f"{local} of {world} processes are on this machine"
    if network is not None and network.master == "other" and (world or 2) > 1:
        return "MASTER_ADDR is another machine"
    return ""


def number_of(variables: dict[str, str], name: str) -> int | None:
    """The number that a variable holds; None where it holds none."""
    return parse_number(variables.get(name, "").strip())
