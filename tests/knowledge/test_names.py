"""GPUs by the names that nvidia-smi, torch and people use.

Compute capabilities: NVIDIA's page "CUDA GPUs". Names: nvidia-smi output in public issues.
"""

import subprocess
import sys

import pytest

from envdoctor.commands.gpus import known_gpu, matching
from envdoctor.errors import BadInput
from envdoctor.knowledge import load

KNOWLEDGE = load()
PRINTED = {
    "3.5": ["GeForce GTX TITAN Black", "GeForce GTX 780 Ti", "Quadro K6000", "Tesla K20c",
        "Tesla K40m", "Tesla K40c", "Tesla K20m", "Tesla K20Xm"],
    "3.7": ["Tesla K80"],
    "5.0": ["NVIDIA GeForce GTX 750 Ti", "Tesla M10", "NVIDIA GeForce 940MX", "Quadro K620",
        "Quadro K2200"],
    "5.2": [
        "Tesla M60", "Tesla M40", "Tesla M40 24GB", "Tesla M4", "NVIDIA GeForce GTX 950",
        "NVIDIA GeForce GTX 960", "NVIDIA GeForce GTX TITAN X", "Quadro M4000", "Quadro M6000 24GB",
        "NVIDIA GeForce GTX 970M", "Quadro M2200", "GRID M60-8Q",
    ],
    "6.0": ["Tesla P100-PCIE-16GB", "Tesla P100-SXM2-16GB", "Quadro GP100"],
    "6.1": [
        "Tesla P40", "Tesla P4", "NVIDIA GeForce GTX 1080 Ti", "NVIDIA GeForce GTX 1050 Ti",
        "NVIDIA GeForce GTX 1070 with Max-Q Design", "Quadro P2000", "Quadro P4000", "Quadro P6000",
        "NVIDIA TITAN Xp", "NVIDIA GeForce MX150", "Quadro P3200", "Tesla P6",
        "NVIDIA TITAN X (Pascal)", "GRID P40-24Q",
    ],
    "7.0": [
        "Tesla V100-SXM2-16GB", "Tesla V100-SXM2-32GB", "Tesla V100-SXM3-32GB",
        "Tesla V100-PCIE-32GB", "Tesla V100-DGXS-32GB", "Tesla V100S-PCIE-32GB",
        "Tesla V100-FHHL-16GB", "NVIDIA TITAN V", "Quadro GV100",
    ],
    "7.5": [
        "Tesla T4", "NVIDIA T4G", "NVIDIA GeForce RTX 2080 Ti", "NVIDIA GeForce GTX 1650",
        "NVIDIA GeForce GTX 1650 Ti", "NVIDIA GeForce RTX 2070 with Max-Q Design", "NVIDIA T400",
        "NVIDIA T400 4GB", "NVIDIA T600", "NVIDIA T1000", "NVIDIA T1000 8GB", "Quadro RTX 6000",
        "Quadro RTX 8000", "Quadro T2000", "NVIDIA T600 Laptop GPU", "NVIDIA TITAN RTX",
        "NVIDIA GeForce MX450", "Quadro RTX 3000 with Max-Q Design", "NVIDIA CMP 40HX",
        "GRID T4-16Q", "GRID RTX6000-24Q",
    ],
    "8.0": [
        "NVIDIA A100-SXM4-40GB", "NVIDIA A100-SXM4-80GB", "NVIDIA A100-PCIE-40GB",
        "NVIDIA A100 80GB PCIe", "NVIDIA A800-SXM4-80GB", "NVIDIA A800 80GB PCIe", "NVIDIA A30",
        "NVIDIA A100-SXM4-40GB MIG 1g.5gb", "GRID A100D-10C",
        "NVIDIA A100-3-20C", "GRID A100-1-5CME", "NVIDIA A30 MIG 2g.12gb", "NVIDIA CMP 170HX",
    ],
    "8.6": [
        "NVIDIA A10", "NVIDIA A10G", "NVIDIA A16", "NVIDIA A2", "NVIDIA A40", "NVIDIA RTX A6000",
        "NVIDIA RTX A2000 12GB", "NVIDIA GeForce RTX 3060", "NVIDIA GeForce RTX 3090",
        "NVIDIA GeForce RTX 3060 Laptop GPU", "NVIDIA GeForce RTX 3080 Ti Laptop GPU",
        "NVIDIA GeForce RTX 2050", "NVIDIA RTX A2000 Laptop GPU", "NVIDIA A40-48Q",
        "NVIDIA RTX A400", "NVIDIA RTX A1000", "NVIDIA GeForce RTX 3050 6GB Laptop GPU",
        "NVIDIA RTXA6000-48Q",
    ],
    "8.7": ["Orin", "Orin (nvgpu)"],
    "8.9": [
        "NVIDIA L4", "NVIDIA L20", "NVIDIA L40", "NVIDIA L40S", "NVIDIA GeForce RTX 4090",
        "NVIDIA GeForce RTX 4090 D", "NVIDIA GeForce RTX 4060 Ti",
        "NVIDIA RTX 4000 SFF Ada Generation", "NVIDIA RTX 5880 Ada Generation",
        "NVIDIA RTX 6000 Ada Generation",
        "NVIDIA GeForce RTX 4070 Laptop GPU", "NVIDIA GeForce RTX 4090 Laptop GPU",
        "NVIDIA RTX 2000 Ada Generation Laptop GPU", "NVIDIA L2", "NVIDIA RTX6000-Ada-48Q",
    ],
    "9.0": [
        "NVIDIA H100 80GB HBM3", "NVIDIA H100 PCIe", "NVIDIA H100 NVL", "NVIDIA H200",
        "NVIDIA H20", "NVIDIA H800", "NVIDIA GH200 480GB", "NVIDIA H100 80GB HBM3 MIG 3g.40gb",
        "NVIDIA H20-3e", "NVIDIA GH200 144G HBM3e", "NVIDIA H100XM-80C", "NVIDIA H100-7-80C",
    ],
    "10.0": ["NVIDIA B200", "NVIDIA GB200"],
    "10.3": ["NVIDIA B300 SXM6 AC", "NVIDIA GB300"],
    "11.0": ["NVIDIA Thor"],
    "12.0": [
        "NVIDIA GeForce RTX 5090", "NVIDIA GeForce RTX 5090 D", "NVIDIA GeForce RTX 5060 Ti",
        "NVIDIA GeForce RTX 5070 Ti Laptop GPU", "NVIDIA RTX PRO 2000 Blackwell",
        "NVIDIA RTX PRO 6000 Blackwell Workstation Edition",
        "NVIDIA RTX PRO 6000 Blackwell Server Edition", "NVIDIA RTX PRO 4000 Blackwell SFF Edition",
        "NVIDIA RTX PRO 5000 Blackwell Generation Laptop GPU", "NVIDIA GeForce RTX 5090 D v2",
        "NVIDIA RTX Pro 6000 Blackwell DC-4-96Q",
    ],
    "12.1": ["NVIDIA GB10"],
}  # fmt: skip
NAMES = [(name, capability) for capability, names in PRINTED.items() for name in names]
ALIASES = {
    "h100": "9.0",
    "H100": "9.0",
    "a100": "8.0",
    "v100": "7.0",
    "t4": "7.5",
    "l40s": "8.9",
    "rtx4090": "8.9",
    "RTX 4090": "8.9",
    "4090": "8.9",
    "rtx-3090": "8.6",
    "rtx3060ti": "8.6",
    "rtx4070tisuper": "8.9",
    "gtx1080ti": "6.1",
    "a6000": "8.6",
    "rtx a6000": "8.6",
    "5090": "12.0",
    "gh200": "9.0",
    "gb200": "10.0",
    "b300": "10.3",
    "sm_90": "9.0",
    "8.6": "8.6",
    "jetson thor": "11.0",
    "dgx spark": "12.1",
    "rtx 4090 laptop": "8.9",
    "rtx 3080 mobile": "8.6",
    "mx450": "7.5",
    "DGX H100": "9.0",
    "HGX B200": "10.0",
    "GB300 NVL72": "10.3",
    "Jetson AGX Thor": "11.0",
}
VENDORS = {
    "AMD Instinct MI300X": "AMD",
    "MI300X": "AMD",
    "MI250X": "AMD",
    "Radeon RX 7900 XTX": "AMD",
    "Intel Arc A770": "Intel",
    "Intel Data Center GPU Max 1550": "Intel",
    "Gaudi 3": "Intel",
    "Apple M3 Max": "Apple",
    "Ascend 910B": "Huawei",
    "TPU v5e": "Google",
}


