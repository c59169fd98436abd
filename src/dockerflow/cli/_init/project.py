"""Look at a project: its framework, server, app, requirements, and what builds and deploys it."""

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
MAX_FILES: Final = 5000

FRAMEWORKS: Final = {
    "fastapi": "asgi", "flask": "wsgi", "django": "", "sanic": "asgi", "asgi": "asgi",
    "wsgi": "wsgi", "node": "", "other": "",
}  # fmt: skip
"""Each framework's protocol; Django has both."""

# In the order of preference. hypercorn is for ASGI here, although it can serve WSGI, too.
SERVERS: Final = {
    "gunicorn": ("wsgi",), "uvicorn": ("asgi",), "sanic": (), "hypercorn": ("asgi",),
    "granian": ("wsgi", "asgi"), "daphne": ("asgi",), "waitress": ("wsgi",), "uwsgi": ("wsgi",),
}  # fmt: skip

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
_REQUIREMENTS: Final = {
    "fastapi": "fastapi", "flask": "flask", "django": "django", "sanic": "sanic",
    "starlette": "fastapi", "quart": "asgi", "litestar": "asgi", "bottle": "wsgi",
    "pyramid": "wsgi",
}  # fmt: skip
_NODE_FRAMEWORKS: Final = {
    "express",
    "fastify",
    "koa",
    "@hapi/hapi",
    "@nestjs/core",
    "next",
    "hono",
}
_LOCKS: Final = {
    "uv": "uv.lock",
    "poetry": "poetry.lock",
    "pdm": "pdm.lock",
    "pipenv": "Pipfile.lock",
    "npm": "package-lock.json",
    "yarn": "yarn.lock",
    "pnpm": "pnpm-lock.yaml",
}
SKIPPED: Final = {
    "node_modules", "venv", "env", "virtualenv", "site-packages", "test", "tests", "doc", "docs",
    "build", "dist", "htmlcov", "examples", "k8s", "kubernetes", "helm", "charts", "deploy",
}  # fmt: skip
"""Folders that aren't looked into, and that the image doesn't need."""

_is_factory = re.compile(r"(?:create|make|build|get)_\w*app(?:lication)?|app_factory").fullmatch
_requirement = re.compile(r"^\s*([A-Za-z0-9][\w.-]*)\s*(?:\[([^\]]*)\])?").match
_included = re.compile(
    r"(?m)^\s*(?:-r|-c|--requirement|--constraint)[ =]*(.+?)\s*(?:#.*)?$"
).findall
_production = re.compile(
    r"requirements(?:[-_./](?:prod|production|main|base|common|requirements|all))?\.txt"
).fullmatch


class App(NamedTuple):
    """Where an application is, or a function that makes it."""

    framework: str
    module: str
    name: str
    file: str
    is_factory: bool = False
    protocol: str = ""

    def __str__(self) -> str:
        return f"{self.module}:{self.name}{'()' if self.is_factory else ''}"


