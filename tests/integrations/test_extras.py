"""Each adapter imports and serves with its own extra alone, without any other optional package."""

import importlib.util
import subprocess
import sys

import pytest

OPTIONAL = {
    "alembic", "boto3", "celery", "django", "django_redis", "falcon", "fastapi", "flask",
    "flask_login", "flask_migrate", "flask_sqlalchemy", "httpx", "jsonschema", "opentelemetry",
    "orjson", "prometheus_client", "psycopg", "redis", "rich", "sanic", "sanic_testing",
    "sentry_sdk", "sqlalchemy", "starlette", "statsd", "structlog", "uvicorn",
}  # fmt: skip

BLOCK = """
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Block())
PATHS = {{"/__lbheartbeat__": 200, "/__heartbeat__": 200, "/__version__": 404, "/": 200}}
statuses = {{}}
"""

ASGI = """
import asyncio

async def ask(path):
    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}
    async def send(message):
        statuses.setdefault(path, message.get("status"))
    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET",
             "scheme": "http", "path": path, "raw_path": path.encode(), "query_string": b"",
             "root_path": "", "headers": [(b"host", b"x")], "client": ("127.0.0.1", 1),
             "server": ("127.0.0.1", 80)}
    await app(scope, receive, send)

async def main():
    events = asyncio.Queue()
    started = asyncio.Event()
    await events.put({"type": "lifespan.startup"})
    async def send(message):
        started.set()
    lifespan = asyncio.create_task(app({"type": "lifespan", "asgi": {}}, events.get, send))
    await started.wait()
    for path in PATHS:
        await ask(path)
    await events.put({"type": "lifespan.shutdown"})
    await lifespan

asyncio.run(main())
assert statuses == PATHS, statuses
"""

DJANGO = """
import django
from django.conf import settings
from django.http import HttpResponse
from django.urls import include, path

settings.configure(
    ROOT_URLCONF="__main__", ALLOWED_HOSTS=["*"], SECRET_KEY="x", DOCKERFLOW_CHECKS=[],
    INSTALLED_APPS=["dockerflow.django"], BASE_DIR="/nowhere",
    MIDDLEWARE=["dockerflow.django.middleware.DockerflowMiddleware"],
)
urlpatterns = [path("", lambda request: HttpResponse())]
django.setup()
import dockerflow.django.checks, dockerflow.django.signals, dockerflow.django.views
from django.test import Client

for path_ in PATHS:
    statuses[path_] = Client().get(path_).status_code
assert statuses == PATHS, statuses
"""

FLASK = """
import flask
import dockerflow.flask.checks, dockerflow.flask.checks.messages, dockerflow.flask.signals
from dockerflow.flask import Dockerflow

app = flask.Flask("x", root_path="/nowhere/app")
Dockerflow(app)
app.add_url_rule("/", view_func=lambda: "hello")
for path in PATHS:
    statuses[path] = app.test_client().get(path).status_code
assert statuses == PATHS, statuses
"""

FASTAPI = f"""
from fastapi import FastAPI
import dockerflow.fastapi.views
from dockerflow.fastapi import router
from dockerflow.fastapi.middleware import MozlogRequestSummaryLogger, RequestIdMiddleware

app = FastAPI()
app.include_router(router)
app.add_middleware(MozlogRequestSummaryLogger)
app.add_middleware(RequestIdMiddleware)
app.state.APP_DIR = "/nowhere"

@app.get("/")
def root():
    return "hello"
{ASGI}
"""

SANIC = f"""
from sanic import Sanic, text
import dockerflow.sanic.checks
from dockerflow.sanic import Dockerflow

app = Sanic("x", configure_logging=False)
Dockerflow(app, version_path="/nowhere")

@app.get("/")
async def root(request):
    return text("hello")
{ASGI}
"""


@pytest.mark.parametrize(
    ("own", "source"),
    [
        ({"django"}, DJANGO),
        ({"flask"}, FLASK),
        ({"fastapi", "starlette", "opentelemetry"}, FASTAPI),  # which it needs, in newer releases
        ({"sanic"}, SANIC),
    ],
    ids=["django", "flask", "fastapi", "sanic"],
)
def test_an_adapter_alone(own: set[str], source: str) -> None:
    for name in own - {"opentelemetry"}:
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"needs {name}")
    done = subprocess.run(
        [sys.executable, "-c", BLOCK.format(blocked=OPTIONAL - own) + source],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
