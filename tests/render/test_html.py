"""The page, as a parser and a browser read it that others wrote."""

import re
import shutil
import subprocess
from functools import cache
from html import escape
from pathlib import Path

import html5lib
import pytest
from msgspec.structs import replace

from envdoctor.formats import Look
from envdoctor.render.html import render
from envdoctor.render.text import stack_rows
from envdoctor.report import Report, as_one
from tests.support.cases import CASES
from tests.support.diagnosis import report_on
from tests.tui import machines

PAGES = {
    "measured": machines.two_gpus,
    "healthy": machines.healthy_cpu,
    "late": machines.import_hangs,
    **{name: lambda name=name: report_on(CASES[name].snapshot) for name in CASES},
}


@cache
def report(name: str) -> Report:
    return PAGES[name]()


def words_of(page: str) -> str:
    """What a reader sees of a page without an error in its markup."""
    parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
    tree = parser.parse(page)
    return re.sub(r"\s+", " ", "".join(tree.find("body").itertext()))


def plain(text: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"`([^`\n]+)`", r"\1", text))


@pytest.mark.parametrize("name", [*PAGES])
def test_the_page_says_what_the_report_says_and_needs_nothing_else(name: str) -> None:
    page = render(report(name), Look())
    words = words_of(page)
    for finding in report(name).findings:
        assert plain(finding.message) in words
    for root in (one for one in report(name).findings if one.because is None):
        for fix in root.fixes:
            assert plain(fix.summary) in words
            assert all(re.sub(r"\s+", " ", one) in words for one in fix.commands)
    assert all(plain(text) in words for _, text in stack_rows(report(name)))
    assert not re.search(r"<(script|link|img|iframe)|\ssrc=|url\(|@import", page)


def test_what_was_measured_is_a_plot_with_its_figures_in_words() -> None:
    page = render(report("measured"), Look())
    calibration = report("measured").calibration
    assert calibration is not None
    assert page.count('class="bar"') == len(calibration.runs)
    assert "cuda:0 fp16: 2,000 (1,960 - 2,040) images/s" in page
    assert "<svg" not in render(report("late"), Look())


def test_several_targets_are_one_page() -> None:
    words = words_of(render(as_one((report("healthy"), report("late"))), Look()))
    assert words.count("envdoctor: ") == 2


def test_markup_in_what_comes_from_outside_is_text() -> None:
    hostile = '<script>alert(1)</script> &amp; `<b>` "</style>'
    whole = report("late")
    first = replace(whole.findings[0], message=hostile, notes=(hostile,))
    page = render(replace(whole, findings=(first, *whole.findings[1:])), Look())
    assert words_of(page).count('<script>alert(1)</script> &amp; <b> "</style>') == 2
    assert "<script" not in page


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["measured", "late", "driver-not-loaded"])
@pytest.mark.parametrize("width", [390, 1280])
def test_no_page_is_wider_than_its_screen(name: str, width: int, tmp_path: Path) -> None:
    """In a real browser: nothing has to be scrolled sideways, on a phone neither."""
    browser = shutil.which("chromium")
    assert browser is not None, "this lane needs Chromium"
    # A window is never as narrow as a phone; a frame is.
    file = tmp_path / "frame.html"
    file.write_text(
        f'<iframe width="{width}" srcdoc="{escape(render(report(name), Look()))}" onload="'
        'document.title = this.contentDocument.documentElement.scrollWidth"></iframe>',
        encoding="utf-8",
    )
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking")
    done = subprocess.run(
        [
            browser,
            *flags,
            f"--user-data-dir={tmp_path}/profile",
            "--dump-dom",
            file.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = re.search(r"<title>(\d+)</title>", done.stdout)
    assert found is not None
    assert int(found[1]) <= width, found[1]
