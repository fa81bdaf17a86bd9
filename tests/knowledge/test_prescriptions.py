"""The kinds of machine whose first prescription was wrong once; answers come from documents.

Sources are named at each; file lists are those of PyPI, ELF needs those of the wheels on it.
"""

import subprocess
import sys
from typing import Any

import msgspec
import pytest

from envdoctor.knowledge import load
from envdoctor.prescribe import (
    BadMachine,
    Build,
    Machine,
    Prescription,
    SeenGpu,
    machine_elsewhere,
    prescribe,
)

KNOWLEDGE = load()
CU126 = "https://download.pytorch.org/whl/cu126"


def _gpu(words: str) -> tuple[SeenGpu, ...]:
    return (SeenGpu(name=words, compute_capability=KNOWLEDGE.capability_named(words)),)


def _answer(wanted: str | None = None, **facts: Any) -> Prescription:
    facts.setdefault("python", "3.12")
    return prescribe(Machine(glibc="2.35", **facts), KNOWLEDGE, wanted)


def _best(wanted: str | None = None, **facts: Any) -> Build:
    answer = _answer(wanted, **facts)
    assert answer.best is not None, answer.none_because
    return answer.best


A100 = {"gpus": _gpu("A100 SXM4 80 GB"), "driver": "535.183.01"}
GH200 = {"gpus": _gpu("GH200"), "driver": "570.124.06", "arch": "aarch64"}


# --- 1. torchaudio 2.11.0 is +cu130 on PyPI (ELF needs: libcudart.so.13) ---


def test_torchaudio_comes_from_the_index_of_the_build() -> None:
    best = _best("2.13", **A100, installed={"torchaudio": "2.10.0"})
    assert (best.torch, best.variant) == ("2.13.0", "cu126")
    assert best.commands == (
        f"python3 -m pip install torch==2.13.0 torchaudio==2.11.0 --index-url {CU126}",
    )


def test_a_torchaudio_that_stays_at_its_version_moves_to_the_other_cuda() -> None:
    """`==2.11.0` is met by `2.11.0+cu130` (PEP 440): pip would keep it."""
    best = _best(
        "2.12",
        **A100,
        torch="2.13.0+cu130",
        variant="cu130",
        installed={"torchaudio": "2.11.0"},
    )
    assert best.commands[0].split()[4:] == ["-y", "torchaudio"]
    assert "torchaudio==2.11.0" in best.commands[1]
    assert CU126 in best.commands[1]


def test_torchaudio_comes_from_where_it_is_built_for_that_cuda() -> None:
    """A build for CUDA 13.2 takes PyPI's, which is for CUDA 13; one without it the cpu index's."""
    new = {"gpus": _gpu("A100"), "driver": "580.65.06"}
    best = _best("2.15", **new, installed={"torchaudio": "2.11.0"})
    assert (best.variant, best.companions) == ("cu132", {"torchaudio": "2.11.0"})
    assert "--index-url" not in best.commands[-1]
    without = _best("2.13", wants_gpu=False, installed={"torchaudio": "2.9.1"})
    assert without.commands[-1].endswith("https://download.pytorch.org/whl/cpu")


# --- 2. and 7. packages that are linked against one CUDA major ---


def test_vllm_for_cuda_13_does_not_stay_beside_a_build_for_cuda_12() -> None:
    """ELF needs of the wheels since 0.20: libcudart.so.13; vLLM 0.19.1 pins torch 2.10.0."""
    best = _best(**A100, torch="2.13.0+cu130", variant="cu130", installed={"vllm": "0.30.0"})
    assert (best.torch, best.companions["vllm"]) == ("2.10.0", "0.19.1")


def test_a_companion_that_cannot_come_along_is_named() -> None:
    best = _best(
        "2.13", **A100, torch="2.13.0+cu130", variant="cu130", installed={"vllm": "0.30.0"}
    )
    assert (best.torch, best.variant) == ("2.13.0", "cu126")
    assert "CUDA 13" in best.lost["vllm"]
    assert any("vllm will not work" in change for change in best.changes)


