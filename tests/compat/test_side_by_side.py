"""Applications written for python-dockerflow see the differences in docs/migrating.md, and no other.

Their scenarios are in side_by_side/. They run in two environments, which differ in nothing but
the package `dockerflow`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from compat.side_by_side import compare, rules

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
EXTRAS = "[django,fastapi,flask,sanic]"
PACKAGES = {"incumbent": [f"dockerflow{EXTRAS}==2026.3.4"], "ours": ["-e", f"{ROOT}{EXTRAS}"]}
MODULES = ["django_app", "flask_app", "fastapi_app", "sanic_app", "names", "checks", "logs"]

# The same hashes, and nobody's settings, on both sides.
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("DOCKERFLOW_", "PYTHON", "VIRTUAL_ENV", "DJANGO_"))
} | {"PYTHONHASHSEED": "0"}


def make(folder, package):
    """Make an environment, and return its Python and the versions in it."""
    uv = shutil.which(
        "uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    )
    if uv is None:
        raise OSError("uv isn't installed")
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"

    def run(*command):
        done = subprocess.run(
            [uv, *command], env=ENVIRONMENT, cwd=ROOT, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise OSError(done.stderr.strip())
        return done.stdout

    run("venv", "--python", sys.executable, str(folder))
    pip = ("--python", str(python))
    run("pip", "install", *pip, "--constraint", "requirements/dev.txt", "--requirement",
        str(HERE / "side_by_side" / "requirements.txt"), *package)  # fmt: skip
    freeze = run("pip", "list", *pip, "--format", "freeze").splitlines()
    return python, [line for line in freeze if "dockerflow" not in line.lower()]


@pytest.fixture(scope="module")
def environments(tmp_path_factory):
    try:
        made = {
            name: make(tmp_path_factory.mktemp(name) / "venv", package)
            for name, package in PACKAGES.items()
        }
    except OSError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"the environment with python-dockerflow can't be made: {error}")
    versions = [versions for _, versions in made.values()]
    assert versions[0] == versions[1]
    return {name: python for name, (python, _) in made.items()}


def observe(job):
    python, module = job
    done = subprocess.run(
        [python, "-m", "side_by_side", module],
        cwd=HERE, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.timeout(600)
def test_every_difference_is_listed_and_each_listed_one_is_there(environments):
    jobs = [(python, module) for module in MODULES for python in environments.values()]
    with ThreadPoolExecutor(2) as pool:
        observed = list(pool.map(observe, jobs))
    theirs = dict(zip(MODULES, observed[::2], strict=True))
    ours = dict(zip(MODULES, observed[1::2], strict=True))
    for module, scenarios in theirs.items():
        assert scenarios, module
        for name, seen in scenarios.items():
            assert "raised" not in seen["observed"], f"{module}: {name} fails itself"
    unlisted, gone = compare.sort(compare.differences(theirs, ours), rules.DIFFERENCES)
    report = [f"{path}: {before!r} -> {after!r}" for path, before, after in unlisted]
    assert not report, "\n".join(["not listed in docs/migrating.md:", *report])
    assert not gone, "\n".join(["listed, but not there:", *map(str, gone)])


def test_differences_of_values_types_and_keys_are_found():
    theirs = {"a": {"same": "x", "type": True, "gone": {"b": 1}, "list": [1]}}
    ours = {"a": {"same": "x", "type": 1, "new": None, "list": [1, 2]}}
    assert list(compare.differences(theirs, ours)) == [
        ("a/type", True, 1),
        ("a/gone", {"b": 1}, compare.ABSENT),
        ("a/list", [1], [1, 2]),
        ("a/new", compare.ABSENT, None),
    ]


def test_what_differs_from_run_to_run_is_no_difference():
    theirs = {"t": 3, "rid": "6f1c2d3e-0000-4000-8000-000000000001", "text": "GET / 200 6 ms"}
    ours = {"t": 4, "rid": "6f1c2d3e-0000-4000-8000-000000000002", "text": "GET / 200 7 ms"}
    assert not list(compare.differences(theirs, ours))
    assert list(compare.differences({"t": 3}, {"t": "3"}))


def test_unlisted_differences_and_patterns_without_one_are_reported():
    found = [("a/b", 1, 2), ("a/c", 1, 3)]
    listed = {"row": [("a/b", 1, 2), "x/*"], "other": [("a/c", 1, 4)]}
    assert compare.sort(found, listed) == (
        [("a/c", 1, 3)],
        [("x/*", compare.ANY, compare.ANY), ("a/c", 1, 4)],
    )
