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
    for module in MODULES:
        # Each scenario saw something: else nothing would be compared.
        assert theirs[module], module
    unlisted, gone = compare.sort(compare.differences(theirs, ours), rules.DIFFERENCES)
    report = [f"{path}: {before!r} -> {after!r}" for path, before, after in unlisted]
    assert not report, "\n".join(["not listed in docs/migrating.md:", *report])
    assert not gone, "\n".join(["listed, but not there:", *map(str, gone)])
