"""What the pages on drivers, builds and companions have to say to be of use, by their sources."""

import pytest

from envdoctor.pages import find_code, find_page
from envdoctor.plugin_loading import load_plugins

LOADED = load_plugins()
INDEX = "--index-url https://download.pytorch.org/whl/VARIANT"
"""pytorch.org, Get Started: the builds that are not PyPI's."""
SAID = {
    "ED105": ["A checkout of PyTorch is left, and nothing in it renamed"],
    "ED101": ["python -m pip install NAME==VERSION"],
    # NVIDIA, driver installation guide; RPM Fusion; the Debian, Arch and NixOS wikis.
    "ED200": [
        "ubuntu-drivers install", "akmod-nvidia", "linux-headers-$(uname -r)", "akmods --force",
        "mokutil --import", "blacklist nouveau", "services.xserver.videoDrivers",
    ],
    "ED211": ["libnvidia-compute-580", "libcuda1", "xorg-x11-drv-nvidia-cuda-libs", "nvidia-utils"],
    # NVIDIA's table of last branches: Kepler R470; Maxwell, Pascal and Volta R580.
    "ED213": ["470 the last for Kepler", "apt-get install nvidia-driver-580", "nvidia-driver-470"],
    "ED346": [f"torchvision==VERSION {INDEX}", "came from PyPI: leave `--index-url` out"],
    "ED347": [f"torchaudio==VERSION {INDEX}", "came from PyPI: leave `--index-url` out"],
    "ED370": [f"torchvision==VERSION {INDEX}"],
    # ELF needs of torchaudio 2.11.0 on PyPI: libcudart.so.13.
    "ED371": [f"torchaudio==VERSION {INDEX}", "needs the runtime of CUDA 13"],
    "ED373": ["xformers==VERSION", "--no-build-isolation"],
    "ED375": ["install the toolkit of torch's CUDA"],
    # cuDNN 9.0.0 support matrix: 5.0 and later.
    "ED376": ["below 5.0 (Kepler)", "torch 2.3.1 for CUDA 11.8"],
    # pytorch PR #147607; runtime table of torch 2.12.
    "ED407": ["in that of 2.7 it was not yet"],
    "ED410": ["ECC", "ED223", "ED224", "ED227"],
    # pytorch#131668.
    "ED413": ["On Windows this holds for torch up to 2.4.0"],
    # NVIDIA container toolkit, installation guide.
    "ED500": ["whose repository has to be added first", "nvidia.github.io/libnvidia-container"],
}  # fmt: skip


@pytest.mark.parametrize("code", SAID)
def test_what_a_page_says(code: str) -> None:
    found = find_code(code, LOADED)
    assert found is not None
    page = " ".join((find_page(found, LOADED) or "").split())
    for words in SAID[code]:
        assert words in page