@dataclass
class Folder:
    """A folder whose files are read; what can't be read becomes a note."""

    path: Path
    notes: list[str] = field(default_factory=list[str])

    def read_bytes(self, name: str) -> bytes:
        """Return what is in a file; nothing if there is no file that can be read."""
        path = self.path / name
        try:
            if path.is_file():  # not a pipe or a device
                with path.open("rb") as file:
                    content = file.read(MAX_BYTES + 1)
                if len(content) <= MAX_BYTES:
                    return content
                self.notes.append(f"{name} is over {MAX_BYTES} bytes: not read")
        except OSError as error:
            self.notes.append(f"{name} can't be read: {error.strerror}")
        return b""

    def read(self, name: str) -> str:
        """Return the text of a file; empty if there is no file that can be read."""
        content = self.read_bytes(name)
        is_utf16 = content[:2] in (b"\xff\xfe", b"\xfe\xff")  # as PowerShell redirects
        try:
            return content.decode("utf-16" if is_utf16 else "utf-8-sig")
        except UnicodeDecodeError:
            self.notes.append(f"{name} is not UTF-8: not read")
            return ""

    def table(self, name: str, keys: str = "") -> dict[str, Any]:
        """Return a table of a TOML or JSON file; empty if there is none."""
        text = self.read(name)
        try:
            loads = json.loads if "json" in name or name == "Pipfile.lock" else tomllib.loads
            value: object = loads(text) if text else {}
        except (ValueError, RecursionError):
            self.notes.append(f"{name} can't be parsed: not read")
            return {}
        for key in keys.split():
            value = cast("dict[str, object]", value).get(key) if isinstance(value, dict) else None
        return cast("dict[str, Any]", value) if isinstance(value, dict) else {}

    def has(self, name: str) -> bool:
        """Whether there is anything of this name, even a link that leads nowhere."""
        return os.path.lexists(self.path / name)

    def walk(self, depth: int = 99) -> Iterator[tuple[str, list[str], list[str]]]:
        """Yield folders, and the names of their folders and files, but for those to be skipped."""
        for where, folders, files in os.walk(self.path):
            inner = PurePosixPath(os.path.relpath(where, self.path)).as_posix()
            folders[:] = sorted(
                name
                for name in folders
                if name not in SKIPPED
                and not name.startswith(".")
                and not os.path.lexists(Path(where, name, "pyvenv.cfg"))
                and inner.count("/") + 1 < depth
            )
            yield "" if inner == "." else f"{inner}/", folders, sorted(files)


@dataclass
class Project(Folder):
    """What ``dockerflow init`` knows of a project."""

    framework: str = ""
    server: str = ""
    app: App | None = None
    tool: str = "pip"
    """What installs the requirements."""
    files: list[str] = field(default_factory=list[str])
    """What it reads."""
    direct: set[str] = field(default_factory=set[str])
    locked: set[str] = field(default_factory=set[str])
    texts: str = ""
    version: str = ""
    """Of Python or Node."""
    start: list[str] = field(default_factory=list[str])
    """The command of a Node app, without ``node``."""
    has_build: bool = False
    others: list[App] = field(default_factory=list[App])

    @property
    def is_python(self) -> bool:
        """Whether it is Python that runs."""
        return self.framework not in ("node", "other")

    @property
    def name(self) -> str:
        """A name for images and the like."""
        return re.sub(r"[^a-z0-9]+", "-", self.path.resolve().name.lower()).strip("-") or "app"


def has_requirements(names: Iterable[str]) -> bool:
    """Whether there is a file among these that names requirements."""
    known = {"pyproject.toml", "Pipfile", "package.json", *_LOCKS.values()}
    return any(name in known or re.fullmatch(r"requirements.*\.txt", name) for name in names)


def detect(path: Path, framework: str, server: str, app: str, python: str) -> Project:
    """Look at a project.

    :param framework: and the others: what the user has told; empty is to be found out.
    :raises click.ClickException: when it can't be found out.
    """
    project = Project(path)
    try:
        names = sorted(os.listdir(path))
    except OSError as error:
        raise click.ClickException(f"{path} can't be read: {error.strerror}") from None
    _read_requirements(project, names)
    apps = [] if framework in ("node", "other") else list(_find_apps(project))
    project.framework = framework or _choose_framework(project, apps, names)
    if project.is_python:
        _choose_app(project, apps, app)
        _choose_server(project, server)
        project.version = python or _python_version(project)
    elif project.framework == "node":
        _read_node(project, app)
    return project


