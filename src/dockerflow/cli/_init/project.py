"""Look at a project: its framework, server, app and requirements."""

from __future__ import annotations

import ast
import json
import os
import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Final, NamedTuple, cast

import click

MAX_BYTES: Final = 8 << 20

FRAMEWORKS: Final = {
    "fastapi": "asgi", "flask": "wsgi", "django": "", "sanic": "asgi", "asgi": "asgi",
    "wsgi": "wsgi", "node": "",
}  # fmt: skip
"""Each framework's protocol; Django has both."""

SERVERS: Final[dict[str, tuple[str, ...]]] = {
    "gunicorn": ("wsgi",), "uvicorn": ("asgi",), "sanic": (), "hypercorn": ("asgi",),
    "granian": ("wsgi", "asgi"), "daphne": ("asgi",), "waitress": ("wsgi",),
}  # fmt: skip
"""What each server is used for, in order of preference. Sanic's own serves only Sanic."""

# What makes an application, and the framework that it is of.
_MAKERS: Final = {
    "fastapi.FastAPI": "fastapi",
    "starlette.applications.Starlette": "fastapi",
    "flask.Flask": "flask",
    "sanic.Sanic": "sanic",
    "django.core.wsgi.get_wsgi_application": "django",
    "django.core.asgi.get_asgi_application": "django",
    "quart.Quart": "asgi",
    "litestar.Litestar": "asgi",
    "falcon.asgi.App": "asgi",
    "dockerflow.asgi.DockerflowMiddleware": "asgi",
    "falcon.App": "wsgi",
    "bottle.Bottle": "wsgi",
    "dockerflow.wsgi.DockerflowMiddleware": "wsgi",
}
# Where no application is found, the requirements tell.
_REQUIRED: Final = {
    "fastapi": "fastapi", "flask": "flask", "django": "django", "sanic": "sanic",
    "starlette": "fastapi", "quart": "asgi", "litestar": "asgi", "bottle": "wsgi",
}  # fmt: skip
_NODE_SERVERS: Final = {
    "express",
    "fastify",
    "koa",
    "@hapi/hapi",
    "@nestjs/core",
    "next",
    "hono",
}
_PYTHON_LOCKS: Final = {
    "uv": "uv.lock", "poetry": "poetry.lock", "pdm": "pdm.lock", "pipenv": "Pipfile.lock",
}  # fmt: skip
_NODE_LOCKS: Final = {"npm": "package-lock.json", "yarn": "yarn.lock", "pnpm": "pnpm-lock.yaml"}
SKIPPED: Final = {
    "node_modules", "venv", "env", "site-packages", "test", "tests", "doc", "docs", "build",
    "dist", "htmlcov", "examples", "k8s", "kubernetes", "helm", "charts", "deploy", "manifests",
}  # fmt: skip
"""Folders that aren't looked into, and that the image doesn't need."""

_is_factory = re.compile(r"(?:create|make|build|get)_\w*app(?:lication)?|app_factory").fullmatch
_makers = "|".join(name.rpartition(".")[2] for name in _MAKERS)
_may_have_app = re.compile(rf"{_makers}|_\w*app|app_|environ|receive".encode()).search
_requirement = re.compile(r"^\s*([A-Za-z0-9][\w.-]*)\s*(?:\[([^\]]*)\])?").match
_included = re.compile(r"(?m)^\s*(?:-r|-c|--requirement|--constraint)[ =]*(.+?)\s*(?:#.*)?$")
_requirements_of_production = (
    "requirements.txt",
    *(f"requirements{sign}{name}.txt" for sign in "/-_" for name in ("production", "prod", "main")),
    "requirements/requirements.txt",
    "requirements/base.txt",
)


class App(NamedTuple):
    """The location of an application, or of a function that makes it."""

    framework: str
    module: str = ""
    name: str = ""
    file: str = ""
    is_factory: bool = False
    protocol: str = ""

    def __str__(self) -> str:
        return f"{self.module}:{self.name}{'()' if self.is_factory else ''}"


