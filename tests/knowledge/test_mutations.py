"""Each rule, disabled or off by one, must make some hand-written test fail.

Prescriber and checks share their rules, so a wrong rule could agree with itself. The tests that are
run on the changed tree have their answers from published documents.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
JUDGES = (
    "test_rules",
    "test_machines",
    "test_prescriptions",
    "test_companion_checks",
    "test_fits",
    "test_free_claims",
    "test_commands",
)


@dataclass(frozen=True)
class Mutation:
    """A change of one place in one file."""

    rule: str
    file: str
    old: str
    new: str


ARCH = "envdoctor/knowledge/arch.py"
DRIVERS = "envdoctor/knowledge/drivers.py"
NAMES = "envdoctor/knowledge/names.py"
BASE = "envdoctor/knowledge/base.py"
BUILDS = "envdoctor/knowledge/builds.py"
DRIVERS_DATA = "envdoctor/knowledge/drivers.json"
TORCH_DATA = "envdoctor/knowledge/torch.json"
COMPANIONS_DATA = "envdoctor/knowledge/companions.json"
CANDIDATES = "envdoctor/prescribe/candidates.py"
WHEELS = "envdoctor/knowledge/wheels.py"
COMPANIONS = "envdoctor/prescribe/companions.py"
COMMANDS = "envdoctor/prescribe/commands.py"
CHANGES = "envdoctor/repair/changes.py"
CHOOSE = "envdoctor/prescribe/choose.py"
NO_SOLUTION = "envdoctor/prescribe/no_solution.py"
MACHINE = "envdoctor/prescribe/machine.py"
CLAIMS = "envdoctor/fits/claims.py"
VERDICT = "envdoctor/fits/verdict.py"
VERSIONS = "envdoctor/fits/versions.py"
HOST = "envdoctor/fits/host.py"
NEAREST = "envdoctor/fits/nearest.py"
CHECKS = "checks/envdoctor_checks/companions.py"
EXTENSIONS = "checks/envdoctor_checks/torch_extensions.py"
TOOLKITS = "checks/envdoctor_checks/toolkits.py"

MUTATIONS = (
    Mutation("cubin: same major", ARCH, "device[0] == target[0] and device[1]", "device[1]"),
    Mutation("cubin: minor >=", ARCH, "device[1] >= target[1]", "device[1] > target[1]"),
    Mutation("cubin: minor >= not any", ARCH, " and device[1] >= target[1]", ""),
    Mutation("arch-specific a", ARCH, 'if suffix == "a":', 'if suffix == "b":'),
    Mutation("PTX forward only", ARCH, "device >= target and", "device > target and"),
    Mutation("PTX of a family", ARCH, 'suffix != "f" or ', "True or "),
    Mutation("only on chip", ARCH, "if target in _ONLY:", "if target == ():"),
    Mutation("on chip excluded", ARCH, "if device in _ON_CHIP and", "if device == () and"),
    Mutation(
        "unification: torch",
        ARCH,
        'Version("2.14"), Version("13.2")',
        'Version("2.13"), Version("13.2")',
    ),
    Mutation(
        "unification: cuda",
        ARCH,
        'Version("2.14"), Version("13.2")',
        'Version("2.14"), Version("13.0")',
    ),
    Mutation(
        "Thor's second name", ARCH, "if target == (11, 0) and thor", "if target == () and thor"
    ),
    Mutation("driver: >= floor", DRIVERS, "have >= need", "have > need"),
    Mutation("driver: any", DRIVERS, "None if need is None else have >= need", "True"),
    Mutation("driver: windows", DRIVERS, 'if os == "windows"', 'if os == "none"'),
    Mutation("branch: dropped GPU", DRIVERS, "have[0] < int(limit.first_without)", "True"),
    Mutation("branch: off by one", DRIVERS, "have[0] < int(", "have[0] <= int("),
    Mutation("branch: long term", DRIVERS, 'branch.kind == "LTSB"', 'branch.kind == "PB"'),
    Mutation("floor: of the major", BASE, "floors.get(major_minor) or floors", "floors"),
    Mutation("floor of CUDA 12", DRIVERS_DATA, '"525.60.13"', '"525.60.14"'),
    Mutation("floor of CUDA 12, lower", DRIVERS_DATA, '"525.60.13"', '"525.60.12"'),
    Mutation("floor of CUDA 11", DRIVERS_DATA, '"450.80.02"', '"450.80.03"'),
    Mutation(
        "floor of CUDA 13", DRIVERS_DATA, '"min_release_linux": "580"', '"min_release_linux": "570"'
    ),
    Mutation(
        "floor of CUDA 10.2", DRIVERS_DATA, '"440.33", "min_release_w', '"440.34", "min_release_w'
    ),
    Mutation(
        "last branch of Pascal", DRIVERS_DATA, '"first_without": "590"', '"first_without": "591"'
    ),
    Mutation("names: memory", NAMES, "if stated:", "if False:"),
    Mutation("names: tolerance", NAMES, "<= _TOLERANCE", "<= 99 * _TOLERANCE"),
    Mutation(
        "newer than the data", BASE, "> Version(self.newest_torch)", ">= Version(self.newest_torch)"
    ),
    Mutation("numpy 2", COMPANIONS_DATA, '"torch": "<2.3"', '"torch": "<2.2"'),
    Mutation("python", WHEELS, "return minor == int(match", "return True or minor == int(match"),
    Mutation(
        "platform", WHEELS, "return enough and _same_machine(match[4]", "return enough or (match[4]"
    ),
    Mutation("macOS floor", WHEELS, "return target.macos is None or", "return True or"),
    Mutation(
        "free-threaded",
        WHEELS,
        'int(match["minor"]) and bool(match["free"]) == target.free_threaded',
        'int(match["minor"])',
    ),
    Mutation("glibc", CANDIDATES, "< Version(variant.glibc)", "< Version('0')"),
    Mutation(
        "glibc: off by one", CANDIDATES, "Version(machine.glibc) <", "Version(machine.glibc) <="
    ),
    Mutation("driver in the prescriber", CANDIDATES, "if runs is False:", "if runs is None:"),
    Mutation(
        "no driver loaded", CANDIDATES, "if machine.driver_loaded is False and", "if False and"
    ),
    Mutation("GPU in the prescriber", CANDIDATES, "elif not _runs_on(", "elif False and _runs_on("),
    Mutation("unknown targets", CANDIDATES, "if flags is None:", "if False:"),
    Mutation("unconfirmed builds", CANDIDATES, '("unverified", "derived")', "()"),
    Mutation("WSL numbering", CANDIDATES, "if machine.wsl or", "if"),
    Mutation("GPU wanted", CANDIDATES, "if machine.wants_gpu is not None:", "if False:"),
    Mutation(
        "torch is kept",
        CHOOSE,
        "        at not in wanted.positions,\n        _minors_away(at, knowledge, wanted),\n",
        "",
    ),
    Mutation(
        "the build is kept", CHOOSE, "not is_installed(machine, one.release, one.variant),", ""
    ),
    Mutation("extensions are kept", COMPANIONS, "misfits[name] = ", "_ = "),
    Mutation(
        "experimental builds last",
        CHOOSE,
        'one.variant.status not in (None, "stable") and',
        "False and",
    ),
    Mutation(
        "the default first",
        CHOOSE,
        "        not is_default(one.release, one.variant),\n        beyond",
        "        beyond",
    ),
    Mutation("Jetson", NO_SOLUTION, "if machine.tegra:", "if False:"),
    Mutation("AMD", NO_SOLUTION, "and machine.amd_on_bus", "and False"),
    Mutation("Windows", NO_SOLUTION, 'machine.os == "windows" and nvidia', "False"),
    Mutation(
        "several GPUs", NO_SOLUTION, ") > 1:\n            return", ") > 9:\n            return"
    ),
    Mutation("PEP 440 trap", COMMANDS, 'gone.append("torch")', "pass"),
    Mutation("stale wheels", COMMANDS, "return match[1] != new", "return False"),
    Mutation("stale wheels of CUDA 13", COMMANDS, 'return old == "13"', 'return old == "12"'),
    Mutation(
        "index",
        COMMANDS,
        "    if is_default(release, variant):\n        return None",
        "    return None",
    ),
    Mutation("local version", COMMANDS, 'Version(release.version) < Version("2.0")', "False"),
    Mutation("stable page", CHANGES, 'version < Version("1.11")', "False"),
    Mutation("system Python", COMMANDS, "if machine.externally_managed and", "if False and"),
    Mutation("numpy below 2", COMPANIONS, 'pins["numpy"] = "<2"', "pass"),
    Mutation("torchtext goes", COMPANIONS, "removals[name] = reason", "pass"),
    Mutation(
        "article: CUDA",
        VERSIONS,
        "kept = [one for one in builds if _has_cuda(claim.value, one[1])]",
        "kept = builds",
    ),
    Mutation(
        "article: beginning of a version",
        VERDICT,
        "[: len(wanted)] == wanted",
        "[:1] == wanted[:1]",
    ),
    Mutation(
        "claims: GPU dropped by the driver",
        HOST,
        "if limit and driver_serves(",
        "if False and driver_serves(",
    ),
    Mutation(
        "new: too old a driver for the card",
        CANDIDATES,
        "if start and driver_knows(",
        "if False and driver_knows(",
    ),
    Mutation("new: cuDNN and the card", CANDIDATES, "elif variant.cudnn and", "elif False and"),
    Mutation("new: installed targets", CANDIDATES, "if machine.arch_flags and", "if False and"),
    Mutation("new: image", CANDIDATES, "and not machine.runs_elsewhere", ""),
    Mutation(
        "new: CUDA major", COMPANIONS, "return bool(links and links", "return bool(None and links"
    ),
    Mutation(
        "new: wheel of a companion",
        COMPANIONS,
        "if knowledge.wheels.admits(name, version, machine.target) is False:",
        "if False:",
    ),
    Mutation(
        "new: compiled here",
        COMPANIONS,
        "if name in COMPILED_HERE:\n        return _minor",
        "if False:\n        return _minor",
    ),
    Mutation("new: variant asked for", CHOOSE, 'wanted.tag not in ("", one.variant.tag),', "0,"),
    Mutation("new: Windows is no PyPI", COMMANDS, "return variant.is_cpu", "return True"),
    Mutation(
        "new: older than the data",
        VERSIONS,
        "if claimed.release < Version(first)",
        "if False and claimed.release < Version(first)",
    ),
    Mutation(
        "new: announced",
        VERSIONS,
        'if any(one.status == "unverified" for one in others) and',
        "if False and",
    ),
    Mutation("new: nightly", VERSIONS, "if claimed.is_prerelease:", "if False:"),
    Mutation("new: companion without a pin", VERSIONS, "if kept and not stated:", "if False:"),
    Mutation("new: range", VERDICT, 'if claimed[0] in "<>~!":', "if False:"),
    Mutation("new: WSL", VERDICT, 'platform in ("windows", "wsl")', 'platform == "windows"'),
    Mutation("new: a second GPU", CLAIMS, "if not _agree(", "if False and not _agree("),
    Mutation("new: a bare number", CLAIMS, 'if re.fullmatch(r"[0-9.]+", name):', "if False:"),
    Mutation("new: extras on Windows", BUILDS, '"stable", "experimental")', '"stable")'),
    Mutation("claims: nearest works", NEAREST, "if given <= set(one.kept)", "if True"),
    Mutation(
        "torchvision",
        CHECKS,
        "if not stated.contains(torch.public, prereleases=True):",
        "if False:",
    ),
    Mutation("torchvision: pairs", CHECKS, "if _fits_pair(item, pair, torch, known):", "if True:"),
    Mutation("torchvision: another CUDA", CHECKS, "tag[:-1] == ours[:-1]", "True"),
    Mutation("torchvision: same CUDA major", CHECKS, "tag[:-1] == ours[:-1]", "tag == ours"),
    Mutation("extensions: local version", EXTENSIONS, "!= torch.release[:2]", "== ()"),
    Mutation(
        "extensions: requirement",
        EXTENSIONS,
        "if stated is None or stated.contains(",
        "if True or stated.contains(",
    ),
    Mutation(
        "extensions: PyPI's requirement",
        EXTENSIONS,
        "if stated is None and release:",
        "if False and release:",
    ),
    Mutation("bitsandbytes", EXTENSIONS, "or build.cuda in binaries.cuda", "or True"),
    Mutation("toolkit: major", TOOLKITS, "major_of(first.version) == major_of(build.cuda)", "True"),
    Mutation("toolkit: CUDA_HOME", TOOLKITS, "if toolkits.cuda_home else", "if False else"),
    Mutation("toolkit: nvcc", TOOLKITS, "if toolkits.nvcc is None and", "if False and"),
    Mutation("data: sm_70 in cu128", TORCH_DATA, '["sm_70", "sm_75", "sm_80"', '["sm_75", "sm_80"'),
)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda one: one.rule)
def test_the_place_of_each_mutation_exists(mutation: Mutation) -> None:
    assert mutation.old in (ROOT / mutation.file).read_text(), mutation.file


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mutated")
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")
    for name in ("envdoctor", "checks", "tests/knowledge", "tests/support"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in ("tests/__init__.py", "tests/conftest.py", "pyproject.toml"):
        shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def copy(unchanged: Path) -> Path:
    """A copy of the tree that passes as it is: else a failure would prove nothing."""
    done = _judged(unchanged)
    assert done.returncode == 0, done.stdout[-2000:]
    return unchanged


def _judged(folder: Path) -> subprocess.CompletedProcess[str]:
    files = [f"tests/knowledge/{name}.py" for name in JUDGES]
    environment = {
        **os.environ,
        "PYTHONPATH": f"{folder}:{folder / 'checks'}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *files],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.mark.heavy
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda one: one.rule)
def test_some_test_sees_the_mutation(mutation: Mutation, copy: Path) -> None:
    path = copy / mutation.file
    before = path.read_text()
    path.write_text(before.replace(mutation.old, mutation.new))
    try:
        done = _judged(copy)
    finally:
        path.write_text(before)
    assert done.returncode == 1, f"no test fails with: {mutation.old} -> {mutation.new}"
