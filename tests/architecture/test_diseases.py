"""Every disease has one name, one page, and a machine that has it."""

import re
from pathlib import Path

import pytest

from envdoctor.derived import fact_types_of
from envdoctor.findings import Code
from envdoctor.pages import find_page
from envdoctor.plugins import load_plugins
from envdoctor.schema import report_schema, shipped_schema
from envdoctor.symptoms import CORE_CODES
from tests.support.doctor import envdoctor

LOADED = load_plugins()
CODES = (*CORE_CODES, *LOADED.codes)
SECTIONS = ("## What it means", "## How it is recognised", "## Fix", "## Sources")


def test_ids_and_names_are_used_once() -> None:
    assert len({code.id for code in CODES}) == len(CODES)
    assert len({code.name for code in CODES}) == len(CODES)


@pytest.mark.parametrize("code", CODES, ids=lambda code: code.name)
def test_every_disease_has_its_page(code: Code) -> None:
    page = find_page(code.id, LOADED)
    assert page is not None
    assert page.meta["id"] == code.id
    assert page.meta["name"] == code.name
    assert page.meta["family"] == code.family
    assert page.meta["severity"] == code.severity.value
    assert [line for line in page.body.splitlines() if line in SECTIONS] == list(SECTIONS)


def test_every_page_belongs_to_a_disease() -> None:
    folder = next(plugin.pages for plugin in LOADED.plugins if plugin.name == "builtin")
    assert folder is not None
    assert {path.stem for path in folder.glob("*.md")} == {code.id for code in CODES}


@pytest.mark.parametrize("code", CODES, ids=lambda code: code.name)
def test_names_and_messages_follow_the_style(code: Code) -> None:
    assert re.fullmatch(r"ED\d{3}", code.id)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9.]+)*", code.name)
    assert not code.message.endswith(".")
    known = {one.id for one in CODES}
    numbered = {one for one in code.explains if one not in known}
    assert all(re.fullmatch(r"ED\d{3}", one) for one in numbered)


BEYOND_THE_VOCABULARY = {
    "confidential-computing",
    "cuda-init-failed",
    "cuda-unavailable",
    "driver-hangs",
    "ecc-in-gddr",
    "exit-after-torch-fails",
    "fp32-training",
    "gpu-slower-than-expected",
    "gpus-not-listed",
    "mig-slice",
    "missing-library",
    "numpy-unusable",
    "open-module-required",
    "prediction-differs",
    "preload-missing",
    "remote-numa-node",
    "slower-than-baseline",
    "threads-across-numa-nodes",
    "undefined-symbol",
    "unreadable-library",
    "uvm-hmm",
    "wrong-module-flavor",
    "xpu-cuda-mix",
}
"""Diseases that no label of the vocabulary names; each is its own family."""


def test_families_are_labels_of_the_vocabulary(shared: Path) -> None:
    text = (shared / "cases" / "causes.md").read_text()
    labels = {label.replace("_", "-") for label in re.findall(r"`([a-z0-9_-]+)`", text)}
    assert {code.family for code in CODES} - labels == BEYOND_THE_VOCABULARY


def test_the_schema_that_ships_is_that_of_the_types() -> None:
    import json

    shipped = json.loads(shipped_schema())
    assert shipped == json.loads(json.dumps(report_schema(fact_types_of(LOADED))))


@pytest.mark.parametrize("code", CODES[:3], ids=lambda code: code.name)
def test_a_page_is_shown_by_code_and_by_name(code: Code) -> None:
    by_code, by_name = envdoctor("rule", code.id), envdoctor("rule", code.name)
    assert by_code.exit_code == 0
    assert by_code.stdout == by_name.stdout


TESTS = Path(__file__).parents[1]
OF_THE_PROGRAM = "\n".join(
    path.read_text(encoding="utf-8")
    for pattern in ("**/*.py", "reports/*.txt", "**/*.json")
    for path in TESTS.glob(pattern)
    if path.name != "test_diseases.py"
)


@pytest.mark.parametrize("code", CODES, ids=lambda code: code.name)
def test_every_disease_is_named_by_a_test(code: Code) -> None:
    assert re.search(rf"\b({code.id}|{code.name})\b", OF_THE_PROGRAM), "no test makes it fire"
