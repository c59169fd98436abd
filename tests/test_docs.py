"""The code in the documentation runs, and its table of settings is the code's own.

Run as a script, this file writes the table anew: python tests/test_docs.py
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dockerflow.config import Config

ROOT = Path(__file__).parent.parent
TABLE_PAGE = ROOT / "docs" / "configuration.md"
BEGIN, END = "<!-- table: begin -->\n", "<!-- table: end -->\n"

BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PAGES = [
    page
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
    if BLOCK.search(page.read_text(encoding="utf-8"))
]

# What the examples take for given: a Django project's settings.
DJANGO_SETTINGS = "SECRET_KEY = 'of a test'\nROOT_URLCONF = __name__\nurlpatterns = []\n"


def _show(default: object) -> str:
    if default is None or default in ((), ""):
        return ""
    if isinstance(default, tuple):
        return f"`{','.join(default)}`"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def make_table() -> str:
    lines = ["| `Config` | in the environment | default | takes | |", "|---|---|---|---|---|"]
    lines += [
        f"| `{row.name}` | `{row.variable}` | {_show(row.default)} | {row.takes} "
        f"| {row.description} |"
        for row in Config.table()
    ]
    return "\n".join(lines) + "\n"


def _split_at_table(text: str) -> tuple[str, str, str]:
    before, begin, rest = text.partition(BEGIN)
    table, end, after = rest.partition(END)
    assert begin, f"{TABLE_PAGE.name} has no {BEGIN!r}"
    assert end, f"{TABLE_PAGE.name} has no {END!r}"
    return before + begin, table, end + after


def test_table_of_settings():
    _, table, _ = _split_at_table(TABLE_PAGE.read_text(encoding="utf-8"))
    assert table.strip() == make_table().strip(), "run: python tests/test_docs.py"


def test_there_are_pages_with_code():
    assert {"README", "checks", "configuration", "logs", "quickstart"} <= {p.stem for p in PAGES}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_code_runs(page, tmp_path):
    blocks = BLOCK.findall(page.read_text(encoding="utf-8"))
    project = tmp_path / "mysite"
    project.mkdir()
    (project / "__init__.py").touch()
    (project / "settings.py").write_text(DJANGO_SETTINGS, encoding="utf-8")
    (tmp_path / "version.json").write_text("{}", encoding="utf-8")
    script = tmp_path / "page.py"
    # One after the other, as a reader would put them in one file.
    script.write_text("\n".join(blocks), encoding="utf-8")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DOCKERFLOW_")}
    result = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert result.returncode == 0, result.stderr


if __name__ == "__main__":
    before, _, after = _split_at_table(TABLE_PAGE.read_text(encoding="utf-8"))
    TABLE_PAGE.write_text(before + make_table() + after, encoding="utf-8")