def test_xformers_of_cuda_12_is_not_put_beside_cuda_13() -> None:
    """ELF needs of xformers 0.0.35: libcudart.so.12."""
    new = {"gpus": _gpu("H100"), "driver": "580.65.06"}
    best = _best("2.13", **new, torch="2.10.0+cu128", variant="cu128",
                 installed={"xformers": "0.0.34"})  # fmt: skip
    assert (best.torch, best.variant) == ("2.13.0", "cu126")
    assert best.companions["xformers"] == "0.0.35"


@pytest.mark.parametrize(("installed", "wanted"), [("1.31.1", "1.26.0"), ("1.26.0", None)])
def test_onnxruntime_goes_with_the_cuda_that_torch_brings(
    installed: str, wanted: str | None
) -> None:
    """ELF needs: 1.27 and later libcudart.so.13, 1.19 to 1.26 libcudart.so.12."""
    best = _best(**A100, torch="2.13.0+cu130", variant="cu130",
                 installed={"onnxruntime-gpu": installed})  # fmt: skip
    assert (best.torch, best.variant) == ("2.13.0", "cu126")
    assert best.companions == ({"onnxruntime-gpu": wanted} if wanted else {})
    assert not best.lost


def test_onnxruntime_that_no_release_can_follow_is_named() -> None:
    best = _best(torch="2.13.0+cu130", variant="cu130", wants_gpu=False,
                 installed={"onnxruntime-gpu": "1.31.1"})  # fmt: skip
    assert best.variant == "cpu"
    assert (
        "needs the runtime of CUDA 13, and that of this build is none"
        in best.lost["onnxruntime-gpu"]
    )


# --- 3. aarch64 ---


@pytest.mark.parametrize(
    ("torch", "tag"), [("2.5.1", "cu124"), ("2.6.0", "cu126"), ("2.7.0", "cu128"),
                       ("2.7.1", "cu128"), ("2.8.0", "cu129"), ("2.9.1", "cu128"),
                       ("2.10.0", "cu128")]
)  # fmt: skip
def test_a_healthy_grace_hopper_stays_as_it_is(torch: str, tag: str) -> None:
    """Wheels for aarch64 on PyTorch's index, in issues, lock files and release matrices."""
    best = _best(**GH200, torch=f"{torch}+{tag}", variant=tag)
    assert (best.torch, best.variant, best.commands) == (torch, tag, ())


@pytest.mark.parametrize(("torch", "tag"), [("2.8.0", "cu129"), ("2.9.1", "cu128")])
def test_a_cpu_build_on_grace_hopper_becomes_the_cuda_build_of_that_release(
    torch: str, tag: str
) -> None:
    best = _best(**GH200, torch=f"{torch}+cpu", variant="cpu")
    assert (best.torch, best.variant) == (torch, tag)


def test_a_wish_that_the_data_has_no_build_for_is_answered_with_that() -> None:
    best = _best("2.3", **GH200)
    assert "no build with CUDA of torch 2.3.1 for aarch64 is in my data" in best.why


@pytest.mark.parametrize("torch", ["2.12.0", "2.12.1", "2.14.0", "2.14.1"])
def test_pypi_has_cuda_13_for_aarch64(torch: str) -> None:
    """METADATA of the wheels for manylinux_2_28_aarch64: cuda-toolkit==13.0.x."""
    release = KNOWLEDGE.release(torch)
    assert release is not None
    assert release.pypi_variant_aarch64 == "cu130"


def test_spark_on_python_3_10_takes_the_last_release_that_pypi_has_for_it() -> None:
    """2.15 needs Python 3.11; 2.14.1 has cp310 for aarch64, for CUDA 13.0."""
    best = _best(gpus=_gpu("GB10"), driver="580.65.06", arch="aarch64", python="3.10")
    assert (best.torch, best.variant) == ("2.14.1", "cu130")
    assert best.commands == ("python3 -m pip install torch==2.14.1",)


# --- 4. the installed build's own targets ---


