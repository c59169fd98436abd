"""Every rule has its page, made from the table of the rules.

Run as a script, which `make rule-pages` does, this file writes the pages.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dockerflow.verify import formats
from dockerflow.verify.rules import RULES

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "rules"
REMEDY = "run: make rule-pages"
# The specification's own words, so that no rule is without its sentence.
SENTENCES = (Path(__file__).parent / "specification.txt").read_text("utf-8").splitlines()


def index() -> str:
    lines = [
        "# Rules of dockerflow verify",
        "",
        "Each rule checks the sentence that it quotes, from the Dockerflow specification or from the pages on mozlog, HTTP, Docker and",
        "Kubernetes that it builds on. DF1xx concern the app, DF2xx the Dockerfile, DF4xx deployment files; DF3xx are recommendations.",
        "Each page has the reason for the rule, an example that breaks it and one that passes. `dockerflow verify --explain ID` prints it.",
        "",
        "| ID | rule | level | sentence |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| [{rule.id}]({rule.id}.md) | {rule.heading} | {rule.level} | {rule.sentence} |"
        for rule in RULES.values()
    ]
    lines += ["", "```{toctree}", ":hidden:", "", *RULES, "```", ""]
    return "\n".join(lines)


def pages() -> dict[str, str]:
    found = {f"{rule.id}.md": formats.explain(rule) for rule in RULES.values()}
    return {**found, "index.md": index()}


@pytest.mark.parametrize("name", pages())
def test_page(name):
    path = PAGES / name
    assert path.is_file(), REMEDY
    assert path.read_text("utf-8") == pages()[name], REMEDY


def test_no_other_pages():
    assert {path.name for path in PAGES.iterdir()} == set(pages()), REMEDY


def test_every_rule_is_complete():
    for rule in RULES.values():
        assert re.fullmatch(r"DF[1-4]\d\d", rule.id)
        assert rule.source.startswith("https://")
        assert rule.title
        assert rule.fix.endswith(".")
        assert rule.looks_at
        assert (ROOT / rule.page).is_file(), REMEDY


def test_every_sentence_of_the_specification_has_a_rule():
    said = " ".join(rule.sentence for rule in RULES.values())
    for sentence in SENTENCES:
        if sentence and not sentence.startswith("#"):
            assert sentence in said, sentence


def test_requirements_are_errors_and_recommendations_warnings():
    for rule in RULES.values():
        recommended = rule.source.endswith("optional-recommendations")
        required = rule.source.endswith(("-requirements", "dockerfile-requirements"))
        assert (rule.level == "warning") or not recommended
        assert (rule.level == "error") or not required


if __name__ == "__main__":
    PAGES.mkdir(exist_ok=True)
    for path in PAGES.glob("*.md"):
        path.unlink()
    for name, content in pages().items():
        (PAGES / name).write_text(content, "utf-8")
