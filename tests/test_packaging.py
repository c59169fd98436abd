"""What is published: contents and metadata of the wheel and the sdist, and the lock."""

from __future__ import annotations

import email
import importlib.util
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import dockerflow

ROOT = Path(__file__).parent.parent
NAME = "dockerflow_middleware"


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip("the build backend isn't installed here")
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=100,
    )
    return folder


@pytest.fixture(scope="module")
def wheel(dist):
    with zipfile.ZipFile(next(dist.glob("*.whl"))) as archive:
        yield archive


def test_wheel_has_the_package_and_nothing_else(wheel):
    prefix = f"{NAME}-{dockerflow.__version__}.dist-info/"
    names = wheel.namelist()
    assert {"dockerflow/py.typed", "dockerflow/asgi.py", "dockerflow/checks/runner.py"} <= {*names}
    assert prefix + "licenses/LICENSE" in names
    assert all(name.startswith(("dockerflow/", prefix)) for name in names)
    data = {"dockerflow/py.typed", "dockerflow/mozlog.schema.json"}
    assert data <= {*names}
    assert all(name.endswith(".py") or name in data or name.startswith(prefix) for name in names)


def test_metadata(wheel):
    metadata = email.message_from_bytes(
        wheel.read(f"{NAME}-{dockerflow.__version__}.dist-info/METADATA")
    )
    assert metadata["Name"] == "dockerflow-middleware"
    assert metadata["Version"] == dockerflow.__version__
    assert metadata["License-Expression"] == "MPL-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    requirements = metadata.get_all("Requires-Dist") or []
    assert requirements
    assert all("extra ==" in requirement for requirement in requirements)


def test_sdist_has_what_the_tests_need(dist):
    with tarfile.open(next(dist.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {
        "LICENSE",
        "README.md",
        "CHANGELOG.md",
        "Makefile",
        "src/dockerflow/py.typed",
        "examples/shortener/links/static/app.js",
        "requirements/dev.txt",
        "tests/test_packaging.py",
    } <= names


LOCKS = [
    *(f"requirements/{name}.txt" for name in ("core-test", "dev")),
    *(f"examples/shortener/requirements/{name}.txt" for name in ("fastapi", "flask", "django")),
]


@pytest.mark.parametrize("path", LOCKS)
def test_lock_names_no_host(path):
    text = (ROOT / path).read_text(encoding="utf-8")
    assert "://" not in text
    assert "index-url" not in text
    pinned = re.findall(r"^[\w.-]+==", text, re.MULTILINE)
    assert pinned
    entries = [part for part in re.split(r"^(?=\S)", text, flags=re.MULTILINE) if part]
    assert all("--hash=sha256:" in entry for entry in entries)


def test_lock_has_every_direct_requirement():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    lock = (ROOT / "requirements/dev.txt").read_text(encoding="utf-8")
    for group in project["dependency-groups"].values():
        for requirement in group:
            if isinstance(requirement, str):
                name = re.match(r"[\w.-]+", requirement)[0]
                assert re.search(rf"^{name}==", lock, re.MULTILINE), f"{name}: run `make lock`"


def test_changelog_has_the_version():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## [{dockerflow.__version__}]" in changelog


def test_licence_is_complete():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert text.startswith("Mozilla Public License Version 2.0")
    assert "Exhibit B" in text
    assert len(text.splitlines()) > 360
