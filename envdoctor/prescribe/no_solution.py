"""Why no published build works on a machine, and what would have to change."""

from collections.abc import Iterable

from envdoctor.knowledge import Knowledge
from envdoctor.knowledge.drivers import advised_branch, may_use_forward_compat, release_key
from envdoctor.prescribe.candidates import Candidate, driver_os, floor_of, uses_gpu
from envdoctor.prescribe.records import Machine
from envdoctor.stores import made_with

_OF_64_BITS = ": take a Python of 64 bits"
_INSTEAD = {
    "i686": _OF_64_BITS,
    "armv7l": _OF_64_BITS,
    "ppc64le": ", and none was published for POWER: take the conda packages of Open-CE, or build "
    "torch from source",
}
"""What there is for machines without wheels (pytorch issue 79419 for POWER)."""


def not_covered(machine: Machine, knowledge: Knowledge) -> str | None:
    """Why no build is looked for: the machine is of a kind that the data does not cover."""
    if machine.tegra:
        return (
            "this is a Jetson: its torch builds come with NVIDIA's JetPack, and they are not in my "
            "data; the builds on PyPI and PyTorch's index are for other boards"
        )
    if machine.store:
        means = made_with(machine.store, "torch")
        return f"this Python is part of a store of {machine.store}: {means}"
    if machine.musl:
        return (
            "this Python was compiled for musl, as those of Alpine Linux are, and torch is "
            "published for glibc alone: take a Python of glibc, as in an image of Debian or Ubuntu"
        )
    nvidia = uses_gpu(machine)
    if machine.os == "linux" and machine.amd_on_bus and not nvidia and machine.wants_gpu is None:
        newest = next((one for one in reversed(knowledge.releases) if one.rocm), None)
        tags = f"such as {newest.rocm[-1]} for torch {newest.version}" if newest else ""
        return (
            f"this is an AMD GPU: torch has ROCm builds, {tags}, but which GPUs they serve is not "
            "in my data; see https://pytorch.org/get-started/locally, or ask for a build without "
            "GPU with --expect cpu"
        )
    if machine.os == "windows" and nvidia and machine.arch != "x86_64":
        return f"no torch build with CUDA for Windows on {machine.arch} is in my data"
    if machine.os == "linux" and not any(one.builds(machine.arch) for one in knowledge.releases):
        instead = _INSTEAD.get(machine.arch, "")
        return f"no torch build for Linux on {machine.arch} is in my data{instead}"
    return None


def no_solution_because(every: Iterable[Candidate], machine: Machine, knowledge: Knowledge) -> str:
    """What keeps the nearest builds from working, and the change of the machine that would help."""
    closest = nearest(tuple(every))
    if not closest:
        return f"my data has no CUDA build for Linux on {machine.arch}"
    ways: dict[frozenset[str], list[Candidate]] = {}
    for one in closest:
        ways.setdefault(frozenset(it.kind for it in one.obstacles), []).append(one)
    texts = [_way(kinds, group, machine, knowledge) for kinds, group in ways.items()]
    return "no published build works here; nearest is " + "; or ".join(texts)


def _way(
    kinds: frozenset[str], group: list[Candidate], machine: Machine, knowledge: Knowledge
) -> str:
    best = min(group, key=lambda one: _floor(one, machine, knowledge))
    if "driver" not in kinds or machine.driver is None:
        best = group[0]
    name = f"torch {best.release.version}+{best.variant.tag}"
    obstacles = ", ".join(dict.fromkeys(one.text for one in best.obstacles))
    advice = _advice(kinds, group, best, machine, knowledge)
    return f"{name}: {obstacles}" + (f" ({advice})" if advice else "")


def _floor(one: Candidate, machine: Machine, knowledge: Knowledge) -> tuple[int, ...]:
    return release_key(floor_of(one.variant, machine, knowledge) or "0") or ()


def nearest(every: tuple[Candidate, ...]) -> list[Candidate]:
    """Those with the fewest obstacles, newest first; what no owner can change counts most."""
    if not every:
        return []

    def cost(one: Candidate) -> tuple[int, int]:
        kinds = {obstacle.kind for obstacle in one.obstacles}
        return len(kinds & {"gpu", "cudnn", "existence"}), len(kinds)

    least = min(map(cost, every))
    return [one for one in reversed(every) if cost(one) == least]


def _advice(
    kinds: frozenset[str],
    group: list[Candidate],
    best: Candidate,
    machine: Machine,
    knowledge: Knowledge,
) -> str:
    if kinds & {"gpu", "cudnn"}:
        if len({gpu.compute_capability for gpu in machine.gpus}) > 1:
            return "no build serves all these GPUs; leave some out with CUDA_VISIBLE_DEVICES"
        return "no driver changes that; only a build from source could"
    if kinds & {"driver", "branch"}:
        floors = [floor_of(one.variant, machine, knowledge) for one in group]
        capabilities = [gpu.compute_capability for gpu in machine.gpus if gpu.compute_capability]
        branch = advised_branch([one for one in floors if one], capabilities, knowledge)
        if branch and driver_os(machine) == "linux":
            compat = _compat(best, machine, knowledge) if kinds == {"driver"} else ""
            return f"driver branch {branch.branch} would run it{compat}"
        return "a newer driver would run it"
    if "python" in kinds and not machine.pypy:
        tags = knowledge.wheels.pythons("torch", best.release.version, machine.target)
        return f"Python {tags[-1]} would run it" if tags else ""
    if "glibc" in kinds:
        return "a newer system or a container with one would run it"
    return ""


def _compat(best: Candidate, machine: Machine, knowledge: Knowledge) -> str:
    """Forward compatibility, where every GPU is one that may use it."""
    allowed = [may_use_forward_compat(gpu.name, knowledge) for gpu in machine.gpus]
    if not machine.driver or not allowed or not all(allowed):
        return ""
    package = f"cuda-compat-{(best.variant.cuda or '').replace('.', '-')}"
    return f", and on data-center GPUs so may NVIDIA's package {package}"