def test_what_the_installed_build_holds_counts_more_than_a_table() -> None:
    """2.12.1+cu129 is listed by no source; the build itself says what it holds."""
    machine: dict[str, Any] = {**A100, "torch": "2.12.1+cu129", "variant": "cu129"}
    assert _best(**machine).commands != ()
    own = _best(**machine, arch_flags=("sm_75", "sm_80", "sm_90"))
    assert (own.torch, own.variant, own.commands) == ("2.12.1", "cu129", ())
    lacking = _best(**machine, arch_flags=("sm_90",))
    assert (lacking.torch, lacking.variant) != ("2.12.1", "cu129")


def test_a_healthy_gtx_1650_on_2_7_cu118_stays() -> None:
    """pytorch CUDA_UPGRADE_GUIDE.MD, May 2025: 11.8 has 3.7 to 9.0; GTX 1650 is 7.5."""
    best = _best(gpus=_gpu("GTX 1650"), driver="470.256.02", torch="2.7.1+cu118", variant="cu118")
    assert best.commands == ()


# --- 5. Python tags by platform, and those of the companions ---


@pytest.mark.parametrize(
    ("python", "torch", "companion", "arch"),
    [
        ("3.13", "2.5.1", {"torchvision": "0.20.1"}, "x86_64"),
        ("3.11", "1.13.1", {"torchvision": "0.14.1"}, "x86_64"),
        ("3.11", "1.13.1", {"torchaudio": "0.13.1"}, "x86_64"),
    ],
)
def test_nothing_is_installed_that_has_no_wheel_here(
    python: str, torch: str, companion: dict[str, str], arch: str
) -> None:
    """PyPI: torchvision 0.20.1 has no cp313, 0.14.1 and torchaudio 0.13.1 no cp311."""
    machine: dict[str, Any] = {**A100, "python": python, "installed": companion}
    name, version = next(iter(companion.items()))
    exactly = _best(torch, **machine)
    assert name not in exactly.companions
    assert "has no wheel" in exactly.lost[name]
    kept = _best(**machine, torch=torch, variant="cpu")
    assert kept.companions[name] != version
    assert not kept.lost


@pytest.mark.parametrize("os", ["linux", "macos", "windows"])
def test_torch_2_5_1_has_python_3_13_for_linux_on_x86_64_alone(os: str) -> None:
    arch = {"linux": "aarch64", "macos": "arm64", "windows": "x86_64"}[os]
    answer = prescribe(Machine(os=os, arch=arch, python="3.13"), KNOWLEDGE, "2.5.1")
    assert answer.best is not None
    assert answer.best.torch == "2.6.0", "the nearest with cp313 there"


# --- 6. macOS ---


@pytest.mark.parametrize(
    ("macos", "best"), [("14.5", "2.15.0"), ("13.6", "2.11.0"), ("11.7", "2.11.0")]
)
def test_from_2_12_on_torch_needs_macos_14(macos: str, best: str) -> None:
    """Platform tags on PyPI: macosx_11_0_arm64 up to 2.11, macosx_14_0_arm64 from 2.12 on."""
    machine = Machine(os="macos", arch="arm64", python="3.12", macos=macos)
    answer = prescribe(machine, KNOWLEDGE)
    assert answer.best is not None
    assert answer.best.torch == best


def test_a_macos_that_is_too_old_is_told_which_one_it_takes() -> None:
    answer = prescribe(Machine(os="macos", arch="arm64", python="3.14", macos="10.15"), KNOWLEDGE)
    assert "needs macOS 11.0" in (answer.none_because or "")


# --- 8. cuDNN and old cards ---


@pytest.mark.parametrize(("torch", "best"), [("2.4.1", "2.3.1"), ("2.6.0", "2.3.1")])
def test_kepler_ends_with_cudnn_8(torch: str, best: str) -> None:
    """cuDNN 9.0.0 support matrix: 5.0 and later; torch has cuDNN 9.1 from 2.4.0 on."""
    k80 = {"gpus": _gpu("K80"), "driver": "470.82.01", "python": "3.10"}
    found = _best(torch, **k80)
    assert (found.torch, found.variant) == (best, "cu118")
    assert "cuDNN 9.1.0.70 has no code for K80" in found.why


