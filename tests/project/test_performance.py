"""The page on performance says what the last whole run of the benchmarks measured."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results.json"
PAGE = ROOT / "docs" / "performance.md"
PLOT = ROOT / "docs" / "performance.svg"
DETAILS = ROOT / "benchmarks" / "results.md"


@pytest.fixture(scope="module")
def page():
    spec = importlib.util.spec_from_file_location("page", ROOT / "benchmarks" / "page.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def results():
    return json.loads(RESULTS.read_text(encoding="utf-8"))


def test_page_says_what_was_measured(page, results):
    text = PAGE.read_text(encoding="utf-8")
    assert page.fill(text, results) == text, "run: python benchmarks/page.py"


def test_plot_shows_what_was_measured(page, results):
    assert page.plot(results) == PLOT.read_text(encoding="utf-8"), "run: python benchmarks/page.py"


def test_results_have_the_goals_and_what_was_measured(page, results):
    text = DETAILS.read_text(encoding="utf-8")
    assert page.details(results) == text, "run: python benchmarks/page.py"
    for name, measured, bound, goal in page.goals(results):
        word = "reached" if page.is_reached(measured, bound, goal) else "not reached"
        assert f"| {name} | {measured:.2f} | {bound} {goal:g} | {word} |" in text


def test_plot_is_svg_with_a_bar_for_each_subject(page, results):
    root = ET.fromstring(page.plot(results))
    bars = [one for one in root.iter() if one.get("class") in {"bar", "ours", "theirs"}]
    subjects = [
        row
        for name in ("fastapi", "flask", "django")
        for row in results["groups"][name]["rows"][1:]
    ]
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert len(bars) == len(subjects)


def test_every_table_is_whole(page, results):
    for name, part in page.parts(results).items():
        cells = {line.count("|") for line in part.splitlines() if line.startswith("|")}
        assert len(cells) <= 1, f"{name} has lines of several lengths"


def test_a_page_without_a_marker_is_refused(page, results):
    with pytest.raises(ValueError, match="no place for"):
        page.fill("# Performance\n", results)
