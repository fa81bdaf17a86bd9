"""The policy that a machine keeps which is known to be good. Pure."""

import math
from collections.abc import Mapping

from envdoctor.companions import DISTRIBUTIONS
from envdoctor.facts import Snapshot
from envdoctor.facts.calibration import Calibration
from envdoctor.facts.machine import Gpus
from envdoctor.facts.python import Distributions
from envdoctor.outcomes import Outcome
from envdoctor.policy.records import GpuRules, Packages, Policy, Speed, Versions
from envdoctor.policy.speed import best_rates
from envdoctor.versions import parse_version

_OF_THE_MEASURED = 0.9
"""The share of a measured rate that is asked for. ResNet-50 rates of one machine differ by a few
per cent from run to run (`docs/calibration.md`); a loss of a tenth is none of these."""


def lock_of(
    snapshot: Snapshot, versions: Mapping[str, str | None], outcomes: tuple[Outcome, ...]
) -> Policy:
    """Versions of the environment as they are, the driver and compute capability as the least."""
    return Policy(
        versions=_versions(versions),
        packages=Packages(required=_companions(snapshot)),
        gpus=_gpus(snapshot),
        speed=_speed(snapshot),
        outcomes=("gpu",) if any(_computes_on_gpu(one) for one in outcomes) else (),
    )


def _computes_on_gpu(outcome: Outcome) -> bool:
    on_gpu = outcome.action == "compute" and outcome.subject.startswith("gpu")
    return on_gpu and outcome.state == "works"


def _versions(versions: Mapping[str, str | None]) -> Versions:
    known = {name: value for name, value in versions.items() if parse_version(value)}

    def same(name: str) -> str | None:
        return f"=={known[name]}" if name in known else None

    def least(name: str) -> str | None:
        return f">={known[name]}" if name in known else None

    return Versions(
        torch=same("torch_version"),
        cuda=same("torch_cuda"),
        cudnn=_release(known.get("cudnn")),
        nccl=_release(known.get("nccl")),
        python=_minor(known.get("python")),
        driver=least("driver_release"),
        driver_cuda=least("driver_cuda"),
    )


def _minor(python: str | None) -> str | None:
    """Wheels are for a minor version of Python."""
    version = parse_version(python)
    return f"=={version.major}.{version.minor}.*" if version else None


def _release(library: str | None) -> str | None:
    """A library says three numbers of its version, its package one more."""
    version = parse_version(library)
    return f"=={'.'.join(map(str, version.release[:3]))}.*" if version else None


def _companions(snapshot: Snapshot) -> tuple[str, ...]:
    """What is built for this torch has to be of this version too."""
    installed = snapshot.value(Distributions)
    found = (installed.first(name) for name in DISTRIBUTIONS) if installed else ()
    return tuple(
        f"{one.name}=={one.version}"
        for one in found
        if one is not None and parse_version(one.version)
    )


def _gpus(snapshot: Snapshot) -> GpuRules:
    """The least compute capability; which model it is and how many there are is for people to
    ask for, as software does not."""
    gpus = snapshot.value(Gpus)
    found = [parse_version(one.compute_capability) for one in gpus.devices] if gpus else []
    least = min((one for one in found if one), default=None)
    return GpuRules(compute_capability=f">={least}" if least else None)


def _speed(snapshot: Snapshot) -> Speed:
    """The least rates. No speedup: that falls where the CPU beside the same GPU is a better one,
    which is no fault of another machine."""
    measured = snapshot.value(Calibration)
    rates = best_rates(measured.figures) if measured else {}
    least = {
        key: float(math.floor(min(of_key.values()) * _OF_THE_MEASURED))
        for key, of_key in rates.items()
    }
    return Speed(**least)
