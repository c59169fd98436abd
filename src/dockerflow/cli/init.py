"""``dockerflow init``: adds what a project lacks for Dockerflow."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from difflib import unified_diff
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final

import click

from dockerflow.cli._exit import FAILED, OK
from dockerflow.cli._init import templates
from dockerflow.cli._init.patch import Patched, patch
from dockerflow.cli._init.project import FRAMEWORKS, SERVERS, Folder, Project, detect
from dockerflow.logging._json import escape_controls
from dockerflow.verify.evidence import CouldNotRunError

_CI: Final = {"github": ".github/workflows", "gitlab": ".gitlab-ci.yml"}
# For these, only the command is shown.
_OTHER_CI: Final = (
    ".circleci/config.yml", ".taskcluster.yml", ".buildkite/pipeline.yml", ".travis.yml",
    "azure-pipelines.yml", "bitbucket-pipelines.yml", "cloudbuild.yaml", "Jenkinsfile",
)  # fmt: skip
_COMPOSE: Final = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
_MANIFESTS: Final = ("k8s", "kubernetes", "deploy", "deployment", "helm", "charts", "manifests")
_is_workload = re.compile(r"(?m)^kind:\s*(?:Deployment|StatefulSet|DaemonSet)\s*$").search
_builds_image = re.compile(r"docker(?:/|\s+|\s+buildx\s+)build").search
_configures_logging = re.compile(rb"dictConfig|basicConfig|LOGGING\b|structlog|loguru").search

_EXTENSION: Final = "from dockerflow.{0} import Dockerflow\nDockerflow({1})"
_WRAPPER: Final = "from dockerflow.{0} import DockerflowMiddleware\n{1} = DockerflowMiddleware({1})"
_MIDDLEWARE: Final = {
    "fastapi": "from dockerflow.fastapi import install\ninstall({1})",
    "flask": _EXTENSION,
    "sanic": _EXTENSION,
    "asgi": _WRAPPER,
    "wsgi": _WRAPPER,
    "django": 'INSTALLED_APPS = ["dockerflow.django", *INSTALLED_APPS]\n'
    'MIDDLEWARE = ["dockerflow.django.middleware.DockerflowMiddleware", *MIDDLEWARE]',
}
_LOGGING: Final = "from dockerflow.logging import configure_logging\nconfigure_logging({!r})"
_DJANGO_LOGGING: Final = (
    "from dockerflow.logging import logging_config\nLOGGING = logging_config({!r})"
)


class Plan:
    """The files to write, those that stay as they are, and what is left to do by hand."""

    def __init__(self, project: Project, *, force: bool) -> None:
        self.project: Project = project
        self.force: bool = force
        self.changes: dict[str, tuple[str | None, str]] = {}
        """The old text of each file, None if there is none, and the new one."""
        self.kept: list[str] = []
        self.todo: list[str] = []
        self.deployment: list[str] = []
        """The options by which ``dockerflow verify`` gets the deployment files."""

    def add(self, name: str, text: str) -> None:
        """Plan to write a file; an existing one only if that is forced."""
        if not self.project.has(name):
            self.changes[name] = (None, text)
        elif not self.force:
            self.kept.append(name)
        elif (old := read_exactly(self.project, name)) != text:
            self.changes[name] = (old, text)

    def diff(self) -> str:
        """Return a unified diff, which ``git apply`` accepts."""
        return "".join(_diff(name, *texts) for name, texts in self.changes.items())

    def write(self) -> None:
        """Write the files."""
        folder = self.project.path
        for path in map(folder.joinpath, self.changes):
            if not path.resolve().is_relative_to(folder.resolve()):
                raise click.ClickException(f"{path} can't be written because of a symbolic link")
        for name, (old, text) in self.changes.items():
            path = folder / name
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("xb" if old is None else "wb") as file:
                    file.write(text.encode())
            except OSError as error:
                raise click.ClickException(f"{path} can't be written: {error.strerror}") from None


def read_exactly(project: Project, name: str) -> str:
    """Return a file's text with its line ends and its byte order mark."""
    path = project.path / name
    try:
        if not path.is_file():  # a pipe would have no end
            raise click.ClickException(f"{path} is not a file")
        return path.read_bytes().decode()
    except OSError as error:
        raise click.ClickException(f"{path} can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise click.ClickException(f"{path} is not UTF-8") from None


def _diff(name: str, old: str | None, new: str) -> str:
    before, after = (re.findall(r"[^\n]*\n|[^\n]+", text) for text in (old or "", new))
    lines = unified_diff(before, after, "/dev/null" if old is None else f"a/{name}", f"b/{name}")
    return "".join(
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines
    )


def _pattern(pattern: str, meaning: str) -> Any:
    def check(value: str) -> str:
        if value and not re.fullmatch(pattern, value):
            raise click.BadParameter(f"must be {meaning}, not {value!r}.")
        return value

    return check


@click.command(epilog="Exit codes: 0 done, 1 something is left or differs, 2 could not run.")
@click.argument("folder", default=".", type=click.Path(path_type=Path))
@click.option(
    "--app",
    metavar="MODULE:NAME",
    default="",
    type=_pattern(r"[\w./-]+(:\w+(\(\))?)?", "MODULE:NAME"),
    help="The app; with () at the end, the function that makes it. For Node: the script.",
)
@click.option("--framework", type=click.Choice(list(FRAMEWORKS)), help="The app's framework.")
@click.option("--server", type=click.Choice(list(SERVERS)), help="The app's server.")
@click.option(
    "--python",
    metavar="VERSION",
    default="",
    type=_pattern(r"3\.\d{1,2}(\.\d{1,2})?", "a version such as 3.13"),
    help="Python version of the image.",
)
@click.option(
    "--patch", "patches", is_flag=True, help="Apply the proposed patch to an existing Dockerfile."
)
@click.option("--force", is_flag=True, help="Replace existing files.")
@click.option("--diff", "only_diff", is_flag=True, help="Print a diff instead of writing files.")
def init(*, folder: Path, patches: bool, force: bool, only_diff: bool, **given: str | None) -> int:
    """Add what the project in FOLDER lacks: Dockerfile, .dockerignore, CI step and probes.

    By default, framework, server and app are detected from requirements, lock files and sources.
    Existing files are kept; for an existing Dockerfile, a patch is proposed.

    \b
      dockerflow init --diff
      dockerflow init --app mysite.main:app --server uvicorn
    """  # noqa: D301 - click's mark for a paragraph that is not wrapped
    project = detect(folder, **{name: value or "" for name, value in given.items()})
    plan = Plan(project, force=force)
    try:
        name, patched = _plan_dockerfile(plan, patches=patches)
    except CouldNotRunError as error:
        raise click.ClickException(str(error)) from None
    _plan_ci(plan, name)
    _plan_probes(plan, name)
    if project.is_python:
        _plan_requirements(plan)
        _plan_code(plan, name)
    else:
        is_node = project.framework == "node"
        plan.todo.append(
            "respond to /__version__ (with version.json), /__heartbeat__ and /__lbheartbeat__, and "
            "exit on SIGTERM" + ", which Node ignores as a container's first process" * is_node
        )
    if project.tool != "pip" and len(project.files) == 1:
        plan.todo.append("lock the requirements, so that each build installs the same")
    if only_diff:
        click.echo(plan.diff().encode(), nl=False)
    else:
        plan.write()
    for line in _report(plan, name, patched, verb="would write" if only_diff else "wrote"):
        click.echo(escape_controls(line, keep="\n"), err=only_diff)
    is_left = patched is not None and (
        any(verdict.status == "failed" for verdict in patched.left)
        or (bool(patched.mended) and not patches)
    )
    return FAILED if is_left or (only_diff and plan.changes) else OK


def _plan_dockerfile(plan: Plan, *, patches: bool) -> tuple[str, Patched | None]:
    """Plan Dockerfile and .dockerignore; return the Dockerfile's name, and what it could become."""
    project = plan.project
    ours = templates.dockerfile(project) if project.framework else ""
    name, patched, text = project.dockerfile or "Dockerfile", None, ours
    if ours and (plan.force or not project.dockerfile):
        plan.add(name, ours)
    else:
        old = read_exactly(project, name)
        text = old.removeprefix("\ufeff")
        is_known = ours and "TODO" not in ours
        start = templates.command(project, has_environ=False) if is_known else None
        patched = patch(text, name, start)
        if patches and patched.mended:
            plan.changes[name] = (old, old[: len(old) - len(text)] + patched.text)
        else:
            plan.kept.append(name)
        for id_, todo in _ENTAILED.items():
            if id_ in patched.mended and not (id_ == "DF306" and "PORT" in text):
                plan.todo.append(todo)
    ignore = templates.dockerignore(project, "" if text == ours else text)
    plan.add(".dockerignore", ignore)
    if text == ours and ".dockerignore" in plan.kept and project.read(".dockerignore") != ignore:
        plan.todo.append("check that .dockerignore lets through what the Dockerfile copies")
    return name, patched


# What changes of a Dockerfile entail, which no rule can see.
_ENTAILED: Final = {
    "DF204": "what overrides the command, such as Compose's `command`, now overrides only CMD",
    "DF205": "make sure that the user app can access the files that your app reads and writes",
    "DF306": "let the app listen on $PORT, which is 8000",
}


def _plan_ci(plan: Plan, dockerfile: str) -> None:
    """Plan what writes version.json in CI."""
    here = plan.project.path.resolve()
    root = next((f for f in (here, *here.parents) if os.path.lexists(f / ".git")), here)
    repository = Folder(root, plan.project.notes)
    if any("dockerflow version write" in repository.read(name) for name in _OTHER_CI):
        return
    found = _find_ci(repository)
    if not found or here != root:
        where = "" if here == root else f" {shlex.quote(here.relative_to(root).as_posix())}"
        plan.todo.append(f"in CI, run `dockerflow version write{where}` before the image is built")
        return
    for ci in found:
        names = [_CI[ci]]
        if ci == "github":
            workflows = (path.name for path in root.glob(".github/workflows/*.y*ml"))
            names = sorted(f".github/workflows/{n}" for n in workflows if n.isprintable())
        texts = {name: repository.read(name) for name in names}
        builder = next((name for name, text in texts.items() if _builds_image(text)), "")
        step = templates.STEPS[ci]
        if ci == "gitlab":
            plan.add(".gitlab/dockerflow.yml", templates.GITLAB)
            if ".gitlab/dockerflow.yml" not in texts[names[0]]:
                plan.todo.append(f"in {names[0]}:\n{step}")
        elif ci == "github" and builder in ("", ".github/workflows/dockerflow.yml"):
            plan.add(".github/workflows/dockerflow.yml", templates.github(plan.project, dockerfile))
        elif not any("dockerflow version write" in text for text in texts.values()):
            name = builder or names[0]
            shown = (
                _diff(name, texts[name], new) if (new := _with_step(texts[name], step)) else step
            )
            plan.todo.append(f"in {name}, write version.json before the image is built:\n{shown}")
            if "build-push-action" in texts[name] and "context:" not in texts[name]:
                plan.todo.append(
                    f"in {name}, add `context: .`, because the action clones the repository again"
                )


def _find_ci(repository: Folder) -> list[str]:
    """Return the CIs that the repository has files for; if it has none, the CI of its remote."""
    found = [ci for ci, file in _CI.items() if repository.has(file)]
    if not found and not any(map(repository.has, _OTHER_CI)):
        found = re.findall(r"url\s*=.*\b(github|gitlab)\.", repository.read(".git/config"))[:1]
    return found


def _with_step(text: str, step: str) -> str:
    """Return a pipeline with a step before the one that builds the image; empty without one."""
    lines = text.splitlines(keepends=True)
    at = next((number for number, line in enumerate(lines) if _builds_image(line)), 0)
    for index in range(at, 0, -1):
        if match := re.match(r" *(?=- )", lines[index]):
            lines[index:index] = [match[0] + line for line in step.splitlines(keepends=True)]
            return "".join(lines)
    return ""


def _plan_probes(plan: Plan, dockerfile: str) -> None:
    """Plan the probes of Kubernetes and Compose."""
    project, target = plan.project, "kubernetes.yaml"
    texts = {name: project.read(name) for name in _yaml_files(project)}
    manifests = [name for name, text in texts.items() if _is_workload(text) and name != target]
    compose = next(filter(project.has, _COMPOSE), "")
    lacking = [name for name in manifests if "__lbheartbeat__" not in texts[name]]
    if lacking:
        where = ", ".join(lacking)
        plan.todo.append(f"in {where}, for the container of the app:\n{templates.PROBES}")
    elif not manifests and (not compose or project.has(target)):
        plan.add(target, templates.kubernetes(project))
    found = [name for name in manifests if "{{" not in texts[name]]
    if target in plan.changes or _is_workload(texts.get(target, "")):
        found.append(target)
    plan.deployment = [word for name in found for word in ("--manifest", shlex.quote(name))]
    plan.deployment += ["--compose", compose] if compose else []
    text = plan.changes.get(dockerfile, ("", ""))[1] or project.read(dockerfile)
    if compose and "healthcheck" not in (text + project.read(compose)).lower():
        plan.todo.append(f"in {compose}, for the service of the app:\n{templates.COMPOSE}")


def _yaml_files(project: Project) -> Iterator[str]:
    folders = (project.path / name for name in _MANIFESTS)
    files = (path for folder in folders for path in folder.rglob("*.y*ml"))
    for path in islice(chain(project.path.glob("*.y*ml"), files), 500):
        if (name := path.relative_to(project.path).as_posix()).isprintable():
            yield name


def _plan_requirements(plan: Plan) -> None:
    project = plan.project
    required = project.direct | project.locked
    extra = f"[{project.framework}]" if project.framework not in ("asgi", "wsgi") else ""
    wanted = {"dockerflow-middleware": extra, project.server: ""}
    wanted = {name: extra for name, extra in wanted.items() if name not in required}
    if wanted:
        listed = " and ".join(name + extra for name, extra in wanted.items())
        new = "a new requirements.txt, with everything else that the app needs"
        plan.todo.append(f"add {listed} to {next(iter(project.files), new)}")
    if "dockerflow" in required:
        plan.todo.append("remove the requirement dockerflow: dockerflow-middleware replaces it")
    if project.tool == "pip" and re.search(r"(?m)^\s*(?:-e\b|--editable|\.)", project.text):
        plan.todo.append(f"remove the project itself from {project.files[0]}; the image copies it")
    if int(project.version.split(".")[1]) < 11:  # noqa: PLR2004
        plan.todo.append(f"dockerflow-middleware needs Python 3.11, not {project.version}")
    if project.app is None:
        plan.todo.append("no app was found: use --app, or replace TODO in the Dockerfile")


def _plan_code(plan: Plan, dockerfile: str) -> None:
    """Plan the lines that add Dockerflow to the app."""
    project, app = plan.project, plan.project.app
    files = (folder + file for folder, _, files in project.walk() for file in files)
    sources = {name: project.read_bytes(name) for name in files if name.endswith(".py")}
    everything = b"\n".join(sources.values())
    collects = "collectstatic" in project.read(dockerfile) and not plan.force
    if project.framework == "django" and b"STATIC_ROOT" in everything and not collects:
        plan.todo.append("after COPY . /app/, add RUN python manage.py collectstatic --no-input")
    if b"dockerflow" in everything:
        return
    name = "app" if app is None or app.is_factory else app.name
    lines = _MIDDLEWARE[project.framework].format(project.framework, name)
    where = app.file if app and app.file else "the module of the app"
    logging = _LOGGING
    if project.framework == "django":
        logging = _DJANGO_LOGGING
        settings = (name for name, text in sources.items() if b"INSTALLED_APPS" in text)
        where = f"{next(settings, 'the settings')}, at the end"
    elif app and app.is_factory:
        where = f"{where}, in {app.name}"
    if not _configures_logging(everything):
        lines += "\n" + logging.format(project.name)
    plan.todo.append(f"in {where}:\n{lines}")


def _report(plan: Plan, name: str, patched: Patched | None, *, verb: str) -> Iterator[str]:
    project = plan.project
    found = [project.framework or "no known framework"]
    if project.is_python:
        app = f"{project.app} in {project.app.file}" if project.app else "no app"
        found += [project.server, app, f"Python {project.version}"]
    elif project.framework:
        found.append(f"Node {project.version}")
    yield f"found {', '.join([*found, *project.files])}"
    if project.others:
        yield f"found other apps, for --app: {', '.join(map(str, project.others))}"
    yield from (f"note: {note}" for note in dict.fromkeys(project.notes))
    yield from (f"{verb} {file}" for file in plan.changes)
    yield from (f"kept {file}" for file in plan.kept)
    if patched and patched.mended and name in plan.kept:
        old = read_exactly(project, name).removeprefix("\ufeff")
        yield f"\nproposed because of {', '.join(patched.mended)}; --patch makes these changes:"
        yield _diff(name, old, patched.text).replace("\r", "").rstrip("\n")
    if patched and patched.left:
        yield f"\nleft in {name}; `dockerflow verify --explain ID` has more:"
        for verdict in patched.left:
            for finding in verdict.findings:
                yield f"- {verdict.rule.id}, line {finding.line}: {finding.message}"
            for unknown in verdict.unknowns:
                yield f"- {verdict.rule.id}, can't tell: {unknown.message}; {unknown.would_tell}"
    if plan.todo:
        yield "\nto do:"
        yield from ("- " + todo.rstrip("\n").replace("\n", "\n    ") for todo in plan.todo)
    file = shlex.quote(name)
    yield "\nnext:"
    yield "  dockerflow version write"
    yield f"  docker build --file {file} --tag {project.name} ."
    options = ["--dockerfile", file, *plan.deployment, "--image", project.name, "--run"]
    yield f"  dockerflow verify {' '.join(options)}"
