"""The network is torchvision's: the same size, names and logits."""

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from envdoctor.calibration.target.resnet50 import PARAMETERS, ResNet50


def test_it_has_the_published_number_of_parameters() -> None:
    assert sum(one.numel() for one in ResNet50().parameters()) == PARAMETERS == 25_557_032


def test_its_arithmetic_is_the_published_one() -> None:
    """Multiply-adds of a 224x224 image, counted layer by layer: 4.089 x 10^9."""
    count = 0

    def add(module: torch.nn.Module, _: object, out: torch.Tensor) -> None:
        nonlocal count
        count += out.numel() * module.weight[0].numel()

    model = ResNet50().eval()
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            module.register_forward_hook(add)
    with torch.no_grad():
        model(torch.zeros(1, 3, 224, 224))
    assert count / 1e9 == pytest.approx(4.089, abs=0.001)


def test_it_gives_the_logits_of_torchvision_for_the_same_weights(torchvision: Path) -> None:
    meta = (torchvision / "torchvision" / "_meta_registrations.py").read_text(encoding="utf-8")
    found = re.findall(r'torchvision::(\w+)|register_meta\("(\w+)"', meta)
    operators = sorted({one or other for one, other in found})
    # The wheel's operators are built for CUDA and do not load beside a CPU torch; the network uses
    # none of them, so that their declarations are enough.
    script = f"""
        import sys
        sys.path.insert(0, {str(torchvision)!r})
        import torch
        try:
            import torchvision
        except RuntimeError:
            for name in [one for one in sys.modules if one.startswith("torchvision")]:
                del sys.modules[name]
            library = torch.library.Library("torchvision", "FRAGMENT")
            for name in {operators!r}:
                library.define(name + "(Tensor a) -> Tensor")
            import torchvision
        from envdoctor.calibration.target.resnet50 import ResNet50
        theirs, ours = torchvision.models.resnet50(), ResNet50()
        assert list(theirs.state_dict()) == list(ours.state_dict())
        ours.load_state_dict(theirs.state_dict())
        images = torch.randn(2, 3, 224, 224)
        for mode in (True, False):
            theirs.train(mode), ours.train(mode)
            with torch.no_grad():
                assert torch.equal(theirs(images), ours(images)), mode
        assert all(map(torch.equal, theirs.state_dict().values(), ours.state_dict().values()))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
