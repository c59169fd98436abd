"""Each promise of docs/promises.md names tests, and these notice when the code breaks it.

Run as a script, which `make promises` does, this file breaks the promises one by one, by the broken
versions of the code in broken_versions.toml.
"""

from __future__ import annotations

import argparse
import ast
import os
import queue
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import tomllib
import venv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

import pages
import pytest

PAGE = (pages.DOCS / "promises.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.startswith(("| promise ", "| bad input "))
]
TEST = re.compile(r"`([\w/]+\.py::test_\w+)`")
TESTS = {promise: TEST.findall(held_by) for promise, held_by in ROWS}


class Broken(NamedTuple):
    """A version of the code that breaks a promise."""

    promise: str
    file: str
    old: str
    new: str
    times: int = 1

    def __str__(self) -> str:
        line, _, _ = self.new.partition("\n")
        return f"{self.promise} ({self.file}: {line.strip()})"

    def text(self) -> str:
        """Return the file's broken text."""
        text = (pages.ROOT / self.file).read_text(encoding="utf-8")
        found = text.count(self.old)
        assert found == self.times, f"{self.file} has {found} times: {self.old}"
        return text.replace(self.old, self.new)


TABLES = tomllib.loads(Path(__file__).with_name("broken_versions.toml").read_text(encoding="utf-8"))
BROKEN = [Broken(promise, **table) for promise, tables in TABLES.items() for table in tables]


def test_each_promise_is_held_by_tests():
    assert len(ROWS) > 60
    for promise, held_by in ROWS:
        assert TEST.sub("", held_by).replace(",", "").strip() == "", f"{promise}: {held_by}"
        assert TESTS[promise], promise


def test_no_promise_is_made_twice():
    assert len(ROWS) == len(TESTS)


def test_the_tests_exist():
    names = {name for tests in TESTS.values() for name in tests}
    assert [name for name in names if not pages.is_test(name)] == []


def test_one_that_does_not_exist_is_found_out():
    assert not pages.is_test("core/test_version.py::test_of_a_broken_promise")
    assert not pages.is_test("core/test_of_nothing.py::test_it")


def test_each_promise_has_a_broken_version():
    assert TABLES.keys() == TESTS.keys()


@pytest.mark.parametrize("broken", BROKEN, ids=str)
def test_a_broken_version_can_still_be_made(broken):
    """Whether its tests notice it takes minutes to find out: make promises."""
    text = broken.text()
    if broken.file.endswith(".py"):
        ast.parse(text)
    else:
        tomllib.loads(text)


# --- make promises -------------------------------------------------------------------------------

IGNORED = shutil.ignore_patterns(
    ".git", ".venv", ".nox", ".*_cache", ".hypothesis", "_build", "build", "dist", "mutants"
)

# What holds for every server takes minutes; these may stand for the others.
SERVERS = "not test_servers or uvicorn or uwsgi"


def make_copy(folder: Path) -> None:
    """Copy the repository, with an interpreter that imports the package from the copy."""
    shutil.copytree(pages.ROOT, folder, ignore=IGNORED)
    venv.create(folder / ".venv", symlinks=True)
    environment = {"base": str(folder / ".venv"), "platbase": str(folder / ".venv")}
    packages = Path(sysconfig.get_path("purelib", "venv", environment))
    paths = (folder / "src", sysconfig.get_path("purelib"))
    (packages / "copy.pth").write_text("".join(f"{path}\n" for path in paths), encoding="utf-8")


def run_tests(folder: Path, names: list[str], *options: str) -> tuple[int, str]:
    """Run tests in a copy; return pytest's exit code and output."""
    command = [folder / ".venv/bin/python", "-m", "pytest", "-q", "-k", SERVERS, *options]
    done = subprocess.run(
        [*command, *(f"tests/{name}" for name in names)], cwd=folder, env=os.environ,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, errors="replace", check=False,
    )  # fmt: skip
    return done.returncode, done.stdout


def is_noticed(broken: Broken, folder: Path) -> tuple[bool, str]:
    """Whether a promise's tests fail with a broken version, and what to print of it."""
    path = folder / broken.file
    original, stat = path.read_bytes(), path.stat()
    path.write_text(broken.text(), encoding="utf-8")
    started = time.monotonic()
    code, output = run_tests(folder, TESTS[broken.promise], "-x")
    seconds = time.monotonic() - started
    path.write_bytes(original)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # so that its bytecode is valid
    failed = re.search(r"^(?:FAILED|ERROR) tests/(\S+)", output, re.MULTILINE)
    if code == pytest.ExitCode.TESTS_FAILED and failed:
        return True, f"noticed {seconds:6.1f} s  {broken}\n    by {failed[1]}"
    end = "\n".join(output.splitlines()[-20:])
    return False, f"MISSED  {seconds:6.1f} s  {broken}\n{end}"


def main() -> int:
    parser = argparse.ArgumentParser(description="Break promises, and see that tests notice.")
    parser.add_argument("-k", default="", metavar="TEXT", help="only promises that contain it")
    parser.add_argument("-j", type=int, default=os.cpu_count() or 1, help="how many side by side")
    arguments = parser.parse_args()
    chosen = [broken for broken in BROKEN if arguments.k.lower() in broken.promise.lower()]
    names = sorted({name for broken in chosen for name in TESTS[broken.promise]})
    if not chosen:
        parser.error(f"no promise contains {arguments.k!r}")
    with tempfile.TemporaryDirectory() as temporary:
        folders: queue.Queue[Path] = queue.Queue()
        for number in range(arguments.j):
            folder = Path(temporary, str(number))
            make_copy(folder)
            folders.put(folder)
        # Tests that fail without a broken version would seem to notice each. On a busy machine one
        # that measures time may fail once.
        code, output = run_tests(folder, names, "-n", str(arguments.j), "--dist", "worksteal")
        if code == pytest.ExitCode.TESTS_FAILED:
            code, output = run_tests(folder, names, "--last-failed")
        if code:
            print(output)
            return 1

        def look(broken: Broken) -> bool:
            folder = folders.get()
            noticed, text = is_noticed(broken, folder)
            folders.put(folder)
            print(text, flush=True)
            return noticed

        with ThreadPoolExecutor(arguments.j) as threads:
            noticed = sum(threads.map(look, chosen))
    print(f"{noticed} of {len(chosen)} broken versions were noticed")
    return int(noticed < len(chosen))


if __name__ == "__main__":
    sys.exit(main())
