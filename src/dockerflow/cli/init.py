"""``dockerflow init``: write what a project lacks for Dockerflow."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from difflib import unified_diff
from itertools import islice
from pathlib import Path
from typing import Final

import click

from dockerflow.cli._exit import FAILED, OK
from dockerflow.cli._init import templates
from dockerflow.cli._init.patch import Patched, patch
from dockerflow.cli._init.project import (
    FRAMEWORKS,
    SERVERS,
    App,
    Folder,
    Project,
    detect,
    dockerfile,
)
from dockerflow.logging._json import escape_controls
from dockerflow.verify.evidence import CouldNotRunError

_CI: Final = {
    "github": ".github",
    "gitlab": ".gitlab-ci.yml",
    "circleci": ".circleci/config.yml",
    "taskcluster": ".taskcluster.yml",
}
_COMPOSE: Final = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
_MANIFESTS: Final = ("k8s", "kubernetes", "deploy", "deployment", "helm", "charts", "manifests")
_is_workload = re.compile(r"(?m)^kind:\s*(?:Deployment|StatefulSet|DaemonSet)\s*$").search
_builds_image = re.compile(r"docker(?:/|\s+|\s+buildx\s+)build").search

_MIDDLEWARE: Final = {
    "fastapi": "from dockerflow.fastapi import install\ninstall({name})",
    "flask": "from dockerflow.flask import Dockerflow\nDockerflow({name})",
    "sanic": "from dockerflow.sanic import Dockerflow\nDockerflow({name})",
    "asgi": "from dockerflow.asgi import DockerflowMiddleware\n{name} = DockerflowMiddleware({name})",
    "wsgi": "from dockerflow.wsgi import DockerflowMiddleware\n{name} = DockerflowMiddleware({name})",
    "django": 'INSTALLED_APPS = ["dockerflow.django", *INSTALLED_APPS]\n'
    'MIDDLEWARE = ["dockerflow.django.middleware.DockerflowMiddleware", *MIDDLEWARE]',
}
_LOGGING: Final = {
    True: 'from dockerflow.logging import logging_config\nLOGGING = logging_config("{name}")',
    False: 'from dockerflow.logging import configure_logging\nconfigure_logging("{name}")',
}


class Plan:
    """What is to be written, what is left as it is, and what is to be done by hand."""

    def __init__(self, project: Project, *, force: bool) -> None:
        self.project, self.force = project, force
        self.new: dict[str, tuple[str, str]] = {}
        """The old and the new text of each file."""
        self.kept: list[str] = []
        self.todo: list[str] = []

    def add(self, name: str, text: str) -> None:
        """Plan to write a file, unless there is one."""
        project = self.project
        if not project.has(name):
            self.new[name] = ("", text)
        elif not self.force:
            self.kept.append(name)
        elif (old := _read_exactly(project, name)) != text:
            self.new[name] = (old, text)

    def diff(self) -> str:
        """Return a unified diff, which ``git apply`` takes."""
        return "".join(
            _diff(name, old, new, is_new=not self.project.has(name))
            for name, (old, new) in self.new.items()
        )

    def write(self) -> None:
        """Write the files."""
        for name, (_, text) in self.new.items():
            path = self.project.path / name
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                if not path.parent.resolve().is_relative_to(self.project.path.resolve()):
                    message = f"{name} is not written: a link leads out of the folder"
                    raise click.ClickException(message)
                if path.is_symlink():
                    raise click.ClickException(f"{name} is not written: it is a link")
                with path.open("xb" if not os.path.lexists(path) else "wb") as file:
                    file.write(text.encode())
            except OSError as error:
                raise click.ClickException(f"{path} can't be written: {error.strerror}") from None


def _read_exactly(project: Folder, name: str) -> str:
    """Return a file's text with its line ends and its byte order mark."""
    path = project.path / name
    if not path.is_file():
        raise click.ClickException(f"{path} is not a file")
    try:
        return path.read_bytes().decode()
    except OSError as error:
        raise click.ClickException(f"{path} can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise click.ClickException(f"{path} is not UTF-8") from None


def _diff(name: str, old: str, new: str, *, is_new: bool) -> str:
    before, after = (re.findall(r"[^\n]*\n|[^\n]+", text) for text in (old, new))
    source = "/dev/null" if is_new else f"a/{name}"
    lines = unified_diff(before, after, source, f"b/{name}")
    return "".join(
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines
    )


def _app(value: str) -> str:
    if value and not re.fullmatch(r"[\w./ -]+(?::[\w.]+(?:\(\))?)?", value):
        raise click.BadParameter(f"{value!r} is not module:variable, or the script of a Node app.")
    return value


def _python(value: str) -> str:
    if value and not re.fullmatch(r"3\.\d{1,2}(\.\d{1,2})?", value):
        raise click.BadParameter(f"{value!r} is not a version such as 3.13.")
    return value


@click.command(
    epilog="Exit codes: 0 done, 1 something is left, or differs (--diff), 2 could not run."
)
@click.argument("folder", default=".", type=click.Path(path_type=Path))
@click.option(
    "--app",
    metavar="MODULE:VARIABLE",
    default="",
    type=_app,
    help="The app, or with () behind it a function that makes it; for Node the script.",
)
@click.option(
    "--framework", type=click.Choice(list(FRAMEWORKS)), help="Instead of the one that is found."
)
@click.option(
    "--server", type=click.Choice(list(SERVERS)), help="Instead of the one that is found."
)
@click.option(
    "--python", metavar="VERSION", default="", type=_python, help="Version of Python in the image."
)
@click.option(
    "--patch", "is_patched", is_flag=True, help="Change an existing Dockerfile as proposed."
)
@click.option("--force", is_flag=True, help="Replace existing files.")
@click.option("--diff", "only_diff", is_flag=True, help="Print a unified diff, and write nothing.")
def init(
    *,
    folder: Path,
    app: str,
    framework: str | None,
    server: str | None,
    python: str,
    is_patched: bool,
    force: bool,
    only_diff: bool,
) -> int:
    """Write what the project in FOLDER lacks: Dockerfile, .dockerignore, version.json in CI, probes.

    It looks at the project's requirements, sources and CI, and changes no existing file. For an
    existing Dockerfile it proposes a patch for what `dockerflow verify` finds in it.

    \b
      dockerflow init --diff
      dockerflow init --app mysite.main:app --server uvicorn
    """  # noqa: D301 - click's mark for a paragraph that is not wrapped
    project = detect(folder, framework or "", server or "", app, python)
    plan = Plan(project, force=force)
    try:
        name, patched = _plan_dockerfile(plan, is_patched=is_patched)
    except CouldNotRunError as error:
        raise click.ClickException(str(error)) from None
    _plan_ci(plan, name)
    _plan_probes(plan, name)
    if project.is_python:
        _plan_python(plan)
    elif project.framework == "node":
        plan.todo.append(
            "serve /__version__ (the content of version.json), /__heartbeat__ and "
            "/__lbheartbeat__, and end on SIGTERM: process.on('SIGTERM', ...)"
        )
    if only_diff:
        click.echo(plan.diff().encode(), nl=False)
    else:
        plan.write()
    for line in _report(plan, name, patched, only_diff=only_diff):
        click.echo(escape_controls(line, keep="\n"), err=only_diff)
    is_left = patched is not None and (bool(patched.left) or (patched.mended and not is_patched))
    return FAILED if is_left or (only_diff and plan.new) else OK


def _plan_dockerfile(plan: Plan, *, is_patched: bool) -> tuple[str, Patched | None]:
    """Plan Dockerfile and .dockerignore; return the Dockerfile's name, and what it could become."""
    project, name = plan.project, dockerfile(plan.project)
    ours = templates.dockerfile(project)
    if not name or (plan.force and project.framework != "other"):
        name, patched, is_ours = name or "Dockerfile", None, True
        plan.add(name, ours)
    else:
        old = _read_exactly(project, name)
        text = old.removeprefix("\ufeff")
        is_known = "TODO" not in ours and project.framework != "other"
        start = templates.command(project, has_environ=False) if is_known else None
        patched, is_ours = patch(text, name, start), text == ours
        if is_patched and patched.mended:
            plan.new[name] = (old, old[: len(old) - len(text)] + patched.text)
        else:
            plan.kept.append(name)
    plan.add(".dockerignore", templates.dockerignore(project, is_ours=is_ours))
    if is_ours and ".dockerignore" in plan.kept and "*" in project.read(".dockerignore").split():
        plan.todo.append("check that .dockerignore lets through what the Dockerfile copies")
    return name, patched


def _plan_ci(plan: Plan, dockerfile_name: str) -> None:
    """Plan what writes version.json in CI."""
    project = plan.project
    here = project.path.resolve()
    root = next((f for f in (here, *here.parents) if os.path.lexists(f / ".git")), here)
    repository = Folder(root, project.notes)
    found = [ci for ci, file in _CI.items() if repository.has(file)]
    if not found:
        match = re.search(r"url\s*=.*?(github|gitlab)\.", repository.read(".git/config"))
        found = [match[1]] if match else []
    inner = here.relative_to(root).as_posix()
    if not found or inner != ".":
        where = shlex.join(["dockerflow", "version", "write", *([] if inner == "." else [inner])])
        plan.todo.append(f"in CI, run `{where}` before the image is built")
        return
    for ci in found:
        names = [_CI[ci]]
        if ci == "github":
            workflows = (root / ".github/workflows").glob("*.y*ml")
            names = sorted(f".github/workflows/{path.name}" for path in workflows)
        texts = {name: repository.read(name) for name in names}
        is_done = any("dockerflow version write" in text for text in texts.values())
        builder = next((name for name, text in texts.items() if _builds_image(text)), "")
        step = templates.STEPS[ci]
        if ci == "gitlab":
            plan.add(".gitlab/dockerflow.yml", templates.GITLAB)
            if "dockerflow.yml" not in texts[names[0]]:
                plan.todo.append(f"in {names[0]}:\n{step}")
        elif ci == "github" and not builder:
            plan.add(".github/workflows/dockerflow.yml", templates.github(project, dockerfile_name))
        elif not is_done:
            name = builder or names[0]
            new = _with_step(texts[name], step)
            shown = _diff(name, texts[name], new, is_new=False) if new else step
            plan.todo.append(f"in {name}, write version.json before the image is built:\n{shown}")


def _with_step(text: str, step: str) -> str:
    """Return a pipeline with a step before the one that builds the image; empty without one."""
    lines = text.splitlines(keepends=True)
    at = next((number for number, line in enumerate(lines) if _builds_image(line)), 0)
    for index in range(at, 0, -1):
        if match := re.match(r"( *)- (?!name: \w+=)", lines[index]):
            lines[index:index] = [match[1] + line for line in step.splitlines(keepends=True)]
            return "".join(lines)
    return ""


def _plan_probes(plan: Plan, dockerfile_name: str) -> None:
    """Plan the probes of Kubernetes and Compose."""
    project, target = plan.project, "kubernetes.yaml"
    manifests = {
        name: text for name in _yaml_files(project) if _is_workload(text := project.read(name))
    }
    compose = next(filter(project.has, _COMPOSE), "")
    if others := [name for name in manifests if name != target]:
        lacking = [name for name in others if "__lbheartbeat__" not in manifests[name]]
        if lacking:
            where = ", ".join(lacking)
            plan.todo.append(f"in {where}, for the container of the app:\n{templates.PROBES}")
    elif not compose or project.has(target):
        plan.add(target, templates.kubernetes(project))
    text = plan.new.get(dockerfile_name, ("", ""))[1] or project.read(dockerfile_name)
    if compose and "healthcheck" not in (text + project.read(compose)).lower():
        plan.todo.append(f"in {compose}, for the service of the app:\n{templates.COMPOSE}")


def _yaml_files(project: Project) -> Iterator[str]:
    folders = [project.path / name for name in _MANIFESTS if (project.path / name).is_dir()]
    files = (path for folder in folders for path in folder.rglob("*.y*ml"))
    for path in islice((*project.path.glob("*.y*ml"), *files), 500):
        yield path.relative_to(project.path).as_posix()


def _plan_python(plan: Plan) -> None:
    """Plan what has to be done by hand in the requirements and in the code of a Python app."""
    project = plan.project
    required = project.direct | project.locked
    extra = f"[{project.framework}]" if project.framework not in ("asgi", "wsgi") else ""
    wanted = [] if "dockerflow-middleware" in required else [f"dockerflow-middleware{extra}"]
    if not {project.server, f"py{project.server}"} & required and not (
        project.server == "uvicorn" and any(name.startswith("fastapi[") for name in required)
    ):
        wanted.append(project.server)
    if wanted:
        file = next(iter(project.files), "requirements.txt, which isn't there yet")
        plan.todo.append(f"add {' and '.join(wanted)} to {file}")
    if "dockerflow" in required:
        plan.todo.append("remove the requirement dockerflow: dockerflow-middleware replaces it")
    if project.tool in ("poetry", "pdm", "pipenv", "pyproject") and len(project.files) == 1:
        plan.todo.append("lock the requirements, so that each build installs the same")
    if re.search(r"(?m)^\s*(?:-e\b|--editable|\.|file:)", project.texts.split("\n[[package]]")[0]):
        plan.todo.append(
            f"{project.files[0]} installs the project itself, which the Dockerfile copies"
        )
    if project.version in ("3.9", "3.10") or re.match(r"3\.\d$", project.version):
        plan.todo.append(f"dockerflow-middleware needs Python 3.11, not {project.version}")
    if project.app is None:
        plan.todo.append("the app was not found: give --app, or replace TODO in the Dockerfile")
    _plan_code(plan, project.app)


def _plan_code(plan: Plan, app: App | None) -> None:
    project = plan.project
    sources = {
        folder + file: project.read_bytes(folder + file)
        for folder, _, files in project.walk()
        for file in files
        if file.endswith(".py")
    }
    everything = b"\n".join(sources.values())
    if b"dockerflow" in everything:
        return
    is_django = project.framework == "django"
    name = "app" if app is None or app.is_factory else app.name
    lines = [_MIDDLEWARE[project.framework].format(name=name)]
    if not re.search(rb"dictConfig|basicConfig|LOGGING\b|structlog|loguru", everything):
        lines.append(_LOGGING[is_django].format(name=project.name))
    where = app.file if app and app.file else "the module of the app"
    if is_django:
        settings = (name for name, text in sources.items() if b"INSTALLED_APPS" in text)
        where = f"{next(settings, 'the settings')}, at the end"
    elif app and app.is_factory:
        where = f"{where}, in {app.name}"
    text = "\n".join(lines)
    plan.todo.append(f"add Dockerflow to {where}:\n{text}\n")
    if is_django and b"STATIC_ROOT" in everything:
        plan.todo.append("after COPY . /app/, add RUN python manage.py collectstatic --no-input")


def _report(plan: Plan, name: str, patched: Patched | None, *, only_diff: bool) -> Iterator[str]:
    project = plan.project
    found = [project.framework]
    if project.is_python:
        app = f"{project.app} in {project.app.file}" if project.app else "an app that wasn't found"
        found += [f"server {project.server}", app]
    if project.framework != "other":
        found += [" and ".join(project.files) or "no requirements", f"version {project.version}"]
    yield f"found: {', '.join(found)}"
    if project.others:
        yield f"other apps, which --app can choose: {', '.join(map(str, project.others))}"
    yield from (f"note: {note}" for note in dict.fromkeys(project.notes))
    yield from (f"{'would write' if only_diff else 'wrote'} {file}" for file in plan.new)
    yield from (f"kept {file}" for file in plan.kept)
    if patched and patched.mended and name not in plan.new:
        old = _read_exactly(project, name).removeprefix("\ufeff")
        yield f"\nproposed for {', '.join(patched.mended)}; --patch makes these changes:"
        yield _diff(name, old, patched.text, is_new=False).replace("\r", "").rstrip("\n")
    if patched and patched.left:
        yield f"\nleft in {name}; `dockerflow verify --explain ID` has more:"
        for verdict in patched.left:
            for one in (*verdict.findings, *verdict.unknowns):
                yield f"- {verdict.rule.id}, line {one.line}: {one.message}"
    if plan.todo:
        yield "\nto do:"
        yield from ("- " + todo.rstrip("\n").replace("\n", "\n    ") for todo in plan.todo)
    yield "\nnext:"
    yield "  dockerflow version write"
    file = shlex.quote(name)
    yield f"  docker build --file {file} --tag {project.name} ."
    yield f"  dockerflow verify --dockerfile {file} --image {project.name}"
