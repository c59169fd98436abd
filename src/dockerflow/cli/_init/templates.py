"""The files that ``dockerflow init`` writes."""

from __future__ import annotations

import json
import re
from textwrap import indent
from typing import Final

from dockerflow import __version__
from dockerflow.cli._init.project import SKIPPED, Project, protocol

GROUP_AND_USER: Final = (
    "RUN groupadd --gid 10001 app \\\n"
    "    && useradd --uid 10001 --gid app --no-create-home --home-dir /app"
    " --shell /usr/sbin/nologin app"
)

_INSTALL: Final = f"dockerflow-middleware[cli]=={__version__}"

_DOCKERFILE: Final = """\
# With @sha256:... after the tag, every build starts from the same image. Dependabot updates both.
FROM @image@ AS base
@build@
FROM base
@user@
WORKDIR /app
ENV @environ@ \\
    HOST=0.0.0.0 \\
    PORT=8000
@copies@# In CI, `dockerflow version write` writes it. Without it, the build fails.
COPY version.json /app/
ARG DOCKERFLOW_SOURCE="" \\
    DOCKERFLOW_VERSION="" \\
    DOCKERFLOW_COMMIT=""
LABEL org.opencontainers.image.source="$DOCKERFLOW_SOURCE" \\
      org.opencontainers.image.version="$DOCKERFLOW_VERSION" \\
      org.opencontainers.image.revision="$DOCKERFLOW_COMMIT"
EXPOSE 8000
# Dockerflow requires the name; hadolint would prefer the number.
# hadolint ignore=DL3066
USER app
HEALTHCHECK --interval=30s --timeout=20s --start-period=10s CMD @healthcheck@
@todo@ENTRYPOINT @entrypoint@
CMD @cmd@
"""

# The base image's own. Where it is somewhere else, as on Debian, nothing happens.
_NO_PIP: Final = (
    "RUN rm -rf /usr/local/bin/pip* /usr/local/lib/python3*/site-packages/pip* \\\n    && "
)

_BUILD_PYTHON: Final = """
# --- The requirements. Only /opt/venv gets into the final image, not the tools that install them.
FROM base AS build
WORKDIR /build
RUN python -m venv --without-pip /opt/venv
@install@
# --- The app."""

_PYTHON_COPIES: Final = """\
COPY --from=build /opt/venv /opt/venv
COPY . /app/
# Nothing can be written here at run time, so compile the bytecode now.
RUN python -m compileall -q .
"""

_PIP: Final = """\
# This layer is rebuilt only when the requirements change.
@copy@# Wheels only, so that no compiler is needed. If a package has none, remove --only-binary.
RUN pip --python /opt/venv/bin/python install --no-cache-dir --only-binary :all: @hashes@-r @file@
"""

_OTHER_TOOL: Final = """\
# The newest release reads every lock.
# hadolint ignore=DL3013
RUN python -m venv /opt/tool && /opt/tool/bin/pip install --no-cache-dir @tool@
ENV VIRTUAL_ENV=/opt/venv@environ@
# These layers are rebuilt only when the requirements change.
@copy@RUN /opt/tool/bin/@install@
"""

_BUILD_NODE: Final = """
# --- The packages. This layer is rebuilt only when they change.
FROM base AS build
WORKDIR /app
@copy@RUN @install@
# --- The app."""

_UV: Final = " UV_PROJECT_ENVIRONMENT=/opt/venv UV_COMPILE_BYTECODE=1 UV_NO_CACHE=1"

# What installs exactly what is locked. For Node also: without the packages for development, and
# what removes these after a build that needed them.
_INSTALLS: Final = {
    "uv": "uv sync --frozen --no-dev --no-install-project",
    "pyproject": "uv pip install --python /opt/venv/bin/python -r pyproject.toml",
    "poetry": "poetry install --only main --no-root --no-interaction --no-cache",
    "pdm": "pdm sync --prod --no-self",
    "pipenv": "pipenv sync",
}
_NODE_INSTALLS: Final = {
    "npm": ("npm ci", " --omit=dev", "npm prune --omit=dev"),
    "yarn": ("yarn install --frozen-lockfile", " --production", "yarn install --production"),
    "pnpm": ("corepack enable && pnpm install --frozen-lockfile", " --prod", "pnpm prune --prod"),
    "": ("npm install", " --omit=dev", "npm prune --omit=dev"),
}