@dataclass
class Folder:
    """A folder whose files are read; what can't be read becomes a note."""

    path: Path
    notes: list[str] = field(default_factory=list[str])

    def has(self, name: str) -> bool:
        """Whether there is anything with this name, even a broken link."""
        return os.path.lexists(self.path / name)

    def read_bytes(self, name: str) -> bytes:
        """Return the content of a file; empty if it can't be read."""
        path = self.path / name
        try:
            if path.is_file():  # not a pipe or a device
                with path.open("rb") as file:
                    content = file.read(MAX_BYTES + 1)
                if len(content) <= MAX_BYTES:
                    return content
                self.notes.append(f"{name} is over {MAX_BYTES} bytes, so it was not read")
        except OSError as error:
            self.notes.append(f"{name} can't be read: {error.strerror}")
        return b""

    def read(self, name: str) -> str:
        """Return the text of a file; empty if it can't be read."""
        content = self.read_bytes(name)
        is_utf16 = content[:2] in (b"\xff\xfe", b"\xfe\xff")  # as PowerShell redirects
        try:
            return content.decode("utf-16" if is_utf16 else "utf-8-sig")
        except UnicodeDecodeError:
            self.notes.append(f"{name} is not UTF-8, so it was not read")
            return ""

    def table(self, name: str, keys: str = "") -> dict[str, Any]:
        """Return a table within a TOML or JSON file; empty if there is none."""
        loads = json.loads if name in ("package.json", "Pipfile.lock") else tomllib.loads
        text = self.read(name)
        try:
            value: object = loads(text) if text else {}
        except (ValueError, RecursionError):
            self.notes.append(f"{name} can't be parsed")
            return {}
        for key in keys.split():
            value = cast("dict[str, object]", value).get(key) if isinstance(value, dict) else None
        return cast("dict[str, Any]", value) if isinstance(value, dict) else {}

    def walk(self, depth: int = 99) -> Iterator[tuple[str, list[str], list[str]]]:
        """Yield each folder, and the names of its folders and files."""
        for where, folders, files in os.walk(self.path):
            inner = PurePosixPath(os.path.relpath(where, self.path)).as_posix()
            folders[:] = sorted(
                name
                for name in folders
                if not (name in SKIPPED or name.startswith(".") or not name.isprintable())
                and not os.path.lexists(Path(where, name, "pyvenv.cfg"))
                and inner.count("/") + 1 < depth
            )
            names = sorted(filter(str.isprintable, files))
            yield "" if inner == "." else f"{inner}/", folders, names


@dataclass
class Project(Folder):
    """What ``dockerflow init`` knows of a project."""

    framework: str = ""
    server: str = ""
    app: App | None = None
    others: list[App] = field(default_factory=list[App])
    tool: str = "pip"
    """What installs the requirements."""
    files: list[str] = field(default_factory=list[str])
    """What it reads, which has ``text``."""
    text: str = ""
    direct: set[str] = field(default_factory=set[str])
    locked: set[str] = field(default_factory=set[str])
    version: str = ""
    """Of Python or Node."""
    start: list[str] = field(default_factory=list[str])
    """The arguments of Node."""
    has_build: bool = False

    @property
    def is_python(self) -> bool:
        """Whether it is known to be Python."""
        return self.framework not in ("node", "")

    @property
    def name(self) -> str:
        """A name for images and the like."""
        return re.sub(r"[^a-z0-9]+", "-", self.path.resolve().name.lower()).strip("-") or "app"

    @property
    def dockerfile(self) -> str:
        """The name of the Dockerfile that is there; empty if there is none."""
        return next(filter(self.has, ("Dockerfile", "Containerfile", "docker/Dockerfile")), "")


def detect(path: Path, framework: str, server: str, app: str, python: str) -> Project:
    """Look at a project.

    :param framework: given by the user, like the parameters after it; empty to detect it.
    :raises click.ClickException: when something can't be detected.
    """
    project = Project(path)
    try:
        names = sorted(entry.name for entry in path.iterdir() if entry.name.isprintable())
    except OSError as error:
        raise click.ClickException(f"{path} can't be read: {error.strerror}") from None
    _read_requirements(project, names)
    apps = [] if framework == "node" else list(_find_apps(project))
    project.framework = framework or _choose_framework(project, apps, names)
    if project.is_python:
        _choose_server(project, server, app)
        _choose_app(project, apps, app)
        project.version = python or _python_version(project)
    elif project.framework == "node":
        _read_node(project, app)
    return project


def _read_requirements(project: Project, names: list[str]) -> None:
    """Find what installs the requirements, which files it needs, and the requirements' names."""
    pyproject = project.table("pyproject.toml", "project")
    poetry = project.table("pyproject.toml", "tool poetry dependencies")
    pipfile = project.table("Pipfile", "packages")
    lines = _strings(pyproject.get("dependencies"))
    for name, options in {**poetry, **pipfile}.items():
        table = cast("dict[str, object]", options) if isinstance(options, dict) else {}
        lines.append(f"{name}[{','.join(_strings(table.get('extras')))}]")
    for tool, lock in _PYTHON_LOCKS.items():
        if lock in names:
            project.tool = tool
            project.files = ["Pipfile" if tool == "pipenv" else "pyproject.toml", lock]
            break
    else:
        project.files = _requirements_files(project, names)
        if not project.files and (poetry or pipfile or pyproject):
            project.tool = "poetry" if poetry else "pipenv" if pipfile else "pyproject"
            project.files = ["Pipfile" if project.tool == "pipenv" else "pyproject.toml"]
    project.text = "\n".join(project.read(name) for name in project.files)
    if project.tool == "pip":
        lines += project.text.splitlines()
    elif project.tool == "pipenv":
        project.locked = {*project.table("Pipfile.lock", "default")}
    else:
        project.locked = {*re.findall(r'(?m)^name = "([^"\n]+)"', project.text)}
    for match in filter(None, map(_requirement, lines)):
        name = re.sub(r"[-_.]+", "-", match[1]).lower()
        project.direct.add(name)
        project.direct |= {f"{name}[{extra.strip()}]" for extra in (match[2] or "").split(",")}


