"""Commands that install or restore distributions in the target, for the installer in use."""

from envdoctor import shell
from envdoctor.facts.python import Installer, Target
from envdoctor.findings import Fix, Safety
from envdoctor.prescribe import Prescription
from envdoctor.wheel_index import index_of


def install_command(
    requirements: tuple[str, ...],
    *,
    target: Target | None,
    installer: Installer | None,
    variant: str | None = None,
    reinstall: bool = False,
) -> str:
    """One command that installs exactly these requirements into the target.

    `variant` names the PyTorch index to take them from; without it the configured index is used.
    `reinstall` restores files of a distribution that counts as installed, and leaves its
    dependencies alone.
    """
    words = _installer_words(target, installer)
    if reinstall and words[0] == "uv":
        words += ["--reinstall", "--no-deps"]
    elif reinstall:
        words += ["--force-reinstall", "--no-deps"]
    words += [*requirements]
    if variant:
        words += ["--index-url", index_of(variant)]
    return shell.command(words)


def prescribed(prescription: Prescription | None, summary: str) -> Fix:
    """The build that would work here, as a fix: `summary`, its version, and its commands."""
    if prescription is None:
        return Fix(summary=summary, commands=("envdoctor prescribe",), safety=Safety.CHANGES_ENV)
    build = prescription.best
    if build is None:
        return Fix(summary=f"no build of torch fits: {prescription.none_because}")
    return Fix(
        summary=f"{summary}: torch {build.torch}, {build.variant} (`envdoctor prescribe` lists "
        "all that fit)",
        commands=build.commands,
        safety=Safety.CHANGES_ENV,
    )


def _installer_words(target: Target | None, installer: Installer | None) -> list[str]:
    name = installer.name if installer else "pip"
    python = target.path if target else "python3"
    if name == "uv":
        return ["uv", "pip", "install", "--python", python]
    if name == "poetry":
        return ["poetry", "run", "pip", "install"]
    return [python, "-m", "pip", "install"]


def restore(name: str, version: str, *, target: Target | None, installer: Installer | None) -> Fix:
    """Install again exactly what is installed. A local version tells the index that holds it."""
    local = version.partition("+")[2]
    variant = local if name.startswith("torch") and local else None
    command = install_command(
        (f"{name}=={version}",),
        target=target,
        installer=installer,
        variant=variant,
        reinstall=True,
    )
    return Fix(summary=f"restore {name} {version}", commands=(command,), safety=Safety.CHANGES_ENV)
