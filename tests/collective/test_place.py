"""Which node of which job a process is: by its options and by what schedulers set."""

from typing import Any

import pytest

from envdoctor.collective.place import first_host, settings_of
from envdoctor.collective.target.addresses import is_chosen
from envdoctor.collective.target.rank import partners
from envdoctor.errors import BadInput
from envdoctor.facts.collective import CollectiveSettings

STEP = {
    "SLURM_NNODES": "3",
    "SLURM_STEP_NUM_NODES": "3",
    "SLURM_NODEID": "2",
    "SLURM_LOCALID": "0",
    "SLURM_STEP_NODELIST": "gpu[003-004,010]",
}
ELASTIC = {
    "TORCHELASTIC_RUN_ID": "x",
    "GROUP_WORLD_SIZE": "2",
    "GROUP_RANK": "1",
    "LOCAL_RANK": "0",
    "WORLD_SIZE": "2",
    "LOCAL_WORLD_SIZE": "1",
    "RANK": "1",
    "MASTER_ADDR": "node0",
    "MASTER_PORT": "29500",
}
KUBEFLOW = {"WORLD_SIZE": "4", "RANK": "3", "MASTER_ADDR": "job-master-0", "MASTER_PORT": "23456"}


def where(settings: CollectiveSettings) -> tuple[int, int, str, int]:
    return (
        settings.nnodes,
        settings.node_rank,
        settings.master_addr,
        int(settings.master_port),
    )


def settings(variables: dict[str, str], **options: Any) -> CollectiveSettings:
    return settings_of(options, variables)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, (1, 0, "127.0.0.1", 0)),
        (STEP, (3, 2, "gpu003", 29500)),
        ({**STEP, "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "4000"}, (3, 2, "10.0.0.1", 4000)),
        (ELASTIC, (2, 1, "node0", 29501)),
        (KUBEFLOW, (4, 3, "job-master-0", 23456)),
        ({"PET_NNODES": "2", "PET_NODE_RANK": "0", "PET_MASTER_ADDR": "a"}, (2, 0, "a", 29500)),
        # An allocation alone, as in an interactive shell, starts nothing on its other nodes.
        (
            {"SLURM_NNODES": "3", "SLURM_JOB_NUM_NODES": "3", "SLURM_NODEID": "0"},
            (1, 0, "127.0.0.1", 0),
        ),
        # All ranks of a launcher of one machine.
        ({**ELASTIC, "GROUP_WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "2"}, (1, 0, "127.0.0.1", 0)),
        ({"WORLD_SIZE": "many", "RANK": "0"}, (1, 0, "127.0.0.1", 0)),
    ],
)
def test_what_a_launcher_says(
    variables: dict[str, str], expected: tuple[int, int, str, int]
) -> None:
    assert where(settings(variables)) == expected


def test_options_win() -> None:
    told = settings(STEP, nnodes=2, node_rank=1, master_addr="b", master_port=7)
    assert where(told) == (2, 1, "b", 7)
    assert where(settings(STEP, nnodes=1)) == (1, 0, "127.0.0.1", 0)
    assert settings(STEP).source == "SLURM_STEP_NUM_NODES"


@pytest.mark.parametrize(
    ("variables", "options"),
    [
        ({}, {"nnodes": 2}),
        ({}, {"node_rank": 1}),
        ({}, {"nnodes": 2, "node_rank": 2, "master_addr": "a"}),
        ({**STEP, "SLURM_LOCALID": "1"}, {}),
        ({"PET_NNODES": "2", "PET_NODE_RANK": "0"}, {}),
    ],
)
def test_what_contradicts_itself(variables: dict[str, str], options: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        settings_of(options, variables)


@pytest.mark.parametrize(
    ("nodelist", "first"),
    [
        ("gpu1", "gpu1"),
        ("gpu[003-007,010],cpu1", "gpu003"),
        ("n[1-2].rack1", "n1.rack1"),
        ("a-b-7,c", "a-b-7"),
        ("rack[1-2]node[3-4]", "rack1node3"),
        ("rack[1-2]node[3-4].x,other", "rack1node3.x"),
        ("", ""),
    ],
)
def test_the_first_host_of_a_list(nodelist: str, first: str) -> None:
    assert first_host(nodelist) == first


@pytest.mark.parametrize("world", [2, 3, 4, 5, 8, 13, 64])
def test_every_two_ranks_are_partners_once_and_never_wait_in_a_circle(world: int) -> None:
    plans = {rank: partners(rank, world) for rank in range(world)}
    assert all(sorted(plans[one]) == [n for n in range(world) if n != one] for one in plans)
    came_to_an_end(plans)


@pytest.mark.parametrize("world", [65, 66, 129])
def test_in_a_large_world_neighbours_are_partners(world: int) -> None:
    plans = {rank: partners(rank, world) for rank in range(world)}
    assert all(len(plan) == 2 for plan in plans.values())
    came_to_an_end(plans)


def came_to_an_end(plans: dict[int, list[int]]) -> None:
    """Each exchange takes both at the head of their plans."""
    waiting = {rank: list(plan) for rank, plan in plans.items()}
    while any(waiting.values()):
        ready = [
            (one, plan[0])
            for one, plan in waiting.items()
            if plan and waiting[plan[0]] and waiting[plan[0]][0] == one and one < plan[0]
        ]
        assert ready, waiting
        for one, other in ready:
            waiting[one].pop(0)
            waiting[other].pop(0)


@pytest.mark.parametrize(
    ("name", "choice", "chosen"),
    [
        ("eth0", "eth", True),
        ("eth0", "=eth", False),
        ("eth0", "^docker,lo", True),
        ("lo", "^docker,lo", False),
        ("eth0", "eth0:1", True),
        ("eth0", "^=eth0", False),
    ],
)
def test_what_nccls_variable_chooses(name: str, choice: str, chosen: bool) -> None:
    assert is_chosen(name, choice) is chosen
