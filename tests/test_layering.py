"""The core loads no framework, and its modules import in one direction only."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import dockerflow

PACKAGE = Path(dockerflow.__file__).parent

HEAVY = [
    "asyncio",
    "django",
    "falcon",
    "fastapi",
    "flask",
    "httpx",
    "orjson",
    "redis",
    "sanic",
    "sqlalchemy",
    "starlette",
    "structlog",
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
    "dockerflow.version": HEAVY,
    "dockerflow.cli": [*HEAVY, "click", "http"],
    "dockerflow.logging": [name for name in HEAVY if name != "orjson"],
}

# From the bottom up. A module imports from the rows above its own, and from its own row.
LAYERS = (
    ("_beside",),
    (
        "_http",
        "config",
        "version",
        "health",
        "heartbeat_file",
        "_records",
        "_request_id",
        "_log_text",
    ),
    ("_version_write",),
    ("_log_json",),
    ("_log_mozlog",),
    ("_log_formats", "_log_handlers"),
    ("_log_config",),
    ("checks", "logging"),
    ("structlog", "_heartbeat_page"),
    ("_endpoints", "_summary"),
    ("_extension", "drain"),
    ("_core",),
    ("asgi", "wsgi"),
    ("django", "fastapi", "flask", "sanic"),
    ("sentry", "testing", "verify"),
    ("_cli", "cli"),
    ("__main__",),
)


@pytest.mark.parametrize("module", PUBLIC)
def test_imports_no_framework(module):
    code = f"import sys, {module}; print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    loaded = {name.partition(".")[0] for name in result.stdout.split()}
    assert loaded.isdisjoint(PUBLIC[module]), loaded.intersection(PUBLIC[module])


# What importing takes is most of what a command line or a cold start waits for. So the core loads
# logging, what logging loads, and these.
FREE = ["__future__", "contextlib", "contextvars", "logging", "re"]
CORE = ["_beside", "_core", "_endpoints", "_http", "_records", "_request_id", "_summary", "config"]
LIGHT = {
    "dockerflow.asgi": ["asgi", *CORE],
    "dockerflow.wsgi": ["wsgi", *CORE],
    "dockerflow.config": ["config", "_request_id"],
}


@pytest.mark.parametrize("module", LIGHT)
def test_imports_little(module):
    # -S, since what is installed may load something at the start already.
    code = (
        f"import sys, {', '.join(FREE)}; sys.path.insert(0, {str(PACKAGE.parent)!r})\n"
        f"before = set(sys.modules)\n"
        f"import {module}; print(*set(sys.modules) - before)"
    )
    result = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    expected = {"dockerflow", *(f"dockerflow.{name}" for name in LIGHT[module])}
    assert set(result.stdout.split()) == expected


def _part(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imported_parts(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: a relative import"
            if node.module == "dockerflow":
                names.update(f"dockerflow.{alias.name}" for alias in node.names)
            else:
                names.add(node.module or "")
    return {name.split(".")[1] for name in names if name.startswith("dockerflow.")}


ADAPTERS = {"django", "fastapi", "flask", "sanic"}
LEVELS = {part: level for level, row in enumerate(LAYERS) for part in row}
FILES = [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_import_direction(path):
    own = _part(path)
    assert own in LEVELS, f"give {own} its place in LAYERS"
    for part in _imported_parts(path) - {"__version__"}:
        assert LEVELS[part] <= LEVELS[own], f"{own} must not import {part}"
        assert part == own or {part, own} != {"asgi", "wsgi"}, "drivers don't import each other"
        assert part == own or not {part, own} <= ADAPTERS, "adapters don't import each other"
