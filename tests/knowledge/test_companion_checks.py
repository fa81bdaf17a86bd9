"""Each check of companions: the machine on which it speaks, and those on which it must not."""

from dataclasses import replace
from functools import cache

import pytest
from msgspec.structs import replace as replace_record

from envdoctor.diagnose import diagnose
from envdoctor.facts import Observed, Snapshot
from envdoctor.facts.machine import Expectation, Toolkit, Toolkits
from envdoctor.facts.python import Distribution, Distributions
from envdoctor.facts.torch import TorchBuild
from envdoctor.findings import Finding, Severity
from envdoctor.knowledge import Knowledge, load
from envdoctor.plugin_loading import load_plugins
from envdoctor.plugins import Loaded
from tests.knowledge.world import SITE, World

KNOWLEDGE = load()
HEALTHY = World(torch="2.6.0", variant="cu124", packages={"numpy": "2.1.0"})


@cache
def _loaded() -> Loaded:
    return load_plugins()


def _findings(snapshot: Snapshot) -> dict[str, Finding]:
    report = diagnose(snapshot, _loaded(), {Knowledge: KNOWLEDGE})
    assert not [one.name for one in report.checks if one.status == "crashed"]
    return {one.id: one for one in report.findings if one.code.startswith("ED37")}


def _with(packages: dict[str, str], torch: str = "2.6.0", variant: str = "cu124") -> World:
    world = replace(HEALTHY, torch=torch, variant=variant)
    return replace(world, packages={**world.packages, **packages})


@pytest.mark.parametrize(
    "world",
    [
        HEALTHY,
        _with({"torchvision": "0.21.0", "torchaudio": "2.6.0", "triton": "3.2.0"}),
        _with({"torchvision": "0.21.0+cu124"}),
        _with({"torchvision": "0.21.0+cu126"}),
        _with({"torchtext": "0.18.0"}, "2.3.0", "cu121"),
        _with({"torchaudio": "2.11.0"}, "2.14.0", "cu130"),
        _with(
            {"torchaudio": "2.11.0", "torchvision": "0.28.0", "vllm": "0.30.0"}, "2.13.0", "cu130"
        ),
        _with({"torchvision": "0.29.2"}, "2.14.1", "cu130"),
        _with({"xformers": "0.0.29.post3"}),
        _with({"xformers": "0.0.35"}, "2.13.0", "cu130"),
        _with({"flash-attn": "2.7.4.post1"}),
        _with({"flash-attn": "2.7.4.post1+cu12torch2.6cxx11abiFALSE"}),
        _with({"torch-scatter": "2.1.2+pt26cu124"}),
        _with({"bitsandbytes": "0.50.1"}, "2.13.0", "cu126"),
        _with({"bitsandbytes": "0.49.0"}, "2.13.0", "cu129"),
        _with({"torchao": "0.12.0", "torchcodec": "0.2.1"}),
        _with({"torchao": "0.12.0"}, "2.7.1", "cu126"),
        _with({"torchao": "0.18.0", "torchcodec": "0.17.0"}, "2.14.0", "cu130"),
    ],
    ids=lambda world: f"{world.torch}+{world.variant} {world.packages}",
)
def test_what_goes_together_gives_no_finding(world: World) -> None:
    assert not _findings(world.snapshot(KNOWLEDGE))