def _read_requirements(project: Project, names: list[str]) -> None:
    """Find what installs the requirements, which files it needs, and the requirements' names."""
    pyproject = project.table("pyproject.toml")
    poetry = project.table("pyproject.toml", "tool poetry dependencies") if pyproject else {}
    listed = [*_strings(project.table("pyproject.toml", "project").get("dependencies")), *poetry]
    pipfile = project.table("Pipfile", "packages")
    listed += pipfile
    plain = _requirements_file(project, names)
    files = list(_with_included(project, plain)) if plain else []
    for name in files:
        listed += project.read(name).splitlines()
    listed += [
        f"{name}[{','.join(_strings(options.get('extras')))}]"
        for name, options in {**poetry, **pipfile}.items()
        if isinstance(options, dict)
    ]
    for match in filter(None, map(_requirement, listed)):
        name = re.sub(r"[-_.]+", "-", match[1]).lower()
        project.direct |= {
            name,
            *(f"{name}[{extra.strip()}]" for extra in (match[2] or "").split(",")),
        }
    lock = next((tool for tool in ("uv", "poetry", "pdm", "pipenv") if _LOCKS[tool] in names), "")
    texts = [project.read(name) for name in files]
    if lock == "pipenv":
        project.locked = {*project.table(_LOCKS[lock], "default")}
    elif lock:
        texts.append(project.read(_LOCKS[lock]))
        project.locked = {*re.findall(r'(?m)^name = "([^"\n]+)"', texts[-1])}
    project.texts = "\n".join(texts)
    if lock:
        first = "Pipfile" if lock == "pipenv" else "pyproject.toml"
        project.tool, project.files = lock, [first, _LOCKS[lock]]
    elif files:
        project.files = files
    elif poetry:
        project.tool, project.files = "poetry", ["pyproject.toml"]
    elif pipfile:
        project.tool, project.files = "pipenv", ["Pipfile"]
    elif pyproject:
        project.tool, project.files = "pyproject", ["pyproject.toml"]


def _strings(value: object) -> list[str]:
    items = cast("list[object]", value) if isinstance(value, list) else []
    return [item for item in items if isinstance(item, str)]


def _requirements_file(project: Project, names: list[str]) -> str:
    """Return the file with the requirements of production: the first, or the only one."""
    inner = f"{project.path}/requirements"
    if os.path.isdir(inner):
        names = [*names, *(f"requirements/{name}" for name in sorted(os.listdir(inner)))]
    every = [
        n
        for n in names
        if re.fullmatch(r"requirements(?:[-_.][^/]*)?\.txt|requirements/[^/]+\.txt", n)
    ]
    likely = [name for name in every if _production(name)]
    order = ("requirements.txt", "requirements/prod")
    likely.sort(key=lambda name: [not name.startswith(one) for one in order])
    return (likely or (every if len(every) == 1 else [""]))[0]


def _with_included(project: Project, name: str) -> Iterator[str]:
    """Yield a requirements file and those that it includes, each once."""
    seen: list[str] = []
    waiting = [name]
    while waiting:
        name = waiting.pop(0)
        if name in seen:
            continue
        seen.append(name)
        yield name
        for other in _included(project.read(name)):
            path = os.path.normpath(os.path.join(os.path.dirname(name), other))
            if path.startswith(("..", "/")):
                project.notes.append(f"{name} includes {other}, which is outside of the folder")
            else:
                waiting.append(path)


def _find_apps(project: Project) -> Iterator[App]:
    """Yield the applications in Python files; projects of their own in subfolders are skipped."""
    count = 0
    for folder, folders, files in project.walk():
        if folder and has_requirements(files):
            folders.clear()
            continue
        for file in files:
            count += 1
            if file.endswith(".py") and count < MAX_FILES:
                yield from _apps_in(project, folder + file)


def _apps_in(project: Project, file: str) -> Iterator[App]:
    content = project.read_bytes(file)
    if not re.search(rb"(?i)app|environ|receive", content):
        return
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    parts = list(PurePosixPath(file).with_suffix("").parts)
    parts = parts[parts[0] == "src" and len(parts) > 1 :]
    if parts[-1] == "__init__":
        parts.pop()
    if not parts or any("." in part for part in parts):
        return
    module, imports, seen = ".".join(parts), _imports(tree), set[str]()
    for node in tree.body:
        for name, found in _named(node, imports):
            if name not in seen:
                seen.add(name)
                yield found._replace(module=module, name=name, file=file)


