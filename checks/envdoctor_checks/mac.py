"""Apple's GPUs: a Mac on which torch has none."""

from envdoctor.api import (
    Code,
    Evidence,
    Findings,
    Fix,
    Host,
    Layer,
    Place,
    Safety,
    Severity,
    Site,
    TorchRuntime,
    Wanted,
    check,
)

MPS_UNAVAILABLE = Code(
    id="ED425",
    name="mps-unavailable",
    family="mps-os-too-old",
    severity=Severity.ERROR,
    topic="torch",
    layer=Layer.BUILD,
    breaks="compute:gpu",
    message="a GPU is expected, and torch has none of this Mac (MPS)",
    detailed="a GPU is expected, and torch {version} has none of this Mac (MPS){why}",
)


@check(MPS_UNAVAILABLE)
def mps_unavailable(runtime: TorchRuntime, wanted: Wanted, host: Host, site: Site) -> Findings:
    """A GPU of Apple that is expected: torch reaches it by Metal, which some Pythons and systems do
    not give."""
    if site.os_family != "macos" or wanted.gpu != "yes" or runtime.mps_available:
        return
    of_intel = host.machine == "x86_64"
    yield MPS_UNAVAILABLE.finding(
        version=runtime.version,
        why=": its Python is for Intel's processors" if of_intel else "",
        evidence=(
            Evidence(
                label="MPS", value="not available", source="torch.backends.mps.is_available()"
            ),
            Evidence(label="system", value=f"{host.os}, {host.machine}", source="uname"),
        ),
        fixes=(_native(), _newer_system()) if of_intel else (_newer_system(),),
        notes=("pytorch/pytorch issues 139425 and 162921",),
    )


def _native() -> Fix:
    return Fix(
        summary="on a Mac with Apple silicon take a Python for arm64, and torch in it: this one "
        "runs by Rosetta; a Mac of Intel keeps to torch 2.2 at most, and to its CPU unless it has "
        "an AMD GPU",
        commands=("sysctl -n machdep.cpu.brand_string", "arch -arm64 python3 -m venv .venv"),
        safety=Safety.CHANGES_ENV,
    )


def _newer_system() -> Fix:
    return Fix(
        summary="update macOS: the first MPS asked for 12.3, torch 2.5 for 13, torch 2.9 for 14",
        commands=("sw_vers -productVersion",),
        where=Place.HERE,
    )
