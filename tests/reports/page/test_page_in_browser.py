"""The page as its readers see it: in Chromium, wide and narrow, light and dark, by keyboard, and printed."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reports.figures import Options
from reports.page.build import build_page
from reports.tables.registry import build_all
from reports.verification.printed import read_html
from tests.reports.conftest import results_in

UNBROKEN = "a_name_without_a_place_to_break_" * 3
STUDY = f"""study: odd
title: Rows of odd names
rows:
  "{UNBROKEN}": {{}}
  "A long name of a row, with words, that is set in several lines": {{model.interaction: none}}
baseline: "{UNBROKEN}"
seeds: 6
"""
FAILED = {"state": "failed", "metrics": None, "error": {"kind": "out-of-memory", "message": "2.1 GiB wanted"}}
MARGIN = 38
"""Points that stay white at the edges of a printed page."""
SIZES = {"A4": 595, "Letter": 612}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a page with the paper's widest tables, a study that is not through and rows of odd names."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "odd.yaml").write_text(STUDY)
    make = results_in(folder)
    accuracies = {"Temporal": 0.3, "Global": 0.7}
    results = [
        make("attention_pattern", accuracies, seeds=3, changes={("Global", 1): FAILED}, skip={("Temporal", 2)}),
        make("ssv2", seeds=2),
        make(folder / "odd.yaml", seeds=6),
    ]
    path = folder / "index.html"
    path.write_text(build_page(build_all([1], results), results, Options()))
    return path


@pytest.fixture(params=[(1280, "light"), (390, "dark")], ids=str)
def opened(request: pytest.FixtureRequest, browser: Any, file: Path) -> Iterator[Any]:
    """Return the page at a width and in a colour scheme."""
    width, scheme = request.param
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    requested: list[str] = []
    page.on("request", lambda each: requested.append(each.url))
    page.goto(file.as_uri())
    page.requested = requested
    yield page
    page.close()


def test_the_page_fits_every_screen_and_has_no_serious_fault_of_access(opened: Any) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    outside = [url for url in opened.requested if not url.startswith(("file:", "data:"))]
    assert outside == []
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert opened.evaluate("[...document.images].every(each => each.complete && each.naturalWidth > 0)")
    found = axe.Axe().run(opened).response["violations"]
    assert [(each["id"], each["nodes"][0]["html"]) for each in found if each["impact"] != "minor"] == []


def test_the_page_follows_the_colour_scheme(browser: Any, file: Path) -> None:
    brightness = {}
    for scheme in ("light", "dark"):
        page = browser.new_page(color_scheme=scheme)
        page.goto(file.as_uri())
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        brightness[scheme] = sum(map(int, re.findall(r"\d+", colour)))
        page.close()
    assert brightness["dark"] < 150 < 700 < brightness["light"]


def test_a_table_that_does_not_fit_is_scrolled_by_keyboard(browser: Any, file: Path) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 900})
    page.goto(file.as_uri())
    area = page.locator("#table-2 .scroll")
    assert area.evaluate("each => each.scrollWidth > each.clientWidth")
    area.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.querySelector('#table-2 .scroll').scrollLeft > 0")
    name = page.locator("#table-2 tbody th[scope=row]").first
    assert name.bounding_box()["x"] >= 0  # the row's name stays in sight
    page.close()


@pytest.mark.parametrize("size", SIZES)
def test_every_cell_is_printed_whole(size: str, browser: Any, file: Path, tmp_path: Path) -> None:
    if shutil.which("pdftotext") is None:
        pytest.skip("there is no pdftotext")
    page = browser.new_page()
    page.goto(file.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(each => each.removeAttribute('open'))")
    page.pdf(path=tmp_path / "page.pdf", format=size)
    cells = page.evaluate("[...document.querySelectorAll('th, td')].map(each => each.textContent)")
    page.close()

    text = said(tmp_path / "page.pdf", "-raw")
    place, lost = 0, []
    together = "".join(text.split())
    for cell in ("".join(each.split()) for each in cells):
        found = together.find(cell, place)
        lost += [cell] if found < 0 else []
        place = max(place, found)
    assert len(cells) > 500
    assert lost == []

    words = re.findall(r'<word xMin="([\d.]+)" yMin="[\d.]+" xMax="([\d.]+)"', said(tmp_path / "page.pdf", "-bbox"))
    assert min(float(left) for left, _ in words) > MARGIN
    assert max(float(right) for _, right in words) < SIZES[size] - MARGIN

    sheets = [" ".join(sheet.split()) for sheet in text.split("\f")]
    for table in read_html(file.read_text()).tables:  # a title stands on the sheet on which its table begins
        (title, *_), first = table.title, next(iter(table.rows))
        whole = [sheet for sheet in sheets if f"{title} " in sheet and "".join(first.split()) in "".join(sheet.split())]
        assert whole, title


def said(path: Path, how: str) -> str:
    """Return the words of a PDF."""
    return subprocess.run(["pdftotext", how, path, "-"], check=True, capture_output=True, text=True).stdout