def _imports(tree: ast.Module) -> dict[str, str]:
    """Return the full names of what is imported, by their names in the module."""
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.partition(".")[0]
                found[alias.asname or first] = alias.name if alias.asname else first
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                found[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return found


def _named(node: ast.stmt, imports: dict[str, str]) -> Iterator[tuple[str, App]]:
    """Yield the applications that a statement of a module names."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        arguments = [argument.arg for argument in node.args.args]
        if [argument.lstrip("_") for argument in arguments] == ["environ", "start_response"]:
            yield node.name, App("wsgi", "", "", "")
        elif arguments == ["scope", "receive", "send"]:
            yield node.name, App("asgi", "", "", "")
        elif len(arguments) <= len(node.args.defaults) and _is_factory(node.name):
            calls = (one for one in ast.walk(node) if isinstance(one, ast.Call))
            found = next(filter(None, (_made_by(call, imports) for call in calls)), None)
            if found and isinstance(node, ast.FunctionDef):
                yield node.name, found._replace(is_factory=True)
        return
    if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
        targets, call = node.targets, node.value
    elif isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Call):
        targets, call = [node.target], node.value
    else:
        return
    made = _made_by(call, imports)
    if made is None and _is_factory(_dotted(call.func).rpartition(".")[2]):
        made = App("", "", "", "")
    if made is not None:
        yield from ((target.id, made) for target in targets if isinstance(target, ast.Name))


def _made_by(call: ast.Call, imports: dict[str, str]) -> App | None:
    first, dot, rest = _dotted(call.func).partition(".")
    full = imports.get(first, "") + dot + rest
    return App(_MAKERS[full], "", "", "", protocol=full[12:16]) if full in _MAKERS else None


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def _choose_framework(project: Project, apps: list[App], names: list[str]) -> str:
    where = {app.framework: app.file for app in reversed(apps) if app.framework}
    where = {name: file for name, file in where.items() if name not in ("asgi", "wsgi")} or where
    if not where:
        found = {_REQUIREMENTS[name] for name in project.direct if name in _REQUIREMENTS}
        where = dict.fromkeys(found - {"asgi", "wsgi"} or found, "/".join(project.files))
    package = project.table("package.json")
    required = {*project.table("package.json", "dependencies")}
    if package and (not where or _NODE_FRAMEWORKS & required):
        where["node"] = "package.json"
    if len(where) > 1:
        listed = ", ".join(f"{name} ({file})" for name, file in sorted(where.items()))
        raise click.ClickException(
            f"several frameworks are here, choose one by --framework: {listed}"
        )
    if where:
        return next(iter(where))
    if dockerfile(project):
        return "other"
    inner = [
        folder.rstrip("/")
        for folder, _, files in project.walk(3)
        if folder and has_requirements(files)
    ]
    if inner:
        listed = ", ".join(inner[:9])
        raise click.ClickException(f"no app is here, but in {listed}: name one of these folders")
    known = ", ".join(FRAMEWORKS)
    if has_requirements(names) or any(name.endswith(".py") for name in names):
        raise click.ClickException(f"no framework was recognised: name it by --framework ({known})")
    raise click.ClickException(
        f"there is nothing to start from in {project.path}: it has neither requirements*.txt, "
        "pyproject.toml, Pipfile, package.json, a Python file with an app, nor a Dockerfile; "
        f"name another folder, or what is to come by --framework ({known})"
    )


def dockerfile(project: Project) -> str:
    """Return the name of the Dockerfile that is there; empty if there is none."""
    return next(filter(project.has, ("Dockerfile", "Containerfile", "docker/Dockerfile")), "")


def _choose_app(project: Project, apps: list[App], given: str) -> None:
    if given:
        module, _, name = given.partition(":")
        name = name or "application"
        is_factory = name.endswith("()")
        name = name.removesuffix("()")
        known = next((app for app in apps if (app.module, app.name) == (module, name)), None)
        protocol = "asgi" if module.endswith("asgi") else "wsgi"
        new = App(
            project.framework, module, name, known.file if known else "", is_factory, protocol
        )
        project.app = known or new
        return
    apps = [app for app in apps if app.framework in ("", project.framework)]
    if project.framework == "django":
        return  # the server decides
    ranks = [
        (app.is_factory, app.name not in ("app", "application"), app.module.count("."))
        for app in apps
    ]
    best = [app for app, rank in zip(apps, ranks, strict=True) if rank == min(ranks)]
    if len(best) > 1:
        listed = ", ".join(map(str, best))
        raise click.ClickException(f"several apps are here, choose one by --app: {listed}")
    project.app = best[0] if best else None
    project.others = [app for app in apps if app is not project.app]


def _choose_server(project: Project, given: str) -> None:
    protocol = FRAMEWORKS[project.framework]
    names = {"pyuwsgi" if name == "uwsgi" else name: name for name in SERVERS} | {"uwsgi": "uwsgi"}
    direct = {server for name, server in names.items() if name in project.direct}
    if project.direct & {"fastapi[standard]", "fastapi[all]", "fastapi-cli"}:
        direct.add("uvicorn")
    locked = {server for name, server in names.items() if name in project.locked}
    fits = [
        name
        for found in (direct, locked)
        for name in SERVERS
        if name in found
        and (protocol in SERVERS[name] or not protocol or project.framework == name)
    ]
    default = {"sanic": "sanic", "django": "gunicorn"}.get(project.framework)
    default = default or ("uvicorn" if protocol == "asgi" else "gunicorn")
    project.server = given or (fits or [default])[0]
    if project.framework == "django" and project.app is None:
        wanted = "wsgi" if "wsgi" in SERVERS[project.server] else "asgi"
        apps = [app for app in _find_apps(project) if app.framework == "django"]
        apps = [app for app in apps if app.protocol == wanted]
        if len(apps) > 1:
            listed = ", ".join(map(str, apps))
            raise click.ClickException(f"several projects are here, choose one by --app: {listed}")
        project.app = apps[0] if apps else None


def protocol(project: Project) -> str:
    """Return the protocol that the server speaks with the app."""
    own = FRAMEWORKS[project.framework] or (project.app.protocol if project.app else "")
    return own or SERVERS[project.server][0]


def _python_version(project: Project) -> str:
    pinned = [
        project.read(".python-version"),
        project.read("runtime.txt"),
        str(project.table("Pipfile", "requires").get("python_version")),
    ]
    for text in pinned:
        if match := re.match(r"\s*(?:c?python-)?(3\.\d+)", text):
            return match[1]
    wanted = str(
        project.table("pyproject.toml", "project").get("requires-python")
        or project.table("pyproject.toml", "tool poetry dependencies").get("python")
    )
    limits = re.findall(r"(<=?|>=?|==|~=|\^|~)\s*3\.(\d+)(\.\d+)?", wanted)
    checks: dict[str, Any] = {
        "<": lambda minor, limit, patch: minor < limit or bool(patch and minor == limit),
        "<=": lambda minor, limit, _: minor <= limit,
        "==": lambda minor, limit, _: minor == limit,
        "~": lambda minor, limit, _: minor == limit,
        "~=": lambda minor, limit, patch: minor == limit if patch else minor >= limit,
    }
    for minor in (13, 14, 12, 11, 10, 9):
        fits = (checks.get(sign, lambda m, n, _: m >= n)(minor, int(n), p) for sign, n, p in limits)
        if all(fits):
            return f"3.{minor}"
    return "3.13"


def _read_node(project: Project, app: str) -> None:
    lock = next((t for t in ("npm", "yarn", "pnpm") if project.has(_LOCKS[t])), "")
    project.tool, project.files = lock or "npm", ["package.json", *([_LOCKS[lock]] if lock else [])]
    scripts = project.table("package.json", "scripts")
    project.has_build = isinstance(scripts.get("build"), str)
    engines = str(project.table("package.json", "engines").get("node"))
    pinned = [project.read(".nvmrc"), project.read(".node-version"), engines.lstrip("^~=")]
    versions = (re.match(r"\s*v?(\d+)", text) for text in pinned)
    project.version = next((match[1] for match in versions if match), "24")
    main = project.table("package.json").get("main")
    usual = next(filter(project.has, ("server.js", "index.js", "app.js")), "")
    project.start = [app] if app else _words(scripts.get("start"))
    if not project.start and not scripts.get("start"):
        project.start = list(filter(None, [main if isinstance(main, str) else usual]))


def _words(start: object) -> list[str]:
    """Return the arguments of node for a start script; none if it needs a shell."""
    if not isinstance(start, str) or re.search(r"[|&;<>$`\"'\\]", start):
        return []
    words = start.split()
    while words and re.match(r"\w+=", words[0]):
        words.pop(0)
    if not words or words[0] in ("npm", "npx", "yarn", "pnpm"):
        return []
    return words[1:] if words[0] == "node" else [f"node_modules/.bin/{words[0]}", *words[1:]]
