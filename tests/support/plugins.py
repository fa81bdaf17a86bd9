"""Plugins of other distributions, installed beside the doctor as an installer would leave them."""

from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "envdoctor"


def site_beside_the_doctor(site: Path) -> dict[str, str]:
    """An environment in which the folder is on the doctor's path, as site-packages would be."""
    site.mkdir()
    (site / "envdoctor").symlink_to(PACKAGE)
    return {"PYTHONPATH": str(site), "SITE": str(site)}


def install(folder: Path, name: str, entry_point: str) -> None:
    """What an installer leaves behind for a distribution with one entry point."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[envdoctor.plugins]\n{entry_point}\n")


def plugin_of(site: Path, source: str) -> dict[str, str]:
    """A plugin that is one module with this source; the environment for it."""
    env = site_beside_the_doctor(site)
    (site / "odd_plugin.py").write_text(source)
    install(site, "odd-plugin", "odd = odd_plugin:plugin")
    return env


def plugin_that_breaks_the_doctor(site: Path, body: str) -> dict[str, str]:
    """A plugin that puts `body` (statements on one line) in the place of the doctor's own code,
    as a defect of it; the environment for it."""
    return plugin_of(
        site,
        "import envdoctor.diagnose\n"
        "from envdoctor.api import Plugin\n"
        "class Odd(BaseException):\n"
        "    def __str__(self): raise RuntimeError('it cannot even say what it is')\n"
        "def broken(*_, **__):\n"
        f"    {body}\n"
        "envdoctor.diagnose.conclude = broken\n"
        "plugin = Plugin(name='odd', version='1')\n",
    )


def plugin_with_a_check(site: Path, body: str) -> dict[str, str]:
    """A plugin whose only check runs `body` (statements on one line); the environment for it."""
    return plugin_of(
        site,
        "from envdoctor.api import Code, Host, Plugin, Severity, check\n"
        "ODD = Code(id='XX001', name='odd', family='odd', severity=Severity.INFO, message='odd')\n"
        "class Odd(BaseException):\n"
        "    def __str__(self): raise RuntimeError('it cannot even say what it is')\n"
        "@check(ODD)\n"
        "def odd(host: Host):\n"
        f"    {body}\n"
        "    yield from ()\n"
        "plugin = Plugin(name='odd', version='1', checks=(odd,))\n",
    )