def _strings(value: object) -> list[str]:
    items = cast("list[object]", value) if isinstance(value, list) else []
    return [item for item in items if isinstance(item, str)]


def _requirements_files(project: Project, names: list[str]) -> list[str]:
    """Return the requirements file of production, and those that it includes."""
    found = next(filter(project.has, _requirements_of_production), "")
    every = [name for name in names if re.fullmatch(r"requirements.*\.txt", name)]
    files = [found] if found else every if len(every) == 1 else []
    for name in files:  # which grows
        for other in _included.findall(project.read(name)):
            path = os.path.normpath(PurePosixPath(name).parent / other)
            if path.startswith(("..", "/")):
                project.notes.append(f"{name} includes {other}, which is outside of the folder")
            elif path not in files:
                files.append(path)
    return files


def has_requirements(names: Iterable[str]) -> bool:
    """Whether one of these files names requirements."""
    known = {"pyproject.toml", "Pipfile", "package.json"}
    return any(name in known or re.fullmatch(r"requirements.*\.txt", name) for name in names)


def _find_apps(project: Project) -> Iterator[App]:
    """Yield the applications in Python files, but not those of projects within the project."""
    for folder, folders, files in project.walk():
        if folder and has_requirements(files):
            folders.clear()
            continue
        for file in files:
            if file.endswith(".py"):
                yield from _apps_in(project, folder + file)


def _apps_in(project: Project, file: str) -> Iterator[App]:
    content = project.read_bytes(file)
    if not _may_have_app(content):  # parsing takes long
        return
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    root = "" if project.has("src/__init__.py") else "src/"
    parts = file.removeprefix(root).removesuffix(".py").removesuffix("/__init__").split("/")
    imports = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        if isinstance(node, ast.ImportFrom)
        else alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    seen = set[str]()
    for node in tree.body:
        for name, app in _named(node, imports):
            if name not in seen and not any("." in part for part in parts):
                seen.add(name)
                yield app._replace(module=".".join(parts), name=name, file=file)


