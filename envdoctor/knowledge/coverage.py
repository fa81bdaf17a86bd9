"""How old the knowledge is, what it covers, and what is missing in it."""

import datetime
from typing import ClassVar

from envdoctor.knowledge.base import Knowledge
from envdoctor.record import Record


class Coverage(Record):
    """One topic of the knowledge: how many records, from where to where, and what is missing."""

    topic: str
    records: int
    span: str
    unknown: str = ""


class State(Record):
    """The age of the knowledge in months and its coverage."""

    formats: ClassVar[tuple[str, ...]] = ("text", "json")

    as_of: str
    age_months: int
    newest_torch: str
    topics: tuple[Coverage, ...]


def state_of(knowledge: Knowledge, today: datetime.date) -> State:
    """The state of the knowledge on a day."""
    year, month = map(int, knowledge.as_of.split("-")[:2])
    return State(
        as_of=knowledge.as_of,
        age_months=max(0, (today.year - year) * 12 + today.month - month),
        newest_torch=knowledge.newest_torch,
        topics=(
            _torch(knowledge),
            _drivers(knowledge),
            _gpus(knowledge),
            _companions(knowledge),
            _references(knowledge),
        ),
    )


def _torch(knowledge: Knowledge) -> Coverage:
    first, last = knowledge.releases[0], knowledge.releases[-1]
    builds = [
        build
        for release in knowledge.releases
        for build in (*release.variants, *release.aarch64)
        if not build.is_cpu
    ]
    read = sum(build.verified for build in builds)
    without = sum(build.arch_flags is None for build in builds)
    unpinned = sum(build.cudnn is None for build in builds)
    return Coverage(
        topic="torch builds with CUDA",
        records=len(builds),
        span=f"torch {first.version} ({first.date}) to {last.version} ({last.date}); "
        f"{read} read from the wheel itself",
        unknown=f"GPUs of {without}, cuDNN of {unpinned}; Windows builds, ROCm GPUs, conda builds",
    )


def _drivers(knowledge: Knowledge) -> Coverage:
    branches = knowledge.drivers.branches
    dated = sum(branch.end_of_life is not None for branch in branches)
    return Coverage(
        topic="driver branches",
        records=len(branches),
        span=f"{branches[0].branch} to {branches[-1].branch}; floors for CUDA 8.0 to 13",
        unknown=f"end of life of {len(branches) - dated}",
    )


def _gpus(knowledge: Knowledge) -> Coverage:
    architectures = dict.fromkeys(gpu.architecture for gpu in knowledge.gpus if gpu.architecture)
    without = [gpu.model for gpu in knowledge.gpus if gpu.compute_capability is None]
    return Coverage(
        topic="GPUs",
        records=len(knowledge.gpus),
        span=", ".join(architectures),
        unknown=f"compute capability of {', '.join(without)}" if without else "",
    )


def _companions(knowledge: Knowledge) -> Coverage:
    names = dict.fromkeys(one.name for one in knowledge.companions_file.extensions)
    return Coverage(
        topic="companions",
        records=len(knowledge.companions_file.pairs) + len(knowledge.companions_file.extensions),
        span=", ".join(("torchvision", "torchaudio", "torchtext", "triton", *names)),
    )


def _references(knowledge: Knowledge) -> Coverage:
    models = {one.gpu for one in knowledge.resnet50_references}
    references = knowledge.references
    return Coverage(
        topic="ResNet-50 rates",
        records=len(references.training),
        span=f"training on {len(models)} GPU models",
    )


def render_state(state: State) -> str:
    """The state as text: its age, then topic by topic."""
    age = f"{state.age_months} months old" if state.age_months else "of this month"
    lines = [f"knowledge of {state.as_of}, {age}; the newest torch in it is {state.newest_torch}"]
    for topic in state.topics:
        lines += ["", f"{topic.records:>5}  {topic.topic}", f"       {topic.span}"]
        if topic.unknown:
            lines.append(f"       not known: {topic.unknown}")
    return "\n".join(lines) + "\n"
