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


def update() -> Fix:
    """Update the doctor in its own environment."""
    return _upgrade("envdoctor", "update envdoctor in its own environment")


def update_plugin(distribution: str) -> Fix:
    """Update a plugin that does not load, or remove it."""
    summary = "update or remove that distribution from the doctor's own environment"
    return _upgrade(distribution, summary)


def _upgrade(distribution: str, summary: str) -> Fix:
    line = command("pip", "install", "--upgrade", distribution)
    return Fix(summary=summary, commands=(line,), safety=Safety.CHANGES_ENV)