# --- 9. what was compiled against torch ---


def test_flash_attn_does_not_survive_a_minor_of_torch() -> None:
    """It is published as source, and 2.6 to 2.7 changes the C++ ABI."""
    machine: dict[str, Any] = {"gpus": _gpu("RTX 5090"), "driver": "580.65.06"}
    best = _best(**machine, torch="2.6.0+cu124", variant="cu124",
                 installed={"flash-attn": "2.7.4.post1"})  # fmt: skip
    assert "has to be compiled again" in best.lost["flash-attn"]
    same = _best(**machine, torch="2.10.0+cu126", variant="cu126",
                 installed={"flash-attn": "2.8.3"})  # fmt: skip
    assert (same.torch, same.variant, same.lost) == ("2.10.0", "cu128", {})


@pytest.mark.parametrize("name", ["flash-attn", "torch-scatter", "mamba-ssm", "pytorch3d"])
def test_what_was_compiled_for_another_cuda_is_named(name: str) -> None:
    """torch.utils.cpp_extension links against the libcudart of the CUDA that it compiles with."""
    best = _best("2.13", **A100, torch="2.13.0+cu130", variant="cu130", installed={name: "2.0"})
    assert (best.torch, best.variant) == ("2.13.0", "cu126")
    assert "has to be compiled again" in best.lost[name]
    same = _best("2.13", gpus=_gpu("A100"), driver="580.65.06", torch="2.13.0+cu130",
                 variant="cu130", installed={name: "2.0"})  # fmt: skip
    assert (same.commands, same.lost) == ((), {})


def test_torchcodec_moves_with_torch() -> None:
    """torchcodec README: 0.10 is for torch 2.10, 0.12 and later for 2.11 and later."""
    new = {"gpus": _gpu("L4"), "driver": "580.65.06"}
    best = _best("2.14", **new, torch="2.10.0+cu128", variant="cu128",
                 installed={"torchcodec": "0.10.0"})  # fmt: skip
    assert best.companions["torchcodec"] == "0.17.0"


# --- 10. what the user has and wants ---


def test_the_variant_that_was_asked_for_comes_first() -> None:
    best = _best("2.6.0+cu126", **A100)
    assert (best.torch, best.variant) == ("2.6.0", "cu126")
    refused = _best("2.6.0+cu126", gpus=_gpu("V100"), driver="470.82.01")
    assert refused.variant == "cu118"
    assert "torch 2.6.0 itself does not work here (2.6.0+cu126: needs driver" in refused.why


def test_a_build_of_another_vendor_is_never_replaced_without_a_word() -> None:
    best = _best(**A100, torch="2.6.0a0+ecf3bae.nv25.01", variant="cu128",
                 vendor="NVIDIA (NGC or JetPack)")  # fmt: skip
    assert "built by NVIDIA (NGC or JetPack)" in best.changes[0]


def test_an_image_is_built_where_there_is_no_gpu() -> None:
    best = _best(wants_gpu=True, driver_loaded=False, nvidia_on_bus=False)
    assert (best.torch, best.variant) == ("2.15.0", "cu132")
    assert "it needs driver 580 or later on the machine that runs it" in best.why


def test_a_gpu_that_is_here_without_a_driver_is_another_case() -> None:
    answer = _answer(wants_gpu=True, driver_loaded=False, nvidia_on_bus=True)
    assert "no NVIDIA driver is loaded" in (answer.none_because or "")


def test_windows_with_a_gpu_gets_a_command() -> None:
    """pytorch.org, previous versions: one index for Linux and Windows."""
    best = _best(os="windows", gpus=_gpu("RTX 4090"), driver="581.42", interpreter="python")
    assert best.commands == (
        "python -m pip install torch==2.15.0 --index-url https://download.pytorch.org/whl/cu132",
    )
    old = _best(os="windows", gpus=_gpu("RTX 4090"), driver="551.78")
    assert old.variant == "cu126"