# How each server is started, and how it is told of a factory: by an option, or by ().
_SERVERS: Final[dict[str, tuple[str, list[str], str]]] = {
    "uvicorn": ("uvicorn --host $HOST --port $PORT", ["--factory"], ""),
    "sanic": ("sanic --host $HOST --port $PORT --single-process", ["--factory"], ""),
    "hypercorn": ("hypercorn --workers 0 --bind $HOST:$PORT", [], "()"),
    "granian": ("granian --interface {} --host $HOST --port $PORT", ["--factory"], ""),
    "daphne": ("daphne -b $HOST -p $PORT", [], ""),
    "waitress": ("waitress-serve --host=$HOST --port=$PORT", ["--call"], ""),
}
_FETCH: Final = (
    "fetch(`http://127.0.0.1:${process.env.PORT}/__lbheartbeat__`)"
    ".then(r => process.exit(r.ok ? 0 : 1), () => process.exit(1))"
)


def command(project: Project, *, has_environ: bool = True) -> tuple[list[str], list[str]]:
    """Return ENTRYPOINT and CMD; where the app isn't known, CMD has a TODO.

    :param has_environ: whether HOST and PORT are set in the Dockerfile.
    """
    if project.framework == "node":
        return ["node"], project.start or ["TODO.js"]
    app, is_factory = "TODO:app", False
    if project.app:
        app, is_factory = f"{project.app.module}:{project.app.name}", project.app.is_factory
    if project.server == "gunicorn":  # it listens on $PORT by itself
        socket = ["--no-control-socket"] if _gunicorn_version(project) >= (25, 1) else []
        cmd = [app + "()" * is_factory]
        if has_environ:
            return ["gunicorn", *socket], cmd
        bind = ["--bind", "0.0.0.0:${PORT:-8000}"]
        return ["sh", "-c", f'exec {" ".join(["gunicorn", *socket, *bind])} "$@"', "--"], cmd
    start, options, call = _SERVERS[project.server]
    script = f'exec {start.format(protocol(project))} "$@"'
    if not has_environ:
        script = script.replace("$HOST", "0.0.0.0").replace("$PORT", "${PORT:-8000}")  # noqa: S104
    return ["sh", "-c", script, "--"], [*options, app + call] if is_factory else [app]


def _gunicorn_version(project: Project) -> tuple[int, ...]:
    """Return the locked version of gunicorn, else a high one."""
    pattern = r'(?im)^(?:gunicorn==|name = "gunicorn"\nversion = ")(\d+)\.(\d+)'
    found = re.search(pattern, project.text)
    return (int(found[1]), int(found[2])) if found else (99,)


def dockerfile(project: Project) -> str:
    """Return a Dockerfile."""
    entrypoint, cmd = (json.dumps(words, ensure_ascii=False) for words in command(project))
    if project.is_python:
        build = _build_python(project)
        user = GROUP_AND_USER.replace("RUN ", _NO_PIP)
        environ = "PATH=/opt/venv/bin:$PATH \\\n    PYTHONUNBUFFERED=1"
        file, module = (project.app.file, project.app.module) if project.app else ("", "")
        if file.startswith("src/") and not module.startswith("src."):
            environ += " \\\n    PYTHONPATH=/app/src"
        copies = _PYTHON_COPIES
        healthcheck = '["dockerflow", "healthcheck"]'
    else:
        build, user, environ = _build_node(project), GROUP_AND_USER, "NODE_ENV=production"
        copies = "COPY --from=build /app /app\n" + ("" if project.has_build else "COPY . /app/\n")
        healthcheck = json.dumps(["node", "-e", _FETCH])
    return _fill(
        _DOCKERFILE,
        image=f"{'python' if project.is_python else 'node'}:{project.version}-slim",
        build=build,
        user=user,
        environ=environ,
        copies=copies,
        healthcheck=healthcheck,
        todo="# TODO: the command that starts the app.\n" if "TODO" in cmd else "",
        entrypoint=entrypoint,
        cmd=cmd,
    )


