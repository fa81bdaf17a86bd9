"""The package index as judge: what is prescribed resolves there, for that platform and Python.

`pytest -m index tests/knowledge` (needs uv, and an index). For what comes from PyTorch's own index,
which is not asked, the file list in the knowledge is the judge: PyPI's for the same platform.
"""

import os
import random
import shlex
import shutil
import subprocess
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from packaging.requirements import Requirement

from envdoctor.knowledge import load
from envdoctor.prescribe import Machine, SeenGpu, prescribe
from envdoctor.record import Record

pytestmark = pytest.mark.index
KNOWLEDGE = load()
MACHINES = 300
PLATFORMS = {
    ("linux", "x86_64"): "x86_64-manylinux_2_35",
    ("linux", "aarch64"): "aarch64-manylinux_2_35",
    ("macos", "arm64"): "aarch64-apple-darwin",
    ("windows", "x86_64"): "x86_64-pc-windows-msvc",
}
"""As `uv pip compile --python-platform` calls them."""
GPUS = (
    "A100",
    "H100",
    "V100",
    "T4",
    "RTX 3090",
    "rtx4090",
    "RTX 5090",
    "GTX 1080 Ti",
    "L4",
    "B200",
)
ARM_GPUS = ("GH200", "GB200", "GB10", "A100")
DRIVERS = ("470.256.02", "525.147.05", "535.183.01", "550.90.07", "570.124.06", "580.65.06")
COMPANIONS = ("torchvision", "torchaudio", "xformers", "bitsandbytes", "torchcodec", "torchao")


class Install(Record):
    """The requirements of a prescription from one index; none is the ordinary one."""

    specs: tuple[str, ...]
    index: str | None


def _machines() -> list[Machine]:
    """Drawn with a fixed seed, so that a failure comes again."""
    draw = random.Random(20261126)
    return [_machine(draw) for _ in range(MACHINES)]


def _machine(draw: random.Random) -> Machine:
    os_name, arch = draw.choice([*PLATFORMS, ("linux", "x86_64"), ("linux", "x86_64")])
    names = ARM_GPUS if arch == "aarch64" else GPUS
    has_gpu = os_name != "macos" and draw.random() < 0.8
    gpus = tuple(_seen(name) for name in draw.sample(names, 1)) if has_gpu else ()
    release = draw.choice(KNOWLEDGE.releases[12:])
    installed = {
        name: version
        for name in draw.sample(COMPANIONS, draw.randint(0, 3))
        if (version := _companion(name, release.version, draw))
    }
    builds = release.builds(arch) if os_name == "linux" else ()
    return Machine(
        os=os_name,
        arch=arch,
        glibc="2.35" if os_name == "linux" else None,
        macos="14.0" if os_name == "macos" else None,
        python=draw.choice(["3.9", "3.10", "3.11", "3.12", "3.13", "3.14"]),
        driver=draw.choice(DRIVERS) if has_gpu else None,
        gpus=gpus,
        nvidia_on_bus=has_gpu,
        torch=release.version if builds and draw.random() < 0.7 else None,
        variant=draw.choice(builds).tag if builds else None,
        installed=installed,
    )


def _seen(name: str) -> SeenGpu:
    return SeenGpu(name=name, compute_capability=KNOWLEDGE.capability_named(name))


def _companion(name: str, torch: str, draw: random.Random) -> str | None:
    pair = KNOWLEDGE.companions(torch)
    versions: tuple[str, ...] = getattr(pair, name, ()) if pair else ()
    known = versions or tuple(one.version for one in KNOWLEDGE.extensions(name))
    return draw.choice(known) if known else None


def _installs(commands: tuple[str, ...]) -> list[Install]:
    found = []
    for line in commands:
        words = shlex.split(line)
        if "install" not in words or "uninstall" in words:
            continue
        rest = words[words.index("install") + 1 :]
        options = [word for word in rest if word.startswith("-")]
        index = rest[rest.index(options[0]) + 1] if options else None
        specs = tuple(word for word in rest if word not in (*options, index))
        found.append(Install(specs=specs, index=index))
    return found


def _resolves(machine: Machine, specs: tuple[str, ...]) -> str:
    """What uv says against it; empty if it finds wheels for all."""
    command = [
        shutil.which("uv") or "uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate",
        "--only-binary", ":all:", "--python-version", machine.python or "3.12",
        "--python-platform", PLATFORMS[machine.os, machine.arch], "-",
    ]  # fmt: skip
    done = subprocess.run(
        command,
        input="\n".join(specs),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "MACOSX_DEPLOYMENT_TARGET": "14.0"},
    )
    return "" if done.returncode == 0 else f"{specs} on {machine.os} {machine.arch}: {done.stderr}"


def _in_the_file_list(machine: Machine, specs: tuple[str, ...]) -> str:
    for spec in specs:
        wanted = Requirement(spec.partition("+")[0])
        version = next(iter(wanted.specifier)).version
        if KNOWLEDGE.wheels.admits(wanted.name, version, machine.target) is not True:
            return f"{spec} has no wheel for Python {machine.python} on {machine.os} {machine.arch}"
    return ""


@pytest.mark.timeout(3600)
def test_what_is_prescribed_resolves() -> None:
    assert shutil.which("uv"), "this lane needs uv: pip install uv"
    judged: Counter[str] = Counter()
    asked: dict[tuple[tuple[str, ...], str | None, str, str], Machine] = {}
    wrong: list[str] = []
    for machine in _machines():
        best = prescribe(machine, KNOWLEDGE, limit=1).best
        if best is None:
            judged["no build"] += 1
            continue
        for install in _installs(best.commands):
            if install.index is None:
                asked[install.specs, machine.python, machine.os, machine.arch] = machine
                judged["PyPI"] += 1
            else:
                judged["the file list"] += 1
                wrong += filter(None, [_in_the_file_list(machine, install.specs)])
    with ThreadPoolExecutor(4) as pool:
        answers = pool.map(lambda one: _resolves(one[1], one[0][0]), asked.items())
        wrong += filter(None, answers)
    print(f"judged by {dict(judged)}; {len(asked)} different questions to the package index")
    assert not wrong, "\n".join(wrong)
    assert judged["PyPI"] >= 100
    assert judged["the file list"] >= 50
