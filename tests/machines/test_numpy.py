"""Torch and numpy: by their versions, by the words of the error, and what is neither."""

import pytest
from envdoctor_checks.pytorch import numpy_cannot_be_used

from envdoctor.api import (
    Confidence,
    Distribution,
    Distributions,
    Finding,
    Severity,
    Site,
    TorchBuild,
    TorchRuntime,
)
from envdoctor.knowledge import load

KNOWN = load()
NOT_AVAILABLE = "RuntimeError: Numpy is not available"


def findings(torch: str, numpy: str | None, error: str | None) -> list[Finding]:
    """What is said of a torch that was used; `error` is that of `torch.zeros(1).numpy()`."""
    runtime = TorchRuntime(
        version=torch,
        cuda=None,
        hip=None,
        cuda_available=False,
        device_count=0,
        numpy_version=numpy,
        numpy_error=error,
    )
    return _findings(torch, numpy, runtime)


def _findings(torch: str, numpy: str | None, runtime: TorchRuntime | None) -> list[Finding]:
    installed = [] if numpy is None else [("numpy", numpy)]
    items = tuple(
        Distribution(name=name, version=version, location="/site", metadata_path=f"/site/{name}")
        for name, version in installed
    )
    build = TorchBuild(
        version=torch, cuda=None, hip=None, path="/site/torch", variant="cpu", version_source=""
    )
    return list(
        numpy_cannot_be_used.fn(
            build=build,
            distributions=Distributions(items=items),
            known=KNOWN,
            runtime=runtime,
            site=Site(),
        )
    )


@pytest.mark.parametrize(
    ("torch", "numpy"), [("2.1.0", "1.26.4"), ("2.6.0", "2.2.3"), ("2.6.0", None)]
)
def test_what_works_gives_no_finding(torch: str, numpy: str | None) -> None:
    assert not findings(torch, numpy, None)
    assert not _findings(torch, numpy, None)


def test_a_torch_without_any_numpy_is_as_it_should_be() -> None:
    assert not findings("2.13.0+cpu", None, NOT_AVAILABLE)


@pytest.mark.parametrize(
    ("torch", "numpy", "error"),
    [
        ("2.1.0+cu121", "2.2.3", NOT_AVAILABLE),
        ("2.6.0", "2.0.0", "AttributeError: _ARRAY_API not found"),
        ("2.6.0", "2.0.0", "ImportError: A module that was compiled using NumPy 1.x cannot be run"),
    ],
)
def test_a_torch_for_numpy_1_beside_numpy_2(torch: str, numpy: str, error: str) -> None:
    (finding,) = findings(torch, numpy, error)
    assert (finding.code, finding.severity) == ("ED413", Severity.ERROR)
    assert finding.confidence is Confidence.CERTAIN
    assert "numpy<2" in finding.fixes[0].commands[0]


def test_without_running_it_is_likely() -> None:
    (finding,) = _findings("2.1.0", "2.2.3", None)
    assert (finding.code, finding.confidence) == ("ED413", Confidence.LIKELY)
    assert [one.label for one in finding.evidence] == ["numpy"]


def test_a_numpy_that_is_too_old_is_not_told_to_be_older() -> None:
    """As in NVIDIA-AI-IOT/nanosam issue 7."""
    error = "module compiled against API version 0x10 but this version of numpy is 0xd"
    (finding,) = findings("2.1.0", "1.19.5", error)
    assert finding.code == "ED413"
    assert not finding.fixes[0].commands
    assert "not older" in finding.fixes[0].summary


def test_a_torch_that_was_built_without_numpy_is_no_matter_of_versions() -> None:
    error = "RuntimeError: PyTorch was compiled without NumPy support"
    (finding,) = findings("2.6.0a0+git123", "1.26.4", error)
    assert (finding.name, finding.severity) == ("numpy-unusable", Severity.WARNING)
    assert "compiled without NumPy" in finding.message
    assert not [command for fix in finding.fixes for command in fix.commands]


def test_what_nothing_explains_is_looked_at_further() -> None:
    (finding,) = findings("2.6.0+cu124", "1.26.4", NOT_AVAILABLE)
    assert finding.code == "ED416"
    assert finding.fixes[0].commands == ("python3 -X faulthandler -c 'import numpy'",)
