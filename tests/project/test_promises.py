"""Each promise of docs/promises.md names tests, and all of them exist."""

import re

import pages

PAGE = (pages.DOCS / "promises.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.startswith(("| promise ", "| what "))
]
TEST = re.compile(r"`([\w/]+\.py::test_\w+)`")
TESTS = sorted({name for _, held_by in ROWS for name in TEST.findall(held_by)})


def test_each_promise_is_held_by_tests():
    assert len(ROWS) > 60
    for promise, held_by in ROWS:
        assert TEST.sub("", held_by).replace(",", "").strip() == "", f"{promise}: {held_by}"
        assert TEST.findall(held_by), promise


def test_no_promise_is_made_twice():
    promises = [promise for promise, _ in ROWS]
    assert len(promises) == len(set(promises))


def test_the_tests_exist():
    assert [name for name in TESTS if not pages.is_test(name)] == []


def test_one_that_does_not_exist_is_found_out():
    assert not pages.is_test("core/test_version.py::test_of_a_broken_promise")
    assert not pages.is_test("core/test_of_nothing.py::test_it")