@pytest.mark.parametrize(
    ("world", "found", "wanted"),
    [
        (_with({"torchvision": "0.20.1"}), "ED370", "2.5.1"),
        (_with({"torchvision": "0.21.0+cu118"}), "ED370", "built for cu118"),
        (_with({"torchvision": "0.21.0+cpu"}), "ED370", "built for cpu"),
        (_with({"torchvision": "0.28.0"}, "2.14.0", "cu130"), "ED370", "2.13.0"),
        (_with({"torchaudio": "2.5.1"}), "ED371", "2.5.1"),
        (_with({"torchtext": "0.18.0"}), "ED372", "2.3.0"),
        (_with({"xformers": "0.0.15"}), None, ""),
        (_with({"xformers": "0.0.28"}), "ED373:xformers", "2.4.1"),
        (_with({"xformers": "0.0.29"}), "ED373:xformers", "2.5.1"),
        (_with({"vllm": "0.33.0"}, "2.13.0", "cu130"), "ED373:vllm", "2.14.0"),
        (_with({"bitsandbytes": "0.50.0"}, "2.3.1", "cu121"), "ED373:bitsandbytes", "<3,>=2.4"),
        (
            _with({"flash-attn": "2.7.4.post1+cu12torch2.5cxx11abiFALSE"}),
            "ED373:flash-attn",
            "2.5",
        ),
        (_with({"torchao": "0.15.0"}), "ED373:torchao", "2.9.*"),
        (_with({"torchao": "0.12.0"}, "2.4.1", "cu121"), "ED373:torchao", ">=2.5.0"),
        (_with({"torchcodec": "0.10.0"}), "ED373:torchcodec", "2.10.*"),
        (_with({"torch-scatter": "2.1.2+pt25cu121"}), "ED373:torch-scatter", "2.5"),
        (_with({"torch-sparse": "0.6.18+pt113cu117"}), "ED373:torch-sparse", "1.13"),
    ],
)
def test_what_was_made_for_another_torch(world: World, found: str | None, wanted: str) -> None:
    findings = _findings(world.snapshot(KNOWLEDGE))
    if found is None:
        assert not findings
        return
    assert list(findings) == [found]
    assert set(findings[found].data["wanted"].split(",")) == set(wanted.split(","))
    assert findings[found].evidence


def test_the_fix_names_the_pair_the_index_and_the_target() -> None:
    world = _with({"torchvision": "0.20.1"}, "2.6.0", "cu118")
    finding = _findings(world.snapshot(KNOWLEDGE))["ED370"]
    assert finding.fixes[0].commands == (
        "/home/me/env/bin/python -m pip install torchvision==0.21.0 "
        "--index-url https://download.pytorch.org/whl/cu118",
    )


def test_a_torchvision_of_the_same_version_for_another_cuda_is_installed_again() -> None:
    world = _with({"torchvision": "0.21.0+cu118"})
    command = _findings(world.snapshot(KNOWLEDGE))["ED370"].fixes[0].commands[0]
    assert "--force-reinstall" in command
    assert "--index-url" not in command, "cu124 is what the ordinary index has for 2.6.0"


def test_a_requirement_of_the_metadata_counts_more_than_the_data() -> None:
    world = _with({})
    snapshot = world.snapshot(KNOWLEDGE)
    distributions = snapshot.value(Distributions)
    assert distributions is not None
    nightly = Distribution(
        name="torchvision",
        version="0.31.0.dev20261101",
        location=SITE,
        metadata_path=f"{SITE}/torchvision.dist-info",
        requires=("numpy", "torch==2.16.0.dev20261101"),
    )
    changed = Distributions(items=(*distributions.items, nightly))
    found = _findings(snapshot.with_facts({Distributions: Observed(value=changed, source="test")}))
    assert found["ED370"].data["wanted"] == "2.16.0.dev20261101"


def test_the_requirement_on_pypi_counts_where_the_metadata_states_none() -> None:
    snapshot = _with({}).snapshot(KNOWLEDGE)
    distributions = snapshot.value(Distributions)
    assert distributions is not None
    bare = Distribution(
        name="xformers",
        version="0.0.29",
        location=SITE,
        metadata_path=f"{SITE}/xformers.dist-info",
        requires=("numpy", "torch"),
    )
    changed = Distributions(items=(*distributions.items, bare))
    found = _findings(snapshot.with_facts({Distributions: Observed(value=changed, source="test")}))
    assert found["ED373:xformers"].data["wanted"] == "2.5.1"


@pytest.mark.parametrize(("cudnn", "found"), [("9.10.2.21", []), ("9.19.0.56", ["ED376:gpu:0"])])
def test_a_newer_cudnn_put_in_by_hand_has_no_code_for_a_v100(cudnn: str, found: list[str]) -> None:
    world = _with({"nvidia-cudnn-cu12": cudnn}, "2.11.0", "cu126")
    world = replace(world, gpus=(("Tesla V100-SXM2-16GB", "7.0"),))
    assert list(_findings(world.snapshot(KNOWLEDGE))) == found


def test_cudnn_9_has_no_code_for_a_k80() -> None:
    """cuDNN 9.0.0 support matrix: compute capability 5.0 and later."""
    world = _with({"nvidia-cudnn-cu11": "9.1.0.70"}, "2.4.1", "cu118")
    world = replace(world, gpus=(("Tesla K80", "3.7"),), driver="470.82.01")
    assert "ED376:gpu:0" in _findings(world.snapshot(KNOWLEDGE))


