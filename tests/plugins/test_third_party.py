"""A plugin of another distribution: added, failing, and not a plugin at all."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.support.doctor import envdoctor, names, validator
from tests.support.patients import empty_patient, fake_torch
from tests.support.plugins import install, site_beside_the_doctor

HERE = Path(__file__).parent


@pytest.fixture
def beside_the_doctor(tmp_path: Path) -> dict[str, str]:
    """An environment in which a folder is on the doctor's path, as site-packages would be."""
    return site_beside_the_doctor(tmp_path / "site")


def run(env: dict[str, str], *arguments: str) -> object:
    return envdoctor(*arguments, env=env, cwd=Path(env["SITE"]))


def test_a_plugin_adds_a_fact_a_check_and_a_page(beside_the_doctor: dict[str, str]) -> None:
    site = Path(beside_the_doctor["SITE"])
    shutil.copytree(HERE / "third_party" / "envdoctor_disk_quota", site / "envdoctor_disk_quota")
    install(site, "envdoctor-disk-quota", "disk-quota = envdoctor_disk_quota:plugin")
    target = ("--static", "--python", sys.executable)
    report = run(beside_the_doctor, "check", "--json", *target).json
    validator().validate(report)
    assert "scratch-full" in names(report)
    assert report["facts"]["Scratch"]["value"]["path"] == "/"
    assert "remove old checkpoints" in run(beside_the_doctor, "check", *target).stdout
    assert run(beside_the_doctor, "rule", "XQ001").stdout.startswith("# XQ001 scratch-full\n")
    assert "scratch-full" in run(beside_the_doctor, "rules").stdout
    skipped = run(beside_the_doctor, "check", "--json", *target, "--skip", "scratch-full").json
    assert "scratch-full" not in names(skipped)


def test_facts_of_a_plugin_are_kept_for_who_has_it(
    beside_the_doctor: dict[str, str], tmp_path: Path
) -> None:
    site = Path(beside_the_doctor["SITE"])
    shutil.copytree(HERE / "third_party" / "envdoctor_disk_quota", site / "envdoctor_disk_quota")
    install(site, "envdoctor-disk-quota", "disk-quota = envdoctor_disk_quota:plugin")
    facts = str(tmp_path / "facts.json")
    run(beside_the_doctor, "collect", "--static", "--python", sys.executable, "-o", facts)
    with_it = run(beside_the_doctor, "check", "--json", "--facts", facts).json
    without_it = envdoctor("check", "--json", "--facts", facts).json
    assert "scratch-full" in names(with_it)
    assert "scratch-full" not in names(without_it)


def test_a_plugin_brings_a_stage_that_runs_in_the_child_that_imported_torch(
    beside_the_doctor: dict[str, str], tmp_path: Path
) -> None:
    site = Path(beside_the_doctor["SITE"])
    shutil.copytree(HERE / "third_party" / "envdoctor_flavour", site / "envdoctor_flavour")
    install(site, "envdoctor-flavour", "flavour = envdoctor_flavour:plugin")
    patient = empty_patient(tmp_path / "patient")
    counted = tmp_path / "imports"
    fake_torch(
        patient,
        f"""
with open({str(counted)!r}, "a+") as file:
    file.write("x")
    file.seek(0)
    IMPORTS = file.read()
FLAVOUR = "vanilla"
__version__ = "2.13.0+cpu"
""",
    )
    report = run(beside_the_doctor, "check", "--json", "--python", str(patient.root)).json
    validator().validate(report)
    facts = report["facts"]
    assert facts["Flavour"]["value"] == {"type": "Flavour", "word": "vanilla", "imports": 1}
    assert facts["TorchImport"]["value"]["outcome"] == "ok"
    assert (facts["Unripe"]["reason"], facts["Unripe"]["detail"]) == (
        "crashed",
        "unripe: ZeroDivisionError: unripe",
    )


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("raise ImportError('no such thing')", "ImportError: no such thing"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("plugin = 'hello'", "is a str, not a Plugin"),
        ("plugin = (", "SyntaxError"),
        (
            """
from envdoctor.api import Plugin, Probe, Where
def look(somewhere): return {}
plugin = Plugin(name="x", version="1", probes=(
    Probe(name="x", where=Where.HOST, provides=(), observe=look),))
""",
            "parameter `somewhere` of `look`",
        ),
    ],
)
def test_a_plugin_that_fails_is_a_finding(
    beside_the_doctor: dict[str, str], body: str, words: str
) -> None:
    site = Path(beside_the_doctor["SITE"])
    (site / "bad_plugin.py").write_text(body + "\n")
    install(site, "bad-plugin", "bad = bad_plugin:plugin")
    done = run(beside_the_doctor, "check", "--json", "--static", "--python", sys.executable)
    (finding,) = [one for one in done.json["findings"] if one["name"] == "plugin-load-failed"]
    assert words in finding["message"]
    assert "`bad-plugin`" in finding["message"]
    assert done.no_traceback
    assert done.exit_code in (0, 1)
    assert os.linesep in done.stdout