def test_there_are_eighty() -> None:
    assert len(NAMES) >= 80


@pytest.mark.parametrize(("name", "capability"), NAMES)
def test_names_as_they_are_printed(name: str, capability: str) -> None:
    assert KNOWLEDGE.capability_named(name) == capability


@pytest.mark.parametrize(("name", "capability"), NAMES)
def test_predict_knows_every_name_or_says_what_it_may_be(name: str, capability: str) -> None:
    try:
        assert known_gpu(name, KNOWLEDGE).compute_capability == capability
    except BadInput as error:
        said = str(error)
        if " is an H20 with HBM3e, compute capability 9.0" in said:
            return
        assert "may be" in said or "is a part of a GPU" in said
        offered = (
            said.partition(";")[0].partition("may be ")[2] or said.partition("the whole is ")[2]
        )
        for one in offered.partition(" and ")[0].split(", "):
            assert known_gpu(one, KNOWLEDGE).compute_capability == capability


@pytest.mark.parametrize(("name", "capability"), ALIASES.items())
def test_aliases(name: str, capability: str) -> None:
    assert KNOWLEDGE.capability_named(name) == capability
    assert matching(name, KNOWLEDGE)


@pytest.mark.parametrize(("name", "vendor"), VENDORS.items())
def test_other_vendors(name: str, vendor: str) -> None:
    assert KNOWLEDGE.named(name).vendor == vendor
    assert KNOWLEDGE.capability_named(name) is None
    with pytest.raises(BadInput, match=f"a GPU of {vendor}"):
        known_gpu(name, KNOWLEDGE)


