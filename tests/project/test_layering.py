"""The core loads no framework, and its modules import in one direction only."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import dockerflow

PACKAGE = Path(dockerflow.__file__).parent
ROOT = Path(__file__).parents[2]

HEAVY = [
    "aiohttp",
    "asyncio",
    "celery",
    "django",
    "falcon",
    "fastapi",
    "flask",
    "httpx",
    "httpx2",
    "opentelemetry",
    "orjson",
    "redis",
    "requests",
    "sanic",
    "sqlalchemy",
    "starlette",
    "structlog",
    "trio",
]

# orjson is no framework: logging takes it when it is there.
PUBLIC = {
    "dockerflow": HEAVY,
    "dockerflow.asgi": HEAVY,
    "dockerflow.wsgi": HEAVY,
    "dockerflow.checks": HEAVY,
    "dockerflow.config": HEAVY,
    "dockerflow.drain": HEAVY,
    "dockerflow.heartbeat_file": HEAVY,
    "dockerflow.propagation": HEAVY,
    "dockerflow.version": HEAVY,
    "dockerflow.cli": [*HEAVY, "click", "http"],
    "dockerflow.logging": [name for name in HEAVY if name != "orjson"],
}


@pytest.mark.parametrize("module", PUBLIC)
def test_imports_no_framework(module):
    code = f"import sys, {module}; print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    loaded = {name.partition(".")[0] for name in result.stdout.split()}
    assert loaded.isdisjoint(PUBLIC[module]), loaded.intersection(PUBLIC[module])


def _rows() -> list[set[str]]:
    """Return the paths in each row of CONTRIBUTING's map, from the bottom layer up."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = text.partition("## Map of the code")[2].partition("\n## ")[0]
    first_cells = re.findall(r"^\| (.+?) \|", table, re.MULTILINE)
    rows = [re.findall(r"`src/dockerflow/([^`]+)`", cell) for cell in first_cells]
    return [set(row) for row in rows if row]


ROWS = _rows()
LEVELS = {path: level for level, row in enumerate(ROWS) for path in row}
ADAPTERS = {"aiohttp", "django", "fastapi", "flask", "sanic"}
FILES = [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in FILES
}


def _level(path: Path) -> int:
    """Return the row that names the file or, before that, its nearest folder."""
    relative = path.relative_to(PACKAGE)
    for candidate in (relative, *relative.parents):
        name = candidate.as_posix()
        for known in (name, f"{name}/"):
            if known in LEVELS:
                return LEVELS[known]
    raise AssertionError(f"give {relative} its place in CONTRIBUTING's map")


def _imported(path: Path) -> set[str]:
    """Return the package's modules that a file imports, wherever in it, but for types only."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: a relative import"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                names.add(name if name in MODULES else node.module or "")
    return names & MODULES.keys()


def test_the_map_names_what_there_is():
    missing = [path for path in LEVELS if not (PACKAGE / path).exists()]
    assert not missing, f"CONTRIBUTING's map names {missing}"


@pytest.mark.parametrize("module", MODULES)
def test_import_direction(module):
    path = MODULES[module]
    for imported in _imported(path):
        assert _level(MODULES[imported]) <= _level(path), f"{module} must not import {imported}"
        own, other = module.split(".")[1], imported.split(".")[1]
        assert own == other or {own, other} != {"asgi", "wsgi"}, "drivers import each other"
        assert own == other or not {own, other} <= ADAPTERS, "adapters import each other"


def test_no_circle():
    graph = {module: _imported(path) - {module} for module, path in MODULES.items()}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_the_top_shows_the_architecture():
    """A reader sees the layout by opening the folder."""
    private = [path.name for path in PACKAGE.iterdir() if re.match(r"_[a-z]", path.name)]
    assert len(private) <= 2, private


def test_nothing_relies_on_hooks_after_a_fork():
    """Servers that fork in C, such as uWSGI, run none."""
    sources = {module: path.read_text(encoding="utf-8") for module, path in MODULES.items()}
    assert [module for module, text in sources.items() if "register_at_fork" in text] == []
