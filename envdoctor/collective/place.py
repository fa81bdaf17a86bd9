"""Which node of which job this process is: by the options, else by what a scheduler set. Pure.

Sources: torchrun, "Environment Variables" and its PET_* options; srun(1), "OUTPUT ENVIRONMENT
VARIABLES"; the Kubeflow training operator, which sets RANK and WORLD_SIZE for a pod.
"""

import re
from collections.abc import Mapping
from typing import Any

from envdoctor.errors import BadInput
from envdoctor.facts.collective import CollectiveSettings
from envdoctor.versions import parse_number

PORT = 29_500
"""torchrun's own default of `--master-port`."""

_HIGHEST_PORT = 65_535
_MOST_NODES = 4096

_LAUNCHERS: tuple[tuple[str, str, str], ...] = (
    ("PET_NNODES", "PET_NODE_RANK", "PET_MASTER_ADDR"),
    ("GROUP_WORLD_SIZE", "GROUP_RANK", "MASTER_ADDR"),
    ("SLURM_STEP_NUM_NODES", "SLURM_NODEID", ""),
    ("WORLD_SIZE", "RANK", "MASTER_ADDR"),
)
"""By which variables a launcher says how many nodes there are, which one this is, and where the
first is. A Slurm allocation alone (SLURM_NNODES) says nothing: only a step runs on all its nodes.
"""


def settings_of(options: Mapping[str, Any], variables: Mapping[str, str]) -> CollectiveSettings:
    """What is to be tried. Raises BadInput for what contradicts itself."""
    given = {name: value for name, value in options.items() if value is not None}
    found = {} if "nnodes" in given else _of_a_launcher(variables)
    count = given.get("nnodes", found.get("nnodes", 1))
    number = given.get("node_rank", found.get("node_rank", 0))
    source = f"{found['source']}" if found and count > 1 else "--nnodes" if count > 1 else ""
    if number >= count:
        raise BadInput(
            f"`--node-rank {number}` is none of {count} nodes, which are counted from 0; give "
            "`--nnodes` as well"
        )
    several = count > 1
    address = given.get("master_addr", _address(found, variables) if several else "127.0.0.1")
    if not address:
        raise BadInput(
            f"{count} nodes need to know where the first one is; give `--master-addr` and the same "
            "`--master-port` on all of them"
        )
    port = given.get("master_port") or _port(variables, several=several)
    return CollectiveSettings(
        backend=given.get("backend", "auto"),
        nnodes=count,
        node_rank=number,
        nproc=given.get("nproc"),
        master=f"[{address}]:{port}" if ":" in address else f"{address}:{port}",
        source=source,
    )


def _of_a_launcher(variables: Mapping[str, str]) -> dict[str, Any]:
    """What the first of the launchers says that names several nodes; empty where none does."""
    for count_name, number_name, address_name in _LAUNCHERS:
        count = _number(variables, count_name)
        number = _number(variables, number_name)
        if count is None or number is None or not 1 < count <= _MOST_NODES:
            continue
        local = _number(variables, "LOCAL_WORLD_SIZE")
        if count_name == "WORLD_SIZE" and local is not None and local > 1:
            # Ranks, and several of them on a node.
            continue
        if (_number(variables, "LOCAL_RANK") or _number(variables, "SLURM_LOCALID") or 0) > 0:
            raise BadInput(
                "one process of `envdoctor collective` is started on each node, and this is "
                "another one of its node; give the launcher one task a node"
            )
        address = variables.get(address_name, "").strip() if address_name else ""
        return {"nnodes": count, "node_rank": number, "address": address, "source": count_name}
    return {}


def _address(found: Mapping[str, Any], variables: Mapping[str, str]) -> str:
    own = variables.get("MASTER_ADDR", "").strip()
    return found.get("address") or own or first_host(variables.get("SLURM_STEP_NODELIST", ""))


def first_host(nodelist: str) -> str:
    """The first of Slurm's list: `gpu[003-007,010],cpu1` is `gpu003`."""
    first = re.match(r"(?:[\w.-]|\[[\d,-]+\])+", nodelist.strip())
    return re.sub(r"\[(\d+)[^\]]*\]", r"\1", first[0]) if first else ""


def _port(variables: Mapping[str, str], *, several: bool) -> int:
    """On one machine the port does not matter, and a free one is taken (0)."""
    if not several:
        return 0
    port = _number(variables, "MASTER_PORT")
    if port is None or not 0 < port < _HIGHEST_PORT:
        return PORT
    # A launcher around this one has a store of its own there.
    return port + 1 if "TORCHELASTIC_RUN_ID" in variables else port


def _number(variables: Mapping[str, str], name: str) -> int | None:
    return parse_number(variables.get(name, "").strip())