def test_experimental_builds_are_for_windows_too() -> None:
    """pytorch.org, previous versions, 2.7.1: CUDA 12.8 under "Linux and Windows"."""
    laptop = {"gpus": _gpu("RTX 5070 Laptop GPU"), "driver": "572.83", "os": "windows"}
    best = _best(**laptop, torch="2.6.0+cu124", variant="cu124",
                 installed={"torchvision": "0.21.0"})  # fmt: skip
    assert (best.torch, best.variant) == ("2.7.1", "cu128")
    assert best.companions == {"torchvision": "0.22.1"}


def test_the_newest_patch_of_the_nearest_minor_is_taken() -> None:
    best = _best(gpus=_gpu("RTX 5090"), driver="570.86.16", torch="2.6.0+cu124", variant="cu124")
    assert (best.torch, best.variant) == ("2.7.1", "cu128")


@pytest.mark.parametrize(
    ("gpu", "driver", "says"),
    [
        ("RTX 5090", "550.54.15", "needs driver 570 or later"),
        ("B200", "535.183.01", "needs driver 570 or later"),
        ("H100", "515.43.04", "needs driver 520 or later"),
        ("K80", "535.183.01", "no longer supports"),
        ("GTX 1080", "590.48.01", "no longer supports"),
    ],
)
def test_a_driver_is_judged_by_the_card_too(gpu: str, driver: str, says: str) -> None:
    """NVIDIA data center drivers, CUDA Toolkit, Driver, and Architecture Matrix."""
    assert says in (_answer(gpus=_gpu(gpu), driver=driver).none_because or "")


def test_a_driver_is_never_advised_that_drops_the_card() -> None:
    because = _answer(gpus=_gpu("P100"), driver="440.33.01", python="3.14").none_because or ""
    assert "driver branch 580" in because


def test_a_card_that_no_torch_serves_gets_a_build_without_cuda() -> None:
    best = _best(unserved=("Tesla K20m",), nvidia_on_bus=False)
    assert best.variant == "cpu"
    assert "no torch has code for Tesla K20m" in best.why


# --- machines that are not here ---


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "envdoctor", "prescribe", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_a_machine_that_is_described_is_prescribed_for() -> None:
    done = _run("--gpu", "h100", "--driver", "535", "--python-version", "3.12")
    assert done.returncode == 0, done.stderr
    assert f"torch==2.14.1 --index-url {CU126}" in done.stdout


def test_no_published_build_for_arm_has_code_for_a_v100() -> None:
    words = "--gpu V100 --driver 535 --python-version 3.12 --platform linux-aarch64"
    done = _run(*words.split())
    assert done.returncode == 1
    assert "has no code for V100 (sm_70)" in done.stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--gpu MI300X", "is a GPU of AMD"),
        ("--gpu Voodoo2", "is no GPU in my data"),
        ("--driver latest", "is no driver such as 535"),
        ("--python-version 2", "is no Python such as 3.12"),
        ("--gpu h100 --python /usr/bin/python3", "describe another machine"),
    ],
)
def test_what_cannot_be_meant_is_refused(words: str, says: str) -> None:
    done = _run(*words.split())
    assert done.returncode == 2
    assert says in done.stderr


def test_a_jetson_that_is_described_is_a_jetson() -> None:
    machine = machine_elsewhere(KNOWLEDGE, gpus=["Orin"], platform="linux-aarch64")
    assert "JetPack" in (prescribe(machine, KNOWLEDGE).none_because or "")
    with pytest.raises(BadMachine, match="may be"):
        machine_elsewhere(KNOWLEDGE, gpus=["RTX"])


def test_a_branch_stands_for_its_newest_release() -> None:
    machine = machine_elsewhere(KNOWLEDGE, gpus=["A100"], driver="525", python="3.11")
    best = prescribe(machine, KNOWLEDGE).best
    assert best is not None
    assert best.variant == "cu126"
    old = msgspec.structs.replace(machine, driver="525.60.12")
    assert prescribe(old, KNOWLEDGE, limit=1).builds[0].variant == "cu118"