def _fill(template: str, **values: str) -> str:
    for name, value in values.items():
        template = template.replace(f"@{name}@", value)
    return template


def _build_python(project: Project) -> str:
    files = project.files or ["requirements.txt"]
    if project.tool == "pip":
        hashes = "--require-hashes " if "--hash=" in project.text else ""
        install = _fill(_PIP, copy=_copy(files), hashes=hashes, file=_quoted(files[0]))
    else:
        tool = "uv" if project.tool == "pyproject" else project.tool
        run = _INSTALLS[project.tool]
        environ = _UV if tool == "uv" else ""
        install = _fill(_OTHER_TOOL, tool=tool, environ=environ, copy=_copy(files), install=run)
    return _fill(_BUILD_PYTHON, install=install)


def _build_node(project: Project) -> str:
    install, production, prune = _NODE_INSTALLS[project.tool]
    if project.has_build:
        run = f"{install}\nCOPY . ./\nRUN {project.tool or 'npm'} run build && {prune}\n"
    else:
        run = f"{install}{production}\n"
    return _fill(_BUILD_NODE, copy=_copy(project.files), install=run)


def _quoted(word: str) -> str:
    return word if re.fullmatch(r"[\w./-]+", word) else json.dumps(word, ensure_ascii=False)


def _copy(files: list[str]) -> str:
    """Return a COPY of files to the working directory, for each of their folders."""
    folders = dict.fromkeys(file.rpartition("/")[0] for file in files)
    lines: list[str] = []
    for folder in folders:
        words = [file for file in files if file.rpartition("/")[0] == folder]
        words.append(f"./{folder}/" if folder else "./")
        is_plain = all(_quoted(word) == word for word in words)
        lines.append(" ".join(words) if is_plain else json.dumps(words, ensure_ascii=False))
    return "".join(f"COPY {line}\n" for line in lines)


_NEVER: Final = """\
**/.git
**/.env*
**/*.key
**/*.pem
**/*.sqlite3*
**/.venv
**/__pycache__
**/node_modules
"""
_is_left_out = re.compile(
    r"(?i)\..*|(docker|container)file.*|(docker-)?compose.*|licen[cs]e.*|makefile|noxfile\.py"
    r"|(pytest|tox)\.ini|conftest\.py|test_.*|.*\.(md|rst|log|ya?ml|pyc|db|sqlite3?|tar|gz|zip|key|pem)"
).fullmatch


def dockerignore(project: Project, other: str) -> str:
    """Return a .dockerignore.

    :param other: the text of a Dockerfile other than the one above: what it needs isn't known.
    """
    if other:
        never = [line for line in _NEVER.splitlines() if line.strip("*/") not in other]
        return "\n".join(["# Secrets, and what no image needs.", *never, ""])
    names = [path.name for path in project.path.iterdir()]
    names = [name for name in names if name not in SKIPPED and name.isprintable()]
    needed = {name for name in names if not _is_left_out(name)}
    needed |= {"version.json", *(file.partition("/")[0] for file in project.files)}
    if project.is_python and not project.files:
        needed.add("requirements.txt")
    lines = "".join("!" + re.sub(r"([\\*?\[])", r"\\\1", name) + "\n" for name in sorted(needed))
    return (
        "# Only what is listed here is copied into the build: add anything else the app needs.\n"
        f"*\n{lines}\n# Never copied, not even from these folders:\n{_NEVER}"
    )


