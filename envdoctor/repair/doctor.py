"""What the doctor itself can be asked for next, and how it is kept up to date."""

from envdoctor.findings import Fix, Safety
from envdoctor.repair.site import Site
from envdoctor.shell import command


def other_builds(site: Site, summary: str) -> Fix:
    """List the builds that fit."""
    return _ask(summary, "prescribe", "--python", site.target)


def measure_again(baseline: str, summary: str) -> Fix:
    """Calibrate once more, and compare with an earlier calibration."""
    return _ask(summary, "calibrate", "--baseline", baseline)


def _ask(summary: str, *words: str) -> Fix:
    return Fix(summary=summary, commands=(command("envdoctor", *words),), safety=Safety.SAFE)


def update(distribution: str = "envdoctor") -> Fix:
    """Update the doctor, or a plugin of it, in its own environment."""
    return Fix(
        summary=f"update {distribution} in the doctor's own environment",
        commands=(command("pip", "install", "--upgrade", distribution),),
        safety=Safety.CHANGES_ENV,
    )
