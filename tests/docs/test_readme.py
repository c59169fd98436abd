"""README.md and the pictures, as they are seen where there is no checkout around them."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pages
import pytest
from markdown_it import MarkdownIt


@pytest.fixture(scope="module")
def published():
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip("the build backend isn't installed here")
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "metadata", "readme"],
        cwd=pages.ROOT,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout


def links(text):
    for token in MarkdownIt().enable("table").parse(text):
        for child in token.children or ():
            yield from filter(None, (child.attrGet("href"), child.attrGet("src")))


def test_every_link_leads_somewhere(published):
    targets = list(links(published))
    assert targets
    assert all(target.startswith("https://") for target in targets), targets


def test_nothing_else_is_lost(published):
    text = (pages.ROOT / "README.md").read_text(encoding="utf-8")
    assert text.count("\n## ") == published.count("\n## ")
    assert text.count("```") == published.count("```")
    assert "picture" not in published
    assert len(published) > 0.8 * len(text)


def test_every_link_of_the_repository_leads_to_a_file():
    text = (pages.ROOT / "README.md").read_text(encoding="utf-8")
    targets = [t for t in links(text) if not t.startswith("https://")]
    assert len(targets) > 10
    assert not [t for t in targets if not (pages.ROOT / t.partition("#")[0]).is_file()]


def test_what_the_table_of_frameworks_adds_is_what_the_quickstarts_add():
    text = (pages.ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \[[\w ]+\]\((docs/start/\w+\.md)\) \| (.*) \|$", text, re.MULTILINE)
    assert {Path(page).stem for page, _ in rows} == {
        p.stem for p in (pages.DOCS / "start").iterdir()
    }
    for page, added in rows:
        quickstart = (pages.ROOT / page).read_text(encoding="utf-8")
        codes = re.findall(r"`([^`]+)`", added)
        assert len(codes) > 1
        for code in codes:
            assert code in quickstart, f"{page} has no {code}"


PICTURES = sorted(path for path in pages.DOCS.rglob("*.svg") if "_build" not in path.parts)


@pytest.mark.parametrize("picture", PICTURES, ids=lambda path: path.stem)
def test_pictures_are_small_and_load_nothing(picture):
    text = picture.read_text(encoding="utf-8")
    tree = ET.fromstring(text)
    assert tree.tag.endswith("}svg")
    assert len(text) < 64_000
    assert not re.search(r"""(?:href=|src=|url\(|@import)\s*["']?https?:""", text)
    used = "".join(page.read_text(encoding="utf-8") for page in pages.PAGES)
    assert f"{picture.name})" in used