_GITHUB: Final = """\
# Builds the image with its version.json, and verifies it.
name: dockerflow

on:
  push:
    branches: [main, master]
  pull_request:

permissions: {}

concurrency:
  group: ${{ github.workflow }}-${{ github.ref }}
  cancel-in-progress: ${{ github.event_name == 'pull_request' }}

jobs:
  image:
    name: Build and verify
    runs-on: ubuntu-24.04
    timeout-minutes: 20
    permissions:
      contents: read
    steps:
      - uses: actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1
        with:
          persist-credentials: false
      - uses: actions/setup-python@5fda3b95a4ea91299a34e894583c3862153e4b97 # v7.0.0
        with:
          python-version: "3.13"
      - run: python -m pip install '@install@'
      - run: dockerflow version write && dockerflow version check
      - run: >-
          docker build --file @dockerfile@ --tag @name@
          --build-arg DOCKERFLOW_SOURCE="$GITHUB_SERVER_URL/$GITHUB_REPOSITORY"
          --build-arg DOCKERFLOW_VERSION="$GITHUB_REF_NAME"
          --build-arg DOCKERFLOW_COMMIT="$GITHUB_SHA" .
      - run: dockerflow verify --format github --dockerfile @dockerfile@ --image @name@
"""

GITLAB: Final = f"""\
# Writes version.json, and hands it to the jobs of all later stages as an artifact.
version.json:
  stage: .pre
  image: python:3.13-slim
  script:
    - pip install '{_INSTALL}'
    - dockerflow version write
    - dockerflow version check
  artifacts:
    paths: [version.json]
"""

STEPS: Final = {
    "github": f"- run: pipx run --spec '{_INSTALL}' dockerflow version write\n",
    "gitlab": """\
include:
  - local: .gitlab/dockerflow.yml
""",
}
"""What an existing file needs, and for GitLab beside the file above."""

COMPOSE: Final = """\
healthcheck:
  test: [CMD, dockerflow, healthcheck]
  timeout: 20s
"""

# docs/kubernetes.md explains the choices.
PROBES: Final = """\
# A failure restarts the container.
livenessProbe:
  httpGet: {path: /__lbheartbeat__, port: 8000}
  periodSeconds: 10
  timeoutSeconds: 2
# A failure removes the pod from the Service.
readinessProbe:
  httpGet: {path: /__lbheartbeat__, port: 8000}
  periodSeconds: 5
  timeoutSeconds: 2
# A new pod gets no requests until everything that it needs responds.
startupProbe:
  httpGet: {path: /__heartbeat__, port: 8000}
  periodSeconds: 2
  timeoutSeconds: 11
  failureThreshold: 30
"""

_KUBERNETES: Final = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: @name@
spec:
  selector:
    matchLabels: &labels
      app.kubernetes.io/name: @name@
  template:
    metadata:
      labels: *labels
    spec:
      automountServiceAccountToken: false
      # Longer than draining and the open requests take.
      terminationGracePeriodSeconds: 40
      securityContext:
        runAsNonRoot: true
        runAsUser: 10001 # the kubelet can't tell from a name that it isn't root
        runAsGroup: 10001
        seccompProfile:
          type: RuntimeDefault
      containers:
        - name: @name@
          image: @name@ # TODO: its registry, and the tag that was published
          ports:
            - containerPort: 8000
          env:
            - name: PORT
              value: "8000"
@drain@@probes@          securityContext:
            readOnlyRootFilesystem: true
            allowPrivilegeEscalation: false
            capabilities:
              drop: [ALL]
          volumeMounts:
            - name: tmp
              mountPath: /tmp
      volumes:
        - name: tmp
          emptyDir: {}
"""
_DRAIN: Final = """\
            - name: DOCKERFLOW_DRAIN_SECONDS
              value: "10"
"""


def github(project: Project, dockerfile_name: str) -> str:
    """Return a workflow for GitHub Actions."""
    file = _quoted(dockerfile_name)
    return _fill(_GITHUB, dockerfile=file, name=project.name, install=_INSTALL)


def kubernetes(project: Project) -> str:
    """Return a Deployment."""
    drain = _DRAIN if project.is_python else ""
    probes = indent(PROBES, " " * 10)
    return _fill(_KUBERNETES, name=project.name, drain=drain, probes=probes)
