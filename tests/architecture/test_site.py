"""The documentation as a site: it builds without a warning, and its tutorial works."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from envdoctor.pages import codes_of
from envdoctor.plugin_loading import load_plugins
from tests.support.doctor import envdoctor
from tests.support.plugins import install, site_beside_the_doctor

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_disease_has_its_page_and_every_link_an_end(site: Path) -> None:
    """That each link leads to a page and a heading that are there, `--strict` has found out."""
    for code in codes_of(load_plugins()):
        page = (site / "rules" / code.id / "index.html").read_text(encoding="utf-8")
        assert f"{code.id} {code.name}" in page
    speed = (site / "rules" / "speed" / "index.html").read_text(encoding="utf-8")
    assert 'href="../ED604/"' in speed


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    for path in site.rglob("*.html"):
        page = path.read_text(encoding="utf-8")
        assert not re.findall(r'<(?:script|link|img)\b[^>]*(?:src|href)="https?://[^"]*"', page), (
            path
        )


def test_the_tutorial_works_as_it_stands(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "writing-checks.md").read_text(encoding="utf-8")
    blocks = dict(
        re.findall(r"^```(python|toml)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    )
    env = site_beside_the_doctor(tmp_path / "site")
    folder = Path(env["SITE"])
    (folder / "envdoctor_ours.py").write_text(blocks["python"], encoding="utf-8")
    (entry,) = re.findall(r'^(ours = )"(.*)"$', blocks["toml"], flags=re.MULTILINE)
    install(folder, "envdoctor-ours", "".join(entry))
    (command,) = re.findall(r"^envdoctor (check .*)$", text, flags=re.MULTILINE)
    (said,) = re.findall(r"^warning\[.*$", text, flags=re.MULTILINE)
    run = envdoctor(*command.split(), "--python", sys.executable, env=env, cwd=folder)
    assert said in run.stdout
    assert run.exit_code == 0
    fails = envdoctor(
        *command.split(), "--fail-on", "warning", "--python", sys.executable, env=env, cwd=folder
    )
    assert fails.exit_code == 1
