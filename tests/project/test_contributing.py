"""What CONTRIBUTING.md tells a newcomer is so: its commands, its map, and the recipe for a check."""

from __future__ import annotations

import ast
import inspect
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pages
import pytest

from dockerflow.checks import contrib

PAGE = pages.ROOT / "CONTRIBUTING.md"
TEXT = PAGE.read_text(encoding="utf-8")
PROJECT = tomllib.loads((pages.ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = {*PROJECT["project"]["optional-dependencies"]} - {"all"}
CONTRIB = pages.ROOT / "src" / "dockerflow" / "checks" / "contrib"

# --- commands ------------------------------------------------------------------------------------

COMMANDS = sorted(
    code
    for code in re.findall(r"(?<!`)`([^`\n]+)`(?!`)", TEXT.replace(r"\|", "|"))
    if re.match(r"(?:\w+=\S+ )*(?:make|bash|\.venv/\S+) ", code)
)


def words_of(command: str) -> list[str]:
    words = shlex.split(command)
    while re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    return words


def make(*arguments: str, folder: Path = pages.ROOT) -> subprocess.CompletedProcess[str]:
    """Run make with the .venv that there is."""
    if shutil.which("make") is None:
        pytest.skip("there is no make")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        ["make", "-o", ".venv/.installed", *arguments],
        cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_there(command):
    name, *arguments = words_of(command)
    if name == "make":
        planned = make("-n", *arguments)
        assert planned.returncode == 0, planned.stderr
        # What it would run. Only build makes a folder.
        scripts = re.findall(r"\b(?:tests|docs|benchmarks|\.ci)/\S+\.py\b", planned.stdout)
        assert [script for script in scripts if not (pages.ROOT / script).is_file()] == []
    elif name == ".venv/bin/nox":
        sessions = re.findall(
            r"^def (\w+)\(session", (pages.ROOT / "noxfile.py").read_text(), re.MULTILINE
        )
        assert arguments[arguments.index("-s") + 1] in sessions
    elif name == "bash":
        assert (
            subprocess.run(["bash", "-n", pages.ROOT / arguments[0]], check=False).returncode == 0
        )
    else:
        assert shutil.which(name, path=pages.ROOT), name


def test_every_target_is_named():
    targets = make("-s", "help").stdout.removeprefix("make ").split()
    assert len(targets) > 10
    assert [name for name in targets if f"`make {name}`" not in TEXT] == []


@pytest.mark.parametrize("target", ["tables", "rule-pages"])
def test_what_scripts_write_is_what_is_there(target, tmp_path):
    """In a copy, as other tests read these pages at the same time."""
    if not (pages.ROOT / ".venv").is_dir():
        pytest.skip("make would make a .venv first")
    for name in (
        "docs",
        "tests",
        "src",
        "Makefile",
        "README.md",
        "CONTRIBUTING.md",
        "pyproject.toml",
    ):
        source = pages.ROOT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("_build"))
        else:
            shutil.copy2(source, tmp_path / name)
    (tmp_path / ".venv").symlink_to(pages.ROOT / ".venv")
    done = make(target, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    for page in (tmp_path / "docs").rglob("*.md"):
        original = pages.ROOT / page.relative_to(tmp_path)
        assert page.read_bytes() == original.read_bytes(), f"run: make {target}"


# --- the map and what else is named --------------------------------------------------------------


def test_paths_that_are_named_are_there():
    paths = re.findall(r"`((?:src|tests|benchmarks|examples|docs|\.ci|\.github)/[^`\s]*)`", TEXT)
    assert len(paths) > 30
    # A framework's NAME is the reader's to fill in.
    missing = [path for path in paths if "NAME" not in path and not any(pages.ROOT.glob(path))]
    assert missing == []


def test_what_is_mutated_and_by_what_it_is_noticed_is_there():
    mutmut = PROJECT["tool"]["mutmut"]
    paths = mutmut["only_mutate"] + mutmut["pytest_add_cli_args_test_selection"]
    assert [path for path in paths if not (pages.ROOT / path).is_file()] == []


def test_the_map_says_where_the_tests_are():
    table = TEXT.partition("## Map of the code")[2].partition("\n## ")[0]
    rows = [row for row in pages.rows(table) if "src/" in row[0]]
    assert [row[0] for row in rows if not re.search(r"`tests/", row[2])] == []


# --- a ready-made check: each place that can be forgotten ----------------------------------------


def functions_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("extra", sorted(EXTRAS))
def test_an_extra_has_a_smoke_test(extra):
    named = functions_in(pages.ROOT / "tests" / "smoke.py")
    name = extra.replace("-", "_")
    assert name in named, f"add a function {name}() to tests/smoke.py"


def loads(tree: ast.AST) -> set[tuple[str, str]]:
    """Return the module and the extra of each call of ``_common.load``."""
    return {
        (ast.literal_eval(node.args[0]), ast.literal_eval(node.args[1]))
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"load", "_common.load"}
    }


def clients() -> set[str]:
    """Return the third-party packages that ready-made checks import or load."""
    names = set()
    for path in CONTRIB.glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names |= {module for module, _ in loads(tree)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names.add(node.module)
    packages = {name.partition(".")[0] for name in names}
    return packages - {"dockerflow", "__future__"} - sys.stdlib_module_names


def test_no_client_is_loaded_before_its_check_is_made():
    names = clients()
    assert {"redis", "sqlalchemy", "httpx2"} <= names
    code = (
        "import sys; from dockerflow.checks import contrib; "
        "[getattr(contrib, name) for name in contrib.__all__]; print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert loaded & {*names, "asyncio", "smtplib"} == set()


def reached(module: ast.Module, name: str) -> set[str]:
    """Return the extras that a function of a module loads, by itself or by what it names."""
    parts = {part.name: part for part in module.body if hasattr(part, "name")}
    found, todo = set(), [name]
    while todo:
        part = parts.pop(todo.pop(), None)
        if part is not None:
            found |= {extra for _, extra in loads(part)}
            todo += [node.id for node in ast.walk(part) if isinstance(node, ast.Name)]
    return found


def test_a_check_needs_the_extra_that_its_row_names():
    page = (pages.DOCS / "ready-made-checks.md").read_text(encoding="utf-8")
    for names, _, cell in pages.rows(pages.between(page, "factories")[1]):
        named = set(re.findall(r"`([\w-]+)`", cell))
        loaded = set()
        for name in re.findall(r"`(\w+)\(", names):
            path = Path(inspect.getfile(getattr(contrib, name)))
            loaded |= reached(ast.parse(path.read_text(encoding="utf-8")), name)
        assert loaded <= EXTRAS, f"{names}: load() names an extra that pyproject.toml doesn't have"
        # Some extras bring another's library: that of Alembic has SQLAlchemy.
        assert named <= loaded, (
            f"{names}: docs/ready-made-checks.md names another extra than load()"
        )
        assert bool(named) == bool(loaded), f"{names}: add the extra in docs/ready-made-checks.md"


def names_used(*files: Path) -> set[str]:
    text = "".join(path.read_text(encoding="utf-8") for path in files)
    return {name for name in contrib.__all__ if re.search(rf"\bcontrib\.{name}\b", text)}


def test_a_check_has_tests():
    files = (pages.ROOT / "tests" / "contrib").glob("*.py")
    assert names_used(*files) == set(contrib.__all__)


def test_ci_installs_the_servers_that_tests_start():
    script = (pages.ROOT / ".ci" / "run").read_text(encoding="utf-8")
    prepare = script.partition("\nprepare() {\n")[2].partition("\n}\n")[0]
    looked_for = {*re.findall(r"command -v (\S+)", prepare), *re.findall(r"/bin/(\w+)", prepare)}
    needed = [
        {argument.value for argument in node.args}
        for path in (pages.ROOT / "tests" / "services").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "find"
    ]
    assert {"redis-server"} in needed
    # The programs of one call are in one package.
    missing = [programs for programs in needed if not programs & looked_for]
    assert missing == [], "add their packages to prepare() in .ci/run"


# Not of a server that the matrix breaks: the tests of these are in the modules named.
NO_FAULTS = {
    "celery": "test_celery.py", "django_storage": "test_django.py", "django_cache": "test_django.py", "django_redis": "test_django.py",
    "disk_space": "test_system.py", "file_age": "test_system.py",
    "http": "test_http.py", "memory": "test_system.py", "migrations": "test_sqlalchemy.py",
    "django_migrations": "test_django.py", "s3": "test_s3.py", "tcp": "test_http.py",
}  # fmt: skip


def test_a_check_of_a_server_has_its_faults():
    page = (pages.DOCS / "fault-matrix.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"^\| `(\w+)`", page, re.MULTILINE))
    assert shown | NO_FAULTS.keys() == set(contrib.__all__), (
        "add its faults to CHECKS in tests/contrib/test_faults.py and run: make fault-matrix; "
        "or the module that has its tests to NO_FAULTS"
    )
    for name, module in NO_FAULTS.items():
        assert name in names_used(pages.ROOT / "tests" / "contrib" / module)
