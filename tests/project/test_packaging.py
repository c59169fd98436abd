"""What is published: contents and metadata of the wheel and the sdist, and the lock."""

from __future__ import annotations

import email
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import dockerflow

ROOT = Path(__file__).parents[2]
NAME = "dockerflow_middleware"
INFO = f"{NAME}-{dockerflow.__version__}.dist-info/"


def build(source, target, umask=0o022):
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(target)],
        cwd=source,
        env={**os.environ, "SOURCE_DATE_EPOCH": "1700000000"},
        umask=umask,
        check=True,
        capture_output=True,
        timeout=100,
    )


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip("the build backend isn't installed here")
    folder = tmp_path_factory.mktemp("dist")
    build(ROOT, folder)
    return folder


@pytest.fixture(scope="module")
def wheel(dist):
    with zipfile.ZipFile(next(dist.glob("*.whl"))) as archive:
        yield archive


@pytest.fixture(scope="module")
def metadata(wheel):
    return email.message_from_bytes(wheel.read(INFO + "METADATA"))


@pytest.fixture(scope="module")
def tracked():
    """The files that git knows, and that are there."""
    done = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip("this is no clone of the repository")
    return {name for name in done.stdout.split("\0") if name and (ROOT / name).exists()}


def test_the_same_bytes_elsewhere_and_later(dist, tmp_path):
    copy = tmp_path / "elsewhere"
    shutil.copytree(
        ROOT, copy, ignore=shutil.ignore_patterns(".venv", ".git", "__pycache__", ".*_cache")
    )
    for path in copy.rglob("*"):
        os.utime(path, (1, 1))
        path.chmod(path.stat().st_mode & 0o700)
    build(copy, tmp_path / "again", umask=0o077)
    files = sorted(path.name for path in dist.iterdir())
    assert files == [
        f"{NAME}-{dockerflow.__version__}{end}" for end in ("-py3-none-any.whl", ".tar.gz")
    ]
    for name in files:
        one, other = (dist / name).read_bytes(), (tmp_path / "again" / name).read_bytes()
        assert hashlib.sha256(one).digest() == hashlib.sha256(other).digest(), name


def test_wheel_has_the_package_and_nothing_else(wheel):
    package = ROOT / "src"
    files = {
        path.relative_to(package).as_posix()
        for path in (package / "dockerflow").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert {"dockerflow/py.typed", "dockerflow/logging/mozlog.schema.json"} <= files
    about = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}
    assert {*wheel.namelist()} == files | {INFO + name for name in about}


def test_wheel_is_for_every_platform(wheel):
    about = email.message_from_bytes(wheel.read(INFO + "WHEEL"))
    assert (about["Root-Is-Purelib"], about["Tag"]) == ("true", "py3-none-any")


def test_metadata(metadata):
    assert metadata["Name"] == "dockerflow-middleware"
    assert metadata["Version"] == dockerflow.__version__
    assert metadata["License-Expression"] == "MPL-2.0"
    assert metadata.get_all("License-File") == ["LICENSE"]
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata.get_payload().startswith("# dockerflow-middleware\n")
    assert not [item for item in metadata.get_all("Classifier") if item.startswith("License ::")]


def test_core_needs_nothing(metadata):
    requirements = metadata.get_all("Requires-Dist") or []
    assert requirements
    assert all("extra ==" in requirement for requirement in requirements)


def test_all_is_all_extras(metadata):
    extras = {*metadata.get_all("Provides-Extra")} - {"all"}
    assert {"aiohttp", "cli", "django", "fastapi", "flask", "sanic"} <= extras

    def of(*names):
        return {
            requirement.partition(";")[0]
            for requirement in metadata.get_all("Requires-Dist")
            if requirement.endswith(tuple(f"extra == '{name}'" for name in names))
        }

    assert of("all") == of(*extras), "add the extra to `all` in pyproject.toml"


def test_licence_text_is_in_both(wheel, dist):
    text = (ROOT / "LICENSE").read_bytes()
    assert wheel.read(INFO + "licenses/LICENSE") == text
    with tarfile.open(next(dist.glob("*.tar.gz"))) as archive:
        member = archive.extractfile(f"{NAME}-{dockerflow.__version__}/LICENSE")
        assert member is not None
        assert member.read() == text


def test_sdist_is_the_repository(dist, tracked):
    with tarfile.open(next(dist.glob("*.tar.gz"))) as archive:
        names = {item.name.partition("/")[2] for item in archive.getmembers() if item.isfile()}
    assert names >= tracked
    assert not [name for name in names if name.endswith(".pyc") or ".venv" in name]
    if os.environ.get("CI"):  # elsewhere there may be files that are not committed yet
        assert names == tracked | {"PKG-INFO"}


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
    version = dockerflow.__version__
    assert f"## [{version}]" in changelog or f"this will be {version}." in changelog


def test_licence_is_complete():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert text.startswith("Mozilla Public License Version 2.0")
    assert "Exhibit B" in text
    assert len(text.splitlines()) > 360
