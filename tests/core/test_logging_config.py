"""The one call that sets up logging, and what logging.config makes of the same classes."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys

import pytest
from log_lines import check, parse
from terminal import terminal

from dockerflow.config import ConfigError
from dockerflow.logging import auto_filter, configure_logging, logging_config


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    for name in os.environ:
        if name.startswith("DOCKERFLOW_") or name in {"NO_COLOR", "GOOGLE_CLOUD_PROJECT"}:
            monkeypatch.delenv(name)


def run(code, **environ):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **environ},
    )  # fmt: skip


def test_json_can_hold_it():
    config = logging_config("app", "DEBUG", "text", max_bytes=2000, queue_size=5)
    assert json.loads(json.dumps(config)) == config
    assert config["disable_existing_loggers"] is False
    assert [*config["handlers"]] == ["stdout"]


def test_default():
    config = logging_config()
    assert config["handlers"]["stdout"]["class"] == "dockerflow.logging.MozlogHandler"
    assert config["handlers"]["stdout"]["name"] == "Dockerflow"
    assert config["root"]["level"] == "INFO"


APP = """
import logging.config
from dockerflow import checks
from dockerflow.config import Config
from dockerflow.logging import auto_filter, configure_logging, logging_config
from dockerflow.testing import Client
from dockerflow.wsgi import DockerflowMiddleware

def app(environ, start_response):
    start_response(environ["PATH_INFO"][1:4] + " OK", [])
    return []

SETUP
checks.register(lambda: None, name="cache")
config = Config(heartbeat_groups={"ready": ["cache"]})
client = Client(DockerflowMiddleware(app, config=config))
for path in PATHS:
    client.get(path)
"""
ALL = [
    "/200", "/304/a.css", "/404/a.js", "/__lbheartbeat__", "/__heartbeat__/",
    "/__heartbeat__/ready", "/__version__",
]  # fmt: skip
APP = APP.replace("PATHS", repr(ALL))
SETUPS = {
    "configure": "configure_logging('site')",
    "stored": "import json; logging.config.dictConfig(json.loads(r'CONFIG'))",
}


@pytest.mark.parametrize("setup", SETUPS)
def test_auto_is_decided_when_it_is_applied(setup, tmp_path):
    """The dictionary is made here, without a terminal, and may be stored as JSON."""
    code = SETUPS[setup].replace("CONFIG", json.dumps(logging_config("site")))
    code = APP.replace("SETUP", code)
    command = [sys.executable, "-W", "error", "-c", code]
    environ = {**os.environ, "TERM": "xterm"}
    with terminal(tmp_path / "shown") as tty:
        subprocess.run(command, check=True, timeout=60, stdout=tty, env=environ)
    lines = re.findall("request.summary      (.*) [0-9]+ ms", (tmp_path / "shown").read_text())
    # Successful probes and static files are left out.
    assert lines == [
        "GET /200 \x1b[32m200\x1b[0m", "GET /404/a.js \x1b[33m404\x1b[0m",
        "GET /__version__ \x1b[33m404\x1b[0m",
    ]  # fmt: skip
    with (tmp_path / "file").open("wb") as file:
        subprocess.run(command, check=True, timeout=60, stdout=file, env=environ)
    for output in (run(code).stdout, (tmp_path / "file").read_text()):
        lines = list(map(json.loads, output.splitlines()))
        assert [
            line["Fields"]["path"] for line in lines if line["Type"] == "request.summary"
        ] == ALL


@pytest.mark.parametrize("changed", [{}, {"code": "200"}, {"code": None}, {"code": 500}])
def test_summaries_that_the_app_has_changed_are_shown_on_a_terminal(changed, monkeypatch):
    """A filter that raises would raise in the app, or end the thread of a QueueListener."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    kept = auto_filter()
    fields = {"name": "request.summary", "funcName": "request.summary", "path": "/a.css"}
    assert not kept.filter(logging.makeLogRecord({**fields, "code": 200}))
    assert kept.filter(logging.makeLogRecord({**fields, **changed}))


@pytest.mark.parametrize("chosen", ["mozlog", "text", "gcp"])
def test_a_format_that_is_chosen_is_the_one_on_a_terminal(chosen, tmp_path):
    code = APP.replace("SETUP", SETUPS["configure"])
    environ = {**os.environ, "DOCKERFLOW_LOG_FORMAT": chosen}
    with terminal(tmp_path / "shown") as tty:
        command = [sys.executable, "-W", "error", "-c", code]
        subprocess.run(command, check=True, timeout=60, stdout=tty, env=environ)
    lines = (tmp_path / "shown").read_text().splitlines()
    keys = {"mozlog": '"Timestamp":', "gcp": '"severity":', "text": " request.summary  "}
    assert sum(keys[chosen] in line for line in lines if "request.summary" in line) == len(ALL)