def _named(node: ast.stmt, imports: dict[str, str]) -> Iterator[tuple[str, App]]:
    """Yield the applications that a statement of a module names."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        arguments = [argument.arg.lstrip("_") for argument in node.args.args]
        if arguments in (["environ", "start_response"], ["scope", "receive", "send"]):
            yield node.name, App("asgi" if len(arguments) > 2 else "wsgi")  # noqa: PLR2004
        elif len(arguments) <= len(node.args.defaults) and _is_factory(node.name):
            calls = (call for call in ast.walk(node) if isinstance(call, ast.Call))
            made = next(filter(None, (_made_by(call, imports) for call in calls)), None)
            if made:
                yield node.name, made._replace(is_factory=True)
    elif isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Call):
        made = _made_by(node.value, imports)
        if made is None and _is_factory(_dotted(node.value.func).rpartition(".")[2]):
            made = App("")
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        names = [target.id for target in targets if isinstance(target, ast.Name)]
        if made is not None and names:  # of `application = app = Flask(__name__)` any one will do
            yield names[0], made


def _made_by(call: ast.Call, imports: dict[str, str]) -> App | None:
    first, dot, rest = _dotted(call.func).partition(".")
    full = imports.get(first, first) + dot + rest
    protocol = "asgi" if "asgi" in full else "wsgi"
    return App(_MAKERS[full], protocol=protocol) if full in _MAKERS else None


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def _choose_framework(project: Project, apps: list[App], names: list[str]) -> str:
    found = {app.framework: app.file for app in reversed(apps) if app.framework}
    if not found:
        files = "/".join(project.files)
        found = {_REQUIRED[name]: files for name in project.direct if name in _REQUIRED}
    # These may be parts of an app of another one, as middleware.
    found = {name: file for name, file in found.items() if name not in ("asgi", "wsgi")} or found
    required = {*project.table("package.json", "dependencies")}
    if "package.json" in names and (not found or _NODE_SERVERS & required):
        found["node"] = "package.json"
    if len(found) > 1:
        listed = ", ".join(f"{name} ({file})" for name, file in sorted(found.items()))
        raise click.ClickException(f"several frameworks were found; use --framework: {listed}")
    if found or project.dockerfile:
        return next(iter(found), "")
    inner = [folder for folder, _, files in project.walk(3) if folder and has_requirements(files)]
    if inner:
        listed = ", ".join(inner[:9])
        raise click.ClickException(f"name the folder of one app; there are {listed}")
    known = ", ".join(FRAMEWORKS)
    if has_requirements(names) or any(name.endswith(".py") for name in names):
        raise click.ClickException(f"no framework was recognised; use --framework: {known}")
    raise click.ClickException(
        f"there is nothing to start from in {project.path}: neither requirements*.txt, "
        "pyproject.toml, Pipfile or package.json, nor a Python file with an app, nor a Dockerfile; "
        f"name another folder, or use --framework: {known}"
    )


def _choose_server(project: Project, given: str, app: str) -> None:
    protocol = FRAMEWORKS[project.framework] or ("asgi" if "asgi" in app else "")
    if project.direct & {"fastapi[standard]", "fastapi[all]", "fastapi-cli"}:
        project.direct.add("uvicorn")
    usable = [
        name
        for name, serves in SERVERS.items()
        if protocol in serves or project.framework == name or (not protocol and serves)
    ]
    if given and given not in usable:
        raise click.ClickException(f"{given} can't serve {project.framework}: {', '.join(usable)}")
    usual = "sanic" if project.framework == "sanic" else usable[0]
    fits = [name for names in (project.direct, project.locked) for name in usable if name in names]
    project.server = given or [*fits, usual][0]


def _choose_app(project: Project, apps: list[App], given: str) -> None:
    if given:
        module, _, name = given.partition(":")
        found = App(project.framework, module, name.removesuffix("()") or "application")
        found = found._replace(is_factory=name.endswith("()"))
        known = [app for app in apps if str(app) == str(found)]
        project.app = known[0] if known else found
        return
    apps = [app for app in apps if app.framework in ("", project.framework)]
    if project.framework == "django":
        apps = [app for app in apps if app.protocol == SERVERS[project.server][0]]
    ranks = [
        (app.is_factory, app.name not in ("app", "application"), app.module.count("."))
        for app in apps
    ]
    best = [app for app, rank in zip(apps, ranks, strict=True) if rank == min(ranks)]
    if len(best) > 1:
        listed = ", ".join(map(str, best))
        raise click.ClickException(f"several apps were found; use --app: {listed}")
    project.app = best[0] if best else None
    project.others = [app for app in apps if app not in best]
    if best and best[0].is_factory and project.server == "daphne":
        raise click.ClickException(
            f"daphne can't start a function such as {best[0]}; use --app or --server"
        )


def protocol(project: Project) -> str:
    """Return the protocol that the server speaks with the app."""
    return FRAMEWORKS[project.framework] or SERVERS[project.server][0]


def _python_version(project: Project) -> str:
    """Return the pinned version, else the supported one that is nearest to 3.13."""
    pipfile = project.table("Pipfile", "requires").get("python_version")
    for text in (project.read(".python-version"), project.read("runtime.txt"), str(pipfile)):
        if match := re.match(r"\s*(?:c?python-)?(3\.\d+)", text):
            return match[1]
    required = str(
        project.table("pyproject.toml", "project").get("requires-python")
        or project.table("pyproject.toml", "tool poetry dependencies").get("python")
    )
    least, below, exact = (
        [int(minor) for minor in re.findall(rf"(?:{sign})\s*3\.(\d+)", required)]
        for sign in (r">=?|\^|~=?", "<", "==|<=")
    )
    newest = min([13, *(minor - 1 for minor in below)])
    return f"3.{exact[-1] if exact else max([newest, *least])}"


def _read_node(project: Project, script: str) -> None:
    lock = next((tool for tool, file in _NODE_LOCKS.items() if project.has(file)), "")
    project.tool = lock
    project.files = ["package.json", *([_NODE_LOCKS[lock]] if lock else [])]
    package = project.table("package.json")
    scripts = project.table("package.json", "scripts")
    project.direct = {*project.table("package.json", "dependencies")}
    project.has_build = "build" in scripts
    engine = str(project.table("package.json", "engines").get("node"))
    pinned = (project.read(".nvmrc"), project.read(".node-version"), engine.lstrip(">=^~"))
    versions = (re.match(r"\s*v?(\d+)", text) for text in pinned)
    project.version = next((match[1] for match in versions if match), "24")
    main = package.get("main", next(filter(project.has, ("server.js", "index.js", "app.js")), ""))
    start = str(scripts.get("start", f"node {main}" if main else ""))
    words = [word for word in start.split() if not re.match(r"\w+=", word)]
    is_plain = not re.search(r"[|&;<>$`\"'\\]", start) and words[:1] not in (["npm"], ["yarn"])
    if script:
        project.start = [script]
    elif words and is_plain:
        own = [] if words[0] == "node" else [f"node_modules/.bin/{words[0]}"]
        project.start = [*own, *words[1:]]
