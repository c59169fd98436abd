"""``dockerflow init``: what it finds, what it writes, and what it leaves alone.

tests/container/test_init.py builds and runs what it writes.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from services import command

FASTAPI = "from fastapi import FastAPI\napp = FastAPI()\n"
FLASK = "import flask\n\napp = flask.Flask(__name__)\n"
FACTORY = "from flask import Flask as F\ndef create_app(config=None):\n    return F(__name__)\n"
DJANGO = {
    f"mysite/{kind}.py": f"from django.core.{kind} import get_{kind}_application\n"
    f"application = get_{kind}_application()\n"
    for kind in ("asgi", "wsgi")
} | {"mysite/settings.py": "INSTALLED_APPS = []\nSTATIC_ROOT = 'x'\n", "manage.py": "pass\n"}
NODE = {"package.json": '{"scripts": {"start": "node src/server.js"}}', "package-lock.json": "{}"}
PROJECT = "[project]\ndependencies = [{}]\n"


def make(folder: Path, files: dict[str, str | bytes]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def init(dockerflow):
    """Make a project of files, run ``dockerflow init``, and return its output."""

    def run(files=None, *args, code=0):
        make(dockerflow.folder, files or {})
        result = dockerflow("init", *args)
        assert result.code == code, result
        return result.out + result.err

    return run


def start(folder: Path) -> tuple[list[str], list[str]]:
    """Return ENTRYPOINT and CMD of the folder's Dockerfile."""
    text = (folder / "Dockerfile").read_text()
    return tuple(
        json.loads(re.search(rf"^{name} (.*)$", text, re.MULTILINE)[1])
        for name in ("ENTRYPOINT", "CMD")
    )


def shell(command: str) -> list[str]:
    return ["sh", "-c", f'exec {command} "$@"', "--"]


GUNICORN = ["gunicorn", "--no-control-socket"]
UVICORN = shell("uvicorn --host $HOST --port $PORT")