def test_environment(monkeypatch):
    for name, value in {
        "NAME": "site", "LEVEL": "warning", "FORMAT": "GCP", "MAX_BYTES": "4096",
        "QUEUE_SIZE": "10",
    }.items():  # fmt: skip
        monkeypatch.setenv(f"DOCKERFLOW_LOG_{name}", value)
    assert logging_config() == logging_config(
        "site", "WARNING", "gcp", max_bytes=4096, queue_size=10
    )
    config = logging_config("given", 10, "text", max_bytes=5000, queue_size=0)
    assert config["root"]["level"] == 10
    assert config["handlers"]["stdout"]["name"] == "given"
    assert "queue_size" not in config["handlers"]["stdout"]
    monkeypatch.setenv("DOCKERFLOW_LOG_LEVEL", "")
    assert logging_config()["root"]["level"] == "INFO"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("name", ""), ("name", " "), ("name", 5), ("level", "loud"), ("level", -1),
        ("level", 1.5), ("level", True), ("format", "xml"), ("format", 1), ("max_bytes", 10),
        ("max_bytes", "many"), ("max_bytes", 1e9), ("queue_size", -1), ("queue_size", "x"),
    ],
)  # fmt: skip
def test_wrong_settings(name, value, monkeypatch):
    for call in (logging_config, configure_logging):
        with pytest.raises(ConfigError) as raised:
            call(**{name: value})
        assert str(raised.value).startswith(f"{name} must be ")
        assert str(raised.value).endswith(f", not {value!r}")
    if isinstance(value, str) and value.strip():
        monkeypatch.setenv(f"DOCKERFLOW_LOG_{name.upper()}", value)
        with pytest.raises(ConfigError) as raised:
            logging_config()
        assert str(raised.value).startswith(f"DOCKERFLOW_LOG_{name.upper()} must be ")
        assert "\n" not in str(raised.value)


SETUP = """
import logging, logging.config
logging.basicConfig()                                    # a handler that was there before
other = logging.getLogger("other")                       # a logger that was there before
for name in NAMES:
    logging.getLogger(name).addHandler(logging.StreamHandler())  # as servers do
APPLY
for name in [*NAMES, "other", "app", "root"]:
    logging.getLogger(name).info("to %s", name)
for name in ("aiohttp.access", "uvicorn.access", "gunicorn.access", "hypercorn.access", "django.server"):
    logging.getLogger(name).setLevel("INFO")             # as servers do later
    logging.getLogger(name).info("GET / 200")
logging.getLogger("watchfiles.main").info("1 change detected")
"""
NAMES = [
    "request.summary", "uvicorn", "uvicorn.error", "gunicorn.error", "hypercorn.error", "django",
    "django.request", "sanic.root",
]  # fmt: skip


@pytest.mark.parametrize(
    "apply",
    [
        "from dockerflow.logging import configure_logging as c; c('site'); c('site')",
        "from dockerflow.logging import *; logging.config.dictConfig(logging_config('site'))",
    ],
)
def test_every_logger_once(apply):
    done = run(SETUP.replace("NAMES", repr(NAMES)).replace("APPLY", apply))
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["Fields"]["msg"] for line in lines] == [
        f"to {name}" for name in [*NAMES, "other", "app", "root"]
    ]
    assert {line["Logger"] for line in lines} == {"site"}
    assert done.stderr == ""


INI = """
[loggers]
keys = root,access
[handlers]
keys = stdout
[formatters]
keys =
[logger_root]
level = INFO
handlers = stdout
[logger_access]
qualname = uvicorn.access
level = CRITICAL
propagate = 0
handlers =
[handler_stdout]
class = dockerflow.logging.MozlogHandler
kwargs = {"name": "site"}
"""


def test_from_an_ini_file(tmp_path):
    path = tmp_path / "logging.ini"
    path.write_text(INI)
    done = run(
        "import logging.config, sys\n"
        f"logging.config.fileConfig({str(path)!r}, disable_existing_loggers=False)\n"
        "from dockerflow.logging import request_id_context\n"
        "request_id_context.set('r-1'); logging.getLogger('app').info('m')\n"
        "logging.getLogger('uvicorn.access').info('m')"
    )
    [line] = map(json.loads, done.stdout.splitlines())
    assert (line["Logger"], line["Fields"]) == ("site", {"rid": "r-1", "msg": "m"})


def test_dict_config():
    code = """
import logging.config
logging.config.dictConfig({
    "version": 1,
    "formatters": {
        "json": {"()": "dockerflow.logging.MozlogFormatter", "logger_name": "by-dict"},
        "plain": {"class": "dockerflow.logging.MozlogFormatter", "format": "%(message)s"},
    },
    "filters": {"rid": {"()": "dockerflow.logging.RequestIdLogFilter"}},
    "handlers": {
        "a": {"class": "dockerflow.logging.MozlogHandler", "formatter": "json", "filters": ["rid"]},
        "b": {"class": "dockerflow.logging.MozlogHandler", "name": "fred"},
        "c": {"class": "logging.StreamHandler", "formatter": "plain", "stream": "ext://sys.stdout"},
    },
    "root": {"handlers": ["a", "b", "c"], "level": "INFO"},
})
logging.info("m")
"""
    done = run(code)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [check(parse(line)) for line in done.stdout.splitlines()]
    assert [line["Logger"] for line in lines[:2]] == ["by-dict", "fred"]
    assert [line["Fields"]["msg"] for line in lines] == ["m"] * 3
