"""The installation page's table of versions says what pyproject.toml admits and what is really tested."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
ROWS = {
    name.lower(): (oldest, newest)
    for name, oldest, newest in re.findall(
        r"^\| (\w+) \| ([\d.]+) \| ([\d.]+) \|$",
        (ROOT / "docs/installation.md").read_text("utf-8"),
        re.MULTILINE,
    )
}


def _as_tuple(version):
    return tuple(map(int, version.split(".")))


def test_the_table_is_there():
    assert {"python", "aiohttp", "django", "fastapi", "flask", "sanic", "starlette"} <= ROWS.keys()


@pytest.mark.parametrize("name", sorted(ROWS.keys() - {"python"}))
def test_framework(name):
    oldest, newest = ROWS[name]
    groups = (
        PROJECT["dependency-groups"]["test"],
        *PROJECT["project"]["optional-dependencies"].values(),
    )
    bounds = {item for group in groups for item in group if str(item).startswith(f"{name}>")}
    assert bounds == {f"{name}>={oldest}"}
    lock = (ROOT / "requirements" / "dev.txt").read_text("utf-8")
    locked = re.findall(rf"^{name}==(\d+\.\d+)", lock, re.MULTILINE)
    assert max(locked, key=_as_tuple) == newest


def test_python():
    oldest, newest = ROWS["python"]
    assert PROJECT["project"]["requires-python"] == f">={oldest}"
    pythons = re.search(
        r"^PYTHONS = \[(.*)\]", (ROOT / "noxfile.py").read_text("utf-8"), re.MULTILINE
    )
    assert pythons is not None
    versions = re.findall(r'"([\d.]+)"', pythons[1])
    assert (versions[0], versions[-1]) == (oldest, newest)
    classifiers = [
        name.removeprefix("Programming Language :: Python :: ")
        for name in PROJECT["project"]["classifiers"]
        if name.startswith("Programming Language :: Python :: 3.")
    ]
    assert classifiers == versions
    # The first is what make test and the oldest releases are tested with.
    newer = re.search(
        r"^NEWER_PYTHONS=\((.*)\)$", (ROOT / ".ci/run").read_text("utf-8"), re.MULTILINE
    )
    assert newer is not None
    assert newer[1].split() == versions[1:]
    workflow = (ROOT / ".github/workflows/ci.yml").read_text("utf-8")
    assert sorted(re.findall(r"^ {12}([\d.]+)$", workflow, re.MULTILINE)) == versions
