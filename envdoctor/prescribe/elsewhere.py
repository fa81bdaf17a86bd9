"""A machine that is not here, from what its owner says of it."""

import re
from collections.abc import Iterable

from envdoctor.errors import BadInput
from envdoctor.knowledge import Knowledge
from envdoctor.knowledge.drivers import release_key
from envdoctor.prescribe.records import Machine, SeenGpu

PLATFORMS = {
    "linux-x86_64": ("linux", "x86_64"),
    "linux-aarch64": ("linux", "aarch64"),
    "windows-x86_64": ("windows", "x86_64"),
    "macos-arm64": ("macos", "arm64"),
    "macos-x86_64": ("macos", "x86_64"),
}
"""Systems by name, and what `uname -m` says on them."""
_SHOWN = 6


class BadMachine(BadInput):
    """A machine that cannot be meant; the message says what can be."""


def machine_elsewhere(
    knowledge: Knowledge,
    *,
    gpus: Iterable[str] = (),
    driver: str | None = None,
    python: str | None = None,
    platform: str = "linux-x86_64",
) -> Machine:
    """The machine that these words describe. Raises BadMachine.

    GPUs are named as people write them ("V100", "rtx4090"); a driver by its release or its branch
    ("535"); a Python by its minor version ("3.12").
    """
    if platform not in PLATFORMS:
        raise BadMachine(f"`{platform}` is none of {', '.join(PLATFORMS)}")
    if driver is not None and release_key(driver) is None:
        raise BadMachine(f"`{driver}` is no driver such as 535 or 535.183.01")
    if python is not None and not re.fullmatch(r"3\.[0-9]{1,2}(\.[0-9]{1,2})?", python):
        raise BadMachine(f"`{python}` is no Python such as 3.12")
    os, arch = PLATFORMS[platform]
    seen = tuple(_gpu(name, knowledge) for name in gpus)
    return Machine(
        os=os,
        arch=arch,
        python=".".join(python.split(".")[:2]) if python else None,
        interpreter="python" if os == "windows" else "python3",
        driver=driver,
        gpus=seen,
        nvidia_on_bus=bool(seen),
        tegra=any(_is_jetson(gpu) for gpu in seen),
    )


def _gpu(name: str, knowledge: Knowledge) -> SeenGpu:
    found = knowledge.named(name)
    if found.vendor:
        raise BadMachine(f"`{name}` is a GPU of {found.vendor}: only builds for NVIDIA's are known")
    if found.capability is not None:
        label = found.model.model if found.model else name
        return SeenGpu(name=label, compute_capability=found.capability)
    if found.models:
        names = ", ".join(one.model for one in found.models[:_SHOWN])
        raise BadMachine(f"`{name}` may be {names}, of different architectures")
    raise BadMachine(f"`{name}` is no GPU in my data (`envdoctor gpus` lists them)")


def _is_jetson(gpu: SeenGpu) -> bool:
    """The ordinary wheels serve Thor; the GPUs of the other Jetsons are on no card."""
    return gpu.compute_capability in ("5.3", "6.2", "7.2", "8.7")