def test_bitsandbytes_without_code_for_this_cuda() -> None:
    found = _findings(_with({"bitsandbytes": "0.50.1"}, "2.13.0", "cu129").snapshot(KNOWLEDGE))
    assert list(found) == ["ED374"]
    assert found["ED374"].severity is Severity.WARNING


def test_where_no_gpu_is_to_be_used_bitsandbytes_works_without_code_for_one() -> None:
    world = _with({"bitsandbytes": "0.50.1"}, "2.13.0", "cu129")
    for_cpu = Observed(value=Expectation(device="cpu", evidence="--expect cpu"), source="test")
    snapshot = world.snapshot(KNOWLEDGE).with_facts({Expectation: for_cpu})
    assert _findings(snapshot)["ED374"].severity is Severity.INFO


@pytest.mark.parametrize(
    ("toolkit", "home", "severity"),
    [
        ("11.8", None, "info"),
        ("11.8", "/usr/local/cuda-11.8", "warning"),
        ("12.1", "/usr/local/cuda-12.1", None),
        (None, "/usr/local/cuda", None),
    ],
)
def test_a_toolkit_matters_to_those_who_build(
    toolkit: str | None, home: str | None, severity: str | None
) -> None:
    source = "CUDA_HOME" if home else "nvcc on PATH"
    items = (Toolkit(path="/usr/local/cuda-11.8", version=toolkit, source=source),)
    fact = Toolkits(items=items, cuda_home=home, nvcc="/usr/local/cuda-11.8/bin/nvcc")
    snapshot = HEALTHY.snapshot(KNOWLEDGE).with_facts({Toolkits: Observed(value=fact, source="t")})
    found = _findings(snapshot)
    assert {one.code: one.severity.value for one in found.values()} == (
        {"ED375": severity} if severity else {}
    )


def test_a_toolkit_that_builds_do_not_use_says_nothing() -> None:
    """CUDA_HOME names a folder in which there is none; builds look nowhere else."""
    items = (Toolkit(path="/usr/local/cuda-11.8", version="11.8", source="nvcc on PATH"),)
    fact = Toolkits(items=items, cuda_home="/gone", nvcc="/usr/local/cuda-11.8/bin/nvcc")
    snapshot = HEALTHY.snapshot(KNOWLEDGE).with_facts({Toolkits: Observed(value=fact, source="t")})
    assert not _findings(snapshot)


def test_without_nvcc_a_toolkit_says_nothing() -> None:
    items = (Toolkit(path="/usr/local/cuda-11.8", version="11.8", source="CUDA_HOME"),)
    fact = Toolkits(items=items, cuda_home="/usr/local/cuda-11.8", nvcc=None)
    snapshot = HEALTHY.snapshot(KNOWLEDGE).with_facts({Toolkits: Observed(value=fact, source="t")})
    assert not _findings(snapshot)


def test_a_torch_newer_than_the_data_is_named_and_not_judged() -> None:
    build = TorchBuild(
        version="2.99.0+cu140",
        cuda="14.0",
        hip=None,
        path=SITE,
        variant="cu140",
        version_source="version.py",
    )
    world = replace(_with({"torchvision": "0.99.0", "torchtext": "0.18.0"}), driver="999.10")
    snapshot = world.snapshot(KNOWLEDGE).with_facts(
        {TorchBuild: Observed(value=build, source="synthetic")}
    )
    found = _findings(snapshot)
    assert {one.partition(":")[0] for one in found} == {"ED379", "ED372"}


def test_the_last_release_that_was_compiled_for_this_torch_is_named() -> None:
    finding = _findings(_with({"torchao": "0.15.0"}).snapshot(KNOWLEDGE))["ED373:torchao"]
    assert finding.fixes[0].commands[0].endswith("pip install torchao==0.12.0")


@pytest.mark.parametrize(("torch", "found"), [("2.6.0", ["ED372"]), ("2.3.1", [])])
def test_a_lower_bound_says_nothing_of_later_torches(torch: str, found: list[str]) -> None:
    snapshot = _with({"torchtext": "0.18.0"}, torch, "cu121").snapshot(KNOWLEDGE)
    distributions = snapshot.value(Distributions)
    assert distributions is not None
    items = tuple(
        replace_record(one, requires=("torch>=2.3.0",)) if one.name == "torchtext" else one
        for one in distributions.items
    )
    stated = Observed(value=Distributions(items=items), source="test")
    assert list(_findings(snapshot.with_facts({Distributions: stated}))) == found