def test_every_model_is_found_by_its_own_names() -> None:
    for model in KNOWLEDGE.gpus:
        for name in (model.model, *model.match):
            assert KNOWLEDGE.gpu(name) == model, name
        assert known_gpu(model.model, KNOWLEDGE) == model


@pytest.mark.parametrize(
    ("name", "never"),
    [
        ("NVIDIA GeForce RTX 4090 Laptop GPU", "GeForce RTX 4090"),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", "A100 SXM4 40 GB"),
        ("GRID V100D-8Q", "Tesla V100 SXM2 16 GB"),
        ("NVIDIA GeForce RTX 9090", "GeForce RTX 4090"),
        ("NVIDIA RTX 6000 Pro", "RTX 6000 Ada Generation"),
        ("NVIDIA RTX A1000", "RTX A1000 Laptop GPU"),
    ],
)
def test_a_part_or_a_namesake_is_not_taken_for_the_card(name: str, never: str) -> None:
    found = KNOWLEDGE.gpu(name)
    assert found is None or found.model != never
    assert KNOWLEDGE.named(name).model != KNOWLEDGE.gpu(never)


def test_memory_tells_models_of_one_name_apart() -> None:
    eight = KNOWLEDGE.gpu("NVIDIA GeForce RTX 4060 Ti", 8 * 2**30)
    sixteen = KNOWLEDGE.gpu("NVIDIA GeForce RTX 4060 Ti", 16 * 2**30)
    assert eight is not None
    assert sixteen is not None
    assert (eight.memory_gb, sixteen.memory_gb) == (8.0, 16.0)


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "envdoctor", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_gpus_lists_what_a_word_may_mean() -> None:
    done = _run("gpus", "h100")
    assert done.returncode == 0
    assert "H100 80GB HBM3" in done.stdout
    assert "A100" not in done.stdout
    assert _run("gpus", "MI300X").returncode == 2


def test_a_gpu_of_which_the_chip_alone_is_known_is_listed_and_not_predicted() -> None:
    listed = _run("gpus", "mx450")
    assert listed.returncode == 0
    assert listed.stdout.splitlines()[1].split()[:4] == ["GeForce", "MX450", "7.5", "Turing"]
    done = _run("predict", "NVIDIA GeForce MX450")
    assert done.returncode == 2
    assert "GeForce MX450 is known, but no source has its memory bandwidth" in done.stderr
    assert KNOWLEDGE.named("GeForce GT 730").capability is None, "sold with Fermi and with Kepler"


def test_a_board_of_which_no_model_is_known_is_no_other_of_its_kind() -> None:
    with pytest.raises(BadInput, match=r"is the GPU of a Jetson TX1, compute capability 5\.3; no"):
        known_gpu("Jetson TX1", KNOWLEDGE)


def test_predict_offers_only_precisions_that_it_has() -> None:
    done = _run("predict", "H20", "--precision", "bf16")
    assert done.returncode == 2
    assert "no source has its memory bandwidth" in done.stderr
    assert _run("predict", "rtx4090").returncode == 0