# Files, options, ENTRYPOINT, CMD.
LAYOUTS = {
    "FastAPI": ({"main.py": FASTAPI, "requirements.txt": "fastapi\nuvicorn"}, [], UVICORN, ["main:app"]),
    "FastAPI, which brings uvicorn": (
        {"api/__init__.py": "", "api/app.py": FASTAPI, "pyproject.toml": PROJECT.format('"FastAPI[standard]"')},
        [], UVICORN, ["api.app:app"],
    ),
    "FastAPI in src, hypercorn": (
        {"src/api/main.py": FASTAPI, "requirements.txt": "hypercorn==0.17"},
        [], shell("hypercorn --workers 0 --bind $HOST:$PORT"), ["api.main:app"],
    ),
    "FastAPI, src is the package": (
        {"src/__init__.py": "", "src/main.py": FASTAPI}, [], UVICORN, ["src.main:app"],
    ),
    "Starlette, granian in a lock": (
        {"a.py": "import starlette.applications as s\nweb: object = s.Starlette()",
         "poetry.lock": '[[package]]\nname = "granian"\n', "pyproject.toml": ""},
        [], shell("granian --interface asgi --host $HOST --port $PORT"), ["a:web"],
    ),
    "Flask": ({"app.py": FLASK, "requirements.txt": "Flask~=3.0\ngunicorn"}, [], GUNICORN, ["app:app"]),
    "Flask, an old gunicorn": (
        {"app.py": FLASK, "requirements.txt": "flask\ngunicorn==25.0.3"}, [], ["gunicorn"], ["app:app"],
    ),
    "Flask, a factory": ({"shop.py": FACTORY}, [], GUNICORN, ["shop:create_app()"]),
    "Flask, a factory with waitress": (
        {"shop.py": FACTORY, "Pipfile": '[packages]\nwaitress = "*"\n'},
        [], shell("waitress-serve --host=$HOST --port=$PORT"), ["--call", "shop:create_app"],
    ),
    "Flask, what calls the factory": (
        {"shop.py": FACTORY, "wsgi.py": "from shop import create_app\napp = create_app()"},
        [], GUNICORN, ["wsgi:app"],
    ),
    "Flask, the shortest path": ({"app.py": FLASK, "other/app.py": FLASK}, [], GUNICORN, ["app:app"]),
    "Flask, only required": ({"requirements/prod.txt": "flask"}, [], GUNICORN, ["TODO:app"]),
    "Flask, told": ({"requirements.txt": "flask"}, ["--app", "x.y:make()"], GUNICORN, ["x.y:make()"]),
    "FastAPI, a factory that is told": (
        {"requirements.txt": "fastapi"}, ["--app=x:make()"], UVICORN, ["--factory", "x:make"],
    ),
    "Django": (DJANGO | {"requirements.txt": "django\ngunicorn"}, [], GUNICORN, ["mysite.wsgi:application"]),
    "Django, ASGI": (
        DJANGO | {"requirements.txt": "daphne"}, [], shell("daphne -b $HOST -p $PORT"),
        ["mysite.asgi:application"],
    ),
    "Sanic": (
        {"server.py": "from sanic import Sanic\napp = Sanic('x')"},
        [], shell("sanic --host $HOST --port $PORT --single-process"), ["server:app"],
    ),
    "two names": (
        {"app.py": "import flask\napplication = app = flask.Flask('x')"}, [], GUNICORN, ["app:application"],
    ),
    "raw ASGI": ({"app.py": "async def app(scope, receive, send): ..."}, [], UVICORN, ["app:app"]),
    "raw WSGI": ({"app.py": "def app(environ, start_response): ..."}, [], GUNICORN, ["app:app"]),
    "both, told": (
        {"a.py": FASTAPI, "b.py": FLASK}, ["--framework", "flask"], GUNICORN, ["b:app"],
    ),
    "Node": (NODE, [], ["node"], ["src/server.js"]),
    "Node, what a package has": (
        {"package.json": '{"scripts": {"start": "NODE_ENV=production next start"}}'},
        [], ["node"], ["node_modules/.bin/next", "start"],
    ),
    "Node, main": ({"package.json": '{"main": "main.js"}'}, [], ["node"], ["main.js"]),
    "Node, a shell": (
        {"package.json": '{"scripts": {"start": "a && b"}, "main": 1}'}, [], ["node"], ["TODO.js"],
    ),
    "Python with a frontend": (
        {"main.py": FASTAPI, "package.json": '{"dependencies": {"react": "1"}}'}, [], UVICORN, ["main:app"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_what_starts_the_app(init, dockerflow, name):
    files, options, entrypoint, cmd = LAYOUTS[name]
    output = init(files, *options)
    assert start(dockerflow.folder) == (entrypoint, cmd)
    has_path = "PYTHONPATH=/app/src" in (dockerflow.folder / "Dockerfile").read_text()
    assert has_path == ("in src" in name)
    assert ("TODO" in str(cmd)) == (
        "# TODO: the command" in (dockerflow.folder / "Dockerfile").read_text()
    )
    given = ("--dockerfile", "Dockerfile", "--manifest", "kubernetes.yaml")
    assert f"\n  dockerflow verify {' '.join(given)} --image " in output
    report = json.loads(dockerflow("verify", *given, "--format=json").out)
    statuses = {rule["id"]: rule["status"] for rule in report["rules"]}
    judged = {id_: status for id_, status in statuses.items() if status != "not checked"}
    assert {*judged.values()} == {"passed"}
    assert judged.keys() >= {"DF201", "DF202", "DF203", "DF204", "DF205", "DF305", "DF306"}
    assert judged.keys() >= {"DF401", "DF402", "DF403", "DF404", "DF406", "DF407"}
    before = tree(dockerflow.folder)
    again = dockerflow("init", *options)
    assert (again.code, tree(dockerflow.folder)) == (0, before)
    assert "wrote" in output
    assert "wrote" not in again.out
    assert "kept Dockerfile\n" in again.out


SERVED = {
    "fastapi": "from fastapi import FastAPI\nfrom dockerflow.fastapi import install\n"
    "def create_app():\n    app = FastAPI()\n    install(app)\n    return app\n",
    "flask": "from flask import Flask\nfrom dockerflow.flask import Dockerflow\n"
    "def create_app():\n    app = Flask('x')\n    Dockerflow(app)\n    return app\n",
    "sanic": "from sanic import Sanic\nfrom dockerflow.sanic import Dockerflow\n"
    "def create_app():\n    app = Sanic('x')\n    Dockerflow(app)\n    return app\n",
}


@pytest.mark.parametrize(
    ("framework", "server", "is_factory"),
    [
        ("fastapi", "uvicorn", True), ("fastapi", "uvicorn", False), ("fastapi", "hypercorn", True),
        ("fastapi", "granian", True), ("fastapi", "daphne", False), ("flask", "granian", True),
        ("flask", "waitress", True), ("sanic", "sanic", True),
    ],
)  # fmt: skip
def test_servers_take_what_it_writes(init, dockerflow, framework, server, is_factory):
    """gunicorn, which listens everywhere, is tested in containers only."""
    pytest.importorskip(server)
    text = SERVED[framework] + ("" if is_factory else "app = create_app()\n")
    init({"serve.py": text}, "--server", server)
    entrypoint, cmd = start(dockerflow.folder)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    report = json.loads(
        dockerflow.process(
            "verify", "--select=DF102,DF110,DF116,DF301", "--format=json", "--env=HOST=127.0.0.1",
            "--", *entrypoint, *cmd, PATH=path,
        ).out
    )  # fmt: skip
    statuses = {rule["id"]: rule["status"] for rule in report["rules"]}
    assert statuses == dict.fromkeys(["DF102", "DF110", "DF116", "DF301"], "passed"), report


INSTALLS = {
    "hashes": (
        {"requirements.txt": "flask==3 \\\n  --hash=sha256:00\n"},
        "COPY requirements.txt ./", "--only-binary :all: --require-hashes -r requirements.txt",
    ),
    "no hashes": ({"requirements.txt": "flask"}, "COPY requirements.txt ./", ":all: -r requirements.txt"),
    "UTF-16": ({"requirements.txt": "flask".encode("utf-16")}, "requirements.txt", "requirements.txt"),
    "included": (
        {"requirements/prod.txt": "-r base.txt\n-c ../limits.txt # x", "requirements/base.txt": "flask",
         "limits.txt": ""},
        "COPY requirements/prod.txt requirements/base.txt ./requirements/\nCOPY limits.txt ./\n",
        "-r requirements/prod.txt",
    ),
    "a space": (
        {"requirements my app.txt": "flask"},
        'COPY ["requirements my app.txt", "./"]', '-r "requirements my app.txt"',
    ),
    "none": ({}, "COPY requirements.txt ./", "-r requirements.txt"),
    "only tools": ({"pyproject.toml": "[tool.ruff]"}, "COPY requirements.txt ./", "-r requirements.txt"),
    "uv": ({"pyproject.toml": "", "uv.lock": ""}, "COPY pyproject.toml uv.lock ./", "uv sync --frozen --no-dev"),
    "poetry": (
        {"pyproject.toml": "", "poetry.lock": "", "requirements.txt": "x"},
        "COPY pyproject.toml poetry.lock ./", "poetry install --only main",
    ),
    "poetry without a lock": (
        {"pyproject.toml": '[tool.poetry.dependencies]\npython = "^3.14"'}, "COPY pyproject.toml ./", "poetry install",
    ),
    "pdm": ({"pyproject.toml": "", "pdm.lock": ""}, "COPY pyproject.toml pdm.lock ./", "pdm sync --prod"),
    "pipenv": ({"Pipfile": "", "Pipfile.lock": "{}"}, "COPY Pipfile Pipfile.lock ./", "pipenv sync"),
    "no lock": ({"pyproject.toml": PROJECT.format("")}, "COPY pyproject.toml ./", "uv pip install"),
}  # fmt: skip


@pytest.mark.parametrize("name", INSTALLS)
def test_what_installs_the_requirements(init, dockerflow, name):
    files, *parts = INSTALLS[name]
    output = init(files | {"app.py": FLASK})
    text = (dockerflow.folder / "Dockerfile").read_text()
    assert [part for part in parts if part not in text] == []
    assert ("lock the requirements" in output) == (name in ("poetry without a lock", "no lock"))
    ignored = (dockerflow.folder / ".dockerignore").read_text().splitlines()
    for line in re.findall(r"^COPY (?!--|\[)(.*) \S+$", text, re.MULTILINE):
        for file in line.split():
            assert file == "." or f"!{file.partition('/')[0]}" in ignored


@pytest.mark.parametrize(
    ("files", "image"),
    [
        ({}, "python:3.13-slim"),
        ({".python-version": "3.12.4\n"}, "python:3.12-slim"),
        ({"runtime.txt": "python-3.11.2"}, "python:3.11-slim"),
        ({"pyproject.toml": '[project]\nrequires-python = ">=3.10,<3.13"'}, "python:3.12-slim"),
        ({"pyproject.toml": '[project]\nrequires-python = ">= 3.14"'}, "python:3.14-slim"),
        ({"pyproject.toml": '[project]\nrequires-python = "==3.11.*"'}, "python:3.11-slim"),
        ({"pyproject.toml": '[tool.poetry.dependencies]\npython = "^3.11"'}, "python:3.13-slim"),
        ({"Pipfile": '[requires]\npython_version = "3.12"'}, "python:3.12-slim"),
    ],
)
def test_python_version(init, dockerflow, files, image):
    init(files | {"app.py": FLASK})
    assert f"FROM {image} AS base\n" in (dockerflow.folder / "Dockerfile").read_text()
    init({}, "--force", "--python", "3.15")
    assert "FROM python:3.15-slim AS base\n" in (dockerflow.folder / "Dockerfile").read_text()


@pytest.mark.parametrize(
    ("files", "image", "run"),
    [
        (NODE, "node:24-slim", "RUN npm ci --omit=dev\n"),
        ({"package.json": "{}", ".nvmrc": "v22.1"}, "node:22-slim", "RUN npm install --omit=dev\n"),
        (
            {"package.json": '{"engines": {"node": ">=20"}}', "yarn.lock": ""},
            "node:20-slim", "RUN yarn install --frozen-lockfile --production\n",
        ),
        (
            {"package.json": '{"scripts": {"build": "tsc"}}', "pnpm-lock.yaml": ""},
            "node:24-slim", "--frozen-lockfile\nCOPY . ./\nRUN pnpm run build && pnpm prune --prod\n",
        ),
    ],
)  # fmt: skip
def test_node(init, dockerflow, files, image, run):
    output = init(files)
    text = (dockerflow.folder / "Dockerfile").read_text()
    assert f"FROM {image} AS base\n" in text
    assert run in text
    assert "SIGTERM" in output


def test_static_files_are_collected_once(init, dockerflow):
    collect = "RUN python manage.py collectstatic --no-input"
    assert f"- after COPY . /app/, add {collect}\n" in init(DJANGO)
    file = dockerflow.folder / "Dockerfile"
    file.write_text(file.read_text().replace("COPY . /app/\n", f"COPY . /app/\n{collect}\n"))
    assert "collectstatic" not in init({})
    assert collect in init({}, "--force")


def test_code_is_shown_and_not_touched(init, dockerflow):
    output = init({"app.py": FLASK, "requirements.txt": "flask"})
    assert "- add dockerflow-middleware[flask] and gunicorn to requirements.txt\n" in output
    assert (
        "- in app.py:\n    from dockerflow.flask import Dockerflow\n    Dockerflow(app)\n" in output
    )
    assert "configure_logging('" in output
    assert (dockerflow.folder / "app.py").read_text() == FLASK


@pytest.mark.parametrize(
    ("files", "shown", "hidden"),
    [
        ({"app.py": FLASK + "import structlog"}, "Dockerflow(app)", "configure_logging"),
        ({"app.py": FLASK + "from dockerflow.flask import Dockerflow"}, "found flask", "Dockerflow("),
        ({"x.py": FACTORY}, "- in x.py, in create_app:", "TODO"),
        ({"app.py": FLASK}, "to a new requirements.txt, with everything else", "TODO"),
        (DJANGO, "- in mysite/settings.py, at the end:\n    INSTALLED_APPS = ", "TODO"),
        (DJANGO, "RUN python manage.py collectstatic", "TODO"),
        (DJANGO | {"urls.py": "import dockerflow"}, "RUN python manage.py collectstatic", "at the end:"),
        ({"app.py": FLASK, "requirements.txt": "dockerflow"}, "remove the requirement dockerflow:", "TODO"),
        ({"app.py": FLASK, "requirements.txt": "-e .\nflask"}, "remove the project itself", "TODO"),
        ({"app.py": FLASK, ".python-version": "3.9"}, "needs Python 3.11, not 3.9", "TODO"),
        ({"app.py": FLASK, "b.py": FLASK.replace("app", "b")}, "found other apps, for --app: b:b", "TODO"),
        ({"requirements.txt": "-r ../x.txt\nflask"}, "x.txt, which is outside of the folder", "/x.txt ./"),
    ],
)  # fmt: skip
def test_what_is_to_be_done_by_hand(init, files, shown, hidden):
    output = init(files)
    assert shown in output
    assert hidden not in output


# --- nothing is written ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "args", "message"),
    [
        ({}, [], "there is nothing to start from in .: neither requirements*.txt, pyproject.toml"),
        ({"README.md": "", "main.go": ""}, [], "there is nothing to start from"),
        ({"x.py": "1"}, [], "no framework was recognised; use --framework: fastapi,"),
        ({"x.py": "def broken("}, [], "no framework was recognised"),
        ({"x.py": b"\xff\x00"}, [], "no framework was recognised"),
        ({"x.py": "(" * 5000}, [], "no framework was recognised"),
        ({"a.py": FASTAPI, "b.py": FLASK}, [], "use --framework: fastapi (a.py), flask (b.py)"),
        ({"requirements.txt": "flask\ndjango"}, [], "use --framework: django (requirements.txt), flask"),
        ({"a.py": FLASK, "package.json": '{"dependencies": {"express": "1"}}'}, [], "node (package.json)"),
        ({"a.py": FLASK, "b.py": FLASK}, [], "several apps were found; use --app: a:app, b:app"),
        ({"api/requirements.txt": "flask", "web/package.json": "{}"}, [], "of one app; there are api/, web/"),
        ({"x.py": FLASK}, ["--server", "uvicorn"], "uvicorn can't serve flask: gunicorn, granian, waitress"),
        ({"x.py": FACTORY.replace("flask", "quart").replace("Flask", "Quart")}, ["--server=daphne"], "daphne can't start a function"),
        ({"x.py": FLASK}, ["--app", "a;b"], "must be MODULE:NAME, not 'a;b'"),
        ({"x.py": FLASK}, ["--python", "2.7"], "must be a version such as 3.13, not '2.7'"),
        ({"x.py": FLASK}, ["nowhere"], "nowhere can't be read: No such file"),
        ({"x.py": FLASK}, ["x.py"], "x.py can't be read: Not a directory"),
        ({"x.py": FLASK, "Dockerfile/x": ""}, [], "Dockerfile is not a file"),
        ({"x.py": FLASK, "Dockerfile": b"\xff"}, [], "Dockerfile is not UTF-8"),
        ({"x.py": FLASK, "Dockerfile": ""}, [], "Dockerfile is not a Dockerfile: it is empty"),
        ({"x.py": FLASK, ".gitlab-ci.yml": "", ".gitlab": ""}, [], ".gitlab/dockerflow.yml can't be written"),
    ],
)  # fmt: skip
def test_it_could_not_run(dockerflow, files, args, message):
    make(dockerflow.folder, files)
    before = tree(dockerflow.folder)
    result = dockerflow("init", *args)
    assert result.code == 2
    assert message in result.error
    if "can't be written" not in message:
        assert tree(dockerflow.folder) == before


def test_names_that_are_no_text(init, dockerflow):
    odd = [
        "\udcff.py",
        "a\nb.py",
        "\udcff/app.py",
        "\udcff.yaml",
        "k8s/\udcff.yaml",
        "requirements\udcff.txt",
    ]
    init(dict.fromkeys(odd, DEPLOYMENT + "app = 1") | {"app.py": FLASK})
    lines = (dockerflow.folder / ".dockerignore").read_text().splitlines()
    assert [line for line in lines if line.startswith("!")] == [
        "!app.py",
        "!requirements.txt",
        "!version.json",
    ]


def test_what_cannot_be_read_is_noted(init, dockerflow):
    os.mkfifo(dockerflow.folder / "requirements.txt")
    (dockerflow.folder / "loop").symlink_to(".")
    (dockerflow.folder / "uv.lock").symlink_to("nowhere")
    output = init(
        {"app.py": FLASK, "pyproject.toml": "[", "package.json": "[" * 9999, "runtime.txt": b"\xff"}
    )
    assert "note: pyproject.toml can't be parsed\n" in output
    assert "note: runtime.txt is not UTF-8, so it was not read\n" in output


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_without_the_right_to_read(dockerflow, tmp_path):
    make(tmp_path, {"app.py": FLASK, "requirements.txt": "flask"})
    (tmp_path / "requirements.txt").chmod(0)
    tmp_path.chmod(0o755)
    code = (
        "import os, sys; from dockerflow.cli import main; main(['init', 'nowhere']); "  # imports all
        "os.setgid(65534); os.setuid(65534); sys.exit(main(['init', *sys.argv[1:]]))"
    )
    for options, expected in ((["--diff"], 1), ([], 2)):
        done = subprocess.run(
            [sys.executable, "-c", code, *options], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == expected
        assert "Traceback" not in done.stderr
        file = "note: requirements.txt can't be read" if options else "Dockerfile can't be written"
        assert f"{file}: Permission denied\n" in done.stderr


def test_links_are_not_followed_out_of_the_folder(dockerflow, tmp_path):
    folder, outside = tmp_path / "project", tmp_path / "outside"
    outside.mkdir()
    make(folder, {"app.py": FLASK, ".git/config": "url = https://github.com/x/y"})
    (folder / ".github").symlink_to(outside)
    result = dockerflow("init", folder)
    assert (result.code, tree(outside)) == (2, {})
    assert "because of a symbolic link" in result.error
    assert set(tree(folder)) == {"app.py", ".git/config"}
    (outside / "Dockerfile").write_text("FROM x")
    (folder / ".github").unlink()
    (folder / "Dockerfile").symlink_to(outside / "Dockerfile")
    assert dockerflow("init", "--force", folder).code == 2
    assert tree(outside) == {"Dockerfile": b"FROM x"}
    (folder / "Dockerfile").unlink()
    (folder / "Dockerfile").symlink_to(outside / "nowhere")
    assert dockerflow("init", folder).code == 2
    assert tree(outside) == {"Dockerfile": b"FROM x"}


def test_force_replaces(init, dockerflow):
    init({"app.py": FLASK, "requirements.txt": "flask"})
    wanted = tree(dockerflow.folder)
    files = {
        "Dockerfile": "FROM python:3.13\n",
        ".dockerignore": "*\n",
        "kubernetes.yaml": "a: 1\n",
    }
    make(dockerflow.folder, files)
    assert "check that .dockerignore lets through" not in init({}, code=1)
    assert tree(dockerflow.folder) == wanted | {name: text.encode() for name, text in files.items()}
    init({}, "--force")
    assert tree(dockerflow.folder) == wanted


def test_another_dockerignore_is_kept(init, dockerflow):
    output = init({"app.py": FLASK, ".dockerignore": "*\n!app.py\n"})
    assert "- check that .dockerignore lets through what the Dockerfile copies\n" in output
    assert (dockerflow.folder / ".dockerignore").read_text() == "*\n!app.py\n"


def test_only_what_is_needed_gets_into_the_build(init, dockerflow):
    files = {
        "app.py": FLASK, "shop [1]/x.html": "", ".env": "", "id.pem": "", "tests/x.py": "", "db.sqlite3": "",
        "README.md": "", "docker-compose.yml": "", "requirements.txt": "",
    }  # fmt: skip
    init(files)
    lines = (dockerflow.folder / ".dockerignore").read_text().splitlines()
    assert [line for line in lines if line.startswith("!")] == [
        "!app.py", "!requirements.txt", "!shop \\[1]", "!version.json",
    ]  # fmt: skip
    assert "**/.env*" in lines


# --- an existing Dockerfile ----------------------------------------------------------------------

USER = (
    "RUN groupadd --gid 10001 app \\\n"
    "    && useradd --uid 10001 --gid app --no-create-home --home-dir /app --shell /usr/sbin/nologin app\n"
)
REST = f"WORKDIR /app\nCOPY . .\n{USER}USER app\nENV PORT=8000\n"
GOOD = 'ENTRYPOINT ["python"]\nCMD ["app.py"]\n'

# Before, after, and the rules that still find something.
PATCHES = {
    "all": (
        "FROM python:3.13\nWORKDIR /app\nCOPY . .\nRUN pip list\nCMD python app.py\n",
        f"FROM python:3.13\n{USER}WORKDIR /app\nCOPY . .\nRUN pip list\nUSER app\nENV PORT=8000\nEXPOSE 8000\n{GOOD}",
        [],
    ),
    "only a CMD": (f'FROM python:3.13\n{REST}CMD ["python", "app.py"]', f"FROM python:3.13\n{REST}{GOOD}", []),
    "one word": (
        f'FROM python:3.13\n{REST}CMD ["/start"]\n',
        f'FROM python:3.13\n{REST}ENTRYPOINT ["/bin/sh", "-c"]\nCMD ["exec /start"]\n', [],
    ),
    "a shell": (
        f"FROM python:3.13\n{REST}CMD python app.py --port $PORT\n",
        f'FROM python:3.13\n{REST}ENTRYPOINT ["/bin/sh", "-c"]\nCMD ["exec python app.py --port $PORT"]\n', [],
    ),
    "exec": (f"FROM python:3.13\n{REST}CMD exec python app.py\n", f"FROM python:3.13\n{REST}{GOOD}", []),
    "a variable": (
        f"FROM python:3.13\n{REST}CMD A=1 python app.py\n",
        f'FROM python:3.13\n{REST}ENTRYPOINT ["/bin/sh", "-c"]\nCMD ["A=1 python app.py"]\n', [],
    ),
    "a script that takes arguments": (
        f'FROM python:3.13\n{REST}ENTRYPOINT ["/start"]\n', None, ["DF204"],
    ),
    "several commands": (
        f"FROM python:3.13\n{REST}CMD migrate && \\\n  # and then\n  serve\n# end\n",
        f'FROM python:3.13\n{REST}ENTRYPOINT ["/bin/sh", "-c"]\nCMD ["migrate &&   serve"]\n# end\n', [],
    ),
    "only an ENTRYPOINT": (
        f'FROM python:3.13\n{REST}ENTRYPOINT ["python", "app.py"]\n', f"FROM python:3.13\n{REST}{GOOD}", [],
    ),
    "neither": (
        f"FROM python:3.13\n{REST}",
        (f'FROM python:3.13\n{REST}ENTRYPOINT ["sh", "-c", "exec gunicorn --no-control-socket'
        ' --bind 0.0.0.0:${PORT:-8000} \\"$@\\"", "--"]\nCMD ["app:app"]\n'),
        [],
    ),
    "alpine": (
        f"ARG V=3-alpine\nFROM python:$V AS b\nFROM b\n{REST.replace(USER, '')}{GOOD}",
        (f"ARG V=3-alpine\nFROM python:$V AS b\nFROM b\n"
        "RUN addgroup -g 10001 app && adduser -D -H -u 10001 -G app app\n"
        f"{REST.replace(USER, '')}{GOOD}"), [],
    ),
    "no shell": (f"FROM scratch\n{REST.replace(USER, '')}{GOOD}", None, ["DF202", "DF203"]),
    "no user to run as": (
        f"FROM gcr.io/distroless/static:nonroot\n{REST.replace(USER, '').replace('USER app' + chr(10), '')}{GOOD}",
        None, ["DF202", "DF203", "DF205"],
    ),
    "perhaps no user to run as": (
        f"FROM example\n{REST.replace(USER, '').replace('USER app', 'USER web')}{GOOD}", None, ["DF205"],
    ),
    "other ids": (
        f"FROM python:3.13\n{REST.replace('10001', '1000')}{GOOD}", f"FROM python:3.13\n{REST}{GOOD}", [],
    ),
    "only a user": (f"FROM python:3.13\n{REST.replace(USER, 'RUN useradd -u 5 -N app' + chr(10))}{GOOD}", None, ["DF202", "DF203"]),
    "the id of another": (
        f"FROM python:3.13\n{REST.replace(USER, 'RUN useradd -u 10001 web' + chr(10))}{GOOD}", None, ["DF202", "DF203"],
    ),
    "another user": (
        f"FROM python:3.13\n{REST.replace('USER app', 'USER web')}RUN id\n{GOOD}",
        f"FROM python:3.13\n{REST.replace('USER app', 'USER web')}RUN id\nUSER app\n{GOOD}", [],
    ),
    "another folder": (
        (f"FROM python:3.13\n{REST.replace('/app', '/code').replace('dir /code', 'dir /app')}"
        'ENV A=/code/x B=/codes\nENTRYPOINT ["python"]\nCMD ["/code/app.py"]\n'),
        f'FROM python:3.13\n{REST}ENV A=/app/x B=/codes\nENTRYPOINT ["python"]\nCMD ["/app/app.py"]\n', [],
    ),
    "another folder, also in another stage": (
        (f"FROM python:3.13 AS build\nCOPY . /srv/x\nFROM python:3.13\n{USER}WORKDIR /srv/x\n"
        "COPY --from=build \\\n  /srv/x /srv/x/\nRUN chown app \\\n  /srv/x\nUSER app\nENV PORT=8000\n"
        f"{GOOD}"),
        (f"FROM python:3.13 AS build\nCOPY . /srv/x\nFROM python:3.13\n{USER}WORKDIR /app\n"
        "COPY --from=build \\\n  /srv/x /app/\nRUN chown app \\\n  /app\nUSER app\nENV PORT=8000\n"
        f"{GOOD}"), [],
    ),
    "another folder, in a here-document": (
        (f"FROM python:3.13\n{USER}WORKDIR /srv/x\nCOPY . .\nRUN <<EOF\ncd /srv/x\nEOF\n"
        f"RUN cat <<EOF >/srv/x/y\nEOF\nUSER app\nENV PORT=8000\n{GOOD}"), None, ["DF201"],
    ),
    "no folder": (
        f"FROM python:3.13\nCOPY . ./code\n{USER}USER app\nENV PORT=8000\n{GOOD}",
        f"FROM python:3.13\nWORKDIR /app\nCOPY . ./code\n{USER}USER app\nENV PORT=8000\n{GOOD}", [],
    ),
    "package lists that another instruction needs": (
        f"FROM python:3.13\nRUN apt-get update\nRUN apt-get install -y a && rm -r /var/lib/apt\n{REST}{GOOD}", None, ["DF305"],
    ),
    "package lists": (
        f"FROM python:3.13\nRUN apt-get update && \\\n    apt-get install -y a\n{REST}{GOOD}",
        ("FROM python:3.13\nRUN apt-get update && \\\n    apt-get install -y a && rm -rf /var/lib/apt/lists/*\n"
        f"{REST}{GOOD}"), [],
    ),
    "the order": (f"FROM python:3.13\n{REST.replace('COPY . .', 'COPY . .' + chr(10) + 'RUN pip install x')}{GOOD}", None, ["DF305"]),
    "another port": (
        f"FROM python:3.13\n{REST.replace('8000', '5000')}EXPOSE 5000/tcp\n{GOOD}",
        f"FROM python:3.13\n{REST}EXPOSE 8000/tcp\n{GOOD}", [],
    ),
    "a port in the code": (
        f"FROM python:3.13\n{REST.replace('ENV PORT=8000', 'EXPOSE 5000')}{GOOD}", None, ["DF306"],
    ),
    "here-documents": (
        f"FROM python:3.13\nRUN <<EOF\nUSER no\nCMD no\nEOF\n{REST}COPY <<EOF /etc/x\nCMD no\nEOF\nCMD python app.py\n",
        f"FROM python:3.13\nRUN <<EOF\nUSER no\nCMD no\nEOF\n{REST}COPY <<EOF /etc/x\nCMD no\nEOF\n{GOOD}", [],
    ),
    "an escape": (
        f"# escape=`\nFROM python:3.13\n{REST.replace(chr(92), '`')}CMD python `\n  app.py\n",
        f"# escape=`\nFROM python:3.13\n{REST.replace(chr(92), '`')}{GOOD}", [],
    ),
}  # fmt: skip


@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("name", PATCHES)
def test_patch(init, dockerflow, name, end):
    before, after, left = PATCHES[name]
    path = dockerflow.folder / "Dockerfile"
    before = "\ufeff" + before.replace("\n", end)
    make(dockerflow.folder, {"app.py": FLASK, "Dockerfile": before, ".dockerignore": ""})
    output = init({}, code=1)
    assert path.read_bytes().decode() == before
    assert ("proposed because of" in output) == (after is not None)
    assert re.findall(r"(?m)^- (DF\d+), line", output) == left
    init({}, "--patch", code=bool(left))
    wanted = before if after is None else "\ufeff" + after.replace("\n", end)
    assert path.read_bytes().decode() == wanted
    report = json.loads(dockerflow("verify", "--dockerfile", path, "--format=json").out)
    assert [rule["id"] for rule in report["rules"] if rule["status"] == "failed"] == left
    once = tree(dockerflow.folder)
    init({}, "--patch", code=bool(left))
    assert tree(dockerflow.folder) == once


def test_a_diff_is_what_git_applies(init, dockerflow):
    files = {
        "app.py": FLASK, ".git/config": "", ".github/x": "",
        "Dockerfile": "FROM python\r\nCOPY . /app\r\nCMD python app.py",
    }  # fmt: skip
    make(dockerflow.folder, files)
    before = tree(dockerflow.folder)
    shutil.rmtree(dockerflow.folder / ".git")
    (dockerflow.folder / ".github/x").unlink()
    result = dockerflow("init", "--diff", "--patch")
    assert result.code == 1
    assert "would write Dockerfile" in result.err
    del before[".git/config"], before[".github/x"]
    assert tree(dockerflow.folder) == before
    subprocess.run(
        ["git", "apply", "--whitespace=nowarn", "-"], input=result.out.encode(), cwd=dockerflow.folder,
        check=True, env=dockerflow.environment | {"GIT_DIR": "/nowhere"},
    )  # fmt: skip
    applied = tree(dockerflow.folder)
    for name in applied.keys() - {"app.py"}:
        (dockerflow.folder / name).unlink()
    make(dockerflow.folder, before)
    init({}, "--patch")
    assert tree(dockerflow.folder) == applied
    result = dockerflow("init", "--diff", "--patch")
    assert (result.code, result.out) == (0, "")


def test_other_languages_have_a_dockerfile_already(init, dockerflow):
    text = f"FROM golang\nCOPY ca.pem /etc/\n{REST}{GOOD}"
    output = init({"main.go": "", "Containerfile": text})
    assert "found no known framework\n" in output
    assert "dockerflow verify --dockerfile Containerfile" in output
    assert "/__heartbeat__ and /__lbheartbeat__, and exit on SIGTERM\n" in output
    assert set(tree(dockerflow.folder)) == {
        "main.go",
        "Containerfile",
        ".dockerignore",
        "kubernetes.yaml",
    }
    lines = (dockerflow.folder / ".dockerignore").read_text().splitlines()
    assert "*" not in lines
    assert "**/.env*" in lines
    assert "**/*.pem" not in lines
    init({}, "--force")
    assert (dockerflow.folder / "Containerfile").read_text() == text


# --- CI and probes -------------------------------------------------------------------------------

BUILD = """\
jobs:
  image:
    steps:
      - uses: actions/checkout@v5
      - name: Build
        uses: docker/build-push-action@v6
"""


def test_github(init, dockerflow):
    init({"app.py": FLASK, ".github/workflows/test.yml": "on: push\n"})
    written = (dockerflow.folder / ".github/workflows/dockerflow.yml").read_text()
    assert "dockerflow version write" in written
    assert "kept .github/workflows/dockerflow.yml" in init()


def test_github_where_the_image_is_built_already(init, dockerflow):
    name = ".github/workflows/image.yml"
    output = init({"app.py": FLASK, name: BUILD})
    assert (
        f"- in {name}, write version.json before the image is built:\n    --- a/{name}\n" in output
    )
    patch = re.sub(r"(?m)^    ", "", output.partition("built:\n")[2].partition("\n- ")[0]) + "\n"
    subprocess.run(
        ["git", "apply", "-"], input=patch.encode(), cwd=dockerflow.folder, check=True,
        env=dockerflow.environment | {"GIT_DIR": "/nowhere"},
    )  # fmt: skip
    lines = (dockerflow.folder / name).read_text().splitlines()
    assert "dockerflow version write" in lines[4]
    assert lines[4].startswith("      - run: ")
    assert "- in .github/workflows/image.yml, add `context: .`" in output
    assert "version.json before" not in init()


@pytest.mark.parametrize(
    ("files", "shown", "written"),
    [
        ({}, "in CI, run `dockerflow version write` before", None),
        ({".git/config": "url = git@github.com:x/y.git"}, "", ".github/workflows/dockerflow.yml"),
        ({".git/config": "url = https://gitlab.example.com/x"}, ".gitlab-ci.yml:", ".gitlab/dockerflow.yml"),
        ({".gitlab-ci.yml": "x: 1"}, "    include:\n      - local: .gitlab/dockerflow.yml\n", ".gitlab/dockerflow.yml"),
        ({".circleci/config.yml": "x: 1", ".git/config": "url = git@github.com:x/y.git"}, "in CI, run `dockerflow version write`", None),
        ({"Jenkinsfile": "", ".github/CODEOWNERS": ""}, "in CI, run `dockerflow version write`", None),
        ({".taskcluster.yml": "dockerflow version write"}, "to do:\n- add dockerflow", None),
    ],
)  # fmt: skip
def test_ci(init, dockerflow, files, shown, written):
    output = init({"app.py": FLASK} | files)
    assert shown in output
    new = {name for name in tree(dockerflow.folder) if "dockerflow.yml" in name}
    assert new == ({written} if written else set())
    assert ("version.json before" in output) == ("write version.json" in shown.lower())


def test_ci_of_a_repository_around_the_folder(dockerflow):
    make(dockerflow.folder, {".git/config": "", ".github/x": "", "my api/app.py": FLASK})
    result = dockerflow("init", "my api")
    assert (
        "- in CI, run `dockerflow version write 'my api'` before the image is built" in result.out
    )
    assert set(tree(dockerflow.folder / "my api")) == {
        "app.py",
        "Dockerfile",
        ".dockerignore",
        "kubernetes.yaml",
    }


DEPLOYMENT = "kind: Deployment\nmetadata: {}\n"


@pytest.mark.parametrize(
    ("files", "given"),
    [
        ({}, "--manifest kubernetes.yaml "),
        ({"k8s/a b.yaml": DEPLOYMENT}, "--manifest 'k8s/a b.yaml' "),
        ({"helm/web.yaml": DEPLOYMENT + "x: {{ .Values.x }}"}, ""),
        ({"compose.yaml": "services: {}"}, "--compose compose.yaml "),
    ],
)
def test_the_next_step_names_the_deployment_files(init, files, given):
    shown = f"dockerflow verify --dockerfile Dockerfile {given}--image "
    assert shown in init({"app.py": FLASK} | files)
    assert shown in init()


@pytest.mark.parametrize(
    ("files", "shown", "is_written"),
    [
        ({}, "", True),
        ({"k8s/base/web.yaml": DEPLOYMENT}, "- in k8s/base/web.yaml, for the container of", False),
        ({"web.yml": DEPLOYMENT + "# /__lbheartbeat__"}, "", False),
        ({"k8s/config.yaml": "kind: ConfigMap\n"}, "", True),
        ({"compose.yaml": "services: {}"}, "", False),
        ({"compose.yaml": "services: {}", "Dockerfile": f"FROM python:3.13\n{REST}{GOOD}"}, "- in compose.yaml, for", False),
    ],
)  # fmt: skip
def test_probes(init, dockerflow, files, shown, is_written):
    output = init({"app.py": FLASK} | files)
    assert shown in output
    assert ("for the " in output) == bool(shown)
    assert (dockerflow.folder / "kubernetes.yaml").exists() == is_written


def run_tool(program: str, *args: object) -> None:
    found = shutil.which(program, path=Path(sys.executable).parent)
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"there is no {program}")
    done = subprocess.run([found, *map(str, args)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", LAYOUTS)
def test_hadolint_finds_nothing(init, dockerflow, name):
    files, options, *_ = LAYOUTS[name]
    init(files, *options)
    run_tool("hadolint", dockerflow.folder / "Dockerfile")


def test_tools_find_nothing_in_the_other_files(init, dockerflow):
    init({"app.py": FLASK, ".github/workflows/x.yml": "", ".gitlab-ci.yml": ""})
    workflow = dockerflow.folder / ".github/workflows/dockerflow.yml"
    run_tool("jactionlint", workflow)
    run_tool("zizmor", "--offline", workflow)
    run_tool("check-jsonschema", "--builtin-schema=vendor.github-workflows", workflow)
    gitlab = dockerflow.folder / ".gitlab/dockerflow.yml"
    run_tool("check-jsonschema", "--builtin-schema=vendor.gitlab-ci", gitlab)
    run_tool("kubernetes-validate", "--strict", dockerflow.folder / "kubernetes.yaml")


# --- any layout ----------------------------------------------------------------------------------

EXAMPLES = int(os.environ.get("DOCKERFLOW_TEST_EXAMPLES", "2000"))
NAMES = [
    "app.py", "main.py", "src/x/app.py", "pkg/__init__.py", "a b/c d.py", "requirements.txt", "uv.lock",
    "requirements/base.txt", "pyproject.toml", "Pipfile", "Pipfile.lock", "package.json", "Dockerfile",
    ".dockerignore", ".github/workflows/ci.yml", ".gitlab-ci.yml", ".circleci/config.yml", "compose.yaml",
    "k8s/web.yaml", "kubernetes.yaml", ".python-version", ".gitlab/dockerflow.yml", "web/package.json", "\udcff.py",
]  # fmt: skip
TEXTS = [
    *(case[0] for case in PATCHES.values()), FASTAPI, FLASK, FACTORY, BUILD, DEPLOYMENT, "", "{}", "[]",
    *DJANGO.values(), *NODE.values(), PROJECT.format('"flask", "uvicorn"'), "flask==3 --hash=sha256:00\n",
    "[project]\ndependencies = 1\n[tool]\npoetry = 1", "[[package]]\nname = 'x'", '{"scripts": {"start": 1}}',
    '{"dependencies": [], "engines": 1, "main": {}, "scripts": "x"}', "services:\n  web: {}\n", "-r requirements.txt",
]  # fmt: skip
LAYOUT = st.dictionaries(
    st.sampled_from(NAMES),
    st.one_of(st.sampled_from(TEXTS), st.sampled_from(TEXTS).map(lambda t: t.replace("\n", "\r\n")), st.binary(max_size=9)),
    max_size=9,
)  # fmt: skip


@settings(max_examples=EXAMPLES // 10, deadline=None)
@given(
    LAYOUT,
    st.lists(st.sampled_from(["--patch", "--framework=flask", "--server=granian"]), unique=True),
)
def test_nothing_is_ever_overwritten_and_nothing_is_written_twice(files, options):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder, files)
        before = tree(folder)
        code, output = command.dockerflow("init", folder, *options)
        once = tree(folder)
        changed = {name for name, content in before.items() if once.get(name) != content}
        assert changed <= ({"Dockerfile"} if "--patch" in options else set())
        if code == 2:
            assert once == before
            assert output.count("\n") == 1
        else:
            assert code in {0, 1}
            again, _ = command.dockerflow("init", folder, *options)
            assert again in {0, 1}
            assert tree(folder) == once
            _, output = command.dockerflow("init", "--diff", folder, *options)
            assert "would write" not in output
            assert tree(folder) == once
