"""Every block of code in the documentation runs, or is read by what it is meant for.

Those of the pages that are followed from an empty folder run in test_walks.py.
"""

from __future__ import annotations

import configparser
import contextlib
import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click
import httpx2
import jsonschema
import pages
import pytest
import yaml
from services import proxies
from services.command import dockerflow, verify
from services.web import environment

from dockerflow import __version__
from dockerflow.checks import Registry
from dockerflow.cli import _group as group
from dockerflow.config import Config
from dockerflow.wsgi import DockerflowMiddleware

SCHEMA = json.loads(
    (pages.ROOT / "src/dockerflow/logging/mozlog.schema.json").read_text(encoding="utf-8")
)
PROJECT = tomllib.loads((pages.ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = set(PROJECT["project"]["optional-dependencies"])

BLOCKS = [block for page in pages.PAGES for block in pages.blocks(page)]

# What the examples take for given: a Django project's settings.
DJANGO_SETTINGS = "SECRET_KEY = 'of a test'\nROOT_URLCONF = __name__\nurlpatterns = []\n"
LISTS = "INSTALLED_APPS, MIDDLEWARE = [], []"  # which every project's settings have

# What else a reader may be told to type; nothing of it is ours.
FOREIGN = {
    "bash", "cat", "cd", "cosign", "docker", "echo", "eval", "exec", "git", "gunicorn", "helm", "kubectl", "mkdir", "podman",
    "pre-commit", "python", "sanic", "sh", "uvicorn", "django-admin", "nox",
}  # fmt: skip


def of(*languages: str) -> list[pages.Block]:
    return [block for block in BLOCKS if block.language in languages]


def each(*languages: str):
    return pytest.mark.parametrize("block", of(*languages), ids=str)


def test_every_block_is_of_a_kind_that_is_tested():
    kinds = {
        "console",
        "diff",
        "dockerfile",
        "ini",
        "json",
        "nginx",
        "python",
        "text",
        "toml",
        "yaml",
    }
    others = [
        str(block)
        for block in BLOCKS
        if block.language not in kinds and not block.language.startswith("{")
    ]
    assert not others
    assert kinds == {block.language for block in BLOCKS if not block.language.startswith("{")}


# --- Python --------------------------------------------------------------------------------------

PYTHON = [page for page in pages.PAGES if not pages.is_walk(page)]
PYTHON = [page for page in PYTHON if any(b.language == "python" for b in pages.blocks(page))]


@pytest.mark.parametrize("page", PYTHON, ids=lambda page: page.stem)
def test_python_runs(page, tmp_path):
    project = tmp_path / "mysite"
    project.mkdir()
    (project / "__init__.py").touch()
    (project / "settings.py").write_text(DJANGO_SETTINGS, encoding="utf-8")
    (tmp_path / "version.json").write_text("{}", encoding="utf-8")
    script = tmp_path / "page.py"
    # One after the other, as a reader would put them in one file.
    code = [block.text for block in pages.blocks(page) if block.language == "python"]
    if "sentry_sdk.init(" in "".join(code):  # which would import every package that it knows
        code.insert(
            0, "import sentry_sdk.integrations as known\ndel known._AUTO_ENABLING_INTEGRATIONS[:]"
        )
    if "from pyramid." in "".join(code):  # which imports what is deprecated
        code.insert(
            0,
            "import warnings\nwith warnings.catch_warnings(action='ignore'):\n"
            "    import pyramid.config",
        )
    if "MIDDLEWARE.insert" in "".join(code):
        code.insert(0, LISTS)
    script.write_text("\n".join(code), encoding="utf-8")
    result = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert result.returncode == 0, result.stderr


# --- commands ------------------------------------------------------------------------------------


def read_command(command: str) -> None:
    """Fail for a command of ours that doesn't take these arguments, or that nobody knows."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if set(word) <= set("|&;"):
            if words:
                _read_words(words)
            words = []
        else:
            words.append(word)


def _read_words(words: list[str]) -> None:
    while re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    if words[:3] == ["python", "-m", "dockerflow"]:
        words = words[2:]
    name, *arguments = words
    if name == "dockerflow":
        _read_arguments(arguments)
    elif name in ("pip", "pipx"):
        assert arguments[0] in ("install", "uninstall")
        for requirement in arguments[1:]:
            if match := re.fullmatch(r"dockerflow-middleware\[(.+)\](.*)", requirement):
                assert set(match[1].split(",")) <= EXTRAS, requirement
                assert match[2] in ("", f"=={__version__}"), requirement
    elif name == "make":
        targets = re.findall(r"^([a-z]+):", (pages.ROOT / "Makefile").read_text(), re.MULTILINE)
        assert {a for a in arguments if "=" not in a and not a.startswith("-")} <= set(targets)
    elif name == "curl":
        path = "/" + arguments[-1].partition("://")[2].partition("/")[2]
        if "://" not in arguments[-1]:
            path = "/" + arguments[-1].partition("/")[2]
        assert not path.startswith("/__") or path.removesuffix("/") in pages.ENDPOINTS, path
    else:
        assert name in FOREIGN or name.startswith((".venv/", "./")), f"nobody knows {name}"


def _read_arguments(arguments: list[str]) -> None:
    if arguments[0] == "healthcheck":
        _, output = dockerflow(*arguments, "--wait", 0.1, "--timeout", 0.1)
        assert "healthy: " in output, output
        return
    command: click.Command = group.dockerflow
    # With its settings: commands remember the names of --help that they were first asked for.
    context = click.Context(command, **command.context_settings)
    while isinstance(command, click.Group):
        _, command, arguments = command.resolve_command(context, arguments)
        if isinstance(command, group.Subcommand):
            command = command.load()
    command.make_context(command.name, list(arguments), parent=context)


@each("console")
def test_command_takes_its_arguments(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = pages.commands(block.text)
    assert found
    for command, _ in found:
        read_command(command)


@pytest.mark.parametrize(
    "command",
    [
        "dockerflow verify --no-such-option",
        "dockerflow version invent",
        "echo x | dockerflow logs --level loud",
        "dockerflow healthcheck --wait soon",
        "pip install dockerflow-middleware[nothing]",
        "make love",
        "curl localhost:8000/__hartbeat__",
        "unheard-of",
    ],
)
def test_wrong_commands_are_found(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((AssertionError, click.ClickException)):
        read_command(command)


# --- what others read ----------------------------------------------------------------------------


@each("json")
def test_json(block, tmp_path):
    content = json.loads(block.text)
    if "EnvVersion" in content:
        jsonschema.validate(content, SCHEMA)
    elif "checks" in content:
        assert list(content) == ["status", "checks", "details"]
        assert set(content["details"]) <= set(content["checks"])
        for name, detail in content["details"].items():
            assert list(detail) == ["status", "level", "messages"]
            assert detail["status"] == content["checks"][name]
    elif "severity" in content:  # Google's; test_walks.py compares it with what is printed
        assert pages.is_walk(block.page)
    else:
        (tmp_path / "version.json").write_text(block.text, encoding="utf-8")
        code, output = dockerflow("version", "check", tmp_path / "version.json")
        assert code == 0, output


@each("toml")
def test_toml(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = tomllib.loads(block.text)
    if "tool" not in content:
        Path("dockerflow.toml").write_text(block.text, encoding="utf-8")
        _read_arguments(["verify"])
        return
    Path("pyproject.toml").write_text(block.text, encoding="utf-8")
    for name, table in content["tool"].items():
        if name == "dockerflow":
            assert list(table) == ["verify"]
            _read_arguments(["verify"])
        else:
            assert name == "pytest"
            assert list(table["ini_options"]) == ["dockerflow_app"]


@each("ini")
def test_ini(block, tmp_path):
    parser = configparser.ConfigParser()
    parser.read_string(block.text)
    assert "loggers" in parser
    path = tmp_path / "logging.ini"
    path.write_text(block.text, encoding="utf-8")
    code = (
        "import logging.config, sys; "
        "logging.config.fileConfig(sys.argv[1], disable_existing_loggers=False); "
        "logging.getLogger('uvicorn.access').info('hidden'); logging.info('shown')"
    )
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(path)],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    (line,) = result.stdout.splitlines()
    assert json.loads(line)["Fields"] == {"msg": "shown"}
    assert not result.stderr


def _walk(value):
    if isinstance(value, dict):
        for key, item in value.items():
            yield key, item
            yield from _walk(item)
    elif isinstance(value, list):
        for item in value:
            yield from _walk(item)


@each("yaml")
def test_yaml(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    contents = list(yaml.safe_load_all(block.text))
    assert contents
    assert all(contents)
    for key, value in _walk(contents):
        if key == "run":
            for line in value.replace("\\\n", " ").splitlines():
                read_command(line)
        elif key == "httpGet":
            assert value["path"].removesuffix("/") in pages.ENDPOINTS, value
        elif key in ("command", "args") and isinstance(value, list):
            _check_exec(value)
    for content in contents:
        if "apiVersion" in content:
            schemas = pytest.importorskip("kubernetes_validate")
            schemas.validate(content, schemas.latest_version(), strict=True)


def test_dependabot_files_follow_the_schema(tmp_path):
    blocks = [block for block in BLOCKS if "package-ecosystem" in block.text]
    assert blocks
    path = tmp_path / "dependabot.yml"
    checker = Path(sys.executable).with_name("check-jsonschema")
    for block in blocks:
        path.write_text(block.text, encoding="utf-8")
        subprocess.run([checker, "--builtin-schema", "vendor.dependabot", path], check=True)


def test_further_arguments_reach_the_server():
    """Those of CMD, and those of `docker run`, also where a shell fills in the port."""
    text = (pages.DOCS / "container.md").read_text(encoding="utf-8")
    found = re.findall(r'`(\["sh", .*?\])`', text)
    assert len(found) >= 3
    for entrypoint in found:
        shell, option, script, *name = json.loads(entrypoint)
        words = [shell, option, re.sub(r"exec \w+", "exec echo", script), *name]
        ran = subprocess.run([*words, "app:app", "--reload"], capture_output=True, text=True)
        assert ran.stdout.endswith(" app:app --reload\n"), entrypoint


def _check_exec(words: list[str]) -> None:
    """What is run without a shell: ours must take its arguments."""
    if words[:1] == ["dockerflow"]:
        _read_arguments(words[1:])
    elif words[:3] == ["python", "-m", "dockerflow.heartbeat_file"]:
        _file, seconds = words[3:]
        assert float(seconds) > 0


SECRET = "0123456789abcdef"


@contextlib.contextmanager
def nginx(text: str, folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Run nginx in front of a heartbeat; yield its URL, and the paths that the app is asked for."""
    asked: list[str] = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b"the app's"]

    config = Config(heartbeat_html=True, heartbeat_details="authorized", heartbeat_secret=SECRET)
    middleware = DockerflowMiddleware(app, registry=Registry(), config=config)

    def counting(environ: Any, start_response: Any) -> Any:
        asked.append(environ["PATH_INFO"])
        return middleware(environ, start_response)

    with proxies.serve(counting) as port:
        server = {"127.0.0.1:8000": f"127.0.0.1:{port}"}
        with proxies.nginx(text, folder, **server) as url:
            yield url, asked


@pytest.mark.parametrize("block", [b for b in of("nginx") if b.page.stem == "exposed"], ids=str)
def test_nginx(block, tmp_path):
    slashes = ["/__heartbeat__", "/__heartbeat__/"]
    group = "/__heartbeat__/ready"
    private = [*slashes, "/__version__", "/__error__", group, f"{group}/"]
    # Longer times, so that a slow machine makes no difference.
    text = block.text.replace("rate=1r/s", "rate=1r/m").replace("any 5s", "any 60m")
    headers = {"accept": "text/html", "authorization": f"Bearer {SECRET}"}
    with httpx2.Client(headers=headers, trust_env=False) as client:

        def statuses(url: str, paths: Iterable[str]) -> list[int]:
            return [client.get(url + path).status_code for path in paths]

        with nginx(text, tmp_path) as (url, asked):
            assert client.get(url).text == "the app's"
            assert statuses(url, ["/__lbheartbeat__"]) == [200]
            asked.clear()
            if "deny all" in text:
                assert statuses(url, private) == [403] * 6
                assert asked == []
            else:
                assert statuses(url, [group, f"{group}/"]) == [404, 404]
                # One response for everybody has no details, also if its request had the secret.
                assert "There are no checks" not in client.get(url + slashes[0]).text
                assert statuses(url, slashes * 5) == [200] * 5 + [503] * 5
                assert asked == ["/__heartbeat__"]
        if "deny all" in text:
            with nginx(text.replace("10.0.0.0/8", "127.0.0.0/8"), tmp_path) as (url, asked):
                assert statuses(url, slashes) == [200, 200]
                assert asked == slashes
                assert "There are no checks" in client.get(url + slashes[0]).text


@each("dockerfile")
def test_dockerfile(block, tmp_path):
    path = tmp_path / "Dockerfile"
    is_whole = bool(re.search(r"^FROM ", block.text, re.MULTILINE))
    path.write_text(block.text if is_whole else f"FROM scratch\n{block.text}", encoding="utf-8")
    report = verify("--dockerfile", path)
    assert report["could_not_run"] == []
    for line in block.text.splitlines():
        if match := re.search(r"\bCMD (\[.*\])$", line):
            _check_exec(json.loads(match[1]))
        elif line.startswith("RUN dockerflow"):
            read_command(line.removeprefix("RUN "))
    if is_whole:
        assert report["exit_code"] == 0, [r for r in report["rules"] if r["status"] == "failed"]
