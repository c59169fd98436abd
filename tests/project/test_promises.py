"""Each promise of docs/promises.md names tests, and all of them exist."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/promises.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.startswith(("| promise ", "| what "))
]
TEST = re.compile(r"`([\w/]+\.py::test_\w+)`")
TESTS = sorted({name for _, held_by in ROWS for name in TEST.findall(held_by)})


def collect(names):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider",
         *(f"tests/{name}" for name in names)],
        cwd=ROOT, capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_each_promise_is_held_by_tests():
    assert len(ROWS) > 60
    for promise, held_by in ROWS:
        assert TEST.sub("", held_by).replace(",", "").strip() == "", f"{promise}: {held_by}"
        assert TEST.findall(held_by), promise


def test_no_promise_is_made_twice():
    promises = [promise for promise, _ in ROWS]
    assert len(promises) == len(set(promises))


def test_the_tests_exist():
    code, output = collect(TESTS)
    assert code == pytest.ExitCode.OK, output


def test_one_that_does_not_exist_is_found_out():
    code, output = collect(["core/test_version.py::test_of_a_broken_promise"])
    assert code == pytest.ExitCode.USAGE_ERROR
    assert "test_of_a_broken_promise" in output
