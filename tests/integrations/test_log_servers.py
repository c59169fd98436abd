"""Servers set up by the one call: from start to stop, every line on stdout is mozlog."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import services

PATIENCE = 40.0
SCHEMA = json.loads(
    resources.files("dockerflow.logging").joinpath("mozlog.schema.json").read_text()
)
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)

APPS = """
import logging
from dockerflow import asgi, wsgi

log = logging.getLogger("app")


def wsgi_app(environ, start_response):
    environ["dockerflow.summary"]["uid"] = "u-1"
    log.info("in a request %s", "x" * 10_000)
    if environ["PATH_INFO"] == "/fail":
        raise ValueError("broken")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


async def asgi_app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            kind = (await receive())["type"]
            await send({"type": kind + ".complete"})
            if kind == "lifespan.shutdown":
                return
    scope["dockerflow.summary"]["uid"] = "u-1"
    log.info("in a request %s", "x" * 10_000)
    if scope["path"] == "/fail":
        raise ValueError("broken")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


asgi = asgi.DockerflowMiddleware(asgi_app)
wsgi = wsgi.DockerflowMiddleware(wsgi_app)
"""
CONFIG = "from dockerflow.logging import logging_config\nlogconfig_dict = logging_config('site')\n"
GUNICORN = ["gunicorn", "--config", "conf.py", "--bind", "127.0.0.1:{port}", "--workers", "2"]
UVICORN = ["uvicorn", "--port", "{port}", "--log-config", "log.json", "--log-level", "info"]
SERVERS: dict[str, tuple[list[str], list[str]]] = {
    "uvicorn": ([*UVICORN, "served:asgi"], ["Started server process", "Finished server process"]),
    "uvicorn-workers": (
        [*UVICORN, "--workers", "2", "served:asgi"],
        ["Started parent process", "Stopping parent process"],
    ),
    "gunicorn-gthread": (
        [*GUNICORN, "--worker-class", "gthread", "--threads", "4", "served:wsgi"],
        ["Starting gunicorn", "Shutting down: Master"],
    ),
    "gunicorn-uvicorn": (
        [*GUNICORN, "--worker-class", "uvicorn.workers.UvicornWorker", "served:asgi"],
        ["Starting gunicorn", "Started server process", "Shutting down: Master"],
    ),
    "hypercorn": (
        ["hypercorn", "-c", "file:conf.py", "-b", "127.0.0.1:{port}", "served:asgi"],
        ["Running on"],
    ),
}


def get(port: int, path: str) -> int | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
    except OSError:
        return None
    finally:
        connection.close()
    return response.status


def serve(command: list[str], folder: Path) -> list[dict[str, Any]]:
    port = services.free_port()
    command = [part.format(port=port) for part in command]
    environ = {**os.environ, "PYTHONPATH": str(folder), "PYTHONWARNINGS": "ignore"}
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=folder, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        end = time.monotonic() + PATIENCE
        while get(port, "/") != 200:
            if process.poll() is not None or time.monotonic() > end:
                process.kill()
                pytest.fail(f"{command} doesn't serve: {process.communicate()}")
            time.sleep(0.05)
        assert get(port, "/fail") == 500
        process.terminate()
        output, _ = process.communicate(timeout=PATIENCE)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    lines = [json.loads(line) for line in output.splitlines()]  # nothing else is among them
    for line in lines:
        VALIDATOR.validate(line)
    return lines


@pytest.mark.parametrize("server", SERVERS)
def test_every_line_is_mozlog(server: str, tmp_path: Path) -> None:
    command, expected = SERVERS[server]
    pytest.importorskip(command[0])
    if "UvicornWorker" in " ".join(command):
        pytest.importorskip("uvicorn")
    from dockerflow.logging import logging_config

    (tmp_path / "served.py").write_text(APPS)
    (tmp_path / "conf.py").write_text(CONFIG)
    (tmp_path / "log.json").write_text(json.dumps(logging_config("site")))
    lines = serve(command, tmp_path)

    assert {line["Logger"] for line in lines} == {"site"}
    messages = [line.get("Fields", {}).get("msg", "") for line in lines]
    for text in expected:
        assert any(message.startswith(text) for message in messages), messages
    # No line twice, and none about a request but the summary.
    told = [(line["Type"], line["Pid"], line["Timestamp"]) for line in lines]
    assert len(told) == len(set(told))
    assert not {line["Type"] for line in lines} & {"uvicorn.access", "gunicorn.access"}
    assert not [message for message in messages if re.search("GET / HTTP", message)]
    summaries = [line["Fields"] for line in lines if line["Type"] == "request.summary"]
    assert [(s["path"], s["code"]) for s in summaries if s["path"] == "/fail"] == [("/fail", 500)]
    by_id = {s["rid"]: s for s in summaries}
    during = [line["Fields"] for line in lines if line["Type"] == "app"]
    assert len(during) == len(summaries)
    for fields in during:
        assert by_id[fields["rid"]]["uid"] == fields["uid"] == "u-1"
    # What went wrong is told with its traceback, and of which request.
    [failed] = [s["rid"] for s in summaries if s["path"] == "/fail"]
    told_by_server = [line["Fields"] for line in lines if "traceback" in line["Fields"]]
    assert told_by_server
    for fields in told_by_server:
        assert "ValueError: broken" in fields["traceback"]
        assert (fields["rid"], fields["uid"]) == (failed, "u-1")


@pytest.mark.parametrize("use_colors", [True, False])
def test_uvicorn_writes_its_colours_into_the_configuration(
    use_colors: bool, tmp_path: Path
) -> None:
    pytest.importorskip("uvicorn")
    code = (
        "import uvicorn; from dockerflow.logging import logging_config; "
        f"uvicorn.Config('x:y', log_config=logging_config('site'), use_colors={use_colors})"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, timeout=60, check=True)


DJANGO = """
import logging
from django.conf import settings
from dockerflow.logging import logging_config

def broken(request):
    raise ValueError("broken")

settings.configure(
    DEBUG=True, SECRET_KEY="x", ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, LOGGING=logging_config("site")
)
import django
django.setup()
from django.test import Client
from django.urls import path
urlpatterns = [path("fail", broken)]
Client(raise_request_exception=False).get("/fail")
logging.getLogger("django.server").warning("GET /fail 500")
logging.getLogger("app").info("hello")
"""


def test_django(tmp_path: Path) -> None:
    pytest.importorskip("django")
    (tmp_path / "site_urls.py").write_text(DJANGO)
    done = subprocess.run(
        [sys.executable, "site_urls.py"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    for line in lines:
        VALIDATOR.validate(line)
    assert [line["Type"] for line in lines] == ["django.request", "app"]
    assert "ValueError: broken" in lines[0]["Fields"]["traceback"]
    assert done.stderr == ""
